"""Measuring on a noisy machine: interleaved rounds, the least of each side; facts of the machine; JSON.

Rules:

- Whatever is compared takes turns, round by round, so that a slow minute of the machine is slow for both.
- The figure is the least over all rounds; a ratio is that of two such figures.
- Results are kept until the clock has stopped: to drop a suspended frame runs its code, which is not part of loading.
- The garbage collector is off while the clock runs, except where its work is what is measured.
- A key ends in its unit: ``dump_us_min`` is microseconds, ``body_bytes`` bytes; a ``ratio`` has none.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any

__all__ = [
    "Call",
    "Effort",
    "Times",
    "collector_off",
    "facts",
    "fsync_us",
    "in_process",
    "interleave",
    "least",
    "quantile",
    "resident",
    "results_path",
    "summary",
    "spread",
    "timed",
    "version",
    "write_json",
]

PROJECT = Path(__file__).resolve().parent.parent
_ROUND_NS = 100_000  # what one round of one side should take: short, so that many fall between two disturbances
_COLLECT_EVERY = 100  # rounds

Times = tuple[float, float]  # (wall, CPU of all threads), microseconds


@dataclass(frozen=True)
class Effort:
    """How often to measure.

    Attributes:
        rounds: of each side of a comparison that takes microseconds.
        cold: functions that are captured for the first time.
        runs: of what takes milliseconds or more.
        objects: in the largest graphs.
        seconds: for which to go on with more runs of what takes milliseconds.
        longest: seconds after which there are no more runs, be they fewer.
        sleepers: sleeping tasks in the largest program.
    """

    rounds: int
    cold: int
    runs: int
    objects: int = 1_000_000
    seconds: float = 1.0
    longest: float = 2.0
    sleepers: int = 100_000


@dataclass(frozen=True)
class Call:
    """One side of a comparison: ``function(argument)``."""

    function: Callable[[Any], Any]
    argument: Any

    def time(self, count: int) -> int:
        """Nanoseconds for `count` calls in a row."""
        function, argument = self.function, self.argument
        start = perf_counter_ns()
        kept = [function(argument) for _ in range(count)]
        elapsed = perf_counter_ns() - start
        del kept
        return elapsed


def interleave(calls: Mapping[str, Call], rounds: int) -> dict[str, list[float]]:
    """Time the calls in turns.

    Returns:
        Per name the microseconds of one call in each round.
    """
    with collector_off():
        counts = {name: _count(call) for name, call in calls.items()}
        taken: dict[str, list[float]] = {name: [] for name in calls}
        for index in range(rounds):
            if index % _COLLECT_EVERY == 0:
                gc.collect()
            for name, call in calls.items():
                taken[name].append(call.time(counts[name]) / counts[name] / 1000)
    return taken


def _count(call: Call) -> int:
    """How many calls make a round."""
    once = min(call.time(1) for _ in range(20))
    return max(1, min(100, _ROUND_NS // max(once, 1)))


@contextmanager
def collector_off() -> Iterator[None]:
    """Keep the garbage collector from running, and what exists already out of its later work."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def summary(taken: Mapping[str, list[float]]) -> dict[str, float]:
    """Least and median of each: ``NAME_us_min``, ``NAME_us_median``."""
    figures: dict[str, float] = {}
    for name, times in taken.items():
        figures[f"{name}_us_min"] = round(min(times), 3)
        figures[f"{name}_us_median"] = round(statistics.median(times), 3)
    return figures


def timed(call: Callable[[], Any]) -> Times:
    """Call it once; what it gives is dropped after the clock has stopped."""
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    result = call()
    wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    del result
    return wall / 1000, cpu / 1000


def least(name: str, taken: list[Times], count: int = 1) -> dict[str, float]:
    """Least and median of what was timed, for one of `count`."""
    walls, cpus = ([one / count for one in side] for side in zip(*taken, strict=True))
    return {
        f"{name}_wall_us_min": round(min(walls), 1),
        f"{name}_wall_us_median": round(statistics.median(walls), 1),
        f"{name}_cpu_us_min": round(min(cpus), 1),
    }


def spread(taken: list[float]) -> dict[str, Any]:
    """Median, least and largest of what rounds gave; four digits mean something."""
    told = [
        one if one == int(one) else float(f"{one:.4g}") for one in (statistics.median(taken), min(taken), max(taken))
    ]
    return dict(zip(("median", "min", "max"), told, strict=True)) | {"rounds": len(taken)}


def quantile(taken: list[float], part: float) -> float:
    """The one that this part of all does not exceed."""
    ordered = sorted(taken)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def resident() -> int:
    """Bytes of this process in memory; 0 where it cannot be told."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def fsync_us(folder: Path, count: int = 20) -> float:
    """Microseconds to append 4 KiB to a file and `fsync`, the median of some: how busy the disk is just now."""
    path, taken = folder / "fsync-probe", []
    with path.open("wb", buffering=0) as file:
        for _ in range(count):
            start = perf_counter_ns()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            taken.append((perf_counter_ns() - start) / 1000)
    path.unlink()
    return statistics.median(taken)


def in_process(module: str, *arguments: str, given: str = "", timeout: float | None = None) -> Any:
    """Run a module in a fresh process of this Python; gives what it prints, which is JSON."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(
        command, cwd=PROJECT, check=True, input=given, stdout=subprocess.PIPE, text=True, timeout=timeout
    )
    return json.loads(done.stdout)


# ---------------------------------------------------------------- facts, and where they go


def version() -> str:
    """Give the running Python's version as in file names: ``3.13``."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def facts() -> dict[str, Any]:
    """What a reader must know of the machine and the build; None where it cannot be told.  No names, no paths."""
    return {
        "python": platform.python_version(),
        "python_compiler": platform.python_compiler(),
        "python_flags": _optimisation(),
        "free_threading": bool(_config("Py_GIL_DISABLED")),
        "cpu_model": _cpu_model(),
        "cpu_count": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_average_1_min": _load(),
        "project_commit": _commit(),
        "pstore_sources_blake2": _sources(),
    }


def _config(name: str) -> Any:
    return sysconfig.get_config_var(name)


def _optimisation() -> list[str]:
    """What the build says of optimisation: ``-O3``, ``-flto``; profile guidance cannot be told in every build."""
    flags = f"{_config('CFLAGS') or ''} {_config('PY_CORE_CFLAGS') or ''} {_config('PY_CORE_LDFLAGS') or ''}".split()
    return sorted({flag for flag in flags if flag.startswith(("-O", "-flto")) or flag == "-fprofile-use"})


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def _commit() -> str | None:
    """The commit that is checked out, read from git's files, as git itself may not be there."""
    git = PROJECT / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (git / name).exists():
            return (git / name).read_text().strip()
        packed = (git / "packed-refs").read_text().splitlines()
    except OSError:
        return None
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), None)


def _sources() -> str:
    """A digest of pstore's own sources: results belong to these, committed or not."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted((PROJECT / "pstore").rglob("*.py")):
        digest.update(path.relative_to(PROJECT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def results_path(folder: Path, group: str) -> Path:
    """Where the results of a group are for the running Python."""
    return folder / f"{group}-{version()}.json"


def write_json(folder: Path, group: str, results: Mapping[str, Any], effort: Effort) -> Path:
    """Write ``GROUP-PYVERSION.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = results_path(folder, group)
    content = {"format": 1, "group": group, "machine": facts(), "effort": vars(effort), "benchmarks": results}
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path
