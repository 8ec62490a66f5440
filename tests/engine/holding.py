"""Run the cases of `held`: up to the await, kill, go on in a fresh process.

    python -m tests.engine.holding make FOLDER [NAME ...]     FOLDER/<name>.fs, killed at the await; <name>.made
    python -m tests.engine.holding resume FOLDER [NAME ...]   goes on from there; <name>.resumed
    python -m tests.engine.holding plain FOLDER [NAME ...]    on asyncio's own loop; <name>.plain

Each case runs in a fork of a process that has imported the modules and nothing else.  What came of it is JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
import warnings
from pathlib import Path

import pstore
from pstore._store.ephemeral import recipes
from pstore.errors import CaptureError, EngineError, StepResultRefused
from pstore.testing import VirtualClock
from tests.engine import held

START, TASK = 1000.0, "case"


class Killing(VirtualClock):
    """Kills the process at the first pause: then all that ran is committed."""

    def __init__(self, start, said, engines):
        super().__init__(start)
        self.said, self.engines = said, engines

    def pause(self, deadline, wait, *, busy):
        if held.CASES[self.said.stem].row.outcome == held.NO_RESULT:
            return super().pause(deadline, wait, busy=busy)
        loop = self.engines[0].store.parts["loop"]
        say(self.said, outcome=held.STEP if loop.outbox.pending else held.KEPT)
        os.kill(os.getpid(), signal.SIGKILL)


def say(path, **what):
    path.write_text(json.dumps(what))


def make(folder, name):
    case, path, said = held.CASES[name], folder / f"{name}.fs", folder / f"{name}.made"
    engines = []
    clock = Killing(START, said, engines)
    with pstore.open(path, clock=clock, durability="os") as engine:
        engines.append(engine)
        task = engine.spawn(case.run, id=TASK)
        engine.commit()
        before = path.read_bytes()
        try:
            engine.run(task)
        except CaptureError as error:
            unchanged = path.read_bytes() == before
            clock.advance(1)
            went_on = engine.run(task) is None and task.done()
            say(said, outcome=held.REFUSED, message=str(error), unchanged=unchanged, went_on=went_on)
        except StepResultRefused as error:
            say(said, outcome=held.NO_RESULT, message=str(error))
        except EngineError as error:
            went_on = engine.run(engine.spawn(held.nap, 0, 1)) == 1 if case.row.outcome == held.NOT_HERE else None
            say(said, outcome=held.NOT_HERE, message=str(error), went_on=went_on)


def resume(folder, name):
    with pstore.open(folder / f"{name}.fs", clock=VirtualClock(START), durability="os") as engine:
        task = engine.tasks[TASK]
        if task.done():
            say(folder / f"{name}.resumed", outcome=held.KEPT, value=repr(task.exception() or task.result()))
            return
        values = task.get_coro().cr_frame.f_locals
        anew = id(values["held"]) in recipes
        del values
        value = repr(engine.run(task))
        say(folder / f"{name}.resumed", outcome=held.ANEW if anew else held.KEPT, value=value)


class OwnLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, with a time that jumps to the next timer."""

    def __init__(self):
        super().__init__()
        self.now, self.look = START, self._selector.select
        self._selector.select = self.jump

    def time(self):
        return self.now

    def jump(self, timeout):
        events = self.look(0)
        self.now += 0 if events else timeout or 0
        return events


def plain(folder, name):
    if held.CASES[name].row.outcome in (held.KEPT, held.NOT_KEPT):
        with asyncio.Runner(loop_factory=OwnLoop) as runner:
            say(folder / f"{name}.plain", value=repr(runner.run(held.CASES[name].run())))


def main(mode, folder, *names):
    warnings.simplefilter("ignore", ResourceWarning)  # processes end in the middle of things
    for name in names or held.CASES:
        pid = os.fork()
        if not pid:
            try:
                signal.alarm(60)
                {"make": make, "resume": resume, "plain": plain}[mode](Path(folder), name)
            except BaseException:
                say(Path(folder) / f"{name}.{mode}-error", error=traceback.format_exc())
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if status not in (0, signal.SIGKILL):
            say(Path(folder) / f"{name}.{mode}-error", error=f"the process ended with status {status}")


if __name__ == "__main__":
    main(*sys.argv[1:])
