"""One measurement of the engine in a fresh process: ``python -m benchmarks.engine_worker COMMAND``, JSON in and out.

Owns: what is on the clock.  Imports are not, nor is what only prepares.  Keys: ``_s`` seconds, ``_us`` microseconds,
``_bytes``, ``_percent`` of one core.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ZODB.MappingStorage import MappingStorage

import pstore
from benchmarks import moment, programs
from benchmarks.graphs import SHAPES
from benchmarks.harness import quantile, resident
from pstore.clock import SystemClock

_DUE = 200  # sleeping tasks that are woken one by one
_COMMITS_S = 1.0  # for which to go on committing
_FEWEST, _MOST = 5, 200  # commits


def _finish(figures: dict[str, Any]) -> None:
    """Print, and end as if killed: nothing is closed, no index is written."""
    print(json.dumps(figures), flush=True)
    os._exit(0)


def _size(path: Path) -> int:
    return sum(each.stat().st_size for each in path.parent.glob(path.name + "*") if not each.name.endswith(".lock"))


def _store(given: dict[str, Any]) -> Path:
    return Path(given["folder"]) / "program.fs"


def _warm_up(folder: str) -> None:
    """What a first program leaves in a process, whatever it is: caches, a thread, codes that were looked at."""
    with pstore.open(Path(folder) / "warm-up.fs") as engine:
        engine.root["box"] = programs.Box()
        waiting = engine.spawn(programs.waiter, 0)
        engine.spawn(programs.sleeper, 0)
        engine.run(engine.spawn(programs.steps, 2))
        engine.send(waiting, 1)
        engine.run(waiting)
    for path in Path(folder).glob("warm-up.fs*"):
        path.unlink()
    gc.collect()


# ---------------------------------------------------------------- steps


def _append_and_sync(folder: str, size: int, count: int) -> float:
    """Seconds for so many appends of so many bytes, each with its `fsync`."""
    path, block = Path(folder) / "floor", bytes(max(1, size))
    with path.open("wb", buffering=0) as file:
        start = time.perf_counter()
        for _ in range(count):
            file.write(block)
            os.fsync(file.fileno())
        taken = time.perf_counter() - start
    path.unlink()
    return taken


def one_task(given: dict[str, Any]) -> dict[str, Any]:
    """Steps of one task, one after the other; before and after them the least that as many commits can take."""
    count, path, in_memory = given["count"], _store(given), given.get("memory", False)
    with pstore.open(MappingStorage() if in_memory else path) as engine:
        engine.run(engine.spawn(programs.steps, 20))
        task = engine.spawn(programs.steps, count)
        engine.commit()
        before = 0 if in_memory else path.stat().st_size
        half = max(1, count // 4)
        floor = 0.0 if in_memory else _append_and_sync(given["folder"], given["bytes_per_step"], half)
        cpu, wall = time.process_time(), time.perf_counter()
        engine.run(task)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        figures = {"step_us": wall / count * 1e6, "step_cpu_us": cpu / count * 1e6, "steps_per_s": count / wall}
        if not in_memory:
            figures["step_bytes"] = (path.stat().st_size - before) / count
            floor += _append_and_sync(given["folder"], given["bytes_per_step"], half)
            figures["append_fsync_us"] = floor / half / 2 * 1e6
    return figures


def many_tasks(given: dict[str, Any]) -> dict[str, Any]:
    """Tasks that all do steps: from when they are all there, and durable, until the last has ended."""
    tasks, each, path = given["tasks"], given["steps"], _store(given)
    with pstore.open(path) as engine:
        engine.run(engine.spawn(programs.steps, 20))
        for _ in range(tasks):
            engine.spawn(programs.steps, each)
        engine.commit()
        before = path.stat().st_size
        cpu, wall = time.process_time(), time.perf_counter()
        engine.run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        count, grown = tasks * each, path.stat().st_size - before
    return {"steps_per_s": count / wall, "step_cpu_us": cpu / count * 1e6, "step_bytes": grown / count}


def resume_build(given: dict[str, Any]) -> dict[str, Any]:
    """So many steps, and an end in the midst of the next, as by a kill."""
    path, count = _store(given), given["count"]
    moment.on(lambda: _finish({"file_bytes": path.stat().st_size}))
    with pstore.open(path) as engine:
        engine.run(engine.spawn(programs.steps_then_last, count, id="task"))
    raise AssertionError("the last step never began")


def resume(given: dict[str, Any]) -> dict[str, Any]:
    """From the opening of what `resume_build` left to the first step that is new; ends as by a kill."""
    moment.on(lambda: _finish({"resume_s": time.perf_counter() - start, "open_s": opened - start}))
    start = time.perf_counter()
    with pstore.open(_store(given)) as engine:
        opened = time.perf_counter()
        engine.run(engine.tasks["task"])
    raise AssertionError("the last step never began")


# ---------------------------------------------------------------- tasks that wait


class _Watch(threading.Thread):
    """CPU of the process in the middle of some seconds in which it should do nothing."""

    def __init__(self, seconds: float) -> None:
        super().__init__(daemon=True)
        self.seconds, self.percent = seconds, 0.0
        self.start()

    def run(self) -> None:
        time.sleep(0.25 * self.seconds)
        cpu, wall = time.process_time(), time.perf_counter()
        time.sleep(0.5 * self.seconds)
        self.percent = 100 * (time.process_time() - cpu) / (time.perf_counter() - wall)


def _idle_percent(engine: Any, seconds: float) -> float:
    watch = _Watch(seconds)
    engine.run(engine.spawn(asyncio.sleep, seconds + 0.1))
    watch.join()
    return watch.percent


def _chosen(count: int) -> list[int]:
    """Some at random, the same in each process."""
    return random.Random(count).sample(range(count), min(_DUE, count))


def waiting_build(given: dict[str, Any]) -> dict[str, Any]:
    """Start tasks that wait for an answer: until all wait, and that is durable."""
    count, path = given["tasks"], _store(given)
    _warm_up(given["folder"])
    before, chosen = resident(), set(_chosen(count))
    start = time.perf_counter()
    engine = pstore.open(path)
    for number in range(count):
        engine.spawn(programs.waiter, number, id=f"waiter-{number}" if number in chosen else None)
    engine.run()
    figures = {"start_s": time.perf_counter() - start, "file_bytes_each": path.stat().st_size / count}
    gc.collect()
    figures["resident_bytes_each"] = (resident() - before) / count
    figures["cpu_percent"] = _idle_percent(engine, given["watch_s"])
    engine.close()
    return figures


def waiting(given: dict[str, Any]) -> dict[str, Any]:
    """Recover them: until the engine has done something new, and that is durable.  Then answer some at random."""
    count = given["tasks"]
    _warm_up(given["folder"])
    before = resident()
    start = time.perf_counter()
    engine = pstore.open(_store(given))
    engine.run(engine.spawn(programs.at_once))
    figures = {"recover_s": time.perf_counter() - start}
    gc.collect()
    figures["recovered_resident_bytes_each"] = (resident() - before) / count
    figures["recovered_cpu_percent"] = _idle_percent(engine, given["watch_s"])
    figures |= _woken("answer", _within(given["seconds"], lambda number: _answered(engine, number), _chosen(count)))
    engine.close()
    return figures


def _answered(engine: Any, number: int) -> float:
    """Seconds from the answer to the end of the task, durable."""
    start = time.perf_counter()
    engine.send(f"waiter-{number}", 1)
    engine.run(engine.tasks[f"waiter-{number}"])
    return time.perf_counter() - start


def _within(seconds: float, call: Callable[[int], Any], numbers: list[int]) -> list[Any]:
    """Call for each number, some at the least, until the seconds have passed."""
    given, end = [], time.perf_counter() + seconds
    for number in numbers:
        given.append(call(number))
        if len(given) >= _FEWEST and time.perf_counter() > end:
            break
    return given


def _woken(name: str, taken: list[float]) -> dict[str, float]:
    return {
        f"{name}_ms": statistics.median(taken) * 1000,
        f"{name}_p99_ms": quantile(taken, 0.99) * 1000,
        f"{name}_count": len(taken),
    }


# ---------------------------------------------------------------- many that sleep, many objects


class _Ahead(SystemClock):
    """The machine's clock, that many seconds ahead."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


def _due(number: int) -> float:
    """The moment of the n-th of those that are woken: an hour apart, some days ahead."""
    return _FAR + 3600.0 * number


_FAR = 4_102_444_800.0  # the year 2100


def population_build(given: dict[str, Any]) -> dict[str, Any]:
    """Tasks that sleep, or plain objects in the root; then what a commit costs beside them while all are in memory."""
    sleeping, objects, path = given["sleepers"], given["objects"], _store(given)
    _warm_up(given["folder"])
    before = resident()
    start = time.perf_counter()
    engine = pstore.open(path)
    engine.root["box"] = programs.Box()
    if objects:
        engine.root["graph"] = SHAPES["plain"].make(objects)
    places = {number: place for place, number in enumerate(_chosen(sleeping))} if sleeping else {}
    for number in range(sleeping):
        if number in places:
            engine.spawn(programs.sleeper_until, number, _due(places[number]), id=f"due-{places[number]}")
        else:
            engine.spawn(programs.sleeper, number)
    engine.run(engine.spawn(programs.at_once))
    figures = {"build_s": time.perf_counter() - start, "file_bytes_each": path.stat().st_size / (sleeping + objects)}
    gc.collect()
    figures["built_resident_bytes_each"] = (resident() - before) / (sleeping + objects)
    figures |= _commits(engine, "built")
    engine.close()
    return figures


def population(given: dict[str, Any]) -> dict[str, Any]:
    """Open it in a fresh process; what a commit costs; wake sleeping tasks at random."""
    _warm_up(given["folder"])
    before, clock = resident(), _Ahead()
    start = time.perf_counter()
    engine = pstore.open(_store(given), clock=clock)
    engine.run(engine.spawn(programs.at_once))
    figures = {"start_s": time.perf_counter() - start}
    gc.collect()
    figures |= {"resident_mb": resident() / 1e6, "resident_bytes_each": (resident() - before) / given["each"]}
    figures |= _commits(engine, "commit")
    if given["sleepers"]:
        each = min(_DUE, given["sleepers"]) // given["rounds"]
        first, *places = range(given["turn"] * each, (given["turn"] + 1) * each)
        _wake(engine, clock, first)  # and with it what the rounds before have left, as its moment has come as well
        both = _within(given["seconds"], lambda place: _wake(engine, clock, place), places)
        figures |= _woken("wake", [late for late, _ in both]) | _woken("wake_durable", [all_ for _, all_ in both])
        gc.collect()
        figures["woken_resident_mb"] = resident() / 1e6
    engine.close()
    return figures


def _wake(engine: Any, clock: _Ahead, place: int) -> tuple[float, float]:
    """How much later than its moment a task goes on, and how much later that is durable and told."""
    clock.ahead += _due(place) - 0.05 - clock.now()
    _, late = engine.run(engine.tasks[f"due-{place}"])
    return late, clock.now() - _due(place)


def _commits(engine: Any, name: str) -> dict[str, float]:
    """Commits in a row, each after a small object has changed; and steps of one task."""
    box, walls, cpus = engine.root["box"], [], []
    end = time.perf_counter() + _COMMITS_S
    for number in range(_MOST):
        box.value += 1
        cpu, wall = time.process_time(), time.perf_counter()
        engine.commit()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
        if number >= _FEWEST and time.perf_counter() > end:
            break
    steps = max(3, min(50, int(_COMMITS_S / max(walls[-1], 1e-6))))
    cpu = time.process_time()
    engine.run(engine.spawn(programs.steps, steps))
    step_cpu = (time.process_time() - cpu) / steps
    return {
        f"{name}_us": statistics.median(walls[2:]) * 1e6,
        f"{name}_cpu_us": statistics.median(cpus[2:]) * 1e6,
        f"{name}_step_cpu_us": step_cpu * 1e6,
    }


_COMMANDS = {
    function.__name__: function
    for function in (
        one_task,
        many_tasks,
        resume_build,
        resume,
        waiting_build,
        waiting,
        population_build,
        population,
    )
}

if __name__ == "__main__":
    print(json.dumps(_COMMANDS[sys.argv[1]](json.load(sys.stdin))), flush=True)
