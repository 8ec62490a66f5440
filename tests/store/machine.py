"""A state machine over a store: random changes of random graphs, persisted, aborted, reopened, in any order.

Owns :class:`Machine` and its rules; `ops` says what is done to graphs, `portrait` when two are the same.  It holds:

- persisting does not change the live graph, and writes nothing a second time;
- `abort` and reopening give the graph of the last persist, identity included;
- what has been loaded goes on as what had been stored does: after reopening, the same further changes (frames resumed,
  iterators advanced, functions called) are made to the old live graph and to the new one, which must stay the same;
- a refused persist changes nothing.

The graphs are looked at in one of two ways, drawn at the beginning: so that everything is seen, or so that nothing is
disturbed until the store is closed (`Portrait`, `light`): looking makes CPython build the ``__dict__`` of instances.

For long runs::

    python -m tests.store.machine --examples 2000 --steps 60 --seed 7 [--json FILE] [--lenient] [--shrink]
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import gc
import itertools
import json
import shutil
import sys
import tempfile
import threading
import time
import traceback
import warnings
import weakref
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from pstore import Store
from pstore._store import cutting
from pstore.errors import CaptureError
from tests.store.features import INCREMENTAL, has
from tests.store.ops import CHANGES, KINDS, Hand, change, create
from tests.store.portrait import FRAMES, Portrait, difference

__all__ = ["COUNTS", "SETTINGS", "Machine"]

SETTINGS = settings(
    derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=False
)
COUNTS: collections.Counter[str] = collections.Counter()
MOST = 250  # objects; no more are made then

numbers = st.integers(0, 999)
a_create = st.tuples(st.just("create"), st.sampled_from(sorted(KINDS)), numbers, numbers, numbers)
a_change = st.tuples(st.just("change"), st.sampled_from(sorted(CHANGES)), numbers, numbers, numbers, numbers)
moves = st.lists(st.one_of(a_create, a_change, a_change), min_size=1, max_size=8)


class Machine(RuleBasedStateMachine):
    """See the module.

    Attributes:
        strict: a persist may not write what has not changed; to look past that for graver things, switch it off.
    """

    strict = True

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="pstore-"))
        self.path = self.folder / "graph.fs"
        self.store = Store(self.path)
        self.tags = itertools.count(1000)
        self.light = self.failed = False
        self.saved = self.seen()
        self.caught = warnings.catch_warnings()
        self.caught.__enter__()
        warnings.simplefilter("ignore", RuntimeWarning)  # coroutines that are dropped before they end

    @initialize(light=st.booleans())
    def begin(self, light: bool) -> None:
        """Draw the way in which the graphs are looked at."""
        self.light = light
        self.saved = self.seen()
        COUNTS["examples"] += 1

    def teardown(self) -> None:
        """Every run that went well ends with a last look at what a new process would find."""
        try:
            if not self.failed:
                self.reopen([])
        finally:
            with contextlib.suppress(Exception):
                self.store.close()
            self.caught.__exit__(None, None, None)
            shutil.rmtree(self.folder, ignore_errors=True)

    # ------------------------------------------------------------ helpers

    def seen(self, root: object = None) -> Portrait:
        """A portrait of the live graph, which does not keep it alive."""
        portrait = Portrait(self.store.root if root is None else root, light=self.light)
        self.living = [_living(obj) for obj in portrait.objects if isinstance(obj, MORTAL)]
        portrait.objects = []
        return portrait

    def same(self, expected: Portrait, found: Portrait, what: str) -> None:
        """The two are the same graph."""
        problem = difference(expected, found)
        self.sure(problem is None, f"{what}: {problem}")

    def sure(self, condition: bool, what: str) -> None:
        """Fail with `what` unless the condition holds."""
        if not condition:
            self.failed = True
            raise AssertionError(what)

    def move(self, step: tuple, *roots: dict) -> None:
        """Do the same to one graph, or to two that are the same."""
        tag, (what, *numbers_) = next(self.tags), step
        for root in roots:
            hand = Hand(root, Portrait(root, light=self.light and len(roots) == 1), tag)
            if what == "change":
                change(hand, *numbers_)
            elif len(hand.objects) < MOST:
                create(hand, *numbers_)
        COUNTS[what] += 1

    # ------------------------------------------------------------ rules

    @rule(step=a_create)
    def create(self, step: tuple) -> None:
        """Make an object of any kind, put it anywhere."""
        self.move(step, self.store.root)

    @rule(steps=moves)
    def change(self, steps: list[tuple]) -> None:
        """Change objects in any way."""
        for step in steps:
            self.move(step, self.store.root)

    @rule(steps=moves)
    def change_and_persist(self, steps: list[tuple]) -> None:
        """The more frequent."""
        for step in steps:
            self.move(step, self.store.root)
        self.persist(None)

    @rule(note=st.sampled_from([None, "a note"]))
    def persist(self, note: str | None) -> None:
        """Persist, and see that the live graph is as it was."""
        before, tid = self.seen(), self.store.tid
        living = self.living
        returned = self.store.persist(note)
        assert returned == self.store.tid
        after = self.seen()
        if difference(before, after) is not None or self.living != living:
            # what the program has dropped was let go of: a frame closed those that it was waiting for, or a weak
            # reference lost what it referred to.  That is a change, which the next persist writes: once
            living = self.living
            self.store.persist()
            again = self.seen()
            self.same(after, again, "persisting changed the live graph")
            self.sure(self.living == living, "persisting again let go of more")
        self.sure(returned > tid or before == self.saved, "changes were not written")
        self.saved = after
        COUNTS["persist"] += 1

    @rule(looked=st.booleans())
    def persist_twice(self, looked: bool) -> None:
        """The second time nothing has changed, also when the graph was looked at meanwhile."""
        self.persist(None)
        tid = self.store.tid
        if looked:
            self.seen()
        gc.collect()
        written = self.store.persist() != tid
        self.sure(not (written and self.strict), "written although nothing has changed")
        COUNTS["persist again"] += 1

    @rule(how=st.sampled_from(["persist first", "abort", "lose"]))
    def go_back(self, how: str) -> None:
        """One rule, so that it is not chosen too often: graphs would stay small."""
        if how == "lose":
            self.lose()
        else:
            if how == "persist first":
                self.persist(None)
            self.abort()

    def abort(self) -> None:
        """Go back to the last persist, in new objects."""
        old = self.store.root
        self.store.abort()
        assert self.store.root is not old
        self.same(self.saved, self.seen(), "after abort")
        COUNTS["abort"] += 1

    def lose(self) -> None:
        """Close without a persist."""
        self.store.close()
        self.store = Store(self.path)
        self.same(self.saved, self.seen(), "after closing without persist")
        COUNTS["lose"] += 1

    @rule(further=moves)
    def reopen(self, further: list[tuple]) -> None:
        """Persist, open again; then do the same further to the old graph and the new one."""
        self.persist(None)
        old = self.store.root
        self.store.close()
        self.store = Store(self.path)
        new = self.store.root
        self.same(Portrait(old), Portrait(new), "after reopening")
        self.saved = self.seen()
        if INCREMENTAL:
            tid, living = self.store.tid, self.living
            written = self.store.persist() != tid
            self.sure(not (written and self.strict), "written although nothing has changed since it was opened")
            self.seen()
            if self.living != living:  # what nothing but weak references led to has ended; of a closed store, nothing does
                return
        for step in further:
            self.move(step, old, new)
            self.same(Portrait(old), Portrait(new), f"after {step} on what was stored and what was loaded")
        COUNTS["reopen"] += 1

    @rule(step=a_create, n=numbers)
    def refused(self, step: tuple, n: int) -> None:
        """A persist of what cannot be stored changes nothing, neither here nor in the file."""
        self.move(step, self.store.root)
        portrait = Portrait(self.store.root, light=self.light)
        lists = [obj for obj in Hand(self.store.root, portrait, 0).objects if type(obj) is list]
        place = lists[n % len(lists)] if lists else self.store.root.setdefault("bad", [])
        del portrait, lists
        place.append(threading.Lock())
        before, tid = self.seen(), self.store.tid
        with pytest.raises(CaptureError):
            self.store.persist()
        assert self.store.tid == tid
        self.same(before, self.seen(), "a refused persist changed the live graph")
        place.pop()
        COUNTS["refused"] += 1

    @rule()
    def collect(self) -> None:
        """Let go of what is unlinked."""
        gc.collect()

    @precondition(lambda self: has("pack"))
    @rule()
    def pack(self) -> None:
        """Packing changes nothing that can be seen."""
        before = self.seen()
        self.store.pack()
        self.same(before, self.seen(), "packing changed the live graph")
        COUNTS["pack"] += 1


WEAK = (weakref.WeakSet, weakref.WeakKeyDictionary, weakref.WeakValueDictionary)
MORTAL = (weakref.ref, *WEAK, *FRAMES)


def _living(obj: Any) -> Any:
    """What of an object changes when something else ends, and light portraits do not see."""
    if isinstance(obj, weakref.ref):
        return obj() is not None
    return len(obj) if isinstance(obj, WEAK) else getattr(obj, FRAMES[type(obj)] + "_suspended", None)


def main(arguments: list[str] | None = None) -> int:
    """Run as many examples as asked for; says what was done, and how to have it again."""
    parser = argparse.ArgumentParser(prog="python -m tests.store.machine", description=__doc__.split("\n")[0])
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nodes", type=int, help="objects in a record at most: few multiply what crosses from one to another")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--shrink", action="store_true", help="look for a smaller run that fails (takes minutes)")
    parser.add_argument("--lenient", action="store_true", help="a persist may write what has not changed")
    asked = parser.parse_args(arguments)
    Machine.strict = not asked.lenient
    if asked.nodes:
        cutting._NODES = asked.nodes
    COUNTS.clear()
    start, failure = time.perf_counter(), None
    chosen = settings(
        SETTINGS,
        derandomize=False,
        max_examples=asked.examples,
        stateful_step_count=asked.steps,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink] if asked.shrink else [Phase.generate],
    )
    try:
        run_state_machine_as_test(hypothesis.seed(asked.seed)(Machine), settings=chosen)
    except Exception as error:
        failure = "".join(traceback.format_exception(error))
        sys.stdout.write(failure + "\n")
    result = {
        "python": "{}.{}.{}".format(*sys.version_info),
        "examples": asked.examples,
        "steps": asked.steps,
        "seed": asked.seed,
        "seconds": round(time.perf_counter() - start, 1),
        "counts": dict(sorted(COUNTS.items())),
        "failure": failure,
    }
    sys.stdout.write(json.dumps({key: value for key, value in result.items() if key != "failure"}) + "\n")
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=2) + "\n")
    return failure is not None


if __name__ == "__main__":
    sys.exit(main())
