"""The iterators of itertools, at every position, shared, in cycles, far in."""

from __future__ import annotations

import copy as copying
import itertools
import operator
import pickle
import sys
import traceback
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from pstore._frames.standins import consume
from pstore.errors import UnsupportedValue
from tests.frames_unit.kit import TABLES, advanced, check, copied, drain, dumps, fresh
from tests.frames_unit.test_iterators import Counting, Direct, Holder, odd


def small(value: int) -> bool:
    return value < 3


def tens(value: int) -> int:
    return value // 10


class Picky:
    """A key whose comparison is user code."""

    silent = False

    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        assert not Picky.silent, "user code ran"
        return isinstance(other, Picky) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]


def picky(value: int) -> Picky:
    assert not Picky.silent, "user code ran"
    return Picky(value // 10)


MAKERS: dict[str, Callable[[], Any]] = {
    "accumulate": lambda: itertools.accumulate([1, 2, 3, 4]),
    "accumulate function": lambda: itertools.accumulate([1, 2, 3], operator.mul),
    "accumulate initial": lambda: itertools.accumulate([1, 2, 3], max, initial=2),
    "accumulate none": lambda: itertools.accumulate([None, 1, None, 2], lambda_last),
    "accumulate fails": lambda: itertools.accumulate([1, "a", 2]),
    "chain": lambda: itertools.chain("ab", [], [1, 2], ()),
    "chain of nothing": lambda: itertools.chain(),
    "chain from iterable": lambda: itertools.chain.from_iterable(iter(["ab", "", "cd"])),
    "chain fails": lambda: itertools.chain("a", 1, "b"),  # type: ignore[arg-type]
    "compress": lambda: itertools.compress("abcdef", [1, 0, 1, 0, 1, 1]),
    "count": lambda: itertools.count(),
    "count negative": lambda: itertools.count(-3),
    "count step": lambda: itertools.count(10, -3),
    "count float": lambda: itertools.count(0.5, 0.25),
    "count fraction": lambda: itertools.count(Fraction(1, 3), Fraction(1, 3)),
    "count far": lambda: itertools.count(sys.maxsize - 2),
    "count farther": lambda: itertools.count(sys.maxsize + 2),
    "count huge": lambda: itertools.count(-(1 << 70), 1 << 69),
    "cycle": lambda: itertools.cycle("abc"),
    "cycle of nothing": lambda: itertools.cycle(""),
    "cycle of user's": lambda: itertools.cycle(Direct(Counting(3))),
    "dropwhile": lambda: itertools.dropwhile(small, [1, 2, 3, 1, 2]),
    "dropwhile of user's": lambda: itertools.dropwhile(small, Direct(Counting(5))),
    "filterfalse": lambda: itertools.filterfalse(odd, [1, 2, 3, 4]),
    "filterfalse none": lambda: itertools.filterfalse(None, [1, 0, 2, ""]),
    "islice": lambda: itertools.islice("abcdefghij", 2, 9, 3),
    "islice open": lambda: itertools.islice("abcdefghij", 1, None, 2),
    "islice of user's": lambda: itertools.islice(Direct(Counting(9)), 4),
    "islice none": lambda: itertools.islice("abc", 5, 3),
    "pairwise": lambda: itertools.pairwise("abcd"),
    "pairwise short": lambda: itertools.pairwise("a"),
    "pairwise of user's": lambda: itertools.pairwise(Direct(Counting(4))),
    "repeat": lambda: itertools.repeat("x"),
    "repeat times": lambda: itertools.repeat("x", 3),
    "repeat none": lambda: itertools.repeat("x", 0),
    "starmap": lambda: itertools.starmap(pow, [(2, 5), (3, 2), (10, 3)]),
    "takewhile": lambda: itertools.takewhile(small, [1, 2, 3, 1, 2]),
    "tee": lambda: itertools.tee("abcd")[1],
    "tee of one": lambda: itertools.tee(range(200), 1)[0],
    "zip_longest": lambda: itertools.zip_longest("abc", [1], (), fillvalue="-"),
    "zip_longest of user's": lambda: itertools.zip_longest(Direct(Counting(1)), Direct(Counting(4))),
    "zip_longest of nothing": lambda: itertools.zip_longest(),
    "product": lambda: itertools.product("ab", [1, 2, 3]),
    "product repeat": lambda: itertools.product("ab", repeat=3),
    "product of nothing": lambda: itertools.product(),
    "product empty": lambda: itertools.product("ab", ""),
    "combinations": lambda: itertools.combinations("abcde", 3),
    "combinations none": lambda: itertools.combinations("ab", 3),
    "combinations of none": lambda: itertools.combinations("ab", 0),
    "with replacement": lambda: itertools.combinations_with_replacement("abc", 2),
    "with replacement none": lambda: itertools.combinations_with_replacement("", 2),
    "with replacement of none": lambda: itertools.combinations_with_replacement("", 0),
    "permutations": lambda: itertools.permutations("abc"),
    "permutations of two": lambda: itertools.permutations("abcd", 2),
    "permutations none": lambda: itertools.permutations("ab", 3),
    "permutations of none": lambda: itertools.permutations("", 0),
}
if sys.version_info >= (3, 12):
    MAKERS["batched"] = lambda: itertools.batched("abcdefg", 3)
if sys.version_info >= (3, 13):
    MAKERS["batched strict"] = lambda: itertools.batched("abcdefg", 3, strict=True)
    MAKERS["batched strict even"] = lambda: itertools.batched("abcdef", 3, strict=True)


def lambda_last(total: Any, item: Any) -> Any:
    return item


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("name", MAKERS)
def test_goes_on(name: str, steps: int) -> None:
    check(MAKERS[name], steps)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 99])
@pytest.mark.parametrize("name", MAKERS)
def test_same_type(name: str, steps: int) -> None:
    iterator = advanced(MAKERS[name](), steps)
    kind = type(iterator)
    for _ in range(3):
        iterator = copied(iterator)
        assert type(iterator) is kind


@pytest.mark.parametrize("name", [name for name in MAKERS if "huge" not in name])
def test_copies_do_not_nest(name: str) -> None:
    """Storing again and again does not grow what is stored."""
    for steps in (0, 1, 2, 3):
        iterator = copied(advanced(MAKERS[name](), steps))
        size = len(dumps(iterator))
        for _ in range(5):
            iterator = copied(iterator)
        assert len(dumps(iterator)) == size


def test_all_of_itertools() -> None:
    kinds = {value for value in vars(itertools).values() if isinstance(value, type)}
    assert {kind for kind in kinds if kind.__module__ == "itertools"} <= TABLES.keys()


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_underlying_is_shared(steps: int) -> None:
    """One underlying iterator under all, before and after."""

    def make() -> Any:
        source = iter(range(1000))
        made = [
            itertools.accumulate(source),
            itertools.chain([-1, -2], source),
            itertools.compress(source, itertools.repeat(True)),
            itertools.cycle(source),
            itertools.dropwhile(small, source),
            itertools.filterfalse(odd, source),
            itertools.islice(source, 0, 10, 2),
            itertools.pairwise(source),
            itertools.takewhile(odd_or_not, source),
            itertools.tee(source)[0],
            itertools.zip_longest(source, source),
            itertools.groupby(source, tens),
        ]
        if sys.version_info >= (3, 12):
            made.append(itertools.batched(source, 2))
        for iterator in made:
            advanced(iterator, steps)
        return source, made

    def play(source: Any, made: Any) -> Any:
        shown = []
        for _ in range(2):
            for iterator in made:
                item = next(iterator)
                shown.append(item if isinstance(iterator, type(made[0])) or not isinstance(item, tuple) else item[0])
            shown.append(next(source))
        return shown

    expected = play(*make())
    original = make()
    copy = copied(original)
    assert play(*copied(copy)) == expected
    assert play(*copy) == expected
    assert play(*original) == expected


def odd_or_not(value: int) -> bool:
    return True


def test_cycle_first_pass_is_live() -> None:
    items = [1, 2, 3]
    iterator = itertools.cycle(items)
    next(iterator)
    items2, iterator2 = copied((items, iterator))
    items2.append(4)
    assert [next(iterator2) for _ in range(8)] == [2, 3, 4, 1, 2, 3, 4, 1]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="cycles cannot be copied")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_copied_cycle() -> None:
    for steps in range(8):
        original = advanced(itertools.cycle("abc"), steps)
        data = pickle.dumps(original)  # has the flag that nothing more is to be kept
        expected = list(itertools.islice(original, 12))
        for more in range(4):
            one = advanced(pickle.loads(data), more)
            assert next(copied(one)) == expected[more]
            assert list(itertools.islice(copied(copied(one)), 5)) == expected[more : more + 5]


# --- groupby -------------------------------------------------------------------------------------------------------

DATA = [10, 11, 12, 20, 21, 30, 10, 11]


def play_groups(turns: str, store_at: int, key: Any, times: int = 1) -> list[Any]:
    """n: next group; g: next item of the latest group; o: of the group before.  Store once at `store_at`."""
    source = iter(DATA)
    groups = itertools.groupby(source, key)
    latest: Any = None
    before: Any = None
    log: list[Any] = []
    for number, turn in enumerate(turns):
        if number == store_at:
            Picky.silent = True
            try:
                for _ in range(times):
                    source, groups, latest, before = copied((source, groups, latest, before))
            finally:
                Picky.silent = False
        try:
            if turn == "n":
                name, group = next(groups)
                before, latest = latest, group
                log.append(getattr(name, "value", name))
            elif turn == "s":
                log.append(next(source))
            else:
                log.append(next((latest if turn == "g" else before) or iter(())))
        except StopIteration:
            log.append(turn)
    return log


@pytest.mark.parametrize("key", [None, tens, picky])
def test_groups(key: Any) -> None:
    turns = {"".join(turns) for turns in itertools.product("ng", repeat=5)} | {
        "ngngog", "nggggnog", "ngggnggnggngggn", "nnnnnnnn", "nogon", "nsgsnsg", "ngggsgng", "nggggg", "ngggsngg",
    }  # fmt: skip
    for turn in sorted(turns):
        expected = play_groups(turn, -1, key)
        for store_at in range(len(turn)):
            for times in (1, 2, 3):
                assert play_groups(turn, store_at, key, times) == expected, (turn, store_at, times)


def test_group_and_groupby_stay_together() -> None:
    groups = itertools.groupby(DATA, tens)
    _, group = next(groups)
    group2, groups2 = copied((group, groups))
    assert next(group2) == 10
    assert next(group2) == 11
    assert next(groups2)[0] == 2
    assert list(group2) == []
    first, again = copied([group, group])
    assert first is again and list(first) == [10, 11, 12]
    assert list(group) == [10, 11, 12]


@pytest.mark.parametrize("root", ["group", "groups", "holder", "all"])
def test_group_in_a_cycle(root: str) -> None:
    holder = Holder()
    holder.calls = Keyed(holder)
    holder.groups = itertools.groupby(iter(DATA), holder.calls)
    _, holder.group = next(holder.groups)
    next(holder.group)
    starts = {"group": holder.group, "groups": holder.groups, "holder": holder}
    start = starts.get(root, [holder.group, holder.groups, holder])
    for copy in (copied(start), copied(copied(start))):
        if root == "holder":
            assert list(copy.group) == [11, 12] and next(copy.groups)[0] == 2
        elif root == "group":
            assert list(copy) == [11, 12]
        elif root == "groups":
            assert next(copy)[0] == 2
        else:
            assert copy[2].group is copy[0] and copy[2].groups is copy[1]
            assert list(copy[0]) == [11, 12] and next(copy[1])[0] == 2
    assert list(holder.group) == [11, 12]


class Keyed:
    def __init__(self, holder: Any) -> None:
        self.holder = holder

    def __call__(self, value: int) -> int:
        return value // 10


# --- tee -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [0, 1, 3, 56, 57, 58, 114, 120, 300])
@pytest.mark.parametrize("behind", [0, 1, 57, 60])
def test_tees_share(ahead: int, behind: int) -> None:
    if behind > ahead:
        pytest.skip("the second is behind the first")
    source = iter(range(400))
    first, second, third = itertools.tee(source, 3)
    advanced(first, ahead), advanced(second, behind)
    for times in range(3):
        source2, first2, second2, third2 = source, first, second, third
        for _ in range(times + 1):
            source2, third2, first2, second2 = copied((source, third, first, second))
        assert list(first2) == list(range(ahead, 400))
        assert list(second2) == list(range(behind, 400))
        assert list(third2) == list(range(400))
        assert list(source2) == []
    assert list(copied(second)) == list(range(behind, 400))
    assert next(source) == ahead
    more, second4 = copied((copying.copy(second), second))
    assert type(more) is type(second)
    assert next(more) == next(second4)


def test_tees_read_once() -> None:
    first, second = itertools.tee(map(abs, Direct(Counting(100))))
    advanced(first, 5)
    first2, second2 = copied(copied((first, second)))
    taken = [next(second2) for _ in range(7)]
    assert taken == [1, 2, 3, 4, 5, 6, 7]
    assert next(first2) == 6
    assert next(copying.copy(first2)) == 7
    first3, second3 = copied((first2, second2))
    assert (next(first3), next(second3), next(second3), next(first3)) == (7, 8, 9, 8)


def test_tee_far_behind() -> None:
    first, second = itertools.tee(range(200_000))
    advanced(first, 150_000)
    first2, second2 = copied((first, second))
    assert next(first2) == 150_000
    assert sum(1 for _ in second2) == 200_000


def test_tee_of_tee() -> None:
    first, second = itertools.tee("abcd")
    next(first)
    third, fourth = itertools.tee(first)
    next(third)
    copies = copied(copied([first, second, third, fourth]))
    expected = [drain(each) for each in (first, second, third, fourth)]
    assert [drain(each) for each in copies] == expected


# --- cycles, errors, distances -------------------------------------------------------------------------------------


def looping(make: Callable[[Any, Any], Any]) -> None:
    """The iterator reaches itself through its function or through its items."""
    holder = Holder()
    holder.value = make(holder.__init__, [holder, holder, holder])
    for steps in (0, 1):
        advanced(holder.value, steps)
        if not hasattr(holder, "value") or type(holder.value) is Holder:
            return
        iterator = holder.value
        copied(holder)
        copied(iterator)
        copied([iterator, holder])


@pytest.mark.parametrize(
    "make",
    [
        lambda function, items: itertools.accumulate(items, lambda_last),
        lambda function, items: itertools.chain(items, items),
        lambda function, items: itertools.cycle(items),
        lambda function, items: itertools.dropwhile(small_holder, items),
        lambda function, items: itertools.starmap(function, [()] * 3),
        lambda function, items: itertools.pairwise(items),
        lambda function, items: itertools.repeat(items),
        lambda function, items: itertools.tee(items)[0],
        lambda function, items: itertools.zip_longest(items, items),
        lambda function, items: itertools.groupby(items, type),
        lambda function, items: itertools.product(items, items),
        lambda function, items: itertools.permutations(items),
        lambda function, items: itertools.islice(items, 3),
    ],
)
def test_loops(make: Any) -> None:
    looping(make)


def small_holder(holder: Any) -> bool:
    return False


def test_cycle_kept_items_in_a_loop() -> None:
    """What a cycle keeps must be there when the loop is entered at the cycle."""
    holder = Holder()
    iterator = holder.value = itertools.cycle([1, holder, 3])
    advanced(iterator, 7)
    copy = copied(iterator)
    inner = next(copy)
    assert inner.value is copy
    assert [next(copy), next(copy)] == [3, 1]
    iterator = holder.value = itertools.cycle([1, holder, 3])
    advanced(iterator, 2)
    copy = copied(iterator)
    assert [next(copy), next(copy)] == [3, 1]
    assert next(copy).value is copy


def test_no_frame_of_ours_in_tracebacks() -> None:
    for name in ("cycle", "dropwhile", "pairwise", "groupby", "chain", "accumulate", "tee"):
        source = Failing([5, 5])
        made = {
            "cycle": itertools.cycle,
            "dropwhile": lambda source: itertools.dropwhile(small, source),
            "pairwise": itertools.pairwise,
            "groupby": itertools.groupby,
            "chain": lambda source: itertools.chain(source, source),
            "accumulate": itertools.accumulate,
            "tee": lambda source: itertools.tee(source)[0],
        }[name](source)
        next(made)
        copy = copied(made)
        with pytest.raises(ZeroDivisionError) as caught:
            for _ in range(5):
                next(copy)
        names = [entry.name for entry in traceback.extract_tb(caught.value.__traceback__)]
        assert names[1:] == ["__next__"], name


class Failing:
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        if not self.items:
            raise ZeroDivisionError
        return self.items.pop()


class Reviving:
    """Ends and goes on again."""

    def __init__(self) -> None:
        self.calls = 0

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> int:
        self.calls += 1
        if self.calls % 3 == 0:
            raise StopIteration
        return self.calls


@pytest.mark.parametrize("make", [itertools.accumulate, lambda source: itertools.dropwhile(small, source)])
def test_underlying_that_goes_on_after_its_end(make: Any) -> None:
    expected = [next(iterator, None) for iterator in [make(Reviving())] for _ in range(12)]
    for steps in range(6):
        iterator = make(Reviving())
        for _ in range(steps):
            next(iterator, None)
        copy = copied(iterator)
        assert [next(copy, None) for _ in range(12 - steps)] == expected[steps:]


@pytest.mark.parametrize(
    ("make", "distance"),
    [
        (lambda: itertools.product(range(40), repeat=4), 2_000_000),
        (lambda: itertools.product(range(2), repeat=40), 300_000),
        (lambda: itertools.combinations(range(40), 7), 1_500_000),
        (lambda: itertools.combinations_with_replacement(range(30), 6), 1_000_000),
        (lambda: itertools.permutations(range(12)), 1_234_567),
        (lambda: itertools.permutations(range(60), 4), 1_234_567),
    ],
)
def test_far_in(make: Any, distance: int) -> None:
    iterator = make()
    next(itertools.islice(iterator, distance, distance), None)
    copy = copied(iterator)
    third = copied(copied(advanced(copied(iterator), 1000)))
    expected = list(itertools.islice(iterator, 60_000))
    assert list(itertools.islice(copy, 60_000)) == expected
    assert list(itertools.islice(third, 1000)) == expected[1000:2000]


def test_far_in_to_the_end() -> None:
    for iterator in (
        itertools.product(range(30), repeat=3),
        itertools.combinations(range(20), 6),
        itertools.permutations(range(8)),
        itertools.combinations_with_replacement(range(10), 7),
    ):
        consume(iterator, 30_000 if type(iterator) is itertools.permutations else 26_000)
        copy = copied(iterator)
        if type(iterator) is itertools.combinations_with_replacement:
            assert type(copy) is type(iterator)
        assert list(copy) == list(iterator)


def test_rank_is_right_everywhere() -> None:
    from pstore._frames import combinatorics

    limit = combinatorics._STEPS
    try:
        for steps_allowed in (limit, 0):
            combinatorics._STEPS = steps_allowed
            for make in (
                lambda: itertools.product("abc", "de", "fgh"),
                lambda: itertools.combinations("abcdef", 3),
                lambda: itertools.combinations_with_replacement("abcd", 3),
                lambda: itertools.permutations("abcd", 3),
                lambda: itertools.permutations("abcd"),
            ):
                for steps in range(26):
                    assert list(copied(advanced(make(), steps))) == list(advanced(make(), steps))
    finally:
        combinatorics._STEPS = limit


def test_islice_that_counted_too_far() -> None:
    iterator = itertools.islice(itertools.count(), 0, None, sys.maxsize)
    advanced(iterator, 1)
    assert TABLES[type(iterator)](iterator)[1][1:] == (sys.maxsize - 1, None, sys.maxsize)
    never = itertools.islice(itertools.repeat(0), 1, None, sys.maxsize)
    next(never)
    with pytest.raises(UnsupportedValue, match="itertools.islice"):
        dumps(never)


class Derived(itertools.chain[Any]):
    pass


def test_derived_classes_are_refused() -> None:
    from pstore._frames.itertool import BASES, refuse_subclass

    assert itertools.count in BASES and itertools._tee not in BASES  # type: ignore[attr-defined]
    with pytest.raises(UnsupportedValue, match="derived from chain; hold the chain in an attribute"):
        refuse_subclass(Derived("abc"))


def test_tee_whose_source_runs() -> None:
    class Storing:
        def __iter__(self) -> Any:
            return self

        def __next__(self) -> Any:
            return dumps(tee)

    tee = itertools.tee(Storing())[0]
    with pytest.raises(UnsupportedValue, match="its underlying iterator is running"):
        next(tee)


def test_no_warnings(recwarn: pytest.WarningsRecorder) -> None:
    for make in MAKERS.values():
        copied(advanced(make(), 2))
    assert not recwarn.list


def test_fresh_process() -> None:
    first, second = itertools.tee("abcdef")
    advanced(first, 2)
    groups = itertools.groupby(DATA, tens)
    _, group = next(groups)
    next(group)
    names = ["accumulate", "chain", "cycle", "count float", "pairwise", "islice", "product", "permutations"]
    iterators = [*(advanced(MAKERS[name](), 2) for name in names), first, second, group]
    data = dumps((iterators, groups))
    expected = repr([list(itertools.islice(each, 4)) for each in iterators])
    assert fresh(data, "[list(__import__('itertools').islice(one, 4)) for one in it[0]]", 5) == expected
