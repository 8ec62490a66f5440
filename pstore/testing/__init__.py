"""What tests of durable programs need; public.

`VirtualClock` makes programs that sleep for days run in milliseconds, with the same timers in the same order.  Beside
it, to be imported by whoever needs them: `pstore.testing.storages`, what every storage has to do (needs pytest), and
`pstore.testing.faults`, a disk that fails.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["VirtualClock"]


class VirtualClock:
    """A clock that jumps to the next deadline where the system's would sleep.

    Args:
        start: the time at the beginning: UTC, seconds since the epoch.
        patience: real seconds to wait for a running step before jumping to a deadline all the same; None: as long as
            it takes.  Set it to test a timeout of a step that never ends.

    Attributes:
        time: what `now` gives.
    """

    def __init__(self, start: float = 0.0, *, patience: float | None = None) -> None:
        self.time = start
        self.patience = patience
        self._passed = 0.0

    def now(self) -> float:
        """Give the virtual time: UTC, seconds since the epoch."""
        return self.time

    def monotonic(self) -> float:
        """Give the seconds that have passed; `set` does not change them."""
        return self._passed

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds
        self._passed += seconds

    def set(self, time: float) -> None:
        """Set the clock, back or ahead, as an administrator or NTP would: no time passes by that."""
        self.time = time

    def pause(self, deadline: float | None, wait: Callable[[float | None], bool], *, busy: bool) -> None:
        """Jump to the deadline; if a step is running, or there is no deadline, first wait for news in real time."""
        if busy or deadline is None:
            news = wait(self.patience if deadline is not None else None)
            if news or deadline is None:
                return
        if deadline > self.time:
            self._passed += deadline - self.time
            self.time = deadline  # exactly: adding the difference may end just before it
