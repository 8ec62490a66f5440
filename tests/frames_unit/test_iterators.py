"""Iterators over built-in sequences; enumerate, zip, map, filter, reversed, iter(function, sentinel)."""

from __future__ import annotations

import array
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.frames_unit.kit import check, copied, drain, dumps, fresh

BIG = 1 << 70


class Letters:
    """Iterable through __getitem__ alone."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __getitem__(self, index: int) -> str:
        return self.text[index]


class Sized(Letters):
    def __len__(self) -> int:
        return len(self.text)


class Watched(list[Any]):
    """Tells when its own methods are called."""

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("user code ran")

    __len__ = __reversed__ = __eq__ = __iter__  # type: ignore[assignment]

    def __hash__(self) -> int:
        raise AssertionError("user code ran")

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Watched, (), None, list.__iter__(self)


class Counting:
    """An iterator of the user's; only __next__ may be called."""

    def __init__(self, last: int) -> None:
        self.value, self.last = 0, last

    def __iter__(self) -> Any:
        raise AssertionError("user code ran")

    __len__ = __length_hint__ = __iter__

    def __next__(self) -> int:
        if self.value == self.last:
            raise StopIteration
        self.value += 1
        return self.value


class Plain:
    """Calls: pops until empty."""

    def __init__(self) -> None:
        self.items = [3, 2, 1]

    def __call__(self) -> int:
        return self.items.pop()


class Holder:
    def __init__(self, value: Any = None) -> None:
        self.value = value


def double(value: Any) -> Any:
    return value * 2


def odd(value: int) -> bool:
    return bool(value % 2)


def over(values: Any) -> Any:
    return Direct(values)


class Direct:
    """Iterable that gives a Counting without asking for the Counting's own iterator."""

    def __init__(self, iterator: Any) -> None:
        self.iterator = iterator

    def __iter__(self) -> Any:
        return self.iterator


MAKERS: dict[str, Callable[[], Any]] = {
    "list": lambda: iter([1, 2, 3]),
    "list reversed": lambda: reversed([1, 2, 3]),
    "list empty": lambda: iter([]),
    "list subclass": lambda: list.__iter__(Watched([1, 2, 3])),
    "list subclass reversed": lambda: list.__reversed__(Watched([1, 2, 3])),
    "tuple": lambda: iter((1, 2, 3)),
    "tuple reversed": lambda: reversed((1, 2, 3)),
    "str": lambda: iter("a\u00e9\u20ac"),
    "str ascii": lambda: iter("abc"),
    "str reversed": lambda: reversed("a\u20acc"),
    "bytes": lambda: iter(b"abc"),
    "bytearray": lambda: iter(bytearray(b"abc")),
    "bytearray reversed": lambda: reversed(bytearray(b"abc")),
    "array": lambda: iter(array.array("d", [1, 2, 3])),
    "range": lambda: iter(range(2, 9, 3)),
    "range reversed": lambda: reversed(range(2, 9, 3)),
    "range downwards": lambda: iter(range(5, -2, -3)),
    "long range": lambda: iter(range(BIG, BIG + 9, 3)),
    "long range reversed": lambda: reversed(range(-BIG, BIG, BIG)),
    "getitem": lambda: iter(Letters("abc")),
    "getitem reversed": lambda: reversed(Sized("abc")),
    "callable": lambda: iter(Plain(), 3),
    "callable that fails": lambda: iter(Plain(), 4),
    "enumerate": lambda: enumerate("abc"),
    "enumerate from": lambda: enumerate("abc", -5),
    "enumerate huge": lambda: enumerate("abc", sys.maxsize - 1),
    "enumerate huger": lambda: enumerate("abc", BIG),
    "enumerate of user's": lambda: enumerate(over(Counting(3))),
    "zip": lambda: zip("abc", [1, 2], strict=False),
    "zip strict": lambda: zip("abc", [1, 2], strict=True),
    "zip of nothing": lambda: zip(),
    "zip of user's": lambda: zip(over(Counting(3)), over(Counting(2)), strict=True),
    "map": lambda: map(double, "abc"),
    "map of two": lambda: map(max, [1, 5, 3], [4, 2, 6]),
    "map of user's": lambda: map(double, over(Counting(3))),
    "filter": lambda: filter(odd, [1, 2, 3, 4, 5]),
    "filter none": lambda: filter(None, [0, 1, 2, 0, 3]),
    "filter of user's": lambda: filter(odd, over(Counting(5))),
}
if sys.version_info >= (3, 14):
    from string.templatelib import Interpolation, Template

    MAKERS["map strict"] = lambda: map(max, [1, 2, 3], [1, 2], strict=True)
    MAKERS["template"] = lambda: iter(Template("a", Interpolation(1), Interpolation(2), "b", Interpolation(3)))
    MAKERS["template of text"] = lambda: iter(Template("a"))


def shown(items: Any) -> Any:
    return [repr(item) for item in items]


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", MAKERS)
def test_goes_on(name: str, steps: int) -> None:
    check(MAKERS[name], steps, shown)


@pytest.mark.parametrize("name", [name for name in MAKERS if "user's" not in name])
def test_same_type(name: str) -> None:
    iterator = MAKERS[name]()
    assert type(copied(iterator)) is type(iterator)
    drain(iterator)
    if name != "str" and "range" not in name:  # spent ones of those come as the other of two alike types
        assert type(copied(iterator)) is type(iterator)


def test_list_is_live() -> None:
    items = [1, 2, 3]
    iterator = iter(items)
    next(iterator)
    items2, iterator2 = copied((items, iterator))
    items2.append(4)
    items2[1] = "changed"
    assert list(iterator2) == ["changed", 3, 4]
    assert list(iterator) == [2, 3]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("kind", [list, bytearray, lambda values: array.array("i", values)])
def test_shortened(kind: Any, backwards: bool) -> None:
    """An index beyond the end stays: what is appended later is given from there on."""

    def make() -> tuple[Any, Any]:
        items = kind([1, 2, 3, 4, 5])
        iterator: Any = reversed(items) if backwards else iter(items)
        if not backwards:
            next(iterator), next(iterator), next(iterator)
        del items[1:]
        return items, iterator

    for count in range(6):
        items, iterator = make()
        items2, iterator2 = copied((items, iterator))
        assert items2 == items
        items.extend([7] * count)
        items2.extend([7] * count)
        assert drain(iterator2) == drain(iterator)


def test_spent_stays_spent() -> None:
    items = [1]
    iterator = iter(items)
    assert list(iterator) == [1]
    items2, iterator2 = copied((items, iterator))
    items2.append(2)
    assert list(iterator2) == []


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("make", [iter, reversed])
def test_list_holds_its_iterator(make: Any, steps: int) -> None:
    items: list[Any] = [1, 2, 3]
    iterator = make(items)
    for _ in range(steps):
        next(iterator)
    items.append(iterator)
    expected = [item if isinstance(item, int) else "it" for item in drain(iterator) if item != "end"]
    for root in (items, iterator):
        iterator = make(items[:3])
        items[:] = [1, 2, 3]
        iterator = make(items)
        for _ in range(steps):
            next(iterator)
        items.append(iterator)
        copy = copied(items if root is items else iterator)
        if root is items:
            assert len(copy) == 4
            copy = copy[3]
        assert [item if isinstance(item, int) else "it" for item in copy] == expected


def test_tuple_holds_its_iterator() -> None:
    held: list[Any] = []
    items = (1, held, 3)
    iterator = iter(items)
    next(iterator)
    held.append(iterator)
    for root in (items, iterator):
        copy = copied(root)
        iterator2 = copy[1][0] if root is items else copy
        first, last = iterator2
        assert last == 3 and first[0] is iterator2


def test_shared_underlying() -> None:
    source = iter([1, 2, 3, 4, 5, 6])
    numbered, paired = enumerate(source), zip(source, source, strict=False)
    next(numbered)
    source2, numbered2, paired2 = copied((source, numbered, paired))
    assert next(paired2) == (2, 3)
    assert next(source2) == 4
    assert list(numbered2) == [(1, 5), (2, 6)]
    assert list(source) == [2, 3, 4, 5, 6]


def test_user_iterator_is_the_same_object() -> None:
    source = Counting(3)
    source2, numbered2 = copied((source, enumerate(over(source))))
    next(source2)
    assert list(numbered2) == [(0, 2), (1, 3)]
    assert source.value == 0


def test_cycle_through_function() -> None:
    holder = Holder()
    calls = iter(holder.__init__, 1)  # a bound method of an object that holds the iterator
    holder.value = calls
    calls2 = copied(calls)
    assert calls2.__reduce__()[1][0].__self__.value is calls2
    assert copied(holder).value.__reduce__()[1][1] == 1


def test_cycle_of_map() -> None:
    holder = Holder()
    holder.value = map(holder.__init__, [4, 5])
    copy = copied(holder.value)
    assert copy.__reduce__()[1][0].__self__.value is copy
    holder2 = copied(holder)
    iterator = holder2.value
    assert list(iterator) == [None, None] and holder2.value == 5


def test_class_got_iter(monkeypatch: pytest.MonkeyPatch) -> None:
    from pstore.errors import RebuildError

    data = dumps(iter(Letters("abc")))
    monkeypatch.setattr(Letters, "__iter__", Counting.__iter__, raising=False)
    import pickle

    with pytest.raises(RebuildError, match="has an __iter__ now"):
        pickle.loads(data)


def test_reversed_keeps_its_sequence() -> None:
    items = Sized("abc")
    iterator = reversed(items)
    next(iterator)
    items2, iterator2 = copied((items, copied([items, iterator])[1]))[0], None
    items3, iterator3 = copied(copied((items, iterator)))
    items3.text = "xyz"
    assert list(iterator3) == ["y", "x"]
    assert items2.text == "abc" and iterator2 is None


def test_traceback_has_no_frame_of_ours() -> None:
    import traceback

    class_with_error = Sized("ab")
    iterator = copied(reversed(class_with_error))
    iterator.__reduce__()[1][0].rest.text = 7
    with pytest.raises(TypeError) as caught:
        next(iterator)
    assert [entry.name for entry in traceback.extract_tb(caught.value.__traceback__)][1:] == ["__getitem__"]


def test_memory_iterator() -> None:
    from pstore._frames.iterators import REDUCERS

    view = memoryview(b"abcd")
    iterator = iter(view)
    next(iterator)
    function, args = REDUCERS[type(iterator)](iterator)
    assert args[0] is view
    assert list(function(*args)) == [98, 99, 100] == list(iterator)
    assert list(copied(iterator)) == []


def test_fresh_process() -> None:
    source = iter([1, 2, 3])
    data = dumps([enumerate(source, 5), source, iter("abc"), map(max, iter([1, 2]), (3, 1)), reversed(Sized("ab"))])
    shown = fresh(data, "[next(it[0]), next(it[1]), list(it[2]), list(it[3]), list(it[4])]", 7)
    assert shown == "[(5, 1), 2, ['a', 'b', 'c'], [3, 2], ['b', 'a']]"


def test_spent_map_of_spent() -> None:
    source = iter([1])
    mapped = map(double, source)
    assert list(mapped) == [2]
    assert list(copied(mapped)) == []
    assert list(itertools.chain(copied(source))) == []
