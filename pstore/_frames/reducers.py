"""Which reducer serves which type (layer 1).

Owns: the table from type to reducer, filled from the modules that own the types, and the rule for types that are not in
it: classes and exceptions of every kind have one reducer each, what belongs to the process has one that refuses it;
all else is pickle's own business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pstore._frames import (
    awaitables,
    classes,
    exceptions,
    frames,
    functions,
    iterators,
    itertool,
    process_bound,
    subclasses,
    views,
)

__all__ = ["reducer_of", "register"]

Reducer = Callable[[Any], Any]
"""Takes an object, returns a pickle reduce value, or NotImplemented to leave it to pickle."""

_CACHE_LIMIT = 20_000

_registered: dict[type, Reducer] = {}
for _module in (iterators, itertool, views, functions, classes, exceptions, awaitables, frames):
    _registered.update(_module.REDUCERS)


class _Table(dict[type, "Reducer | None"]):
    """Type -> its reducer, or None when pickle does without; filled as types are met."""

    def __missing__(self, cls: type) -> Reducer | None:
        if len(self) >= _CACHE_LIMIT:
            self.clear()
        found = self[cls] = _find(cls)
        return found


def _find(cls: type) -> Reducer | None:
    if cls in _registered:
        return _registered[cls]
    if issubclass(cls, type):
        return classes.reduce_class
    if issubclass(cls, BaseException):
        return exceptions.reduce_exception
    if issubclass(cls, itertool.BASES):
        return itertool.refuse_subclass
    refusing = process_bound.reducer_for(cls)
    if refusing is not None:
        return refusing
    if cls.__flags__ & 1 << 9:  # Py_TPFLAGS_HEAPTYPE: made in Python
        return subclasses.reducer_for(cls)
    return None


reducer_of = _Table()


def register(cls: type, reducer: Reducer) -> None:
    """Give the exact type `cls` a reducer; for types that are neither the caller's nor pickle's."""
    _registered[cls] = reducer
    reducer_of.clear()
