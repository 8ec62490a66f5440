"""Sharing across the boundaries of records: small graphs, each with the reason why it is hard to cut.

Each is stored with clusters of one, two and very many nodes, so that every boundary is met in every place.
"""

from __future__ import annotations

import functools
import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest

from pstore import Store
from pstore._store import cutting
from tests.store import zoo
from tests.store.portrait import Portrait, assert_same

CASES: dict[str, Callable[[], Any]] = {}


def case(make: Callable[[], Any]) -> Callable[[], Any]:
    """One graph."""
    CASES[make.__name__] = make
    return make


def many(make: Callable[[int], Any], count: int = 200) -> list[Any]:
    """Enough for several records."""
    return [make(number) for number in range(count)]


def plain(**attributes: Any) -> zoo.Plain:
    """An instance."""
    made = zoo.Plain()
    vars(made).update(attributes)
    return made


@case
def tuple_shared_by_two_records():
    shared = ([1], (2, [3]))
    return [many(lambda n: plain(a=shared)), shared, shared[1]]


@case
def list_that_only_a_shared_tuple_holds():
    """It is part of nothing that is made anew each time: it has to be a node."""
    shared = ([1],)
    return [many(lambda n: plain(a=shared)), shared]


@case
def tuples_of_one_list_in_another_list():
    """All are promoted in one pass, not one in each."""
    one = many(lambda n: (n, [n]), 1000)
    return [one, many(lambda n: plain(a=n)), list(one)]


@case
def tuple_shared_by_two_late_nodes():
    """Late nodes are written apart from each other; which are late is known only when they were looked at."""
    shared = (1, [2])
    return [{zoo.Frozen(1): shared}, {zoo.Frozen(2): shared}, [shared]]


@case
def frozenset_of_values_in_other_records():
    """It can be made only when its members, in other records, are filled."""
    members = many(lambda n: zoo.Frozen(n, frozenset({zoo.FrozenSlots(n)})), 60)
    every = frozenset(members)
    return [many(lambda n: plain(a=every)), members, every, {every: 1}, (every, [every])]


@case
def dict_keyed_by_frozen_in_other_records():
    keys = many(zoo.Frozen, 120)
    return [keys, dict.fromkeys(keys, 1), set(keys), [plain(a=key) for key in keys]]


@case
def class_by_value_with_instances_in_many_records():
    cls = zoo.local_class(1, [2])
    made = [cls() for _ in range(150)]
    for one, after in itertools.pairwise(made):
        one.next = after
    return [made, many(lambda n: plain(a=made[n % 150])), cls]


@case
def functions_by_value_shared_by_many_records():
    up, look = zoo.counter(1)
    return [many(lambda n: plain(up=up, look=look, cell=up.__closure__[0]))]


@case
def frames_by_value_shared_by_many_records():
    frames = [zoo.started(zoo.holder(n)) for n in range(60)]
    shared = (frames[0], [1])
    frames[1].send(shared)
    return [frames, many(lambda n: plain(a=frames[n % 60], b=shared))]


@case
def promoted_objects_that_lead_to_each_other():
    cells: list[Any] = []
    one, other = functools.partial(zoo.same, cells), functools.partial(zoo.same, cells)
    cells += [one, other, (one, other)]
    return [many(lambda n: plain(a=one, b=other)), many(lambda n: plain(a=cells[2]))]


@case
def iterator_over_a_list_that_holds_it():
    inner: list[Any] = [1, 2, 3]
    over = iter(inner)
    pairs = zip(over, inner, strict=False)
    inner += [over, pairs, (pairs,)]
    return [many(lambda n: plain(a=over, b=pairs)), inner]


@case
def iterators_over_containers_in_other_records():
    lists = many(lambda n: [n, [n]], 100)
    return [lists, [enumerate(one) for one in lists], [zip(one, one, strict=True) for one in lists]]


@case
def methods_of_objects_in_other_records():
    others = many(lambda n: zoo.Other(), 100)
    items = [1]
    return [others, [one.who for one in others], [items.append] * 3, many(lambda n: plain(a=items.append)), items]


@case
def exceptions_that_lead_to_themselves():
    error = zoo.raised(1)
    args = ([error], error)
    error.args = args
    return [many(lambda n: plain(a=error)), error, args, [zoo.raised(n, error) for n in range(60)]]


@case
def one_dict_of_attributes():
    borg = [zoo.Borg() for _ in range(100)]
    for one in borg:
        one.__dict__ = borg[0].__dict__
    borg[0].a = borg
    return [borg, borg[0].__dict__, many(lambda n: plain(a=borg[0].__dict__))]


@case
def what_reduces_to_arguments_and_a_state():
    valued = many(zoo.Valued, 60)
    for one in valued:
        one.a = valued
    return [many(lambda n: plain(a=valued[n % 60])), set(valued), {one: 1 for one in valued}]


@case
def containers_that_only_an_attribute_holds():
    """The attributes of what reduces are not made anew each time, though nothing else holds their values."""
    table, group, error, call = zoo.Table(), zoo.Group(), zoo.Trouble(), functools.partial(zoo.same)
    for one in (table, group, error, call):
        one.a, one.b = {"k": [1]}, ([2],)
    return [table, group, error, call, many(lambda n: plain(a=call, b=error))]


@case
def more_than_one_empty_frozenset():
    return [frozenset(), {"k": frozenset()}, many(lambda n: plain(a=frozenset()), 5)]


@case
def deep_tuples_with_shared_levels():
    levels: list[Any] = [()]
    for _ in range(300):
        levels.append((levels[-1],))
    return [levels[-1], many(lambda n: plain(a=levels[n]))]


@pytest.mark.parametrize("nodes", [1, 2, 48])
@pytest.mark.parametrize("name", CASES)
def test_it_comes_back_as_it_was(name, nodes, tmp_path, monkeypatch):
    monkeypatch.setattr(cutting, "_NODES", nodes)
    graph = CASES[name]()
    with Store(tmp_path / "graph.fs") as store:
        store.root["graph"] = graph
        tid = store.persist()
        assert store.persist() == tid, "written although nothing has changed"
        kept = Portrait(store.root)
    with Store(tmp_path / "graph.fs") as store:
        assert_same(kept, Portrait(store.root), "after reopening")
        store.root["more"] = store.root["graph"]
        store.persist()
        tid = store.tid
        assert store.persist() == tid, "written although nothing has changed since it was opened"
        kept = Portrait(store.root)
    with Store(tmp_path / "graph.fs") as store:
        assert_same(kept, Portrait(store.root), "after reopening again")


def test_deep_and_long(tmp_path):
    deep: Any = ()
    for _ in range(10_000):
        deep = (deep,)
    first = zoo.Node(0)
    for number in range(100_000):
        first = zoo.Node(number, first)
    with Store(tmp_path / "graph.fs") as store:
        store.root["graph"] = [deep, first]
        store.persist()
    with Store(tmp_path / "graph.fs") as store:
        deep, first = store.root["graph"]
        assert sum(1 for _ in iter(lambda: step(first), None)) == 0
        count = 0
        while deep:
            (deep,) = deep
            count += 1
        assert count == 10_000


def step(node: Any) -> None:
    """Go through a list of nodes without recursion."""
    count = 0
    while node is not None:
        node, count = node.next, count + 1
    assert count == 100_001


class Wrapper:
    """Has one attribute."""


@pytest.mark.parametrize("reopened", [False, True])
@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_the_only_attribute_becomes_the_dict_of_its_instance(tmp_path, reopened, kind):
    with Store(tmp_path / "a.fs") as store:
        wrapper, inner = Wrapper(), kind(x=1)
        wrapper.x = inner
        store.root.update(wrapper=wrapper, inner=inner)
        store.persist()
        if not reopened:
            before = store.persist()
            wrapper.__dict__ = inner
            assert store.persist() != before
    if reopened:
        with Store(tmp_path / "a.fs") as store:
            store.persist()
            wrapper = store.root["wrapper"]
            wrapper.__dict__ = store.root["inner"]
            store.persist()
    with Store(tmp_path / "a.fs") as store:
        assert vars(store.root["wrapper"]) == {"x": 1}
        assert vars(store.root["wrapper"]) is store.root["inner"]
