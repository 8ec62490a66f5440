"""`Schedule`: a task that is started again and again, at the moments of a cron expression or an interval.

    engine.schedule("report", "30 2 * * *", report, tz="Europe/Prague", catch_up="one")
    engine.schedule("poll", 60, poll, shop)

A part of the graph: the next moment is a timer of the loop, the task is started in the commit that sets the timer of
the moment after.  So each moment starts one task, at that time or after it, whatever is killed or set, and moments
follow from each other, not from when somebody came to look.

What came due while nobody ran, or when the clock jumped:

    "skip"   is left out; only the latest starts a task, if it is not more than `late` seconds ago
    "one"    the latest starts a task
    "all"    each starts a task, in order; of more than `limit` the latest

Rules: a task that takes longer than to the next moment does not keep the next from being started; what a paused
schedule misses is left out.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Coroutine, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pstore._engine.cron import Times

if TYPE_CHECKING:
    from pstore._engine.loop import DurableLoop

__all__ = ["CATCH_UP", "CatchUp", "Schedule", "Schedules", "moment_of_task"]

CatchUp = Literal["skip", "one", "all"]
CATCH_UP = ("skip", "one", "all")

# For whoever a schedule has started: the moment that it was due at.
moment_of_task: contextvars.ContextVar[float] = contextvars.ContextVar("pstore_scheduled_at")


class Schedule:
    """Starts a task again and again.  For the thread that runs the engine, as `Engine.root`.

    Attributes:
        name: of the schedule.
        times: when it is due.
        fn, args: what is started.
        catch_up, limit, late: what happens to moments that were missed.
        next: the next moment, UTC seconds; None: it is paused, or is due no more.
        last: the latest moment that started a task; None: there was none.
        paused: whether it is.
    """

    def __init__(self, loop: DurableLoop, name: str) -> None:
        self.name = name
        self.times: Times
        self.fn: Callable[..., Coroutine[Any, Any, Any]]
        self.args: tuple[Any, ...] = ()
        self.catch_up, self.limit, self.late = "skip", 100, 60.0
        self.next: float | None = None
        self.last: float | None = None
        self.paused = False
        self._loop = loop
        self._timer: Any = None

    def __repr__(self) -> str:
        when = "paused" if self.paused else "over" if self.next is None else f"next {_iso(self.next)}"
        return f"<Schedule {self.name}: {self.times.spec} {self.times.tz}, {when}>"

    def pause(self) -> None:
        """Start nothing until `resume`."""
        self.paused = True
        self._set(None)

    def resume(self) -> None:
        """Go on with the next moment from now on."""
        if self.paused:
            self.paused = False
            self.begin()

    def delete(self) -> None:
        """Start nothing any more; tasks that were started go on."""
        self._set(None)
        self._loop.services.schedules.pop(self.name, None)

    # -- for the engine

    def begin(self) -> None:
        """Wait for the next moment from now on."""
        self._set(self.times.after(self._loop.time()))

    def _set(self, moment: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.next = moment
        if moment is not None:
            self._timer = self._loop.call_at(moment, self._fire, context=contextvars.Context())

    def _fire(self) -> None:
        assert self.next is not None
        since, now = self.next, self._loop.time()
        self._timer = None
        self._set(self.times.after(now))
        for moment in self._to_start(since, now):
            self.last = moment
            self._start(moment)

    def _to_start(self, since: float, now: float) -> list[float]:
        due = self.times.between(since, now, self.limit if self.catch_up == "all" else 1)
        if self.catch_up == "skip":
            return [moment for moment in due if now - moment <= self.late]
        return due

    def _start(self, moment: float) -> None:
        loop, context = self._loop, contextvars.Context()
        context.run(moment_of_task.set, moment)
        try:
            task = loop.spawn(self.fn(*self.args), self._free_id(moment), context)
        except Exception as error:  # of the user's function; the schedule goes on
            message = f"schedule {self.name!r} could not start a task"
            loop.call_exception_handler({"message": message, "exception": error})
            return
        task.keep = False  # its id is for people: there are many, and none has to be found when it is done
        loop.services.index.tag(task.id, {"schedule": self.name})

    def _free_id(self, moment: float) -> str:
        wanted = task_id = f"{self.name}@{_iso(moment)}"
        n = 1
        while task_id in self._loop.tasks:
            n += 1
            task_id = f"{wanted}-{n}"
        return task_id


class Schedules(Mapping[str, Schedule]):
    """The schedules by name: ``engine.schedules``."""

    def __init__(self, loop: DurableLoop) -> None:
        self._loop = loop

    def __getitem__(self, name: str) -> Schedule:
        return self._loop.services.schedules[name]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._loop.services.schedules))

    def __len__(self) -> int:
        return len(self._loop.services.schedules)

    def __repr__(self) -> str:
        return repr(list(self.values()))

    def put(
        self,
        name: str,
        spec: str | float,
        fn: Callable[..., Coroutine[Any, Any, Any]],
        args: tuple[Any, ...],
        tz: str,
        *,
        catch_up: CatchUp,
        limit: int,
        late: float,
    ) -> Schedule:
        """Make a schedule, or change the one of that name; see `Engine.schedule`."""
        if catch_up not in CATCH_UP or limit < 1 or late < 0:
            raise ValueError(f"catch_up is one of {', '.join(CATCH_UP)}, limit at least 1, late not negative")
        schedule = self._loop.services.schedules.get(name)
        known = None if schedule is None else (schedule.times.spec, schedule.times.tz)
        # Looked at before anything is changed: it may be wrong.
        times = Times(spec, tz, self._loop.time()) if schedule is None or known != (spec, tz) else schedule.times
        if schedule is None:
            schedule = self._loop.services.schedules[name] = Schedule(self._loop, name)
        schedule.fn, schedule.args = fn, args
        schedule.catch_up, schedule.limit, schedule.late = catch_up, limit, late
        if known != (spec, tz):
            schedule.times = times
            if not schedule.paused:
                schedule.begin()
        return schedule


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
