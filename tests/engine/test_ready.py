"""Calls that are ready when a commit is made: in their order from there on, and not stored again at each."""

from __future__ import annotations

import asyncio

import pytest

import pstore
from pstore._engine import loop as loops
from pstore._engine.task import Task
from pstore.testing import VirtualClock
from tests.engine.crash import after_commits
from tests.engine.restarts import Gone

MANY = 40


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(loops, "BATCH_CALLS", 3)


def opened(path, **given):
    return pstore.open(path, clock=VirtualClock(), **given)


async def turns(number, log):
    for turn in range(3):
        log.append((turn, number))
        if number % 5 == 0:
            asyncio.get_running_loop().call_soon(noted, log, number)
        await asyncio.sleep(0)


def noted(log, number):
    log.append(("call", number))


def spawn_all(engine):
    log = engine.root["log"] = []
    for number in range(MANY):
        engine.spawn(turns, number, log)


def test_a_task_that_is_ready_is_stored_once_while_others_run(tmp_path, small_batches, monkeypatch):
    stored, state = [], Task.__capsule_state__

    def counted(task, parts=()):
        stored.append(task.id)
        return state(task, parts)

    monkeypatch.setattr(Task, "__capsule_state__", counted)
    with opened(tmp_path / "s.fs") as engine:
        spawn_all(engine)
        engine.run()
        assert len(engine.root["log"]) == 3 * MANY + 3 * MANY // 5
    assert len(stored) <= 5 * MANY + 10  # made, three turns, its end; not at each of some 50 commits


@pytest.mark.parametrize("resident", [None, 5])
def test_the_order_stays_over_restarts(tmp_path, small_batches, resident):
    with opened(tmp_path / "whole.fs") as engine:
        spawn_all(engine)
        engine.run()
        expected = list(engine.root["log"])
    path, restarts = tmp_path / "s.fs", 0
    with opened(path, resident=resident) as engine:
        spawn_all(engine)
        engine.commit()
    while True:
        commits = []

        def end(store):
            commits.append(1)  # noqa: B023
            if len(commits) == 3:  # noqa: B023
                raise Gone

        with opened(path, resident=resident) as engine, after_commits(end):
            try:
                engine.run()
            except Gone:
                restarts += 1
                continue
        break
    assert restarts > 10
    with opened(path, resident=resident) as engine:
        assert engine.root["log"] == expected


async def cancels(log):
    asyncio.get_running_loop().call_soon(noted, log, "first")
    asyncio.get_running_loop().call_soon(noted, log, "once")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    handle = asyncio.get_running_loop().call_soon(noted, log, "never")
    asyncio.get_running_loop().call_soon(noted, log, "twice")
    handle.cancel()
    await asyncio.sleep(1)


def test_a_call_that_was_made_or_cancelled_does_not_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr(loops, "BATCH_CALLS", 1)
    path = tmp_path / "s.fs"
    with opened(path) as engine:
        engine.spawn(cancels, engine.root.setdefault("log", []))
        engine.commit()
    for _ in range(30):

        def end(store):
            raise Gone

        with opened(path) as engine, after_commits(end):
            try:
                engine.run()
            except Gone:
                continue
            break
    with opened(path) as engine:
        assert engine.root["log"] == [("call", "first"), ("call", "once"), ("call", "twice")]
        assert not engine._loop.state.ready
