"""What ends because a commit lets go of it may run code, and what that changes is stored by the next commit."""

from __future__ import annotations

import array
import gc

import pytest

from pstore import Store
from pstore._store import cutting
from pstore.errors import StoreError
from tests.store import zoo
from tests.store.portrait import Portrait, assert_same


class Bell:
    """Rings when it ends."""

    def __init__(self, rung, held=None):
        self.rung, self.held = rung, held

    def __del__(self):
        ring(self.rung)


class BellPair(tuple):
    """A bell that is stored where it occurs, not as a node."""

    def __del__(self):
        ring(self[0])


def ring(rung):
    if isinstance(rung, zoo.Plain):
        rung.count = getattr(rung, "count", 0) + 1
    else:
        rung.append(1)


def ringing(rung):
    try:
        yield
    finally:
        ring(rung)


RUNG = {
    "list": list,
    "array": lambda: array.array("q"),
    "instance": zoo.Plain,
}
BELLS = {
    "instance": Bell,
    "tuple": lambda rung: BellPair([rung]),
    "frame": lambda rung: zoo.started(ringing(rung)),
    "held by another": lambda rung: [[Bell(rung)]],
    "one after the other": lambda rung: Bell(rung, [Bell(rung, (Bell(rung), BellPair([rung])))]),
    "in a tuple": lambda rung: (1, (Bell(rung),)),
    "with others": lambda rung: [[Bell(rung), [n]] for n in range(60)],
}


def fillers():
    """Objects of many sorts, between which the others stand."""
    return [zoo.Frozen(1), array.array("d", [1]), {"k": [2]}, zoo.Pair((1, 2)), zoo.started(zoo.holder(1))]


@pytest.fixture(params=[1, 3, 48])
def nodes(request, monkeypatch):
    monkeypatch.setattr(cutting, "_NODES", request.param)


def stored_is_live(store, path):
    """After one more commit, at the latest."""
    store.persist()
    live = Portrait(store.root)
    tid = store.persist()
    assert store.persist() == tid, "written although nothing has changed"
    store.close()
    with Store(path) as store:
        assert_same(live, Portrait(store.root), "after reopening")


@pytest.mark.usefixtures("nodes")
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("rung", RUNG)
@pytest.mark.parametrize("bell", BELLS)
def test_what_rings_when_it_ends(bell, rung, first, tmp_path):
    path = tmp_path / "graph.fs"
    store = Store(path)
    target = RUNG[rung]()
    store.root["a"], store.root["z"] = fillers(), fillers()
    if first:
        store.root["rung"] = target
    store.root["bell"] = BELLS[bell](target)
    store.root["rung"] = target
    before = Portrait([target]).rows
    store.persist()
    del store.root["bell"]
    store.persist()
    if Portrait([target]).rows == before:  # what tuples lead to in other records may take longer to be found
        store.collect()
    assert Portrait([target]).rows != before
    stored_is_live(store, path)


@pytest.mark.usefixtures("nodes")
@pytest.mark.parametrize("rung", RUNG)
def test_what_rings_when_it_is_collected(rung, tmp_path):
    path = tmp_path / "graph.fs"
    store = Store(path)
    target = RUNG[rung]()
    circle = []
    circle += [Bell(target), circle, [Bell(target)]]
    store.root["circle"], store.root["a"], store.root["rung"] = circle, fillers(), target
    del circle
    before = Portrait([target]).rows
    store.persist()
    del store.root["circle"]
    store.persist()
    store.collect()
    gc.collect()
    assert Portrait([target]).rows != before
    stored_is_live(store, path)


@pytest.mark.usefixtures("nodes")
@pytest.mark.parametrize("rung", RUNG)
def test_what_rings_when_another_thing_takes_its_place(rung, tmp_path):
    """Many at once, each in the place of the last, beside what they change."""
    path = tmp_path / "graph.fs"
    store = Store(path)
    target = RUNG[rung]()
    store.root["all"] = [[Bell(target), {"bell": BellPair([target])}, n, fillers()] for n in range(20)]
    store.root["rung"] = target
    for n in range(8):
        store.persist()
        store.root["all"][n * 2][0] = Bell(target)
        store.root["all"][n + 1][1]["bell"] = None
    stored_is_live(store, path)


@pytest.mark.usefixtures("nodes")
def test_a_frame_that_waits_for_another_closes_it(tmp_path):
    path = tmp_path / "graph.fs"
    store = Store(path)
    inner = zoo.holder(1)
    store.root["outer"] = zoo.started(zoo.delegating(2, inner))
    store.root["inner"] = inner
    store.persist()
    del store.root["outer"]
    store.persist()
    assert inner.gi_frame is None
    stored_is_live(store, path)


class Actor:
    """Does something when it ends, once."""

    ended = 0

    def __init__(self, act, *arguments):
        self.act, self.arguments = act, arguments

    def __del__(self):
        Actor.ended += 1
        ACTS[self.act](self, *self.arguments)


STORES = []


def _resurrect(actor, place):
    place.append(actor)


def _resurrect_parts(actor, place):
    place += actor.arguments


def _with_new(actor, place):
    place.append([Bell(place), {"n": [1]}])


def _raise(actor, place):
    place.append(1)
    raise ValueError("out of __del__")


def _store_does(name, *arguments):
    def act(actor, place):
        place.append(2)
        for store in STORES:
            try:
                getattr(store, name)(*arguments)
            except StoreError as error:
                place.append(type(error).__name__)

    return act


def _attach(actor, place):
    for store in STORES:
        store.attach(actor)
        store.attach([place], "attached")


def _detach(actor, place):
    for store in STORES:
        store.root.pop("z", None)


def _move(actor, place):
    """What stands in one record goes to another."""
    for store in STORES:
        place.append(store.root.setdefault("a", [0]).pop())
        store.root["moved"] = store.root.pop("z", None)


ACTS = {
    "resurrects": _resurrect,
    "resurrects parts": _resurrect_parts,
    "makes new": _with_new,
    "raises": _raise,
    "persists": _store_does("persist"),
    "aborts": _store_does("abort"),
    "collects": _store_does("collect"),
    "packs": _store_does("pack"),
    "looks back": _store_does("history"),
    "closes": _store_does("close"),
    "attaches": _attach,
    "detaches": _detach,
    "moves": _move,
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("nodes")
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("circle", [False, True])
@pytest.mark.parametrize("act", ACTS)
def test_what_does_something_to_the_store_when_it_ends(act, circle, count, tmp_path):
    path = tmp_path / "graph.fs"
    store = Store(path)
    STORES[:] = [store]
    Actor.ended = 0
    try:
        place = store.root["place"] = [0]
        store.root["a"], store.root["z"] = fillers(), fillers()
        actors = [[Actor(act, place), [n]] for n in range(count)]
        if circle:
            actors.append(actors)
        store.root["actors"] = [actors, fillers()]
        del actors
        store.persist()
        del place, store.root["actors"][0]
        store.persist()
        if not store.closed:
            store.collect()
            gc.collect()
        if store.closed:
            STORES.clear()
            with Store(path) as store:
                assert store.root["place"] == [0]
                assert len(store.root["actors"]) == 1
            return
        ended = Actor.ended
        stored_is_live(store, path)
        STORES.clear()
        # what has ended, and was taken back by an abort before that was stored, ends again
        assert ended == Actor.ended or act == "aborts"
    finally:
        STORES.clear()
        store.close()
