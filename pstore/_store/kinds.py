"""How objects of a class are kept in the store (layer 2).

Owns: :class:`Kinds`, the table from class to :class:`Kind`.

=============  ========================================================================================================
kind           objects
=============  ========================================================================================================
`LEAF`         without identity to keep and without parts that can change: stored wherever they occur
`PLACED`       tuples and frozensets: stored where they occur, with their parts, until a second cluster leads to them
`LIST` ...     the built-in containers: nodes, made empty, filled later
`INSTANCE`     plain instances whose attributes are all there is to them: nodes, made by ``object.__new__``
`REDUCED`      all that says itself how it is stored (a reducer of `_frames`, ``__reduce__``, ``__getstate__``, ...)
`HEAD`         heads of `capsules`: records of their own, with what only they lead to
`PERSISTENT`   instances of `persistent.Persistent`, BTrees: records of their own, loaded when they are first used
=============  ========================================================================================================

Rule: a class is `INSTANCE` only if pickle, too, would store nothing but its attributes, and would run no code of the
user's for that.
"""

from __future__ import annotations

import copyreg
import dataclasses
import datetime
import decimal
import enum
import fractions
import ipaddress
import pathlib
import re
import types
import uuid
import zoneinfo
from typing import Any

from persistent import Persistent

from pstore._frames import reducer_of
from pstore._frames.attributes import Inline, inline_of

__all__ = [
    "ATOMS",
    "DICT",
    "HEAD",
    "INSTANCE",
    "LEAF",
    "LIST",
    "PERSISTENT",
    "PLACED",
    "REDUCED",
    "SET",
    "Kind",
    "Kinds",
    "by_value",
]

LEAF, PLACED, LIST, DICT, SET, INSTANCE, REDUCED, PERSISTENT, HEAD = range(9)
ATOMS = frozenset((type(None), bool, int, float, str, bytes))
"""Classes of leaves that hold nothing, and of whose instances nothing need be asked."""

_LEAVES: tuple[type, ...] = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    range,
    type(...),
    type(NotImplemented),
    types.ModuleType,
    datetime.date,
    datetime.timedelta,
    datetime.timezone,
    zoneinfo.ZoneInfo,
    decimal.Decimal,
    fractions.Fraction,
    uuid.UUID,
    pathlib.PosixPath,
    pathlib.PurePosixPath,
    pathlib.WindowsPath,
    pathlib.PureWindowsPath,
    re.Pattern,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
)
_BUILT_IN: dict[type, int] = {tuple: PLACED, frozenset: PLACED, list: LIST, dict: DICT, set: SET}
_METHODS = (types.MethodType, types.BuiltinMethodType, types.MethodWrapperType)
_SUBCLASSES_OF_IMMUTABLES = (tuple, frozenset, str, bytes, int, float, complex)

_MEMBER = types.MemberDescriptorType
_HEAP_TYPE = 1 << 9
_HOOKS = ("__getstate__", "__setstate__", "__reduce__", "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__")
_HOOKS_OF_STORING = tuple(hook for hook in _HOOKS if hook != "__setstate__")
# What `dataclasses` gives to frozen classes with slots; they store the slots, no more.
_OF_DATACLASSES = (dataclasses._dataclass_getstate, dataclasses._dataclass_setstate)  # type: ignore[attr-defined]


class Kind:
    """What the store has to know of a class.

    Attributes:
        cls: the class.
        code: LEAF ... PERSISTENT.
        dependent: it is stored by value, so that it has to be there before its instances.
        inline: `INSTANCE`: how its instances keep attributes, when not in a ``__dict__``.
        slots: `INSTANCE`: names of its slots, all classes of the mro together, and their descriptors.
        has_dict: `INSTANCE`: its instances can have a ``__dict__``.
        hashed_by_value: a hash of its instances may need their contents.
        immutable: `REDUCED`: what one holds does not change.
        only_dict: `REDUCED`: its ``__dict__`` is all there is to one, as of `INSTANCE`, but it has a ``__setstate__``.
        names: cache of `inline.names()`.
        rows: `rows.Row` by order.
    """

    __slots__ = (
        "cls",
        "code",
        "dependent",
        "has_dict",
        "hashed_by_value",
        "immutable",
        "inline",
        "names",
        "only_dict",
        "rows",
        "slots",
    )

    def __init__(self, cls: type, code: int) -> None:
        self.cls, self.code = cls, code
        self.dependent = self.has_dict = self.hashed_by_value = self.immutable = self.only_dict = False
        self.inline: Inline | None = None
        self.slots: dict[str, Any] = {}
        self.names: tuple[str, ...] = ()
        self.rows: dict[bytes, Any] = {}

    def straight_names(self, count: int) -> tuple[str, ...]:
        """The first `count` names that instances without a dict share."""
        if len(self.names) < count:
            assert self.inline is not None
            self.names = self.inline.names()
        return self.names if len(self.names) == count else self.names[:count]


class Kinds(dict[type, Kind]):
    """Class -> its kind; filled as classes are met."""

    def __missing__(self, cls: type) -> Kind:
        kind = self[cls] = _kind_of(cls)
        return kind


def by_value(cls: Any) -> bool:
    """Whether a class is stored by value: no module leads to it."""
    reducer = reducer_of[type(cls)]
    reduced = reducer(cls) if reducer is not None else NotImplemented
    return isinstance(reduced, tuple) and len(reduced) > 2


def _kind_of(cls: type) -> Kind:
    kind = Kind(cls, _code_of(cls))
    if kind.code in (INSTANCE, REDUCED):
        kind.hashed_by_value = cls.__hash__ is not object.__hash__  # type: ignore[comparison-overlap]
        kind.dependent = bool(cls.__flags__ & _HEAP_TYPE) and by_value(cls)
    if kind.code == INSTANCE:
        kind.inline = inline_of(cls)
        kind.slots = _slots_of(cls)
        kind.has_dict = bool(cls.__dictoffset__)
    elif kind.code == REDUCED:
        kind.immutable = issubclass(cls, (*_SUBCLASSES_OF_IMMUTABLES, *_METHODS, enum.Enum))
        kind.only_dict = _is_plain(cls, _HOOKS_OF_STORING) and bool(cls.__dictoffset__) and not _slots_of(cls)
    return kind


def _code_of(cls: type) -> int:
    built_in = _BUILT_IN.get(cls)
    if built_in is not None:
        return built_in
    if cls in _LEAVES:
        return LEAF
    if issubclass(cls, Persistent):
        return PERSISTENT
    if getattr(cls, "__pstore_capsule__", False):
        return HEAD
    if issubclass(cls, enum.Enum) and not by_value(cls):
        return LEAF  # there is one object for each member
    if _is_plain(cls):
        return INSTANCE
    return REDUCED


def _is_plain(cls: type, hooks: tuple[str, ...] = _HOOKS) -> bool:
    if not cls.__flags__ & _HEAP_TYPE or reducer_of[cls] is not None or cls in copyreg.dispatch_table:
        return False
    new: Any = cls.__new__
    if new is not object.__new__ or cls.__itemsize__ or isinstance(cls, enum.EnumMeta):
        return False
    for base in cls.__mro__[:-1]:
        if not base.__flags__ & _HEAP_TYPE:
            return False
        if any(hook in vars(base) and vars(base)[hook] not in _OF_DATACLASSES for hook in hooks):
            return False
    return _made_in_python(cls)


def _made_in_python(cls: type) -> bool:
    """Whether there is no more to an instance than dict and slots, as is not so with heap types of extensions."""
    words = sum(1 for base in cls.__mro__ for value in vars(base).values() if type(value) is _MEMBER)
    expected = object.__basicsize__ + 8 * words
    for attribute in ("__dictoffset__", "__weakrefoffset__"):
        # a positive offset is a word in the object; managed ones stand before it
        expected += 8 if getattr(cls, attribute) > 0 else 0
    return cls.__basicsize__ == expected


def _slots_of(cls: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        own = vars(base).items()
        found |= {name: value for name, value in own if type(value) is _MEMBER and value.__objclass__ is base}
    return found
