"""The time that tasks see: durable, never backwards; timers fire once, never before their moment."""

from __future__ import annotations

import asyncio

import pytest

import pstore
from pstore.clock import Timeline
from pstore.testing import VirtualClock

HOUR = 3600.0


async def ticks(out, count, seconds):
    loop = asyncio.get_running_loop()
    for n in range(count):
        await asyncio.sleep(seconds)
        out.append((n, loop.time()))


async def limited(out, seconds):
    try:
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()
    except TimeoutError:
        out.append(pstore.now())


def run_for(engine, clock, seconds):
    """Run until nothing is due within so many real seconds."""
    end = clock.monotonic() + seconds
    while True:
        engine.call_soon_threadsafe(engine.stop)
        engine.run()
        if clock.monotonic() >= end:
            return
        clock.advance(min(1.0, end - clock.monotonic()))


# -- the timeline alone


def test_the_timeline_is_the_clock_while_the_clock_goes_forward() -> None:
    clock = VirtualClock(100.0)
    line = Timeline(clock)
    assert line.now() == 100
    clock.advance(5)
    assert line.now() == 105
    clock.set(1000.0)
    assert line.now() == 1000


@pytest.mark.parametrize("back", [0.001, 1.0, HOUR, 10 * 365 * 24 * HOUR])
def test_when_the_clock_is_set_back_the_timeline_goes_on_a_tenth_slower(back: float) -> None:
    clock = VirtualClock(1e9)
    line = Timeline(clock)
    clock.set(1e9 - back)
    before = line.now()
    assert before == 1e9
    clock.advance(10)
    assert line.now() == pytest.approx(max(1e9 + 9, 1e9 - back + 10))


def test_the_timeline_comes_back_to_the_clock() -> None:
    clock = VirtualClock(1000.0)
    line = Timeline(clock)
    clock.set(990.0)
    seen = [line.now()]
    for _ in range(200):
        clock.advance(1)
        seen.append(line.now())
    assert seen == sorted(set(seen))
    assert seen[-1] == clock.now()


def test_a_timeline_that_is_continued_is_never_earlier() -> None:
    clock = VirtualClock(500.0)
    assert Timeline(clock, 800.0).now() == 800
    assert Timeline(clock, 300.0).now() == 500


def test_real_seconds_until_a_moment() -> None:
    clock = VirtualClock(1000.0)
    line = Timeline(clock)
    assert line.until(1010.0) == 10
    assert line.until(990.0) == 0
    clock.set(0.0)
    seconds = line.until(1009.0)
    clock.advance(seconds)
    assert line.now() == pytest.approx(1009)


# -- the engine on it


def test_time_does_not_go_back_when_the_clock_is_set_back(reopen, clock) -> None:
    engine = reopen()
    out = engine.root["out"] = []
    task = engine.spawn(ticks, out, 4, 10)
    run_for(engine, clock, 15)
    clock.set(clock.now() - HOUR)
    engine.run(task)
    times = [time for _, time in out]
    assert [n for n, _ in out] == [0, 1, 2, 3]
    assert times == sorted(times)
    assert times[-1] < 1000 + 60  # and nobody waited for an hour


def test_a_timer_fires_after_as_long_as_was_asked_for_when_the_clock_was_set_back(reopen, clock) -> None:
    engine = reopen()
    out = engine.root["out"] = []
    task = engine.spawn(limited, out, 30)
    run_for(engine, clock, 5)
    clock.set(clock.now() - HOUR)
    before = clock.monotonic()
    engine.run(task)
    assert 25 <= clock.monotonic() - before < 30


def test_time_does_not_go_back_over_a_restart(reopen, clock) -> None:
    engine = reopen()
    out = engine.root["out"] = []
    engine.spawn(ticks, out, 4, 10, id="ticks")
    run_for(engine, clock, 25)
    clock.set(clock.now() - HOUR)
    engine = reopen()
    before = clock.monotonic()
    engine.run(engine.tasks["ticks"])
    times = [time for _, time in engine.root["out"]]
    assert times == sorted(times)
    assert clock.monotonic() - before < 30


@pytest.mark.parametrize("restart", [False, True])
def test_when_the_clock_jumps_ahead_what_is_due_fires_once_in_order(reopen, clock, restart) -> None:
    engine = reopen()
    out = engine.root["out"] = []
    engine.spawn(limited, out, 50, id="a")
    engine.spawn(ticks, out, 1, 100, id="b")
    engine.spawn(ticks, out, 1, HOUR * 2, id="c")
    run_for(engine, clock, 1)
    clock.set(clock.now() + HOUR)
    if restart:
        engine = reopen()
        out = engine.root["out"]
    run_for(engine, clock, 1)
    assert len(out) == 2
    assert out[0] == pytest.approx(1001 + HOUR, abs=1)
    assert out[1] == (0, pytest.approx(1001 + HOUR, abs=1))
    engine.run()
    assert out[2:] == [(0, pytest.approx(1000 + 2 * HOUR))]


def test_a_deadline_is_absolute(reopen, clock) -> None:
    engine = reopen()
    engine.spawn(limited, engine.root.setdefault("out", []), 3 * 86400.0, id="three days")
    run_for(engine, clock, 1)
    clock.advance(86400.0)
    engine = reopen()
    run_for(engine, clock, 1)
    clock.advance(86400.0)
    engine = reopen()
    engine.run()
    assert engine.root["out"] == [1000 + 3 * 86400.0]


class Impatient(VirtualClock):
    """Ends the run when there is nothing to do but to wait."""

    engine: pstore.Engine

    def pause(self, *_: object, **__: object) -> None:
        self.advance(10)
        self.engine.stop()


def test_waiting_writes_nothing(tmp_path) -> None:
    clock = Impatient(1000.0)
    with pstore.open(tmp_path / "store.fs", clock=clock) as clock.engine:
        engine = clock.engine
        engine.spawn(limited, [], HOUR, id="limited")
        engine.run()
        before = engine.store.tid
        for _ in range(3):
            engine.run()
        assert clock.now() == 1040
        assert engine.store.tid == before
    with pstore.open(tmp_path / "store.fs", clock=clock) as clock.engine:
        clock.engine.run()
        assert clock.engine.store.tid == before
