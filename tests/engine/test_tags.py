"""Finding tasks by state, tags and time; what the index knows is what is so."""

from __future__ import annotations

import asyncio
import random
import threading
from datetime import datetime, timezone

import pytest

import pstore
from pstore._engine.tags import state_of
from pstore.errors import NotInEngine


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
    pairs = {(tag, id) for id, tags in index.tags.items() for tag in tags.items()}
    assert pairs == {(tag, id) for tag, found in index.tagged.items() for id in found}


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
