"""The other way to look at a suspended frame: dump it with all that it reaches, load that, compare, and let it go.

``python -m tests.suites --pickled``. The copy cannot take the place of the original, whose values others hold; so the
program goes on with the original. The running test and open text files are referred to instead of stored, or nearly
every frame would be refused for them; other things that are not for storing (running frames, locks, sockets) are refused,
which is right: refusals are counted by reason. Anything else is a problem: an exception that is not a refusal, bytes that
can't be loaded, a copy of another shape or with values of other types, and tests that no longer pass. Dumping may run the
pickling methods of the values (``__reduce__``, ``__getstate__``).
"""

from __future__ import annotations

import copyreg
import io
import re
import unittest
from collections import Counter
from types import ModuleType
from typing import Any

import pstore
from pstore._frames.access import abandon_one
from pstore.errors import CaptureError
from tests.suites.recapture import Counts, Problem, allowed_difference, code_of, local_slots

ALL_WITHIN_A_TEST = 200     # each frame costs about a millisecond: of the rest of a test one in a hundred is tried
THEN_EVERY = 100


def reason_of(error: CaptureError) -> str:
    """Type and reason of a refusal, without what differs between two of the same kind."""
    text = f"{getattr(error, 'type_name', '')}: {getattr(error, 'reason', error)}"
    text = re.sub(r"[\w.<>]+\(\) at [^:]*:\d+|[\w.<>]+\(\)", "...()", text)
    return re.sub(r"0x[0-9a-f]+|\d+|'[^']*'", "...", text)[:160]


def comparable(value: object) -> object:
    """What the same slot of the copy must have in common with it."""
    return value if type(value) in (int, str, bytes, float, bool, type(None)) else type(value).__qualname__


def alike(gen: Any, slot: int, before: object, after: object) -> bool:
    """Whether a slot of the copy holds what it should."""
    on_stack = slot >= local_slots(code_of(gen))
    stands_in = type(after).__module__.startswith("pstore.")    # for an iterator that cannot be made at its position
    return comparable(before) == comparable(after) or stands_in or (on_stack and allowed_difference(before, after))


_live: dict[int, Any] = {}


def live(key: int) -> Any:
    """The object that was referred to."""
    return _live[key]


def refer(obj: Any, protocol: int = 0) -> tuple[Any, ...]:
    """A reducer which refers to the object itself, in this process."""
    _live[id(obj)] = obj
    return live, (id(obj),)


def refer_to_tests_and_files() -> None:
    """Let running tests, their results and open text files be referred to."""
    setattr(unittest.TestCase, "__reduce_ex__", refer)      # noqa: B010 - a method that the type checker can't know
    setattr(unittest.TestResult, "__reduce_ex__", refer)    # noqa: B010
    copyreg.pickle(io.TextIOWrapper, refer)


class Pickler:
    """The callback of the hook; counts what it does until ``take`` is called."""

    def __init__(self, extension: ModuleType) -> None:
        refer_to_tests_and_files()
        self._extension = extension
        self.counts = Counts()
        self.refused: Counter[str] = Counter()
        self.problems: Counter[Problem] = Counter()
        self._seen = 0

    def take(self) -> dict[str, Any]:
        """Counts, refusals and problems since the last call, ready for JSON."""
        problems = [{**vars(problem), "times": n} for problem, n in self.problems.items()]
        taken = {**vars(self.counts), "refused": dict(self.refused), "problems": problems}
        self.counts, self.refused, self.problems, self._seen = Counts(), Counter(), Counter(), 0
        return taken

    def __call__(self, gen: Any, created: bool) -> None:
        self._seen += 1
        if self._seen > ALL_WITHIN_A_TEST and self._seen % THEN_EVERY:
            return
        made: list[Any] = []
        self._extension.collect(made)
        try:
            done = self._there_and_back(gen)
        finally:
            self._extension.collect(None)
            for copy in made:
                abandon_one(copy)
        self.counts.unstarted += done and created
        self.counts.suspended += done and not created

    def _there_and_back(self, gen: Any) -> bool:
        stage = "dump"
        try:
            data = pstore.dumps(gen)
            stage = "load"
            copy = pstore.loads(data)
            stage = "compare"
            rows = self._extension.compare(gen, copy)
            if unlike := [row for row in rows if not alike(gen, *row)]:
                raise ValueError(f"slots {unlike}")
        except CaptureError as error:
            self.refused[reason_of(error)] += 1
            return False
        except Exception as error:      # noqa: BLE001 - whatever it is, the running test must not see it
            self.problems[Problem.of(stage, gen, f"{type(error).__name__}: {error}")] += 1
            return False
        return True
