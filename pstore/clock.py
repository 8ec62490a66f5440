"""Time (layer 0): seconds since the epoch in UTC, and how the engine waits for a moment.

A durable deadline must mean the same in the next process and on another machine, so the only time that pstore
stores is UTC in seconds as a float.  What a monotonic clock would give for free is lost with that: when the system
clock is set back, timers fire later by as much; when it is set forward, sooner.

The clock is injected (``pstore.open(uri, clock=...)``): production uses `SystemClock`, tests
`pstore.testing.VirtualClock`, which jumps to the next deadline in place of sleeping.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """What the engine asks of a clock."""

    def now(self) -> float:
        """Give the present time: UTC, seconds since the epoch."""

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

    def pause(self, deadline: float | None, wait: Callable[[float | None], bool], *, busy: bool) -> None:
        """Block until news come, or the deadline, or `LONGEST_WAIT` seconds have passed."""
        if deadline is None:
            wait(None)
        else:
            wait(min(max(0.0, deadline - self.now()), self.LONGEST_WAIT))
