"""Iterators over built-in sequences, and the built-in functions that make iterators (layer 1).

Owns: reducers for the iterators of list, tuple, str, bytes, bytearray, range, array, memoryview and of classes with
``__getitem__``; for enumerate, zip, map, filter, reversed and ``iter(function, sentinel)``; joins the table of
`containers` (dict, set, deque).  Rules:

* A rebuilt iterator is live: it stands on the very container, at the same position, also while the container is still
  empty because the graph is cyclic, and also if the container is now shorter than the position.
* Positions come from the ``__reduce__`` of the type, which reads but does not step; its callables are not used: they
  would run user code (``__iter__``, ``__reversed__``, ``__len__``) and clamp positions.
* Exhausted stays exhausted, and what an iterator stands on keeps its identity.

Sources: ``Objects/{list,tuple,unicode,bytes,bytearray,range,iter,enum,memory}object.c``, ``Python/bltinmodule.c``,
``Modules/arraymodule.c``.
"""

from __future__ import annotations

import array
import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

from pstore._frames.containers import REDUCERS as _CONTAINERS
from pstore._frames.standins import MISSING, As, Items, bare, consume, fields
from pstore._frames.stored import stored
from pstore.errors import RebuildError

__all__ = ["REDUCERS"]

_list_iterator: Any = type(iter([]))
_list_reverse_iterator: Any = type(reversed([]))


def _spent(empty: Any) -> Any:
    for _ in empty:
        pass
    return empty


# --- list: the one sequence that can be empty while its iterator is rebuilt, or be too short ------------------------


@stored
def list_iterator(sequence: list[Any], index: int) -> Any:
    """Make an iterator that stands at `index` of a list that may be shorter, or not be filled yet."""
    iterator: Any = list.__iter__(sequence)
    if index <= list.__len__(sequence):
        iterator.__setstate__(index)
    else:
        _place_beyond(iterator, sequence, index)
    return iterator


@stored
def list_reverse_iterator(sequence: list[Any], index: int) -> Any:
    """Make a reversed list iterator whose next item is at `index`."""
    iterator: Any = list.__reversed__(sequence)
    if index < list.__len__(sequence):
        iterator.__setstate__(index)
    else:
        _place_beyond(iterator, sequence, index)
    return iterator


def _place_beyond(iterator: Any, sequence: list[Any], index: int) -> None:
    length = list.__len__(sequence)
    list.extend(sequence, [None] * (index + 1 - length))  # else __setstate__ would clamp the index
    iterator.__setstate__(index)
    list.__delitem__(sequence, slice(length, None))


@stored
def spent_list_iterator() -> Any:
    """Make a list iterator that has come to its end."""
    return _spent(iter([]))


@stored
def spent_list_reverse_iterator() -> Any:
    """Make a reversed list iterator that has come to its end."""
    return _spent(reversed([]))


def _reduce_list_iterator(obj: Any) -> Any:
    parts = obj.__reduce__()
    return (list_iterator, (*parts[1], parts[2])) if len(parts) == 3 else (spent_list_iterator, ())


def _reduce_list_reverse_iterator(obj: Any) -> Any:
    parts = obj.__reduce__()
    return (list_reverse_iterator, (*parts[1], parts[2])) if len(parts) == 3 else (spent_list_reverse_iterator, ())


# --- sequences that are complete when they come: tuple, str, bytes, bytearray, array, memoryview --------------------


@stored
def sequence_iterator(base: type, sequence: Any, index: int) -> Any:
    """Make the iterator of `base`, a built-in sequence, over an instance that may be of a subclass."""
    if index > base.__len__(sequence):  # type: ignore[attr-defined]
        return _beyond(base, sequence, index)
    iterator = base.__iter__(sequence)  # type: ignore[attr-defined]
    iterator.__setstate__(index)
    return iterator


def _beyond(base: Any, sequence: Any, index: int) -> Any:
    """A bytearray or array that became shorter than the iterator's position."""
    length = base.__len__(sequence)
    try:
        base.extend(sequence, _filling(sequence, index - length))
        iterator = base.__iter__(sequence)
        iterator.__setstate__(index)
        base.__delitem__(sequence, slice(length, None))
    except BufferError as error:
        raise RebuildError(f"an iterator stands beyond the end of a {base.__name__} that has a memoryview") from error
    return iterator


def _filling(sequence: Any, count: int) -> Any:
    if isinstance(sequence, array.array):
        return array.array(sequence.typecode, bytes(count * sequence.itemsize))
    return bytes(count)


@stored
def spent_sequence_iterator(base: type) -> Any:
    """Make an iterator of a built-in sequence that has come to its end."""
    return _spent(iter(array.array("b") if base is array.array else base()))


def _of_sequence(base: type) -> Callable[[Any], Any]:
    def reduce(obj: Any) -> Any:
        parts = obj.__reduce__()
        if len(parts) == 3:
            return sequence_iterator, (base, parts[1][0], parts[2])
        return spent_sequence_iterator, (base,)

    return reduce


@stored
def memory_iterator(view: Any, index: int) -> Any:
    """Make the iterator over a memoryview; without a view one that has come to its end."""
    iterator = iter(memoryview(b"") if view is None else view)
    consume(iterator, index if view is not None else 1)
    return iterator


def _reduce_memory_iterator(obj: Any) -> Any:
    index, view = fields(obj, 2, (1,))
    return memory_iterator, (None, 0) if view is MISSING else (view, index)


@stored
def range_iterator(start: range | int, stop: int = 0, step: int = 1) -> Any:
    """Make the iterator over a range, or a range of these numbers; its type follows from their size."""
    return iter(start if isinstance(start, range) else range(start, stop, step))


def _reduce_range_iterator(obj: Any) -> Any:
    _, (remaining,), index = obj.__reduce__()
    step = remaining.step
    start = remaining.start + index * step if index else remaining.start
    return range_iterator, (start, remaining.stop) if step == 1 else (start, remaining.stop, step)


# --- classes with __getitem__, reversed(), iter(function, sentinel) -------------------------------------------------


@stored
def item_iterator(sequence: Any, index: int) -> Any:
    """Make the iterator that classes with ``__getitem__`` and without ``__iter__`` get."""
    if inspect.getattr_static(type(sequence), "__iter__", None) is not None:
        name = type(sequence).__qualname__
        raise RebuildError(f"{name} has an __iter__ now; it had none when its iterator was stored")
    iterator: Any = iter(sequence)
    iterator.__setstate__(index)
    return iterator


@stored
def spent_item_iterator() -> Any:
    """Make an iterator over ``__getitem__`` that has come to its end."""
    return _spent(iter(_Nothing()))


class _Nothing:
    def __getitem__(self, index: int) -> Any:
        raise IndexError


def _reduce_item_iterator(obj: Any) -> Any:
    parts = obj.__reduce__()
    return (item_iterator, (parts[1][0], parts[2])) if len(parts) == 3 else (spent_item_iterator, ())


@stored
def reversed_iterator(sequence: Any, index: int) -> Any:
    """Make ``reversed`` over a sequence; neither its length is asked for nor its own ``__reversed__``."""
    return reversed(Items(sequence, index + 1))


@stored
def spent_reversed_iterator() -> Any:
    """Make a ``reversed`` that has come to its end."""
    return _spent(reversed(()))


def _reduce_reversed(obj: Any) -> Any:
    parts = obj.__reduce__()
    return (reversed_iterator, (bare(parts[1][0]), parts[2])) if len(parts) == 3 else (spent_reversed_iterator, ())


@stored
def callable_iterator(function: Any, sentinel: Any) -> Any:
    """Make ``iter(function, sentinel)``."""
    return iter(function, sentinel)


@stored
def spent_callable_iterator() -> Any:
    """Make an ``iter(function, sentinel)`` that has met its sentinel."""
    return _spent(iter(int, 0))


def _reduce_callable_iterator(obj: Any) -> Any:
    args = obj.__reduce__()[1]
    return (callable_iterator, args) if len(args) == 2 else (spent_callable_iterator, ())


# --- enumerate, zip, map, filter ------------------------------------------------------------------------------------


@stored
def enumerate_iterator(iterator: Any, number: int) -> Any:
    """Make an enumerate that counts on over an iterator."""
    return enumerate(As(iterator), number)


def _reduce_enumerate(obj: Any) -> Any:
    return enumerate_iterator, obj.__reduce__()[1]


@stored
def zip_iterator(iterators: tuple[Any, ...], strict: bool) -> Any:
    """Make a zip over iterators."""
    return zip(*map(As, iterators), strict=strict)


def _reduce_zip(obj: Any) -> Any:
    parts = obj.__reduce__()
    return zip_iterator, (parts[1], len(parts) == 3)


@stored
def map_iterator(function: Any, iterators: tuple[Any, ...], strict: bool) -> Any:
    """Make a map over iterators."""
    if strict:
        strictly: Any = map
        return strictly(function, *map(As, iterators), strict=True)
    return map(function, *map(As, iterators))


def _reduce_map(obj: Any) -> Any:
    _, (function, *iterators), *strict = obj.__reduce__()
    return map_iterator, (function, tuple(iterators), bool(strict))


@stored
def filter_iterator(function: Any, iterator: Any) -> Any:
    """Make a filter over an iterator."""
    return filter(function, As(iterator))


def _reduce_filter(obj: Any) -> Any:
    return filter_iterator, obj.__reduce__()[1]


# --- iterators over template strings (3.14 and later) ---------------------------------------------------------------


@stored
def template_iterator(strings: tuple[str, ...], interpolations: tuple[Any, ...]) -> Any:
    """Make the iterator over the rest of a template string; the first string is missing when one was taken last."""
    from string.templatelib import Template  # type: ignore[import-not-found, unused-ignore]

    taken = len(strings) == len(interpolations)
    texts = ("x", *strings) if taken else strings
    parts = [part for pair in zip(texts, interpolations, strict=False) for part in pair]
    iterator: Iterator[Any] = iter(Template(*parts, *texts[-1:]))
    consume(iterator, int(taken))
    return iterator


def _reduce_template_iterator(obj: Any) -> Any:
    strings, interpolations = fields(obj, 2)
    return template_iterator, (_rest_of_tuple(strings), _rest_of_tuple(interpolations))


def _rest_of_tuple(iterator: Any) -> Any:
    parts = iterator.__reduce__()
    return parts[1][0][parts[2] :] if len(parts) == 3 else ()


REDUCERS: dict[type, Callable[[Any], Any]] = {
    _list_iterator: _reduce_list_iterator,
    _list_reverse_iterator: _reduce_list_reverse_iterator,
    type(iter(())): _of_sequence(tuple),
    type(iter("")): _of_sequence(str),
    type(iter("\u20ac")): _of_sequence(str),
    type(iter(b"")): _of_sequence(bytes),
    type(iter(bytearray())): _of_sequence(bytearray),
    type(iter(array.array("b"))): _of_sequence(array.array),
    type(iter(memoryview(b""))): _reduce_memory_iterator,
    type(iter(range(0))): _reduce_range_iterator,
    type(iter(range(1 << 70))): _reduce_range_iterator,
    type(iter(_Nothing())): _reduce_item_iterator,
    reversed: _reduce_reversed,
    type(iter(int, 0)): _reduce_callable_iterator,
    enumerate: _reduce_enumerate,
    zip: _reduce_zip,
    map: _reduce_map,
    filter: _reduce_filter,
    **_CONTAINERS,
}

if sys.version_info >= (3, 14):
    from string.templatelib import Template as _Template

    REDUCERS[type(iter(_Template()))] = _reduce_template_iterator
