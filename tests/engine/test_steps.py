"""Steps: after the commit, at least once, under one key; results and exceptions stored."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import threading
import time

import pytest

import pstore
from pstore.errors import NotOnThisLoop, StepFailed, StepResultRefused
from pstore.testing import VirtualClock

CALLS = []
label = contextvars.ContextVar("label", default="none")


@pytest.fixture(autouse=True)
def _no_calls():
    CALLS.clear()


def add(a, b=0):
    CALLS.append((pstore.step_key(), a, b))
    return a + b


async def add_later(a, b=0):
    await asyncio.sleep(0.001)
    return add(a, b)


class Adder:
    def __init__(self, base):
        self.base = base

    def method(self, n):
        return add(self.base, n)

    async def __call__(self, n):
        return await add_later(self.base, n)


async def do(*args, **options):
    return await pstore.step(*args, **options)


def run(engine, *args, **options):
    return engine.run(engine.spawn(functools.partial(do, *args, **options)))


@pytest.mark.parametrize(
    "fn",
    [add, add_later, Adder(1).method, Adder(1), lambda a, b: add(a, b), lambda a, b: add_later(a, b),
     functools.partial(add, b=2), functools.partial(add_later, b=2)],
    ids=["function", "coroutine function", "method", "async callable", "lambda", "lambda of a coroutine function",
         "partial", "partial of a coroutine function"],
)  # fmt: skip
def test_every_kind_of_callable(reopen, fn):
    arguments = (2,) if isinstance(fn, Adder | functools.partial) or hasattr(fn, "__self__") else (1, 2)
    assert run(reopen(), fn, *arguments) in (3, 4)
    assert len(CALLS) == 1


def test_a_step_starts_only_after_the_commit_that_contains_it(reopen, monkeypatch):
    engine, persist, seen = reopen(), pstore.Store.persist, []

    def slow_persist(store, note=None):
        pending = len(store.parts["loop"].outbox.pending)
        time.sleep(0.02)
        seen.append((pending, len(CALLS)))
        return persist(store, note)

    monkeypatch.setattr(pstore.Store, "persist", slow_persist)
    assert run(engine, add, 1) == 1
    assert (1, 0) in seen  # committed as pending before it was called
    assert (1, 1) not in seen


@pytest.mark.parametrize("breaks", [True, False])
def test_the_result_is_committed_with_what_the_task_does_next(reopen, breaks):
    async def work(log):
        log.append(await pstore.step(add, 1))
        if breaks:
            raise KeyboardInterrupt
        await pstore.step(add, 10)
        raise KeyboardInterrupt

    engine = reopen()
    engine.spawn(work, engine.root.setdefault("log", []), id="work")
    with pytest.raises(KeyboardInterrupt):
        engine.run()
    engine = reopen()
    assert engine.root["log"] == ([] if breaks else [1])
    with pytest.raises(KeyboardInterrupt):
        engine.run()
    keys = [key for key, *_ in CALLS]
    assert len(keys) == 3 - breaks  # again, as the same, is called whose result was not committed with what came next
    assert keys[-1] == keys[-2]


def test_pending_steps_start_again_under_the_same_key(reopen):
    gate = threading.Event()

    def slow(n):
        CALLS.append(pstore.step_key())
        if len(CALLS) == 1:
            engine.stop()
            gate.wait(10)
        return n

    global hook
    hook = slow
    engine = reopen()
    engine.spawn(do, call_hook, 5, id="work")
    engine.run()
    engine = reopen()
    gate.set()
    assert engine.run(engine.tasks["work"]) == 5
    assert len(CALLS) == 2
    assert len(set(CALLS)) == 1


hook = None


def call_hook(*args):
    return hook(*args)


def test_keys_of_different_steps_and_stores_differ(reopen, clock):
    first = [run(reopen(), pstore.step_key) for _ in range(3)]
    with pstore.open("memory:", clock=clock) as other:
        assert len({*first, run(other, pstore.step_key)}) == 4


def test_an_exception_is_stored_and_raised_at_the_await(reopen):
    async def work(log):
        try:
            await pstore.step(add, 1, "2")
        except TypeError as error:
            log.append(type(error))
            await asyncio.sleep(1)
            raise

    engine = reopen()
    task = engine.spawn(work, engine.root.setdefault("log", []), id="work")
    with pytest.raises(TypeError, match="unsupported operand"):
        engine.run(task)
    engine = reopen()
    assert engine.root["log"] == [TypeError]
    with pytest.raises(TypeError, match="unsupported operand"):
        engine.tasks["work"].result()


def test_a_result_that_cannot_be_stored_is_refused_at_the_await(reopen):
    engine = reopen()

    async def work():
        try:
            await pstore.step(threading.Lock)
        except StepResultRefused as error:
            await asyncio.sleep(1)
            return str(error)

    text = engine.run(engine.spawn(work))
    assert text.startswith("the result of step")
    assert "lock" in text
    assert run(reopen(), add, 1) == 1


def test_an_exception_that_cannot_be_stored_is_refused_at_the_await(reopen):
    def fail():
        raise ValueError("this one", threading.Lock())

    engine = reopen()
    with pytest.raises(StepResultRefused, match="it raised ValueError"):
        run(engine, fail)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, StopIteration])
@pytest.mark.parametrize("in_thread", [True, False])
def test_what_would_end_more_than_the_step_is_wrapped(reopen, kind, in_thread):
    def leave():
        raise kind("out")

    async def leave_later():
        raise kind("out")

    engine = reopen()
    with pytest.raises((StepFailed, RuntimeError)):
        run(engine, leave if in_thread else leave_later)
    assert run(engine, add_later, 1) == 1


def test_retries_wait_as_told_and_keep_the_key(reopen, clock):
    def flaky():
        CALLS.append((pstore.step_key(), clock.now()))
        if len(CALLS) < 4:
            raise OSError("not yet")
        return "done"

    policy = pstore.Retry(attempts=4, delay=10, factor=2, longest=30)
    assert run(reopen(), flaky, retry=policy) == "done"
    assert [when - 1000 for _, when in CALLS] == [0, 10, 30, 60]
    assert len({key for key, _ in CALLS}) == 1


def test_retries_end_and_are_only_for_the_exceptions_named(reopen):
    def fail():
        CALLS.append(1)
        raise OSError("never")

    with pytest.raises(OSError, match="never"):
        run(reopen(), fail, retry=pstore.Retry(attempts=3))
    assert len(CALLS) == 3
    with pytest.raises(OSError, match="never"):
        run(reopen(), fail, retry=pstore.Retry(attempts=3, on=(ValueError,)))
    assert len(CALLS) == 4


def test_a_retry_survives_a_restart_while_it_rests(reopen, clock, monkeypatch):
    engine = reopen()
    engine.spawn(functools.partial(do, retry=pstore.Retry(attempts=2, delay=50)), call_hook, "no number", id="work")
    pause = clock.pause

    def stop_when_resting(deadline, wait, *, busy):
        engine.stop() if deadline == 1050 else pause(deadline, wait, busy=busy)

    global hook
    hook = int
    with monkeypatch.context() as patch:
        patch.setattr(clock, "pause", stop_when_resting)
        engine.run()
    hook = len
    engine = reopen()
    assert engine.run(engine.tasks["work"]) == len("no number")
    assert clock.now() == 1050


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"delay": -1}])
def test_nonsense_retries_are_refused(wrong):
    with pytest.raises(ValueError, match="Retry"):
        pstore.Retry(**wrong)


def test_a_cancelled_step_is_given_up(reopen):
    started, cancelled = threading.Event(), threading.Event()

    async def endless():
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    global hook
    hook = endless

    async def work():
        try:
            async with asyncio.timeout(5):
                await pstore.step(call_hook)
        except TimeoutError:
            await asyncio.sleep(1)
            return "timeout"

    with pstore.open("memory:", clock=VirtualClock(patience=0.05)) as engine:
        assert engine.run(engine.spawn(work)) == "timeout"
        assert started.is_set()
        assert cancelled.wait(5)
        assert engine.run() == []


def test_steps_run_at_the_same_time(reopen):
    barrier = threading.Barrier(3, timeout=10)

    def meet(n):
        barrier.wait()
        return n

    global hook
    hook = meet

    async def work():
        return await asyncio.gather(*(pstore.step(call_hook, n) for n in range(3)))

    engine = reopen()
    assert engine.run(engine.spawn(work)) == [0, 1, 2]


def test_a_step_sees_the_context_of_its_task(reopen):
    async def work():
        label.set("mine")
        return await pstore.step(label.get), await asyncio.to_thread(label.get)

    engine = reopen()
    assert engine.run(engine.spawn(work)) == ("mine", "mine")


def test_functions_in_threads_are_steps(reopen):
    async def work():
        loop = asyncio.get_running_loop()
        return [await asyncio.to_thread(add, 1, b=2), await loop.run_in_executor(None, add, 3)]

    engine = reopen()
    assert engine.run(engine.spawn(work)) == [3, 3]
    assert len({key for key, *_ in CALLS}) == 2


def test_an_executor_of_ones_own_is_refused(reopen):
    async def work():
        await asyncio.get_running_loop().run_in_executor(object(), add, 3)

    engine = reopen()
    with pytest.raises(NotOnThisLoop, match="pass None"):
        engine.run(engine.spawn(work))


def test_a_step_that_is_never_awaited_warns(reopen):
    with pytest.warns(RuntimeWarning, match="step add> was never awaited"):
        pstore.step(add, 1)


def test_a_step_is_awaited_once(reopen):
    async def work():
        call = pstore.step(add, 1)
        assert await call == 1
        await call

    engine = reopen()
    with pytest.raises(RuntimeError, match="was awaited already"):
        engine.run(engine.spawn(work))


def test_a_call_in_place_of_a_function_is_refused():
    with pytest.raises(TypeError, match="needs a function"):
        pstore.step(len("abc"))


def test_steps_can_be_spawned(reopen):
    engine = reopen()
    assert engine.run(engine.spawn(pstore.step, add, 1, 2)) == 3


def test_a_stuck_step_does_not_keep_the_process(reopen, tmp_path):
    engine = reopen()
    global hook
    hook = functools.partial(time.sleep, 3600)
    engine.spawn(do, call_hook)
    engine.call_soon_threadsafe(engine.stop)
    engine.run()
    begin = time.monotonic()
    engine.close()
    assert time.monotonic() - begin < 1
    assert os.getpid()
