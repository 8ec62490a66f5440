"""What a store is to its users: every verb and argument, each as the documentation has it."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import shutil
import sys
import textwrap
import threading
import time
import warnings
import weakref
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from BTrees.OOBTree import OOBTree
from persistent import Persistent

import pstore
from pstore import Store
from pstore._store.store import RECORD_FORMAT
from pstore.errors import (
    CaptureError,
    CodeNotFound,
    ModuleStateError,
    ModuleStateWarning,
    NoCurrentStore,
    NoSuchState,
    NotAllowed,
    PstoreError,
    StoreClosed,
    StoreConflict,
    StoreError,
    StoreReadOnly,
    UnknownRoot,
    UnsupportedValue,
)
from tests.processes import run
from tests.store import golden
from tests.store.golden import program
from tests.store.portrait import Portrait, assert_same

PYTHON = "{}.{}".format(*sys.version_info)
OLD_DATA, OLD_FRAMES = (Path(golden.__file__).with_name(f"format1-{PYTHON}{kind}.fs") for kind in ("", "-frames"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "graph.fs"


@pytest.fixture(autouse=True)
def no_store_is_current():
    """`load` sets the store of the whole context; no test is to see that of another."""
    from pstore._store.store import current

    token = current.set(None)
    yield
    current.reset(token)


class Sayer:
    def __init__(self, greeting):
        self.greeting = greeting

    def greet(self):
        return self.greeting

    @classmethod
    def made(cls, greeting):
        return cls(greeting)

    @staticmethod
    def shout(text):
        return text.upper()


class Loud(Sayer):
    pass


class Account(Persistent):
    def __init__(self, name):
        self.name = name
        self.lines = []


def countdown(box):
    try:
        for left in range(box["from"], 0, -1):
            box["seen"].append((yield left))
    finally:
        box["ended"] = True


def counter():
    count = 0

    def up():
        nonlocal count
        count += 1
        return count

    def look():
        return count

    return up, look


# ---------------------------------------------------------------- roots


def test_attach_gives_its_object_and_resolve_finds_it(path):
    with Store(path) as store:
        sayer = Sayer("Hello")
        assert store.attach(sayer) is sayer
        assert store.attach([1], "numbers") == [1]
        assert store.resolve(Sayer) is sayer  # before a persist, too
        store.persist()
    with Store(path) as store:
        assert store.resolve(Sayer).greeting == "Hello"
        assert store.resolve("numbers") is store.root["numbers"]
        assert list(store.root) == ["numbers"]


def test_a_type_finds_its_subclasses(path):
    with Store(path) as store:
        loud = store.attach(Loud("HELLO"))
        assert store.resolve(Sayer) is store.resolve(Loud) is store.resolve(object) is loud


def test_a_root_by_name_is_found_by_type(path):
    with Store(path) as store:
        sayer = store.attach(Sayer("Hello"), "sayer")
        assert store.resolve(Sayer) is sayer
        store.attach(sayer)
        store.attach(sayer, "again")
        assert store.resolve(Sayer) is sayer  # one object, whatever it is called


def test_an_object_that_is_attached_twice_is_a_root_once(path):
    with Store(path) as store:
        sayer = Sayer("Hello")
        store.attach(sayer)
        store.attach(sayer)
        store.detach(sayer)
        with pytest.raises(UnknownRoot):
            store.resolve(Sayer)


def test_equal_objects_are_roots_of_their_own(path):
    with Store(path) as store:
        one, other = store.attach([1]), store.attach([1])
        store.detach(one)
        assert store.resolve(list) is other


def test_a_name_attached_again_is_the_new_object(path):
    with Store(path) as store:
        store.attach(1, "n")
        store.attach(2, "n")
        store.persist()
    with Store(path) as store:
        assert store.resolve("n") == 2


def test_unknown_roots(path):
    with Store(path) as store:
        store.attach(Sayer("a"), "a")
        store.attach(Loud("b"), "b")
        for what, text in (
            ("c", "cannot resolve 'c'; named roots: 'a', 'b'"),
            (dict, "no root of type dict"),
            (Sayer, "several roots of type Sayer"),
        ):
            with pytest.raises(UnknownRoot, match=text) as caught:
                store.resolve(what)
            assert caught.value.known == ("a", "b")
            assert isinstance(caught.value, LookupError)
        assert store.resolve(Loud).greeting == "b"
        with pytest.raises(UnknownRoot, match="'c'"):
            store.detach("c")
        with pytest.raises(UnknownRoot, match="a Sayer"):
            store.detach(Sayer("never attached"))


def test_the_error_without_any_roots(path):
    with Store(path) as store, pytest.raises(UnknownRoot, match="named roots: none"):
        store.resolve("x")


@pytest.mark.parametrize("by", ["name", "object"])
def test_what_is_detached_is_gone_after_the_next_persist(path, by):
    with Store(path) as store:
        sayer = store.attach(Sayer("Hello"), "sayer")
        store.attach([sayer.greet], "kept" if by == "name" else None)
        store.attach(Sayer("other"), "other")
        store.persist()
    with Store(path) as store:
        store.detach("sayer" if by == "name" else store.resolve("sayer"))
        # not persisted
    with Store(path) as store:
        assert store.resolve("sayer").greeting == "Hello"
        store.detach("sayer" if by == "name" else store.resolve("sayer"))
        store.persist()
    with Store(path) as store:
        with pytest.raises(UnknownRoot):
            store.resolve("sayer")
        assert store.resolve(Sayer).greeting == "other"
        (greet,) = store.resolve(list)
        assert greet() == "Hello"  # something else leads to it


def test_detaching_an_object_takes_all_its_names(path):
    with Store(path) as store:
        sayer = store.attach(Sayer("Hello"), "one")
        store.attach(sayer, "two")
        store.attach(sayer)
        store.persist()
        store.detach(sayer)
        store.persist()
    with Store(path) as store:
        assert store.root == {}
        with pytest.raises(UnknownRoot):
            store.resolve(Sayer)


def test_a_detached_cycle_takes_no_space_after_a_pack(path):
    with Store(path) as store:
        ring = {"data": "x" * 100_000}
        ring["me"] = ring
        store.attach(ring)
        store.persist()
        store.detach(ring)
        del ring
        store.persist()
        store.collect()
        store.persist()
        store.pack()
        assert path.stat().st_size < 10_000


def test_the_objects_that_attach_keeps_are_let_go_of(path):
    with Store(path) as store:
        sayer = store.attach(Sayer("Hello"))
        seen = weakref.ref(sayer)
        store.persist()
        store.detach(sayer)
        del sayer
        store.persist()
        assert seen() is None


def test_collect_forgets_no_change(path):
    with Store(path) as store:
        ring = store.attach([], "ring")
        ring.append(ring)
        store.persist()
        del ring
        store.detach("ring")
        store.attach(1, "important")
        store.collect()
        store.persist()
    with Store(path) as store:
        assert store.root == {"important": 1}


def test_any_value_can_be_a_root(path):
    with Store(path) as store:
        for name, value in (("none", None), ("number", 1), ("text", "x"), ("tuple", (1, [2])), ("class", Sayer)):
            store.attach(value, name)
        store.attach(countdown({"from": 3, "seen": []}), "frame")
        store.persist()
    with Store(path) as store:
        found = [store.resolve(name) for name in ("none", "number", "text", "tuple", "class")]
        assert found == [None, 1, "x", (1, [2]), Sayer]
        assert next(store.resolve("frame")) == 3


# ---------------------------------------------------------------- delegates, cycles


def test_the_sayer(path):
    """An object and a method of it, both attached, are one object and its method afterwards."""
    with Store(path) as store:
        sayer = store.attach(Sayer("Hello"), "sayer")
        store.attach(sayer.greet, "greet")
        store.persist()
    with Store(path) as store:
        greet = store.resolve("greet")
        assert greet() == "Hello"
        store.resolve(Sayer).greeting = "G'day"
        assert greet() == "G'day"
        store.persist()
    with Store(path) as store:
        assert store.resolve("greet")() == "G'day"
        assert store.resolve("greet").__self__ is store.resolve(Sayer)


def test_delegates_of_all_kinds(path):
    with Store(path) as store:
        sayer, words = Sayer("Hello"), ["a"]
        store.root.update(
            words=words,
            bound=sayer.greet,
            of_class=Sayer.made,
            of_subclass=Loud.made,
            static=Sayer.shout,
            plain=countdown,
            builtin=words.append,
            partial=functools.partial(Sayer.made, "part"),
            literal=lambda: "Come join us!",
            closure=lambda: (words, sayer),
            default=lambda x, held=words: (x, held),
        )
        store.persist()
    with Store(path) as store:
        root = store.root
        assert root["bound"]() == "Hello"
        assert type(root["of_class"]("x")) is Sayer
        assert type(root["of_subclass"]("x")) is Loud
        assert root["static"]("x") == "X"
        assert root["plain"] is countdown
        root["builtin"]("b")
        assert root["words"] == ["a", "b"]
        assert root["partial"]().greeting == "part"
        assert root["literal"]() == "Come join us!"
        assert root["closure"]()[0] is root["default"](1)[1] is root["words"]
        assert root["closure"]()[1] is root["bound"].__self__


def test_closures_that_share_a_cell(path):
    with Store(path) as store:
        up, look = counter()
        up()
        store.attach({"up": up, "look": look}, "counter")
        store.persist()
        up()
        assert look() == 2
        store.persist()  # nothing but what is in the cell has changed
    for expected in (3, 4):
        with Store(path) as store:
            both = store.resolve("counter")
            assert both["up"]() == both["look"]() == expected
            store.persist()


def test_a_suspended_generator_goes_on_and_shares(path):
    with Store(path) as store:
        box = store.attach({"from": 3, "seen": []}, "box")
        gen = store.attach(countdown(box), "gen")
        assert next(gen) == 3
        store.persist()
        assert gen.send("a") == 2
        store.persist()
    with Store(path) as store:
        box, gen = store.resolve("box"), store.resolve("gen")
        assert box["seen"] == ["a"]
        assert gen.send("b") == 1
        assert box["seen"] == ["a", "b"]
        assert list(gen) == []
        assert box["ended"]
        store.persist()
    with Store(path) as store:
        assert list(store.resolve("gen")) == []
        assert store.resolve("box")["ended"]


def test_cycles_of_every_sort(path):
    with Store(path) as store:
        sayer = Sayer("Hello")
        sayer.me, sayer.friends, sayer.call = sayer, [sayer], sayer.greet
        table = {}
        table["table"], table["pair"] = table, (table, sayer)
        frame = countdown(table)
        table.update({"from": 2, "seen": [frame], "root": store.root})
        next(frame)
        store.root.update(sayer=sayer, table=table)
        store.persist()
        assert store.persist() == store.tid
    with Store(path) as store:
        sayer, table = store.root["sayer"], store.root["table"]
        assert sayer.me is sayer.friends[0] is sayer.call.__self__ is table["pair"][1] is sayer
        assert table["table"] is table["pair"][0] is table
        assert table["root"] is store.root
        (frame,) = table["seen"]
        assert frame.gi_frame.f_locals["box"] is table
        assert frame.send("x") == 1


# ---------------------------------------------------------------- persist, history, the past, pack


def test_notes_and_history(path):
    with Store(path) as store:
        assert store.tid == bytes(8)
        assert store.history() == []
        tids = []
        before = datetime.now(UTC) - timedelta(seconds=1)
        for n, note in enumerate(["first", None, "third: é 世"]):
            store.root["n"] = n
            tids.append(store.persist(note))
        assert store.persist("nothing changed") == tids[-1] == store.tid
        found = store.history()
        assert [one.tid for one in found] == tids[::-1]
        assert [one.note for one in found] == ["third: é 世", "", "first"]
        assert all(later.tid > one.tid and later.time >= one.time for later, one in pairwise(found))
        assert all(before < one.time < datetime.now(UTC) + timedelta(seconds=1) for one in found)
        assert store.history(limit=2) == found[:2]
    with Store(path, read_only=True) as store:
        assert store.history() == found


def test_at_a_transaction(path):
    with Store(path) as store:
        log = store.attach([], "log")
        tids = []
        for n in range(4):
            log.append(n)
            tids.append(store.persist(f"commit {n}"))
        for n, tid in enumerate(tids):
            with store.at(tid) as past:
                assert past.tid == tid
                assert past.resolve("log") == list(range(n + 1))
                assert past.resolve("log") is not log
        for wrong in (bytes(8), b"\x00" * 7 + b"\x01", b"\xff" * 8):
            with pytest.raises(NoSuchState, match="no state of transaction"):
                store.at(wrong)


def test_at_a_time(path):
    with Store(path) as store:
        log = store.attach([], "log")
        times = []
        for n in range(3):
            log.append(n)
            store.persist()
            time.sleep(0.01)
            times.append(datetime.now(UTC))
            time.sleep(0.01)
        for n, moment in enumerate(times):
            with store.at(moment) as past:
                assert past.resolve("log") == list(range(n + 1))
            with store.at(moment.astimezone()) as past:
                assert past.resolve("log") == list(range(n + 1))
        for one in store.history():
            with store.at(one.time) as past:
                assert past.tid == one.tid
        with pytest.raises(NoSuchState, match="no state of time"):
            store.at(times[0] - timedelta(days=1))
        with pytest.raises(ValueError, match="time zone"):
            store.at(datetime(2020, 1, 1))


def test_a_generator_of_the_past_is_independent_of_the_live_one(path):
    with Store(path) as store:
        box = store.attach({"from": 5, "seen": []}, "box")
        gen = store.attach(countdown(box), "gen")
        assert next(gen) == 5
        early = store.persist("early")
        assert gen.send("live") == 4
        store.persist("late")
        past = store.at(early)
        again = store.at(early)
        assert past.resolve("gen") is not gen
        assert past.resolve("gen").send("past") == 4
        assert past.resolve("box")["seen"] == ["past"]
        assert again.resolve("gen").send("again") == 4
        assert again.resolve("box")["seen"] == ["again"]
        assert box["seen"] == ["live"]
        past.resolve("gen").close()
        assert past.resolve("box")["ended"]
        assert gen.send("on") == 3
        assert box == {"from": 5, "seen": ["live", "on"]}
        past.close()
        again.close()
        assert "ended" not in box
        store.persist()
    with Store(path) as store:
        assert store.resolve("box")["seen"] == ["live", "on"]
        assert next(store.resolve("gen")) == 2


def test_a_store_of_the_past_is_to_look_at(path):
    with Store(path) as store:
        store.attach(Sayer("Hello"))
        tid = store.persist()
        with store.at(tid) as past:
            past.resolve(Sayer).greeting = "changed"
            for refused in (past.persist, past.pack):
                with pytest.raises(StoreReadOnly):
                    refused()
            past.abort()
            assert past.resolve(Sayer).greeting == "Hello"
        with pytest.raises(StoreClosed):
            past.resolve(Sayer)
        assert store.resolve(Sayer).greeting == "Hello"  # the store that it is of is open
        store.root["n"] = 1
        store.persist()


def test_a_store_of_the_past_is_closed_with_its_store(path):
    code = f"""
        import pstore
        from pstore.errors import StoreClosed
        with pstore.Store({str(path)!r}) as store:
            store.attach([1], "numbers")
            past = store.at(store.persist())
        try:
            past.resolve("numbers")
        except StoreClosed:
            past.close()
        else:
            raise AssertionError("it is open")
        """
    run(code, path.parent)


def test_pack_forgets_what_it_is_not_told_to_keep(path):
    with Store(path) as store:
        log = store.attach([], "log")
        tids = []
        for n in range(6):
            log.append(n)
            tids.append(store.persist(str(n)))
        store.pack(keep=tids[2])
        assert [one.tid for one in store.history()] == tids[:1:-1]
        with store.at(tids[2]) as past:
            assert past.resolve("log") == [0, 1, 2]
        with pytest.raises(NoSuchState):
            store.at(tids[1])
        store.pack(keep=timedelta(hours=1))  # all is younger
        assert len(store.history()) == 4
        store.pack(keep=next(one.time for one in store.history() if one.tid == tids[4]))
        assert [one.note for one in store.history()] == ["5", "4"]
        with pytest.raises(NoSuchState):
            store.pack(keep=tids[0])
        store.pack()
        assert [one.note for one in store.history()] == ["5"]
        log.append("on")
        store.persist()
    with Store(path) as store:
        assert store.resolve("log") == [*range(6), "on"]
        assert len(store.history()) == 2


def test_pack_of_all_but_a_span(path):
    with Store(path) as store:
        for n in range(3):
            store.root["n"] = n
            store.persist()
        time.sleep(0.05)
        store.pack(keep=timedelta(seconds=0.02))
        assert len(store.history()) == 1


def test_read_only_and_closed_stores_say_so(path):
    with Store(path) as store:
        store.attach(1, "n")
        tid = store.persist()
    for verb in (
        lambda: store.attach(1),
        lambda: store.detach("n"),
        lambda: store.resolve("n"),
        store.persist,
        store.abort,
        store.history,
        store.pack,
        lambda: store.at(tid),
    ):
        with pytest.raises(StoreClosed):
            verb()
    before = path.read_bytes()
    with Store(path, read_only=True) as store:
        store.attach(2, "n")
        for verb in (store.persist, store.pack):
            with pytest.raises(StoreReadOnly):
                verb()
        with store.at(tid) as past:
            assert past.resolve("n") == 1
    assert path.read_bytes() == before


def test_two_processes_on_one_storage(tmp_path):
    """The second to commit is told, and nothing of what it did is stored."""
    pytest.importorskip("relstorage")
    uri = f"sqlite:{tmp_path / 'shared'}"
    with Store(uri) as store:
        store.attach([], "log")
        store.persist()
        run(
            f"""
            import pstore
            with pstore.Store({uri!r}) as store:
                store.resolve("log").append("other")
                store.persist()
            """,
            tmp_path,
        )
        store.resolve("log").append("mine")
        with pytest.raises(StoreConflict, match="open it again"):
            store.persist()
    with Store(uri) as store:
        assert store.resolve("log") == ["other"]


# ---------------------------------------------------------------- the current store


def test_there_is_no_current_store():
    for verb, call in (("attach", lambda: pstore.attach(1)), ("persist", pstore.persist)):
        with pytest.raises(NoCurrentStore, match=f"no store to {verb} to: write `with pstore.Store"):
            call()


def test_with_makes_a_store_current(path):
    with Store(path) as store:
        sayer = pstore.attach(Sayer("Hello"), "sayer")
        tid = pstore.persist("by the module")
        assert (store.tid, store.root["sayer"]) == (tid, sayer)
        assert store.history()[0].note == "by the module"
    with pytest.raises(NoCurrentStore):
        pstore.attach(1)


def test_a_store_alone_is_not_current(path):
    store = Store(path)
    with pytest.raises(NoCurrentStore):
        pstore.persist()
    store.close()


def test_with_within_with(tmp_path):
    with Store(tmp_path / "outer.fs") as outer:
        with Store(tmp_path / "inner.fs") as inner:
            pstore.attach("inner", "which")
            with inner:  # again; it is closed at the end of this
                pstore.attach("again", "which")
                pstore.persist()
        pstore.attach("outer", "which")
        pstore.persist()
        assert outer.root == {"which": "outer"}
    with Store(tmp_path / "inner.fs") as inner:
        assert inner.root == {"which": "again"}


def test_with_that_ends_in_an_error(tmp_path):
    with Store(tmp_path / "outer.fs") as outer:
        with pytest.raises(ZeroDivisionError), Store(tmp_path / "inner.fs"):
            pstore.attach(1, "lost")
            raise ZeroDivisionError
        pstore.attach(1, "n")
        assert outer.root == {"n": 1}
    with Store(tmp_path / "inner.fs") as inner:
        assert inner.root == {}


def test_load_makes_a_store_current(tmp_path):
    first = pstore.load(tmp_path / "first.fs")
    pstore.attach(Sayer("Hello"), "sayer")
    pstore.persist()
    second = pstore.load(tmp_path / "second.fs", durability="os")
    pstore.attach(2, "n")
    assert not first.closed
    assert first.resolve(Sayer).greeting == "Hello"
    assert second.root == {"n": 2}
    second.close()
    with pytest.raises(NoCurrentStore):
        pstore.persist()
    with first:
        pstore.attach(1, "n")
    assert first.closed


def test_load_takes_the_arguments_of_store(path):
    with Store(path) as store:
        store.attach(Sayer("Hello"), "sayer")
        store.persist()
    with pytest.raises(NotAllowed):
        pstore.load(path, allow=["json"])
    with pytest.raises(NoCurrentStore):
        pstore.persist()
    with pstore.load(path, read_only=True), pytest.raises(StoreReadOnly):
        pstore.persist()


def test_each_thread_has_its_own(tmp_path):
    found = []

    def other():
        try:
            pstore.attach(1)
        except NoCurrentStore:
            found.append("none")
        with Store(tmp_path / "thread.fs") as store:
            barrier.wait()
            pstore.attach("thread", "which")
            barrier.wait()
            found.append(dict(store.root))

    barrier = threading.Barrier(2, timeout=30)
    context = contextvars.Context()  # some Pythons hand the context of the starter to a thread
    thread = threading.Thread(target=context.run, args=(other,))
    with Store(tmp_path / "main.fs") as store:
        thread.start()
        barrier.wait()
        pstore.attach("main", "which")
        barrier.wait()
        thread.join()
        assert store.root == {"which": "main"}
    assert found == ["none", {"which": "thread"}]


def test_each_asyncio_task_has_its_own(tmp_path):
    async def work(name):
        with Store(tmp_path / f"{name}.fs") as store:
            for n in range(3):
                pstore.attach(n, name)
                await asyncio.sleep(0)
                pstore.persist()
            return dict(store.root)

    async def main():
        return await asyncio.gather(work("a"), work("b"))

    assert asyncio.run(main()) == [{"a": 2}, {"b": 2}]


def test_with_that_is_left_in_another_context(path):
    """As an async generator is that one task begins and another ends."""

    async def lifespan():
        with Store(path) as store:
            opened.append(store)
            yield

    async def main():
        running = lifespan()
        await asyncio.create_task(anext(running))
        await asyncio.create_task(running.aclose())

    opened = []
    try:
        asyncio.run(main())
        assert opened[0].closed
    finally:
        opened[0].close()


# ---------------------------------------------------------------- refusals


def test_a_refused_persist_says_where_and_what_to_do(path):
    with Store(path) as store:
        box = store.attach({"from": 2, "seen": []}, "box")
        gen = store.attach(countdown(box), "gen")
        next(gen)
        tid = store.persist()
        before = path.read_bytes()
        box["seen"].append([1, {"lock": threading.Lock()}])
        gen.send("not lost")
        with pytest.raises(UnsupportedValue) as caught:
            store.persist("refused")
        assert caught.value.path == "root['box']['seen'][0][1]['lock']"
        assert caught.value.type_name.endswith("lock")
        assert caught.value.remedy
        assert caught.value.remedy in str(caught.value)
        assert (store.tid, path.read_bytes()) == (tid, before)
        assert box["seen"][1:] == ["not lost"]  # the program goes on
        assert list(gen) == []
        del box["seen"][0]
        assert store.persist("goes on") > tid
    with Store(path) as store:
        assert store.resolve("box") == {"from": 2, "seen": ["not lost", None], "ended": True}
        assert [one.note for one in store.history()] == ["goes on", ""]


def test_a_path_through_a_frame_and_an_attached_object(path):
    def worker():
        lock = threading.Lock()
        yield lock

    with Store(path) as store:
        sayer = store.attach(Sayer("Hello"))
        sayer.worker = worker()
        next(sayer.worker)
        with pytest.raises(UnsupportedValue) as caught:
            store.persist()
        assert "test_api.py" in caught.value.path
        assert caught.value.path.endswith("local 'lock'")
        assert ".worker" in caught.value.path
        assert not path.stat().st_size or store.history() == []
        del sayer.worker
        store.persist()
    with Store(path) as store:
        assert vars(store.resolve(Sayer)) == {"greeting": "Hello"}


def test_a_getstate_that_fails_is_the_users_error(path):
    class Broken:
        def __getstate__(self):
            raise RuntimeError("not now")

    with Store(path) as store:
        store.attach([1], "kept")
        tid = store.persist()
        store.attach(Broken(), "broken")
        with pytest.raises((RuntimeError, CaptureError), match="not now"):
            store.persist()
        assert store.tid == tid
        store.detach("broken")
        store.resolve("kept").append(2)
        store.persist()
    with Store(path) as store:
        assert store.root == {"kept": [1, 2]}


# ---------------------------------------------------------------- allow, renames, strict_globals


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A module, and stores that another process filled: one of a store's user, one of an engine's."""
    source = """
        import pathlib
        import asyncio
        pathlib.Path("imported").touch()

        class Order:
            def __init__(self, amount):
                self.amount = amount
            def __setstate__(self, state):
                pathlib.Path("ran").touch()
                self.__dict__.update(state)
            def work(self):
                while True:
                    got = yield self.amount
                    self.amount += got

        async def ship(order):
            await asyncio.sleep(1000)
            return order.amount
        """
    (tmp_path / "shop.py").write_text(textwrap.dedent(source))
    fill = """
        import pstore, shop
        with pstore.Store("shop.fs") as store:
            order = store.attach(shop.Order(1), "order")
            store.attach(order.work(), "work").send(None)
            store.persist()
        with pstore.open("engine.fs") as engine:
            engine.root["order"] = order = shop.Order(1)
            engine.spawn(shop.ship, order, id="ship")
            engine.store.persist()
        """
    run(fill, tmp_path)
    for made in ("imported", "ran"):
        (tmp_path / made).unlink(missing_ok=True)
    return tmp_path


OPENINGS = {
    "Store": ("Store", "shop.fs", "store.root"),
    "load": ("load", "shop.fs", "store.root"),
    "open": ("open", "engine.fs", "store.root"),
}
openings = pytest.mark.parametrize("opening", OPENINGS)


@openings
def test_what_is_not_allowed_is_refused_before_anything_runs(shop, opening):
    verb, name, _ = OPENINGS[opening]
    before = (shop / name).read_bytes()
    code = f"""
        import pathlib, sys
        import pstore
        from pstore.errors import NotAllowed
        for allow in ([], ["json"], ["shopping"], ["json:"]):
            try:
                pstore.{verb}({name!r}, allow=allow)
            except NotAllowed as error:
                assert error.name.startswith("shop"), error
                assert error.entry == "shop" or error.entry.startswith("shop:"), error.entry
                assert error.entry in str(error)
            else:
                raise AssertionError("it was loaded")
            assert "shop" not in sys.modules
        assert not pathlib.Path("imported").exists() and not pathlib.Path("ran").exists()
        """
    run(code, shop)
    assert (shop / name).read_bytes() == before


@openings
def test_what_is_allowed_is_loaded_and_goes_on(shop, opening):
    verb, name, root = OPENINGS[opening]
    code = f"""
        import pstore
        with pstore.{verb}({name!r}, allow=["shop"]) as store:
            root = {root}
            assert root["order"].amount in (1, 3)
            if "work" in root:
                root["work"].send(2)
                assert root["order"].amount in (3, 5)
                assert root["work"].gi_frame.f_locals["self"] is root["order"]
            (store if hasattr(store, "persist") else store.store).persist()
        """
    run(code, shop)
    run(code, shop)


@openings
@pytest.mark.parametrize("split", [False, True])
def test_a_class_renamed_between_two_processes(shop, opening, split):
    verb, name, root = OPENINGS[opening]
    source = (shop / "shop.py").read_text()
    if split:  # the class moves to another module
        (shop / "model.py").write_text(source.replace("class Order", "class Purchase"))
        (shop / "shop.py").write_text(source.replace("class Order", "class Other"))
        renames = {"shop.Order": "model.Purchase"}
    else:
        (shop / "shop.py").write_text(source.replace("class Order", "class Purchase"))
        renames = {"shop:Order": "shop:Purchase"}
    code = f"""
        import pstore
        for options in ({{"renames": {renames!r}}}, {{"renames": {renames!r}, "allow": ["shop", "model"]}}):
            with pstore.{verb}({name!r}, **options) as store:
                root = {root}
                order = root["order"]
                assert type(order).__name__ == "Purchase"
                if "work" in root:
                    assert root["work"].gi_frame.f_locals["self"] is order
                    order.amount = root["work"].send(1)
                order.touched = True
                (store if hasattr(store, "persist") else store.store).persist()
        """
    run(code, shop)


@openings
def test_a_renamed_class_without_renames_is_not_found(shop, opening):
    verb, name, _ = OPENINGS[opening]
    (shop / "shop.py").write_text((shop / "shop.py").read_text().replace("class Order", "class Purchase"))
    before = (shop / name).read_bytes()
    code = f"""
        import pstore
        from pstore.errors import CodeNotFound
        try:
            pstore.{verb}({name!r})
        except CodeNotFound as error:
            assert 'renames={{"shop:Order": ' in str(error), error
        else:
            raise AssertionError("it was loaded")
        """
    run(code, shop)
    assert (shop / name).read_bytes() == before


def test_what_is_stored_under_new_names_needs_no_renames(shop):
    source = (shop / "shop.py").read_text()
    (shop / "shop.py").write_text(source.replace("class Order", "class Purchase"))
    code = """
        import pstore
        with pstore.Store("shop.fs", renames={"shop:Order": "shop:Purchase"}) as store:
            order = store.root["order"]
            order.amount = 10
            store.root["work"].send(1)
            store.persist()
        """
    run(code, shop)
    run(
        """
        import pstore
        with pstore.Store("shop.fs") as store:
            assert type(store.root["order"]).__name__ == "Purchase"
            assert store.root["work"].send(1) == 12
        """,
        shop,
    )


def test_arguments_that_make_no_sense(path):
    for options in ({"allow": "shop"}, {"durability": "most"}):
        with pytest.raises((TypeError, ValueError)):
            Store(path, **options)
    assert not path.exists()


GLOBALS = """
    import pstore
    results = []

    def work():
        while True:
            results.append((yield len(results)))
    """


@pytest.fixture
def keeping(tmp_path, monkeypatch):
    """A module whose generator keeps data in a global."""
    name = f"keeping_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(GLOBALS))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield __import__(name)
    del sys.modules[name]


def test_strict_globals(path, keeping):
    with Store(path, strict_globals=True) as store:
        store.attach([1], "kept")
        tid = store.persist()
        before = path.read_bytes()
        gen = store.attach(keeping.work(), "work")
        next(gen)
        for _ in range(2):
            with pytest.raises(ModuleStateError, match="uses the global results of module") as caught:
                store.persist()
        assert (caught.value.module, caught.value.name) == (keeping.__name__, "results")
        assert isinstance(caught.value, CaptureError)
        assert caught.value.place.startswith("work() at ")
        assert (store.tid, path.read_bytes()) == (tid, before)
        assert gen.send("on") == 1
        store.detach("work")
        store.resolve("kept").append(2)
        store.persist()
    with Store(path, strict_globals=True) as store:
        assert store.root == {"kept": [1, 2]}


def test_a_warning_once(path, keeping):
    with Store(path) as store:
        gen = store.attach(keeping.work(), "work")
        next(gen)
        with pytest.warns(ModuleStateWarning, match="never stored") as caught:
            store.persist()
        assert len(caught) == 1
        assert caught[0].message.name == "results"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for n in range(3):
                gen.send(n)
                store.persist()
            store.attach(keeping.work(), "second").send(None)
            store.persist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Store(path) as store:
            next(store.resolve("work"))
            store.persist()


def test_a_warning_made_an_error_stores_nothing(path, keeping):
    with Store(path) as store:
        store.attach([1], "kept")
        tid = store.persist()
        store.attach(keeping.work(), "work").send(None)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ModuleStateWarning)
            with pytest.raises(ModuleStateWarning):
                store.persist()
        assert store.tid == tid


def test_volatile_globals_are_left_alone(path, keeping):
    keeping.results = pstore.volatile(keeping.results)
    with Store(path, strict_globals=True) as store:
        store.attach(keeping.work(), "work").send(None)
        store.persist()


# ---------------------------------------------------------------- stores of format 1


def test_a_store_of_format_1_with_data(tmp_path):
    copy = shutil.copy(OLD_DATA, tmp_path / "old.fs")
    assert RECORD_FORMAT == 2
    with Store(copy) as store:
        tid, old = store.tid, len(store.history())
        expected = dict(program.data())
        program.go_on(expected)
        assert_same(expected, store.root)
        store.root["ring"].list.append("changed")
        store.attach(store.root["ring"])
        store.root["again"] = store.root["shared"]
        assert store.persist("now in format 2") > tid
        live = Portrait(store.root)
        assert len(store.history()) == old + 1
    with Store(copy) as store:
        assert_same(live, store.root)
        ring = store.resolve("ring")
        assert ring is store.resolve(program.Plain) is ring.list[0]
        assert store.root["again"] is store.root["shared"] is ring.shared
        assert store.persist() == store.tid
        with store.at(tid) as past:
            assert "again" not in past.root  # the past is in format 1
            assert_same(expected, past.root)
        size = store.root and Path(copy).stat().st_size
        ring.name = "changed"
        store.persist()
        assert Path(copy).stat().st_size - size < 10_000
        store.pack()
    with Store(copy) as store:
        assert store.resolve("ring").name == "changed"
        assert len(store.history()) == 1


def test_a_store_of_format_1_that_is_only_looked_at(tmp_path):
    copy = shutil.copy(OLD_DATA, tmp_path / "old.fs")
    before = copy.read_bytes()
    with Store(copy, read_only=True) as store:
        assert store.root["shared"]
    with Store(copy) as store:
        assert store.history()
    assert copy.read_bytes() == before


def test_a_store_of_format_1_with_frames(tmp_path):
    copy = shutil.copy(OLD_FRAMES, tmp_path / "old.fs")
    with Store(copy) as store:
        before = list(store.root["shared"])
        store.root["shared"].append("format 2")
        store.root["up"]()
        store.persist()
        live = Portrait(store.root)
    with Store(copy) as store:
        assert_same(live, store.root)
        assert store.root["look"]() == store.root["up"]() - 1
        assert store.root["shared"][: len(before) + 1] == [*before, "format 2"]
        next(store.root["fresh"])
        store.persist()
    with Store(copy) as store:
        assert store.root["fresh"].gi_frame.f_locals["shared"] is store.root["shared"]
        seen = program.resumed(store.root)
        assert seen[-1] is store.root["shared"]


def test_a_store_of_format_1_under_an_allow_list(tmp_path):
    copy = shutil.copy(OLD_DATA, tmp_path / "old.fs")
    with pytest.raises(NotAllowed):
        Store(copy, allow=["shop"])
    with Store(copy, allow=["tests.store.golden.program", "operator"]) as store:
        store.root["shared"].append("on")
        store.persist()
    with Store(copy, allow=["tests.store.golden.program", "operator"]) as store:
        assert store.root["shared"][-1] == "on"


# ---------------------------------------------------------------- Persistent objects in the graph


def test_persistent_objects_and_btrees_share_with_the_root(path):
    with Store(path) as store:
        shared = store.attach({"n": 0}, "shared")
        account = store.attach(Account("a"), "account")
        account.lines.append(shared)
        tree = store.attach(OOBTree(), "tree")
        tree.update({"shared": shared, "account": account, "lines": account.lines})
        gen = store.attach(countdown({"from": 3, "seen": account.lines}), "gen")
        next(gen)
        store.attach(lambda: (account, tree), "both")
        store.persist()
        assert store.persist() == store.tid
    with Store(path) as store:
        account, tree = store.resolve("both")()
        assert account._p_changed is None  # not loaded yet
        assert tree._p_changed is None
        assert store.resolve(Account) is account
        assert store.resolve("shared") == {"n": 0}
        assert account._p_changed is None
        assert tree["account"] is account
        assert tree["shared"] is store.resolve("shared")
        assert account._p_changed is None
        assert tree["lines"] is account.lines
        assert account._p_changed is False
        assert account.lines[0] is store.resolve("shared")
        store.resolve("gen").send("sent")
        assert account.lines[1] == "sent"
        store.resolve("shared")["n"] = 1
        store.persist()
    with Store(path) as store:
        tree = store.resolve("tree")
        assert tree["lines"] == [{"n": 1}, "sent"]
        assert tree["account"].lines is tree["lines"]


def test_a_change_within_one_that_was_not_loaded(path):
    with Store(path) as store:
        store.attach({"a": Account("a"), "b": Account("b")}, "accounts")
        store.persist()
    with Store(path) as store:
        accounts = store.resolve("accounts")
        accounts["a"].lines.append(accounts["b"])
        store.persist()
        assert accounts["b"]._p_changed is None
    with Store(path) as store:
        accounts = store.resolve("accounts")
        assert accounts["a"].lines == [accounts["b"]]
        store.detach("accounts")
        store.attach(accounts["a"], "a")
        store.persist()
        store.pack()
    with Store(path) as store:
        assert store.resolve("a").lines[0].name == "b"


def test_lazily_loaded_ones_of_the_past(path):
    with Store(path) as store:
        account = store.attach(Account("then"), "account")
        tid = store.persist()
        account.name = "now"
        account.lines.append("now")
        store.persist()
        with store.at(tid) as past:
            assert past.resolve(Account)._p_changed is None
            assert past.resolve(Account).name == "then"
            assert past.resolve(Account).lines == []
        assert account.name == "now"


def test_one_of_another_store_is_refused(tmp_path):
    with Store(tmp_path / "a.fs") as one, Store(tmp_path / "b.fs") as other:
        account = one.attach(Account("a"), "account")
        one.persist()
        other.attach([account], "theirs")
        with pytest.raises(CaptureError, match="another database"):
            other.persist()
        other.detach("theirs")
        other.attach(1, "n")
        other.persist()


def test_allowed_persistent_classes(path):
    with Store(path) as store:
        store.attach(Account("a"), "account")
        store.persist()
    with pytest.raises(NotAllowed, match="Account"):
        Store(path, allow=["json"])
    with Store(path, allow=["tests.store.test_api"]) as store:
        assert store.resolve("account").name == "a"


# ---------------------------------------------------------------- what the limits say


def test_errors_are_of_one_tree():
    for error in (UnknownRoot, NoCurrentStore, StoreConflict, NoSuchState):
        assert issubclass(error, StoreError)
    assert issubclass(CodeNotFound, PstoreError)
