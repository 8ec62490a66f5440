"""Looking into a store: where tasks stand, without running anything."""

from __future__ import annotations

import asyncio
import inspect

import pytest

import pstore
from pstore._engine.parking import Tasks
from pstore.errors import EngineError, NotAStore, StoreReadOnly, UnknownTask
from pstore.tools import inspect as tool


class Shy:
    def __repr__(self):
        raise RuntimeError("no")


async def outer(order):
    amount, shy = 1000, Shy()
    return await middle(order, amount), shy  # stands here


async def middle(order, amount):
    async for item in items(order):
        await asyncio.sleep(3600)  # sleeps here
    return item


async def items(order):
    yield order * 100


async def fail():
    raise ValueError("broken")


async def answer():
    return 42


async def join(other):
    return await other


async def stepping():
    await pstore.step(len, "abc")


@pytest.fixture
def store(reopen, tmp_path):
    engine = reopen()
    sleeper = engine.spawn(outer, "x", id="sleeper")
    engine.spawn(join, sleeper, id="joiner")
    engine.spawn(fail, id="failed")
    engine.spawn(answer, id="finished")
    engine.spawn(asyncio.Queue().get, id="getter")
    engine.call_soon_threadsafe(engine.stop)
    engine.run()
    engine.spawn(stepping, id="stepping")
    engine.commit()
    with tool.look(tmp_path / "store.fs") as store:  # while the engine has it open
        yield store


def test_tasks_and_their_states(store):
    tasks = {task.id: task for task in tool.tasks(store)}
    assert {name: task.state for name, task in tasks.items()} == {
        "sleeper": "waiting", "joiner": "waiting", "failed": "failed", "finished": "finished", "getter": "waiting",
        "stepping": "ready",
    }  # fmt: skip
    assert tasks["sleeper"].function == "outer"
    line = inspect.getsourcelines(middle)[1] + 2
    assert tasks["sleeper"].where == f"middle() at {__file__}:{line}"
    assert tasks["sleeper"].source == "await asyncio.sleep(3600)  # sleeps here"
    assert {name: task.since for name, task in tasks.items()} == dict.fromkeys(tasks, 1000)
    assert tasks["failed"].source == ""
    assert tasks["failed"].where == "raised ValueError('broken')"
    assert tasks["finished"].where == "returned 42"
    assert tasks["joiner"].waits_for == "task sleeper"
    assert tasks["getter"].waits_for == "Future"


def test_one_task_is_told_of_as_among_all(store):
    assert [tool.task(store, task.id) for task in tool.tasks(store)] == tool.tasks(store)
    with pytest.raises(pstore.errors.UnknownTask):
        tool.task(store, "nobody")


def test_what_many_tasks_wait_for_is_found_in_linear_time(reopen, monkeypatch):
    engine = reopen()
    for _ in range(50):
        engine.spawn(asyncio.Queue().get)
    engine.run()
    looks, known = [], Tasks.__getitem__

    def counted(tasks, task_id):
        looks.append(task_id)
        return known(tasks, task_id)

    monkeypatch.setattr(Tasks, "__getitem__", counted)
    assert {task.waits_for for task in tool.tasks(engine)} == {"Future"}
    assert len(looks) <= 4 * 50


def test_stack_of_a_task(store):
    frames = tool.stack(store, "sleeper")
    assert [frame.function for frame in frames] == ["outer", "middle", "sleep"]
    assert frames[0].source == "return await middle(order, amount), shy  # stands here"
    assert frames[1].source == "await asyncio.sleep(3600)  # sleeps here"
    assert frames[0].locals["amount"] == "1000"
    assert frames[0].locals["shy"].startswith("<Shy instance at 0x")
    assert frames[1].locals["item"].startswith("'xxx")
    assert len(frames[1].locals["item"]) <= 200
    assert frames[2].filename.endswith("tasks.py")


def test_stack_of_a_failed_task_is_its_traceback(store):
    assert [(frame.function, frame.source) for frame in tool.stack(store, "failed")][-1:] == [
        ("fail", 'raise ValueError("broken")')
    ]


async def sleep_twice():
    await asyncio.sleep(5)
    await asyncio.sleep(10)


def test_since_when_a_task_stands_where_it_stands(reopen, clock):
    engine = reopen()
    task = engine.spawn(sleep_twice, id="sleeper")
    engine.run(engine.spawn(asyncio.sleep, 7))
    engine = reopen()
    assert [info.since for info in tool.tasks(engine)] == [1005]
    task = engine.tasks["sleeper"]
    engine.run(task)
    assert task.since == 1015


def test_a_waiting_step_is_named(reopen):
    engine = reopen()
    engine.spawn(stepping, id="stepping")
    engine.commit()
    engine.call_soon_threadsafe(engine.stop)
    engine.run()
    assert tool.waits_for(engine, "stepping").startswith("step len [")
    assert "'abc'" in tool.waits_for(engine, "stepping")
    assert [frame.function for frame in tool.stack(engine, "stepping")] == ["stepping"]


def test_a_step_that_waits_for_its_limiter_says_so(reopen):
    bank = pstore.Limiter("bank of inspect", rate=(1, 10**6))

    async def charge(n):
        await pstore.step(len, "abc" * n, limit=bank)

    engine = reopen()
    engine.run(engine.spawn(charge, 1))
    engine.spawn(charge, 2, id="second")
    engine.call_soon_threadsafe(engine.stop)
    engine.run()
    assert tool.waits_for(engine, "second").endswith("('abcabc'), in line for bank of inspect")


def test_unknown_task_is_one_clear_line(store):
    with pytest.raises(UnknownTask, match=r"no task 'nobody'; there are: sleeper, joiner, failed, .*"):
        tool.stack(store, "nobody")


def test_what_is_looked_at_cannot_be_changed(store):
    store.root["x"] = 1
    with pytest.raises(StoreReadOnly):
        store.persist()


def test_looking_makes_no_file(tmp_path):
    with pytest.raises(NotAStore, match="there is no such file"):
        tool.look(tmp_path / "typo.fs")
    assert list(tmp_path.iterdir()) == []


def test_a_store_without_a_program(tmp_path):
    with pstore.Store(tmp_path / "plain.fs") as store:
        store.root["x"] = 1
        store.persist()
        with pytest.raises(EngineError, match="no program was ever run"):
            tool.tasks(store)
