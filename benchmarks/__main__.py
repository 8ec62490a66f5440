"""``python -m benchmarks [--json DIR] [--quick] [--peers A,B] [NAME ...]``: measure, print a table."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import bench_frames, engine, store
from benchmarks.harness import Effort, version, write_json
from benchmarks.peers import PEERS, default_cache

FULL = Effort(rounds=2000, cold=300, runs=10)
QUICK = Effort(rounds=100, cold=30, runs=2, objects=1000, seconds=0.02, sleepers=1000)
GROUPS: dict[str, Any] = {"frames": bench_frames, "engine": engine, "store": store}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what pstore costs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(GROUPS)}, or single ones; default: all")
    parser.add_argument(
        "--json", type=Path, metavar="DIR", help="write GROUP-PYVERSION.json; whole groups, or entries of the engine"
    )
    parser.add_argument("--quick", action="store_true", help="few rounds, small graphs: to see that it works")
    parser.add_argument("--objects", type=int, metavar="N", help="in the largest graphs of the store; default 1000000")
    parser.add_argument("--sleepers", type=int, metavar="N", help="sleeping tasks of the engine; default 100000")
    parser.add_argument(
        "--peers",
        default="",
        metavar="A,B",
        help=f"engines to measure beside ours: {', '.join(PEERS)}; what they need is installed",
    )
    parser.add_argument(
        "--peer-cache",
        type=Path,
        metavar="DIR",
        help="where that goes; default $PSTORE_BENCH_CACHE or the user's cache",
    )
    arguments = parser.parse_intermixed_args()
    arguments.peers = tuple(name for name in arguments.peers.split(",") if name)
    if set(arguments.peers) - PEERS.keys():
        parser.error(f"no peer {', '.join(sorted(set(arguments.peers) - PEERS.keys()))}; there are {', '.join(PEERS)}")
    known = {name for module in GROUPS.values() for name in module.NAMES}
    unknown = set(arguments.names) - known - GROUPS.keys()
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join([*GROUPS, *sorted(known)])}")
    if arguments.json and set(arguments.names) - GROUPS.keys() - set(engine.NAMES):
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


ROWS: dict[str, Callable[[Mapping[str, Any]], list[tuple[str, ...]]]] = {
    "frames": _frame_rows,
    "engine": engine.rows,
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
    if arguments.sleepers:
        effort = dataclasses.replace(effort, sleepers=arguments.sleepers)
    options: dict[str, Any] = {
        "engine": {"peers": arguments.peers, "cache": (arguments.peer_cache or default_cache()).resolve()}
    }
    if arguments.json:
        options["engine"]["keep"] = lambda results: engine.write(arguments.json, results, effort)
    wanted = set(arguments.names)
    for group, module in GROUPS.items():
        names = set() if group in wanted else wanted & set(module.NAMES)
        if wanted and group not in wanted and not names:
            continue
        results = module.measure(names, effort, _tell, **options.get(group, {}))
        print(
            f"\n{group}, Python {version()}{'; the least of many rounds' * (group != 'engine')}"
            + ", quick" * arguments.quick
        )
        _print_table(ROWS[group](results))
        if arguments.json:
            path = (engine.write if group == "engine" else partial(write_json, group=group))(
                arguments.json, results=results, effort=effort
            )
            print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
