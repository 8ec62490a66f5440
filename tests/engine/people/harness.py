"""Kill programs at random instants, and start them again in fresh processes until they are done.

A program runs once on asyncio's own loop: that gives the result, and the entries of the ledger, that are wanted.  On the
durable loop it dies by SIGKILL, from outside after a random time, or by its own hand just before or after a commit, an
fsync or an entry in the ledger whose number was drawn; then the next process opens the store.  Most processes are forks
of one that has only imported modules; some are new interpreters, with a hash seed of their own.  In the end:

- the result is that of asyncio's own loop;
- the ledger has each wanted entry at least once and no other, each under one key, and no key twice for two entries;
- nothing was logged, warned of, or raised that was not the program's own.

The clock is virtual and goes on where the killed process left it: no test sleeps.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pstore
from pstore.testing import VirtualClock
from tests.engine import own_loop
from tests.engine.people import PROGRAMS, kit
from tests.processes import ROOT

START = 1000.0
MOST_PROCESSES = 2000
FRESH = 0.06  # of the processes are new interpreters
# What a process may die of: the instant is up to the parent, the others are counted.
KINDS = ("instant", "commit", "fsync", "entry")


@dataclass
class Report:
    """What came of one program.  `wrong`: what is not as it has to be; empty if all is."""

    kills: Counter[str] = field(default_factory=Counter)
    processes: int = 0
    runs: int = 0
    repeated: int = 0
    wrong: list[str] = field(default_factory=list)


class MachineClock(VirtualClock):
    """A virtual clock that outlives the process, as that of a machine does."""

    def __init__(self, path):
        kept = path.read_bytes() if path.exists() else b""
        super().__init__(struct.unpack("d", kept)[0] if kept else START)
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT)

    def pause(self, *args, **kwargs):
        super().pause(*args, **kwargs)
        os.pwrite(self.file, struct.pack("d", self.time), 0)


class Death:
    """Ends the process before or after the n-th time that something happens; counts all."""

    def __init__(self, kind, number, after):
        self.kind, self.number, self.after, self.counts = kind, number, after, Counter()
        persist, fsync = pstore.Store.persist, os.fsync

        def committing(store, note=None):
            self.before("commit")
            tid = persist(store, note)
            self.behind("commit")
            return tid

        def syncing(descriptor):
            self.before("fsync")
            fsync(descriptor)
            self.behind("fsync")

        pstore.Store.persist, os.fsync = committing, syncing
        kit.before_entry, kit.after_entry = lambda: self.before("entry"), lambda: self.behind("entry")

    def before(self, kind):
        self.counts[kind] += 1
        self.die_if(kind, False)

    def behind(self, kind):
        self.die_if(kind, True)

    def die_if(self, kind, after):
        if (kind, after) == (self.kind, self.after) and self.counts[kind] == self.number:
            os.kill(os.getpid(), signal.SIGKILL)


def live(name, folder, kind, number, after):
    """A process of the program: to the end, which leaves ``done``, or to its death.  What goes wrong is in ``wrong``."""
    folder, log = Path(folder), []
    try:
        handler = logging.Handler(logging.WARNING)
        handler.emit = lambda record: log.append(record.getMessage())
        logging.getLogger().addHandler(handler)
        warnings.simplefilter("error")
        kit.ledger_path = str(folder / "ledger")
        death = Death(kind, number, after)
        begin = time.perf_counter()
        with pstore.open(folder / "store.fs", clock=MachineClock(folder / "clock")) as engine:
            out = engine.root.setdefault("out", [])
            task = engine.spawn_once(name, PROGRAMS[name], out)
            result = engine.run(task)
            waiting = sorted(task.get_name() for task in engine.run())
            trace = repr((out, result, waiting))
        if log:
            raise AssertionError(f"logged: {log}")
        counts = {"instant": time.perf_counter() - begin, **death.counts}
        (folder / "done.tmp").write_text(json.dumps({"trace": trace, "counts": counts}))
        (folder / "done.tmp").replace(folder / "done")  # it may be killed while it writes
    except BaseException:
        (folder / "wrong").write_text(traceback.format_exc() + "".join(log))


def start(name, folder, kind, number, after, fresh):
    """Start a process; gives its id."""
    arguments = [name, str(folder), kind, str(number), str(int(after))]
    if fresh:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        env["PYTHONHASHSEED"] = str(number)
        return subprocess.Popen([sys.executable, "-m", "tests.engine.people", "--live", *arguments], env=env).pid
    pid = os.fork()
    if not pid:
        try:
            live(name, folder, kind, number, after)
        finally:
            os._exit(0)
    return pid


def on_asyncio(name, folder):
    """Give the trace and the entries of the ledger of a run on asyncio's own loop."""
    kit.ledger_path = str(folder / "asyncio")
    out, result, waiting, _ = own_loop.run(PROGRAMS[name], START, name)
    return repr((out, result, waiting)), [entry for _, entry in entries(folder / "asyncio")]


def entries(path):
    if not path.exists():
        return []
    return [tuple(line.split(" ", 1)) for line in path.read_text().splitlines()]


def torment(name, kills, seed):
    """Run a program again and again until it has died `kills` times; gives a `Report`."""
    chance, report = random.Random(f"{seed} {name}"), Report()
    with tempfile.TemporaryDirectory() as folder:
        wanted = on_asyncio(name, Path(folder))
        report.wrong += [f"the ledger of asyncio has an entry twice: {wanted[1]}"] * (
            len(set(wanted[1])) < len(wanted[1])
        )
        # the first run is not killed: it counts what can be died of
        typical = run_once(name, Path(folder) / "0", wanted, None, 0, chance, report)
        while typical and sum(report.kills.values()) < kills and not report.wrong:
            path = Path(folder) / str(report.runs)
            run_once(name, path, wanted, typical, kills - sum(report.kills.values()), chance, report)
    return report


def run_once(name, folder, wanted, typical, kills, chance, report):
    """One run, from an empty store to the end, with about `kills` kills on the way; gives what it counted."""
    folder.mkdir()
    report.runs += 1
    killed = 0
    for _ in range(MOST_PROCESSES):
        kind, number, after, seconds = draw(chance, typical, max(1, kills - killed)) if typical else ("", 0, False, 0)
        fresh = chance.random() < FRESH
        pid = start(name, folder, kind, number, after, fresh)
        report.processes += 1
        if kind == "instant":
            time.sleep(seconds + (chance.random() * 0.5 if fresh else 0))
            os.kill(pid, signal.SIGKILL)  # it was not waited for, so the id is still its own
        _, status = os.waitpid(pid, 0)
        if status == signal.SIGKILL:
            report.kills[kind] += 1
            killed += 1
        if (folder / "wrong").exists():
            report.wrong.append((folder / "wrong").read_text())
        elif (folder / "done").exists():  # even if it was killed right after
            return check(folder, wanted, report)
        elif status != signal.SIGKILL:
            report.wrong.append(f"the process ended with status {status}")
        if report.wrong:
            return None
    report.wrong.append(f"not done after {MOST_PROCESSES} processes")
    return None


def draw(chance, typical, kills):
    """Draw what to die of, so that about as many deaths as are wanted come before the end."""
    kind = chance.choice([kind for kind in KINDS if typical.get(kind)])
    most = typical[kind] * min(1.0, 2 / kills)
    if kind == "instant":
        return kind, chance.randrange(1000), False, chance.uniform(0, most)
    return kind, chance.randint(1, max(2, round(most))), chance.random() < 0.5, 0


def check(folder, wanted, report):
    """Compare what a run left with what is wanted; gives what it counted."""
    done = json.loads((folder / "done").read_text())
    trace, ledger = wanted
    if done["trace"] != trace:
        report.wrong.append(f"gave   {done['trace']}\nwanted {trace}")
    found = entries(folder / "ledger")
    if {entry for _, entry in found} != set(ledger):
        report.wrong.append(f"the ledger has {found}\nwanted {ledger}")
    pairs = set(found)
    if not len(pairs) == len({key for key, _ in pairs}) == len({entry for _, entry in pairs}):
        report.wrong.append(f"keys are not stable: {sorted(found)}")
    report.repeated += len(found) - len(pairs)
    return done["counts"]
