"""``python -m benchmarks [--json DIR] [--quick] [--objects N] [NAME ...]``: measure, print a table."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import bench_engine, bench_frames, store
from benchmarks.harness import Effort, version, write_json

FULL = Effort(rounds=2000, cold=300, runs=10)
QUICK = Effort(rounds=100, cold=30, runs=2, objects=1000, seconds=0.02)
GROUPS: dict[str, Any] = {"frames": bench_frames, "engine": bench_engine, "store": store}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what pstore costs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(GROUPS)}, or single ones; default: all")
    parser.add_argument("--json", type=Path, metavar="DIR", help="write GROUP-PYVERSION.json; whole groups only")
    parser.add_argument("--quick", action="store_true", help="few rounds, small graphs: to see that it works")
    parser.add_argument("--objects", type=int, metavar="N", help="in the largest graphs of the store; default 1000000")
    arguments = parser.parse_args()
    known = {name for module in GROUPS.values() for name in module.NAMES}
    unknown = set(arguments.names) - known - GROUPS.keys()
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join([*GROUPS, *sorted(known)])}")
    if arguments.json and set(arguments.names) - GROUPS.keys():
        parser.error("--json is for whole groups: figures of different runs do not belong into one file")
    return arguments


def _tell(title: str) -> None:
    print(f"  measuring: {title} ...", file=sys.stderr, flush=True)


def _frame_rows(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("benchmark", "dump us", "pickle us", "ratio", "load us", "pickle us", "ratio", "bytes", "bar", "met")
    ]
    for row in results.values():
        times = [
            f"{row[key]:.2f}"
            for side in ("dump", "load")
            for key in (f"{side}_us_min", f"plain_{side}_us_min", f"{side}_ratio")
        ]
        bar = ("", "") if "met" not in row else (f"{row['bar_ratio']:.1f}", "yes" if row["met"] else "NO")
        rows.append((row["title"], *times, str(row.get("stored_bytes", "")), *bar))
    return rows


def _engine_rows(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for row in results.values():
        rows.append((row["title"], ""))
        rows += [(f"  {key}", f"{value:,}") for key, value in row.items() if key != "title"]
    return rows


ROWS: dict[str, Callable[[Mapping[str, Any]], list[tuple[str, ...]]]] = {
    "frames": _frame_rows,
    "engine": _engine_rows,
    "store": store.rows,
}


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        print("  ".join(cells).rstrip())


def main() -> int:
    """Measure what the command line asks for."""
    arguments = _arguments()
    effort = QUICK if arguments.quick else FULL
    if arguments.objects:
        effort = dataclasses.replace(effort, objects=arguments.objects)
    wanted = set(arguments.names)
    for group, module in GROUPS.items():
        names = set() if group in wanted else wanted & set(module.NAMES)
        if wanted and group not in wanted and not names:
            continue
        results = module.measure(names, effort, _tell)
        print(f"\n{group}, Python {version()}; the least of many rounds" + ", quick" * arguments.quick)
        _print_table(ROWS[group](results))
        if arguments.json:
            print(f"written: {write_json(arguments.json, group, results, effort)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
