"""Immutable instances of classes that are stored by value: to make one calls a function of its class, or of a base.

A commit that nobody can read again is the worst that can be: so each is read again.
"""

from __future__ import annotations

import collections
import typing
from fractions import Fraction

import pytest

from pstore import Store


def named_tuple():
    return collections.namedtuple("Named", "x y")


def typed_tuple():
    class Typed(typing.NamedTuple):
        x: typing.Any
        y: typing.Any

    return Typed


def of_a_named_tuple():
    class Derived(collections.namedtuple("Base", "x y")):
        __slots__ = ()

        def __new__(cls, x, y=5):
            return super().__new__(cls, x, y)

    return Derived


def own_tuple():
    class Own(tuple):
        def __new__(cls, x, y):
            return super().__new__(cls, (x, y))

        def __getnewargs__(self):
            return tuple(self)

    return Own


def own_tuple_with_attributes():
    class Own(tuple):
        def __new__(cls, x, y):
            made = super().__new__(cls, (x, y))
            made.extra = [y]
            return made

        def __getnewargs__(self):
            return tuple(self)

    return Own


def own_string():
    class Own(str):
        def __new__(cls, *parts):
            return super().__new__(cls, "".join(map(str, parts)))

    return Own


def own_int():
    class Own(int):
        def __new__(cls, x, y):
            return super().__new__(cls, x * 10 + y if isinstance(x, int) else y)

        def __getnewargs__(self):
            return 0, int(self)

    return Own


def own_fraction():
    class Own(Fraction):
        pass

    return Own


CLASSES = [
    named_tuple, typed_tuple, of_a_named_tuple, own_tuple, own_tuple_with_attributes, own_string, own_int, own_fraction,
]  # fmt: skip
HOLDERS = {
    "in a list": lambda cls: [cls(1, 2)],
    "two": lambda cls: [cls(1, 2), [cls(3, 4)]],
    "a key": lambda cls: [{cls(2, 3): "k"}],
    "in a set": lambda cls: [{cls(3, 4), 1}],
    "in a frozenset": lambda cls: [frozenset([cls(3, 4)])],
    "a key, and in a list": lambda cls: [cls(1, 2), {cls(2, 3): "k"}],
    "everywhere": lambda cls: [cls(1, 2), {cls(2, 3): "k"}, frozenset([cls(3, 4)]), [cls(4, 1)]],
    "shared": lambda cls: (lambda one: [one, [one], {1: one}, (one, one)])(cls(1, 2)),
    "with the class": lambda cls: [cls, cls(1, 2), {cls: cls(2, 3)}],
}
NESTED = {
    "in itself": lambda cls: [cls(cls(1, 2), 3)],
    "in itself through a list": lambda cls: [cls([cls(4, 1)], 1)],
    "in itself through a tuple": lambda cls: [cls((cls(4, 1),), 1)],
    "in a cycle": lambda cls: (lambda items: items.append(cls(items, 1)) or [items[0]])([]),
}
CASES = [(cls, name, holder) for cls in CLASSES for name, holder in HOLDERS.items()]
CASES += [(cls, name, holder) for cls in CLASSES[:5] for name, holder in NESTED.items()]


def shown(held):
    """What can be seen of a list; the order of a set is not to be: it changes with the seed of the hashes of strings."""
    sets = [sorted(map(repr, one)) for one in held if isinstance(one, set | frozenset)]
    others = [repr(one) for one in held if not isinstance(one, set | frozenset)]
    return others, sets, [getattr(one, "extra", None) for one in held]


@pytest.mark.parametrize(("make", "name", "holder"), CASES, ids=[f"{make.__name__}-{name}" for make, name, _ in CASES])
@pytest.mark.parametrize("later", [False, True])
def test_what_is_stored_is_read_again(tmp_path, make, name, holder, later):
    with Store(tmp_path / "a.fs") as store:
        held = store.root["held"] = []
        if later:
            store.persist()
        held += holder(make())
        store.persist()
        expected = shown(held)
    with Store(tmp_path / "a.fs") as store:
        held = store.root["held"]
        assert shown(held) == expected
        if name == "shared":
            assert held[0] is held[1][0] is held[2][1] is held[3][0]
        before = store.persist()  # what is a class's own may be written once more
        assert store.persist() == before
        held.append("more")
        store.persist()
    with Store(tmp_path / "a.fs") as store:
        assert store.root["held"][-1] == "more"
