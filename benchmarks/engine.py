"""The engine beside its peers, all with full durability, each measurement in a fresh process.

Owns: what is compared with what, how often, and the bars.  `engine_worker` has what is on the clock, `peers` the same
programs on other engines.

A round is one measurement of each side, in turns; before each, the disk is asked how long an `fsync` takes just now.
Figures are medians over rounds, with the least and the largest; a ratio is the median of those of each round, so a
slow minute is slow for both.  What fails, or is not there, is said in the results.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import Effort, facts, fsync_us, in_process, results_path, spread, write_json
from benchmarks.peers import PEERS, Peer, Unavailable

__all__ = ["NAMES", "OURS", "measure", "rows", "write"]

OURS = "pstore"
_ALL = 1_000_000  # sleeping tasks that the bars are about
_TIMEOUT = 1800.0


class _Sides:
    """What the sides of one entry gave, round by round."""

    def __init__(self, folder: Path, peers: Mapping[str, Peer], tell: Callable[[str], None]) -> None:
        self.folder, self.peers, self._tell = folder, peers, tell
        self.taken: dict[str, dict[str, list[float]]] = {}
        self.fsync: dict[str, list[float]] = {}
        self.load: list[float] = []
        self.failed: dict[str, str] = {}

    def take(self, side: str, command: str, place: str, prefix: str = "", **given: Any) -> dict[str, float]:
        """Measure a side once; what it gives is kept, and given.  A side that has failed is not asked again."""
        if side in self.failed:
            return {}
        folder = self.folder / side / place
        folder.mkdir(parents=True, exist_ok=True)
        self.fsync.setdefault(side, []).append(fsync_us(folder))
        self.load.append(os.getloadavg()[0])
        try:
            if side in self.peers:
                figures = self.peers[side].measure(command, folder, given, _TIMEOUT)
            else:
                text = json.dumps({**given, "folder": str(folder)})
                figures = in_process("benchmarks.engine_worker", command, given=text, timeout=_TIMEOUT)
        except (Unavailable, subprocess.SubprocessError, ValueError) as error:
            # a message of subprocess tells the machine's paths
            reason = str(error) if isinstance(error, Unavailable) else type(error).__name__
            self.failed[side] = f"{command} {place}: {reason}"
            self._tell(f"{side} FAILED: {self.failed[side]}")
            return {}
        for key, value in figures.items():
            self.taken.setdefault(side, {}).setdefault(prefix + key, []).append(value)
        return figures

    def median(self, key: str, side: str = OURS) -> float | None:
        """The figure of a side; None if there is none."""
        taken = self.taken.get(side, {}).get(key)
        return spread(taken)["median"] if taken else None

    def ratio(self, over: tuple[str, str], under: tuple[str, str]) -> dict[str, Any] | None:
        """Of two figures, (side, key), in each round."""
        both = [self.taken.get(side, {}).get(key, []) for side, key in (over, under)]
        ratios = [a / b for a, b in zip(*both, strict=False) if b]
        return spread(ratios) if ratios else None

    def results(self, title: str, settings: dict[str, Any]) -> dict[str, Any]:
        """All as in the JSON."""
        return {
            "title": title,
            "settings": settings,
            "sides": {
                side: {key: spread(values) for key, values in figures.items()} for side, figures in self.taken.items()
            },
            "fsync_us": {side: spread(values) for side, values in self.fsync.items()},
            "load_average_1_min": spread(self.load),
            "failed": self.failed,
            "ratios": {},
            "bars": {},
        }


def _hold(
    results: dict[str, Any], name: str, value: float | None, bar: float, *, above: bool = False, at: Any = None
) -> None:
    """Hold a figure against its bar; ``at`` (measured, wanted): it is met only at what is wanted, else nobody knows."""
    met: bool | None = value is not None and (value >= bar if above else value <= bar)
    entry = {"value": value, "bar": bar, "above": above}
    if at is not None and at[0] != at[1]:
        entry |= {"at": at[0], "wanted_at": at[1]}
        met = None if met else False
    results["bars"][name] = entry | {"met": met}


def _put_ratio(
    results: dict[str, Any], sides: _Sides, name: str, over: tuple[str, str], under: tuple[str, str]
) -> float | None:
    ratio = sides.ratio(over, under)
    if ratio is None:
        return None
    results["ratios"][name] = ratio
    median: float = ratio["median"]
    return median


# ---------------------------------------------------------------- entries


def _measure_one_task(effort: Effort, sides: _Sides) -> dict[str, Any]:
    quick = effort.runs < 5
    count, rounds = (100, 2) if quick else (1000, 3)
    size = _bytes_of_a_step(sides.folder)
    for turn in range(rounds):
        sides.take(OURS, "one_task", f"{turn}", count=count, bytes_per_step=size)
        sides.take("pstore-memory", "one_task", f"{turn}", count=count, memory=True)
        for peer in sides.peers:
            sides.take(peer, "one_task", f"{turn}", count=count)
    results = sides.results(f"one task, {count:,} steps, each committed", {"steps": count, "floor_bytes": size})
    for peer in sides.peers:
        faster = _put_ratio(results, sides, f"faster_than_{peer}", (OURS, "steps_per_s"), (peer, "steps_per_s"))
        if peer == "dbos-sqlite":
            _hold(results, f"faster_than_{peer}", faster, 5, above=True)
    floor = _put_ratio(results, sides, "over_append_fsync", (OURS, "step_us"), (OURS, "append_fsync_us"))
    _hold(results, "over_append_fsync", floor, 2)
    _hold(results, "step_bytes", sides.median("step_bytes"), 300)
    return results


def _bytes_of_a_step(folder: Path) -> int:
    """What the file grows by, so that the floor appends as much."""
    place = folder / "first"
    place.mkdir()
    given = {"count": 50, "bytes_per_step": 512, "folder": str(place)}
    return round(in_process("benchmarks.engine_worker", "one_task", given=json.dumps(given))["step_bytes"])


def _measure_many_tasks(effort: Effort, sides: _Sides) -> dict[str, Any]:
    quick = effort.runs < 5
    tasks, steps, of_peers, rounds = (50, 3, 2, 2) if quick else (1000, 10, 2, 5)
    for turn in range(rounds):
        sides.take(OURS, "many_tasks", f"{turn}", tasks=tasks, steps=steps)
        for peer in sides.peers:
            sides.take(peer, "many_tasks", f"{turn}", tasks=tasks, steps=of_peers)
    settings = {"tasks": tasks, "steps": steps, "steps_of_peers": of_peers}
    results = sides.results(f"{tasks:,} tasks that do {steps} steps each", settings)
    _hold(results, "steps_per_s", sides.median("steps_per_s"), 30_000, above=True)
    for peer in sides.peers:
        faster = _put_ratio(results, sides, f"faster_than_{peer}", (OURS, "steps_per_s"), (peer, "steps_per_s"))
        if peer.startswith("dbos"):
            _hold(results, f"faster_than_{peer}", faster, 100, above=True)
    return results


def _measure_resume(effort: Effort, sides: _Sides) -> dict[str, Any]:
    quick = effort.runs < 5
    counts, rounds = ([10, 100], 2) if quick else ([10, 1000, 10_000], 3)
    for count in counts:
        for side in (OURS, *sides.peers):
            sides.take(side, "resume_build", f"{count}", f"after_{count}_", count=count)
    for _ in range(rounds):
        for count in counts:
            for side in (OURS, *sides.peers):
                sides.take(side, "resume", f"{count}", f"after_{count}_", count=count, seconds=300)
    results = sides.results("from the opening to the first new step, after N steps and a kill", {"counts": counts})
    for side in (OURS, *sides.peers):
        name = "last_over_first" if side == OURS else f"last_over_first_{side}"
        first, last = ((side, f"after_{count}_resume_s") for count in (counts[0], counts[-1]))
        ratio = _put_ratio(results, sides, name, last, first)
        if side == OURS:
            _hold(results, name, ratio, 1.2, at=(counts[-1], 10_000))
    return results


def _measure_waiting(effort: Effort, sides: _Sides) -> dict[str, Any]:
    quick = effort.runs < 5
    tasks, of_peers, rounds, of_peers_rounds = (200, 50, 1, 1) if quick else (10_000, 1000, 2, 1)
    seconds = 1.0 if quick else 4.0
    for turn in range(rounds):
        for side in (OURS, *sides.peers):
            if side == OURS or turn < of_peers_rounds:
                count = tasks if side == OURS else of_peers
                sides.take(side, "waiting_build", f"{turn}", tasks=count, watch_s=seconds)
                sides.take(side, "waiting", f"{turn}", tasks=count, watch_s=seconds, seconds=seconds)
    settings = {"tasks": tasks, "tasks_of_peers": of_peers}
    results = sides.results(f"{tasks:,} tasks that wait for an answer; of peers {of_peers:,}", settings)
    bars = {
        "start_s": 2,
        "recover_s": 0.3,
        "resident_bytes_each": 1536,
        "recovered_resident_bytes_each": 1536,
        "cpu_percent": 0.1,
        "recovered_cpu_percent": 0.1,
    }
    for key, bar in bars.items():
        _hold(results, key, sides.median(key), bar, at=(tasks, 10_000))
    return results


def _measure_sleepers(effort: Effort, sides: _Sides) -> dict[str, Any]:
    sizes = _powers(100 if effort.sleepers < 10_000 else 1000, effort.sleepers)
    results = _population(effort, sides, "sleepers", sizes)
    results["title"] = f"up to {sizes[-1]:,} tasks that sleep"
    largest, at = f"of_{sizes[-1]}_", (sizes[-1], _ALL)
    _hold(results, "start_s", sides.median(largest + "start_s"), 2, at=at)
    _hold(results, "resident_mb", sides.median(largest + "resident_mb"), 300, at=at)
    _hold(results, "wake_p99_ms", sides.median(largest + "wake_p99_ms"), 5, at=at)
    return results


def _measure_objects(effort: Effort, sides: _Sides) -> dict[str, Any]:
    sizes = _powers(100 if effort.objects < 10_000 else 1000, effort.objects)
    results = _population(effort, sides, "objects", sizes)
    results["title"] = f"up to {sizes[-1]:,} plain objects in the root"
    return results


def _population(effort: Effort, sides: _Sides, kind: str, sizes: list[int]) -> dict[str, Any]:
    rounds = 1 if effort.runs < 5 else 2
    for size in sizes:
        given = {"sleepers": 0, "objects": 0, kind: size}
        sides.take(OURS, "population_build", f"{size}", f"of_{size}_", **given)
    for turn in range(rounds):
        for size in sizes:
            given = {"sleepers": 0, "objects": 0, kind: size, "each": size, "turn": turn, "rounds": rounds}
            sides.take(OURS, "population", f"{size}", f"of_{size}_", **given, seconds=4.0 * effort.seconds)
    results = sides.results("", {"sizes": sizes})
    for key in ("commit_cpu_us", "commit_us", "commit_step_cpu_us", "built_cpu_us", "built_us"):
        last, first = ((OURS, f"of_{size}_{key}") for size in (sizes[-1], sizes[0]))
        ratio = _put_ratio(results, sides, f"{key}_last_over_first", last, first)
        if key in ("commit_cpu_us", "built_cpu_us"):
            _hold(results, f"{key}_last_over_first", ratio, 1.3, at=(sizes[-1], _ALL))
    return results


def _powers(first: int, last: int) -> list[int]:
    """Powers of ten, and the last."""
    sizes = [first]
    while sizes[-1] * 10 < last:
        sizes.append(sizes[-1] * 10)
    return [*sizes, last] if last > first else [last]


_MEASURES: dict[str, Callable[[Effort, _Sides], dict[str, Any]]] = {
    "one_task": _measure_one_task,
    "many_tasks": _measure_many_tasks,
    "resume": _measure_resume,
    "waiting": _measure_waiting,
    "sleepers": _measure_sleepers,
    "objects": _measure_objects,
}
NAMES = tuple(_MEASURES)
_WITHOUT_PEERS = ("sleepers", "objects")


def measure(
    names: set[str],
    effort: Effort,
    tell: Callable[[str], None],
    peers: tuple[str, ...] = (),
    cache: Path | None = None,
    keep: Callable[[dict[str, Any]], Any] | None = None,
) -> dict[str, Any]:
    """Measure the named; all if there are no names.

    Args:
        names: of entries.
        effort: how often.
        tell: is told what is being measured.
        peers: names out of `benchmarks.peers.PEERS`.
        cache: where their environments are, or are made.
        keep: gets what there is after each entry, as all of them take long.
    """
    ready, told = _prepare(peers, cache, tell)
    results: dict[str, Any] = {"peers": {"title": "peers", "peers": told}} if told else {}
    for name, function in _MEASURES.items():
        if not names or name in names:
            tell(name)
            with _folder() as folder:
                project = {key: value for key, value in facts().items() if key.startswith(("project", "pstore"))}
                results[name] = project | function(
                    effort, _Sides(folder, {} if name in _WITHOUT_PEERS else ready, tell)
                )
            if keep is not None:
                keep(results)
    return results


def write(folder: Path, results: dict[str, Any], effort: Effort) -> Path:
    """Write the entries, each with the sources it is of; those of the file that were not measured now stay."""
    path = results_path(folder, "engine")
    there: dict[str, Any] = json.loads(path.read_text())["benchmarks"] if path.exists() else {}
    both = there | results
    if "peers" in there and "peers" in results:
        both["peers"] = {**results["peers"], "peers": there["peers"]["peers"] | results["peers"]["peers"]}
    return write_json(folder, "engine", {name: both[name] for name in ("peers", *NAMES) if name in both}, effort)


def _prepare(
    names: tuple[str, ...], cache: Path | None, tell: Callable[[str], None]
) -> tuple[dict[str, Peer], dict[str, Any]]:
    ready: dict[str, Peer] = {}
    told: dict[str, Any] = {}
    for name in names:
        assert cache is not None
        try:
            PEERS[name].prepare(cache)
        except Unavailable as error:
            told[name] = {"title": PEERS[name].title, "unavailable": str(error)}
            tell(f"{name} CANNOT BE HAD: {error}")
        else:
            ready[name] = PEERS[name]
            told[name] = {"title": PEERS[name].title, "versions": PEERS[name].versions}
    return ready, told


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pstore-bench-") as name:
        Path(name).chmod(0o755)  # PostgreSQL, started by root, is another user's
        yield Path(name)


# ---------------------------------------------------------------- the table


def rows(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The lines of a table: what each side gave, median and from least to largest; then the bars."""
    columns = [OURS, *PEERS]
    lines: list[tuple[str, ...]] = [("", *columns)]
    nothing = [""] * len(columns)
    for name, result in results.items():
        if name == "peers":
            lines += [(f"{peer}: {_known(about)}", *nothing) for peer, about in result["peers"].items()]
            continue
        lines.append((result["title"], *nothing))
        sides = result["sides"]
        keys = dict.fromkeys(key for side in sides.values() for key in side)
        for key in keys:
            lines.append((f"  {key}", *(_spread(sides.get(side, {}).get(key)) for side in columns)))
        if "pstore-memory" in sides:
            lines.append(("  in memory: step_us", _spread(sides["pstore-memory"]["step_us"]), *nothing[1:]))
        lines.append(("  load average", _spread(result["load_average_1_min"]), *nothing[1:]))
        lines.append(("  fsync beside it, us", *(_spread(result["fsync_us"].get(side)) for side in columns)))
        lines += [(f"  ratio {key}", _spread(ratio), *nothing[1:]) for key, ratio in result["ratios"].items()]
        lines += [(f"  FAILED: {side}: {why}", *nothing) for side, why in result["failed"].items()]
        for key, bar in result["bars"].items():
            sign = ">=" if bar["above"] else "<="
            met = {True: "met", False: "NOT met", None: f"open: at {bar.get('at'):,} only" if "at" in bar else ""}[
                bar["met"]
            ]
            lines.append((f"  BAR {key}", f"{_number(bar['value'])} {sign} {bar['bar']:,}", met, *nothing[2:]))
    return lines


def _known(about: dict[str, Any]) -> str:
    if "unavailable" in about:
        return f"CANNOT BE HAD: {about['unavailable']}"
    return ", ".join(f"{name} {version}" for name, version in about["versions"].items())


def _spread(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return ""
    text = _number(figures["median"])
    return text if figures["rounds"] < 2 else f"{text} ({_number(figures['min'])}-{_number(figures['max'])})"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
