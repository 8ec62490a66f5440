"""Run programs with a copy of the store at every commit; continue each copy in a process that never saw the start.

    python crash.py record FOLDER [NAME ...]     run to the end: FOLDER/NAME/<n>.fs at each commit, FOLDER/NAME/trace
    python crash.py resume FOLDER [NAME ...]     from each copy to the end: FOLDER/NAME/<n>.trace, or <n>.error

A resumed copy runs in a fork of a process that has imported the modules and nothing else.
"""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from pathlib import Path

import programs  # crash.py is run as a script, with its folder on the path

import pstore
from pstore.testing import VirtualClock

START = 1000.0


def run(path, start, name):
    clock = VirtualClock(start)
    with pstore.open(path, clock=clock) as engine:
        out = engine.root.setdefault("out", [])
        task = engine.spawn_once(name, programs.PROGRAMS[name], out)
        result = engine.run(task) if task.done() else engine.run(until=task)
        return repr((out, result, engine.run(), clock.now()))


def record(folder, name):
    folder.mkdir(parents=True)
    path = folder / "live.fs"
    persist, count = pstore.Store.persist, 0

    def persist_and_copy(store, note=None):
        nonlocal count
        before = store.tid
        tid = persist(store, note)
        if tid != before:
            loop = store.parts["loop"]
            shutil.copy(path, folder / f"{count:03}.fs")
            (folder / f"{count:03}.time").write_text(repr(loop.time()))
            count += 1
        return tid

    pstore.Store.persist = persist_and_copy
    try:
        (folder / "trace").write_text(run(path, START, name))
    finally:
        pstore.Store.persist = persist


def resume(folder, name):
    for copy in sorted(folder.glob("[0-9]*.fs")):
        pid = os.fork()
        if not pid:
            try:
                text, kind = run(copy, float(copy.with_suffix(".time").read_text()), name), ".trace"
            except BaseException:
                text, kind = traceback.format_exc(), ".error"
            copy.with_suffix(kind).write_text(text)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if status:
            copy.with_suffix(".error").write_text(f"the process ended with status {status}")


def main(mode, folder, *names):
    for name in names or programs.PROGRAMS:
        try:
            (record if mode == "record" else resume)(Path(folder) / name, name)
        except Exception:
            (Path(folder) / name / "000.error").write_text(traceback.format_exc())


if __name__ == "__main__":
    main(*sys.argv[1:])
