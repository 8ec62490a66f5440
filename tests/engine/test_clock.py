"""Clocks: UTC seconds; waiting that ends early rather than late."""

from __future__ import annotations

import asyncio
import time

import pytest

import pstore
from pstore.clock import SystemClock
from pstore.testing import VirtualClock


def test_the_system_clock_gives_utc_seconds() -> None:
    assert abs(SystemClock().now() - time.time()) < 1


@pytest.mark.parametrize(("after", "wanted"), [(None, None), (5, 5), (-5, 0), (3600, SystemClock.LONGEST_WAIT)])
def test_the_system_clock_waits_until_the_deadline_in_pieces(after: float | None, wanted: float | None) -> None:
    clock, waits = SystemClock(), []

    def wait(timeout: float | None) -> bool:
        waits.append(timeout)
        return False

    clock.pause(None if after is None else clock.now() + after, wait, busy=False)
    assert waits == [wanted if wanted is None else pytest.approx(wanted, abs=0.5)]


def test_a_virtual_clock_jumps_to_the_deadline() -> None:
    clock = VirtualClock(10.0)
    clock.pause(99.0, pytest.fail, busy=False)
    assert clock.now() == 99
    clock.pause(50.0, pytest.fail, busy=False)
    assert clock.now() == 99  # never back
    clock.advance(1)
    assert clock.now() == 100


def test_a_virtual_clock_does_not_jump_over_a_running_step() -> None:
    clock, waits = VirtualClock(), []
    clock.pause(99.0, lambda timeout: waits.append(timeout) is None, busy=True)
    assert (waits, clock.now()) == ([None], 0)
    clock = VirtualClock(patience=0.5)
    clock.pause(99.0, lambda timeout: waits.append(timeout) is not None, busy=True)
    assert (waits, clock.now()) == ([None, 0.5], 99)


async def read() -> float:
    return pstore.now()


def test_tasks_read_the_clock_of_the_engine() -> None:
    with pstore.open("memory:", clock=VirtualClock(123.0)) as engine:
        assert engine.run(engine.spawn(read)) == 123


def test_real_time_passes_with_the_system_clock() -> None:
    with pstore.open("memory:") as engine:
        begin = time.monotonic()
        engine.run(engine.spawn(asyncio.sleep, 0.05))
        assert 0.04 < time.monotonic() - begin < 5
