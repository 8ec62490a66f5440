"""``python -m tests.suites [--json FILE] [SUITE ...]``: the table, and what failed. Exit status 1 if anything did."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.suites.build import CannotBuild, build
from tests.suites.runner import FURTHER, SUITES, NoSuites, Outcome, as_json, run_suite

HEADINGS = ("suite", "tests", "passed", "failed", "excluded", "skipped", "fail anyway", "recaptured", "unstarted",
            "seconds")


def row(outcome: Outcome) -> list[str]:
    """One line of the table."""
    seconds = f"{outcome.seconds_baseline:.1f} + {outcome.seconds_recapture:.1f}"
    numbers = (outcome.in_baseline, outcome.passed, len(outcome.failed), len(outcome.excluded),
               len(outcome.skipped_by_python), len(outcome.fails_without_pstore), outcome.suspended, outcome.unstarted)
    return [outcome.suite, *map(str, numbers), seconds]


def total(rows: list[list[str]]) -> list[str]:
    """The last line of the table."""
    return ["all", *(str(sum(int(r[i]) for r in rows)) for i in range(1, len(HEADINGS) - 1)), ""]


def table(outcomes: list[Outcome]) -> str:
    """The outcomes as a Markdown table."""
    rows = [row(outcome) for outcome in outcomes]
    lines = [list(HEADINGS), *rows, total(rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)


def details(outcome: Outcome) -> list[str]:
    """What is to be said about a suite below the table."""
    said = [f"FAILED {test}\n    " + why.strip().replace("\n", "\n    ") for test, why in outcome.failed.items()]
    said += [f"excluded {test}: {why}" for test, why in outcome.excluded.items()]
    said += [f"excluded example {e['test']} `{e['example']}`: {e['reason']}" for e in outcome.excluded_examples]
    said += [f"refused {n}x: {why}" for why, n in sorted(outcome.refused.items(), key=lambda item: -item[1])]
    said += [f"STALE exclusion, the test passes: {test}" for test in outcome.stale]
    said += [f"fails without pstore too: {test}: {why}" for test, why in outcome.fails_without_pstore.items()]
    return said


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.suites", description="CPython's suites under recapture")
    parser.add_argument("suites", nargs="*", default=[], metavar="SUITE", help="names, by default: " + ", ".join(SUITES))
    parser.add_argument("--further", action="store_true", help="run these too: " + ", ".join(FURTHER))
    parser.add_argument("--pickled", action="store_true", help="dump and load each frame instead, see pickled.py")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    outcomes: list[Outcome] = []
    try:
        with tempfile.TemporaryDirectory(prefix="pstore-suites-") as folder:
            extension = build(Path(folder))
            for suite in options.suites or (SUITES + FURTHER * options.further):
                outcomes.append(run_suite(suite, extension, pickled=options.pickled))
                print(f"{suite}: {outcomes[-1].passed} passed, {len(outcomes[-1].failed)} failed", file=sys.stderr)
    except (CannotBuild, NoSuites) as error:
        print(f"CANNOT RUN THE SUITES: {error}", file=sys.stderr)
        return 2
    print(f"Python {sys.version.split()[0]}\n{table(outcomes)}")
    print(*(line for outcome in outcomes for line in details(outcome)), sep="\n")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(as_json(outcomes), indent=1) + "\n")
    return 1 if any(outcome.failed for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
