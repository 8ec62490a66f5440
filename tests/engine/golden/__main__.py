"""``python -m tests.engine.golden write ENGINE``: write the file of this Python, by the code that is on the path."""

from __future__ import annotations

import difflib
import importlib
import lzma
import shutil
import sys
import tempfile
from pathlib import Path

import pstore
from pstore.testing import VirtualClock
from tests.engine.golden import HERE, basis, end_of

PYTHON = "{}.{}".format(*sys.version_info)
MODULES = {0: "basis", 1: "program", 2: "program", 3: "program"}


class Stopping(VirtualClock):
    """A clock that stops the engine at a moment; it does not wait for steps that are held."""

    def __init__(self, start, end):
        super().__init__(start, patience=0.5)
        self.end, self.engine = end, None

    def pause(self, deadline, wait, *, busy):
        if busy and wait(self.patience):
            return
        if deadline is None or deadline > self.end:
            self.time = self.end
            self.engine.stop()
        else:
            super().pause(deadline, wait, busy=False)


def program_of(engine):
    """The module of the program that an engine has left off."""
    return importlib.import_module(f"tests.engine.golden.{MODULES[engine]}")


def go_on(path, program, start=basis.LEFT_OFF, resident=None):
    """Run the program that is in the store to its end; gives what it has come to."""
    with pstore.open(path, clock=VirtualClock(start), resident=resident) as engine:
        getattr(program, "serve", lambda engine: None)(engine)
        engine.run()
        return described(program.found(engine, engine.root["outs"]))


def described(found):
    """What a program has come to, as text."""
    return "".join(f"{name}: {value!r}\n" for name, value in sorted(found.items()))


def leave_off(path, program):
    """Run the program, and leave it off."""
    basis.held, basis.failing = frozenset(["held"]), frozenset(["failing"])
    clock = Stopping(basis.START, basis.LEFT_OFF)
    try:
        with pstore.open(path, clock=clock) as engine:
            clock.engine = engine
            outs = engine.root["outs"] = {}
            program.begin(engine, outs)
            engine.run()
            program.leave_off(engine, outs)
            engine.commit()
            engine.store.pack()
    finally:
        basis.held = basis.failing = frozenset()
        basis.release.set()


def write(number, folder=HERE):
    """Write the file, and what the program comes to, or compare it; gives the paths."""
    path, end = folder / f"engine-{number}-{PYTHON}.fs.xz", end_of(number, folder)
    if path.exists():
        raise SystemExit(f"{path} is there already, and has to stay as it is")
    program = program_of(number)
    with tempfile.TemporaryDirectory() as temporary:
        live, copy = Path(temporary) / "live.fs", Path(temporary) / "copy.fs"
        leave_off(live, program)
        shutil.copy(live, copy)
        text = go_on(copy, program)
        if end.exists() and end.read_text() != text:
            sys.stdout.writelines(difflib.unified_diff(end.read_text().splitlines(True), text.splitlines(True)))
            raise SystemExit(f"another Python has come to something else: {end}")
        end.write_text(text)
        path.write_bytes(lzma.compress(live.read_bytes(), preset=9 | lzma.PRESET_EXTREME))
    return path, end


if __name__ == "__main__":
    if sys.argv[1:2] != ["write"] or len(sys.argv) != 3:
        raise SystemExit(__doc__)
    for written in write(int(sys.argv[2])):
        print(written, written.stat().st_size, "bytes")
