"""Finding tasks by state, tags and time; what the index knows is what is so."""

from __future__ import annotations

import asyncio
import enum
import random
import re
import threading
from datetime import datetime, timezone

import pytest

import pstore
from pstore._engine.tags import state_of
from pstore.errors import NotInEngine


KINDS = {kind.__name__: kind for kind in (bool, int, float, str)}


async def nap(seconds):
    await asyncio.sleep(seconds)


async def fail(seconds):
    await asyncio.sleep(seconds)
    raise ValueError


async def tagging(**tags):
    pstore.tag(stage="one")
    await asyncio.sleep(10)
    pstore.tag(stage="two", seen=True)
    await asyncio.sleep(10)
    pstore.tag(stage=None)
    await asyncio.Event().wait()


def ids(engine, **asked):
    return [task.id for task in engine.find(**asked)]


def check(engine):
    """The index is what looking at all tasks gives."""
    index = engine._loop.services.index
    for state, moments in index.since.items():
        assert set(moments) == {id for id, task in engine.tasks.items() if state_of(task) == state}
        assert list(moments.values()) == sorted(moments.values())
    for id, tags in index.tags.items():
        assert tags
        assert id in engine.tasks
    pairs = {(name, type(value), value, id) for id, tags in index.tags.items() for name, value in tags.items()}
    assert pairs == {(name, KINDS[kind], value, id) for (name, kind, value), ids in index.having.items() for id in ids}


def test_states(reopen, clock):
    engine = reopen()
    engine.spawn(nap, 5, id="a")
    engine.spawn(fail, 6, id="b")
    cancelled = engine.spawn(nap, 100, id="c")
    engine.spawn(nap, 1000, id="d")
    engine.spawn(nap, 3)
    assert ids(engine) == ["a", "b", "c", "d", "Task-1"]
    engine.run(engine.spawn(nap, 10))
    engine.call_soon_threadsafe(cancelled.cancel)
    engine.run(engine.spawn(nap, 1))
    for _ in range(2):
        assert ids(engine, state="active") == ["d"]
        assert ids(engine, state="finished") == ["a"]
        assert ids(engine, state="failed") == ["b"]
        assert ids(engine, state="cancelled") == ["c"]
        assert ids(engine) == ["d", "a", "b", "c"]
        check(engine)
        engine = reopen()
    engine.forget("b")
    assert ids(engine, state="failed") == []
    check(engine)


def test_since(reopen, clock):
    engine = reopen()
    for seconds in (5, 10, 15):
        engine.spawn(nap, seconds, id=str(seconds))
    engine.run()
    clock.advance(0.5)
    engine.spawn(nap, 5, id="late")
    assert ids(engine, state="finished", since=1010) == ["10", "15"]
    assert ids(engine, since=1010) == ["10", "15", "late"]
    assert ids(engine, since=1016) == []
    assert ids(engine, since=datetime.fromtimestamp(1011, timezone.utc)) == ["15", "late"]
    with pytest.raises(ValueError, match="time zone"):
        engine.find(since=datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="no state of tasks"):
        engine.find(state="ready")


def test_tags(reopen, clock):
    engine = reopen()
    engine.spawn(nap, 5, id="a", tags={"customer": "x", "express": True})
    engine.spawn(nap, 9, id="b", tags={"customer": "x", "express": False})
    engine.spawn_once("c", nap, 5, tags={"customer": "y"})
    engine.spawn_once("c", nap, 5, tags={"customer": "z"})
    for _ in range(2):
        assert ids(engine, tag={"customer": "x"}) == ["a", "b"]
        assert ids(engine, tag={"customer": "x", "express": True}) == ["a"]
        assert ids(engine, tag={"customer": "y"}) == ["c"]
        assert ids(engine, tag={"customer": "z"}) == []
        check(engine)
        engine.commit()
        engine = reopen()
    engine.run(engine.spawn(nap, 6))
    assert ids(engine, tag={"customer": "x"}, state="active") == ["b"]
    assert ids(engine, tag={"customer": "x"}, since=1005) == ["a"]
    engine.forget("a")
    assert ids(engine, tag={"customer": "x"}) == ["b"]
    check(engine)


def test_a_task_tags_itself(reopen, clock):
    engine = reopen()
    engine.spawn(tagging, id="t", tags={"kind": "k"})
    engine.run(engine.spawn(nap, 5))
    assert ids(engine, tag={"stage": "one", "kind": "k"}) == ["t"]
    engine = reopen()
    engine.run(engine.spawn(nap, 10))
    assert ids(engine, tag={"stage": "one"}) == []
    assert ids(engine, tag={"stage": "two", "seen": True}) == ["t"]
    engine.run()
    assert ids(engine, tag={"stage": "two"}) == []
    check(engine)
    with pytest.raises(NotInEngine):
        pstore.tag(a=1)


def test_tags_are_plain(reopen):
    engine = reopen()
    with pytest.raises(TypeError, match="the value of a tag"):
        engine.spawn(nap, 1, id="t", tags={"a": []})
    check(engine)


def test_a_task_whose_tags_are_refused_is_not_started(reopen):
    engine = reopen()
    with pytest.raises(TypeError, match=r"kind=\[1\] is not"):
        engine.spawn(nap, 1, id="nap", tags={"kind": [1]})
    assert not engine.tasks
    assert engine.run(engine.spawn(nap, 1, id="nap", tags={"kind": 1})) is None


def test_values_of_another_type_are_other_tags(reopen):
    values = {"int": 1, "bool": True, "float": 1.0, "zero": 0, "false": False, "minus zero": -0.0, "text": "1"}
    engine = reopen()
    for id, value in values.items():
        engine.spawn(nap, 5, id=id, tags={"a": value})
    for _ in range(2):
        for id, value in values.items():
            assert ids(engine, tag={"a": value}) == [id]
        assert ids(engine, tag={"a": 0.0}) == ["minus zero"]
        check(engine)
        engine.commit()
        engine = reopen()
    engine.run()
    for id in values:
        engine.forget(id)
    assert not engine._loop.services.index.having


class Colour(str, enum.Enum):
    RED = "red"


def test_a_subclass_is_found_by_what_it_is_equal_to(reopen):
    engine = reopen()
    engine.spawn(nap, 5, id="a", tags={"colour": Colour.RED})
    assert ids(engine, tag={"colour": "red"}) == ids(engine, tag={"colour": Colour.RED}) == ["a"]


@pytest.mark.parametrize("value", [[1], {"b": 1}, None, b"1"])
def test_what_is_looked_for_is_plain(reopen, value):
    with pytest.raises(TypeError, match=rf"a={re.escape(repr(value))} is not"):
        reopen().find(tag={"a": value})


@pytest.mark.parametrize("tag", [["a"], "a", 1])
def test_tags_are_looked_for_by_name_and_value(reopen, tag):
    with pytest.raises(TypeError, match=re.escape(f"tag={tag!r}: tags are looked for by name and value")):
        reopen().find(tag=tag)


def test_a_store_whose_index_does_not_tell_types_apart(reopen):
    """Before, the index had (name, value), one entry for all that are equal."""
    engine = reopen()
    for id, value in {"int": 1, "bool": True, "text": "x"}.items():
        engine.spawn(nap, 5, id=id, tags={"a": value})
    index = engine._loop.services.index
    del index.having
    index.tagged = {("a", 1): {"int": None, "bool": None}, ("a", "x"): {"text": None}}
    engine.commit()
    for _ in range(2):
        engine = reopen()
        assert ids(engine, tag={"a": 1}) == ["int"]
        assert ids(engine, tag={"a": True}) == ["bool"]
        assert ids(engine, tag={"a": "x"}) == ["text"]
        assert not hasattr(engine._loop.services.index, "tagged")
        check(engine)
        engine.commit()


def test_any_program(reopen, clock):
    chance = random.Random(17)
    engine = reopen()
    for n in range(90):
        kind = chance.choice([nap, nap, fail])
        engine.spawn(kind, chance.random() * 50, id=chance.choice([None, f"n{n}"]), tags={"k": chance.randrange(4)})
        if n % 7 == 0:
            chance.choice(list(engine.tasks.values())).cancel()
        if n % 20 == 0:
            engine.run(engine.spawn(nap, 5))
            check(engine)
            for id in [id for id, task in engine.tasks.items() if task.done() and chance.random() < 0.3]:
                engine.forget(id)
            engine = reopen()
            check(engine)
    engine.run()
    check(engine)
    assert not engine.find(state="active")


def test_a_store_from_before_there_was_an_index(reopen, clock):
    engine = reopen()
    engine.spawn(nap, 5, id="a")
    engine.spawn(fail, 6, id="b")
    engine.run()
    clock.advance(0.5)
    engine.spawn(nap, 5, id="c")
    engine._loop.state.services = type(engine._loop.services)()
    engine.commit()
    engine = reopen()
    assert ids(engine) == ["a", "b", "c"]
    check(engine)


def test_from_another_thread():
    with pstore.open("memory:") as engine:
        engine.spawn(nap, 3600, id="a", tags={"k": 1})
        found = []

        def find():
            found.extend(task.id for task in engine.find(tag={"k": 1}))
            engine.stop()

        thread = threading.Thread(target=find)
        engine.call_soon_threadsafe(thread.start)
        engine.run(forever=True)
        thread.join()
        assert found == ["a"]
