"""The state machine over a store, shortly; and that it would see what it is there to see."""

from __future__ import annotations

import copy
import functools
import gc

import pytest
from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from pstore._store import cutting
from tests.store import machine, ops, zoo
from tests.store.portrait import Portrait, assert_same, difference
from tests.turns import TURN

SHORT = settings(
    machine.SETTINGS,
    max_examples=40,
    stateful_step_count=20,
    report_multiple_bugs=False,
    phases=[Phase.generate],  # to shrink takes minutes: python -m tests.store.machine --shrink
)


@pytest.fixture(autouse=True)
def needless_writes_are_looked_past(monkeypatch):
    """They are rare, and do no harm; ``python -m tests.store.machine`` is strict about them."""
    monkeypatch.setattr(machine.Machine, "strict", False)


def test_random_changes_persists_and_reloads():
    run_state_machine_as_test(drawn(), settings=SHORT)


def drawn():
    return seed(TURN)(functools.partial(machine.Machine))


@pytest.mark.parametrize("nodes", [1, 3])
def test_random_changes_with_few_objects_in_a_record(nodes, monkeypatch):
    monkeypatch.setattr(cutting, "_NODES", nodes)
    run_state_machine_as_test(drawn(), settings=settings(SHORT, max_examples=10))


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("name", sorted(ops.KINDS))
def test_each_kind_survives_after_each_change(name, light, tmp_path):
    """Every kind of object, changed in every way that there is for what it brings into the graph."""
    run = machine.Machine()
    try:
        run.begin.__wrapped__(run, light) if hasattr(run.begin, "__wrapped__") else run.begin(light)
        for n in range(4):
            run.move(("create", name, 2 * n, 4 * n + 1, 3 * n), run.store.root)
        run.reopen([])
        for number, (group, (_, ways)) in enumerate(ops.CHANGES.items()):
            for how in range(len(ways)):
                run.move(("change", group, 1 + number, how, 5 * how + 4, 7 * number + 9), run.store.root)
            run.persist(None)
        run.reopen([("change", "frame", n, 0, n, n) for n in range(4)])
    finally:
        run.failed = True  # what there was to see was seen
        run.teardown()


# -- the portrait is what all of this rests on


def different(one, other):
    return difference(Portrait(one), Portrait(other)) is not None


def instance(cls=zoo.Plain, **attributes):
    made = cls()
    vars(made).update(attributes)
    return made


shared = []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([shared, shared], [[], []]),
        ([[], []], [shared, shared]),
        ([1], [True]),
        ([1], [1.0]),
        ([0.0], [-0.0]),
        ({1: 2, 3: 4}, {3: 4, 1: 2}),
        ({1: "a"}, {True: "a"}),
        ([(1, [2])], [(1, [3])]),
        ([{1, 2}], [{1, 3}]),
        ([{1}], [frozenset({1})]),
        ([bytearray(b"a")], [bytearray(b"b")]),
        (instance(a=1, b=2), instance(b=2, a=1)),
        (instance(a=None), instance(b=None)),
        (instance(a=1), instance(zoo.Other, a=1)),
        ([zoo.started(zoo.holder(1))], [zoo.started(zoo.holder(2))]),
        ([zoo.holder(1)], [zoo.started(zoo.holder(1))]),
        ([zoo.returns(1, 2)], [zoo.returns(3, 2)]),
        ([iter([1, 2])], [zoo.started(iter([1, 2]))]),
        (zoo.counter(1), (zoo.counter(1)[0], zoo.counter(1)[1])),
        ([zoo.Trouble(1)], [zoo.raised(1)]),
        ({"a": "x" * 10}, {"a": "x" * 11}),
        (zoo.Text("t"), "t"),
    ],
)
def test_portraits_differ_when_graphs_do(one, other):
    assert different(one, other)
    assert not different(one, one)
    assert not different(other, other)


def test_portraits_of_copies_are_the_same():
    plain = instance(a=shared)
    plain.b = plain
    graph = {"x": plain, "s": {1, "a", (2, "b"), frozenset({3})}, "in order": [plain, shared]}
    assert_same(graph, copy.deepcopy(graph))
    graph["s"].add(plain)  # an element that something else leads to
    assert_same(graph, copy.deepcopy(graph))
    assert different(graph, {**graph, "in order": [plain, []]})


def test_elements_of_sets_are_told_apart_by_what_leads_to_them():
    one, other = zoo.Plain(), zoo.Plain()
    assert_same([{one, other}, [one, other]], [{other, one}, [other, one]])
    assert_same([{one, other}, [one]], [{other, one}, [other]])


def test_a_light_portrait_makes_no_dicts():
    one = zoo.Plain()
    one.a = 1
    materialised = len(gc.get_referents(one))
    Portrait([one], light=True)
    assert len(gc.get_referents(one)) == materialised
