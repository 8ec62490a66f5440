"""Commits in which atoms were exchanged for atoms take a short way: it is taken where it is right, and nowhere else.

Every change is made in a store in which such a commit came before, and is followed by another: what was stored is loaded
each time, and compared with the graph.  The records have to be those that the long way writes, byte by byte.
"""

from __future__ import annotations

import enum
import gc
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from persistent import Persistent

import pstore
from pstore import Store
from pstore._frames.attributes import inline_of
from pstore._store import rows
from pstore._store.filestorage import SealedFileStorage
from pstore._store.heap import Heap
from pstore._store.image import Image
from pstore._store.keeper import Keeper
from pstore._store.kinds import Kinds
from pstore._store.records import decode
from pstore.errors import StoreNotWritten, UnsupportedValue

COUNT = 200  # several clusters
NAMES = ("number", "name", "note", "flag")


def new_classes() -> dict[str, Any]:
    """Names that a class has shared stay: each test has classes of its own."""

    class Thing:
        def __init__(self, number: int) -> None:
            self.number: Any = number
            self.name: Any = f"n{number}"
            self.note: Any = None
            self.flag: Any = True

    class Other(Thing):
        pass

    class Later:
        """Gets its attributes in another order than the first instance did, and than methods name them."""

        def __init__(self, number: int) -> None:
            for name, value in (("flag", True), ("number", number), ("name", f"n{number}"), ("note", 1.5)):
                setattr(self, name, value)

    first = Later.__new__(Later)
    for name in ("note", "name", "flag", "number"):
        setattr(first, name, None)

    class Single:
        def __init__(self, number: int) -> None:
            self.number: Any = number

    for cls in (Thing, Other, Later, Single):
        cls.__qualname__ = cls.__name__
    return {cls.__name__: cls for cls in (Thing, Other, Later, Single)}


Thing: Any
Other: Any
Later: Any
Single: Any
globals().update(new_classes())


@pytest.fixture(autouse=True)
def classes(monkeypatch) -> None:
    for name, cls in new_classes().items():
        monkeypatch.setitem(globals(), name, cls)


class Kept(Persistent):
    def __init__(self) -> None:
        self.number = 0


class Text(str):
    pass


class Count(int):
    pass


class Colour(enum.Enum):
    RED = 1


def state_of(one: Any) -> Any:
    """What can be compared of a value."""
    if type(one) in (list, tuple):
        return type(one), [state_of(part) for part in one]
    if isinstance(one, Kept):
        return Kept, one.number
    if isinstance(one, (str, int)):
        return type(one), one
    return one.__dict__ if isinstance(one, Client) else one


def states(things: list[Any]) -> list[Any]:
    """Of each, where they may lead to each other."""
    known = {id(one): place for place, one in enumerate(things)}

    def of(one: Any) -> Any:
        if id(one) in known:
            return known[id(one)]
        return (type(one).__name__, "elsewhere") if type(one) in (Thing, Later) else state_of(one)

    return [(type(one), [(name, of(getattr(one, name))) for name in names_of(one)]) for one in things]


def names_of(one: Any) -> list[str]:
    """Names of the attributes in order, without making a ``__dict__``."""
    inline = inline_of(type(one))
    order = None if inline is None else inline.order(one)
    return list(vars(one)) if inline is None or order is None else [inline.names()[place] for place in order]


@pytest.fixture
def short(monkeypatch) -> list[int]:
    """How many clusters took the short way, commit by commit."""
    seen: list[int] = []
    settle = Heap.settle_exchanged

    def settled(heap: Heap, exchanged: dict[Any, Any]) -> None:
        seen.append(len(exchanged))
        settle(heap, exchanged)

    monkeypatch.setattr(Heap, "settle_exchanged", settled)
    return seen


@pytest.fixture(autouse=True)
def collector_off() -> Iterator[None]:
    """It writes into objects; without it, most pages of memory are told by their image alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(params=["Thing", "Later"])
def cls(request, classes) -> Any:
    return globals()[request.param]


@pytest.fixture
def store(tmp_path, cls) -> Iterator[Store]:
    with Store(tmp_path / "a.fs") as store:
        store.root["things"] = [cls(number) for number in range(COUNT)]
        store.root["shared"] = [1]
        for _ in range(4):
            store.persist()
        yield store


def check_stored(store: Store, tmp_path, *, written: bool = True) -> None:
    """Persist; what is stored is what is there, and nothing more is to be written."""
    before = store.tid
    assert (store.persist() != before) is written
    after = store.tid
    with Store(tmp_path / "a.fs", read_only=True) as loaded:
        assert states(loaded.root["things"]) == states(store.root["things"])
    assert store.persist() == after


def exchange(things: list[Any], place: int, value: Any = "exchanged") -> None:
    things[place].note = value


# ---------------------------------------------------------------- where it is taken

ATOMS: dict[str, Any] = {
    "int": 7,
    "huge int": 1 << 100_000,
    "negative": -(1 << 63),
    "float": 2.5,
    "nan": float("nan"),
    "text": "another",
    "long text": "x" * 300_000,
    "lone surrogate": "\ud800",
    "bytes": b"abc",
    "many bytes": bytes(200_000),
    "None": None,
    "bool": False,
}


@pytest.mark.parametrize("value", ATOMS.values(), ids=list(ATOMS))
@pytest.mark.parametrize("place", [0, 77, COUNT - 1])
def test_an_atom_is_exchanged(store, tmp_path, short, value, place):
    things = store.root["things"]
    for name in ("number", "name"):
        setattr(things[place], name, value)
        before = store.tid
        assert store.persist() != before
        with Store(tmp_path / "a.fs", read_only=True) as loaded:
            for at in (place, place - 1):
                for each in NAMES:
                    there, back = getattr(things[at], each), getattr(loaded.root["things"][at], each)
                    assert type(there) is type(back)
                    assert there == back or there != there
            assert len(loaded.root["things"]) == COUNT
    assert short == [1, 1]


def test_in_many_clusters_at_once(store, tmp_path, short):
    for one in store.root["things"][::3]:
        one.name = f"a new name {one.number}"
    check_stored(store, tmp_path)
    assert len(short) == 1
    assert short[0] > 3


def test_several_in_one_instance_and_two_swapped(store, tmp_path, short):
    one = store.root["things"][5]
    one.number, one.name = one.name, one.number
    one.flag = 0
    check_stored(store, tmp_path)
    assert short == [1]


def test_an_equal_value_is_no_change_and_the_next_one_is_seen(store, tmp_path, short):
    things = store.root["things"]
    for _ in range(3):
        things[5].name = "".join(("n", "5"))
        check_stored(store, tmp_path, written=False)
    things[5].name = "n6"
    check_stored(store, tmp_path)
    things[5].name = "n5"
    check_stored(store, tmp_path)
    assert short == [1] * 5


def test_back_and_forth(store, tmp_path, short):
    """The image of the memory is that of the last commit, not that of the one before."""
    gc.collect()
    values = ["one value", "the other value"]
    things = store.root["things"]
    for turn in range(12):
        things[60].note = values[turn % 2]
        things[61].note = values[0]
        check_stored(store, tmp_path)
    assert short == [1] * 12


def records(store: Store) -> dict[bytes, tuple[Any, ...]]:
    jar = store._jar
    return {oid: decode(jar.read(oid)[0]) for oid in store._keeper.live.heap.clusters}


def test_the_records_are_those_of_the_long_way(tmp_path, cls, monkeypatch, short):
    """Of equal strings, too, that are the same object or are not, and that are the names of attributes."""
    shared = "a string of several"
    values = [1, shared, "name", cls.__qualname__, shared + "", "".join(("na", "me")), b"", "", 1 << 70, 0.0, -0.0, None]
    found = []
    for is_short in (True, False):
        with monkeypatch.context() as patch, Store(tmp_path / f"{is_short}.fs") as store:
            if not is_short:
                patch.setattr(Keeper, "_persist_exchanged", lambda *_: False)
            things = store.root["things"] = [cls(number) for number in range(COUNT)]
            store.persist()
            chance, history = random.Random(5), []
            for _ in range(60):
                for _ in range(chance.choice((1, 1, 2, 9))):
                    setattr(chance.choice(things), chance.choice(NAMES), chance.choice(values))
                store.persist()
                history.append(records(store))
            found.append(history)
    assert found[0] == found[1]
    assert len(short) > 50


# ---------------------------------------------------------------- where it is not


def replace_dict(one: Any) -> None:
    one.__dict__ = {"number": 5}


def reorder(one: Any) -> None:
    name = one.name
    del one.name
    one.name = name + "'"


def more(one: Any) -> None:
    one.more = 1


CHANGES: dict[str, Callable[[Any, list[Any]], Any]] = {
    "a list": lambda one, things: setattr(one, "note", [1]),
    "a list that is elsewhere": lambda one, things: setattr(one, "note", things[150].note),
    "a tuple": lambda one, things: setattr(one, "note", (1, 2)),
    "an empty tuple": lambda one, things: setattr(one, "note", ()),
    "another instance": lambda one, things: setattr(one, "note", things[3]),
    "a new instance": lambda one, things: setattr(one, "note", Thing(-1)),
    "itself": lambda one, things: setattr(one, "note", one),
    "its class": lambda one, things: setattr(one, "note", type(one)),
    "a function": lambda one, things: setattr(one, "note", state_of),
    "a subclass of str": lambda one, things: setattr(one, "note", Text("text")),
    "a subclass of int": lambda one, things: setattr(one, "note", Count(3)),
    "a member": lambda one, things: setattr(one, "note", Colour.RED),
    "a complex": lambda one, things: setattr(one, "note", 1j),
    "a frozenset": lambda one, things: setattr(one, "note", frozenset((1, 2))),
    "a Persistent": lambda one, things: setattr(one, "note", Kept()),
    "an attribute less": lambda one, things: delattr(one, "name"),
    "an attribute more": lambda one, things: more(one),
    "another order": lambda one, things: reorder(one),
    "another class": lambda one, things: setattr(one, "__class__", Other),
    "by the dict": lambda one, things: vars(one).update(name="by the dict"),
    "another dict": lambda one, things: replace_dict(one),
    "an atom and a list": lambda one, things: (setattr(one, "name", "x"), setattr(one, "note", [1])),
    "an atom and an attribute less": lambda one, things: (setattr(one, "number", -1), delattr(one, "note")),
    "an atom here, an instance less": lambda one, things: (setattr(one, "name", "x"), things.pop()),
    "an atom here, an instance more": lambda one, things: (setattr(one, "name", "x"), things.append(Thing(-2))),
    "an atom here, another in its place": lambda one, things: (
        setattr(one, "name", "x"), things.__setitem__(8, Thing(-3)),
    ),
    "an atom here, two swapped": lambda one, things: (
        setattr(one, "name", "x"), things.__setitem__(slice(0, 2), things[1::-1]),
    ),
    "an attribute moved to the next": lambda one, things: (delattr(one, "note"), more(things[8])),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
@pytest.mark.parametrize("quiet", [0, 3])
def test_other_changes_take_the_long_way(store, tmp_path, short, change, quiet):
    things = store.root["things"]
    things[150].note = store.root["shared"]
    store.persist()
    exchange(things, 7, "before")
    store.persist()
    for _ in range(quiet):
        store.persist()
    exchange(things, 60, "elsewhere")
    store.persist()
    assert short == [1, 1]
    del short[:]
    change(things[7], things)
    check_stored(store, tmp_path)
    assert not short
    # and what comes next is seen as well
    exchange(things, 7, "after")
    check_stored(store, tmp_path)
    exchange(things, 9, "beside it")
    check_stored(store, tmp_path)
    exchange(things, 110, "far away")
    check_stored(store, tmp_path)
    if hasattr(things[7], "name"):
        change(things[7], things)
    exchange(things, 9, "together")
    check_stored(store, tmp_path)


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_other_changes_taken_back_by_an_atom(store, tmp_path, change):
    things = store.root["things"]
    things[150].note = store.root["shared"]
    store.persist()
    change(things[7], things)
    store.persist()
    for name in NAMES:
        setattr(things[7], name, "an atom")
    check_stored(store, tmp_path)
    for turn in range(3):
        exchange(things, 7, turn)
        check_stored(store, tmp_path)


def test_another_order_of_the_second_that_has_changed(store, tmp_path, short):
    things = store.root["things"]
    exchange(things, 7)
    reorder(things[9])
    check_stored(store, tmp_path)
    assert not short


def test_a_class_in_the_place_of_a_class(store, tmp_path, short):
    """The last of a cluster has its class as one more attribute: up to there all is as it was."""
    last = store.root["things"][-1]
    assert store._keeper.live.heap.home[id(last)].nodes[-1] is last
    last.more = type(last)
    check_stored(store, tmp_path)
    assert not short


def test_instances_that_got_their_attributes_in_other_orders(tmp_path, cls, short):
    with Store(tmp_path / "a.fs") as store:
        things = store.root["things"] = [cls(number) for number in range(COUNT)]
        for one in things[COUNT // 2 :]:
            reorder(one)
        store.persist()
        for place in (0, COUNT - 1, 1, COUNT - 2):
            exchange(things, place)
            check_stored(store, tmp_path)
        assert short == [1] * 4


def test_rows_are_kept_for_so_many_orders(classes):
    kind = Kinds()[Thing]
    Thing(0)
    inline = inline_of(Thing)
    orders = [bytes(order) for order in itertools.permutations(range(4))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_CACHE_LIMIT", 7)
        for order in orders * 2:
            row = rows.row_of(kind, inline, order)
            assert row.names == tuple(inline.names()[place] for place in order)
            assert rows.row_of(kind, inline, order) is row
            assert len(kind.rows) <= 7


def test_one_attribute(tmp_path, short):
    """A ``__dict__`` would be the only referent, as the only value is."""
    with Store(tmp_path / "a.fs") as store:
        things = store.root["things"] = [Single(number) for number in range(COUNT)]
        store.persist()
        things[3].number = -1
        check_stored(store, tmp_path)
        assert short == [1]
        vars(things[3])["number"] = -2
        check_stored(store, tmp_path)
        things[4].number = {"number": -3}
        check_stored(store, tmp_path)
        things[5].__dict__ = {"number": -4}
        check_stored(store, tmp_path)
        assert short == [1]


def test_a_class_that_has_got_a_name_since(store, tmp_path, short):
    """Another instance has it: of these, it is not known any more that they have all names."""
    things = store.root["things"]
    exchange(things, 7)
    check_stored(store, tmp_path)
    stranger = type(things[0])(0)
    stranger.a_name_of_its_own = 1
    del short[:]
    exchange(things, 7, "after")
    check_stored(store, tmp_path)
    assert not short
    things[7].a_name_of_its_own = 2
    check_stored(store, tmp_path)
    exchange(things, 7, "and then")
    check_stored(store, tmp_path)


# ---------------------------------------------------------------- what else there may be


def test_a_refused_value_leaves_all_as_it_was(store, tmp_path, short):
    things = store.root["things"]
    exchange(things, 7)
    store.persist()
    with open(__file__, "rb") as file:
        things[8].note = file
        exchange(things, 7, "with it")
        for _ in range(2):
            with pytest.raises(UnsupportedValue, match="things"):
                store.persist()
    with Store(tmp_path / "a.fs", read_only=True) as loaded:
        assert loaded.root["things"][7].note == "exchanged"
    things[8].note = "no file"
    for turn in range(3):
        check_stored(store, tmp_path)
        exchange(things, 7, turn)


def test_a_class_that_its_module_has_not_any_more(tmp_path, monkeypatch, cls):
    """It is looked up whenever its instances are stored, and stored by value then; the next time, by name again."""
    found = []
    for is_short in (True, False):
        with monkeypatch.context() as patch, Store(tmp_path / f"{is_short}.fs") as store:
            if not is_short:
                patch.setattr(Keeper, "_persist_exchanged", lambda *_: False)
            things = store.root["things"] = [cls(number) for number in range(COUNT)]
            store.persist()
            for value in ("named", "not named", "named again"):
                exchange(things, 7, value)
                with monkeypatch.context() as gone:
                    if value == "not named":
                        gone.delitem(globals(), cls.__name__)
                    store.persist()
                found.append(records(store))
                with Store(tmp_path / f"{is_short}.fs", read_only=True) as loaded:
                    assert loaded.root["things"][7].note == value
    assert found[:3] == found[3:]
    assert found[0] != found[1]


def refuse(*_: Any) -> None:
    raise OSError("no room")


def test_a_commit_that_is_not_written_is_made_up_for(store, tmp_path, short, monkeypatch):
    things = store.root["things"]
    exchange(things, 7)
    before = store.persist()
    for value in ("lost", "exchanged", "lost again"):
        exchange(things, 7, value)
        with monkeypatch.context() as patch:
            patch.setattr(SealedFileStorage, "_write", refuse)
            if value == "exchanged":
                assert store.persist() == before  # that is what is stored
                continue
            with pytest.raises(StoreNotWritten):
                store.persist()
    check_stored(store, tmp_path)
    assert short == [1, 1]


def test_what_was_not_written_and_changed_back_is_no_change(store, tmp_path, monkeypatch):
    things = store.root["things"]
    exchange(things, 7, "a")
    before = store.persist()
    for _ in range(3):
        exchange(things, 7, "b")
        with monkeypatch.context() as patch:
            patch.setattr(SealedFileStorage, "_write", refuse)
            with pytest.raises(StoreNotWritten):
                store.persist()
        exchange(things, 7, "a")
        assert store.persist() == before
        assert store.persist() == before
    exchange(things, 7, "b")
    check_stored(store, tmp_path)


def test_abort_and_reload_in_between(store, tmp_path, short):
    for turn in range(3):
        things = store.root["things"]
        exchange(things, 7, f"kept {turn}")
        check_stored(store, tmp_path)
        exchange(things, 7, "forgotten")
        store.abort()
        assert store.root["things"][7].note == f"kept {turn}"
        exchange(store.root["things"], 8, turn)
        check_stored(store, tmp_path)
        exchange(store.root["things"], 8, -turn)
        check_stored(store, tmp_path, written=turn > 0)
    assert len(short) >= 3


def test_what_was_loaded(tmp_path, cls, short):
    with Store(tmp_path / "a.fs") as store:
        store.root["things"] = [cls(number) for number in range(COUNT)]
        store.persist()
    for turn in range(3):
        with Store(tmp_path / "a.fs") as store:
            things = store.root["things"]
            for value in range(4):
                exchange(things, 7, (turn, value)[value % 2])
                things[100 + value].name = f"{turn} {value}"
                check_stored(store, tmp_path)
    assert short


def test_clusters_from_which_objects_went(store, tmp_path, short):
    things = store.root["things"]
    exchange(things, 7)
    check_stored(store, tmp_path)
    del things[8]
    check_stored(store, tmp_path)
    exchange(things, 7, "with a hole beside it")
    check_stored(store, tmp_path)
    del things[10:14]
    store.persist()
    gc.collect()
    store.collect()
    exchange(things, 7, "more of them")
    check_stored(store, tmp_path)
    things.append(Thing(-1))
    check_stored(store, tmp_path)
    for turn in range(3):
        exchange(things, 7, turn)
        exchange(things, -1, turn)
        check_stored(store, tmp_path)
    store.pack()
    exchange(things, 7, "packed")
    check_stored(store, tmp_path)


def test_clusters_that_others_join(tmp_path, cls, short):
    with Store(tmp_path / "a.fs") as store:
        things = store.root["things"] = [cls(0)]
        store.persist()
        for number in range(1, 120):
            things.append(cls(number))
            if number % 3 == 0:
                exchange(things, number // 2, number)
            check_stored(store, tmp_path)
            exchange(things, number, "joined")
            check_stored(store, tmp_path)
        assert short


def test_what_grows(store, tmp_path):
    """The records become larger than their clusters were cut for."""
    things = store.root["things"]
    for turn in range(4):
        for one in things[:60]:
            one.note = chr(97 + turn) * 20_000
        check_stored(store, tmp_path)


def test_shared_with_other_records_and_persistent(store, tmp_path, short):
    things = store.root["things"]
    kept = store.root["kept"] = Kept()
    store.root["alias"] = things[7]
    store.persist()
    exchange(things, 7)
    check_stored(store, tmp_path)
    kept.number = 5
    exchange(things, 7, "with a Persistent")
    check_stored(store, tmp_path)
    with Store(tmp_path / "a.fs", read_only=True) as loaded:
        assert loaded.root["kept"].number == 5
        assert loaded.root["alias"] is loaded.root["things"][7]
    exchange(things, 7, "alone")
    check_stored(store, tmp_path)
    assert short == [1, 1]


class Client:
    def __init__(self) -> None:
        self.number = 1


def test_ephemeral_values(store, tmp_path, short):
    things = store.root["things"]
    things[7].note = pstore.ephemeral(Client)
    store.persist()
    things[7].note.number = 9
    store.persist()
    exchange(things, 7)
    check_stored(store, tmp_path)
    exchange(things, 7, "again")
    check_stored(store, tmp_path)
    things[8].note = pstore.ephemeral(Client)
    exchange(things, 7, "beside")
    store.persist()
    with Store(tmp_path / "a.fs", read_only=True) as loaded:
        assert loaded.root["things"][7].note == "beside"
        assert type(loaded.root["things"][8].note) is Client


MADE: dict[int, Any] = {}


def made(number: int) -> Any:
    return MADE[number]


@pytest.mark.parametrize("places", [[0], [5], [0, 1, 5, COUNT - 1]])
def test_stored_instances_that_are_declared_ephemeral_later(store, tmp_path, short, monkeypatch, places):
    """By a factory that gives what is there already."""
    things = store.root["things"]
    exchange(things, 7)
    store.persist()
    for place in places:
        monkeypatch.setitem(MADE, place, things[place])
        assert pstore.ephemeral(made, place) is things[place]
    for place in (7, COUNT - 7):
        exchange(things, place, "again")
    store.persist()
    for place in places:
        monkeypatch.setitem(MADE, place, Single(place))
    with Store(tmp_path / "a.fs", read_only=True) as loaded:
        for place in range(COUNT):
            one = loaded.root["things"][place]
            assert type(one) is (Single if place in places else type(things[place]))
        assert [loaded.root["things"][place].note for place in (7, COUNT - 7)] == ["again", "again"]


class Opaque:
    """Has to be stored to see."""

    def __init__(self) -> None:
        self.number = 0

    def __getstate__(self) -> Any:
        return {"number": self.number}


def test_beside_what_has_to_be_stored_to_see(store, tmp_path):
    things = store.root["things"]
    opaque = store.root["opaque"] = Opaque()
    store.persist()
    for turn in range(4):
        exchange(things, 7, turn)
        if turn % 2:
            opaque.number = turn
        check_stored(store, tmp_path)
        with Store(tmp_path / "a.fs", read_only=True) as loaded:
            assert loaded.root["opaque"].number == opaque.number
        opaque.number += 10
        before = store.tid
        assert store.persist() != before


def test_what_was_seen_is_what_is_settled(store, tmp_path, short, monkeypatch):
    """A change that is made while the commit is written is in the next one."""
    things = store.root["things"]
    exchange(things, 7, "first")
    write = type(store._jar).write

    def written(jar: Any, records: Any, note: Any) -> Any:
        things[7].note = "second"
        things[60].note = "second"
        return write(jar, records, note)

    with monkeypatch.context() as patch:
        patch.setattr(type(store._jar), "write", written)
        store.persist()
    assert short == [1]
    with Store(tmp_path / "a.fs", read_only=True) as loaded:
        assert loaded.root["things"][7].note == "first"
    check_stored(store, tmp_path)


LOOKS: dict[str, Callable[[Any], Any]] = {
    "a change": lambda one: setattr(one, "number", "changed"),
    "a list": lambda one: setattr(one, "number", [1]),
    "a look at its dict": lambda one: vars(one),
    "a change by its dict": lambda one: vars(one).update(number="changed"),
    "another dict": lambda one: replace_dict(one),
    "an attribute less": lambda one: delattr(one, "number"),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=list(LOOKS))
@pytest.mark.parametrize("name", ["Single", "Thing"])
def test_what_was_surveyed_is_what_is_settled(tmp_path, short, monkeypatch, name, look):
    """So it is where the first commit of instances is written; to look at a dict makes it what they refer to."""
    with Store(tmp_path / "a.fs") as store:
        things = store.root["things"] = [globals()[name](number) for number in range(COUNT)]
        write = type(store._jar).write

        def written(jar: Any, records: Any, note: Any) -> Any:
            look(things[3])
            return write(jar, records, note)

        with monkeypatch.context() as patch:
            patch.setattr(type(store._jar), "write", written)
            store.persist()
        things[4].number = -4
        check_stored(store, tmp_path)
        things[5].number = -5
        check_stored(store, tmp_path)
        with Store(tmp_path / "a.fs", read_only=True) as loaded:
            assert [vars(one) for one in loaded.root["things"]] == [vars(one) for one in things]


@pytest.mark.parametrize("name", ["Single", "Thing"])
def test_a_change_while_it_is_written_is_stored_next(tmp_path, monkeypatch, name):
    with Store(tmp_path / "a.fs") as store:
        things = store.root["things"] = [globals()[name](number) for number in range(COUNT)]
        write = type(store._jar).write

        def written(jar: Any, records: Any, note: Any) -> Any:
            things[3].number = "changed"
            return write(jar, records, note)

        with monkeypatch.context() as patch:
            patch.setattr(type(store._jar), "write", written)
            store.persist()
        check_stored(store, tmp_path)


def test_who_asks_while_it_is_written(store, tmp_path, short, monkeypatch):
    """What is looked at again, and changed again, is not taken for what was stored."""
    things = store.root["things"]
    exchange(things, 7, "first")
    write = type(store._jar).write

    def written(jar: Any, records: Any, note: Any) -> Any:
        things[7].note = "second"
        store.collect()
        return write(jar, records, note)

    with monkeypatch.context() as patch:
        patch.setattr(type(store._jar), "write", written)
        store.persist()
    check_stored(store, tmp_path)
    assert len(short) == 2


def test_many_stores_of_one_class(tmp_path, short):
    """Each has a table of classes of its own; all see the same class."""
    first, second = Store(tmp_path / "a.fs"), Store(tmp_path / "b.fs")
    for store in (first, second):
        store.root["things"] = [Thing(number) for number in range(COUNT)]
        store.persist()
    for turn in range(3):
        for store in (first, second):
            exchange(store.root["things"], 7, f"{turn}")
        check_stored(first, tmp_path)
        second.persist()
    for store in (first, second):
        store.close()
    assert short == [1] * 6


@pytest.mark.parametrize("seed", range(5))
def test_changes_at_random(tmp_path, cls, short, seed):
    """What is stored is what is there, whichever way it went; and nothing is written that has not changed."""
    chance = random.Random(seed)
    gc.collect()
    with Store(tmp_path / "a.fs") as store:
        things = store.root["things"] = [cls(number) for number in range(COUNT)]
        things[150].note = store.root["shared"] = [1]
        for _ in range(chance.choice((1, 4))):
            store.persist()
        others = list(CHANGES.values())
        for turn in range(60):
            for _ in range(chance.choice((0, 1, 1, 2))):
                exchange(things, chance.randrange(len(things)), chance.choice((turn, f"value {turn}", None, 0.5)))
            if chance.random() < 0.15:
                try:
                    chance.choice(others)(things[chance.randrange(1, len(things) - 10)], things)
                except AttributeError:
                    pass  # it has it not any more
            if chance.random() < 0.1:
                gc.collect()
            if chance.random() < 0.1:
                store.persist()
                store.abort()
                things = store.root["things"]
            store.persist()
            after = store.tid
            with Store(tmp_path / "a.fs", read_only=True) as loaded:
                assert states(loaded.root["things"]) == states(things), turn
            assert store.persist() == after, turn
    assert short


def test_the_image_is_confirmed_where_a_row_was_settled(tmp_path, monkeypatch):
    """Or every commit would ask what the one before has written."""
    confirmed: list[Any] = []
    confirm = Image.confirm

    def confirming(image: Any, group: Any) -> None:
        confirm(image, group)
        confirmed.append(group not in image._asked)

    monkeypatch.setattr(Image, "confirm", confirming)
    with Store(tmp_path / "a.fs") as store:
        things = store.root["things"] = [Thing(number) for number in range(2000)]
        for _ in range(4):
            store.persist()
        for place in range(0, 2000, 97):
            exchange(things, place, place)
            store.persist()
    assert confirmed == [True] * 21
