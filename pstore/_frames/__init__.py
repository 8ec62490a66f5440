"""Suspended frames as data: capture, rebuild, and the reducers for what frames hold (layer 1).

It imports the standard library, `bytecode` and `pstore.errors`; it knows nothing of databases and event loops.

==============  =====================================================================================================
module          owns
==============  =====================================================================================================
`layout`        what differs between CPython 3.11 ... 3.15, as named capabilities
`access`        reading interpreter memory; the finalised bit
`names`         finding modules, functions and classes by name
`codes`         identity of a code object: reference, fingerprint, source; detecting that it changed
`suspension`    what a code object looks like where it can be suspended
`locations`     the encodings of location and exception tables
`twins`         code that brings a new frame to where a stored one stood
`reading`       suspended frame -> record
`making`        record -> suspended frame
`frames`        the reducers of frames; the same in memory
`finalisers`    letting a graph go without running any of it
`functions`     functions, closures, cells, methods, modules, code objects
`classes`       classes by name and by value
`exceptions`    exceptions with their chain and traceback
`awaitables`    asend(), athrow(), aclose(), anext() objects, coroutine wrappers
`subclasses`    instances of subclasses of built-in containers
`iterators`     built-in iterators; `containers`: those of dict, set, deque; `standins`: helpers of both
`itertool`      itertools; `combinatorics`, `sharing` (tee, groupby): parts of it
`views`         views, weak references (`weak`), match objects (`matches`), contexts (`contexts`), descriptors
                (`descriptors`), type parameters (`typeparams`)
`process_bound` locks, sockets, files, workers: refused by kind, each with what to use instead
`describe`      words for where a frame stands and what its slots are called
`reducers`      the table of them all
`stored`        the names that stored bytes call
==============  =====================================================================================================
"""

from pstore._frames.access import check_platform
from pstore._frames.finalisers import abandon
from pstore._frames.frames import capture, driver_of, rebuild, reduce_in_two_phases
from pstore._frames.making import Parts, end_of_load, start_of_load
from pstore._frames.reducers import reducer_of, register

if (_reason := check_platform()) is not None:
    raise ImportError(_reason)

__all__ = [
    "abandon",
    "capture",
    "driver_of",
    "Parts",
    "end_of_load",
    "rebuild",
    "reduce_in_two_phases",
    "reducer_of",
    "register",
    "start_of_load",
]
