"""What has not changed is not written: not even after opening, and whatever has been looked at meanwhile."""

from __future__ import annotations

import itertools

import pytest

from pstore import Store
from pstore._store import cutting
from tests.store import zoo
from tests.store.portrait import Portrait

names = itertools.count()


NUMBERS = (0, 7, 8, 15)
"""A set of them, made again of its members in their order, has another order."""


def test_the_numbers():
    for cls in (set, frozenset):
        assert list(cls(NUMBERS)) != list(cls(list(cls(NUMBERS))))


def holding(value):
    """An instance with a value, and no more."""
    made = zoo.Plain()
    made.a = value
    return made


class Hashed(zoo.Plain):
    """By its number."""

    def __init__(self, number):
        self.number = number

    def __eq__(self, other):
        return type(other) is Hashed and self.number == other.number

    def __hash__(self):
        return self.number


class Numbers(frozenset):
    pass


SETS = {
    "set of numbers": lambda: set(NUMBERS),
    "set of values": lambda: set(map(Hashed, NUMBERS)),
    "set of many sorts": lambda: {*NUMBERS, "text", b"bytes", None, 1.5, (1, "t"), frozenset({0, 8})},
    "set subclass": lambda: zoo.Group(NUMBERS),
    "frozenset of numbers": lambda: frozenset(NUMBERS),
    "frozenset of values": lambda: frozenset(map(Hashed, NUMBERS)),
    "frozenset in a tuple": lambda: (1, (frozenset(NUMBERS),)),
    "frozenset subclass": lambda: Numbers(NUMBERS),
    "frozenset of frozensets": lambda: frozenset({frozenset(NUMBERS), frozenset({1})}),
    "frozenset as a key": lambda: {frozenset(NUMBERS): 1},
    "shared frozenset": lambda: [frozenset(NUMBERS)] * 3,
    "frozenset in a frame": lambda: zoo.started(zoo.delegating(1, zoo.holder(frozenset(NUMBERS)))),
}


def looked_at(store):
    """Have all instances show their ``__dict__``, and their classes know one name more."""
    Portrait(store.root)
    for cls in (zoo.Plain, Hashed):
        setattr(cls.__new__(cls), f"name{next(names)}", 1)


@pytest.mark.parametrize("nodes", [1, 48])
@pytest.mark.parametrize("name", SETS)
def test_the_order_of_a_set_is_no_change(name, nodes, tmp_path, monkeypatch):
    monkeypatch.setattr(cutting, "_NODES", nodes)
    with Store(tmp_path / "graph.fs") as store:
        store.root["all"] = [holding(SETS[name]()), holding(1)]
        tid = store.persist()
        looked_at(store)
        assert store.persist() == tid
    for _ in range(2):
        with Store(tmp_path / "graph.fs") as store:
            looked_at(store)
            assert store.persist() == tid
            looked_at(store)
            assert store.persist() == tid
