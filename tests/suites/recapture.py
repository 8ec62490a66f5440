"""How a suspended frame is recaptured in place, without anyone noticing.

A small C extension (``_swap.c``, compiled when the suites are run) installs a frame evaluation function (PEP 523). It
evaluates each frame with the interpreter's own function; when that comes back from the frame of a generator, coroutine
or async generator which is now *suspended*, or from a call which has made a new one, it calls the ``Recapturer`` before
the code that resumed the generator gets to see it. So each single suspension is met, at once and exactly once, also
those that a C function drives (``list(gen)``, ``sum(gen)``, the asyncio C task), and no test's own trace, profile or
monitoring function is in the way.

The ``Recapturer`` lets pstore capture the object and rebuild it as a second, independent one. Everybody holds references
to the original, so instead of replacing the object its *frame* is replaced: ``swap`` exchanges code, function, position,
slots and exception state of the two. The test goes on with the rebuilt frame in the original's shell; the original frame
leaves with the second object, which is abandoned. The swap first checks that both have the same shape: state, number of
locals, depth of the stack, line, globals, builtins, exception being handled, and afterwards that all slots hold the very
same objects, save those that a twin may have in another, equal form (see ``allowed_difference``).

A refused capture, a failed rebuild or a frame of another shape is a ``Problem`` and fails the test in which it happened.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pstore import _frames
from pstore._frames.access import abandon_one

ROUNDS = 2      # the second time what is captured is a frame that has been rebuilt and not run since


def local_slots(code: Any) -> int:
    """How many slots of its frames are variables, before the stack begins."""
    return len(set(code.co_varnames + code.co_cellvars)) + len(code.co_freevars)


@dataclass(frozen=True)
class Problem:
    """A suspension that could not be recaptured."""

    stage: str      # capture, rebuild, swap or compare
    kind: str       # generator, coroutine or async_generator
    frame: str      # qualified name and file:line of its function
    error: str

    @classmethod
    def of(cls, stage: str, gen: Any, error: str) -> Problem:
        """A problem with this frame."""
        code = code_of(gen)
        file = "/".join(Path(code.co_filename).parts[-2:])
        return cls(stage, type(gen).__name__, f"{code.co_qualname} ({file}:{code.co_firstlineno})", error[:2000])


@dataclass
class Counts:
    """How many objects were recaptured in one test, each in all rounds."""

    suspended: int = 0
    unstarted: int = 0


def load_extension(path: Path) -> ModuleType:
    """Import the compiled ``_swap`` module from where it was built."""
    spec = importlib.util.spec_from_file_location("_swap", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


VIRTUAL = (list, tuple, str, bytes)     # what 3.15 iterates without an iterator object


def allowed_difference(before: object, after: object) -> bool:
    """Whether a stack slot may differ: an instruction offset moves with the code of the twin (``lasti`` kept for a
    re-raise), and what 3.15 keeps as (container, index) is equal to (iterator, NULL)."""
    if isinstance(before, int) and isinstance(after, int):
        return True
    if sys.version_info < (3, 15):
        return False
    if isinstance(before, int):
        return type(after) is str and after == "<NULL>"
    return type(before) in VIRTUAL and type(after).__name__.endswith("_iterator")


def code_of(gen: Any) -> Any:
    """The code object of a generator, coroutine or async generator."""
    return gen.gi_code if hasattr(gen, "gi_code") else gen.cr_code if hasattr(gen, "cr_code") else gen.ag_code


class Recapturer:
    """The callback of the hook; counts what it does until ``take`` is called."""

    def __init__(self, swap: Callable[[Any, Any], list[tuple[int, object, object]]]) -> None:
        self._swap = swap
        self.counts = Counts()
        self.problems: dict[Problem, int] = {}

    def take(self) -> dict[str, Any]:
        """Counts and problems since the last call, ready for JSON."""
        taken: dict[str, Any] = dict(vars(self.counts))
        taken["problems"] = [{**vars(problem), "times": n} for problem, n in self.problems.items()]
        self.counts, self.problems = Counts(), {}
        return taken

    def __call__(self, gen: Any, created: bool) -> None:
        _frames.start_of_load()
        try:
            done = all(self._recapture(gen) for _ in range(ROUNDS))
        finally:
            _frames.end_of_load()   # forgets the asend() that drives a rebuilt async generator: the original's goes on
        self.counts.unstarted += done and created
        self.counts.suspended += done and not created

    def _recapture(self, gen: Any) -> bool:
        stage = "capture"
        try:
            state = _frames.capture(gen)
            stage = "rebuild"
            twin = _frames.rebuild(state)
        except Exception as error:      # noqa: BLE001 - whatever it is, the running test must not see it
            self._problem(stage, gen, f"{type(error).__name__}: {error}")
            return False
        try:
            rows = self._swap(gen, twin)
        except ValueError as error:
            self._problem("swap", gen, str(error))
            return False
        finally:
            abandon_one(twin)   # it alone: what it holds lives on
        return self._compare(gen, rows)

    def _compare(self, gen: Any, rows: list[tuple[int, object, object]]) -> bool:
        first = local_slots(code_of(gen))
        for slot, before, after in rows:
            if slot < first or not allowed_difference(before, after):
                where = f"local {slot}" if slot < first else f"stack {slot - first}"
                self._problem("compare", gen, f"{where}: {type(before).__name__} before, {type(after).__name__} after")
                return False
        return True

    def _problem(self, stage: str, gen: Any, error: str) -> None:
        problem = Problem.of(stage, gen, error)
        self.problems[problem] = self.problems.get(problem, 0) + 1
