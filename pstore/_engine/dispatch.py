"""`Dispatcher`: which steps start, when, and what becomes of their attempts; never stored.

    asked, rested  --`before_commit`-->  waits in a line  --its limiter lets it go-->  chosen
    chosen  --the commit is down, `after_commit`-->  an attempt runs  --Answer, or its time is over-->  taken

Lines are made anew of the pending steps by every process; the steps that were begun before go to their front.

Rules: a step is chosen before the commit, so that what its limiter counts is stored before it starts (a crash loop
cannot exceed a rate), and starts after it (invariant I5); an attempt whose step is not pending any more is given up
right after the commit that says so; what an attempt gives after it was given up is dropped.
"""

from __future__ import annotations

import heapq
import itertools

from pstore._engine.attempts import CLOSE, Answer, Attempt, Beat, Begun, Moved, News
from pstore._engine.host import Host, is_coroutine_function
from pstore._engine.limits import INTERNAL, Limiter, Limits
from pstore._engine.lines import Line
from pstore._engine.loop import DurableLoop
from pstore._engine.options import NONE
from pstore._engine.outbox import Step
from pstore._engine.outcomes import storable_outcome
from pstore._engine.threads import IN_TURN
from pstore.clock import Clock

__all__ = ["Dispatcher", "News"]

# Functions without a limiter of their own take turns at so many threads; its share in a rate is none.
THREADS = Limiter(f"{INTERNAL}threads", concurrency=IN_TURN)
# So many more of them may stand in front of the threads, if as many have come back since the commit before: where
# functions take no time, a commit is for many.
MOST_AHEAD = 512


class Dispatcher:
    """Starts the steps of a loop, and takes in what they give.

    Attributes:
        host: where attempts run.
    """

    def __init__(self, loop: DurableLoop, clock: Clock) -> None:
        self._loop, self._clock = loop, clock
        self.host = Host(loop.inbox)
        self._lines: dict[str | None, Line] = {None: Line(Limits(THREADS))}
        self._chosen: list[tuple[Step, Line | None]] = []
        self._running: dict[str, Attempt] = {}
        self._came_back = 0
        self._ends: list[tuple[float, int, Attempt]] = []  # a heap: when to look at attempts that may take too long
        self._numbers = itertools.count()
        loop.fresh_steps[:] = loop.outbox.startable()

    @property
    def is_busy(self) -> bool:
        """Whether a step is running that somebody waits for."""
        pending = self._loop.outbox.pending
        return any(pending.get(key) is attempt.step for key, attempt in self._running.items())

    # -- around a commit

    def before_commit(self) -> None:
        """Drop what nobody waits for, choose what is to start after the commit, save what heartbeats have told."""
        for step in self._loop.outbox.sweep():
            line = self._line_of(step)
            if line is not None:
                line.note_dropped()
        fresh, self._loop.fresh_steps[:] = self._loop.fresh_steps[:], []
        self._lines[None].ahead, self._came_back = min(self._came_back, MOST_AHEAD), 0
        for step in fresh:
            line = self._line_of(step)
            if line is None:
                self._choose(step, None)
            else:
                line.push(step)
        self._choose_from(list(self._lines.values()))
        for attempt in self._running.values():
            attempt.save()

    def after_commit(self) -> None:
        """Give up what is not pending any more, start what was chosen.  Only right after a commit."""
        pending = self._loop.outbox.pending
        for attempt in [attempt for key, attempt in self._running.items() if pending.get(key) is not attempt.step]:
            self._forget(attempt)
            self.host.give_up(attempt)
        chosen, self._chosen = self._chosen, []
        for step, line in chosen:
            if pending.get(step.key) is step:
                self._start(step, line)
            elif line is not None:  # cancelled before a commit that had been refused was made up for
                line.release(step)

    def _choose_from(self, lines: list[Line]) -> None:
        """Let each line let one go, and again, until none does."""
        now = self._loop.time()
        while lines := [line for line in lines if self._choose_one(line, now)]:
            pass

    def _choose_one(self, line: Line, now: float) -> bool:
        step = line.take(now) if line else None
        if step is not None:
            self._choose(step, line)
        return step is not None

    def _choose(self, step: Step, line: Line | None) -> None:
        if not step.begun and step.options is not None and step.options.limit is not None:
            step.begun = True
            step.touch()
        self._chosen.append((step, line))

    def _line_of(self, step: Step) -> Line | None:
        options = step.options or NONE
        if options.limit is None:
            return None if is_coroutine_function(step.fn) else self._lines[None]
        if options.limit_name not in self._lines:
            self._lines[options.limit_name] = Line(self._loop.outbox.limits_of(options))
        return self._lines[options.limit_name]

    # -- attempts

    def _start(self, step: Step, line: Line | None) -> None:
        attempt = self._running[step.key] = Attempt(step, line, self._clock, self._loop.inbox)
        self.host.start(attempt, in_turn=line is not None and line is self._lines[None])

    def _forget(self, attempt: Attempt) -> None:
        del self._running[attempt.step.key]
        self._release(attempt)

    def _release(self, attempt: Attempt) -> None:
        if attempt.line is not None:
            attempt.line.release(attempt.step)
            attempt.line = None

    def lost(self, attempt: Attempt) -> None:
        """Begin the step of an attempt again, with the next commit, as the attempt was ended from elsewhere."""
        if self._runs(attempt):
            self._forget(attempt)
            self._loop.fresh_steps.append(attempt.step)

    def take(self, news: News) -> bool:
        """Take in what an attempt tells; tells whether there is something to commit."""
        attempt = news.attempt
        if not self._runs(attempt):
            return False
        if isinstance(news, Answer):
            self._came_back += attempt.line is self._lines[None]
            self._forget(attempt)
            attempt.save()
            self._loop.outbox.answer(attempt.step, *storable_outcome(attempt.step, news.value, news.error))
            return True
        if isinstance(news, Moved):
            if attempt.line is not self._lines[None]:
                return False
            line = attempt.line
            self._release(attempt)
            return bool(line)
        if isinstance(news, Begun):
            self._watch(attempt)
            return False
        assert isinstance(news, Beat)
        return attempt.unsaved

    # -- time

    def tick(self) -> bool:
        """Give up attempts whose time is over; tells whether a commit is due, as a rate lets more steps go."""
        seconds = self._clock.monotonic()
        while self._ends and self._ends[0][0] - seconds <= CLOSE:
            attempt = heapq.heappop(self._ends)[2]
            error = attempt.overdue() if self._runs(attempt) else None
            if error is not None:
                self._loop.inbox.put(Answer(attempt, None, error))
                self.host.give_up(attempt)
            elif self._runs(attempt):  # there were heartbeats
                self._watch(attempt)
        now = self._loop.time()
        woken = [line for line in self._lines.values() if line and line.wake is not None and line.wake <= now]
        for line in woken:
            line.wake = None
        return bool(woken)

    def next_deadline(self) -> float | None:
        """Give the moment of the next `tick` that does something, UTC seconds of the loop's time; None: none is set."""
        wakes = (line.wake for line in self._lines.values() if line)
        while self._ends and not self._runs(self._ends[0][2]):
            heapq.heappop(self._ends)
        left = [self._ends[0][0] - self._clock.monotonic()] if self._ends else []
        moments = [*wakes, *(self._loop.time() + seconds for seconds in left)]
        return min((moment for moment in moments if moment is not None), default=None)

    def _watch(self, attempt: Attempt) -> None:
        heapq.heappush(self._ends, (attempt.end(), next(self._numbers), attempt))

    def _runs(self, attempt: Attempt) -> bool:
        return self._running.get(attempt.step.key) is attempt

    def close(self) -> None:
        """Let go of everything; what runs is told that nobody wants its result."""
        for attempt in self._running.values():
            attempt.give_up()
        self.host.close()
