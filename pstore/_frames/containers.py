"""Iterators over dict, OrderedDict, set, frozenset and deque, live on their container (layer 1).

Owns: reducers for these iterators, and the stand-ins for those that CPython cannot build.  Rules:

* A rebuilt iterator stands on the very container.  In a cyclic graph the container may still be empty then: each
  stored form carries the size that the container had, which tells whether more is to come.
* ``changed size during iteration`` and ``mutated during iteration`` are raised by the copy when the original would.
* dict: the real type always.  It has no way to be positioned, so the dict gets placeholders up to the size that the
  iterator has to see, the iterator steps, and the placeholders leave through ``popitem``, which frees their places.
* deque and OrderedDict count their changes in a field that filling moves on: on a container that is still to be filled
  :class:`Late` waits for its first step, expecting the count that filling ends with.
* set: order changes with the hash seed, so what remains is stored in the original's order (:class:`SetIterator`).

Sources: ``dictiterobject`` and ``popitem`` in ``Objects/dictobject.c``, ``_dictkeysobject`` in ``pycore_dict.h``,
``odictiterobject`` in ``Objects/odictobject.c``, ``setiterobject`` in ``Objects/setobject.c``, ``dequeiterobject`` in
``Modules/_collectionsmodule.c``.
"""

from __future__ import annotations

import gc
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from pstore._frames.access import signed_words, words
from pstore._frames.standins import HEAD, MISSING, consume, fields, refuse
from pstore._frames.stored import stored

__all__ = ["REDUCERS", "Late", "SetIterator"]

# --- dict -----------------------------------------------------------------------------------------------------------

_KINDS: dict[type, tuple[str, bool]] = {
    type(iter({})): ("keys", False),
    type(iter({}.values())): ("values", False),
    type(iter({}.items())): ("items", False),
    type(reversed({})): ("keys", True),
    type(reversed({}.values())): ("values", True),
    type(reversed({}.items())): ("items", True),
}

_CHANGED = -1  # di_used after the iterator has raised "changed size": it does so for ever
_DICT_SIZE = 48  # sizeof(PyDictObject)
_KEYS_HEAD = 32  # offset of dk_indices


def mapping_base(mapping: Any) -> Any:
    if isinstance(mapping, dict):
        return dict
    return next(base for base in type(mapping).__mro__ if base.__module__ == "builtins")  # frozendict, 3.15


@stored
def dict_iterator(mapping: Any, kind: str, backwards: bool, used: int, taken: int, left: int) -> Any:
    """Make a dict iterator that counts on `used` entries, has passed `taken` and may give `left` more."""
    step = dict_step(mapping, kind, backwards)
    if used == _CHANGED:
        return _that_has_failed(mapping, step)
    iterator = _placed(mapping, step, used, taken)
    if not backwards and left < used - taken:
        return DictIterator(iterator, left)
    return iterator


def dict_step(mapping: Any, kind: str, backwards: bool) -> Callable[[], Any]:
    """What makes a new iterator without running code of a subclass."""
    base = mapping_base(mapping)
    make = reversed if backwards else iter
    return lambda: make(getattr(base, kind)(mapping))


def _placed(mapping: Any, step: Callable[[], Any], used: int, taken: int) -> Any:
    present = len_of(mapping)
    if present == used:
        iterator = step()
        consume(iterator, taken)
        return iterator
    spare = [dict.popitem(mapping) for _ in range(present - used)]
    added = _fill(mapping, used)
    try:
        iterator = step()
        consume(iterator, taken)
    finally:
        _unfill(mapping, added)
        for key, value in reversed(spare):
            dict.__setitem__(mapping, key, value)
    return iterator


def len_of(mapping: Any) -> int:
    """Number of entries, whatever a subclass says."""
    return mapping_base(mapping).__len__(mapping)  # type: ignore[no-any-return]


def _fill(mapping: dict[Any, Any], size: int) -> int:
    added = number = 0
    while (length := dict.__len__(mapping)) < size:
        dict.setdefault(mapping, f"\0pstore {number}")
        added += dict.__len__(mapping) - length
        number += 1
    return added


def _unfill(mapping: dict[Any, Any], added: int) -> None:
    for _ in range(added):
        dict.popitem(mapping)


def _that_has_failed(mapping: Any, step: Callable[[], Any]) -> Any:
    iterator = step()
    added = _fill(mapping, dict.__len__(mapping) + 1)
    try:
        consume(iterator, 1)
    except RuntimeError:
        pass
    _unfill(mapping, added)
    return iterator


@stored
def spent_dict_iterator(kind: str, backwards: bool) -> Any:
    """Make a dict iterator that has come to its end."""
    iterator = dict_step({}, kind, backwards)()
    consume(iterator, 1)
    return iterator


@stored
def limited_dict_iterator(iterator: Any, left: int) -> Any:
    """Make a dict iterator that may give fewer items than there are."""
    return DictIterator(iterator, left)


class DictIterator:
    """A dict iterator whose dict got new keys for old ones, so that it must fail before its end."""

    __slots__ = ("iterator", "left")

    def __init__(self, iterator: Any, left: int) -> None:
        self.iterator, self.left = iterator, left

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        item = next(self.iterator)
        if not self.left:
            self.iterator = iter(())
            raise RuntimeError("dictionary keys changed during iteration")
        self.left -= 1
        return item


def _reduce_dict_iterator(obj: Any) -> Any:
    kind, backwards = _KINDS[type(obj)]
    mapping, used, position, _, left = fields(obj, 5, (0,))
    if mapping is MISSING:
        return spent_dict_iterator, (kind, backwards)
    used = used if used >> 63 == 0 else _CHANGED
    if used == _CHANGED:
        return dict_iterator, (mapping, kind, backwards, _CHANGED, 0, 0)
    taken = _taken(obj, mapping, backwards, used, position if position >> 63 == 0 else -1)
    return dict_iterator, (mapping, kind, backwards, used, taken, left)


def _taken(obj: Any, mapping: Any, backwards: bool, used: int, position: int) -> int:
    """How many live entries the iterator has passed."""
    size, _, keys, values = words(id(mapping) + HEAD, 4)
    _, packed, _, entries = words(keys, 4)
    end = size if values else entries  # a split table is iterated in the order of insertion
    reached = position + 1 if backwards else position
    if backwards and reached > end:  # the last entries went: it ends, unless as many are added before its next step
        taken = max(used - size - (reached - end), 0) if used != size else used
    else:
        before = min(reached, size) if end == size else _live(obj, keys, packed, entries, reached, size)
        taken = used - before if backwards else before
    if not 0 <= taken <= used:
        raise refuse(obj, "its dict was changed while it was iterated", "iterate over a copy of the dict")
    return taken


def _live(obj: Any, keys: int, packed: int, entries: int, position: int, size: int) -> int:
    """Count the entries that are in use among the first `position` of a key table with holes."""
    width = 3 if packed >> 16 & 0xFF == 0 else 2  # (hash,) key, value: DICT_KEYS_GENERAL has the hash
    table = words(keys + _KEYS_HEAD + (1 << (packed >> 8 & 0xFF)), entries * width)
    found = table[width - 1 :: width]
    if sum(map(bool, found)) != size:
        raise refuse(obj, "the entries of its dict are not where this CPython is known to keep them")
    return sum(map(bool, found[:position]))


# --- iterators that wait until their container is filled ------------------------------------------------------------


class Late:
    """An iterator on a deque or OrderedDict that is not filled yet, or that has been changed under it.

    `arguments` are those of the stored function `function`; `expected` is the count of changes that the container
    has to show at the first step, -1 for one that is known to have been changed.
    """

    __slots__ = ("arguments", "expected", "function", "iterator", "sticky")

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], expected: int, sticky: bool) -> None:
        self.function, self.arguments, self.expected, self.sticky = function, arguments, expected, sticky
        self.iterator: Any = None

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        if self.iterator is None:
            container = self.arguments[0]
            if _changes(container) != self.expected:
                if not self.sticky:
                    self.iterator = iter(())
                name = "deque" if isinstance(container, deque) else "OrderedDict"
                raise RuntimeError(f"{name} mutated during iteration")
            self.iterator = self.function(*self.arguments[:-2], _size(container), False)
        return next(self.iterator)


def _changes(container: Any) -> int:
    """How often a deque's or OrderedDict's structure changed."""
    if isinstance(container, deque):
        *_, changes, limit = signed_words(id(container) + 24, 6)
        if limit != (-1 if container.maxlen is None else container.maxlen):
            raise refuse(container, "its fields are not where this CPython is known to keep them")
        return changes
    return words(id(container) + _DICT_SIZE + 40, 1)[0]


def _size(container: Any) -> int:
    return deque.__len__(container) if isinstance(container, deque) else OrderedDict.__len__(container)


def _late(function: Callable[..., Any], arguments: tuple[Any, ...], sticky: bool) -> Any:
    """Wait for what is to come, or None when all is there."""
    container, size, changed = arguments[0], arguments[-2], arguments[-1]
    present = _size(container)
    if changed:
        return Late(function, arguments, -1, sticky)
    if present < size:
        return Late(function, arguments, _changes(container) + size - present, sticky)
    return None


def _reduce_late(obj: Late) -> Any:
    if obj.iterator is not None:
        return REDUCERS[type(obj.iterator)](obj.iterator)
    container = obj.arguments[0]
    return obj.function, (*obj.arguments[:-2], _size(container), _changes(container) != obj.expected)


# --- deque ----------------------------------------------------------------------------------------------------------

_deque_iterator: Any = type(iter(deque()))
_deque_reverse_iterator: Any = type(reversed(deque()))


@stored
def deque_iterator(container: Any, taken: int, size: int, changed: bool) -> Any:
    """Make the iterator over a deque that had `size` items, `taken` of them passed."""
    arguments = (container, taken, size, changed)
    return _late(deque_iterator, arguments, True) or _deque_iterator(container, taken)


@stored
def deque_reverse_iterator(container: Any, taken: int, size: int, changed: bool) -> Any:
    """Make the reversed iterator over a deque that had `size` items, `taken` of them passed."""
    arguments = (container, taken, size, changed)
    return _late(deque_reverse_iterator, arguments, False) or _deque_reverse_iterator(container, taken)


def _reduce_deque_iterator(obj: Any) -> Any:
    container, state, left = fields(obj, 5, (2,))[2:]
    if not isinstance(container, deque):
        raise refuse(obj, "its fields are not where this CPython is known to keep them")
    size = deque.__len__(container)
    function = deque_iterator if type(obj) is _deque_iterator else deque_reverse_iterator
    if state != _changes(container) and (left or function is deque_iterator):
        return function, (container, 0, size, True)
    return function, (container, size - left, size, False)


# --- OrderedDict ----------------------------------------------------------------------------------------------------

_odict_iterator: Any = type(iter(OrderedDict[Any, Any]()))
_ODICT_KINDS = {2: "keys", 4: "values", 6: "items"}


@stored
def odict_iterator(container: Any, kind: str, backwards: bool, taken: int, size: int, changed: bool) -> Any:
    """Make the iterator over an OrderedDict that had `size` keys, `taken` of them passed."""
    arguments = (container, kind, backwards, taken, size, changed)
    late = _late(odict_iterator, arguments, False)
    if late is not None:
        return late
    iterator = (reversed if backwards else iter)(getattr(OrderedDict, kind)(container))
    consume(iterator, taken)
    return iterator


@stored
def spent_odict_iterator() -> Any:
    """Make an iterator over an OrderedDict that has come to its end."""
    iterator: Any = iter(OrderedDict[Any, Any]())
    consume(iterator, 1)
    return iterator


def _reduce_odict_iterator(obj: Any) -> Any:
    flags, container, size, state, current = fields(obj, 5, (1, 4))
    if container is MISSING or current is MISSING:
        return spent_odict_iterator, ()
    kind, backwards = _ODICT_KINDS[flags & 6], bool(flags & 1)
    present = OrderedDict.__len__(container)
    if state != _changes(container):
        return odict_iterator, (container, kind, backwards, 0, present, True)
    if size != present:
        raise refuse(obj, "its OrderedDict was changed by means of dict's own methods")
    position = _position(obj, container, current)
    return odict_iterator, (container, kind, backwards, size - 1 - position if backwards else position, size, False)


def _position(obj: Any, container: Any, key: Any) -> int:
    """Where `key` stands in an OrderedDict, without hashing it: referents have the keys in their order."""
    (node,) = words(id(container) + _DICT_SIZE, 1)
    (first,) = words(node, 1)
    held = list(map(id, gc.get_referents(container)))
    if first in held and id(key) in (keys := held[held.index(first) :][: OrderedDict.__len__(container)]):
        return keys.index(id(key))
    raise refuse(obj, "the keys of its OrderedDict are not where this CPython is known to keep them")


# --- set and frozenset ----------------------------------------------------------------------------------------------


class SetIterator:
    """An iterator over a set that gives what remained of another one, in the same order."""

    __slots__ = ("base", "container", "left", "used")

    def __init__(self) -> None:
        self.container: Any = None

    def __setstate__(self, state: tuple[Any, list[Any], int]) -> None:
        self.container, left, self.used = state
        self.left = left[::-1]
        self.base: Any = set if isinstance(self.container, set) else frozenset

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        if self.container is None:
            raise StopIteration
        if self.base.__len__(self.container) != self.used:
            self.used = -1  # for ever, as in the original
            raise RuntimeError("Set changed size during iteration")
        while self.left:
            item = self.left.pop()
            if self.base.__contains__(self.container, item):
                return item
        self.container = None
        raise StopIteration

    def __length_hint__(self) -> int:
        if self.container is None or self.base.__len__(self.container) != self.used:
            return 0
        return len(self.left)


@stored
def set_iterator() -> Any:
    """Make a set iterator; its state comes later, and without one it has come to its end."""
    return SetIterator()


def _reduce_set_iterator(obj: Any) -> Any:
    container, used = fields(obj, 2, (0,))
    if container is MISSING:
        return set_iterator, ()
    if used != (set if isinstance(container, set) else frozenset).__len__(container):
        return set_iterator, (), (container, [], -1)
    return set_iterator, (), (container, obj.__reduce__()[1][0], used)  # reduces a copy: obj does not step


def _reduce_own_set_iterator(obj: SetIterator) -> Any:
    if obj.container is None:
        return set_iterator, ()
    return set_iterator, (), (obj.container, obj.left[::-1], obj.used)


def _reduce_own_dict_iterator(obj: DictIterator) -> Any:
    return limited_dict_iterator, (obj.iterator, obj.left)


REDUCERS: dict[type, Callable[[Any], Any]] = {
    **dict.fromkeys(_KINDS, _reduce_dict_iterator),
    DictIterator: _reduce_own_dict_iterator,
    Late: _reduce_late,
    _deque_iterator: _reduce_deque_iterator,
    _deque_reverse_iterator: _reduce_deque_iterator,
    _odict_iterator: _reduce_odict_iterator,
    type(iter(set())): _reduce_set_iterator,
    SetIterator: _reduce_own_set_iterator,
}
