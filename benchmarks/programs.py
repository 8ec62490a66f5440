"""The durable programs that the engine's benchmarks run; fresh processes find them here by name."""

from __future__ import annotations

import asyncio
from typing import Any

import pstore
from benchmarks import moment

__all__ = ["Box", "act", "at_once", "sleeper", "sleeper_until", "steps", "steps_then_last", "waiter"]


class Box:
    """A small object that changes."""

    def __init__(self) -> None:
        self.value = 0


def act(number: int) -> int:
    """The least that a step can do."""
    return number


def last() -> None:
    """The step after all others: tells the process that it has begun."""
    moment.reached()


async def at_once() -> int:
    """Ends without an await."""
    return 1


async def steps(count: int) -> int:
    """That many steps, one after the other."""
    total = 0
    for number in range(count):
        total += await pstore.step(act, number)
    return total


async def steps_then_last(count: int) -> int:
    """That many steps, and one in which the process may end."""
    total = 0
    for number in range(count):
        total += await pstore.step(act, number)
    await pstore.step(last)
    return total


async def waiter(number: int) -> int:
    """Waits for an answer from outside, with a few locals."""
    name, amount = f"order {number}", number * 10
    answer: int = await pstore.receive()
    return answer + amount + len(name)


async def sleeper(number: int) -> int:
    """Sleeps for a hundred years, with a few locals."""
    name, amount = f"order {number}", number * 10
    await asyncio.sleep(36500 * 86400)
    return amount + len(name)


async def sleeper_until(number: int, moment_due: float) -> tuple[int, float]:
    """Sleeps until a moment, and tells by how much later it goes on."""
    name, amount = f"order {number}", number * 10
    loop: Any = asyncio.get_running_loop()
    await asyncio.sleep(moment_due - loop.time())
    return amount + len(name), loop.time() - moment_due
