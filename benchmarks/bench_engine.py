"""The engine: a step, a task, a commit, a resume; in memory and in a file.

``python -m benchmarks engine`` gives the figures; ``pytest benchmarks/bench_engine.py`` runs steps and tasks under
pytest-benchmark.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage

import pstore
from benchmarks.harness import Effort, Times, collector_off, least, timed

__all__ = ["NAMES", "measure"]

NAMES = ("step", "task", "commit", "resume")
_STEPS = 50
_TASKS = 200
_SLEEPING = (0, 10, 100, 1000)
_COMPLETED = (1, 10, 100, 1000)


# ---------------------------------------------------------------- programs


def nothing(number: int) -> int:
    """The least that a step can do."""
    return number


async def steps(count: int) -> int:
    """That many steps, one after the other."""
    total = 0
    for number in range(count):
        total += await pstore.step(nothing, number)
    return total


async def at_once() -> int:
    """Ends without an await."""
    return 1


async def sleeper(number: int) -> int:
    """Sleeps for a year, with a few locals."""
    name, amount, items = f"order {number}", number * 10, [number, number + 1]
    await asyncio.sleep(365 * 86400)
    return amount + len(name) + len(items)


async def turner(gate: asyncio.Queue[int], turns: list[int]) -> None:
    """Takes numbers from a queue for ever: what one turn changes is small."""
    while True:
        turns[0] += await gate.get()


async def steps_then_wait(count: int, gate: asyncio.Event) -> int:
    """That many steps, then waits to be let through."""
    total = 0
    for number in range(count):
        total += await pstore.step(nothing, number)
    await gate.wait()
    return total


# ---------------------------------------------------------------- storages, clocks


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@contextmanager
def _program(kind: str) -> Iterator[tuple[Any, Callable[[], list[int]]]]:
    """A new program, in ``memory`` or in a ``file``; with it, what gives the bytes of data in each transaction."""
    with _folder() as folder:
        memory, path = MappingStorage(), folder / "program.fs"
        with pstore.open(memory if kind == "memory" else path) as engine, collector_off():
            engine.run()
            yield engine, lambda: _transactions(memory) if kind == "memory" else _transactions_in(path)


def _transactions_in(path: Path) -> list[int]:
    storage = FileStorage(str(path), read_only=True)
    try:
        return _transactions(storage)
    finally:
        storage.close()


def _transactions(storage: Any) -> list[int]:
    return [sum(len(record.data) for record in transaction) for transaction in storage.iterator()]


def _floor(size: int, count: int) -> dict[str, float]:
    """The least that a durable commit can take here: append that many bytes to a file, and fsync."""
    taken = []
    with _folder() as folder, (folder / "floor").open("wb", buffering=0) as file:
        for _ in range(count):
            start = time.perf_counter_ns()
            file.write(bytes(size))
            os.fsync(file.fileno())
            taken.append((time.perf_counter_ns() - start) / 1000)
    names = ("append_and_fsync_us_min", "append_and_fsync_us_median")
    return dict(zip(names, (round(min(taken), 1), round(statistics.median(taken), 1)), strict=True))


# ---------------------------------------------------------------- a step, a task


def _measure_step(effort: Effort) -> dict[str, Any]:
    figures: dict[str, Any] = {"title": "a step that does nothing, with its commits"}
    taken: dict[str, list[Times]] = {"memory": [], "file": []}
    for _ in range(effort.runs):
        for kind, times in taken.items():
            with _program(kind) as (engine, transactions):
                before = len(transactions())
                task = engine.spawn(steps, _STEPS)
                times.append(timed(partial(engine.run, task)))
                commits = transactions()[before:]
                figures["commits_per_step"] = round(len(commits) / _STEPS, 2)
                figures[f"{kind}_commit_bytes_median"] = round(statistics.median(commits))
    for kind, times in taken.items():
        figures |= least(kind, times, _STEPS)
    return figures | _floor(figures["file_commit_bytes_median"], 50 * effort.runs)


def _measure_task(effort: Effort) -> dict[str, Any]:
    """Spawn and finish: one at a time with a `run` for each, and many in one `run`."""
    figures: dict[str, Any] = {"title": "spawning a task that ends at once, and running it"}
    for kind in ("memory", "file"):
        single, many = [], []
        for _ in range(effort.runs):
            with _program(kind) as (engine, _):
                single += [timed(partial(_run_for_now, engine)) for _ in range(10)]
                many.append(timed(partial(_spawn_many, engine)))
        figures |= least(f"{kind}_single", single) | least(f"{kind}_among_{_TASKS}", many, _TASKS)
    return figures


def _spawn_many(engine: Any) -> None:
    for _ in range(_TASKS):
        engine.spawn(at_once)
    engine.run()


# ---------------------------------------------------------------- a commit, a resume


def _measure_commit(effort: Effort) -> dict[str, Any]:
    """What one turn of one task costs while others sleep: invariant I6 wants it to be the same for all numbers."""
    figures: dict[str, Any] = {"title": "one turn of a task, beside N tasks that sleep"}
    for sleeping in _SLEEPING:
        with _program("memory") as (engine, transactions):
            gate: asyncio.Queue[int] = asyncio.Queue()
            for number in range(sleeping):
                engine.spawn(sleeper, number)
            engine.spawn(turner, gate, [0])
            _run_for_now(engine)
            taken = []
            for _ in range(3 * effort.runs):
                gate.put_nowait(1)
                taken.append(timed(partial(_run_for_now, engine)))
            before = len(transactions())
            gate.put_nowait(1)
            _run_for_now(engine)
            written = transactions()[before:]
        name = f"beside_{sleeping}"
        figures |= least(name, taken) | {f"{name}_commits": len(written), f"{name}_body_bytes": max(written)}
    return figures


def _run_for_now(engine: Any) -> None:
    """Run what can run, one more task that ends at once included; do not wait for those that sleep."""
    engine.run(engine.spawn(at_once))


def _make_waiting(path: Path, count: int) -> None:
    with pstore.open(path) as engine:
        gate = engine.root["gate"] = asyncio.Event()
        engine.spawn_once("task", steps_then_wait, count, gate)
        engine.run()


def _resume(path: Path) -> tuple[Times, Times]:
    """Times of opening a copy of the store, as after a kill, and of running its task to the end."""
    with _folder() as folder:
        copy = folder / "copy.fs"
        shutil.copy(path, copy)
        engines: list[Any] = []
        opened = timed(lambda: engines.append(pstore.open(copy)))
        with engines[0] as engine:
            engine.root["gate"].set()
            return opened, timed(lambda: engine.run(engine.tasks["task"]))


def _measure_resume(effort: Effort) -> dict[str, Any]:
    """From nothing in memory to the task's next line, after many steps: the number of steps must not matter."""
    figures: dict[str, Any] = {"title": "opening a store and resuming its task, after N completed steps"}
    taken: dict[str, list[Times]] = {}
    with _folder() as folder:
        paths = {count: folder / f"{count}.fs" for count in _COMPLETED}
        for count, path in paths.items():
            _make_waiting(path, count)
            figures[f"after_{count}_file_bytes"] = path.stat().st_size
            figures[f"after_{count}_body_bytes"] = _transactions_in(path)[-1]
        for _ in range(3 * effort.runs):
            for count, path in paths.items():
                with collector_off():
                    opened, resumed = _resume(path)
                taken.setdefault(f"after_{count}_open", []).append(opened)
                taken.setdefault(f"after_{count}_resume", []).append(resumed)
    for name, times in taken.items():
        figures |= least(name, times)
    return figures


# ---------------------------------------------------------------- all, and by themselves

_MEASURES: dict[str, Callable[[Effort], dict[str, Any]]] = {
    "step": _measure_step,
    "task": _measure_task,
    "commit": _measure_commit,
    "resume": _measure_resume,
}


def measure(names: set[str], effort: Effort, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure the named; all if there are no names."""
    results = {}
    for name, function in _MEASURES.items():
        if not names or name in names:
            tell(name)
            results[name] = function(effort)
    return results


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_steps(benchmark: Any, kind: str) -> None:
    """Fifty steps, under pytest-benchmark."""
    with _program(kind) as (engine, _):
        benchmark.group = f"{_STEPS} steps"
        benchmark.pedantic(lambda: engine.run(engine.spawn(steps, _STEPS)), rounds=5)


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_tasks(benchmark: Any, kind: str) -> None:
    """Spawning and finishing many tasks, under pytest-benchmark."""
    with _program(kind) as (engine, _):
        benchmark.group = f"{_TASKS} tasks"
        benchmark.pedantic(lambda: _spawn_many(engine), rounds=5)
