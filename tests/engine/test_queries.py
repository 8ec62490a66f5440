"""Questions to tasks: copies, without disturbing them, from any thread."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

import pstore
from pstore.errors import CaptureError, EngineError, NotInEngine, QueryChanged, UnknownTask


async def inner(items):
    own = items
    await asyncio.Event().wait()
    return own


async def work(items):
    me = asyncio.current_task()
    both = (items, items)
    await inner(items)
    return me, both


async def declaring(done):
    todo = ["a", "b"]
    pstore.query("status", lambda: {"todo": todo, "done": done})
    pstore.query("count", lambda n, factor=1: (len(todo) + n) * factor)
    pstore.query("task", asyncio.current_task)
    pstore.query("fails", lambda: 1 / 0)
    pstore.query("sends", lambda: pstore.send("work", 1))
    pstore.query("changes", lambda: todo.append("c"))
    while todo:
        await pstore.receive()
        done.append(todo.pop(0))


def started(reopen, fn=declaring):
    engine = reopen()
    engine.spawn(fn, engine.root.setdefault("items", [1]), id="work")
    engine.run()
    return engine


def test_locals_are_copies(reopen):
    engine = started(reopen, work)
    for _ in range(2):
        outer, nested, _ = engine.locals("work")  # the last is that of asyncio.Event
        assert (outer.function, nested.function) == ("work", "inner")
        assert nested.locals == {"items": [1], "own": [1]}
        assert nested.locals["items"] is nested.locals["own"]
        assert nested.locals["items"] is not engine.root["items"]
        assert outer.locals == {"items": [1], "both": ([1], [1])}
        assert list(outer.left_out) == ["me"]
        assert "belongs to the program" in outer.left_out["me"]
        assert nested.filename == __file__
        nested.locals["items"].append(2)
        engine = reopen()


def test_a_task_that_is_done_has_no_locals(reopen):
    async def short():
        return 1

    engine = reopen()
    engine.spawn(short, id="short")
    engine.run()
    assert engine.locals("short") == []
    with pytest.raises(UnknownTask):
        engine.locals("nobody")


def test_a_query_gives_a_copy(reopen):
    engine = started(reopen)
    engine.send("work", "go")
    engine.run()
    for _ in range(2):
        assert engine.query("work", "status") == {"todo": ["b"], "done": [1, "a"]}
        engine.query("work", "status")["todo"].clear()
        assert engine.query("work", "count", 2) == 3
        engine = reopen()
    engine.send("work", "go")
    assert engine.run() == []
    with pytest.raises(EngineError, match=r"no query 'status' \(it has: none\)"):
        engine.query("work", "status")


def test_what_a_query_raises(reopen):
    engine = started(reopen)
    with pytest.raises(ZeroDivisionError):
        engine.query("work", "fails")
    with pytest.raises(EngineError, match="no query 'what'.*changes, count"):
        engine.query("work", "what")
    with pytest.raises(UnknownTask):
        engine.query("nobody", "status")
    with pytest.raises(NotInEngine):
        engine.query("work", "sends")
    with pytest.raises(RuntimeError, match="no running"):
        engine.query("work", "task")


def test_what_cannot_be_copied_does_not_leave(reopen):
    async def declare(items):
        me = asyncio.current_task()
        pstore.query("me", lambda: [me])
        await pstore.receive()

    engine = started(reopen, declare)
    with pytest.raises(CaptureError, match="belongs to the program"):
        engine.query("work", "me")


def test_a_query_that_changes_something_is_noticed_in_debug_mode(reopen):
    engine = started(reopen)
    engine._loop.set_debug(True)
    assert engine.query("work", "count", 1) == 3
    with pytest.raises(QueryChanged, match="'changes' of task 'work'"):
        engine.query("work", "changes")


def test_a_query_can_be_taken_away(reopen):
    async def declare(items):
        pstore.query("a", len)
        pstore.query("a", None)
        with pytest.raises(TypeError):
            pstore.query("a", 5)
        await pstore.receive()

    engine = started(reopen, declare)
    assert engine._loop.services.queries == {}
    with pytest.raises(NotInEngine):
        pstore.query("a", len)


def test_questions_from_other_threads_while_the_engine_runs():
    with pstore.open("memory:") as engine:
        engine.spawn(declaring, [], id="work")
        answers = []

        def ask():
            while not engine._loop.services.queries:
                pass
            for _ in range(20):
                answers.append(engine.query("work", "count", 1))
                answers.append(len(engine.locals("work")))
            with pytest.raises(ZeroDivisionError):
                engine.query("work", "fails")
            with pytest.raises(NotInEngine):
                engine.query("work", "sends")
            engine.stop()

        thread = threading.Thread(target=ask)
        thread.start()
        engine.run(forever=True)
        thread.join()
        assert answers == [3, 1] * 20


HOOKS = pstore.volatile([])


def call_hook():
    return HOOKS[-1]()


async def asked():
    pstore.query("hook", call_hook)
    await asyncio.Event().wait()


async def calling():
    call_hook()


def test_who_asks_when_the_run_ends_is_answered():
    def ask():
        got.append(engine.query("asked", "hook"))

    def last():
        thread.start()
        while engine._loop.inbox.empty():
            time.sleep(0.001)
        HOOKS[:] = [lambda: 1]

    got, thread = [], threading.Thread(target=ask, daemon=True)
    with pstore.open("memory:") as engine:
        engine.spawn(asked, id="asked")
        engine.run()
        HOOKS[:] = [last]
        engine.run(engine.spawn(calling))  # ends without a look at what has come in
        thread.join(5)
        assert got == [1]


def test_a_run_begins_when_those_who_look_have_looked():
    def look():
        HOOKS[:] = [lambda: moves.append(1)]
        looking.set()
        time.sleep(0.05)
        seen.append(list(moves))

    seen, moves, looking = [], [], threading.Event()
    with pstore.open("memory:") as engine:
        engine.spawn(asked, id="asked")
        engine.run()
        engine.spawn(calling)
        HOOKS[:] = [look]
        thread = threading.Thread(target=engine.query, args=("asked", "hook"))
        thread.start()
        assert looking.wait(10)
        engine.run()
        thread.join(10)
        assert (seen, moves) == ([[]], [1])
