"""Time-outs, heartbeats and cancellation of attempts, in threads and as coroutines."""

from __future__ import annotations

import asyncio
import functools
import threading

import pytest

import pstore
from pstore.errors import CaptureError, NotInEngine, StepTimeout
from pstore.testing import VirtualClock
from tests.engine.restarts import outcomes

CALLS = pstore.volatile([])
hook = None


@pytest.fixture(autouse=True)
def _no_calls():
    CALLS.clear()


@pytest.fixture
def clock():
    return VirtualClock(1000.0, patience=0.15)


async def do(*args, **options):
    return await pstore.step(*args, **options)


def run(engine, *args, **options):
    return engine.run(engine.spawn(functools.partial(do, *args, **options)))


def call_hook(*args):
    return hook(*args)


def use(fn):
    global hook
    hook = fn
    return call_hook


class Endless:
    """A step that does not end by itself."""

    def __init__(self):
        self.begun, self.ended, self.gate = 0, threading.Event(), threading.Event()

    def in_thread(self):
        self.begun += 1
        if pstore.step_cancelled(wait=10):
            self.ended.set()
        return "late"

    async def as_coroutine(self):
        self.begun += 1
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            self.ended.set()
            raise

    def stuck(self):
        self.begun += 1
        self.gate.wait(10)
        self.ended.set()
        return "late"


@pytest.mark.parametrize("kind", ["in_thread", "as_coroutine"])
def test_an_attempt_that_takes_too_long_is_given_up(reopen, clock, kind):
    endless = Endless()
    fn = use(getattr(endless, kind))
    with pytest.raises(StepTimeout, match=r"step call_hook \[.*took more than timeout=30 s") as caught:
        run(reopen(), fn, timeout=30)
    assert caught.value.kind == "timeout"
    assert clock.now() == 1030
    assert endless.ended.wait(5)


def test_the_late_result_of_a_stuck_thread_is_dropped(reopen, clock):
    endless, engine = Endless(), reopen()
    with pytest.raises(TimeoutError):
        run(engine, use(endless.stuck), timeout=30)
    endless.gate.set()
    assert endless.ended.wait(5)
    assert run(engine, use(lambda: "next")) == "next"
    assert engine._loop.inbox.empty()


def test_an_attempt_that_timed_out_is_tried_again(reopen, clock):
    def slow_at_first():
        CALLS.append(clock.now())
        if len(CALLS) < 3:
            pstore.step_cancelled(wait=10)
        return "done"

    assert run(reopen(), use(slow_at_first), timeout=30, retry=pstore.Retry(delay=5, factor=1)) == "done"
    assert CALLS == [1000, 1035, 1070]


def test_time_outs_one_after_the_other_tell_of_the_one_before(reopen):
    with pytest.raises(StepTimeout) as caught:
        run(reopen(), use(Endless().as_coroutine), timeout=30, retry=pstore.Retry(attempts=4))
    given_up = "an attempt took more than timeout=30 s and was given up"
    assert str(caught.value) == (
        f"step {caught.value.step}: {given_up}; the attempt before failed with StepTimeout: {given_up}; "
        "give it longer, or let its function end sooner"
    )


def test_time_outs_that_are_not_to_be_tried_again(reopen):
    with pytest.raises(StepTimeout):
        run(reopen(), use(Endless().in_thread), timeout=30, retry=pstore.Retry(not_on=TimeoutError))


def test_stuck_threads_do_not_keep_others_from_running(reopen):
    endless, engine = Endless(), reopen()

    async def work():
        stuck = [pstore.step(call_hook, timeout=30) for _ in range(40)]
        results = await asyncio.gather(*stuck, return_exceptions=True)
        return [type(result) for result in results], await pstore.step(abs, -1)

    use(endless.stuck)
    kinds, after = engine.run(engine.spawn(work))
    assert (set(kinds), after, endless.begun) == ({StepTimeout}, 1, 40)
    endless.gate.set()


def test_the_wait_for_a_thread_is_not_counted(reopen, clock):
    """The second batch begins only when the first has timed out, and has all its time."""

    async def work():
        slow = [pstore.step(call_hook, timeout=30) for _ in range(33)]
        return await asyncio.gather(*slow, return_exceptions=True)

    use(Endless().in_thread)
    engine = reopen()
    engine.run(engine.spawn(work))
    assert clock.now() == 1060


def test_a_clock_that_is_set_does_not_end_an_attempt(reopen, clock):
    def slow():
        clock.set(5000)
        return "done"

    assert run(reopen(), use(slow), timeout=30) == "done"
    assert clock.now() == 5000


@pytest.mark.parametrize("kind", ["in_thread", "as_coroutine"])
def test_a_restart_during_an_attempt_counts_anew(reopen, clock, kind):
    endless = Endless()

    def first():
        CALLS.append(clock.now())
        clock.advance(20)
        engine.stop()
        pstore.step_cancelled(wait=10)

    engine = reopen()
    engine.spawn(functools.partial(do, timeout=30), use(first), id="work")
    engine.run()
    engine = reopen()
    use(getattr(endless, kind))
    with pytest.raises(StepTimeout):
        engine.run(engine.tasks["work"])
    assert clock.now() == 1020 + 30
    assert endless.ended.wait(5)


def test_times_that_are_none():
    for options in ({"timeout": 0}, {"timeout": -1}, {"heartbeat": 0}, {"timeout": "3"}, {"timeout": True}):
        with pytest.raises(ValueError, match="must be more than 0 seconds"):
            pstore.step(abs, -1, **options)


# -- heartbeats


def test_an_attempt_without_a_heartbeat_is_given_up(reopen, clock):
    def silent():
        pstore.heartbeat()
        clock.advance(7)
        pstore.heartbeat()
        pstore.step_cancelled(wait=10)

    with pytest.raises(StepTimeout, match=r"no pstore\.heartbeat\(\) for heartbeat=10 s") as caught:
        run(reopen(), use(silent), heartbeat=10)
    assert caught.value.kind == "heartbeat"
    assert clock.now() == 1017


def test_one_that_beats_goes_on(reopen, clock):
    clock.patience = None

    async def beating():
        for _ in range(10):
            clock.advance(7)
            pstore.heartbeat()
            await asyncio.sleep(0)
        return "done"

    assert run(reopen(), use(beating), heartbeat=10) == "done"
    assert clock.now() == 1070


def test_details_are_there_for_the_next_attempt(reopen):
    def work():
        done = pstore.heartbeat_details(default=[])
        CALLS.append(list(done))
        done.append(len(CALLS))
        pstore.heartbeat(done)
        pstore.heartbeat()  # leaves the details
        done.append("changed later")
        assert pstore.heartbeat_details() == list(range(1, len(CALLS) + 1))
        if len(CALLS) < 3:
            raise OSError("no")
        return done

    assert run(reopen(), use(work), retry=pstore.Retry(attempts=5)) == [1, 2, 3, "changed later"]
    assert CALLS == [[], [1], [1, 2]]


def test_details_are_there_after_a_restart(reopen):
    def first():
        pstore.heartbeat({"row": 17})
        while not engine._loop.outbox.pending or next(iter(engine._loop.outbox.pending.values())).details is None:
            threading.Event().wait(0.001)
        engine.stop()
        pstore.step_cancelled(wait=10)

    engine = reopen()
    engine.spawn(do, use(first), id="work")
    engine.run()
    engine = reopen()
    assert engine.run(engine.tasks["work"]) == {"row": 17} if use(pstore.heartbeat_details) else None


def test_details_are_committed_at_most_once_a_second(reopen, clock, monkeypatch):
    commits, persist = [], pstore.Store.persist
    monkeypatch.setattr(pstore.Store, "persist", lambda store, note=None: commits.append(1) or persist(store, note))

    def eager():
        for n in range(2000):
            pstore.heartbeat(n)
        return "done"

    assert run(reopen(), use(eager)) == "done"
    assert len(commits) < 10


def test_details_that_cannot_be_stored_are_refused_in_the_step(reopen):
    def bad():
        pstore.heartbeat("good")
        with pytest.raises(CaptureError, match="lock"):
            pstore.heartbeat(threading.Lock())
        return pstore.heartbeat_details()

    assert run(reopen(), use(bad)) == "good"


@pytest.mark.parametrize("ask", [pstore.heartbeat, pstore.heartbeat_details, pstore.step_cancelled, pstore.step_key])
def test_only_steps_may_ask(ask):
    with pytest.raises(NotInEngine, match=r"called outside a step; call it in a function given to pstore\.step"):
        ask()


# -- cancellation


@pytest.mark.parametrize("kind", ["in_thread", "as_coroutine"])
def test_cancelling_the_task_reaches_the_step(reopen, clock, kind):
    endless = Endless()

    async def work():
        try:
            async with asyncio.timeout(5):
                await pstore.step(call_hook)
        except TimeoutError:
            await asyncio.sleep(1)
            return "given up"

    use(getattr(endless, kind))
    engine = reopen()
    assert engine.run(engine.spawn(work)) == "given up"
    assert clock.now() == 1006
    assert endless.ended.wait(5)
    assert engine.run() == []


def test_to_thread_is_told_as_well(reopen):
    endless = Endless()

    async def work():
        task = asyncio.create_task(asyncio.to_thread(call_hook))
        await asyncio.sleep(5)
        task.cancel()
        return await asyncio.gather(task, return_exceptions=True)

    use(endless.in_thread)
    engine = reopen()
    (error,) = engine.run(engine.spawn(work))
    assert isinstance(error, asyncio.CancelledError)
    assert endless.ended.wait(5)


def test_closing_the_engine_tells_threads(reopen):
    endless = Endless()
    engine = reopen()

    def first():
        engine.stop()
        endless.in_thread()

    engine.spawn(do, use(first))
    engine.run()
    assert not endless.ended.is_set()
    engine.close()
    assert endless.ended.wait(5)


def test_a_step_that_ran_to_its_end_was_not_cancelled(reopen):
    assert run(reopen(), pstore.step_cancelled) is False


# -- keys


def test_a_key_of_ones_own(reopen):
    assert run(reopen(), pstore.step_key, key="order-17") == "order-17"
    assert run(reopen(), pstore.step_key, key="order-17") == "order-17"  # the first is done: the other side decides


def test_a_key_of_ones_own_outlives_attempts_and_restarts(reopen):
    def first():
        CALLS.append(pstore.step_key())
        if len(CALLS) == 1:
            raise OSError("no")
        if len(CALLS) == 2:
            engine.stop()
            pstore.step_cancelled(wait=10)

    engine = reopen()
    engine.spawn(functools.partial(do, key="order-17", retry=pstore.Retry()), use(first), id="work")
    engine.run()
    engine = reopen()
    engine.run(engine.tasks["work"])
    assert CALLS == ["order-17"] * 3


def test_two_pending_steps_of_one_key_are_refused(reopen):
    async def work():
        first = asyncio.create_task(pstore.step(call_hook, key="order-17"))
        await asyncio.sleep(0)
        try:
            await pstore.step(abs, -1, key="order-17")
        except pstore.errors.StepKeyInUse as error:
            await asyncio.sleep(1)
            return str(error), pstore.loads(pstore.dumps(error)).key, await first

    use(lambda: pstore.step_key())
    text, key, first = reopen_and_run(reopen, work)
    assert (key, first) == ("order-17", "order-17")
    assert "step abs was not started: step call_hook with the same key='order-17' is not done" in text


def reopen_and_run(reopen, work):
    engine = reopen()
    return engine.run(engine.spawn(work))


def test_a_key_is_free_again_at_once_when_its_step_is_cancelled(reopen):
    """The answer of the first, which still runs, is not taken for that of the second."""
    gate = threading.Event()

    def answer(n):
        if n == 1:
            CALLS.append("begun")
            gate.wait(10)
        if n == 3:
            gate.set()
        return n

    async def work():
        first = asyncio.create_task(pstore.step(call_hook, 1, key="k", retry=pstore.Retry(deadline=500)))
        await asyncio.sleep(1)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        second = await pstore.step(call_hook, 2, key="k")
        await pstore.step(call_hook, 3)
        await asyncio.sleep(600)
        return second

    use(answer)
    assert reopen_and_run(reopen, work) == 2
    assert CALLS == ["begun"]


def test_keys_that_are_none():
    for key in ("", 3, b"k"):
        with pytest.raises(TypeError, match="key must be a text"):
            pstore.step(abs, -1, key=key)


def test_a_made_key_is_none_that_somebody_has_given(reopen):
    async def work():
        prefix = (await pstore.step(pstore.step_key)).rpartition(".")[0]
        other = asyncio.create_task(pstore.step(pstore.step_key, key=f"{prefix}.2"))
        await asyncio.sleep(0)
        return await pstore.step(pstore.step_key), await other

    made, given = reopen_and_run(reopen, work)
    assert (made[-2:], given[-2:]) == (".3", ".2") and made[:-2] == given[:-2]


# -- killed at every commit


def beats(n):
    row = pstore.heartbeat_details(default=0)
    if row < n:
        pstore.heartbeat(n)
        raise OSError("not yet")
    return pstore.step_key()


def hangs():
    pstore.step_cancelled(wait=10)


async def everything():
    said = [await pstore.step(beats, 3, key="beats", heartbeat=30, retry=pstore.Retry(delay=5))]
    try:
        await pstore.step(hangs, timeout=20, retry=pstore.Retry(attempts=2, delay=5))
    except TimeoutError as error:
        said.append((error.kind, pstore.now()))
    return said


def test_killed_at_every_commit(tmp_path):
    done = list(outcomes(tmp_path / "stores", everything, patience=0.15))
    assert len(done) > 8
    assert {repr(result) for result, _ in done} == {repr(["beats", ("timeout", 1050.0)])}
