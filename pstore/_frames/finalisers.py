"""Letting a graph go without running any of it (layer 1, invariant I2).

Dropping the last reference to a suspended frame makes Python throw GeneratorExit into it, which runs ``finally`` and
``with`` blocks; dropping an object runs its ``__del__``.  What is in the store has not ended, so neither may happen:

* when an engine is closed, it abandons everything that is reachable from its program (:func:`abandon`);
* when the interpreter exits, the suspended frames of all code that was stored or rebuilt in this process are abandoned.

While the process lives, a frame that the *program* drops ends as in any Python program: a ``break`` out of a loop over
a rebuilt generator runs that generator's ``finally``.
"""

from __future__ import annotations

import atexit
import gc
import sys
import types
from typing import Any

from pstore._frames.access import abandon_one
from pstore._frames.layout import SUSPENDABLE
from pstore._frames.reading import code_of, points
from pstore._frames.twins import origin_of

__all__ = ["abandon"]

# Code, not state: reached from functions and instances, never part of what is let go.
_NOT_ENTERED = (type, types.ModuleType, types.CodeType, types.BuiltinFunctionType)
_CHUNK = 1000


def abandon(*roots: Any) -> int:
    """Mark all that is reachable from `roots`; gives how many objects were marked."""
    seen = {id(module.__dict__) for module in list(sys.modules.values()) if isinstance(module, types.ModuleType)}
    seen.add(id(seen))
    todo: list[Any] = list(roots)
    marked = 0
    while todo:
        chunk, todo[-_CHUNK:] = todo[-_CHUNK:], []
        for obj in chunk:
            if hasattr(type(obj), "__del__"):
                abandon_one(obj)
                marked += 1
        for obj in gc.get_referents(*chunk):
            if id(obj) not in seen and gc.is_tracked(obj) and not issubclass(type(obj), _NOT_ENTERED):
                seen.add(id(obj))
                todo.append(obj)
    return marked


@atexit.register
def _abandon_what_was_stored() -> None:
    """At exit: let the suspended frames go whose code was stored or rebuilt here; they go on in another process."""
    stored = {id(point.code) for point in points.values()}
    for obj in gc.get_objects():
        if type(obj) in SUSPENDABLE:  # isinstance would ask the object for its __class__
            code = code_of(obj)
            if id(code) in stored or origin_of(code) is not None:
                abandon_one(obj)
