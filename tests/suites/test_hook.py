"""The mechanism itself: each suspension is met once, whoever drives the generator, and a swap refuses unlike frames."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.suites.build import CannotBuild, build
from tests.suites.recapture import code_of, load_extension

TIMES = 2000        # enough for the specialising interpreter to inline what it can


@pytest.fixture(scope="module")
def swap(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The compiled extension."""
    try:
        return load_extension(build(tmp_path_factory.mktemp("hook")))
    except CannotBuild as error:
        pytest.skip(f"SUITES UNDER RECAPTURE NOT RUN: {error}")


def seen(swap: ModuleType, action: Callable[[], object]) -> Counter[tuple[str, bool]]:
    """(function name, new or suspended) -> how often, while the action runs."""
    found: Counter[tuple[str, bool]] = Counter()

    def note(gen: Any, created: bool) -> None:
        found[code_of(gen).co_name, created] += 1

    swap.install(note)
    try:
        action()
    finally:
        swap.uninstall()
    return found


def numbers(n: int) -> Iterator[int]:
    yield from range(n)


def outer(n: int) -> Iterator[int]:
    yield from numbers(n)


def for_loop() -> None:
    for _ in numbers(TIMES):
        pass


def delegating() -> None:
    for _ in outer(TIMES):
        pass


def driven_by_send() -> None:
    gen: Any = numbers(TIMES)
    for _ in range(TIMES):
        gen.send(None)


@pytest.mark.parametrize("action", [for_loop, delegating, driven_by_send, lambda: list(numbers(TIMES)),
                                    lambda: sum(numbers(TIMES)), lambda: dict.fromkeys(numbers(TIMES))])
def test_each_yield_is_met_once(swap: ModuleType, action: Callable[[], object]) -> None:
    found = seen(swap, action)
    assert found["numbers", False] == TIMES
    assert found["numbers", True] == 1
    assert found["outer", False] in (0, TIMES)


async def leaf() -> None:
    await asyncio.sleep(0)


async def branch() -> None:
    for _ in range(100):
        await leaf()


async def ticks() -> AsyncIterator[int]:
    for i in range(100):
        await leaf()
        yield i


async def reads_ticks() -> None:
    async for _ in ticks():
        pass


def test_each_await_is_met_at_each_level(swap: ModuleType) -> None:
    found = seen(swap, lambda: asyncio.run(branch()))
    assert found["leaf", True] == 100
    assert found["leaf", False] == 100
    assert found["branch", False] == 100


def test_async_generators_are_met_at_awaits_and_at_yields(swap: ModuleType) -> None:
    found = seen(swap, lambda: asyncio.run(reads_ticks()))
    assert found["ticks", False] == 200
    assert found["reads_ticks", False] == 100


def two_points() -> Generator[int, None, None]:
    yield 1
    yield 2


def test_swap_exchanges_positions_and_keeps_identity(swap: ModuleType) -> None:
    def counting(start: int) -> Iterator[int]:
        while True:
            yield start
            start += 1

    a, b = counting(0), counting(100)
    assert (next(a), next(b)) == (0, 100)
    frame = a.gi_frame      # type: ignore[attr-defined]
    assert swap.swap(a, b) == [(0, 0, 100)]
    assert a.gi_frame is frame      # type: ignore[attr-defined]
    assert (next(a), next(b)) == (101, 1)


def test_swap_refuses_unlike_frames(swap: ModuleType) -> None:
    a, b, fresh, done = two_points(), two_points(), two_points(), two_points()
    next(a), next(b), next(b), list(done)
    for x, y, why in [(a, b, "line"), (a, fresh, "state"), (a, a, "two different"), (done, a, "neither"),
                      (a, [], "two different")]:
        with pytest.raises(ValueError, match=why):
            swap.swap(x, y)
    assert next(a) == 2


def test_what_the_callback_raises_does_not_reach_the_program(swap: ModuleType,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", reported.append)
    lost = swap.counts()["lost"]

    def bad(gen: Awaitable[object], created: bool) -> None:
        raise ZeroDivisionError

    swap.install(bad)
    try:
        assert list(numbers(3)) == [0, 1, 2]
    finally:
        swap.uninstall()
    assert swap.counts()["lost"] - lost == 4
    assert [r.exc_type for r in reported] == [ZeroDivisionError] * 4
