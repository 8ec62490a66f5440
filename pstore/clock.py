"""Time (layer 0): seconds since the epoch in UTC, and how the engine waits for a moment.

A durable deadline must mean the same in the next process and on another machine, so the only time that pstore
stores is UTC in seconds as a float.  Clocks are set, though, and machines start with wrong ones: what tasks see is a
`Timeline`, which follows UTC and never goes backwards, neither in a process nor over a restart.

- The clock is set ahead, or the machine slept: the timeline jumps with it; what is due then fires, once, in order.
- The clock is set back: the timeline goes on by the monotonic clock, a tenth slower than that, until UTC has caught up
  with it.  So nobody waits for as long as the clock was set back; a delay takes at most a ninth longer, never less.

The clock is injected (``pstore.open(uri, clock=...)``): production uses `SystemClock`, tests
`pstore.testing.VirtualClock`, which jumps to the next deadline in place of sleeping.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Clock", "SystemClock", "Timeline"]


class Clock(Protocol):
    """What the engine asks of a clock."""

    def now(self) -> float:
        """Give the present time: UTC, seconds since the epoch; may be set back and ahead."""

    def monotonic(self) -> float:
        """Give seconds since some moment; this one nobody sets.  As of `time.monotonic`."""

    def pause(self, deadline: float | None, wait: Callable[[float | None], bool], *, busy: bool) -> None:
        """Return when `deadline` may have come or when there is news; early returns are harmless.

        Args:
            deadline: UTC seconds of the next timer; None when there is no timer.
            wait: blocks until there is news from outside, at most the given seconds (None: no limit); True if so.
            busy: whether something outside (a running step) may bring news; a virtual clock must not jump then.
        """


class SystemClock:
    """The clock of the machine."""

    # A wait is cut into pieces so that a clock that was set, or a machine that slept, is noticed. Seconds.
    LONGEST_WAIT = 30.0

    def now(self) -> float:
        """Give the present time: UTC, seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Give `time.monotonic`."""
        return time.monotonic()

    def pause(self, deadline: float | None, wait: Callable[[float | None], bool], *, busy: bool) -> None:
        """Block until news come, or the deadline, or `LONGEST_WAIT` seconds have passed."""
        if deadline is None:
            wait(None)
        else:
            wait(min(max(0.0, deadline - self.now()), self.LONGEST_WAIT))


class Timeline:
    """The time that tasks see: UTC that never goes backwards.

    Args:
        clock: what it follows.
        latest: where it has to go on from at the least: the last time that anybody was told; UTC seconds.
    """

    # Of the monotonic clock, while UTC is behind: slow enough to be caught up with, too fast to be noticed.
    RATE_WHILE_AHEAD = 0.9

    def __init__(self, clock: Clock, latest: float = 0.0) -> None:
        self._clock = clock
        self._latest, self._at = max(latest, clock.now()), clock.monotonic()

    def now(self) -> float:
        """Give the present time: seconds since the epoch, never less than before."""
        utc, at = self._clock.now(), self._clock.monotonic()
        self._latest = max(utc, self._latest + (at - self._at) * self.RATE_WHILE_AHEAD)
        self._at = at
        return self._latest

    def until(self, moment: float) -> float:
        """Give the real seconds from now until `moment`; 0 if it has come."""
        now = self.now()
        rate = self.RATE_WHILE_AHEAD if now > self._clock.now() else 1.0
        return max(0.0, moment - now) / rate
