"""Random durable programs, killed at random instants, on disks that fail now and then; for as long as one likes.

    python -m tests.engine.soak [--seconds S] [--seed N] [--program K] [--count C] [--keep]

The K-th program of a seed is made of parts drawn from `soak_programs`; its shape depends on nothing else.  It runs in
one process after the other: forks of one that has only imported modules, some of them new interpreters.  A process dies
by SIGKILL, from outside after a random time, or by its own hand just before or after an fsync or an entry in the ledger
whose number was drawn.  Beside that, in some programs,

- the n-th thing that the store asks of the disk fails, once or from then on (`pstore.testing.faults`): then the process
  goes on with the same engine, as `StoreNotWritten` says that it may; or it closes the store and opens it again;
- the engine is stopped, closed and opened again in the same process;
- the store is packed;
- few tasks may be in memory; the file has a checkpoint at every commit;
- messages come from outside, each sent until it is acknowledged: after the commit that has it.

What has to hold:

- of each part what it says of every committed state (a sample of all there were is looked at, too) and of the end;
- the ledger has each entry that is wanted at least once and no other, each under one key, no key for two of them, and
  those that belong to one sequence in its order: none is repeated once a later one is there, unless an engine was
  closed in a process that lived on, as what runs in its threads then runs on;
- nothing is logged, warned of, or raised that the disk or the program did not cause; nothing waits for ever.

When something does not hold, that is printed, with the command that runs the same program again (when it dies by
itself is drawn anew from the same seed; when an instant comes is up to the machine), and the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import json
import logging
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import pstore
from pstore._store import filecheckpoint
from pstore.errors import StoreError, StoreInDoubt, StoreNotWritten
from pstore.testing import VirtualClock
from pstore.testing.faults import Faults
from tests.engine import soak_programs
from tests.engine.soak_programs import PARTS, Mail
from tests.processes import ROOT

START = 1000.0
MOST_KILLS = 60  # of a program; then it may run to its end
HANGS_AFTER = 60.0  # seconds that a process may take
FRESH = 0.05  # of the processes are new interpreters
GAVE_UP = 3  # exit code of a process that has met a disk that fails
REOPENED = "reopened in the same process"
KINDS = ("instant", "instant", "fsync", "entry")


class MachineClock(VirtualClock):
    """A virtual clock that outlives the process, as that of a machine does."""

    def __init__(self, path):
        kept = path.read_bytes() if path.exists() else b""
        super().__init__(struct.unpack("d", kept)[0] if kept else START, patience=0.01)
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT)

    def pause(self, *args, **kwargs):
        super().pause(*args, **kwargs)
        os.pwrite(self.file, struct.pack("d", self.time), 0)


# ---------------------------------------------------------------- what is run


def shape_of(seed, number):
    """Give the number-th program of a seed."""
    chance = random.Random(f"{seed} {number}")
    names = [chance.choice(list(PARTS)) for _ in range(chance.randint(1, 5))]
    return {
        "parts": [(f"{name}{n}", name, PARTS[name].draw(chance)) for n, name in enumerate(names)],
        "clock": chance.choice(["virtual", "virtual", "system"]),
        "durability": chance.choice(["full", "full", "os"]),
        "faults": chance.random() < 0.35,
        "reopens": chance.random() < 0.3,
        "packs": chance.random() < 0.2,
        "resident": chance.choice([None, None, 1, 5]),
        "checkpoints": chance.choice([16 << 10, 16 << 10, 2000, -(1 << 30)]),
    }


def fate_of(chance, shape, killed):
    """Draw what happens to a process."""
    if killed >= MOST_KILLS:
        return {"kind": "", "fresh": False}
    fate = {"kind": chance.choice(KINDS), "after": chance.random() < 0.5, "fresh": chance.random() < FRESH}
    fate["number"] = chance.randint(1, chance.choice([3, 20]))
    fate["seconds"] = chance.uniform(0, chance.choice([0.05, 0.3]))
    fate["hash seed"] = chance.randrange(1000)
    if shape["faults"] and chance.random() < 0.6:
        fate["fault"] = {
            "at": chance.randint(1, chance.choice([6, 60])),
            "for_ever": chance.random() < 0.3,
            "partial": chance.random() < 0.5,
        }
        if chance.random() < 0.7:
            fate["kind"] = ""
    fate["again"] = [chance.uniform(0, 0.1) for _ in range(3)] if shape["reopens"] and chance.random() < 0.5 else []
    fate["pack"] = shape["packs"] and chance.random() < 0.3
    return fate


class Death:
    """Ends the process before or after the n-th time that something happens."""

    def __init__(self, fate):
        self.fate, self.counts, self.lock = fate, Counter(), threading.Lock()
        fsync = os.fsync

        def syncing(descriptor):
            self.happens("fsync", False)
            fsync(descriptor)
            self.happens("fsync", True)

        os.fsync = syncing
        soak_programs.before_entry = lambda: self.happens("entry", False)
        soak_programs.after_entry = lambda: self.happens("entry", True)

    def happens(self, kind, after):
        with self.lock:  # steps are in threads
            self.counts[kind, after] += 1
            count = self.counts[kind, after]
        if (kind, after, count) == (self.fate["kind"], self.fate["after"], self.fate["number"]):
            os.kill(os.getpid(), signal.SIGKILL)


# ---------------------------------------------------------------- in the process that may die


class Life:
    """A process of a program."""

    def __init__(self, folder, shape, fate):
        self.folder, self.shape, self.fate = Path(folder), shape, fate
        self.store, self.sent = self.folder / "store", self.folder / "sent"
        self.virtual = shape["clock"] == "virtual"
        self.options = {"durability": shape["durability"], "resident": shape["resident"]}
        filecheckpoint.GROWN = shape["checkpoints"]
        self.log = []
        self.stopped = False
        soak_programs.ledger_path = str(self.folder / "ledger")
        soak_programs.pace = 1.0 if self.virtual else 0.02

    def live(self):
        """To the end, which leaves ``done``, or to the death; what is wrong is in ``wrong``.  Gives the exit code."""
        try:
            with open(self.folder / "hangs", "w") as hangs:
                faulthandler.enable(hangs)  # for the SIGABRT of the parent; its watchdog thread would not be there
                code = self.guarded()
                faulthandler.disable()
        except BaseException:
            (self.folder / "wrong").write_text(traceback.format_exc() + "\n".join(self.log))
            return 1
        return code

    def guarded(self):
        handler = logging.Handler(logging.WARNING)
        handler.emit = lambda record: self.log.append(f"{record.name}: {logging.Formatter().format(record)}")
        logging.getLogger().addHandler(handler)
        warnings.simplefilter("error")
        sys.unraisablehook = lambda raised: self.log.append(
            "unraisable: " + "".join(traceback.format_exception(raised.exc_value)) + f" in {raised.object!r}"
        )
        threading.excepthook = lambda raised: self.log.append(
            "in a thread: " + "".join(traceback.format_exception(raised.exc_value))
        )
        if self.fate["kind"]:
            Death(self.fate)
        self.store.mkdir(exist_ok=True)
        given = self.fate.get("fault")
        self.faults = Faults(self.store, **given) if given else None
        with self.faults or contextlib.nullcontext():
            code = self.opened_again_and_again()
        gc.collect()
        if self.hit:
            self.note(f"faults at {self.faults.hit.split()[0]}")
        # What stores say of a disk that fails, and what `transaction` says of the first commit, that makes the store.
        in_doubt = f"txn.{threading.get_ident()}: A storage error occurred during the second phase"
        allowed = ("pstore.store:", in_doubt) if self.hit else ()
        told = [text for text in self.log if not text.startswith(allowed)]
        if told:
            raise AssertionError("it was logged: " + "\n".join(told))
        if code == 0:
            self.look_at_the_past()
            (self.folder / "done").write_text("done")
        return code

    def note(self, event):
        """Count something; for whoever reads the report."""
        with open(self.folder / "events", "a") as file:
            file.write(f"{event}\n")

    @property
    def hit(self):
        return self.faults is not None and bool(self.faults.hit)

    def opened_again_and_again(self):
        again = list(self.fate.get("again", ()))
        while True:
            try:
                clock = MachineClock(self.folder / "clock") if self.virtual else None
                engine = pstore.open(self.store / "store.fs", clock=clock, **self.options)
            except (StoreError, OSError):
                if not self.hit:
                    raise
                return GAVE_UP
            try:
                (self.folder / "opened").touch()
                timer = self.stopped_after(engine, again.pop()) if again else None
                if self.work(engine):
                    return 0
                self.note(REOPENED)
            except StoreInDoubt:
                if not self.hit:
                    raise
                self.is_in_doubt(engine)
                return GAVE_UP
            except StoreNotWritten:
                if not self.hit:
                    raise
                return GAVE_UP
            finally:
                if timer is not None:
                    timer.cancel()
                    timer.join()
                engine.close()

    def stopped_after(self, engine, seconds):
        def stop():
            self.stopped = True
            engine.stop()

        self.stopped = False
        timer = threading.Timer(seconds, stop)
        timer.start()
        return timer

    def is_in_doubt(self, engine):
        self.note("in doubt")
        for call in (engine.run, engine.commit):
            try:
                call()
            except StoreError:
                continue
            raise AssertionError("an engine whose last commit is in doubt went on")

    def work(self, engine):
        """Run the program: to its end, or to where the engine was stopped; tells whether it ended."""
        tries = 0
        while True:
            try:
                return self.run_through(engine)
            except StoreNotWritten:
                tries += 1
                if not self.hit or tries > 3:
                    raise
                self.note("went on after a commit that failed")
                self.check(engine.root)  # nothing was lost in memory, and it goes on from there

    def run_through(self, engine):
        self.check(engine.root)
        for name, kind, plan in self.shape["parts"]:
            part = PARTS[kind]
            if name not in engine.root:
                engine.root[name] = part.state(plan)
            engine.spawn_once(name, part.run, name, plan, engine.root[name])
        if self.fate.get("pack"):
            self.pack(engine)
        while True:
            sent = self.send(engine)
            waiting = engine.run()
            self.check(engine.root)
            if not waiting:
                break
            if self.stopped:
                return False
            if not sent and not self.unsent(engine):
                raise AssertionError(f"these wait for ever: {waiting}")
        self.check_end(engine)
        return True

    def pack(self, engine):
        try:
            engine.store.pack()
        except StoreError:  # it is as it was
            if not self.hit:
                raise
        else:
            self.note("packed")

    # -- messages

    def mail(self):
        return [(name, plan) for name, kind, plan in self.shape["parts"] if kind == "mail"]

    def acknowledged(self):
        return set(self.sent.read_text().splitlines()) if self.sent.exists() else set()

    def unsent(self, engine):
        known = self.acknowledged()
        return [
            (name, message)
            for name, plan in self.mail()
            for message in range(plan["messages"])
            if f"{name} {message}" not in known
        ]

    def send(self, engine):
        """Send the next two messages; tells how many."""
        sending = self.unsent(engine)[:2]
        if not sending:
            return 0
        for name, message in sending:
            Mail.receive(engine.root[name], message)
        engine.commit()
        with open(self.sent, "a") as file:
            file.writelines(f"{name} {message}\n" for name, message in sending)
        return len(sending)

    # -- what has to hold

    def check(self, root):
        for name, kind, plan in self.shape["parts"]:
            if name in root:
                try:
                    PARTS[kind].check(plan, root[name])
                except AssertionError as error:
                    error.add_note(f"of {name}: {plan}, {root[name]}")
                    raise

    def check_end(self, engine):
        for name, kind, plan in self.shape["parts"]:
            try:
                PARTS[kind].over(plan, engine.root[name], engine.tasks[name].result())
            except BaseException as error:
                error.add_note(f"of {name}: {plan}, {engine.root[name]}")
                raise

    def look_at_the_past(self):
        """Look at some of the states that were ever committed."""
        chance = random.Random(str(self.fate))
        with pstore.Store(self.store / "store.fs", read_only=True) as store:
            self.check(store.root)
            past = store.history()
            for transaction in chance.sample(past, min(20, len(past))):
                with store.at(transaction.tid) as then:
                    self.check(then.root)


# ---------------------------------------------------------------- around it


def start(folder, shape, fate):
    """Start a process; gives its id."""
    if fate["fresh"]:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        env["PYTHONHASHSEED"] = str(fate["hash seed"])
        command = [sys.executable, "-m", "tests.engine.soak", "--live", str(folder), json.dumps([shape, fate])]
        return os.posix_spawn(sys.executable, command, env)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.15 on the watchdog of faulthandler is a thread, too
        pid = os.fork()
    if not pid:
        code = 1
        try:
            code = Life(folder, shape, fate).live()
        finally:
            os._exit(code)
    return pid


def outcome_of(pid, fate):
    """Wait for a process, and kill it when its instant has come, or when it hangs; gives its exit code."""
    if fate["kind"] == "instant":
        most, how = fate["seconds"] + (0.3 if fate["fresh"] else 0), signal.SIGKILL
    else:
        most, how = HANGS_AFTER, signal.SIGABRT
    instant = time.monotonic() + most
    while time.monotonic() < instant:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(min(0.005, max(0, instant - time.monotonic())))
    os.kill(pid, how)  # it was not waited for, so the id is still its own
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Wrong(Exception):
    """Something does not hold."""


def torment(folder, seed, number):
    """Run one program to its end; gives what was counted.  Raises Wrong."""
    shape, counts = json.loads(json.dumps(shape_of(seed, number))), Counter(programs=1)
    chance = random.Random(f"fates {seed} {number}")
    killed = 0
    while not (folder / "done").exists():
        fate = fate_of(chance, shape, killed)
        (folder / "opened").unlink(missing_ok=True)
        pid = start(folder, shape, fate)
        code = outcome_of(pid, fate)
        counts["processes"] += 1
        counts["opened"] += (folder / "opened").exists()
        if code == -signal.SIGKILL:
            killed += 1
            counts[f"killed at {fate['kind']}"] += 1
        elif code == GAVE_UP:
            counts["gave up"] += 1
            killed += 1
        if (folder / "wrong").exists():
            raise Wrong(f"{(folder / 'wrong').read_text()}\nin a process with {fate}")
        if code not in (0, GAVE_UP, -signal.SIGKILL):
            hangs = folder / "hangs"
            raise Wrong(f"exit code {code} in a process with {fate}\n{hangs.read_text() if hangs.exists() else ''}")
    counts.update(events_of(folder))
    counts.update(check_ledger(folder, shape))
    return counts


def events_of(folder):
    return (folder / "events").read_text().splitlines() if (folder / "events").exists() else []


def check_ledger(folder, shape):
    """Look at the world outside; gives what was counted.  Raises Wrong."""
    found = soak_programs.entries(folder / "ledger")
    parts = [(PARTS[kind], name, plan) for name, kind, plan in shape["parts"]]
    chains = [chain for part, name, plan in parts for chain in part.chains(name, plan)]
    wanted = {entry for chain in chains for entry in chain}
    perhaps = {entry for part, name, plan in parts for entry in part.perhaps(name, plan)}
    there = {entry for _, entry in found}
    if missing := wanted - there:
        raise Wrong(f"the ledger lacks {sorted(missing)}: {found}")
    if more := there - wanted - perhaps:
        raise Wrong(f"the ledger has {sorted(more)}: {found}")
    pairs = set(found)
    if not len(pairs) == len({key for key, _ in pairs}) == len(there):
        raise Wrong(f"keys are not stable: {sorted(found)}")
    strict = REOPENED not in events_of(folder)
    for chain in chains:
        order = {entry: n for n, entry in enumerate(chain)}
        places = [order[entry] for _, entry in found if entry in order]
        firsts = list(dict.fromkeys(places))
        if firsts != sorted(firsts) or (strict and places != sorted(places)):
            raise Wrong(f"{[chain[place] for place in places]} is in the ledger, in this order; wanted {chain}")
    return Counter(entries=len(there), repeated=len(found) - len(pairs))


def soak(seed, seconds=None, count=None, first=0, keep=False, tell=print):
    """Run programs for so many seconds, or so many of them; gives what was counted, and what was wrong."""
    begin, counts, wrong, number = time.monotonic(), Counter(), [], first
    while (seconds is None or time.monotonic() - begin < seconds) and (count is None or number < first + count):
        folder = Path(tempfile.mkdtemp(prefix="soak-"))
        try:
            counts.update(torment(folder, seed, number))
        except Wrong as error:
            command = f"python -m tests.engine.soak --seed {seed} --program {number}"
            kept = f"its files are in {folder}\n" if keep else ""
            wrong.append(f"!!!!! program {number} of seed {seed}:\n{error}\n{kept}again: {command}\n")
            tell(wrong[-1])
            if keep:
                folder = None
        finally:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
        number += 1
    return counts, wrong


def main():
    if sys.argv[1:2] == ["--live"]:
        return Life(sys.argv[2], *json.loads(sys.argv[3])).live()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, help="how long; 60 if nothing else is said")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("PSTORE_SEED", "4")))
    parser.add_argument("--program", type=int, default=0, help="the first; alone, if there are no --seconds or --count")
    parser.add_argument("--count", type=int, help="how many programs")
    parser.add_argument("--keep", action="store_true", help="keep the files of what went wrong")
    given = parser.parse_args()
    seconds, count = given.seconds, given.count
    if seconds is None and count is None:
        seconds, count = (None, 1) if "--program" in sys.argv else (60, None)
    begin = time.monotonic()
    counts, wrong = soak(given.seed, seconds, count, given.program, given.keep, lambda text: print(text, flush=True))
    version = sys.version.split()[0]
    print(f"seed {given.seed}, {version}, {time.monotonic() - begin:.0f} s:", dict(counts), f"wrong: {len(wrong)}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
