"""Closing a store, or going back, runs nothing of what only the store holds; what the program holds is the program's."""

from __future__ import annotations

import gc

import pytest

from pstore import Store
from pstore._store import cutting
from tests.store import zoo

from pstore import volatile

rung = volatile([])


def ring(name):
    rung.append(name)


class Bell:
    """Rings when it ends."""

    def __init__(self, name, held=None):
        self.name, self.held = name, held

    def __del__(self):
        ring(self.name)


class BellPair(tuple):
    """A bell that is stored where it occurs."""

    __slots__ = ()

    def __del__(self):
        ring(self[0])


def ringing(name, held=None):
    try:
        yield held
    finally:
        ring(name)


def circle(*members):
    made = list(members)
    made.append(made)
    return made


def bells():
    """A bell of each sort."""
    return {
        "instance": Bell("instance"),
        "tuple": BellPair(["tuple"]),
        "frame": zoo.started(ringing("frame")),
        "held by another": [[Bell("held by another")], 1],
        "in a tuple": (1, (Bell("in a tuple"), 2)),
        "in a frame": zoo.started(zoo.delegating(1, ringing("in a frame"))),
        "one of many": [[Bell("one of many"), [n]] for n in range(60)],
        "in a circle": circle(Bell("in a circle"), zoo.started(ringing("in a circle"))),
        "leading back": zoo.started(ringing("leading back", circle(Bell("leading back")))),
    }


@pytest.fixture(params=[1, 48], autouse=True)
def nodes(request, monkeypatch):
    monkeypatch.setattr(cutting, "_NODES", request.param)


@pytest.fixture(autouse=True)
def silence():
    gc.collect()
    rung.clear()
    yield
    gc.collect()


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "graph.fs") as store:
        store.root["bells"] = {name: [bell] for name, bell in bells().items()}
        store.persist()
        yield store


def close(store):
    store.close()
    store._keeper = store._jar = store._db = store._top = None


WAYS = {"close": close, "abort": Store.abort}


@pytest.fixture(params=WAYS)
def leave(request):
    def leave(store):
        WAYS[request.param](store)
        gc.collect()

    return leave


def test_what_was_dropped_since_the_last_commit(store, leave):
    for holder in store.root["bells"].values():
        holder.clear()
    del holder, store.root["bells"]
    gc.collect()
    assert rung == []
    leave(store)
    assert rung == []


def test_what_was_replaced_since_the_last_commit(store, leave):
    store.root["bells"] = bells()
    store.root.clear()
    gc.collect()
    assert len(rung) > 6  # these were never stored
    rung.clear()
    leave(store)
    assert rung == []


def test_garbage_that_was_committed(store, leave):
    """A commit lets go of circles only from time to time."""
    store.root["bells"] = circle(store.root["bells"])
    store.persist()
    del store.root["bells"]
    store.persist()
    gc.collect()
    rung.clear()
    leave(store)
    assert rung == []


def test_what_is_new_in_garbage(store, leave):
    garbage = store.root["bells"]["instance"]
    garbage.append(bells())
    del garbage, store.root["bells"]
    leave(store)
    assert rung == []


def test_what_the_program_holds_ends_when_the_program_drops_it(store, leave):
    mine = store.root.pop("bells")
    store.persist()
    leave(store)
    assert rung == []
    names = set(mine)
    del mine
    gc.collect()
    assert set(rung) == names


def test_what_the_program_leads_to_is_its_own(store, leave):
    """Held by an object that was never stored."""
    mine = Bell("mine", store.root.pop("bells"))
    store.persist()
    names = {"mine", *mine.held}
    leave(store)
    assert rung == []
    del mine
    gc.collect()
    assert set(rung) == names


def test_what_is_still_in_the_store_goes_on_there(store, leave):
    """Also when the program held it."""
    mine = store.root["bells"]
    leave(store)
    del mine
    gc.collect()
    assert rung == []


def test_a_look_at_the_past(store):
    past = store.at(store.tid)
    del past.root["bells"]
    close(past)
    del past
    gc.collect()
    assert rung == []
