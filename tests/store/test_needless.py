"""What has not changed is not written: not even after opening, and whatever has been looked at meanwhile."""

from __future__ import annotations

import itertools
import types

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


class MadeWith:
    """What it is made with has to be filled before, if it is no atom."""

    def __init__(self, part):
        self.part = part

    def __reduce__(self):
        return MadeWith, (self.part,)


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


def named(made):
    """Attributes, in slots and beside them, of names that are values elsewhere."""
    made.tag, made.number_one = 1, 2
    return made


def with_number(made):
    """An attribute that has no name."""
    vars(made)[1] = 2
    return named(made)


NAMES = {
    "dict": lambda: named(zoo.Plain()),
    "slots": lambda: named(zoo.Mixed()),
    "no name": lambda: with_number(zoo.Plain()),
    "exception": lambda: named(zoo.Trouble(1)),
    "class": lambda: named(type(zoo.local_class(1, 2)())),
    "state": lambda: named(zoo.Stateful(1)),
    "function": lambda: named(zoo.returns(1, 2)),
    "namespace": lambda: named(types.SimpleNamespace()),
    "cached": lambda: named(zoo.Cached(1)),
}
WORDS = ["tag", "number_one", "kind"]  # the very objects that are the names of attributes


def words():
    return [list(WORDS), dict.fromkeys(WORDS)]


ALL = {
    **SETS,
    **{f"{name}, then words": lambda make=make: [make(), words(), make()] for name, make in NAMES.items()},
    **{f"words, then {name}": lambda make=make: [words(), make()] for name, make in NAMES.items()},
}


@pytest.mark.parametrize("nodes", [1, 48])
@pytest.mark.parametrize("name", ALL)
def test_what_differs_in_each_process_is_no_change(name, nodes, tmp_path, monkeypatch):
    """The order of a set, and whether strings are the same object as the names of attributes."""
    monkeypatch.setattr(cutting, "_NODES", nodes)
    with Store(tmp_path / "graph.fs") as store:
        store.root["all"] = [holding(ALL[name]()), holding(1)]
        tid = store.persist()
        looked_at(store)
        assert store.persist() == tid
    for _ in range(2):
        with Store(tmp_path / "graph.fs") as store:
            looked_at(store)
            assert store.persist() == tid
            looked_at(store)
            assert store.persist() == tid


@pytest.mark.parametrize("nodes", [1, 2, 48])
def test_what_was_in_a_late_object_is_not_late_by_itself(nodes, tmp_path, monkeypatch):
    """A tuple that is in a frozenset of objects hashed by value gets a record of its own, and needs nothing before."""
    monkeypatch.setattr(cutting, "_NODES", nodes)
    with Store(tmp_path / "graph.fs") as store:
        inner = (1, "in a tuple")
        outer = frozenset({Hashed(1), inner})
        store.root["outer"] = [outer, [outer]]
        store.persist()
        store.root["chain"] = [holding(n) for n in range(100)]
        store.root["chain"][50].a = inner
        tid = store.persist()
    for _ in range(2):
        with Store(tmp_path / "graph.fs") as store:
            looked_at(store)
            assert store.persist() == tid


@pytest.mark.parametrize("nodes", [1, 2, 48])
@pytest.mark.parametrize("parts", [([1], 1), (1, [1]), ([1], 1, [1])])
def test_what_is_late_no_more(parts, nodes, tmp_path, monkeypatch):
    """Neither is what leads to it, in whatever record."""
    monkeypatch.setattr(cutting, "_NODES", nodes)
    with Store(tmp_path / "graph.fs") as store:
        made = MadeWith(parts[0])
        store.root["holders"] = [holding(made if n % 30 == 0 else n) for n in range(100)]
        store.root["circle"] = MadeWith([made])
        store.persist()
        for part in parts[1:]:
            made.part = part
            tid = store.persist()
            assert store.persist() == tid
            looked_at(store)
            assert store.persist() == tid
    for _ in range(2):
        with Store(tmp_path / "graph.fs") as store:
            looked_at(store)
            assert store.persist() == tid
