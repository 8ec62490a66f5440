"""The classes, generators and closures that the tests of the store fill their graphs with.

Owns every kind of object that can be in a graph, and nothing that tests anything.  Rule for what is hashed by value:
its hash must not need what is filled after it was made, or it must not lead back to where it is a key.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing


class Plain:
    """Instance with a dict, hashed by identity."""


class Other:
    """As `Plain`, for changes of class; with a method of its own."""

    def who(self):
        return "other", self


class Slotted:
    __slots__ = ("tag", "a", "b", "__weakref__")


class Bare:
    """As small as can be; nothing can refer to it weakly."""

    __slots__ = ("tag", "a", "b")


class Bare2:
    """As `Bare`, for changes of class."""

    __slots__ = ("tag", "a", "b")


class Mixed(Slotted):
    """Slots and a dict."""


@dataclasses.dataclass
class Order:
    tag: int
    a: object = None
    b: object = None


@dataclasses.dataclass(slots=True)
class SlottedOrder:
    tag: int
    a: object = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    """Hashed by its fields, which must not lead back to what it is a key of."""

    tag: int
    members: frozenset = frozenset()
    inner: Frozen | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots:
    tag: int
    members: frozenset = frozenset()


class Valued:
    """Hashed by a value that is there before anything else is."""

    def __init__(self, tag):
        self.tag = tag

    def __reduce__(self):
        return Valued, (self.tag,), {k: v for k, v in self.__dict__.items() if k != "tag"}

    def __setstate__(self, state):
        self.__dict__.update(state)

    def __eq__(self, other):
        return isinstance(other, Valued) and self.tag == other.tag

    def __hash__(self):
        return hash(self.tag)


class Account:
    """Hashed by an attribute, stored as instances are: its other attributes must not lead back to a set that it is in."""

    def __init__(self, tag):
        self.tag = tag
        self.lines = ()

    def __eq__(self, other):
        return isinstance(other, Account) and self.tag == other.tag

    def __hash__(self):
        return hash(self.tag)


class Stateful:
    """With a state of its own making: new containers each time."""

    def __init__(self, tag):
        self.tag = tag
        self.a = self.b = None

    def __getstate__(self):
        return {"state": [self.tag, self.a, self.b]}

    def __setstate__(self, state):
        self.tag, self.a, self.b = state["state"]


class Listing:
    """Reduced to what it is made from, with its items and pairs apart."""

    def __init__(self, tag):
        self.tag, self.items, self.pairs = tag, [], {}

    def __reduce__(self):
        return Listing, (self.tag,), None, iter(self.items), iter(self.pairs.items())

    def append(self, item):
        self.items.append(item)

    def extend(self, items):
        self.items.extend(items)

    def __setitem__(self, key, value):
        self.pairs[key] = value


class Items(list):
    """A list with attributes."""


class Table(dict):
    """A dict with attributes."""


class Group(set):
    """A set with attributes."""


class Pair(tuple):
    """A tuple with attributes."""


class Text(str):
    """A string with attributes."""


class Number(int):
    """A number with attributes."""


class Buffer(bytearray):
    """A bytearray with attributes."""


class Trouble(Exception):
    pass


class Colour(enum.Enum):
    RED = 1
    BLUE = "blue"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Point(typing.NamedTuple):
    tag: int
    a: object = None


T = typing.TypeVar("T")


class Box(typing.Generic[T]):
    """`Box[int]()` has an attribute `__orig_class__`."""


class Meta(type):
    pass


class Made(metaclass=Meta):
    pass


class Cached:
    """Its instances gain an attribute past `__setattr__`."""

    def __init__(self, tag):
        self.tag = tag

    @functools.cached_property
    def twice(self):
        return [self.tag, self.tag]


class Watching:
    """Has its own `__setattr__`, `__getattr__`, `__eq__` that must not be called when it is stored."""

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)
        self.__dict__["count"] = self.__dict__.get("count", 0) + 1

    def __getattr__(self, name):
        raise AttributeError(name)

    def __eq__(self, other):
        raise AssertionError("compared")

    __hash__ = None


class Property:
    """Keeps what it shows elsewhere."""

    @property
    def a(self):
        return self.held

    @a.setter
    def a(self, value):
        self.held = value


class Node:
    """One of a linked list."""

    __slots__ = ("value", "next")

    def __init__(self, value, after=None):
        self.value, self.next = value, after


class Borg:
    """All instances may share one dict of attributes."""


def same(value):
    """What maps map."""
    return value


def local_class(tag, shared):
    """Give a class that no module leads to: it is stored by value."""

    class Local:
        kind = tag
        a = shared

        def method(self):
            return self.a, tag

    return Local


# ---------------------------------------------------------------- closures


def counter(tag):
    """Two functions over one cell."""
    count = tag

    def up(step=1, *, scale=1):
        nonlocal count
        count = [step * scale, count[0] if isinstance(count, list) else count]
        return count

    def look(tag=tag):
        return count

    return up, look


def returns(value, tag):
    """A lambda that closes over a value."""
    return lambda tag=tag: (value, tag)


def factory(value):
    """A default factory that closes over a value."""
    return lambda: [value]


# ---------------------------------------------------------------- frames


def holder(tag):
    """Holds objects in locals and, while a tuple is half built, on its value stack."""
    x = y = None
    while True:
        z = ([x], (yield (tag, x, y)), x)
        x, y = z[1], z[0]


def looping(tag, values):
    """Holds a live iterator; never ends."""
    while True:
        for value in values:
            yield tag, value
        yield tag, None


def catching(tag, held):
    """Suspends while it handles an exception, again and again."""
    got = held
    while True:
        try:
            raise Trouble(tag, got)
        except Trouble as error:
            try:
                got = yield error.args
            except ValueError as other:
                got = yield other, error


def delegating(tag, inner):
    """Suspended below another generator."""
    result = yield from inner
    yield tag, result


def sharing(tag):
    """Give a generator and a function over one cell."""
    cell = [tag]

    def run():
        nonlocal cell
        while True:
            got = yield cell
            if got is not None:
                cell = got

    return run(), lambda tag=tag: cell


async def waits(tag, held):
    """A coroutine below another."""
    return [await asks(tag, held), held, await asks(tag, held)]


@types.coroutine
def asks(tag, held):
    return (yield tag, held)


async def streams(tag, held):
    """An async generator."""
    while True:
        held = (yield tag, held) or held


def started(generator):
    """Run to the first suspension."""
    next(generator)
    return generator


def raised(tag, cause=None):
    """An exception with a traceback, and a cause."""
    try:
        try:
            raise KeyError(tag)
        except KeyError:
            raise Trouble(tag) from cause
    except Trouble as error:
        error.tag = tag
        caught = error
    return caught
