"""The attributes of instances, read without making their ``__dict__`` (layer 1).

Owns: where an instance of a plain class keeps its attribute values, and under which names.  Asking for ``__dict__``
makes a dict that stays (on 3.11 and 3.12 the values move into it), which costs memory and makes every later look at the
instance slower.  Most instances never have one.

CPython keeps the values of such an instance in an array, in the order of the *shared keys* of its class; the names are
in the shared keys, once for all instances.  Shared keys only grow.  Beside the values stands the order in which the
instance got its attributes.  Memory is only read, by way of `access`.

Sources: ``Include/internal/pycore_dict.h`` (``_dictkeysobject``, ``_dictvalues``), ``pycore_object.h``
(``_PyObject_ValuesPointer``, ``_PyObject_InlineValues``), ``Objects/typeobject.c`` (``PyHeapTypeObject``).  Where
things are is checked at import against an instance whose attributes are known; if the check fails, every instance is
said to have a ``__dict__``, which is slower and as right.
"""

from __future__ import annotations

import gc
import struct
import sys
from collections.abc import Collection
from typing import Any

from pstore._frames.access import memory, object_at, unpacker

__all__ = ["Inline", "Place", "inline_of", "places_of"]

_MANAGED_DICT = 1 << 4
_INLINE_VALUES = 1 << 2
_WORD = 8
_word = unpacker(1)
Place = tuple[int, int]

# struct _dictkeysobject
_LOG2_INDEX_BYTES = 9
_KIND = 10
_UNICODE, _SPLIT = 1, 2
_COUNT = 24
_INDICES = 32

_EMBEDDED = sys.version_info >= (3, 13)  # the values stand in the instance itself
_VALUES = {(3, 11): -32, (3, 12): -24}.get(sys.version_info[:2], 0)
_TAGGED = sys.version_info[:2] == (3, 12)  # the pointer to the values is one less, and so odd; else it is a dict
_DICT = -24  # 3.13+: pointer to the dict, when there is one


def _byte(address: int) -> int:
    return memory[address : address + 1].tobytes()[0]


class Inline:
    """How instances of one class keep their values.

    Attributes:
        cls: the class.
        basic: its ``__basicsize__``.
    """

    __slots__ = ("_keys", "basic", "cls")

    def __init__(self, cls: type, keys: int) -> None:
        self.cls, self._keys, self.basic = cls, keys, cls.__basicsize__

    def count(self) -> int:
        """Number of names that the class shares among its instances; never falls."""
        return _word(memory, self._keys + _COUNT)[0]  # type: ignore[no-any-return]

    def names(self) -> tuple[str, ...]:
        """Those names, in the order of the values."""
        start = self._keys + _INDICES + (1 << _byte(self._keys + _LOG2_INDEX_BYTES))
        return tuple(object_at(_word(memory, start + 16 * index)[0]) for index in range(self.count()))

    def order(self, obj: Any) -> bytes | None:
        """Places of the names of the attributes that `obj` has, in the order in which it got them.

        None: it has a ``__dict__``, and that is what has the attributes.  `gc.get_referents` of an instance without
        gives the values in order of place, and the class.
        """
        return _order(obj, self.basic)

    def common_order(self, objects: list[Any]) -> bytes | None:
        """The order of the first object, if each has all those names, got them in the same order, has no ``__dict__``.

        From 3.13 on the names that methods store to are in the shared keys before there is an instance, in an order
        of their own.
        """
        order, count = _order(objects[0], self.basic), self.count()
        if order is None or len(order) != count or not _are_ordered(objects, self.basic, order):
            return None
        return order


def places_of(objects: Collection[Any]) -> tuple[list[Place], list[Place]] | None:
    """Where in memory instances are, and where their values are that are not in them: (first, end) of each.

    Whatever of theirs changes (attribute, class, a ``__dict__`` made) changes bytes there; so do other things.  The
    first places can be read for as long as the objects live.  On 3.11 and 3.12 the values are elsewhere, and may go:
    the second ones can be read for as long as nothing has changed in the first.  None: one has a ``__dict__``.
    """
    if _EMBEDDED:
        return list(map(_place_embedded, objects)), []
    apart = list(map(_place_of_values, objects))
    if None in apart:
        return None
    return [(id(obj) + _VALUES, id(obj) + 2 * _WORD) for obj in objects], list(filter(None, apart))


def _place_embedded(obj: Any) -> Place:
    values: int = id(obj) + type(obj).__basicsize__
    return id(obj) + _DICT, values + _WORD + (_WORD + 1) * _byte(values)


def _place_of_values(obj: Any) -> Place | None:
    """3.11, 3.12: the array of values, with what stands before it: its own size is the last byte of that."""
    values = _word(memory, id(obj) + _VALUES)[0]
    if not values or values & 1 != _TAGGED:
        return None
    values += _TAGGED
    return values - _byte(values - 1), values + _WORD * _byte(values - 2)


def _order_before(obj: Any, basic: int) -> bytes | None:
    """3.11, 3.12: the values are apart; the order stands before them, backwards."""
    values = _word(memory, id(obj) + _VALUES)[0]
    if _TAGGED:
        if not values & 1:
            return None if values else b""
        values += 1  # the tag makes it one less
    if not values:
        return None
    size = _byte(values - 2)
    return memory[values - 2 - size : values - 2].tobytes()[::-1]


def _order_embedded(obj: Any, basic: int) -> bytes | None:
    """3.13 and later: capacity, size, embedded, valid (a byte each, padded to a word), values, order."""
    address = id(obj)
    start = address + basic
    head = memory[start : start + 4].tobytes()
    if not head[3] or _word(memory, address + _DICT)[0]:
        return None
    at = start + _WORD + _WORD * head[0]
    return memory[at : at + head[1]].tobytes()


_order = _order_embedded if _EMBEDDED else _order_before


def _ordered_before(objects: list[Any], basic: int, order: bytes) -> bool:
    count = len(order)
    unpack = _layouts.get(count)
    if unpack is None:
        unpack = _layouts[count] = struct.Struct(f"={count}sB").unpack_from
    expected = (order[::-1], count)
    tag, before = int(_TAGGED), 2 + count
    for obj in objects:
        values = _word(memory, id(obj) + _VALUES)[0] + tag
        if values <= tag or (tag and values & 1) or unpack(memory, values - before) != expected:
            return False
    return True


def _ordered_embedded(objects: list[Any], basic: int, order: bytes) -> bool:
    count = len(order)
    capacity = _byte(id(objects[-1]) + basic)  # the first instances of a class may have room for more
    if count > capacity:
        return False
    unpack = _layouts.get((basic, count, capacity))
    if unpack is None:
        between, values = basic - _DICT - _WORD, 4 + _WORD * capacity
        layout = struct.Struct(f"=Q{between}xBBxB{values}x{count}s")
        unpack = _layouts[basic, count, capacity] = layout.unpack_from
    expected = (0, capacity, count, 1, order)
    for obj in objects:
        if unpack(memory, id(obj) + _DICT) != expected and _order_embedded(obj, basic) != order:
            return False
    return True


_layouts: dict[Any, Any] = {}
_are_ordered = _ordered_embedded if _EMBEDDED else _ordered_before


def _shared_keys(cls: type) -> int | None:
    """Address of the shared keys: they stand in the type object right after its qualified name."""
    size: int = type.__basicsize__  # type: ignore[assignment]
    words = unpacker(size // _WORD)(memory, id(cls))
    qualname = id(cls.__qualname__)
    for index in range(len(words) - 2, 0, -1):
        if words[index] == qualname:
            return words[index + 1] or None
    return None


def _flags_fit(cls: type) -> bool:
    wanted = _MANAGED_DICT | (_INLINE_VALUES if _EMBEDDED else 0)
    return cls.__flags__ & wanted == wanted and not cls.__itemsize__


def _inline_of(cls: type) -> Inline | None:
    if not _flags_fit(cls):
        return None
    keys = _shared_keys(cls)
    return None if keys is None else Inline(cls, keys)


def _works() -> bool:
    class Probe:
        pass

    first, second, third = Probe(), Probe(), Probe()
    first.a, first.b, first.c = "A", "B", "C"  # type: ignore[attr-defined]
    second.c, second.a = "c", "a"  # type: ignore[attr-defined]
    third.__dict__["a"] = 1
    inline = _inline_of(Probe)
    return (
        inline is not None
        and _byte(inline._keys + _KIND) in (_UNICODE, _SPLIT)
        and inline.count() == 3
        and inline.names() == ("a", "b", "c")
        and inline.order(first) == b"\0\1\2"
        and inline.order(second) == b"\2\0"
        and gc.get_referents(second) == ["a", "c", Probe]
        and inline.order(third) is None
    )


_usable = _works()


def inline_of(cls: type) -> Inline | None:
    """How instances of `cls` keep their values; None where they have a ``__dict__``, or nothing at all."""
    return _inline_of(cls) if _usable else None
