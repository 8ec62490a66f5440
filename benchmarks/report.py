"""The README's numbers, from committed results alone: ``python -m benchmarks.report`` prints the section.

Owns: the tables.  ``results/tests-X.Y.json`` has the counts of the corpus, of CPython's suites under recapture and of
the fuzzer (``python -m benchmarks.report collect FOLDER`` makes them from what those commands wrote);
``frames-X.Y.json`` the cost of frames, ``store-X.Y.json`` that of the store (``python -m benchmarks.report store``),
``engine-X.Y.json`` the engine beside its peers (``python -m benchmarks.report engine``),
``primitives-X.Y.json`` and ``people-X.Y.json`` what the tests of the loop counted (``python -m benchmarks.report
loop``).  A test holds the README to what this prints.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.graphs import SHAPES

RESULTS = Path(__file__).parent / "results"
VERSIONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]
COSTS = {
    "ten_locals": "frame of 10 locals",
    "await_chain_10": "await chain of 10",
    "list_1000": "frame with a list of 1,000 ints",
}


def collect(folder: Path) -> None:
    """Write the counts of ``{shared,own,suites,fuzz}-X.Y.json`` in a folder as results."""
    for version in VERSIONS:
        counts = {
            "python": read(folder / f"suites-{version}.json")["python"],
            "corpus": corpus_counts(read(folder / f"own-{version}.json")),
            "first_corpus": corpus_counts(read(folder / f"shared-{version}.json")),
            "suites": suite_counts(read(folder / f"suites-{version}.json")),
            "fuzz": fuzz_counts(read(folder / f"fuzz-{version}.json")),
        }
        (RESULTS / f"tests-{version}.json").write_text(json.dumps(counts, indent=1) + "\n")


def read(path: Path) -> dict[str, Any]:
    """A JSON file."""
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def corpus_counts(data: dict[str, Any]) -> dict[str, int]:
    """Programs, points, and programs that are right at every point in every mode."""
    results = data["results"].values()
    right = [all(v == "ok" for mode in r["modes"].values() for v in mode.values()) for r in results]
    return {"programs": len(right), "points": sum(r["points"] for r in results), "passed": sum(right)}


def suite_counts(data: dict[str, Any]) -> dict[str, int]:
    """Tests, passed, failed, excluded, and suspensions that were recaptured."""
    suites = data["suites"]
    return {
        "tests": sum(s["in_baseline"] for s in suites),
        "passed": sum(s["passed"] for s in suites),
        "failed": sum(len(s["failed"]) for s in suites),
        "excluded": sum(len(s["excluded"]) for s in suites),
        "excluded_examples": sum(len(s["excluded_examples"]) for s in suites),
        "recaptured": sum(s["suspended"] for s in suites),
    }


def fuzz_counts(data: dict[str, Any]) -> dict[str, int]:
    """Seed, programs, points and mismatches."""
    return {key: data[key] for key in ("seed", "programs", "points", "mismatches")}


def section() -> str:
    """The Markdown of the README."""
    tests = {version: read(RESULTS / f"tests-{version}.json") for version in VERSIONS}
    frames = {version: read(RESULTS / f"frames-{version}.json")["benchmarks"] for version in VERSIONS}
    rows = [["", *VERSIONS], ["---"] * 6]
    rows.append(["programs stored at every suspension, right in every mode (points)", *corpus_row(tests)])
    rows.append(["tests of CPython, every suspended frame rebuilt in place: passed", *suites_row(tests)])
    rows.append(["excluded: compares a frame's code object", *excluded_row(tests)])
    rows.append(["suspensions rebuilt in them", *(f"{t['suites']['recaptured']:,}" for t in tests.values())])
    rows.append(["random programs, suspended everywhere (points): mismatches", *fuzz_row(tests)])
    for name, title in COSTS.items():
        rows.append([f"dump / load over `pickle`, {title}", *(cost(frames[version][name]) for version in VERSIONS)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def corpus_row(tests: dict[str, Any]) -> list[str]:
    """Passed of all, with the points."""
    both = [(t["corpus"], t["first_corpus"]) for t in tests.values()]
    sums = [{key: a[key] + b[key] for key in a} for a, b in both]
    return [f"{s['passed']} of {s['programs']} ({s['points']:,})" for s in sums]


def suites_row(tests: dict[str, Any]) -> list[str]:
    """Passed of all."""
    return [f"{t['suites']['passed']} of {t['suites']['tests']}" for t in tests.values()]


def excluded_row(tests: dict[str, Any]) -> list[str]:
    """Whole tests, and single examples of doctests."""
    return [f"{t['suites']['excluded']} + {t['suites']['excluded_examples']} lines" for t in tests.values()]


def fuzz_row(tests: dict[str, Any]) -> list[str]:
    """Programs, points, mismatches."""
    return [f"{t['fuzz']['programs']:,} ({t['fuzz']['points']:,}): {t['fuzz']['mismatches']}" for t in tests.values()]


def cost(result: dict[str, Any]) -> str:
    """Ratios of minima."""
    return f"{result['dump_ratio']:.1f} / {result['load_ratio']:.1f}"


# ---------------------------------------------------------------- the store


def store_section(folder: Path = RESULTS) -> str:
    """The Markdown of the store's table; what a version has no results for is a dash."""
    stores = [_store_results(folder / f"store-{version}.json") for version in VERSIONS]
    present = [store for store in stores if store]
    if not present:
        raise SystemExit("no results of the store: python -m benchmarks store --json benchmarks/results")
    many, others, few = (_objects(present, name) for name in ("plain", "dicts", "small"))
    lines = {
        f"10 of {many:,} plain objects changed: ms (times faster than `pickle`)": lambda s: _faster(s["plain"], "ten"),
        f"10 of {others:,} changed in other shapes: the least of them": _least_of_shapes,
        f"1 of {few:,} changed, right after another commit": lambda s: _faster(s["small"], "one"),
        "the same, some milliseconds after: median": lambda s: _cold(s["small"], "one"),
        f"nothing of {many:,} changed: ms, bytes written": _nothing,
        f"a first persist of {many:,} / loading them, over `pickle`": lambda s: _both(s["plain"], "first", "load"),
        "file over that of `pickle`; bytes written for each of 10 changes": _bytes,
        "one of many suspended generators advanced": _generators,
        "memory per object: the graph + the store's tables, bytes": _memory,
    }
    rows = [["", *VERSIONS], ["---"] * 6]
    rows += [[title, *(_cell(line, store) for store in stores)] for title, line in lines.items()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cell(line: Callable[[dict[str, Any]], str], store: dict[str, Any]) -> str:
    try:
        return line(store)
    except KeyError:  # not measured
        return "-"


def _objects(stores: list[dict[str, Any]], name: str) -> int:
    (count,) = {store[name]["objects"] for store in stores if name in store}
    return int(count)


def _store_results(path: Path) -> dict[str, Any]:
    return read(path)["benchmarks"] if path.exists() else {}


def _faster(result: dict[str, Any], side: str) -> str:
    return f"{_millis(result, side)} ({_number(result[f'{side}_faster_ratio'])})"


def _cold(result: dict[str, Any], side: str) -> str:
    return f"{_number(result[f'{side}_cold_us_median'] / 1000)} ({_number(result[f'{side}_faster_ratio_cold'])})"


def _millis(result: dict[str, Any], side: str) -> str:
    return _number(result[f"{side}_wall_us_min"] / 1000)


def _number(value: float) -> str:
    """Two digits that mean something."""
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _least_of_shapes(store: dict[str, Any]) -> str:
    """Of all the shapes, or none."""
    least = min((store[name] for name in SHAPES if name != "plain"), key=_ten)
    return _faster(least, "ten")


def _ten(result: dict[str, Any]) -> float:
    ratio: float = result["ten_faster_ratio"]
    return ratio


def _nothing(store: dict[str, Any]) -> str:
    return f"{_millis(store['plain'], 'nothing')}, {'0' if store['plain']['nothing_wrote_nothing'] else 'some'}"


def _both(result: dict[str, Any], *sides: str) -> str:
    return " / ".join(f"{result[f'{side}_ratio']:.1f}" for side in sides)


def _bytes(store: dict[str, Any]) -> str:
    return f"{store['plain']['size_ratio']:.1f}; {store['plain']['ten_bytes_per_change']:,}"


def _generators(store: dict[str, Any]) -> str:
    largest = store["generators"]["points"][-1]
    return f"{_faster(largest, 'change')}, of {largest['n']:,}"


def _memory(store: dict[str, Any]) -> str:
    memory = store["memory"]
    return f"{memory['plain_graph_traced_bytes']:.0f} + {memory['plain_tables_traced_bytes']:.0f}"


# ---------------------------------------------------------------- the engine beside its peers

ENGINE_SIDES = {
    "pstore": "pstore",
    "dbos-sqlite": "DBOS, SQLite",
    "dbos-pg": "DBOS, PostgreSQL",
    "restate": "Restate",
}
_ENGINE_LINES: dict[str, dict[str, str]] = {
    "one_task": {
        "steps_per_s": "steps/s",
        "faster_than_dbos-sqlite": "times DBOS on SQLite",
        "over_append_fsync": "time over that of appending as many bytes, with `fsync`",
        "step_cpu_us": "CPU of a step in the process, us",
        "step_bytes": "bytes on disk for a step",
    },
    "many_tasks": {
        "steps_per_s": "steps/s",
        "faster_than_dbos-sqlite": "times DBOS on SQLite",
        "faster_than_dbos-pg": "times DBOS on PostgreSQL",
        "step_cpu_us": "CPU of a step in the process, us",
        "step_bytes": "bytes on disk for a step",
    },
    "resume": {
        "after_{first}_resume_s": "after {first} steps, s",
        "after_{last}_resume_s": "after {last:,} steps, s",
        "after_{last}_replay_s": "of that, replaying",
        "last_over_first": "after {last:,} over after {first}",
    },
    "waiting": {
        "start_s": "to start them all, s",
        "recover_s": "to recover them all, s",
        "resident_bytes_each": "resident, bytes each",
        "recovered_resident_bytes_each": "resident after recovery, bytes each",
        "cpu_percent": "CPU while they wait, % of a core",
        "recovered_cpu_percent": "CPU while they wait after recovery, %",
        "answer_p99_ms": "one is answered, goes on and ends, durable: p99, ms",
    },
    "sleepers": {
        "of_{last}_start_s": "to open and go on, s",
        "of_{last}_resident_mb": "resident, MB",
        "of_{last}_wake_p99_ms": "a random one wakes up: p99, ms late",
        "of_{last}_wake_durable_p99_ms": "the same until it has ended, durable",
        "commit_cpu_us_last_over_first": "commit, CPU: beside {last:,} over beside {first:,}",
        "commit_us_last_over_first": "the same, wall",
        "built_cpu_us_last_over_first": "commit, CPU, in the process that started them: the same",
    },
    "objects": {
        "commit_cpu_us_last_over_first": "commit, CPU: beside {last:,} over beside {first:,}",
        "commit_us_last_over_first": "the same, wall",
        "built_cpu_us_last_over_first": "commit, CPU, in the process that made them: the same",
    },
}
_BAR_KEYS = {
    "of_{last}_start_s": "start_s",
    "of_{last}_resident_mb": "resident_mb",
    "of_{last}_wake_p99_ms": "wake_p99_ms",
}


def engine_section(folder: Path = RESULTS) -> str:
    """The Markdown of a table for each version that was measured."""
    parts = []
    for version in VERSIONS:
        path = folder / f"engine-{version}.json"
        if path.exists():
            parts.append(_engine_table(version, read(path)))
    return "\n\n".join(parts)


_SHORT_LINES = (
    ("one_task", "steps_per_s", "one task: steps/s"),
    ("many_tasks", "steps_per_s", "1,000 tasks: steps/s"),
    ("one_task", "step_bytes", "a step: bytes on disk"),
    ("resume", "after_10_resume_s", "from the opening to the first new step, after 10 steps: s"),
    ("resume", "after_10000_resume_s", "the same after 10,000 steps"),
    ("waiting", "start_s", "10,000 tasks that wait for a message (of peers 1,000): to start them, s"),
    ("waiting", "recover_s", "to recover them, s"),
    ("waiting", "recovered_resident_bytes_each", "in memory for each then: bytes"),
    ("waiting", "recovered_cpu_percent", "while they wait: % of a core"),
    ("sleepers", "of_1000000_start_s", "1,000,000 tasks that sleep: to open and go on, s"),
    ("sleepers", "of_1000000_resident_mb", "the process then: MB"),
    ("sleepers", "of_1000000_wake_p99_ms", "one of them wakes up: p99, ms late"),
)


def engine_short(version: str = "3.13", folder: Path = RESULTS) -> str:
    """The Markdown of the README's table: medians, of the engine and its peers."""
    entries = read(folder / f"engine-{version}.json")["benchmarks"]
    sides = [side for side in ENGINE_SIDES if any(side in entries[name]["sides"] for name, _, _ in _SHORT_LINES)]
    rows = [[f"median, Python {version}", *(ENGINE_SIDES[side] for side in sides)], ["---"] * (len(sides) + 1)]
    for name, key, title in _SHORT_LINES:
        found = [entries[name]["sides"].get(side, {}).get(key) for side in sides]
        rows.append([title, *("-" if figures is None else _short(figures["median"]) for figures in found)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write_engine_section() -> None:
    """Put the tables into the README of the benchmarks, and the short one into the project's, between their marks."""
    _put_between(RESULTS.parent / "README.md", "engine", engine_section())
    _put_between(RESULTS.parents[1] / "README.md", "engine short", engine_short())


def _put_between(path: Path, name: str, text: str) -> None:
    before, mark, rest = path.read_text().partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->\n")
    path.write_text(f"{before}{mark}{text}\n{end}{after}")


def _engine_table(version: str, results: dict[str, Any]) -> str:
    entries = results["benchmarks"]
    known = entries.get("peers", {}).get("peers", {})
    peers = {side: known[side] for side in ENGINE_SIDES if side in known}
    head = ["median (least to largest)", "pstore", "bar", *(ENGINE_SIDES[side] for side in peers)]
    lines = [f"### Python {version}", "", f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for name, titles in _ENGINE_LINES.items():
        if name not in entries:
            continue
        entry = entries[name]
        lines.append(f"| **{entry['title']}** | | |" + " |" * len(peers))
        for pattern, title in titles.items():
            key, told = _places(pattern, entry), _places(title, entry)
            sides = [entry["sides"].get(side, {}).get(key) for side in ("pstore", *peers)]
            ours = sides[0] or entry["ratios"].get(key)
            bar = entry["bars"].get(_BAR_KEYS.get(pattern, key))
            others = [entry["ratios"].get(f"{key}_{peer}") or side for peer, side in zip(peers, sides[1:], strict=True)]
            cells = [told, _spread(ours), _bar(bar), *map(_spread, others)]
            if any(cells[1:]):
                lines.append("| " + " | ".join(cells) + " |")
        load = _short(entry["load_average_1_min"]["median"])
        cells = [f"`fsync` just before, us; load average {load}", _spread(entry["fsync_us"].get("pstore")), ""]
        lines.append("| " + " | ".join([*cells, *(_spread(entry["fsync_us"].get(peer)) for peer in peers)]) + " |")
    failed = [f"- {side}: {why}" for entry in entries.values() for side, why in entry.get("failed", {}).items()]
    failed += [f"- {about['title']}: {about['unavailable']}" for about in peers.values() if "unavailable" in about]
    if failed:
        lines += ["", "Not measured:", "", *failed]
    told = [f"{about['title']}: {_versions_of(about)}" for about in peers.values() if "versions" in about]
    return "\n".join([*lines, "", *(f"{each}." for each in told)])


def _versions_of(about: dict[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in about["versions"].items())


def _places(pattern: str, entry: dict[str, Any]) -> str:
    """Put the first and the last of the curve in."""
    settings = entry["settings"]
    points = settings.get("counts") or settings.get("sizes") or [0]
    return pattern.format(first=points[0], last=points[-1])


def bar_title(name: str, key: str, entry: dict[str, Any]) -> str:
    """What a bar is about."""
    titles = {_BAR_KEYS.get(pattern, pattern): title for pattern, title in _ENGINE_LINES[name].items()}
    return f"{name.replace('_', ' ')}: {_places(titles.get(key, key), entry).replace('`', '')}"


def _bar(bar: dict[str, Any] | None) -> str:
    if bar is None:
        return ""
    sign = ">=" if bar["above"] else "<="
    met = {True: "met", False: "**missed**", None: f"within, at {bar['at']:,}" if "at" in bar else "not known"}
    return f"{sign} {bar['bar']:,}: {met[bar['met']]}"


def _spread(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return ""
    told = [_short(figures[key]) for key in ("median", "min", "max")]
    return told[0] if figures["rounds"] < 2 else f"{told[0]} ({told[1]} to {told[2]})"


def _short(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


# ---------------------------------------------------------------- the loop


def loop_section(folder: Path = RESULTS) -> str:
    """The Markdown of the table of asyncio's primitives, killed at every commit, and of people's programs."""
    results = {version: read(folder / f"primitives-{version}.json")["primitives"] for version in VERSIONS}
    names = sorted({name for rows in results.values() for name in rows}, key=str.lower)
    rows = [["commits / processes", *VERSIONS], ["---"] * 6]
    rows += [[f"`{name}`", *(_killed(rows.get(name)) for rows in results.values())] for name in names]
    people = [read(folder / f"people-{version}.json") for version in VERSIONS]
    rows.append(["programs, killed at random instants: equal", *map(_people_equal, people)])
    rows.append(["kills / processes", *(f"{each['kills']:,} / {each['processes']:,}" for each in people)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def loop_apart(folder: Path = RESULTS) -> str:
    """The Markdown of the list of programs that have no run on asyncio's own loop, with the reasons."""
    reasons: dict[str, str] = {}
    for version in VERSIONS:
        for row in read(folder / f"primitives-{version}.json")["primitives"].values():
            reasons |= row["apart"]
    return "\n".join(f"- `{name}`: {reason}" for name, reason in sorted(reasons.items()))


def _killed(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    counts = f"{row['commits']} / {row['processes']}"
    return counts if row["equal"] else f"{counts}, **different**"


def _people_equal(figures: dict[str, Any]) -> str:
    return f"{figures['programs'] - figures['wrong']} of {figures['programs']}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["collect"]:
        collect(Path(sys.argv[2]))
    if sys.argv[1:3] == ["engine", "write"]:
        write_engine_section()
    sections = {"store": store_section, "engine": engine_section, "loop": lambda: f"{loop_section()}\n\n{loop_apart()}"}
    print(sections.get("".join(sys.argv[1:2]), section)())
