"""Iterators over dict, OrderedDict, set, frozenset and deque: live, in cycles, after changes."""

from __future__ import annotations

import pickle
import random
import re
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

import pytest

from pstore._frames.containers import DictIterator
from tests.frames_unit.kit import check, copied, drain, dumps, fresh

VIEWS: dict[str, Callable[[Any], Any]] = {
    "keys": lambda mapping: iter(mapping),
    "values": lambda mapping: iter(mapping.values()),
    "items": lambda mapping: iter(mapping.items()),
    "keys reversed": lambda mapping: reversed(mapping),
    "values reversed": lambda mapping: reversed(mapping.values()),
    "items reversed": lambda mapping: reversed(mapping.items()),
}


class Key:
    """A key with Python code in its hash and comparison, that must not run while storing."""

    silent = False

    def __init__(self, name: str) -> None:
        self.name = name

    def __hash__(self) -> int:
        assert not Key.silent, "user code ran"
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        assert not Key.silent, "user code ran"
        return isinstance(other, Key) and self.name == other.name

    def __reduce__(self) -> Any:
        return Key, (self.name,)


class Instance:
    pass


class Odd(dict[Any, Any]):
    """A subclass whose methods must not be called."""

    def __iter__(self) -> Any:
        raise AssertionError("user code ran")

    __len__ = keys = values = items = __reversed__ = __iter__  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Odd, (), None, None, iter(list(dict.items(self)))


MAPPINGS: dict[str, Callable[[], Any]] = {
    "dict": lambda: {"a": 1, "b": 2, "c": 3},
    "dict of ints": lambda: {5: 1, 1000: 2, 2.5: 3},
    "dict empty": dict,
    "dict large": lambda: dict.fromkeys(range(30)),
    "OrderedDict": lambda: OrderedDict(a=1, b=2, c=3),
    "OrderedDict of ints": lambda: OrderedDict({5: 1, 1000: 2, 2.5: 3}),
    "defaultdict": lambda: defaultdict(int, a=1, b=2),
    "Counter": lambda: Counter("abca"),
}


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_goes_on(mapping: str, view: str, steps: int) -> None:
    check(lambda: VIEWS[view](MAPPINGS[mapping]()), steps)


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("view", VIEWS)
def test_is_live(mapping: str, view: str) -> None:
    for steps in range(len(MAPPINGS[mapping]()) + 1):
        original = MAPPINGS[mapping]()
        iterator = VIEWS[view](original)
        for _ in range(steps):
            next(iterator)
        for how in ("value", "insert", "delete", "both"):
            pairs = copied((original, iterator)), copied((original, copied((original, iterator))[1]))
            copy, iterator2 = pairs[0]
            model = MAPPINGS[mapping]()
            expected = VIEWS[view](model)
            for _ in range(steps):
                next(expected)
            for container in (copy, model):
                if how == "value" and container:
                    container[list(container)[-1]] = "new"
                if how in ("insert", "both"):
                    container["inserted"] = "inserted"
                if how in ("delete", "both") and container:
                    container.pop(next(iter(container)))
            assert drain(iterator2) == drain(expected), (steps, how)
            assert len(copy) == len(model)


@pytest.mark.parametrize("view", VIEWS)
def test_changed_before_storing(view: str) -> None:
    """Keys may come and go before storing; how much room is left in the table for later ones is not kept."""

    def play(seed: int, store: bool) -> Any:
        rng = random.Random(seed)
        mapping: dict[Any, Any] = {f"k{number}": number for number in range(rng.randrange(12))}
        if rng.randrange(2):
            mapping[1] = 1
        iterator = VIEWS[view](mapping)
        for turn in range(rng.randrange(25)):
            change = rng.randrange(6)
            if change == 0 and mapping:
                del mapping[rng.choice(list(mapping))]
            elif change == 1 and rng.randrange(3) == 0:
                mapping[f"new{turn}"] = turn
            elif change == 2 and mapping:
                mapping.pop(rng.choice(list(mapping)))
                mapping[f"moved{turn}"] = turn
            elif change > 2:
                try:
                    next(iterator)
                except (StopIteration, RuntimeError):
                    pass
        if store:
            mapping2, iterator2 = copied((mapping, iterator))
            assert list(mapping2) == list(mapping)
            return drain(iterator2), drain(copied((mapping, iterator))[1]), drain(iterator)
        return drain(iterator)

    from pstore.errors import UnsupportedValue

    refused = 0
    for seed in range(400):
        try:
            got = play(seed, True)
        except UnsupportedValue:
            refused += 1
            continue
        expected = play(seed, False)
        assert got == (expected, expected, expected), seed
    assert refused < 8


@pytest.mark.parametrize("view", VIEWS)
def test_size_returns(view: str) -> None:
    """An iterator whose dict has another size now goes on when the size returns."""
    for before in (["x"], [], ["x", "y"]):
        for steps in (0, 1, 2):
            mapping = {"a": 1, "b": 2, "c": 3}
            iterator = VIEWS[view](mapping)
            for _ in range(steps):
                next(iterator)
            if before:
                mapping.update(dict.fromkeys(before))
            else:
                mapping.popitem()
            mapping2, iterator2 = copied((mapping, iterator))
            assert list(mapping2.items()) == list(mapping.items())
            untouched = copied((mapping, iterator))
            for each in (mapping, mapping2):
                if before:
                    for key in before:
                        del each[key]
                else:
                    each["c"] = 3
            assert drain(iterator2) == drain(iterator)
            assert drain(untouched[1], 3) == [(RuntimeError, ("dictionary changed size during iteration",))] * 2


def test_keys_changed() -> None:
    mapping = {"a": 1, "b": 2, "c": 3}
    iterator = iter(mapping)
    next(iterator)
    del mapping["a"]
    mapping["d"] = 4
    copy = copied(iterator)
    assert isinstance(copy, DictIterator)
    expected = ["b", "c", (RuntimeError, ("dictionary keys changed during iteration",)), "end"]
    assert drain(copied(copy)) == expected
    assert drain(copy) == expected == drain(iterator)


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("kind", [dict, OrderedDict, Odd])
def test_holds_its_iterator(kind: Any, view: str, steps: int) -> None:
    method = VIEWS[view] if kind is not Odd else ODD_VIEWS[view]

    def make() -> tuple[Any, Any]:
        mapping = kind([("a", 1), ("b", 2), ("it", None), ("c", 3)])
        iterator = method(mapping)
        mapping["it"] = [iterator]  # a change of value, not of size
        for _ in range(steps):
            next(iterator)
        return mapping, iterator

    def shown(items: Any) -> str:
        text = [[*map(str, item)] if isinstance(item, tuple) else str(item) for item in items]
        return re.sub("<.*?>", "it", str(text))

    expected = shown(drain(make()[1]))
    mapping, iterator = make()
    mapping2 = copied(mapping)
    assert dict.__len__(mapping2) == 4 and list(dict.keys(mapping2)) == ["a", "b", "it", "c"]
    iterator2 = dict.__getitem__(mapping2, "it")[0]
    mapping3 = copied(mapping2)
    assert shown(drain(iterator2)) == expected
    assert shown(drain(dict.__getitem__(mapping3, "it")[0])) == expected
    assert shown(drain(copied(iterator))) == expected
    mapping4 = copied(mapping)
    iterator4 = dict.__getitem__(mapping4, "it")[0]
    mapping4["more"] = 1
    assert drain(iterator4)[0][0] is RuntimeError
    assert shown(drain(iterator)) == expected


ODD_VIEWS: dict[str, Callable[[Any], Any]] = {
    "keys": dict.__iter__,
    "values": lambda mapping: iter(dict.values(mapping)),
    "items": lambda mapping: iter(dict.items(mapping)),
    "keys reversed": dict.__reversed__,
    "values reversed": lambda mapping: reversed(dict.values(mapping)),
    "items reversed": lambda mapping: reversed(dict.items(mapping)),
}


def test_filled_after_the_iterator_grows_right() -> None:
    """Placeholders leave no trace: order, later growth, a second iterator that came earlier."""
    mapping: dict[Any, Any] = {}
    first, second = [], []
    mapping["first"], mapping["second"] = first, second
    mapping.update((number, str(number)) for number in range(200))
    mapping.update((str(number), number) for number in range(200))
    one, two = iter(mapping.items()), reversed(mapping)
    for _ in range(150):
        next(one), next(two)
    first.append(one)
    second.append(two)
    copy = copied(mapping)
    assert list(copy)[2:] == list(mapping)[2:]
    assert list(copy["second"][0]) == list(two)
    assert [key for key, _ in copy["first"][0]] == [key for key, _ in one]
    copy["more"] = 1
    assert list(copy)[-1] == "more" and len(copy) == 403


def test_instance_dict() -> None:
    instance = Instance()
    instance.__dict__.update(a=1, b=2, c=3)
    other = Instance()
    other.a, other.b = 1, 2
    for obj in (instance, other):
        iterator = iter(vars(obj).items())
        next(iterator)
        assert list(copied(iterator)) == list(iterator)


@pytest.mark.skipif(sys.version_info < (3, 15), reason="frozendict is new in 3.15")
@pytest.mark.parametrize("view", VIEWS)
def test_frozendict(view: str) -> None:
    import builtins

    frozen = builtins.frozendict(a=1, b=2, c=3)  # type: ignore[attr-defined]
    for steps in range(4):
        check(lambda: VIEWS[view](frozen), steps)


@pytest.mark.parametrize("make", [iter, reversed])
@pytest.mark.parametrize("limit", [None, 4, 200])
def test_deque(make: Any, limit: int | None) -> None:
    for size in (0, 1, 3, 150):
        for steps in (0, 1, 3, 100, 151):
            check(lambda size=size: make(deque(range(size), limit)), steps)


@pytest.mark.parametrize("make", [iter, reversed])
def test_deque_is_live(make: Any) -> None:
    for steps in (0, 1, 3, 4):
        for change in ("append", "popleft", "set"):
            items = deque([1, 2, 3])
            iterator = make(items)
            for _ in zip(range(steps), iterator, strict=False):
                pass
            if steps == 4:
                assert next(iterator, None) is None
            items2, iterator2 = copied((items, iterator))
            items3, iterator3 = copied(copied((items, iterator)))
            for each in (items, items2, items3):
                if change == "set":
                    each[1] = "new"
                else:
                    getattr(each, change)(*([9] if change == "append" else []))
            expected = drain(iterator, 3)
            assert drain(iterator2, 3) == expected
            assert drain(iterator3, 3) == expected
            changed = copied((items, make(deque([1]))))
            assert changed[0] == items


@pytest.mark.parametrize("make", [iter, reversed])
@pytest.mark.parametrize("kind", [deque, OrderedDict])
def test_changed_already(make: Any, kind: Any) -> None:
    items = kind.fromkeys("abc") if kind is OrderedDict else kind("abc")
    iterator, healthy = make(items), None
    next(iterator)
    items.pop("c") if kind is OrderedDict else items.pop()
    items.update(c=1) if kind is OrderedDict else items.append("c")
    healthy = make(items)
    next(healthy)
    copies = copied((items, iterator, healthy))
    again = copied(copies)
    for _, iterator2, healthy2 in (copies, again):
        assert drain(iterator2, 3) == drain(make_changed(make, kind), 3)
        assert drain(healthy2, 3) == drain(make_healthy(make, kind), 3)


def make_changed(make: Any, kind: Any) -> Any:
    items = kind.fromkeys("abc") if kind is OrderedDict else kind("abc")
    iterator = make(items)
    next(iterator)
    items.update(d=1) if kind is OrderedDict else items.append("c")
    return iterator


def make_healthy(make: Any, kind: Any) -> Any:
    items = kind.fromkeys("abc") if kind is OrderedDict else kind("abc")
    iterator = make(items)
    next(iterator)
    return iterator


@pytest.mark.parametrize("make", [iter, reversed])
@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_deque_holds_its_iterator(make: Any, steps: int) -> None:
    def build() -> tuple[Any, Any]:
        held: list[Any] = []
        items = deque([1, held, 3, *range(100)], 200)
        iterator = make(items)
        for _ in range(steps):
            next(iterator)
        held.append(iterator)
        return items, iterator

    expected = [item for item in drain(build()[1], 200) if isinstance(item, int)]
    items, iterator = build()
    copy = copied(items)
    again = copied(copy)
    changed = copied(items)
    for each in (copy, again):
        assert [item for item in drain(each[1][0], 200) if isinstance(item, int)] == expected
    assert [item for item in copied(iterator) if isinstance(item, int)] == expected
    changed.append(1)
    assert drain(changed[1][0])[0] == (RuntimeError, ("deque mutated during iteration",))


def test_odict_moved() -> None:
    """The order of the links, not that of the table underneath."""
    items = OrderedDict.fromkeys(["a", "b", "c", "d"])
    items.move_to_end("a")
    items.move_to_end("d", last=False)
    for view in VIEWS:
        for steps in range(5):

            def make(view: str = view) -> Any:
                return VIEWS[view](items)

            check(make, steps)


def test_no_user_code_when_storing() -> None:
    keys = [Key(name) for name in "abcd"]
    sets, mapping, ordered = set(keys), dict.fromkeys(keys), OrderedDict.fromkeys(keys)
    iterators = [iter(sets), iter(frozenset(keys)), iter(mapping), reversed(mapping), iter(mapping.items())]
    del mapping[keys[0]]
    mapping[keys[0]] = None
    odict_iterator = iter(ordered)
    for iterator in (*iterators, odict_iterator):
        next(iterator)
    from tests.frames_unit.kit import TABLES

    Key.silent = True
    try:
        dumps(iterators)
        TABLES[type(odict_iterator)](odict_iterator)
    finally:
        Key.silent = False


@pytest.mark.parametrize("kind", [set, frozenset])
def test_set(kind: Any) -> None:
    for steps in range(7):
        check(lambda: iter(kind(["a", "b", "c", 1000, 2.5])), steps)


def test_set_is_live() -> None:
    items = set("abcdef")
    iterator = iter(items)
    order = list(items)
    next(iterator)
    items2, iterator2 = copied((items, iterator))
    items2.remove(order[0])
    items2.add("new")
    items2.remove(order[2])
    items2.add("newer")
    assert list(iterator2) == [order[1], *order[3:]]
    items3, iterator3 = copied((items, iterator))
    items3.add("new")
    assert drain(iterator3) == [(RuntimeError, ("Set changed size during iteration",))] * 2
    assert drain(copied(iterator3)) == [(RuntimeError, ("Set changed size during iteration",))] * 2
    items.add("x")
    assert drain(copied(iterator)) == [(RuntimeError, ("Set changed size during iteration",))] * 2


def test_set_holds_its_iterator() -> None:
    class_instance = Instance()
    items = {"a", "b", class_instance}
    order = list(items)
    iterator = iter(items)
    next(iterator)
    class_instance.it = iterator  # type: ignore[attr-defined]
    for root in (items, iterator):
        copy = copied(root)
        if root is items:
            copy = next(item for item in copy if isinstance(item, Instance)).it  # type: ignore[attr-defined]
        rest = list(copied(copy))
        assert [str(item)[:10] for item in rest] == [str(item)[:10] for item in order[1:]]


def test_fresh_process_other_hash_seed() -> None:
    items = {f"item{number}" for number in range(20)}
    mapping = {f"item{number}": number for number in range(20)}
    iterators = [iter(items), iter(mapping.items()), reversed(mapping), iter(deque(range(5)))]
    iterators += [iter(OrderedDict(mapping))]
    for iterator in iterators:
        next(iterator), next(iterator)
    data = dumps(iterators)
    expected = str([list(iterator) for iterator in iterators])
    for seed in (1, 2, 3):
        assert fresh(data, "[list(one) for one in it]", seed) == expected


def test_original_is_untouched() -> None:
    mapping = dict.fromkeys("abc")
    iterator = iter(mapping.items())
    held = next(iterator)
    before = sys.getrefcount(mapping), sys.getrefcount(held)
    for _ in range(10):
        pickle.loads(dumps((mapping, iterator)))
    assert (sys.getrefcount(mapping), sys.getrefcount(held)) == before
    assert list(mapping) == ["a", "b", "c"] and list(iterator) == [("b", None), ("c", None)]
