"""Containers of the standard library that the store keeps as nodes (layer 2).

Owns: how they are made empty, filled, and watched: `CONTAINERS`; and which keys of a subclass of a built-in container
can be watched without running its code.  pickle makes some of them with their contents, which a node that is part of a
cycle cannot be.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import is_
from typing import Any

from pstore._frames.stored import stored

__all__ = ["CONTAINERS", "Container", "Values", "keys_of_subclass"]


@dataclass(frozen=True)
class Container:
    """How one class of containers is kept.

    Attributes:
        make: makes an empty one from `arguments`.
        arguments: object -> what it is made with; leaves.
        state: object -> a tuple whose lists hold its items.
        fill: puts a state in.
        keyed: it has keys that the garbage collector does not show.
        hashes: its items, or keys, are hashed when it is filled.
        look: object -> a value that changes with what else is not shown; None: there is nothing else.
    """

    make: Any
    arguments: Callable[[Any], tuple[Any, ...]]
    state: Callable[[Any], tuple[Any, ...]]
    fill: Any
    keyed: bool = False
    hashes: bool = False
    look: Callable[[Any], Any] | None = None


@stored
def empty_deque(maxlen: int | None) -> deque[Any]:
    """An empty deque."""
    return deque(maxlen=maxlen)


@stored
def fill_deque(obj: deque[Any], state: tuple[list[Any]]) -> None:
    """Its items."""
    obj.extend(state[0])


@stored
def fill_counter(obj: Counter[Any], state: tuple[list[Any], list[Any], list[Any], list[Any]]) -> None:
    """Keys, values and attributes; by the method of dict: those of Counter add up."""
    keys, values, names, attributes = state
    dict.update(obj, zip(keys, values, strict=True))
    vars(obj).update(zip(names, attributes, strict=True))


@stored
def fill_ordered(obj: OrderedDict[Any, Any], state: tuple[list[Any], list[Any], list[Any], list[Any]]) -> None:
    """Keys, values and attributes."""
    keys, values, names, attributes = state
    obj.update(zip(keys, values, strict=True))
    vars(obj).update(zip(names, attributes, strict=True))


@stored
def fill_defaultdict(obj: defaultdict[Any, Any], state: tuple[list[Any], list[Any], Any]) -> None:
    """Keys, values and the factory."""
    keys, values, obj.default_factory = state
    obj.update(zip(keys, values, strict=True))


@stored
def fill_bytearray(obj: bytearray, state: tuple[bytes]) -> None:
    """Its bytes."""
    obj.extend(state[0])


def _no_arguments(obj: Any) -> tuple[()]:
    return ()


def _pairs(obj: dict[Any, Any]) -> tuple[list[Any], list[Any]]:
    return list(obj), list(obj.values())


def _pairs_and_attributes(obj: dict[Any, Any]) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    own = vars(obj)
    return *_pairs(obj), list(own), list(own.values())


class Values:
    """The values of a dict; equal to those that are the very same objects, in the same order."""

    __slots__ = ("values",)

    def __init__(self, obj: dict[Any, Any]) -> None:
        self.values = list(obj.values())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Values) or len(self.values) != len(other.values):
            return False
        return all(map(is_, self.values, other.values))

    __hash__ = None  # type: ignore[assignment]


class _Attributes:
    """The attributes of an object; equal to what has the same ones, each the very same object."""

    __slots__ = ("names", "values")

    def __init__(self, obj: Any) -> None:
        own = vars(obj)
        self.names, self.values = list(own), list(own.values())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Attributes) or self.names != other.names:
            return False
        return len(self.values) == len(other.values) and all(map(is_, self.values, other.values))

    __hash__ = None  # type: ignore[assignment]


CONTAINERS: dict[type, Container] = {
    deque: Container(empty_deque, lambda obj: (obj.maxlen,), lambda obj: (list(obj),), fill_deque),
    OrderedDict: Container(
        OrderedDict, _no_arguments, _pairs_and_attributes, fill_ordered, keyed=True, hashes=True, look=_Attributes
    ),
    Counter: Container(
        Counter, _no_arguments, _pairs_and_attributes, fill_counter, keyed=True, hashes=True, look=_Attributes
    ),
    defaultdict: Container(
        defaultdict,
        _no_arguments,
        lambda obj: (*_pairs(obj), obj.default_factory),
        fill_defaultdict,
        keyed=True,
        hashes=True,
    ),
    bytearray: Container(bytearray, _no_arguments, lambda obj: (bytes(obj),), fill_bytearray, look=bytes),
}


def keys_of_subclass(obj: Any) -> Iterable[Any] | None:
    """The keys of an instance of a subclass of a built-in container, without running its own code.

    Empty for those that have none; None for what is no such instance, or keeps more than items and attributes.
    """
    cls = type(obj)
    for base in (OrderedDict, dict):
        if isinstance(obj, base):
            return base.keys(obj)
    if isinstance(obj, (list, set, deque)) and cls not in (list, set, deque):
        return ()
    return None
