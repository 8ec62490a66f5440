"""Large graphs: deep ones, wide ones; what a small change of a large graph writes; what is unlinked is let go."""

from __future__ import annotations

import gc
import itertools
import weakref

import pytest

from pstore import Store
from tests import processes
from tests.store import zoo
from tests.store.features import needs, needs_incremental
from tests.store.portrait import assert_same

NODES = 100_000


@pytest.fixture
def path(tmp_path):
    return tmp_path / "graph.fs"


def linked(count):
    node = None
    for n in reversed(range(count)):
        node = zoo.Node(n, node)
    return node


def nth(node, n):
    for _ in range(n):
        node = node.next
    return node


@pytest.mark.slow
def test_a_linked_list_of_100_000_nodes(path):
    with Store(path) as store:
        store.root["x"] = first = linked(NODES)
        tid = store.persist()
        assert store.persist() == tid
        nth(first, NODES // 2).value = "middle"
        last = nth(first, NODES - 1)
        last.next = zoo.Node("new", first)
        assert store.persist() > tid
        tid = store.persist()
        assert store.tid == tid
        del first, last
    processes.run(
        f"""
        from pstore import Store
        with Store({str(path)!r}) as store:
            first = node = store.root["x"]
            for n in range({NODES}):
                assert node.value == ("middle" if n == {NODES // 2} else n)
                node = node.next
            assert node.value == "new" and node.next is first
        """,
        path.parent,
    )


def test_1_000_nested_tuples_and_lists(path):
    leaf = [1]
    nested, lists, dicts = leaf, leaf, leaf
    for n in range(1000):
        nested, lists, dicts = (nested, n), [lists], {"x": dicts}
    with Store(path) as store:
        store.root.update(nested=nested, lists=lists, dicts=dicts, leaf=leaf)
        store.persist()
        leaf.append(2)
        tid = store.persist()
        assert store.persist() == tid
    with Store(path) as store:
        assert_same({"nested": nested, "lists": lists, "dicts": dicts, "leaf": leaf}, store.root)


def test_a_chain_of_800_frames(path):
    shared = []
    below = zoo.started(zoo.holder(0))
    for n in range(800):  # Python's own limit is a little higher
        below = zoo.delegating(n, below)
    next(below)
    with Store(path) as store:
        store.root.update(x=below, shared=shared)
        store.persist()
        below.send(shared)
        store.persist()
    with Store(path) as store:
        tag, sent, _ = store.root["x"].send(1)
        assert (tag, sent) == (0, 1)
        tag, sent, (again,) = store.root["x"].send(2)
        assert again == 1


@needs_incremental
@pytest.mark.parametrize("kind", ["objects", "lists", "dict of lists", "dict", "list", "linked"])
def test_a_small_change_of_a_large_graph_writes_little(path, kind):
    with Store(path) as store:
        if kind == "objects":
            x = []
            for n in range(10_000):
                one = zoo.Plain()
                one.number, one.text = n, f"text {n}"
                x.append(one)
        elif kind == "lists":
            x = [[n, str(n)] for n in range(10_000)]
        elif kind == "dict of lists":
            x = {f"k{n}": [n] for n in range(10_000)}
        elif kind == "linked":
            x = linked(10_000)
        else:
            x = {f"k{n}": str(n) for n in range(10_000)} if kind == "dict" else [f"text {n}" for n in range(10_000)]
        store.root["x"] = x
        store.persist()
        size = path.stat().st_size
        if kind == "objects":
            x[5000].number = 0
        elif kind == "lists":
            x[5000].append(1)
        elif kind == "dict of lists":
            x["k5000"].append(1)
        elif kind == "linked":
            nth(x, 5000).value = "changed"
        else:
            x["k5000" if kind == "dict" else 5000] = "changed"
        store.persist()
        written = path.stat().st_size - size
        whole = size
    assert written < (whole if kind in ("dict", "list") else 20_000), written


@needs_incremental
def test_what_grows_by_one_each_time_does_not_write_all_each_time(path):
    with Store(path) as store:
        store.root["x"] = x = []
        store.persist()
        sizes = []
        for n in range(300):
            one = zoo.Plain()
            one.number, one.lines = n, [n, str(n)]
            x.append(one)
            store.persist()
            sizes.append(path.stat().st_size)
    steps = [after - before for before, after in itertools.pairwise(sizes)]
    assert max(steps[-50:]) < 30_000, steps[-50:]


def test_what_is_unlinked_is_let_go(path):
    """A store must not keep alive what the program has let go of, once it was persisted without it."""
    with Store(path) as store:
        store.root["x"] = [zoo.Plain() for _ in range(100)]
        for one in store.root["x"]:
            one.me, one.all = one, store.root["x"]
        gone = [weakref.ref(one) for one in store.root["x"]]
        store.persist()
        del one
        del store.root["x"]
        store.persist()
        store.persist()
        gc.collect()
        if hasattr(store, "collect"):
            store.collect()
            gc.collect()
        assert [one() for one in gone if one() is not None] == []


def test_replacing_values_does_not_pile_them_up(path):
    with Store(path) as store:
        store.root["x"] = x = zoo.Plain()
        gone = []
        for n in range(20):
            x.value = one = zoo.Plain()
            one.number = n
            gone.append(weakref.ref(one))
            del one
            store.persist()
        gc.collect()
        assert sum(one() is not None for one in gone) <= 3


@needs("pack")
def test_packing_makes_the_file_small_again(path):
    with Store(path) as store:
        for n in range(50):
            store.root["x"] = [bytes([n]) * 5000, n]
            store.persist()
        size = path.stat().st_size
        store.pack()
        assert path.stat().st_size < size / 5
        assert store.root["x"] == [bytes([49]) * 5000, 49]
        store.root["x"].append("more")
        store.persist()
    with Store(path) as store:
        assert store.root["x"][1:] == [49, "more"]
