"""Defects of Cleipnir's object store, on which the idea of pstore was first tried: none of them may come back.

The names are those of the list that the study of it made: W1 additions after a persist lost, W2 values of types that the
store did not list replaced by defaults, W3 a removed value set again never written, W10 cycles need help.
"""

from __future__ import annotations

import datetime
import decimal

import fractions
import itertools
import random
import uuid

import pytest

from pstore import Store
from tests import processes
from tests.store import zoo


@pytest.fixture
def path(tmp_path):
    return tmp_path / "graph.fs"


def reopened(path, name="x"):
    with Store(path) as store:
        return store.root[name]


CONTAINERS = {
    "list": (list, lambda x, n: x.append(n), list),
    "list subclass": (zoo.Items, lambda x, n: x.append(n), list),
    "dict": (dict, lambda x, n: x.__setitem__(n, n), list),
    "set": (set, lambda x, n: x.add(n), sorted),
    "instance": (zoo.Plain, lambda x, n: setattr(x, f"a{n}", n), lambda x: list(vars(x).values())),
    "bytearray": (bytearray, lambda x, n: x.append(n), list),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_w1_what_is_added_after_a_persist_is_there_after_reloading(path, kind):
    make, add, contents = CONTAINERS[kind]
    with Store(path) as store:
        store.root["x"] = x = make()
        for n in range(30):
            add(x, n)
            store.persist()
            if n % 7 == 3:
                assert contents(reopened_copy(path)) == list(range(n + 1))
    assert contents(reopened(path)) == list(range(30))


def reopened_copy(path):
    with Store(path, read_only=True) as store:
        return store.root["x"]


def test_w1_a_linked_list_of_ones_own(path):
    """Cleipnir's CList forgot that the node before the new one had changed, too."""
    with Store(path) as store:
        store.root["first"] = last = zoo.Node(0)
        for n in range(1, 20):
            last.next = zoo.Node(n)
            last = last.next
            store.persist()
    node, values = reopened(path, "first"), []
    while node is not None:
        values.append(node.value)
        node = node.next
    assert values == list(range(20))


def test_w1_random_mixes_of_adding_and_removing_with_a_persist_between_each_two(path):
    chance = random.Random(1)
    model, counter = [], itertools.count()
    with Store(path) as store:
        store.root["x"] = x = []
        for _ in range(60):
            if model and chance.random() < 0.4:
                at = chance.randrange(len(model))
                assert x.pop(at) == model.pop(at)
            else:
                n, at = next(counter), chance.randint(0, len(model))
                x.insert(at, n)
                model.insert(at, n)
            store.persist()
            if chance.random() < 0.2:
                store.abort()
                x = store.root["x"]
                assert x == model
    assert reopened(path) == model


W2 = {
    "uuid": uuid.UUID("12345678123456781234567812345678"),
    "decimal": decimal.Decimal("1.10"),
    "enum": zoo.Colour.BLUE,
    "list": [1, 2, 3],
    "int or None": None,
    "timedelta": datetime.timedelta(days=1, seconds=2),
    "fraction": fractions.Fraction(1, 3),
    "datetime": datetime.datetime(2024, 1, 2, 3, 4, tzinfo=datetime.UTC),
    "tuple": (1, "a"),
    "bytes": b"by",
    "frozenset": frozenset({1, 2}),
    "float": 1.5,
    "complex": 1 + 2j,
    "range": range(3),
}


@pytest.mark.parametrize("name", W2)
def test_w2_what_frames_and_closures_hold_is_kept_whatever_its_type(path, name):
    value = W2[name]
    with Store(path) as store:
        frame = zoo.started(zoo.holder(1))
        frame.send(value)
        store.root.update(frame=frame, closure=zoo.returns(value, 1), attribute=zoo.Order(1, value))
        store.persist()
    with Store(path) as store:
        _, _, (sent,) = next(store.root["frame"])
        found = [store.root["closure"]()[0], store.root["attribute"].a, sent]
        assert found == [value] * 3
        assert [type(one) for one in found] == [type(value)] * 3


@pytest.mark.parametrize("kind", ["dict", "instance", "root"])
def test_w3_a_value_that_was_removed_and_set_again(path, kind):
    """The same value, as the store had it before: remove, persist, set, persist."""
    value = ["value"]
    with Store(path) as store:
        store.root["x"] = x = zoo.Plain() if kind == "instance" else {}
        entries = {"dict": x, "root": store.root}.get(kind) if kind != "instance" else vars(x)
        for _ in range(3):
            entries["Elms"] = value
            store.persist()
            del entries["Elms"]
            store.persist()
        entries["Elms"] = value
        store.persist()
    with Store(path) as store:
        x = store.root["x"]
        entries = {"dict": x, "root": store.root}.get(kind) if kind != "instance" else vars(x)
        assert entries["Elms"] == ["value"]


def test_w3_an_object_that_was_unlinked_and_linked_again(path):
    with Store(path) as store:
        store.root["a"], store.root["b"] = [], {}
        one = zoo.Plain()
        one.held = [1]
        for n in range(4):
            store.root["a"].append(one)
            store.persist()
            store.root["a"].remove(one)
            store.persist()
            one.held.append(n)  # changed while the store had nothing to do with it
        store.root["a"].append(one)
        store.root["b"]["one"] = one
        store.persist()
    with Store(path) as store:
        assert store.root["a"][0] is store.root["b"]["one"]
        assert store.root["a"][0].held == [1, 0, 1, 2, 3]


def test_w3_an_element_of_a_set_removed_and_added_again(path):
    with Store(path) as store:
        store.root["x"] = x = {1, 2}
        store.persist()
        x.discard(1)
        store.persist()
        x.add(1)
        store.persist()
    assert reopened(path) == {1, 2}


def test_w10_cycles_need_no_help(path):
    with Store(path) as store:
        a, b = zoo.Plain(), zoo.Slotted()
        a.b, b.a, a.a = b, a, a
        loop = [a]
        loop.append(loop)
        table = {"loop": loop}
        table["table"] = table
        frame = zoo.started(zoo.holder(1))
        frame.send(frame)
        up, look = zoo.counter(1)
        look.__closure__[0].cell_contents = up
        store.root.update(a=a, loop=loop, table=table, frame=frame, up=up, root=store.root)
        store.persist()
        loop.append(table)
        b.b = [b, store.root]
        store.persist()
    processes.run(
        f"""
        from pstore import Store
        with Store({str(path)!r}) as store:
            r = store.root
            a = r["a"]
            assert a.a is a and a.b.a is a and a.b.b[0] is a.b and a.b.b[1] is r and r["root"] is r
            assert r["loop"][0] is a and r["loop"][1] is r["loop"] and r["loop"][2] is r["table"] is r["table"]["table"]
            assert r["frame"].gi_frame.f_locals["x"] is r["frame"]
            assert r["up"].__closure__[0].cell_contents is r["up"]
        """,
        path.parent,
    )


def test_w10_deep_graphs_need_no_help(path):
    """Cleipnir's reader recursed; so does pickle's writer."""
    with Store(path) as store:
        node = None
        for n in range(20_000):
            node = zoo.Node(n, node)
        store.root["x"] = node
        store.persist()
    node, count = reopened(path), 0
    while node is not None:
        node, count = node.next, count + 1
    assert count == 20_000
