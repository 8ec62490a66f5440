"""Reduce values, taken apart (layer 2).

Owns: :class:`Reduced`, what an object that says itself how it is stored has said, for a survey to look at and a pickler
to write; and :func:`parts`, which tells what only such a value holds.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable
from sys import getrefcount
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType
from typing import Any

from pstore._frames import reduce_in_two_phases, reducer_of
from pstore._frames.names import by_name

__all__ = ["FRAMES", "Reduced", "parts"]

_STRINGS = frozenset((str, bytes))
FRAMES = (GeneratorType, CoroutineType, AsyncGeneratorType)


class Reduced:
    """A reduce value, taken apart.

    Args:
        obj: what is reduced.
        same: string -> the one object that stands for all that are equal: which of them are the same object depends on
            caches, and what is written must not.

    Attributes:
        value: function, arguments, state, items, pairs, setter; items and pairs as lists; None: stored by name.
        owned: the state is held by this value alone.
        fresh: the tuple of arguments is.
    """

    __slots__ = ("fresh", "obj", "owned", "value")

    def __init__(self, obj: Any, same: dict[Any, Any]) -> None:
        self.obj = obj
        self.value: tuple[Any, ...] | None = None
        self.owned = self.fresh = False
        getattr(obj, "__dict__", None)  # some say whether there is one yet, which looking at them must not change
        reducer = reduce_in_two_phases if type(obj) in FRAMES else reducer_of[type(obj)]
        value = reducer(obj) if reducer is not None else NotImplemented
        if value is NotImplemented:
            if isinstance(obj, type) or type(obj) is FunctionType:
                return
            by_table = copyreg.dispatch_table.get(type(obj))
            value = by_table(obj) if by_table is not None else obj.__reduce_ex__(5)
        if isinstance(value, str) or value[0] is by_name:
            return
        counted = parts(value)
        self.fresh = counted[1][1]
        self.owned = len(counted) > 2 and counted[2][1]
        del counted
        function, arguments, state, items, pairs, setter = (*value, None, None, None, None)[:6]
        if not _STRINGS.isdisjoint(map(type, arguments)):
            arguments = tuple(same.setdefault(part, part) if type(part) in _STRINGS else part for part in arguments)
        items = None if items is None else list(items) or None
        pairs = None if pairs is None else list(pairs) or None
        self.value = function, arguments, state, items, pairs, setter

    @property
    def has_state(self) -> bool:
        """Whether there is more to it than function and arguments."""
        return self.value is not None and not all(part is None for part in self.value[2:5])


def parts(container: Iterable[Any]) -> list[tuple[Any, bool]]:
    """The items of a container that something else may hold too: each with whether only the container does."""
    counted = [(item, getrefcount(item)) for item in container]
    return [(item, count <= _ONLY_THERE) for item, count in counted]


_ONLY_THERE = 0


def _count_one() -> int:
    fresh: list[list[int]] = [[]]
    counted = [(item, getrefcount(item)) for item in fresh]
    return counted[0][1]


_ONLY_THERE = _count_one()
