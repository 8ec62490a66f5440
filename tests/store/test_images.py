"""What is watched by an image of memory, instances of plain classes and long lists: every change is seen, and no other."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Callable
from typing import Any

import pytest

from pstore import Store
from pstore._frames.attributes import places_of
from pstore._store import clusters
from pstore._store.image import image_of

COUNT = 1200  # more than two pages of objects


class Thing:
    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"n{number}"
        self.a = self.b = self.c = self.d = self.e = self.f = (
            None  # its values are larger than it: other pages have them
        )


class Other(Thing):
    pass


class Everything(frozenset[Any]):
    """Has everything in it."""

    def __contains__(self, item: object) -> bool:
        return True


@pytest.fixture(params=["whole pages", "narrow"], autouse=True)
def narrow(request, monkeypatch) -> None:
    """Compare pages of memory whole, or only the places in them where instances are."""
    if request.param == "narrow":
        monkeypatch.setattr(clusters, "image_of", lambda groups, narrow: image_of(groups, Everything()))


def as_dicts(graph: Any) -> list[Any]:
    return [(type(one).__name__, sorted(vars(one).items())) for one in graph]


@pytest.fixture
def stored(tmp_path):
    store = Store(tmp_path / "a.fs")
    store.root["things"] = [Thing(number) for number in range(COUNT)]
    store.root["lists"] = [list(range(1000 * n, 1000 * n + 200)) for n in range(4)]
    for _ in range(4):  # the third takes the images, the fourth compares them
        store.persist()
    yield store
    store.close()


def check_seen(store: Store, tmp_path) -> None:
    before = store.tid
    assert store.persist() != before
    after = store.tid
    assert store.persist() == after
    assert store.persist() == after
    with Store(tmp_path / "a.fs", read_only=True) as loaded:
        assert as_dicts(loaded.root["things"]) == as_dicts(store.root["things"])
        assert loaded.root["lists"] == store.root["lists"]


def replace_dict(one: Thing) -> None:
    one.__dict__ = {"number": 5}


CHANGES: dict[str, Callable[[Thing], Any]] = {
    "another value": lambda one: setattr(one, "number", -1),
    "a value of the same size": lambda one: setattr(one, "name", "x" * len(one.name)),
    "one gone": lambda one: delattr(one, "name"),
    "one more": lambda one: setattr(one, "more", 1),
    "by the dict": lambda one: vars(one).update(number=-2),
    "another dict": replace_dict,
    "another class": lambda one: setattr(one, "__class__", Other),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
@pytest.mark.parametrize("place", [0, 700, COUNT - 1])
def test_a_change_of_an_instance_is_seen(stored, tmp_path, change, place):
    change(stored.root["things"][place])
    check_seen(stored, tmp_path)


@pytest.fixture
def collector_off():
    gc.disable()
    yield
    gc.enable()


def test_each_of_many_changes_is_seen(tmp_path, collector_off):
    """The collector writes into objects; without it, most of these pages are told by their image alone."""
    with Store(tmp_path / "b.fs") as store:
        things = store.root["things"] = [Thing(number) for number in range(10_000)]
        for _ in range(4):
            store.persist()
        for place in range(0, 10_000, 97):
            before = store.persist()
            things[place].number = -1
            assert store.persist() != before, place


def test_what_is_changed_back_after_a_commit_is_seen(tmp_path, collector_off):
    """Memory is as it was when the image was taken, which is not what is stored any more."""
    with Store(tmp_path / "b.fs") as store:
        things = store.root["things"] = [Thing(number) for number in range(COUNT)]
        for _ in range(4):
            store.persist()
        for place in range(0, COUNT - 60, 61):
            value, tids = things[place].name, [store.tid]
            for changes in ({0: 1}, {0: value}, {0: 1, 50: 1}, {0: value}, {0: 1}, {50: 2}, {0: value}):
                for (
                    offset,
                    name,
                ) in changes.items():  # 50 on, it is in another record, perhaps in the same page of memory
                    things[place + offset].name = name
                tids.append(store.persist())
            assert len(set(tids)) == len(tids), place
        assert store.persist() == tids[-1]


def test_what_was_seen_and_not_stored_is_seen_again(tmp_path, collector_off):
    with Store(tmp_path / "b.fs") as store:
        things = store.root["things"] = [Thing(number) for number in range(COUNT)]
        for _ in range(4):
            store.persist()
        for place in range(0, COUNT, 97):
            before = store.tid
            things[place].number = -1
            for _ in range(2):
                store.collect()  # looks, and leaves it alone as there are changes
            assert store.persist() != before, place
    with Store(tmp_path / "b.fs", read_only=True) as loaded:
        assert {loaded.root["things"][place].number for place in range(0, COUNT, 97)} == {-1}


@pytest.mark.parametrize("seed", range(6))
def test_changes_at_random_are_seen_and_no_others(tmp_path, collector_off, seed):
    """To and fro between the same few values, in some objects that stand close together and some that do not."""
    chance = random.Random(seed)
    values = [f"value {number}" for number in range(3)]
    with Store(tmp_path / "b.fs") as store:
        things = store.root["things"] = [Thing(number) for number in range(COUNT)]
        for thing in things:
            thing.name = values[0]
        for _ in range(4):
            store.persist()
        there = dict.fromkeys(range(COUNT), values[0])
        places = [*range(0, 300, (7, 29, 61)[seed % 3]), *chance.sample(range(COUNT), seed)]
        for turn in range(300):
            before, stored = store.tid, dict(there)
            for place in chance.choices(places, k=chance.choice((0, 1, 1, 2, 5))):
                things[place].name = there[place] = chance.choice(values)
            if chance.random() < 0.05:
                gc.collect()
            assert (store.persist() != before) == (stored != there), turn
    with Store(tmp_path / "b.fs", read_only=True) as loaded:
        assert [thing.name for thing in loaded.root["things"]] == list(there.values())


@pytest.mark.parametrize("place", [0, 700])
def test_a_change_after_another_is_seen(stored, tmp_path, place):
    for change in CHANGES.values():
        if change is not replace_dict:
            change(stored.root["things"][place])
            check_seen(stored, tmp_path)
            place += 1


def test_to_look_at_the_dict_is_no_change_and_what_it_frees_is_not_read(stored, tmp_path):
    """On 3.11 and 3.12 the values move into the dict, and their memory goes."""
    before = stored.tid
    for one in stored.root["things"]:
        vars(one)
    gc.collect()
    kept = [bytes(200) for _ in range(50_000)]
    assert stored.persist() == before
    assert stored.persist() == before
    vars(stored.root["things"][3])["number"] = -1
    check_seen(stored, tmp_path)
    del kept


def move(lists: list[list[int]]) -> None:
    """The items of all lists one after the other are as before."""
    lists[0].append(lists[1].pop(0))


LISTS: dict[str, Callable[[list[list[Any]]], Any]] = {
    "another item": lambda lists: lists[2].__setitem__(100, "x"),
    "one more": lambda lists: lists[3].append(1),
    "one less": lambda lists: lists[3].pop(),
    "all gone": lambda lists: lists[1].clear(),
    "few left": lambda lists: lists[1].__delitem__(slice(3, None)),
    "the other way round": lambda lists: lists[1].reverse(),
    "two changed places": lambda lists: lists[0].__setitem__(slice(0, 2), lists[0][1::-1]),
    "an item moved to the list before": move,
    "two lists swapped": lambda lists: lists.reverse(),
    "a list in the place of an equal one": lambda lists: lists.__setitem__(0, [*lists[0], 1]),
    "many more": lambda lists: lists[0].extend(range(5000)),
}


@pytest.mark.parametrize("change", LISTS.values(), ids=list(LISTS))
def test_a_change_of_a_long_list_is_seen(stored, tmp_path, change):
    change(stored.root["lists"])
    check_seen(stored, tmp_path)
    change(stored.root["lists"])
    stored.persist()
    stored.root["lists"][0].append("end")
    check_seen(stored, tmp_path)


def test_a_list_that_was_changed_and_changed_back_is_no_change(stored):
    before = stored.tid
    items = stored.root["lists"][1]
    items.append(1)
    items.pop()
    items[5], items[5] = 0, items[5]
    assert stored.persist() == before


def test_what_a_long_list_let_go_of_is_let_go_of(stored):
    """The list held it at the last commit, and does not any more: nor does the store."""
    import weakref

    stored.root["things"].append(Thing(-1))
    stored.persist()
    seen = weakref.ref(stored.root["things"][-1])
    stored.root["things"].pop()
    stored.persist()
    gc.collect()
    assert seen() is None


def test_a_refused_commit_leaves_the_lists_watched(stored, tmp_path):
    stored.root["lists"][0][7] = object  # by name
    stored.root["lists"][1][7] = open(__file__, "rb")  # noqa: SIM115
    with pytest.raises(Exception, match="lists"):
        stored.persist()
    stored.root["lists"][1][7].close()
    stored.root["lists"][1][7] = 7
    check_seen(stored, tmp_path)


def set_number(things: list[Thing], number: int) -> None:
    """In a function of its own: what is still referred to by a local variable differs, too."""
    for one in things:
        one.number = number


@pytest.fixture
def together(collector_off):
    """Things that stand together: there is no room among older objects, nor do younger ones come and go beside them."""
    before = [Thing(number) for number in range(100_000)]
    things = [Thing(number) for number in range(2000)]
    after = [Thing(number) for number in range(200)]
    yield things
    del before, after


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_always_beside_them_is_left_out(together, count):
    """Something else in some pages changes at every look; when that was so some times, it is not looked at any more."""
    things = together
    others = [things.pop(place) for place in range(1500, 600, -100)]  # in the same pages, and in none of the groups
    noise = others[: 3 * count : 3]
    groups = {number: things[number * 100 : number * 100 + 100] for number in range(len(things) // 100)}
    image = image_of(groups)
    for turn in range(8):
        set_number(noise, -turn)
        assert not image.holds()
        assert len(image.doubtful()) <= 2 * count  # they stand between two groups
        assert not image.noisy
        image.take(())
    image = image_of(groups, image.noisy)
    set_number(noise, -8)
    assert image.holds()
    for number, members in groups.items():
        for one in (members[0], members[50], members[-1]):
            was = one.number
            one.number = -1
            assert not image.holds()
            assert number in image.doubtful()
            one.number = was


def test_what_is_seldom_beside_them_is_not_left_out(together):
    things = together
    groups = {number: things[number * 100 : number * 100 + 100] for number in range(10)}
    image = image_of(groups)
    places = (150, 850)
    pages = {end & -4096 for found in places_of([things[place] for place in places]) for place in found for end in place}
    for turn in range(60):
        set_number([things[places[turn % 2]]], turn)
        assert not image.holds()
        image.doubtful()
        image.take(())  # as if it were not theirs
        assert pages.isdisjoint(image.noisy)
    for turn in range(8):
        assert pages.isdisjoint(image.noisy)
        set_number([things[150]], -turn)
        image.doubtful()
        image.take(())
    assert not pages.isdisjoint(image.noisy)


def test_a_page_in_which_something_has_changed_is_not_noisy(collector_off):
    things = [Thing(number) for number in range(300)]
    groups = {number: things[number * 100 : number * 100 + 100] for number in range(3)}
    image = image_of(groups)
    for turn in range(40):
        things[150].number = -turn
        assert not image.holds()
        assert 1 in image.doubtful()
        image.take((1,))
        image.confirm(1)
        assert not image.noisy


def test_a_group_is_asked_until_it_is_settled_as_it_was_seen(collector_off):
    things = [Thing(number) for number in range(300)]
    groups = {number: things[number * 100 : number * 100 + 100] for number in range(3)}
    image = image_of(groups)
    things[150].number = -1
    image.doubtful()
    image.take((1,))
    held = []
    for _ in range(3):  # the copy is of what is there, but that is not what is settled
        held.append(things[150])  # it differs itself: where its values are apart, they may be elsewhere
        assert not image.holds()
        assert 1 in image.doubtful()
        image.take((1,))
    image.confirm(1)
    assert (1 in image._asked) is (sys.version_info < (3, 13))  # what has perhaps moved is asked once more
    held.append(things[150])
    assert 1 in image.doubtful()
    image.take((1,), (1,))
    image.confirm(1)
    assert not image._asked
    things[150].number = 150  # as it was before
    assert not image.holds()
    assert 1 in image.doubtful()
    image.take(())
    assert not image._asked
    image.forget((2,))  # settled as it is now, which need not be what it was at the last look
    assert not image.holds()
    assert 2 in image.doubtful()
