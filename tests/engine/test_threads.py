"""Threads of steps: calls in turn are all made, by few threads where they take no time, by many where they block."""

from __future__ import annotations

import functools
import threading

import pytest

import pstore
from pstore._engine import threads
from pstore._engine.threads import IN_TURN, Threads
from pstore.errors import StepFailed
from pstore.testing import VirtualClock

LONG = 30.0


@pytest.fixture
def made():
    found = Threads()
    yield found
    found.close()


def test_calls_that_take_no_time_are_made_once_each(made):
    done, ended, names = [], threading.Semaphore(0), set()

    def quick(number):
        names.add(threading.current_thread().name)
        done.append(number)
        ended.release()

    for number in range(1000):
        made.call_in_turn(functools.partial(quick, number))
    for _ in range(1000):
        assert ended.acquire(timeout=LONG)
    assert sorted(done) == list(range(1000))
    assert len(names) <= IN_TURN


def test_calls_that_block_are_in_as_many_threads_as_there_may_be(made):
    running, most, go, lock, ended = [0], [0], threading.Event(), threading.Lock(), threading.Semaphore(0)
    full = threading.Event()

    def blocks():
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
            if running[0] == IN_TURN:
                full.set()
        go.wait(LONG)
        with lock:
            running[0] -= 1
        ended.release()

    for _ in range(3 * IN_TURN):
        made.call_in_turn(blocks)
    assert full.wait(LONG)
    go.set()
    for _ in range(3 * IN_TURN):
        assert ended.acquire(timeout=LONG)
    assert most[0] == IN_TURN


def test_a_call_that_raises_holds_no_place(made, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    done = threading.Event()
    for _ in range(2 * IN_TURN):
        made.call_in_turn(lambda: 1 / 0)
    made.call_in_turn(done.set)
    assert done.wait(LONG)


def test_without_a_thread_it_is_said(made, monkeypatch):
    def none(*args, **kwargs):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threads.threading, "Thread", none)
        with pytest.raises(RuntimeError):
            made.call_in_turn(lambda: None)
    done = threading.Event()
    made.call_in_turn(done.set)
    assert done.wait(LONG)


class Mute(BaseException):
    def __str__(self):
        raise ValueError("no text")


def ends_mutely(number):
    raise Mute


def same(number):
    return number


async def many(count):
    return sum([await pstore.step(same, number) for number in range(count)])


async def mute():
    await pstore.step(ends_mutely, 1)


def test_a_step_whose_exception_has_no_text_fails(tmp_path):
    with pstore.open(tmp_path / "s.fs", clock=VirtualClock()) as engine:
        with pytest.raises(StepFailed, match="Mute"):
            engine.run(engine.spawn(mute))


def test_many_short_steps_share_commits(tmp_path):
    with pstore.open(tmp_path / "s.fs") as engine:
        tasks = [engine.spawn(many, 20) for _ in range(200)]
        engine.commit()
        before = len(engine.store.history())
        engine.run()
        assert [task.result() for task in tasks] == [190] * 200
        assert len(engine.store.history()) - before < 1000  # of 4,000 steps
