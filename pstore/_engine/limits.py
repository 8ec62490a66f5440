"""`Limiter`: how many steps may run, and how many may start in what time; `Limits`: what of that outlives a process.

A limiter is code: it is declared by name in a module, and what is declared in this process holds.  In the graph is,
by the same name, when steps were let go (a crash loop must not exceed a rate), and the declaration that held last, for
processes that have not imported the module that declares it.  How many are running is not stored: after a restart none
is, and each that was pending is let go again, within the limits.

Rules: a start is counted when the commit that lets it go is made, so before it happens; it is never taken back.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from pstore.errors import EngineError, UnknownLimiter

__all__ = ["INTERNAL", "Limiter", "Limits", "Window", "limiter_of"]

Rate = tuple[int, float]

# The names of limiters of pstore's own begin so.
INTERNAL = "pstore: "

# By name: what is declared in this process, and the module that did so last.
_declared: dict[str, Limiter] = {}
_modules: dict[str, str] = {}


@dataclass(frozen=True)
class Limiter:
    """Bounds on the steps that name it, in all tasks of a store together: ``pstore.step(..., limit=payments)``.

        payments = pstore.Limiter("payments", concurrency=10, rate=(100, 60), key_concurrency=2)

    Declare it at the top of a module; steps may name it by ``limit="payments"`` as well.  With ``limit_key=`` a step
    takes a share of its own, a customer's for instance: `key_concurrency` and `key_rate` bound each key, `concurrency`
    and `rate` all together.

    Who waits is let go by `priority`, the lower first; among equals keys take turns, for one key the tasks that
    `engine.spawn` started, and for one of these it and the tasks that it made; so somebody who asks for ten thousand
    steps delays others by one.  For one task: in the order in which it asked.

    The bounds hold over restarts: a step that runs again after a crash waits for its turn, and is counted again, as it
    is another call of the service.  Retries are counted as well, and do not hold a place while they rest.  An attempt
    that was given up (`timeout`, cancellation) holds no place, even if its function, in a thread, has not ended.

    Args:
        name: of the limiter, in the store and in this process.
        concurrency: at most so many steps at a time; None: any number, in as many threads if they are functions.
        rate: (number, seconds): at most so many are let go within any span of that length; one spreads them no
            further.  Numbers over 64 are counted in spans of a 64th: never more, possibly a little less.
        key_concurrency, key_rate: the same for each `limit_key`; steps without one have a share of their own, too.

    Raises:
        EngineError: another module of this process has declared it otherwise.
        ValueError: a bound is less than 1, or a span not more than 0.
    """

    name: str
    concurrency: int | None = field(default=None, kw_only=True)
    rate: Rate | None = field(default=None, kw_only=True)
    key_concurrency: int | None = field(default=None, kw_only=True)
    key_rate: Rate | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"pstore.Limiter: the name must be a text, not {self.name!r}")
        for bound in ("concurrency", "key_concurrency"):
            self._check_count(bound, getattr(self, bound))
        for bound in ("rate", "key_rate"):
            self._check_rate(bound, getattr(self, bound))
        # by the module that calls the constructor: a module may declare anew, when it is reloaded for instance
        module = sys._getframe(2).f_globals.get("__name__", "?")
        known = _declared.get(self.name)
        if known is not None and known != self and _modules[self.name] != module:
            raise EngineError(
                f"pstore.Limiter {self.name!r} of module {module} is declared with other bounds in module "
                f"{_modules[self.name]}; declare it in one and import it in the other, or choose another name"
            )
        _declared[self.name], _modules[self.name] = self, module

    def _check_count(self, bound: str, count: Any) -> None:
        if count is not None and not (isinstance(count, int) and count >= 1):
            raise ValueError(f"pstore.Limiter {self.name!r}: {bound} must be at least 1, or None, not {count!r}")

    def _check_rate(self, bound: str, rate: Any) -> None:
        if rate is None:
            return
        if not (isinstance(rate, tuple) and len(rate) == 2 and isinstance(rate[1], int | float) and rate[1] > 0):
            raise ValueError(f"pstore.Limiter {self.name!r}: {bound} must be (number, seconds), not {rate!r}")
        self._check_count(f"the number of {bound}", rate[0])


def limiter_of(limit: Limiter | str, stored: dict[str, Limits]) -> Limiter:
    """Give the limiter as it is declared here; else as it was given; else as it was when the store last knew it.

    Raises:
        UnknownLimiter: it is nowhere.
    """
    name = limit.name if isinstance(limit, Limiter) else limit
    if name in _declared:
        return _declared[name]
    if isinstance(limit, Limiter):
        return limit
    if name in stored:
        return stored[name].limiter
    known = {*_declared, *stored}
    raise UnknownLimiter(name, tuple(sorted(each for each in known if not each.startswith(INTERNAL))))


class Window:
    """The starts that a rate still counts; stored.

    Attributes:
        starts: first moment, last moment and number, UTC seconds of the loop's time; oldest first.  Each is counted
            until the last moment is as long ago as the rate says.
    """

    # Into so many parts of a span starts are put together, if there may be more; so many entries there are at the most.
    PARTS = 64

    def __init__(self) -> None:
        self.starts: list[tuple[float, float, int]] = []

    def free_at(self, rate: Rate, now: float) -> float:
        """Give the moment from which on one more may start; `now` or before: it may."""
        most, seconds = rate
        while self.starts and self.starts[0][1] + seconds <= now:
            del self.starts[0]
        over = sum(number for _, _, number in self.starts) - most + 1
        for _, last, number in self.starts:
            if over <= 0:
                break
            over -= number
            now = last + seconds
        return now

    def add(self, rate: Rate, now: float) -> None:
        """Count a start."""
        most, seconds = rate
        if self.starts:
            first, last, number = self.starts[-1]
            if last == now or (most > self.PARTS and now - first < seconds / self.PARTS):
                self.starts[-1] = (first, now, number + 1)
                return
        self.starts.append((now, now, 1))


class Limits:
    """What of a limiter outlives the process; in the graph.

    Attributes:
        limiter: the declaration that held last.
        all: starts, of all keys together.
        keys: starts by key; those of keys that have long been quiet are dropped.
    """

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.all = Window()
        self.keys: dict[str, Window] = {}
        self._sweep_at = 64

    def free_at(self, now: float) -> float:
        """Give the moment from which on the rate allows one more."""
        rate = self.limiter.rate
        return now if rate is None else self.all.free_at(rate, now)

    def key_free_at(self, key: str, now: float) -> float:
        """The same for a key."""
        rate, window = self.limiter.key_rate, self.keys.get(key)
        return now if rate is None or window is None else window.free_at(rate, now)

    def add(self, key: str, now: float) -> None:
        """Count a start."""
        if self.limiter.rate is not None:
            self.all.add(self.limiter.rate, now)
        if self.limiter.key_rate is not None:
            self.keys.setdefault(key, Window()).add(self.limiter.key_rate, now)
            if len(self.keys) > self._sweep_at:
                self._sweep(self.limiter.key_rate, now)

    def _sweep(self, rate: Rate, now: float) -> None:
        for window in self.keys.values():
            window.free_at(rate, now)
        self.keys = {key: window for key, window in self.keys.items() if window.starts}
        self._sweep_at = max(64, 2 * len(self.keys))
