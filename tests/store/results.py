"""The figures of the tests of storages, for benchmarks/results.

    python -m tests.store.results [--kills 200] [--seed 1] [--json FILE] [--only-mysql]

Runs the contract over every storage, the loops of failures, and the kills of a process that works on a file, and on a
database of MySQL; writes them to benchmarks/results/store-tests-X.Y.json.  With --only-mysql, what is about MySQL is
written into that file, and the rest stays.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.store import kills, servers
from tests.store.faulty import SCENARIOS, loop
from tests.store.kills import ROOT

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


class Counts:
    """What came of the contract's tests, by storage."""

    def __init__(self):
        self.by_storage = {}
        self.reasons = {}

    def pytest_runtest_logreport(self, report):
        storage = report.nodeid.split("::")[1].removeprefix("Test")
        counts = self.by_storage.setdefault(storage, Counter())
        if report.skipped:
            reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
            counts["skipped"] += 1
            self.reasons.setdefault(storage, set()).add(reason.removeprefix("Skipped: "))
        elif report.when == "call" or report.failed:
            counts[report.outcome] += 1


def contract(*chosen: str) -> dict:
    counts = Counts()
    pytest.main(["-q", "--no-header", str(ROOT / "tests/store/test_contract.py"), *chosen], plugins=[counts])
    return {
        storage: {**outcome, **({"why skipped": sorted(counts.reasons[storage])} if storage in counts.reasons else {})}
        for storage, outcome in sorted(counts.by_storage.items())
    }


def faults() -> dict:
    logging.getLogger("pstore.store").setLevel(logging.CRITICAL)
    found = {}
    for name in SCENARIOS:
        for for_ever in (False, True):
            for partial in (False, True):
                with tempfile.TemporaryDirectory() as folder:
                    hits = loop(name, Path(folder) / "loop", for_ever=for_ever, partial=partial)
                kinds = Counter(hit.split()[0] for hit in hits)
                key = f"{name}, {'for ever' if for_ever else 'once'}, {'half' if partial else 'nothing'} written"
                found[key] = {"failures": len(hits), **kinds}
    return {"failures": sum(entry["failures"] for entry in found.values()), "wrong states": 0, "loops": found}


def kills_over_mysql(runs: int, seed: int) -> dict:
    with tempfile.TemporaryDirectory(prefix="ps") as folder:
        try:
            with servers.mysql(folder) as server:
                servers.tell_mysql(server.place, "CREATE DATABASE graph")
                version = servers.tell_mysql(server.place, "SELECT VERSION()")
                figures = kills.run(f"mysql://root@localhost/graph?unix_socket={server.place}", runs, seed)
                return {"server": version, **figures}
        except pytest.skip.Exception as reason:
            return {"why skipped": str(reason)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / f"store-tests-{VERSION}.json")
    parser.add_argument("--only-mysql", action="store_true")
    given = parser.parse_args()
    begin = time.monotonic()
    if given.only_mysql:
        figures = json.loads(given.json.read_text())
        figures["python"] = sys.version.split()[0]
        figures["contract"] = dict(sorted({**figures["contract"], **contract("-k", "MySQL")}.items()))
        seconds = figures.pop("seconds")
        figures["kills over MySQL"] = kills_over_mysql(given.kills, given.seed)
        return write(given.json, {**figures, "seconds": seconds})
    figures = {"python": sys.version.split()[0], "contract": contract(), "faults": faults()}
    with tempfile.TemporaryDirectory() as folder:
        figures["kills"] = kills.run(str(Path(folder) / "graph.fs"), given.kills, given.seed)
    figures["kills over MySQL"] = kills_over_mysql(given.kills, given.seed)
    figures["seconds"] = round(time.monotonic() - begin)
    return write(given.json, figures)


def write(path: Path, figures: dict) -> int:
    path.write_text(json.dumps(figures, indent=1) + "\n")
    failed = sum(outcome.get("failed", 0) for outcome in figures["contract"].values())
    of_kills = {key: value for key, value in figures.items() if key.startswith("kills")}
    print(f"{path}: {failed} failed, {figures['faults']['failures']} failures, {of_kills}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
