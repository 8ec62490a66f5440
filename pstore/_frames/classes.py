"""Classes <-> records (layer 1).

Owns: what is stored of a class.  One that its module leads to is stored by name, also those of `types` that no module
names as they name themselves (``generator``, ``cell``).  A class made in a function, by `exec` or at a prompt is stored
by value: metaclass, name, bases, and everything in its namespace.

Making such a class again runs no user code: ``type.__new__`` is called for the metaclass, not the metaclass itself,
and ``__init_subclass__`` of the bases and ``__set_name__`` of the attributes, which ran when it was first made, are
not called again.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import enum
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

from pstore._frames import names
from pstore._frames.stored import stored
from pstore.errors import CodeNotFound, UnsupportedValue

__all__ = ["REDUCERS", "reduce_class"]

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE

_TYPES = {name: value for name, value in vars(types).items() if isinstance(value, type)}
_NAME_OF_TYPE = {value: name for name, value in reversed(_TYPES.items())}

# Made by type.__new__ itself, or caches.
_NOT_STORED = frozenset({"__dict__", "__weakref__", "_abc_impl", "__annotations_cache__"})


def reduce_class(cls: type) -> Any:
    """Reduce a class: by name where there is a way to it, else by value."""
    found = names.reference(cls, cls.__module__, cls.__qualname__)
    if found is not None:
        return found
    if not cls.__flags__ & _HEAP_TYPE:  # built in
        return _reduce_built_in(cls)
    return _reduce_enum(cls) if isinstance(cls, enum.EnumMeta) else _by_value(cls)


def _reduce_built_in(cls: type) -> Any:
    if cls in _NAME_OF_TYPE:
        return named_type, (_NAME_OF_TYPE[cls],)
    raise UnsupportedValue("type", f"no module leads to the built-in type {cls.__qualname__}", "")


@stored
def named_type(name: str) -> type:
    """A type that the module `types` names."""
    try:
        return _TYPES[name]
    except KeyError:
        raise CodeNotFound(f"types:{name}", "this Python has no such type") from None


# ---------------------------------------------------------------- by value


def _by_value(cls: type) -> tuple[Any, ...]:
    if not _is_made_by_python(type(cls)):
        reason = f"its metaclass {type(cls).__qualname__} is of an extension, and keeps of it what cannot be read"
        raise UnsupportedValue(f"class {cls.__qualname__}", reason, "define it at the level of a module")
    slots = cls.__dict__.get("__slots__")
    slots = (slots,) if isinstance(slots, str) else tuple(slots) if slots is not None else None
    members = set(_mangled(cls, slots or ()))
    attributes = {name: value for name, value in vars(cls).items() if name not in _NOT_STORED and name not in members}
    registered = _registered(cls)
    arguments = (type(cls), cls.__name__, cls.__qualname__, cls.__module__, cls.__bases__, slots)
    return class_by_value, arguments, (attributes, registered), None, None, set_class


def _is_made_by_python(metaclass: type) -> bool:
    """Whether there is no more to its classes than to others."""
    own = metaclass.__mro__[: metaclass.__mro__.index(type)]
    size: Any = type.__basicsize__
    return metaclass.__basicsize__ == size and all(base.__flags__ & _HEAP_TYPE for base in own)


def _mangled(cls: type, slots: tuple[str, ...]) -> list[str]:
    stripped = cls.__name__.lstrip("_")
    return [
        f"_{stripped}{name}" if name.startswith("__") and not name.endswith("__") and stripped else name
        for name in slots
    ]


def _registered(cls: type) -> tuple[type, ...]:
    """The virtual subclasses of an abstract base class."""
    if not isinstance(cls, abc.ABCMeta):
        return ()
    registry = abc._get_dump(cls)[0]  # type: ignore[attr-defined]
    return tuple(found for reference in registry if (found := reference()) is not None)


def _silent(cls: type, /, **keywords: Any) -> None:
    """Stands in for ``__init_subclass__`` while a class is made again."""


_making = threading.Lock()


@contextlib.contextmanager
def _hooks_silent(bases: tuple[type, ...]) -> Iterator[None]:
    """Keep every ``__init_subclass__`` of the bases from being called.

    No other way leaves the class as it was: a further base, taken out again afterwards, has to have the same layout.
    """
    noisy = [base for cls in bases for base in cls.__mro__ if "__init_subclass__" in vars(base) and base is not object]
    noisy = [base for base in dict.fromkeys(noisy) if base.__flags__ & _HEAP_TYPE]
    with _making:
        hooks = [vars(base)["__init_subclass__"] for base in noisy]
        try:
            for base in noisy:
                type.__setattr__(base, "__init_subclass__", classmethod(_silent))
            yield
        finally:
            for base, hook in zip(noisy, hooks, strict=True):
                type.__setattr__(base, "__init_subclass__", hook)


@stored
def class_by_value(
    metaclass: type, name: str, qualname: str, module: str, bases: tuple[type, ...], slots: tuple[str, ...] | None
) -> type:
    """A class without its attributes."""
    space: dict[str, Any] = {"__module__": module, "__qualname__": qualname}
    if slots is not None:
        space["__slots__"] = slots
    with _hooks_silent(bases):
        cls: type = type.__new__(metaclass, name, bases, space)
    if isinstance(cls, abc.ABCMeta):
        abc._abc_init(cls)  # type: ignore[attr-defined]
    return cls


@stored
def set_class(cls: type, state: tuple[Any, ...]) -> None:
    """Second phase of a class: its attributes, and what was registered with it."""
    attributes, registered = state
    for name, value in attributes.items():
        if name not in ("__slots__", "__module__", "__qualname__"):
            type.__setattr__(cls, name, value)
    for subclass in registered:
        cls.register(subclass)  # type: ignore[attr-defined]


# ---------------------------------------------------------------- enumerations


def _reduce_enum(cls: Any) -> tuple[Any, ...]:
    members = {name: member._value_ for name, member in cls.__members__.items()}
    generated = {"_member_map_", "_member_names_", "_value2member_map_", "_member_type_", "_hashable_values_",
                 "_unhashable_values_", "_unhashable_values_map_", "_use_args_", "_new_member_", "_value_repr_",
                 "_boundary_", "_flag_mask_", "_singles_mask_", "_all_bits_", "_inverted_", "__new__", "_sort_order_",
                 *members, *_NOT_STORED}  # fmt: skip
    attributes = {name: value for name, value in vars(cls).items() if name not in generated and not _is_member(value)}
    boundary = getattr(cls, "_boundary_", None)
    arguments = (cls.__bases__, cls.__name__, cls.__qualname__, cls.__module__, members, boundary)
    own = {name: more for name, member in cls.__members__.items() if name == member._name_ and (more := _own(member))}
    return enum_by_value, arguments, (attributes, own), None, None, set_enum


# Set by EnumMeta on every member.
_OF_MEMBERS = frozenset({"_value_", "_name_", "_sort_order_", "__objclass__"})


def _own(member: Any) -> dict[str, Any]:
    """What a member's own ``__new__`` or ``__init__`` has set on it."""
    return {name: value for name, value in vars(member).items() if name not in _OF_MEMBERS}


def _is_member(value: Any) -> bool:
    return isinstance(value, enum.property) and type(value).__module__ == "enum" and value.fget is None


@stored
def enum_by_value(
    bases: tuple[type, ...], name: str, qualname: str, module: str, members: dict[str, Any], boundary: Any
) -> Any:
    """An enumeration with its members; methods follow."""
    made = enum.EnumMeta.__prepare__(name, bases)
    made["__module__"], made["__qualname__"] = module, qualname
    for member, value in members.items():
        made[member] = value
    keywords = {"boundary": boundary} if boundary is not None and issubclass(bases[-1], enum.Flag) else {}
    return type(bases[-1]).__new__(type(bases[-1]), name, bases, made, **keywords)


@stored
def set_enum(cls: Any, state: tuple[dict[str, Any], dict[str, dict[str, Any]]]) -> None:
    """Second phase of an enumeration: its attributes, and those of its members."""
    attributes, own = state
    set_class(cls, (attributes, ()))
    for name, more in own.items():
        vars(cls._member_map_[name]).update(more)


# ---------------------------------------------------------------- single objects that are told apart by identity


def _reduce_field_kind(obj: Any) -> tuple[Any, ...]:
    return names.by_name, ("dataclasses", obj.name)


def _reduce_plain_object(obj: object) -> Any:
    """A bare ``object()`` that a module global holds is a mark that code compares by identity: it is stored by name."""
    for name, module in list(sys.modules.items()):
        space = getattr(module, "__dict__", None) or {}
        for attribute, value in list(space.items()):
            if value is obj and names.module_name(name):
                return names.by_name, (names.module_name(name), attribute)
    return NotImplemented


def _reduce_mark(obj: Any) -> tuple[Any, ...]:
    return names.by_name, ("dataclasses", _MARKS[type(obj)])


# From 3.15 on they are sentinels, which have a reducer of their own.
_MARKS = {
    type(mark): name
    for name, mark in (("MISSING", dataclasses.MISSING), ("KW_ONLY", dataclasses.KW_ONLY))
    if type(mark).__module__ == "dataclasses"
}

REDUCERS: dict[type, Any] = {
    object: _reduce_plain_object,
    type(dataclasses._FIELD): _reduce_field_kind,  # type: ignore[attr-defined]
    **dict.fromkeys(_MARKS, _reduce_mark),
}
