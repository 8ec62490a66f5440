"""Subclasses of built-in containers <-> records (layer 1).

Owns: instances of classes that derive from dict, list, set, frozenset, deque, defaultdict or OrderedDict.  pickle fills
them through the subclass's own ``__setitem__``, ``append`` or ``extend``, and makes some by calling the class: user
code that ran when the items went in would run again, and may change them.  Here they are made by the built-in type and
filled by its methods.  Classes that say themselves how they are pickled are left to pickle.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

from pstore._frames.stored import stored

__all__ = ["reducer_for"]

# the most derived first
_BASES: tuple[type, ...] = (
    collections.OrderedDict,
    collections.defaultdict,
    collections.deque,
    dict,
    list,
    set,
    frozenset,
)
_HOOKS = ("__reduce__", "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__", "__getstate__", "__setstate__")


def reducer_for(cls: type) -> Callable[[Any], Any] | None:
    """The reducer of a subclass of a built-in container; None for any other class."""
    base = next((base for base in _BASES if issubclass(cls, base)), None)
    if base is None or cls is base:
        return None
    between = cls.__mro__[: cls.__mro__.index(base)]
    if any(hook in vars(step) for step in between for hook in _HOOKS):
        return None
    return lambda obj: _reduce(obj, base)


def _reduce(obj: Any, base: type) -> tuple[Any, ...]:
    own = object.__getstate__(obj)  # attributes, and slots; no code of the user's
    if base is frozenset:
        return frozenset_subclass, (type(obj), list(frozenset.__iter__(obj))), (own,), None, None, set_subclass_state
    options = None
    if base is collections.defaultdict:
        options = obj.default_factory
    elif base is collections.deque:
        options = obj.maxlen
    items = list(base.items(obj)) if issubclass(base, dict) else list(base.__iter__(obj))  # type: ignore[attr-defined]
    arguments = (type(obj), _BASES.index(base))
    return container_subclass, arguments, (items, options, own), None, None, fill_container_subclass


@stored
def container_subclass(cls: type, base: int) -> Any:
    """An empty container of a subclass, made by the built-in type."""
    new: Any = _STORED_BASES[base].__new__
    return new(cls)


_STORED_BASES = _BASES  # stored bytes have positions in it: it may only grow at its end


@stored
def fill_container_subclass(obj: Any, state: tuple[Any, ...]) -> None:
    """Second phase: the items, by the methods of the built-in type, then the attributes."""
    items, options, own = state
    base: Any = next(base for base in _BASES if isinstance(obj, base))
    if base is collections.deque:
        base.__init__(obj, items, options)
    elif base is list:
        base.extend(obj, items)
    elif base is set:
        base.update(obj, items)
    else:
        if base is collections.defaultdict:
            base.__init__(obj, options)
        for key, value in items:
            base.__setitem__(obj, key, value)
    set_subclass_state(obj, (own,))


@stored
def frozenset_subclass(cls: type, items: list[Any]) -> Any:
    """A frozenset of a subclass, made by the built-in type."""
    return frozenset.__new__(cls, items)


@stored
def set_subclass_state(obj: Any, state: tuple[Any]) -> None:
    """The attributes of an instance, as ``object.__getstate__`` gave them."""
    (own,) = state
    attributes, slots = own if isinstance(own, tuple) else (own, None)
    if attributes:
        obj.__dict__.update(attributes)
    for name, value in (slots or {}).items():
        object.__setattr__(obj, name, value)
