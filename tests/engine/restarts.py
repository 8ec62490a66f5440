"""Programs, gone at every commit: each state that a run has committed is gone on with in an engine of its own."""

from __future__ import annotations

import itertools
import shutil

import pstore
from pstore._store.records import decode
from pstore.testing import VirtualClock
from tests.engine.crash import after_commits


def record_of(engine, task_id="task"):
    """The body of the record of a task, as it was committed."""
    oid = engine.store._keeper.live.capsules.meet(engine.tasks[task_id])
    return decode(engine.store._keeper._jar.read(oid)[0])[1]


def outcomes(folder, main, *, start=1000.0, patience=None, after=lambda outcome: None):
    """Run ``main()`` to its end, then from a copy of the store at each commit; yields (result, time at the end) of each.

    `after` is told of each before the next begins.
    """
    folder.mkdir(exist_ok=True)
    count, times = itertools.count(), {}

    def copy(store):
        path = folder / f"{next(count):03}.fs"
        shutil.copy(folder / "live.fs", path)
        times[path] = clock.now()

    clock = VirtualClock(start, patience=patience)
    with after_commits(copy):
        yield _run(folder / "live.fs", clock, main)
    for path in sorted(times):
        clock = VirtualClock(times[path], patience=patience)
        yield _run(path, clock, main)


def _run(path, clock, main):
    with pstore.open(path, clock=clock) as engine:
        task = engine.spawn_once("main", main)
        result = engine.run(task)
        engine.run()
        return result, clock.now()


class Gone(BaseException):
    """The process is gone."""


def run_to_the_second_commit(path, clock):
    """Run what is in a store until it has committed twice, and leave it there; tells whether it came to its end."""
    commits = []

    def count(store):
        commits.append(store.tid)
        if len(commits) > 1:
            raise Gone

    with pstore.open(path, clock=clock) as engine, after_commits(count):
        try:
            engine.run()
        except Gone:
            return False
    return True
