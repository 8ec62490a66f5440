"""Many programs from a seed: runs them, collects figures and mismatches, minimises what goes wrong."""

import collections
import dataclasses
import gc
import os
import re
import time

from . import fresh, runner
from .isolation import Crash, isolated
from .minimise import minimise
from .programs import seeded_program

BATCH = 50  # programs that share one fresh process


def summary(program, adapter_name, folder, seed, options):
    """What is to be known of a Check, as plain data: computed in a fork."""
    gc.freeze()  # what is there already need not be looked at again and again
    check = runner.Check(program, runner.ADAPTERS[adapter_name](), folder, seed).run(**options)
    return {
        "points": check.points,
        "features": check.features,
        "outcome": check.outcome,
        "compared": check.compared,
        "mismatches": check.mismatches,
        "fresh": check.fresh,
    }


def run_one(program, adapter_name, folder, seed=0, **options):
    try:
        return isolated(summary, program, adapter_name, folder, seed, options)
    except Crash as e:
        found = {"mode": "crash", "at": None, "kind": str(e), "got": "", "want": "", "event": 0}
        return {"points": 0, "features": set(), "outcome": "crash", "compared": 0, "mismatches": [found], "fresh": None}


def signature(program, mismatch):
    """Mismatches that look alike have the same."""
    mode = mismatch["mode"].split()[0]
    mode = "hop" if mode in ("every", "once", "throw", "close") else mode
    got = mismatch["got"]
    if mismatch["kind"] == "refused":
        detail = re.sub(r"'[^']*'|fuzz_prog_\w+", "_", re.sub(r"(.*) at root.*?: ", r"\1: ", str(got)))
    elif got and got[0] == "x":
        detail = re.sub(r"'[^']*'", "_", got[1][2:].replace("\\'", "'"))[:60]
        detail = got[1][2:].split("'")[0] + " " + detail[detail.find(",") + 1 :]
    else:
        detail = ""
    return mode, mismatch["kind"], re.sub(r"\d+", "0", detail)[:90], program.home if program.home == "exec" else ""


class Session:
    """Each `fresh_share`-th program is resumed in a fresh process, too; `minimise_seconds`: for each mismatch."""

    def __init__(self, adapter_name, folder, seed=0, size=60, modes=None, minimise_seconds=40, fresh_share=2, throws=2):
        self.adapter_name, self.folder, self.seed, self.size = adapter_name, folder, seed, size
        self.modes = modes or ("every", "orig", "once", "throw", "close")
        self.minimise_seconds, self.fresh_share, self.throws = minimise_seconds, fresh_share, throws
        self.programs = self.points = self.compared = self.resumed_fresh = 0
        self.features, self.outcomes = collections.Counter(), collections.Counter()
        self.wrong, self.signatures = [], collections.Counter()
        self.homes = None  # allow these alone
        self.waiting, self.started = [], time.monotonic()

    def run(self, numbers):
        for number in numbers:
            program = seeded_program(self.seed, number, self.size)
            if self.homes and program.home not in self.homes:
                program = dataclasses.replace(program, home=self.homes[number % len(self.homes)])
            self.one(program)
        self.resume_fresh()

    def one(self, program):
        wants_fresh = self.fresh_share and program.number % self.fresh_share == 0
        modes = (*self.modes, "fresh") if wants_fresh else self.modes
        result = run_one(program, self.adapter_name, self.folder, self.seed, modes=modes, throws=self.throws)
        self.programs += 1
        self.points += result["points"]
        self.compared += result["compared"]
        self.features.update(result["features"])
        self.outcomes[result["outcome"]] += 1
        self.note(program, result["mismatches"])
        if result["fresh"]:
            self.waiting.append((program, result["fresh"]))
        if len(self.waiting) >= BATCH:
            self.resume_fresh()

    def resume_fresh(self):
        jobs, self.waiting = self.waiting, []
        if jobs:
            self.resumed_fresh += len(jobs)
            found = fresh.mismatches(jobs, self.adapter_name, self.folder, 1000 + self.programs)
            for (program, _), mismatch in zip(jobs, found):
                self.note(program, [mismatch] if mismatch else [])

    # -------------------------------------------------------------- what went wrong

    def note(self, program, mismatches):
        """Keeps the first of each signature, minimised."""
        for mismatch in mismatches:
            key = signature(program, mismatch)
            self.signatures[key] += 1
            if self.signatures[key] > 1:
                continue
            small = self.smallest(program, mismatch["mode"], key) if self.minimise_seconds else program
            self.wrong.append(
                {
                    "number": program.number,
                    "signature": key,
                    "mismatch": mismatch,
                    "program": small,
                    "shown": self.shown(small, mismatch["mode"], key) or mismatch,
                }
            )

    def mismatches_of(self, program, mode):
        options = {"modes": [mode.split()[0]] if mode != "crash" else self.modes, "throws": 5}
        result = run_one(program, self.adapter_name, self.folder, self.seed, **options)
        found = result["mismatches"]
        if result["fresh"]:
            found += [m for m in fresh.mismatches([(program, result["fresh"])], self.adapter_name, self.folder) if m]
        return found

    def shown(self, program, mode, key):
        return next((m for m in self.mismatches_of(program, mode) if signature(program, m) == key), None)

    def smallest(self, program, mode, key):
        return minimise(program, lambda smaller: self.shown(smaller, mode, key) is not None, self.minimise_seconds)

    def save(self, place):
        """One file for each kind of mismatch."""
        os.makedirs(place, exist_ok=True)
        for i, wrong in enumerate(self.wrong):
            with open(os.path.join(place, f"{self.seed}-{wrong['number']}-{i}.py"), "w", encoding="utf-8") as f:
                shown = "\n".join(f"# {name}: {value}" for name, value in wrong["shown"].items())
                program = wrong["program"]
                f.write(f"{shown}\n# home: {program.home}, sends: {program.sends}\n{program.text}")

    # -------------------------------------------------------------- report

    def figures(self):
        return {
            "seed": self.seed,
            "programs": self.programs,
            "points": self.points,
            "runs compared": self.compared,
            "resumed in a fresh process": self.resumed_fresh,
            "mismatches": sum(self.signatures.values()),
            "seconds": round(time.monotonic() - self.started, 1),
            "outcomes": dict(self.outcomes),
            "kinds of mismatch": {" / ".join(filter(None, key)): n for key, n in self.signatures.most_common()},
            "share of programs suspended in": self.shares(),
        }

    def shares(self):
        from .features import EXPECTED

        names = sorted({*EXPECTED, *self.features}, key=lambda name: (self.features[name], name))
        return {name: round(100 * self.features[name] / max(self.programs, 1), 1) for name in names}
