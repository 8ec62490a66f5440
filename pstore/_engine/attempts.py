"""`Attempt`: one call of a step's function; what the function may ask of it; the news that come of it.  Never stored.

    made        by the dispatcher, right after the commit that lets it start
    begun       its function is being called: `timeout` and `heartbeat` are counted from here, by the monotonic clock
    given up    nobody wants its result: the step was cancelled, its time is over, or the engine was closed

Rules: an attempt is made in the thread of the engine, and told of what happens in whichever thread its function runs;
what it tells the engine goes through the inbox.  Of what is in the graph it reads the step, and changes nothing.
"""

from __future__ import annotations

import contextvars
import functools
import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from pstore._engine.keys import current_key
from pstore._engine.options import NONE
from pstore._store import graph
from pstore.clock import Clock
from pstore.errors import NotInEngine, StepTimeout

if TYPE_CHECKING:
    from pstore._engine.lines import Line
    from pstore._engine.outbox import Step

__all__ = [
    "Answer",
    "Attempt",
    "Beat",
    "Begun",
    "Moved",
    "News",
    "call_in",
    "heartbeat",
    "heartbeat_details",
    "step_cancelled",
    "step_key",
]

T = TypeVar("T")

# Seconds: details of heartbeats ask for a commit of their own no more often.
BETWEEN_BEATS = 1.0
# Seconds by which an attempt may be given up too early: what is left when floats were added in another order.
CLOSE = 1e-6

_current: contextvars.ContextVar[Attempt] = contextvars.ContextVar("pstore_attempt")


class Attempt:
    """One call of the function of a step.

    Attributes:
        step: the step that it is an attempt of.
        line: the waiting line that counts it as running; None: none does.
        given_up: whether nobody wants the result any more.
        began: monotonic seconds at which its function was called; None: it waits for a thread.
        details: what the last heartbeat told; `unsaved` when the step in the graph does not have it.
    """

    def __init__(self, step: Step, line: Line | None, clock: Clock, inbox: queue.SimpleQueue[Any]) -> None:
        self.step, self.line = step, line
        self.given_up = False
        self._told_so: threading.Event | None = None  # made for who waits for it
        self.began: float | None = None
        self.details: Any = None
        self.unsaved = False
        self._options = step.options or NONE
        self._clock, self._inbox = clock, inbox
        self._beaten = 0.0
        self._told: float | None = None

    def give_up(self) -> None:
        """Note that nobody wants the result any more; from any thread."""
        self.given_up = True
        if self._told_so is not None:
            self._told_so.set()

    def wait_given_up(self, seconds: float) -> bool:
        """Wait at most so long for being given up; tells whether that is so.  In the thread of the function."""
        told = self._told_so = threading.Event()
        return self.given_up or told.wait(seconds)

    def begin(self) -> None:
        """Note that the function is called now; in its thread."""
        self.began = self._beaten = self._clock.monotonic()
        if self._options.timeout is not None or self._options.heartbeat is not None:
            self._inbox.put(Begun(self))

    def end(self) -> float:
        """Give the monotonic seconds at which one that is timed, and has begun, is to be given up, as it stands now."""
        return min(end for end, _ in self._ends())

    def overdue(self) -> StepTimeout | None:
        """Give the error of an attempt whose time is over."""
        now = self._clock.monotonic()
        for end, kind in self._ends():
            if end - now <= CLOSE:
                return StepTimeout(self.step.title, kind, float(getattr(self._options, kind)), self.step.last)
        return None

    def _ends(self) -> list[tuple[float, str]]:
        assert self.began is not None
        starts = {"timeout": self.began, "heartbeat": self._beaten}
        spans = ((kind, getattr(self._options, kind)) for kind in starts)
        return [(starts[kind] + span, kind) for kind, span in spans if span is not None]

    def beat(self, details: Any) -> None:
        """Note a heartbeat; from the thread of the function."""
        now = self._beaten = self._clock.monotonic()
        if details is None:
            return
        # A copy: the function may go on to change what it has told while the engine stores it.
        self.details, self.unsaved = graph.loads(graph.dumps(details)), True
        if self._told is None or now - self._told >= BETWEEN_BEATS:
            self._told = now
            self._inbox.put(Beat(self))

    def save(self) -> None:
        """Put what the last heartbeat told into the step in the graph; in the thread of the engine."""
        if self.unsaved:
            self.unsaved = False
            self.step.details = self.details
            self.step.touch()


class News:
    """What attempts tell the engine, through the inbox."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt


class Answer(News):
    """What an attempt gave: a value, or an error."""

    def __init__(self, attempt: Attempt, value: Any, error: BaseException | None) -> None:
        super().__init__(attempt)
        self.value, self.error = value, error


class Begun(News):
    """An attempt that may be given up for taking too long has begun."""


class Beat(News):
    """A heartbeat had details, which are to be committed."""


class Moved(News):
    """A function in a thread has given a coroutine, which goes on elsewhere: the thread is free."""


def call_in(attempt: Attempt, call: functools.partial[T]) -> T:
    """Begin the attempt, in the present context."""
    _current.set(attempt)
    attempt.begin()
    return call()


def _running(asked_for: str) -> Attempt:
    attempt = _current.get(None)
    if attempt is None:
        raise NotInEngine(f"{asked_for} was called outside a step; call it in a function given to pstore.step()")
    return attempt


# -- what the function of a step may ask


def step_key() -> str:
    """Give the idempotency key of the step that is running: pass it to a service that drops repeated requests.

    The same at every attempt and after every restart.  It is the ``key=`` that the step was given; without one no
    other step, of this or another store, has it.

    Raises:
        NotInEngine: called outside a step.
    """
    own = _running("pstore.step_key()").step.key
    return current_key.get(own)  # of a letter, if this delivers one


def step_cancelled(wait: float = 0.0) -> bool:
    """Tell whether nobody wants the result of the step that is running any more.

    That is so when the task that awaited it was cancelled, when the ``timeout`` or ``heartbeat`` of this attempt is
    over, or when the engine was closed (the next process will start the step again).  A coroutine function need not
    ask, it gets CancelledError (not when the engine is closed: it goes on to its end).  A function in a thread cannot
    be broken into: one that takes long should ask now and then, and return::

        while not pstore.step_cancelled(wait=5):
            poll()

    Args:
        wait: seconds to wait for it; blocks, so for functions in threads only.

    Raises:
        NotInEngine: called outside a step.
    """
    attempt = _running("pstore.step_cancelled()")
    return attempt.wait_given_up(wait) if wait > 0 else attempt.given_up


def heartbeat(details: Any = None) -> None:
    """Say that the step that is running is alive, and how far it has come; costs microseconds.

    With ``pstore.step(..., heartbeat=seconds)`` an attempt that does not say so for that long is given up.  `details`
    are for the next attempt, which gets them by `heartbeat_details`, also in another process: from the last commit
    before the crash.  A commit is made for them at most once a second; so a crash loses some, and the next attempt
    does again what was done after the details that it gets.

    Args:
        details: plain data, of which a copy is kept in place of that of the call before; None: that is kept.

    Raises:
        NotInEngine: called outside a step.
        CaptureError: `details` cannot be stored; what was told before is kept.
    """
    _running("pstore.heartbeat()").beat(details)


def heartbeat_details(default: Any = None) -> Any:
    """Give a copy of what the last `heartbeat` of this attempt told, or of the attempts before; else `default`.

    Raises:
        NotInEngine: called outside a step.
    """
    attempt = _running("pstore.heartbeat_details()")
    details = attempt.step.details if attempt.details is None else attempt.details
    return default if details is None else graph.loads(graph.dumps(details))
