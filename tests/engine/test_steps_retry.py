"""Retries: which, when, how often; all of it over restarts."""

from __future__ import annotations

import asyncio
import functools
import threading

import pytest

import pstore
from pstore.errors import StepTimeout
from pstore.testing import VirtualClock
from tests.engine.restarts import outcomes

CALLS = pstore.volatile([])
hook = None


@pytest.fixture(autouse=True)
def _no_calls():
    CALLS.clear()


async def do(*args, **options):
    return await pstore.step(*args, **options)


def run(engine, *args, **options):
    return engine.run(engine.spawn(functools.partial(do, *args, **options)))


def call_hook(*args):
    return hook(*args)


def fail(kind=OSError):
    CALLS.append((pstore.step_key(), kind))
    raise kind("no")


def failing(times, clock):
    def flaky():
        CALLS.append(clock.now())
        if len(CALLS) <= times:
            raise OSError(f"no {len(CALLS)}")
        return "done"

    global hook
    hook = flaky
    return call_hook


def drawn(monkeypatch, *numbers):
    queue = list(numbers)
    monkeypatch.setattr("random.random", lambda: queue.pop(0))


@pytest.mark.parametrize(
    ("retry", "calls"),
    [
        (pstore.Retry(attempts=3, on=OSError), 3),
        (pstore.Retry(attempts=3, on=(ValueError, OSError)), 3),
        (pstore.Retry(attempts=3, on=ValueError), 1),
        (pstore.Retry(attempts=3, not_on=OSError), 1),
        (pstore.Retry(attempts=3, not_on=(FileNotFoundError,)), 3),
        (pstore.Retry(attempts=3, on=OSError, not_on=(OSError, KeyError)), 1),
        (pstore.Retry(attempts=1), 1),
        (None, 1),
    ],
)
def test_which_exceptions_are_tried_again(reopen, retry, calls):
    with pytest.raises(OSError, match="no"):
        run(reopen(), fail, retry=retry)
    assert len(CALLS) == calls


def test_any_number_of_attempts(reopen, clock):
    assert run(reopen(), failing(40, clock), retry=pstore.Retry(attempts=None, delay=1, longest=4)) == "done"
    assert clock.now() == 1000 + 1 + 2 + 38 * 4


def test_a_delay_never_overflows():
    retry = pstore.Retry(attempts=None, delay=1, factor=10, longest=50)
    assert retry.pause(5000, OSError()) == 50


def test_jitter_is_drawn_once_for_each_attempt(reopen, clock, monkeypatch):
    drawn(monkeypatch, 0.5, 0.0, 0.75)
    assert run(reopen(), failing(3, clock), retry=pstore.Retry(attempts=4, delay=10, factor=2, jitter=1)) == "done"
    assert CALLS == [1000, 1005, 1025, 1035]


def test_jitter_takes_a_share_off(monkeypatch):
    drawn(monkeypatch, 0.5, 0.5)
    assert pstore.Retry(delay=10, jitter=0.5).pause(1, OSError()) == 7.5
    assert pstore.Retry(delay=10, jitter=0.0).pause(1, OSError()) == 10


def test_the_drawn_delay_outlives_the_process(reopen, clock, monkeypatch):
    drawn(monkeypatch, 0.5)
    engine, fn = reopen(), failing(1, clock)
    engine.spawn(functools.partial(do, retry=pstore.Retry(attempts=2, delay=50, jitter=1)), fn, id="work")
    pause = clock.pause

    def stop_when_resting(deadline, wait, *, busy):
        engine.stop() if deadline == 1025 else pause(deadline, wait, busy=busy)

    with monkeypatch.context() as patch:
        patch.setattr(clock, "pause", stop_when_resting)
        engine.run()
    monkeypatch.setattr("random.random", pytest.fail)
    for _ in range(3):  # none of them changes when it goes on
        engine = reopen()
    assert engine.run(engine.tasks["work"]) == "done"
    assert CALLS == [1000, 1025]


def test_a_restart_during_an_attempt_is_no_failure(reopen, clock):
    gate = threading.Event()

    def slow():
        CALLS.append(clock.now())
        if len(CALLS) == 2:
            engine.stop()
            gate.wait(10)
        if len(CALLS) < 4:
            raise OSError("no")
        return "done"

    global hook
    hook = slow
    engine = reopen()
    engine.spawn(functools.partial(do, retry=pstore.Retry(attempts=3, delay=10, factor=1)), call_hook, id="work")
    engine.run()  # the first fails, the second is cut off
    engine = reopen()
    gate.set()
    assert engine.run(engine.tasks["work"]) == "done"
    assert CALLS == [1000, 1010, 1010, 1020]


def test_no_delay_is_begun_that_ends_behind_the_deadline(reopen, clock):
    with pytest.raises(OSError, match="no 3"):
        run(reopen(), failing(9, clock), retry=pstore.Retry(attempts=9, delay=10, factor=2, deadline=65))
    assert CALLS == [1000, 1010, 1030]
    assert reopen()._loop.next_deadline() is None


@pytest.mark.parametrize("in_thread", [True, False])
def test_a_deadline_ends_a_running_attempt(tmp_path, in_thread):
    ended = threading.Event()

    def slow():
        ended.set() if pstore.step_cancelled(wait=10) else None

    async def slow_coroutine():
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            ended.set()

    global hook
    hook = slow if in_thread else slow_coroutine
    with pstore.open(tmp_path / "store.fs", clock=VirtualClock(1000, patience=0.15)) as engine:
        task = engine.spawn(functools.partial(do, retry=pstore.Retry(deadline=30)), call_hook)
        with pytest.raises(StepTimeout, match=r"not done within the deadline=30 s") as caught:
            engine.run(task)
        assert (caught.value.kind, caught.value.seconds, caught.value.last) == ("deadline", 30.0, "")
        assert isinstance(caught.value, TimeoutError)
        assert engine.clock.now() == 1030
        assert ended.wait(5)


def test_a_deadline_counts_the_time_in_which_nobody_ran(reopen, clock):
    engine = reopen()
    global hook
    hook = engine.stop
    engine.spawn(functools.partial(do, retry=pstore.Retry(deadline=30)), call_hook, id="work")
    engine.run()
    clock.advance(31)
    engine = reopen()
    hook = functools.partial(threading.Event().wait, 10)
    with pytest.raises(StepTimeout, match="deadline=30"):
        engine.run(engine.tasks["work"])


def test_the_last_failure_is_told(tmp_path):
    def slow():
        CALLS.append(1)
        if len(CALLS) == 1:
            raise OSError("the first")
        pstore.step_cancelled(wait=10)

    global hook
    hook = slow
    with pstore.open(tmp_path / "store.fs", clock=VirtualClock(1000, patience=0.15)) as engine:
        task = engine.spawn(functools.partial(do, retry=pstore.Retry(delay=5, deadline=30)), call_hook)
        with pytest.raises(StepTimeout, match="the attempt before failed with OSError: the first"):
            engine.run(task)


def test_nothing_is_left_of_a_step_that_was_cancelled_while_it_rested(reopen, clock):
    async def work():
        try:
            async with asyncio.timeout(20):
                await pstore.step(fail, retry=pstore.Retry(delay=50, deadline=500))
        except TimeoutError:
            await asyncio.sleep(5)

    engine = reopen()
    engine.run(engine.spawn(work))
    assert clock.now() == 1025
    assert engine._loop.next_deadline() is None
    assert engine._loop.outbox.pending == {}


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"attempts": 0}, ValueError),
        ({"delay": -1}, ValueError),
        ({"longest": -1}, ValueError),
        ({"jitter": 1.5}, ValueError),
        ({"jitter": -0.1}, ValueError),
        ({"deadline": 0}, ValueError),
        ({"deadline": "1"}, ValueError),
        ({"on": "OSError"}, TypeError),
        ({"on": [OSError]}, TypeError),
        ({"not_on": (int,)}, TypeError),
    ],
)
def test_nonsense_is_refused(wrong, kind):
    with pytest.raises(kind, match="Retry"):
        pstore.Retry(**wrong)


def test_one_that_an_older_version_stored_is_read():
    old = object.__new__(pstore.Retry)
    old.__dict__.update(attempts=2, delay=1.0, factor=2.0, longest=60.0, on=(Exception,))
    again = pstore.loads(pstore.dumps(old))
    assert again.pause(1, OSError()) == 1
    assert again == pstore.Retry(attempts=2)


async def persistent():
    try:
        await pstore.step(fail, retry=pstore.Retry(attempts=4, delay=10, factor=3, longest=60, deadline=1000))
    except OSError:
        started = pstore.now()
    values = await asyncio.gather(*(pstore.step(abs, -n, retry=pstore.Retry(jitter=1)) for n in range(3)))
    return started, values


def test_killed_at_every_commit(tmp_path):
    done = list(outcomes(tmp_path / "stores", persistent))
    assert len(done) > 8
    assert set(map(repr, done)) == {repr(((1100.0, [0, 1, 2]), 1100.0))}
    assert len({key for key, _ in CALLS}) == 1
