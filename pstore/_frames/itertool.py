"""The iterators of `itertools` (layer 1); joins the tables of `combinatorics` and of `sharing` (groupby, tee).

Owns: one implementation for every Python.  3.14 took ``__reduce__`` away; before, it warned and lost state.  Rules:

* Fields are read from the C structs and checked (`standins.fields`); nothing is consumed and no user code runs.
* The real type is rebuilt over the very underlying iterator.  A state that no constructor makes is reached by feeding
  a new object from a :class:`Switch`, which is then switched over to that iterator, and is seen through at capture.
* What is kept is kept in tuples, never in lists: a list could still be empty when a cycle rebuilds its owner.
* Rebuilding twice does no harm: in a cycle pickle does it and throws the second result away.

Source: ``Modules/itertoolsmodule.c`` of 3.11 to 3.15.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from gc import get_referents
from typing import Any

from pstore._frames.access import words
from pstore._frames.combinatorics import REDUCERS as _COMBINATORICS
from pstore._frames.sharing import REDUCERS as _SHARING
from pstore._frames.standins import HEAD, MISSING, As, Call, Items, Switch, bare, consume, fields, refuse
from pstore._frames.stored import stored

__all__ = ["BASES", "REDUCERS", "refuse_subclass"]

_NEGATIVE = 1 << 63


def _never(item: Any) -> bool:
    return False


# Of 3.12; mypy reads this as 3.11 would.
_batched: Any = getattr(itertools, "batched", lambda items, size: iter(items))
_SPENT: dict[str, Callable[[], Any]] = {
    "batched": lambda: _batched((), 1),
    "chain": itertools.chain,
    "cycle": lambda: itertools.cycle(()),
    "islice": lambda: itertools.islice((), 0),
    "pairwise": lambda: itertools.pairwise(()),
    "takewhile": lambda: itertools.takewhile(_never, (None,)),
    "zip_longest": lambda: itertools.zip_longest(()),
}


@stored
def spent_itertool(name: str) -> Any:
    """Make an iterator of `itertools` that has come to its end."""
    iterator = _SPENT[name]()
    consume(iterator, 1)
    return iterator


@stored
def exactly(iterator: Any) -> Any:
    """Make an iterable whose iterator is the given one."""
    return As(iterator)


@stored
def same(obj: Any) -> Any:
    """Give what a stand-in stands for."""
    return obj


# --- a function and an iterator, or iterators alone ----------------------------------------------------------------


@stored
def filterfalse_iterator(function: Any, iterator: Any) -> Any:
    """Make a filterfalse over an iterator."""
    return itertools.filterfalse(function, As(iterator))


@stored
def starmap_iterator(function: Any, iterator: Any) -> Any:
    """Make a starmap over an iterator."""
    return itertools.starmap(function, As(iterator))


@stored
def takewhile_iterator(function: Any, iterator: Any) -> Any:
    """Make a takewhile that has not stopped."""
    return itertools.takewhile(function, As(iterator))


@stored
def dropwhile_iterator(function: Any, iterator: Any, started: bool) -> Any:
    """Make a dropwhile; one that has given its first item never calls its function again."""
    if not started:
        return itertools.dropwhile(function, As(iterator))
    feed = Switch((None,))
    made = itertools.dropwhile(_never, feed)
    next(made)
    feed.to(iterator)
    return made


@stored
def compress_iterator(data: Any, selectors: Any) -> Any:
    """Make a compress over two iterators."""
    return itertools.compress(As(data), As(selectors))


@stored
def zip_longest_iterator(iterators: tuple[Any, ...], fill: Any) -> Any:
    """Make a zip_longest; those of its iterators that have ended come as empty ones."""
    return itertools.zip_longest(*map(As, iterators), fillvalue=fill)


def _reduce_filterfalse(obj: Any) -> Any:
    return filterfalse_iterator, tuple(fields(obj, 2))


def _reduce_starmap(obj: Any) -> Any:
    return starmap_iterator, tuple(fields(obj, 2))


def _reduce_takewhile(obj: Any) -> Any:
    function, iterator, stopped = fields(obj, 3, (0, 1))
    return (spent_itertool, ("takewhile",)) if stopped else (takewhile_iterator, (function, iterator))


def _reduce_dropwhile(obj: Any) -> Any:
    function, iterator, started = fields(obj, 3, (0, 1))
    return dropwhile_iterator, (None if started else function, bare(iterator), bool(started))


def _reduce_compress(obj: Any) -> Any:
    return compress_iterator, tuple(fields(obj, 2))


def _reduce_zip_longest(obj: Any) -> Any:
    size, active, iterators, _, fill = fields(obj, 5, (2, 4))
    if not active or type(iterators) is not tuple or len(iterators) != size:
        return spent_itertool, ("zip_longest",)
    # The tuple has NULLs where an iterator has ended, so it must not be looked into in the ordinary way.
    held = dict(zip(map(id, referents := get_referents(iterators)), referents, strict=True))
    addresses = words(id(iterators) + tuple.__basicsize__, size)
    return zip_longest_iterator, (tuple(held[each] if each else iter(()) for each in addresses), fill)


# --- items that were kept ------------------------------------------------------------------------------------------


@stored
def accumulate_iterator(iterator: Any, function: Any, started: bool, value: Any) -> Any:
    """Make an accumulate with its `value`: the total, or the initial one when it has not started."""
    if not started:
        return itertools.accumulate(As(iterator), function, initial=value)
    if value is not None:
        made = itertools.accumulate(As(iterator), function, initial=value)
        next(made)
        return made
    feed = Switch((None,))  # None as initial would mean that there is none
    made = itertools.accumulate(feed, function)
    next(made)
    feed.to(iterator)
    return made


def _reduce_accumulate(obj: Any) -> Any:
    total, iterator, function, initial = fields(obj, 4)
    started = total is not MISSING
    function = None if function is MISSING else function
    return accumulate_iterator, (bare(iterator), function, started, total if started else initial)


@stored
def batched_iterator(iterator: Any, size: int, strict: bool) -> Any:
    """Make a batched over an iterator."""
    batched: Any = itertools.batched  # type: ignore[attr-defined, unused-ignore]
    return batched(As(iterator), size, strict=True) if strict else batched(As(iterator), size)


def _reduce_batched(obj: Any) -> Any:
    iterator, size = fields(obj, 2, (0,))
    if iterator is MISSING or size >= _NEGATIVE:
        return spent_itertool, ("batched",)
    strict = sys.version_info >= (3, 13) and bool(words(id(obj) + HEAD + 16, 1)[0] & 0xFF)
    return batched_iterator, (iterator, size, strict)


@stored
def pairwise_iterator(iterator: Any, *kept: Any) -> Any:
    """Make a pairwise; `kept` is the first half of the next pair, if there is one."""
    if not kept:
        return itertools.pairwise(As(iterator))
    feed = Switch((None, *kept))
    made = itertools.pairwise(feed)
    next(made)
    feed.to(iterator)
    return made


def _reduce_pairwise(obj: Any) -> Any:
    iterator, kept = fields(obj, 2)
    if iterator is MISSING:
        return spent_itertool, ("pairwise",)
    return pairwise_iterator, (bare(iterator),) if kept is MISSING else (bare(iterator), kept)


@stored
def cycle_first_pass(iterator: Any, saved: tuple[Any, ...]) -> Any:
    """Make a cycle that has given `saved` and takes what comes next from its iterator."""
    feed = Switch(saved)
    made = itertools.cycle(feed)
    consume(made, len(saved))
    feed.to(iterator)
    return made


@stored
def cycle_iterator(saved: tuple[Any, ...], index: int) -> Any:
    """Make a cycle whose iterator has ended, at `index` of what it gave."""
    made = itertools.cycle(saved)
    consume(made, len(saved) + index)
    return made


@stored
def cycle_after(iterator: Any, saved: tuple[Any, ...]) -> Any:
    """Make what goes through an iterator once and then through `saved` for ever: an unpickled cycle of 3.11 to 3.13."""
    return itertools.chain(As(iterator), itertools.cycle(saved))


def _reduce_cycle(obj: Any) -> Any:
    iterator, saved, index = fields(obj, 3, (0, 1))
    if iterator is not MISSING and (sys.version_info < (3, 14) or index >= _NEGATIVE):
        if sys.version_info < (3, 14) and words(id(obj) + HEAD + 24, 1)[0] & 0xFFFFFFFF:
            return cycle_after, (bare(iterator), tuple(saved))
        return cycle_first_pass, (bare(iterator), tuple(saved))
    return (cycle_iterator, (tuple(saved), index)) if saved else (spent_itertool, ("cycle",))


@stored
def chain_iterator(source: Any, *active: Any) -> Any:
    """Make a chain over an iterator of iterables; `active` is the iterator that it is in, if any."""
    if not active:
        return itertools.chain.from_iterable(As(source))
    inner = Switch((None,))
    outer = Switch((inner,))
    made = itertools.chain.from_iterable(outer)
    next(made)
    inner.to(active[0])
    outer.to(source)
    return made


def _reduce_chain(obj: Any) -> Any:
    source, active = fields(obj, 2)
    if source is MISSING:
        return spent_itertool, ("chain",)
    return chain_iterator, (bare(source),) if active is MISSING else (bare(source), bare(active))


# --- numbers -------------------------------------------------------------------------------------------------------


@stored
def count_iterator(start: Any, step: Any) -> Any:
    """Make a count."""
    return itertools.count(start, step)


def _reduce_count(obj: Any) -> Any:
    fast, slow, step = fields(obj, 3, (1, 2))
    if fast != sys.maxsize:
        return count_iterator, (fast - (fast >= _NEGATIVE) * 2 * _NEGATIVE, 1)
    return count_iterator, (sys.maxsize if slow is MISSING else slow, step)


@stored
def islice_iterator(iterator: Any, start: int, stop: int | None, step: int) -> Any:
    """Make an islice with what it has still to skip and to give."""
    return itertools.islice(As(iterator), start, stop, step)


def _reduce_islice(obj: Any) -> Any:
    iterator, following, stop, step, taken = fields(obj, 5, (0,))
    if iterator is MISSING:
        return spent_itertool, ("islice",)
    if not taken <= following < _NEGATIVE:
        raise refuse(obj, "it has counted beyond sys.maxsize")
    left = None if stop >= _NEGATIVE else max(stop - taken, 0)
    return islice_iterator, (iterator, following - taken, left, step)


@stored
def repeat_iterator(element: Any, *left: int) -> Any:
    """Make a repeat, for ever or as often as is `left`."""
    return itertools.repeat(element, *left)


def _reduce_repeat(obj: Any) -> Any:
    element, left = fields(obj, 2, (0,))
    return repeat_iterator, (element,) if left >= _NEGATIVE else (element, left)


def _reduce_as(obj: As) -> Any:
    return exactly, (obj.iterator,)


def _reduce_stand_in(obj: Any) -> Any:
    return same, (bare(obj),)


REDUCERS: dict[type, Callable[[Any], Any]] = {
    itertools.accumulate: _reduce_accumulate,
    itertools.chain: _reduce_chain,
    itertools.compress: _reduce_compress,
    itertools.count: _reduce_count,
    itertools.cycle: _reduce_cycle,
    itertools.dropwhile: _reduce_dropwhile,
    itertools.filterfalse: _reduce_filterfalse,
    itertools.islice: _reduce_islice,
    itertools.pairwise: _reduce_pairwise,
    itertools.repeat: _reduce_repeat,
    itertools.starmap: _reduce_starmap,
    itertools.takewhile: _reduce_takewhile,
    itertools.zip_longest: _reduce_zip_longest,
    As: _reduce_as,
    Switch: _reduce_stand_in,
    Call: _reduce_stand_in,
    Items: _reduce_stand_in,
    **_COMBINATORICS,
    **_SHARING,
}

if sys.version_info >= (3, 12):
    REDUCERS[itertools.batched] = _reduce_batched

BASES: tuple[type, ...] = (
    *(kind for kind in REDUCERS if kind.__module__ == "itertools" and kind.__flags__ & 1 << 10),  # can be a base
    enumerate,
    filter,
    map,
    reversed,
    zip,
)
"""What users derive from; pickle would then call their ``__init__`` and lose the attributes of the instance."""


def refuse_subclass(obj: Any) -> Any:
    """Reducer of instances of user classes that are derived from :data:`BASES`."""
    base = next(cls for cls in type(obj).__mro__ if cls in BASES)
    raise refuse(obj, f"its class is derived from {base.__qualname__}", f"hold the {base.__qualname__} in an attribute")
