"""Classes that have a ``__setstate__`` and nothing else of their own: what they store is their ``__dict__``."""

from __future__ import annotations

import random

import pytest

from pstore import Store


class Kept:
    """As what reads its own older states."""

    def __init__(self, **names):
        self.__dict__.update(names)

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.__dict__.setdefault("late", "made by __setstate__")


class Computed(Kept):
    """Says itself what is stored of it."""

    def __getstate__(self):
        return {"n": self.n, "double": self.n * 2}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "graph.fs"


def stored(path):
    with Store(path, read_only=True) as store:
        return {name: dict(vars(obj)) for name, obj in store.root.items()}


CHANGES = {
    "another value": lambda obj: setattr(obj, "a", 2),
    "a new name": lambda obj: setattr(obj, "new", 3),
    "one name less": lambda obj: delattr(obj, "b"),
    "an object": lambda obj: setattr(obj, "a", [1]),
    "in an object": lambda obj: obj.l.append(2),
    "another dict": lambda obj: setattr(obj, "__dict__", {"a": 9, "l": obj.l}),
    "in its dict": lambda obj: obj.__dict__.update(a=5, c=6),
    "the order": lambda obj: setattr(obj, "__dict__", dict(reversed(obj.__dict__.items()))),
}


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_every_change_is_seen(path, name, again):
    with Store(path) as store:
        store.root["x"] = Kept(a=1, b="b", l=[1])
        store.persist()
        if again:
            store.abort()
        before = store.tid
        assert store.persist() == before
        CHANGES[name](store.root["x"])
        wanted = dict(vars(store.root["x"]))
        assert store.persist() != before
        tid = store.tid
        assert store.persist() == tid
    found = stored(path)["x"]
    assert list(found.items()) == list({**wanted, "late": wanted.get("late", "made by __setstate__")}.items())


def test_what_says_itself_what_is_stored_is_asked(path):
    with Store(path) as store:
        obj = store.root["x"] = Computed(n=1)
        store.persist()
        obj.n = 5
        store.persist()
    assert stored(path)["x"]["double"] == 10


def test_at_random(path):
    draw = random.Random(7)
    with Store(path) as store:
        objs = store.root["objs"] = [Kept(n=n) for n in range(30)]
        store.persist()
        for _ in range(200):
            obj = draw.choice(objs)
            name = draw.choice("abcn")
            if draw.random() < 0.3:
                obj.__dict__.pop(name, None)
            else:
                setattr(obj, name, draw.choice([1, "x", [1], draw.choice(objs)]))
            if draw.random() < 0.2:
                store.persist()
        store.persist()
        wanted = [[(k, v if not isinstance(v, Kept) else objs.index(v)) for k, v in vars(o).items()] for o in objs]
    with Store(path) as store:
        back = store.root["objs"]
        found = [
            [(k, v if not isinstance(v, Kept) else back.index(v)) for k, v in vars(o).items() if k != "late"] for o in back
        ]
    assert found == wanted
