"""What a commit will let go of is known before it: never what the program still holds."""

from __future__ import annotations

import random
import weakref

import pytest

from pstore import Store
from tests.store import zoo


class Thing:
    """What is looked for; may lead to others."""

    def __init__(self, led=()):
        self.led = [led]


class Mortals:
    """All things that live, some of which are asked for; keeps weak references to those that are to be saved."""

    def __init__(self):
        self.all, self.saved, self.asks = weakref.WeakSet(), [], lambda thing: True
        self.made = 0

    def __len__(self):
        return len(self.all)

    def __contains__(self, thing):
        return isinstance(thing, Thing) and thing in self.all and self.asks(thing)

    def save(self, things):
        self.saved += map(weakref.ref, things)

    def make(self):
        thing = Thing()
        self.made += 1
        thing.number = self.made
        self.all.add(thing)
        return thing

    def take(self):
        saved, self.saved = self.saved, []
        return saved


@pytest.fixture
def mortals():
    return Mortals()


@pytest.fixture
def store(mortals):
    with Store("memory:") as store:
        store.watch_ends(mortals)
        yield store


def waiting(thing):
    yield thing


HOLDERS = {
    "list": lambda thing: [thing],
    "lists": lambda thing: [[[thing]]],
    "dict": lambda thing: {"key": thing},
    "tuple": lambda thing: (1, (thing,)),
    "instance": lambda thing: Thing(thing),
    "frame": lambda thing: zoo.started(waiting(thing)),
    "with others": lambda thing: [[n, thing] for n in range(100)],
    "long list": lambda thing: [*([n] for n in range(100)), thing],
    "list in runs": lambda thing: [*([n] for n in range(1000)), thing],
    "dict in runs": lambda thing: {**{n: [n] for n in range(1000)}, "thing": thing},
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_found_before_the_commit_that_drops_it(store, mortals, holder):
    kept, dropped = mortals.make(), mortals.make()
    store.root["all"] = [[kept, HOLDERS[holder](kept)], [dropped, HOLDERS[holder](dropped)]]
    store.persist()
    found = weakref.ref(dropped)
    del dropped
    store.root["all"][1].pop(0)
    store.persist()
    assert mortals.take() == []
    del store.root["all"][1]
    store.persist()
    assert mortals.take() == [found]
    store.collect()  # the store may hold for longer what the program does not
    assert found() is None
    assert store.root["all"][0][0] is kept


LONG = {
    "list": (list, lambda long, thing: long.append(thing), lambda long: long.pop()),
    "list, first": (list, lambda long, thing: long.insert(0, thing), lambda long: long.pop(0)),
    "dict": (dict.fromkeys, lambda long, thing: long.update(thing=thing), lambda long: long.pop("thing")),
}


@pytest.mark.parametrize("size", [20, 63, 64, 200, 1000])
@pytest.mark.parametrize("way", LONG)
def test_found_when_it_leaves_a_container_that_stays(store, mortals, way, size):
    make, put, drop = LONG[way]
    kept, dropped = mortals.make(), mortals.make()
    long = store.root["long"] = make(range(size))
    put(long, kept)
    store.root["other"] = [kept]
    put(long, dropped) if way != "dict" else long.update(thing=dropped, kept=kept)
    store.persist()
    found = weakref.ref(dropped)
    del dropped, kept
    drop(long)
    store.persist()
    assert mortals.take() == [found]
    store.collect()
    assert found() is None


def test_what_is_saved_is_stored(store, mortals):
    store.root["all"] = [mortals.make()]
    store.root["saved"] = []
    store.persist()
    mortals.save = lambda things: store.root["saved"].extend(things)
    store.root["all"].clear()
    store.persist()
    assert len(store.root["saved"]) == 1
    assert store.collect() == 0
    (thing,) = mortals.all
    assert store.root["saved"] == [thing]


def test_what_the_program_holds_is_none_of_it(store, mortals):
    thing = mortals.make()
    store.root["all"] = [thing]
    store.persist()
    store.root["all"].clear()
    store.persist()
    assert mortals.take() == []


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_found_that_stays(store, mortals, seed):
    """Random graphs, random cuts: what was found is gone after the commit."""
    chance, found = random.Random(seed), 0
    holders = list(HOLDERS.values())
    root = store.root["all"] = [[] for _ in range(5)]
    for _ in range(60):
        for _ in range(chance.randrange(4)):
            things = list(mortals.all)
            thing = mortals.make() if chance.random() < 0.6 or not things else chance.choice(things)
            place = chance.choice([*root, *([[]] if not things else [chance.choice(things).led])])
            place.append(chance.choice(holders)(thing) if chance.random() < 0.5 else thing)
            del things, thing, place
        for place in root:
            if place and chance.random() < 0.3:
                place.pop(chance.randrange(len(place)))
        del place
        mortals.asks = chance.choice([lambda thing: True, lambda thing: thing.number % 2, lambda thing: False])
        store.persist()
        saved = mortals.take()
        store.collect()
        assert [ref() for ref in saved if ref() is not None] == []
        found += len(saved)
    FOUND.append(found)


def test_something_was_found():
    """By the random graphs, all together; one alone may have nothing."""
    assert not FOUND or sum(FOUND) > 12


FOUND: list[int] = []
