"""`Times`: when a schedule is due: at the moments of a cron expression in a time zone, or every so many seconds.

The package `cronsim` reads cron expressions; it is imported when the first is used.  Summer time is as Debian's cron
has it: a job at an hour that is skipped runs when the clock has been put ahead, one at an hour that comes twice runs
once, the first time; jobs of every hour, or every so many minutes, run by the time that passes.  (`croniter`, looked at
in version 7.0, runs a daily job at 2:30 twice on the day on which that comes twice.)  Where the clock moves by half an
hour, on Lord Howe Island, cronsim 2.8 leaves a moment of ``7 */2 * * *`` out on one day of the year.

Rules: moments are UTC seconds; those of an interval are counted from its first, so that nothing adds up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pstore.errors import EngineError

__all__ = ["Times"]


class Times:
    """The moments of a schedule.

    Attributes:
        spec: a cron expression, or seconds.
        tz: name of a time zone, in which the cron expression is meant.
        first: moment from which the seconds are counted.
    """

    def __init__(self, spec: str | float, tz: str, first: float) -> None:
        self.spec, self.tz, self.first = spec, tz, first
        self._check()

    def after(self, moment: float) -> float | None:
        """Give the first moment that is later; None if there is none in the next 50 years."""
        if not isinstance(self.spec, str):
            passed = math.floor((moment - self.first) / self.spec)
            while (due := self.first + (passed + 1) * self.spec) <= moment:  # by rounding
                passed += 1
            return due
        return next(self._cron(self.spec, moment, back=False), None)

    def between(self, first: float, last: float, most: int) -> list[float]:
        """Give the last `most` moments from `first` to `last`, both included; the earliest first."""
        found = takewhile(lambda due: due >= first, self._backwards(last))
        return [due for due, _ in zip(found, range(most), strict=False)][::-1]

    def _backwards(self, moment: float) -> Iterator[float]:
        if isinstance(self.spec, str):
            # Cron looks before a whole second, and a moment itself is to be found.
            yield from self._cron(self.spec, math.floor(moment) + 1, back=True)
            return
        passed = math.floor((moment - self.first) / self.spec) + 1
        while passed >= 0:
            if (due := self.first + passed * self.spec) <= moment:
                yield due
            passed -= 1

    def _cron(self, spec: str, moment: float, *, back: bool) -> Iterator[float]:
        local = datetime.fromtimestamp(moment, UTC).astimezone(ZoneInfo(self.tz))
        found = (due.timestamp() for due in _cronsim(spec)(spec, local, reverse=back))
        # Where an hour comes twice a moment of the first may be found from within the second.
        yield from ((due for due in found if due < moment) if back else (due for due in found if due > moment))

    def _check(self) -> None:
        if not isinstance(self.spec, str):
            if isinstance(self.spec, bool) or not self.spec > 0 or not math.isfinite(self.spec):
                raise ValueError(f"a schedule is a cron expression, or more than 0 seconds, not {self.spec!r}")
            return
        try:
            ZoneInfo(self.tz)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"there is no time zone {self.tz!r} on this machine; for instance: Europe/Prague"
            ) from error
        if self.after(self.first) is None:
            raise ValueError(f"{self.spec!r} is never due")


def _cronsim(spec: str) -> type:
    """Give the class that reads cron expressions; complain about one that it does not understand."""
    try:
        from cronsim import CronSim, CronSimError
    except ImportError as error:
        raise EngineError(
            f"the cron expression {spec!r} needs cronsim, which is missing; run: pip install 'pstore[schedules]'; "
            "a schedule in seconds goes without"
        ) from error
    try:
        CronSim(spec, datetime(2026, 1, 1))
    except CronSimError as error:
        raise ValueError(f"{spec!r} is no cron expression: {error}") from error
    found: type = CronSim
    return found
