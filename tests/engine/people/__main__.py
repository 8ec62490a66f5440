"""Kill the programs: ``python -m tests.engine.people [--kills N] [--seed S] [--json FOLDER] [NAME ...]``.

Each dies at least N times; prints the seed, and a line for each program.  ``--json benchmarks/results`` writes
``people-X.Y.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

from tests.engine.people import PROGRAMS
from tests.engine.people.harness import live, torment

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def main() -> int:
    if sys.argv[1:2] == ["--live"]:
        name, folder, kind, number, after = sys.argv[2:]
        live(name, folder, kind, int(number), after == "1")
        return 0
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=10, help="at least so many for each program")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("PSTORE_SEED", "4")))
    parser.add_argument("--json", type=Path, help="folder for people-X.Y.json")
    parser.add_argument("--quiet", action="store_true", help="print only the JSON, one object for all programs")
    parser.add_argument("names", nargs="*", help="programs; all if none is named")
    given = parser.parse_args()
    begin, programs, bad = time.monotonic(), {}, 0
    for name in given.names or PROGRAMS:
        report = torment(name, given.kills, given.seed)
        programs[name] = {
            "kills": sum(report.kills.values()), "killed at": dict(sorted(report.kills.items())),
            "processes": report.processes, "runs": report.runs, "repeated": report.repeated, "wrong": report.wrong,
        }  # fmt: skip
        bad += bool(report.wrong)
        if not given.quiet:
            print(
                f"{name:26}", ", ".join(f"{key} {value}" for key, value in programs[name].items() if value), flush=True
            )
    total = Counter()
    for row in programs.values():
        total.update({key: row[key] for key in ("kills", "processes", "runs", "repeated")})
    figures = {"python": sys.version.split()[0], "seed": given.seed, "programs": len(programs), **total, "wrong": bad}
    if given.quiet:
        print(json.dumps({**figures, "by_program": programs}))
    else:
        print(f"seed {given.seed}, {time.monotonic() - begin:.0f} s:", figures)
    if given.json:
        text = json.dumps({**figures, "by_program": programs}, indent=1)
        (given.json / f"people-{VERSION}.json").write_text(text + "\n")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
