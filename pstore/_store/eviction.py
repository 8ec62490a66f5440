"""Letting go of what a head has in memory, while it stays what it is: it is loaded again when it is used (layer 2).

Owns: which objects that is, and whether nobody else has one of them.

Rules:

- Whatever the program, or anybody, holds by itself stays: to load the head again would make a second object of it.
  As in `closing`, reference counts tell, every reference accounted for; what is not accounted for is not let go of.
- Nothing runs: no ``finally``, no ``__del__``, no callback of a weak reference.
"""

from __future__ import annotations

import gc
import sys
import types
import weakref
from collections import Counter
from collections.abc import Container
from contextvars import Context
from enum import Enum
from sys import getrefcount
from typing import Any

from persistent import Persistent

from pstore._frames.access import abandon_one
from pstore._frames.awaitables import DRIVERS
from pstore._store import constants
from pstore._store.kinds import ATOMS

__all__ = ["Contents", "contents_alone", "let_go_of"]

_SHARED = (
    *(type, types.ModuleType, types.CodeType, types.EllipsisType, types.NotImplementedType, Enum, Persistent),
    # of types, as in `log.append(await queue.get())`, where the frame has list.append
    *(types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType),
    *(types.GetSetDescriptorType, types.MemberDescriptorType),
)
_MOST = 500  # objects: what has more takes too long to look at


class Contents:
    """What only a head leads to.

    Attributes:
        members: the objects.
        held: how often they, and the head, hold each of them: id -> times.
        digest: of the record of the head, as it was stored; None: of no record.
    """

    __slots__ = ("__weakref__", "digest", "held", "members")

    def __init__(self) -> None:
        self.members: list[Any] = []
        self.held: Counter[int] = Counter()
        self.digest: int | None = None

    def are_alone(self) -> bool:
        """Whether nothing else holds one of them, nor would see it go."""
        members, held = self.members, self.held
        for place in range(len(members)):
            obj = members[place]
            if obj is not _EMPTY and getrefcount(obj) - _OWN != held[id(obj)]:
                return False
            if type(obj).__weakrefoffset__ and weakref.getweakrefcount(obj):
                return False
        return True


def contents_alone(head: Any, claimed: Container[int], home: Container[int]) -> Contents | None:
    """What only a head leads to; None if something else may hold a part of it.

    Args:
        head: a head that is as it was stored.
        claimed: ids of the objects that are in its capsule.
        home: ids of the nodes of clusters.
    """
    found = _walk(head, claimed, home)
    return found if found is not None and found.are_alone() else None


def _walk(head: Any, claimed: Container[int], home: Container[int]) -> Contents | None:
    """What a head leads to, alone or not; None if that cannot be told."""
    found = Contents()
    members, held = found.members, found.held
    todo, seen = [head], {id(head)}
    while todo:
        obj = todo.pop()
        if type(obj) is Context:
            if any(type(value) not in ATOMS for value in obj.values()):
                return None
            continue  # what holds its variables is shared with copies of it
        parts = gc.get_referents(obj)
        held.update(map(id, parts))
        for part in parts:
            if id(part) not in seen and _is_member(part, claimed, home):
                seen.add(id(part))
                members.append(part)
                todo.append(part)
        if len(members) > _MOST or type(obj) in DRIVERS:
            return None  # what drives another frame cannot be made again without it
    return found


class _Verdicts(dict[type, int]):
    """Class -> what its instances are, as far as the class tells."""

    def __missing__(self, cls: type) -> int:
        if (
            cls in ATOMS
            or issubclass(cls, _SHARED)
            or hasattr(cls, "__pstore_capsule__")
            or hasattr(cls, "__pstore_fixed__")
        ):
            found = _NO
        elif cls is types.FunctionType:
            found = _FUNCTION
        elif cls is types.BuiltinFunctionType:
            found = _BUILT_IN
        else:
            found = _DICT if cls is dict else _YES
        self[cls] = found
        return found


_NO, _YES, _FUNCTION, _BUILT_IN, _DICT = range(5)
_verdicts = _Verdicts()


def _is_member(obj: Any, claimed: Container[int], home: Container[int]) -> bool:
    verdict = _verdicts[type(obj)]
    if verdict == _NO or id(obj) in home or id(obj) in constants.known:
        return False
    if verdict == _FUNCTION:
        return id(obj) in claimed  # else it is one of a module
    if verdict == _BUILT_IN:
        return not isinstance(obj.__self__, types.ModuleType | type(None) | type)  # a method has its object
    return verdict == _YES or "__name__" not in obj or not _is_of_module(obj)


def _is_of_module(obj: dict[str, Any]) -> bool:
    """Whether a dict has the globals of a module."""
    name = obj["__name__"]
    return type(name) is str and getattr(sys.modules.get(name), "__dict__", None) is obj


def let_go_of(head: Any, contents: Contents) -> None:
    """Empty a head of what `contents_alone` has given, which runs nothing."""
    for obj in contents.members:
        if hasattr(type(obj), "__del__"):
            abandon_one(obj)
    contents.members.clear()
    head.__capsule_empty__()


_EMPTY = ()
_OWN = 0


def _count_own() -> int:
    """What `getrefcount` says in `Contents.are_alone` of an object beyond what members hold."""
    global _OWN
    for count in range(10):
        _OWN = count
        contents = Contents()
        contents.members.append(_Probe())
        if contents.are_alone():
            return count
    raise ImportError("reference counts are not what they are in CPython")


class _Probe:
    """Something to count references to."""


_OWN = _count_own()
