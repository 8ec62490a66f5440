"""`Parking`: which tasks are in memory; `Tasks`: all of them by id.

    resident   in `LoopState.tasks`: loaded with the store
    parked     in the `Lot`: loaded when it is used, or when its first timer is due; then it is resident again

Principles:

1. A task is parked when more tasks than `limit` are resident, it waits or is done, and was not touched since the last
   commit.  The commit that parks it takes it from the state to the lot; then what only it has is let go of, without
   running any of it (I2).
2. What others may hold a part of is not parked (`pstore._store.eviction`), nor what others hold weakly: nobody can see
   a difference.
3. What a parked task leads to and shares with others is led to by the state (`LoopState.shared`) meanwhile.  One that
   leads to other tasks, or to `Persistent` objects, is not parked: what they lead to would have to be known.
4. Whoever uses a parked task brings it back, whole, before anybody can look at it.  What is used while a commit is made
   (a `__getstate__` of the program may do so) is parked until it is down: of what the commit changes it has all or
   nothing.
5. One that cannot be brought back when something happens to it (its code has changed, for instance) has not heard of
   it, and whoever did that to it may have gone on: memory is no state any more that a commit may keep.  The last commit
   is, with which all begins again when that is mended.  So it is when the program asks for tasks and the lot cannot be
   read: what it makes of that error is not to be kept.  And when the lot may have been changed by half: for good.
"""

from __future__ import annotations

import asyncio
import math
from asyncio.tasks import _register_task, _unregister_task
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from weakref import getweakrefcount

from pstore._engine.lot import Entry, Lot
from pstore._engine.tags import STATES, state_of
from pstore._engine.task import Task
from pstore._store.capsules import Capsules
from pstore._store.eviction import Contents
from pstore.errors import PstoreError

if TYPE_CHECKING:
    from pstore._engine.loop import DurableLoop

__all__ = ["NoParking", "Parking", "Tasks", "some_ids"]

_PARKED_AT_ONCE = 100_000  # tasks, by one commit
_BROUGHT_AT_ONCE = 10_000  # by one look at the clock
_MANY = 1000  # tasks that leave with one commit
_SOME = 20  # ids that are enough for people
_NUMBER = itemgetter(0)
_NOT_COMMITTED = (
    "Nothing is committed since: the last commit is intact. Mend that, close the engine and open the store again."
)


class Tasks(Mapping[str, Task[Any]]):
    """All tasks by id, resident or parked, that are not done, or that are kept when they are done; the oldest first.

    To ask for one does not load it; to look at it does.
    """

    def __init__(self, loop: DurableLoop) -> None:
        self._loop = loop

    def __getitem__(self, task_id: str) -> Task[Any]:
        task = self._loop.state.tasks.get(task_id)
        if task is None:
            task = self._loop.parking.find(task_id)
        if task is None:
            raise KeyError(task_id)
        return task

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._loop.state.tasks or task_id in self._loop.parking

    def __iter__(self) -> Iterator[str]:
        resident = [(task.number, task_id) for task_id, task in self._loop.state.tasks.items()]
        # as they are now: who looks at one brings it back
        yield from [task_id for _, task_id in sorted([*resident, *self._loop.parking.numbered()], key=_NUMBER)]

    def some(self, count: int) -> list[str]:
        """So many ids, which costs nothing however many there are."""
        return list(islice(chain(self._loop.state.tasks, self._loop.parking), count))

    def __len__(self) -> int:
        return len(self._loop.state.tasks) + self._loop.state.parked

    def __repr__(self) -> str:
        return f"<{len(self)} tasks>"


def some_ids(tasks: Mapping[str, Any]) -> tuple[str, ...]:
    """Some ids, for people."""
    return tuple(tasks.some(_SOME) if isinstance(tasks, Tasks) and len(tasks) > _SOME else islice(tasks, _SOME))


class _Probe:
    """Something to register."""


def _weak_references() -> int:
    """How many weak references the store and asyncio have to a task."""
    probe: Any = _Probe()
    _register_task(probe)
    count = getweakrefcount(probe)
    _unregister_task(probe)
    return count + 1


_WEAK = _weak_references()


class NoParking:
    """Of a loop all whose tasks are in memory.

    Attributes:
        is_due: whether a commit would park tasks, as far as that is known without looking at them.
        until: the task or future that the engine runs for, if it does: it stays.
        lost: with what a task could not be brought back, see principle 5; None: all could.
        is_ruined: whether it is so for good, whoever asked.
    """

    is_due = False
    until: Any = None
    lost: BaseException | None = None
    is_ruined = False

    def could_not_load(self, task: Task[Any], error: BaseException) -> None:
        """A task is not loaded, and cannot be, though something happens to it."""
        if self.lost is None:
            self.lost = error  # first, as it may be the whole store that cannot be read
            name = None
            with suppress(PstoreError):
                name = self.id_of(task)
            whose = "A task that is not loaded" if name is None else f"Task {name!r}"
            error.add_note(f"{whose} could not be brought back. {_NOT_COMMITTED}")

    @contextmanager
    def looking(self) -> Iterator[None]:
        """What is done meanwhile changes nothing: who cannot be loaded matters to who asks, and to nobody else."""
        before = self.lost
        try:
            yield
        finally:
            if not self.is_ruined:
                self.lost = before

    def id_of(self, task: Task[Any]) -> str | None:
        """The id of a task that is parked, and cannot be loaded."""
        return None

    def find(self, task_id: str) -> Task[Any] | None:
        """The parked task of an id; it is not loaded for that."""
        return None

    def entry(self, task_id: str) -> Entry | None:
        """What is known of a parked task."""
        return None

    def __contains__(self, task_id: object) -> bool:
        return False

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def numbered(self) -> Iterator[tuple[int, str]]:
        """The number and id of all parked tasks."""
        return iter(())

    def since(self, state: str, since: float | None) -> Iterator[tuple[float, int, str]]:
        """The moment, number and id of the parked tasks of a state; the earliest first."""
        return iter(())

    def waiting(self) -> Iterator[tuple[int, Task[Any]]]:
        """The number of each parked task that is not done, and the task; they are not loaded for that."""
        found = ((number, self.find(task_id)) for _, number, task_id in self.since("active", None))
        return ((number, task) for number, task in found if task is not None)

    def next_deadline(self) -> float | None:
        """When the first timer of a parked task is due, UTC seconds."""
        return None

    def bring_due(self, now: float) -> tuple[float, float]:
        """Bring those back whose first timer is due; gives the deadline and order before which all timers are there."""
        return now, math.inf

    def came(self, task: Task[Any]) -> None:
        """A task was loaded: if it was parked, it is resident now."""

    def ran(self) -> None:
        """A batch has run: others may wait now."""

    def before_commit(self) -> bool:
        """Take tasks out of the state that are to be parked; tells whether there were any."""
        return False

    def after_commit(self) -> None:
        """What was parked is stored: let go of it."""

    def not_committed(self) -> None:
        """Nothing was stored: all stay."""


class Parking(NoParking):
    """See the module.

    Args:
        loop: whose tasks they are.
        lot: the parked ones.
        capsules: where tasks are stored.
        limit: how many tasks may be resident before some are parked; None: any number.
    """

    def __init__(self, loop: DurableLoop, lot: Lot, capsules: Capsules, limit: int | None) -> None:
        self._loop, self._lot, self._capsules, self._limit = loop, lot, capsules, limit
        self._leaving: list[tuple[Task[Any], Contents]] = []
        self._committing = False
        self._came: list[Task[Any]] = []  # while a commit was made
        self._wait = 0
        self._before: int | None = None
        lot.tell_of_failures(self._could_not_read)

    # -- looking

    def find(self, task_id: str) -> Task[Any] | None:
        """See `NoParking`."""
        entry = self.entry(task_id)
        if entry is None:
            return None
        task: Task[Any] = self._capsules.ghost(bytes(entry.record), Task)
        return task

    def entry(self, task_id: str) -> Entry | None:
        """See `NoParking`."""
        return self._lot.get(task_id) if self._loop.state.parked and isinstance(task_id, str) else None

    def id_of(self, task: Task[Any]) -> str | None:
        """See `NoParking`."""
        record = self._capsules.meet(task)
        return next((task_id for task_id in self if self._lot.record_of(task_id) == record), None)

    def __contains__(self, task_id: object) -> bool:
        return bool(self._loop.state.parked) and isinstance(task_id, str) and task_id in self._lot

    def __iter__(self) -> Iterator[str]:
        return iter(self._lot)

    def numbered(self) -> Iterator[tuple[int, str]]:
        """See `NoParking`."""
        return self._lot.numbered() if self._loop.state.parked else iter(())

    def since(self, state: str, since: float | None) -> Iterator[tuple[float, int, str]]:
        """See `NoParking`."""
        return iter(self._lot.of_state(STATES.index(state), since) if self._loop.state.parked else ())

    def next_deadline(self) -> float | None:
        """See `NoParking`."""
        found = self._lot.next_due() if self._loop.state.parked else None
        return None if found is None else found[0]

    # -- bringing back

    def bring_due(self, now: float) -> tuple[float, float]:
        """See `NoParking`."""
        if not self._loop.state.parked:
            return now, math.inf
        with self.looking():  # nothing has happened to them yet
            due = self._lot.due(now, _BROUGHT_AT_ONCE)
            for task_id in due:
                self._bring(task_id)
            left = self._lot.next_due() if len(due) >= _BROUGHT_AT_ONCE else None
        return (now, math.inf) if left is None else min((now, math.inf), left)

    def _bring(self, task_id: str) -> None:
        try:
            task = self.find(task_id)
            if task is None:
                return
            self._lot.reach(task_id)
            task.__capsule_load__()
        except PstoreError as error:
            error.add_note(f"Task {task_id!r} was to be brought back, as its time has come; it stays as it is.")
            raise
        self.came(task)

    def _could_not_read(self, error: Exception) -> None:
        """A part of the lot could not be read: if it was the program that asked, it may go on all the same."""
        if asyncio._get_running_loop() is self._loop and self.lost is None:
            self.lost = error
            error.add_note(f"It could not be found out which tasks there are. {_NOT_COMMITTED}")

    def _ruin(self, error: BaseException) -> None:
        """The lot may have been changed by half, or has what is in memory as well."""
        self.is_ruined = True
        if self.lost is None:
            self.lost = error
            error.add_note(f"The index of tasks could not be changed. {_NOT_COMMITTED}")

    def came(self, task: Task[Any]) -> None:
        """See `NoParking`."""
        state = self._loop.state
        if not state.parked or state.tasks.get(task.id) is task:
            return
        if self._committing:
            self._came.append(task)
            return
        try:
            entry = self._lot.get(task.id)
            if entry is None or self._capsules.meet(task) != entry.record:
                return  # one that is done, and not found by its id any more
            self._lot.take(task.id)
        except Exception as error:
            state.tasks[task.id] = task  # it is here: who lets go of it would end it
            self._ruin(error)
            return
        state.parked -= 1
        state.shared.pop(task.number, None)
        state.tasks[task.id] = task
        self._loop.services.index.came(task, entry.since)
        self._loop.take_up(task)

    # -- parking

    @property
    def is_due(self) -> bool:  # type: ignore[override]  # of a loop that has no parking it is a constant
        """See `NoParking`."""
        return self._limit is not None and len(self._loop.state.tasks) > self._limit and self._wait <= 0

    def ran(self) -> None:
        """See `NoParking`."""
        self._wait -= len(self._loop.touched)
        self._before = None

    def before_commit(self) -> bool:
        """See `NoParking`."""
        parks = self._choose()
        self._committing = True
        return parks

    def _choose(self) -> bool:
        """Take tasks out of the state; tells whether there are any to be parked."""
        self._leaving = []
        if not self.is_due or self._limit is None:
            return False
        tasks, touched = self._loop.state.tasks, self._loop.touched
        most = min(len(tasks) - self._limit * 3 // 4, _PARKED_AT_ONCE)
        may = list(islice((task for task in tasks.values() if self._may_leave(task)), most))
        chosen = [task for task in may if id(task) not in touched]
        self._loop.take_out_timers(chosen)
        left = deque(chosen)
        try:
            with self.looking():
                while left:
                    self._park(left[0])
                    left.popleft()
        except BaseException:  # all stay
            for task in left:
                self._loop.take_up(task)
            self.not_committed()
            raise
        futile = len(may) == len(chosen) and not self._leaving
        back = self._before is not None and len(tasks) + len(self._leaving) >= self._before  # who left has come back
        self._before = len(tasks) + len(self._leaving)
        if futile or back:
            self._wait = max(1, len(tasks) // 16)  # tasks that run; to look at all again costs a microsecond each
        return bool(self._leaving)

    def _may_leave(self, task: Task[Any]) -> bool:
        if task is self.until or not task.is_loaded() or task.steps or task.turn is not None:
            return False
        if type(task.id) is not str:
            return False  # it has no place in the order of the others
        if getweakrefcount(task) > _WEAK + (id(task) in self._loop.touched):
            return False  # somebody wants to know whether it is there
        if task.done():
            return not task._unseen
        waiter = task._fut_waiter
        if type(waiter) is Task:
            return False  # to which it leads; one that is not loaded is not to be loaded to find out
        return waiter is not None and not waiter.done() and not task._must_cancel

    def _park(self, task: Task[Any]) -> None:
        shared = self._capsules.places_of(task)
        contents = None if shared is None else self._capsules.contents_alone(task)
        if contents is None:
            self._loop.take_up(task)
            return
        task.touch()  # who held a part of it until now may have changed that: it is stored once more
        first = ((timer.when(), timer.order) for timer in task.timers.values())
        deadline, order = min(first, default=(None, 0))
        state, index, record = self._loop.state, self._loop.services.index, self._capsules.meet(task)
        since = index.left(task)
        try:
            self._lot.put(task.id, Entry(record, STATES.index(state_of(task)), since, task.number, deadline, order))
        except BaseException:
            index.came(task, since)
            raise
        if shared:
            state.shared[task.number] = shared
        state.parked += 1
        del state.tasks[task.id]
        self._leaving.append((task, contents))

    def after_commit(self) -> None:
        """See `NoParking`."""
        leaving = self._end_of_commit()
        many = len(leaving) >= _MANY
        while leaving:
            task, contents = leaving.pop()
            if not self._capsules.evict(task, contents):  # what ended with the commit has run code that reached it
                self.came(task)
        if many:
            del task, contents
            self._make_smaller()

    def _make_smaller(self) -> None:
        """Make tables anew that have had many more entries: to look through one takes as long as it once was."""
        state = self._loop.state
        state.tasks = dict(state.tasks)
        self._loop.services.index.make_smaller()
        self._capsules.make_smaller()

    def not_committed(self) -> None:
        """See `NoParking`."""
        for task, _ in self._end_of_commit():
            self.came(task)

    def _end_of_commit(self) -> list[tuple[Task[Any], Contents]]:
        """Bring back who was used meanwhile; gives who was to be parked."""
        self._committing = False
        came, self._came = self._came, []
        for task in came:
            self.came(task)
        leaving, self._leaving = self._leaving, []
        return leaving
