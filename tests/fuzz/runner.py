"""One program in every mode, each compared with the uninterrupted run.

    plain       uninterrupted, twice: the generator's own soundness
    every       dumped and loaded before the start and at every suspension; the copy goes on, the original never does
    orig        dumped and loaded at every suspension, the original goes on: capture does not disturb; the copy is
                looked at: state, line, names, locals and what is awaited are as in the original
    once K      dumped and loaded at suspension K alone
    throw K     at suspension K dumped, loaded, Ping thrown in; then at every suspension
    close K     at suspension K dumped, loaded, closed
    fresh K     dumped at K; a fresh process under another hash seed goes on with send, throw or close (see fresh)

Compared: emits, yields, the result or the exception with args, notes, chain and its traceback's (function, line) pairs.
Originals are kept until the run is over and then abandoned, so that none of their code ever runs.
"""

import gc
import importlib
import os
import pickle
import random
import sys
import warnings

from . import features, kit
from .portrait import differences, portrait

STEPS = 40  # suspensions after which a program is left alone
MADE = {}  # number -> namespace, of programs without a module


class Adapter:
    """dumps and loads under test."""

    def dumps(self, root):
        raise NotImplementedError

    def loads(self, data):
        raise NotImplementedError

    abandon = None  # lets graphs go without running what is suspended in them

    def watch(self, run, k):
        """Told before each dump where the run stands."""


class Identity(Adapter):
    """For trying out the harness: the original goes on."""

    def dumps(self, root):
        return root

    loads = dumps


class PStore(Adapter):
    def __init__(self):
        import pstore

        self.dumps, self.loads, self.abandon = pstore.dumps, pstore.loads, pstore.abandon


class Replay(Adapter):
    """Loads by running the program again, muted, up to the same place: shows that programs and harness are sound."""

    folder = None  # in a fresh process: where the programs are

    def watch(self, run, k):
        self.make = run.make
        self.at = run.program, k, run.at, run.action

    def dumps(self, root):
        return pickle.dumps(self.at)

    def loads(self, data):
        program, k, at, action = pickle.loads(data)
        muted, length = kit.mute(), len(kit.TRACE)
        root = install(program, self.folder)() if self.folder else self.make()
        for i in range(-1, k):
            throws = action == "throw" and i == at
            step(root, "throw", kit.Ping("at", i)) if throws else step(root, "send", value_for(program, i))
        del kit.TRACE[length:]
        kit.mute(muted)
        return root


ADAPTERS = {"identity": Identity, "replay": Replay, "pstore": PStore}


class Refused(Exception):
    """The adapter raised."""


# ------------------------------------------------------------------ loading a program


def install(program, folder):
    """Makes the program's module importable; returns the function that makes its root."""
    warnings.simplefilter("ignore")
    sys.dont_write_bytecode = True
    if program.home == "exec":
        space = {"__name__": program.name + "_nowhere"}
        exec(compile(program.source, f"<{program.name}>", "exec"), space)
        return space["main"]
    path = os.path.join(folder, program.name + ".py")
    with open(path, "w", encoding="utf-8") as f:
        f.write(program.source)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()
    module = importlib.import_module(program.name)
    return module.make() if program.home == "nested" else module.main


# ------------------------------------------------------------------ driving


def log(kind, what):
    kit.TRACE.append([kind, what])


def value_for(program, k):
    """What is sent at suspension k (-1: not started)."""
    return None if k < 0 or not program.sends else (k * 7 + 3) % 50


def step(root, how, arg=None):
    """One resumption; true while the root is suspended."""
    try:
        value = root.throw(arg) if how == "throw" else root.send(arg)
    except StopIteration as e:
        log("r", kit.render(e.value))
        return False
    except BaseException as e:
        log("x", kit.render(e))
        return False
    log("y", kit.render(value))
    return True


def close(root):
    try:
        root.close()
    except BaseException as e:
        log("x", kit.render(e))
    else:
        log("c", "closed")


class Run:
    """One drive of a root: `hop(run, root, k)` may replace it at each suspension; at `at` the action is done."""

    def __init__(self, program, make, hop=None, at=None, action="send", look=None):
        self.program, self.make, self.hop, self.at, self.action, self.look = program, make, hop, at, action, look
        self.points = 0

    def trace(self):
        gc.disable()
        kit.mute(False)
        kit.reset()
        try:
            self.go_on(self.make(), -1)
            return list(kit.TRACE)
        finally:
            kit.mute()
            gc.enable()

    def go_on(self, root, k):
        """To the end; muted before the root is let go, which may run what it has left open."""
        self.root = root
        del root
        try:
            self.steps(k)
        finally:
            kit.mute()
            del self.root, kit.LEFT[:]

    def steps(self, k):
        alive = True
        while alive and k < STEPS:
            if self.look is not None and k >= 0:
                self.look(self.root)
            if self.hop is not None:
                self.root = self.hop(self, self.root, k)
            if k == self.at and self.action == "close":
                return close(self.root)
            if k == self.at and self.action == "throw":
                alive = step(self.root, "throw", kit.Ping("at", k))
            else:
                alive = step(self.root, "send", value_for(self.program, k))
            k += 1
            self.points = k
        if alive:
            log("!", "enough")


def fuel_spent(trace):
    return len(trace) >= kit.LIMIT - 2


# ------------------------------------------------------------------ hops


class Hops:
    """Dumps and loads at some suspensions; keeps what has been left behind."""

    def __init__(self, adapter, where=None, go_on_with="copy"):
        self.adapter, self.where, self.go_on_with = adapter, where, go_on_with
        self.left = []

    def __call__(self, run, root, k):
        if self.where is not None and k not in self.where:
            return root
        try:
            self.adapter.watch(run, k)
            data = self.adapter.dumps(root)
        except Exception as e:
            raise Refused(f"dumps: {type(e).__name__}: {e}") from e
        try:
            copy = self.adapter.loads(data)
        except Exception as e:
            raise Refused(f"loads: {type(e).__name__}: {e}") from e
        if self.go_on_with == "original":
            self.left.append(copy)
            if found := differences(portrait(root), portrait(copy)):
                raise Refused("looks different: " + "; ".join(found))
            return root
        self.left.append(root)
        return copy

    def drop(self):
        """Abandons every frame of the originals and drops them: returns what was emitted meanwhile."""
        if self.adapter.abandon is None:
            del self.left[:]
            return []
        gc.collect()  # what earlier runs have left in cycles
        self.adapter.abandon(*self.left)
        kit.mute(False)
        kit.reset()
        del self.left[:]
        gc.collect()
        kit.mute()
        return list(kit.TRACE)


# ------------------------------------------------------------------ comparing


def difference(got, want):
    """None, or how the first event that differs does."""
    for i, (a, b) in enumerate(zip(got, want)):
        if a != b:
            return {"kind": f"{a[0]} for {b[0]}" if a[0] != b[0] else f"other {a[0]}", "event": i, "got": a, "want": b}
    if len(got) != len(want):
        i = min(len(got), len(want))
        return {
            "kind": "too short" if i == len(got) else "too long",
            "event": i,
            "got": got[i : i + 1],
            "want": want[i : i + 1],
        }
    return None


class Check:
    """A program against an adapter: `mismatches` is what went wrong, each with mode, at, kind, got, want."""

    def __init__(self, program, adapter, folder, seed=0):
        self.program, self.adapter, self.folder = program, adapter, folder
        self.random = random.Random(f"{seed}/{program.number}")
        self.mismatches, self.points, self.features = [], 0, set()
        self.outcome, self.compared, self.fresh = "", 0, None

    def run(self, modes=("every", "orig", "once", "throw", "close"), throws=2):
        self.make = install(self.program, self.folder)
        looker = features.Looker(self.program)
        plain = Run(self.program, self.make, look=looker.look)
        self.plain = plain.trace()
        self.points, self.features = plain.points, looker.found
        self.outcome = self.plain[-1][0] if self.plain else "?"
        if fuel_spent(self.plain):
            self.outcome = "fuel"
            return self
        self.compare("plain", None, Run(self.program, self.make), self.plain)
        if self.plain[-1][0] not in "rxc!":
            self.mismatches.append(
                {
                    "mode": "plain",
                    "at": None,
                    "kind": "runs after its end",
                    "event": 0,
                    "got": self.plain[-1],
                    "want": "",
                }
            )
        for mode in modes:
            getattr(self, "mode_" + mode)(throws)
        return self

    def compare(self, mode, at, run, want, hops=None):
        self.compared += 1
        try:
            found = difference(run.trace(), want)
        except Refused as e:
            found = {"kind": "refused", "got": str(e), "want": "", "event": len(kit.TRACE)}
        if found:
            self.mismatches.append({"mode": mode, "at": at, **found})
        if hops is not None:
            emitted = hops.drop()
            if emitted:
                self.mismatches.append(
                    {"mode": mode, "at": at, "kind": "ran while dropped", "event": 0, "got": emitted[:3], "want": []}
                )

    def hopping(self, mode, at, where, action="send", want=None, **options):
        hops = Hops(self.adapter, where, **options)
        run = Run(self.program, self.make, hop=hops, at=at, action=action)
        self.compare(mode, at, run, self.plain if want is None else want, hops)

    def some_points(self, count):
        every = range(-1, min(self.points, STEPS - 1))
        return sorted(self.random.sample(every, min(count, len(every))))

    def mode_every(self, count):
        self.hopping("every", None, None)

    def mode_orig(self, count):
        self.hopping("orig", None, None, go_on_with="original")

    def mode_once(self, count):
        for k in self.some_points(count):
            self.hopping("once", k, {k})

    def mode_throw(self, count):
        for k in self.some_points(count):
            want = Run(self.program, self.make, at=k, action="throw").trace()
            if not fuel_spent(want):
                self.hopping("throw", k, set(range(k, STEPS)), "throw", want)

    def mode_close(self, count):
        for k in self.some_points(count):
            want = Run(self.program, self.make, at=k, action="close").trace()
            if not fuel_spent(want):
                self.hopping("close", k, {k}, "close", want)

    def mode_fresh(self, count):
        """Leaves a dump and what is to be seen after it; see fresh.go_on."""
        (k,) = self.some_points(1)
        action = self.random.choice(["send", "throw", "close"])
        want = Run(self.program, self.make, at=k, action=action).trace()
        if fuel_spent(want):
            return
        dump = DumpAt(self.adapter, k)
        try:
            Run(self.program, self.make, hop=dump).trace()
        except Reached:
            self.fresh = {"at": k, "action": action, "data": dump.data, "prefix": dump.prefix, "want": want}
        except Refused as e:
            self.mismatches.append({"mode": "fresh", "at": k, "kind": "refused", "got": str(e), "want": "", "event": 0})


class Reached(BaseException):
    """The place of the dump."""


class DumpAt:
    def __init__(self, adapter, at):
        self.adapter, self.at = adapter, at

    def __call__(self, run, root, k):
        if k != self.at:
            return root
        self.prefix = list(kit.TRACE)
        kit.mute()
        try:
            self.adapter.watch(run, k)
            self.data = self.adapter.dumps(root)
        except Exception as e:
            raise Refused(f"dumps: {type(e).__name__}: {e}") from e
        raise Reached
