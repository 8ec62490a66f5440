"""What ends because a commit lets go of it may run code, and what that changes is stored by the next commit."""

from __future__ import annotations

import array
import gc

import pytest

from pstore import Store
from pstore._store import cutting
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
