"""Run programs with a copy of the store at every commit; continue each copy in a process that never saw the start.

    python -m tests.engine.crash asyncio FOLDER [NAME ...]    on asyncio's own loop: FOLDER/NAME/asyncio
    python -m tests.engine.crash record FOLDER [NAME ...]     to the end: FOLDER/NAME/<n>.fs at each commit, FOLDER/NAME/trace
    python -m tests.engine.crash resume FOLDER [NAME ...]     from copies to the end: FOLDER/NAME/<n>.trace, or <n>.error
    python -m tests.engine.crash hop FOLDER [NAME ...]        a new process after each commit: FOLDER/NAME/hop.trace, or hop.error

With PSTORE_TESTS=all from each of the copies, else from a third of them, on the next Python from the next ones.
Each copy, and each hop, runs in a fork of a process that has imported the modules and nothing else.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path

import pstore
from pstore.testing import VirtualClock
from tests.engine import own_loop
from tests.engine.programs import PROGRAMS
from tests.turns import part

START = 1000.0
MOST_HOPS = 200


def run(path, start, name):
    clock = VirtualClock(start)
    with pstore.open(path, clock=clock) as engine:
        out = engine.root.setdefault("out", [])
        task = engine.spawn_once(name, PROGRAMS[name].main, out)
        result = engine.run(task) if task.done() else engine.run(until=task)
        waiting = sorted(task.get_name() for task in engine.run())
        return repr((out, result, waiting, clock.now()))


@contextlib.contextmanager
def after_commits(call):
    """Have ``call(store)`` called after each commit that wrote something."""
    persist = pstore.Store.persist

    def persist_and_call(store, note=None):
        before = store.tid
        tid = persist(store, note)
        if tid != before:
            call(store)
        return tid

    pstore.Store.persist = persist_and_call
    try:
        yield
    finally:
        pstore.Store.persist = persist


def on_asyncio(folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    if PROGRAMS[name].apart is None:
        (folder / "asyncio").write_text(repr(own_loop.run(PROGRAMS[name].main, START, name)))


def record(folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    count = itertools.count()

    def copy(store):
        point = folder / f"{next(count):03}.fs"
        shutil.copy(folder / "live.fs", point)
        point.with_suffix(".time").write_text(repr(store.parts["loop"].time()))

    with after_commits(copy):
        (folder / "trace").write_text(run(folder / "live.fs", START, name))


def in_a_process(path, name):
    """Run the program in `path` in a fork: to the end, or to where it kills itself; writes .trace or .error."""
    pid = os.fork()
    if not pid:
        try:
            text, kind = run(path, float(path.with_suffix(".time").read_text()), name), ".trace"
        except BaseException:
            text, kind = traceback.format_exc(), ".error"
        path.with_suffix(kind).write_text(text)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status not in (0, signal.SIGKILL):
        path.with_suffix(".error").write_text(f"the process ended with status {status}")
    return status == signal.SIGKILL


def resume(folder, name):
    for path in part(sorted(folder.glob("[0-9]*.fs")), 3):
        in_a_process(path, name)


def hop(folder, name):
    path, commits = folder / "hop.fs", itertools.count()

    def die(store):
        if not next(commits):
            return  # the first commit of a process is made before anything runs: the next one is progress
        path.with_suffix(".time").write_text(repr(store.parts["loop"].time()))
        os.kill(os.getpid(), signal.SIGKILL)

    path.with_suffix(".time").write_text(repr(START))
    with after_commits(die):
        for hops in range(1, MOST_HOPS + 1):
            if not in_a_process(path, name):
                path.with_suffix(".count").write_text(str(hops))
                return
    path.with_suffix(".error").write_text(f"not done after {MOST_HOPS} processes")


def main(mode, folder, *names):
    for name in names or PROGRAMS:
        try:
            {"asyncio": on_asyncio, "record": record, "resume": resume, "hop": hop}[mode](Path(folder) / name, name)
        except Exception:
            (Path(folder) / name / f"{mode}.error").write_text(traceback.format_exc())


if __name__ == "__main__":
    main(*sys.argv[1:])
