"""Every asyncio primitive, killed at every commit and continued in a fresh process, beside asyncio's own loop.

    python -m tests.engine.every_commit [--json FOLDER] [NAME ...]

Runs the programs of `tests/engine/programs` on asyncio's own loop (with a virtual clock); uninterrupted on the durable
loop, with a copy of the store at every commit; from each of these copies (in the tests: a third of them) in a process of
its own; and with a new process after every commit.  All have to give the same.  ``--json benchmarks/results`` writes the table's row for each primitive
to ``primitives-X.Y.json``.  Where a program has no run on asyncio's own loop, its `apart` says why.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.engine.programs import PROGRAMS
from tests.processes import ROOT
from tests.turns import take_all

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass
class Outcome:
    """What came of one program.  `differences`: what differs from what; empty if all is equal."""

    commits: int = 0
    processes: int = 0
    differences: list[str] = field(default_factory=list)


def crash_all(folder: Path, names: list[str]) -> None:
    """Run all, in all ways, in two processes at a time; what comes of it is in the folder."""
    parts = [part for part in (names[::2], names[1::2]) if part]
    # other hash seeds: the order of sets must come from the store
    for mode, seed in (("asyncio", "4"), ("record", "1"), ("resume", "2"), ("hop", "3")):
        running = [_start(mode, folder, seed, part) for part in parts]
        for process in running:
            _, errors = process.communicate(timeout=300)
            if (process.returncode, errors) != (0, ""):
                raise RuntimeError(f"{mode}: exit code {process.returncode}\n{errors}")


def _start(mode: str, folder: Path, seed: str, names: list[str]) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONHASHSEED": seed}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), env.get("PYTHONPATH", "")])
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.engine.crash", mode, str(folder), *names]
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def outcome_of(folder: Path, name: str) -> Outcome:
    """Compare what `crash_all` left of a program."""
    here = folder / name
    errors = [f"{path.name}:\n{path.read_text()}" for path in sorted(here.glob("*.error"))]
    if not (here / "trace").exists():
        return Outcome(differences=errors)
    found, wanted = Outcome(differences=errors), (here / "trace").read_text()
    points = sorted(here.glob("[0-9]*.fs"))
    resumed = sorted(here.glob("[0-9]*.trace"))
    others = [*resumed, here / "hop.trace"]
    if PROGRAMS[name].apart is None:
        others.insert(0, here / "asyncio")
    for other in others:
        if other.exists() and other.read_text() != wanted:
            found.differences.append(f"{other.name}:\n{other.read_text()}\nuninterrupted:\n{wanted}")
    hops = here / "hop.count"
    found.commits = len(points)
    found.processes = len(resumed) + (int(hops.read_text()) if hops.exists() else 0)
    return found


def by_primitive(outcomes: dict[str, Outcome]) -> dict[str, dict[str, object]]:
    """Sum the outcomes of programs for each primitive."""
    rows: dict[str, dict[str, object]] = {}
    for name, outcome in outcomes.items():
        for primitive in PROGRAMS[name].primitives:
            row = rows.setdefault(
                primitive, {"programs": 0, "commits": 0, "processes": 0, "equal": True, "apart": {}, "different": []}
            )
            row["programs"] += 1
            row["commits"] += outcome.commits
            row["processes"] += outcome.processes
            row["equal"] = row["equal"] and not outcome.differences
            if PROGRAMS[name].apart is not None:
                row["apart"][name] = PROGRAMS[name].apart
            if outcome.differences:
                row["different"].append(name)
    return dict(sorted(rows.items(), key=lambda item: item[0].lower()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="folder for primitives-X.Y.json")
    parser.add_argument("names", nargs="*", help="programs; all if none is named")
    given = parser.parse_args()
    names = given.names or list(PROGRAMS)
    take_all()
    with tempfile.TemporaryDirectory() as folder:
        crash_all(Path(folder), names)
        outcomes = {name: outcome_of(Path(folder), name) for name in names}
    for name, outcome in outcomes.items():
        for text in outcome.differences:
            print(f"!!!!! {name}, {text}\n")
    rows = by_primitive(outcomes)
    for primitive, row in rows.items():
        print(
            f"{primitive:35} {row['commits']:5} commits {row['processes']:5} processes", "=" if row["equal"] else "!!"
        )
    if given.json:
        figures = {"python": sys.version.split()[0], "primitives": rows}
        (given.json / f"primitives-{VERSION}.json").write_text(json.dumps(figures, indent=1) + "\n")
    return int(any(outcome.differences for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
