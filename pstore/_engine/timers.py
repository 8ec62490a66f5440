"""`Handle` and `TimerHandle`: calls that wait in the loop; `Timers`: those that wait for a moment.

Rules: a deadline is absolute, UTC seconds, so it means the same after any number of restarts; equal deadlines fire
in the order in which they were set; a cancelled timer is never stored.

A timer is stored with its *owner*: the task that set it, or the loop's state if none did.  `Timers` is made again from
those when a store is opened.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import math
from asyncio.futures import _set_result_unless_cancelled  # type: ignore[attr-defined]  # what sleep() calls
from typing import Any

from pstore._engine import debug
from pstore._engine.origin import context_of, kept_context
from pstore._store import constants

__all__ = ["Handle", "TimerHandle", "Timers"]

_CANCELLED, _SCHEDULED = 1, 2


class Handle(asyncio.Handle):
    """A call that the loop will make soon.  As `asyncio.Handle`, and storable."""

    __pstore_tracked__ = True  # all that changes is in slots
    __slots__ = ()
    _STORED: tuple[str, ...] = ("_callback", "_args", "_cancelled", "_loop", "_context")

    def __getstate__(self) -> Any:
        state: dict[str, Any] = {name: getattr(self, name) for name in self._STORED}
        if self._source_traceback:
            state["_source_traceback"] = debug.kept(self._source_traceback)
        return state

    def __setstate__(self, state: Any) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self._repr, self._source_traceback = None, debug.restored(state.get("_source_traceback"))

    def __reduce__(self) -> tuple[Any, ...]:
        return _new_handle, (type(self),), self.__getstate__()


class TimerHandle(Handle, asyncio.TimerHandle):
    """A call that the loop will make at a moment.  As `asyncio.TimerHandle`, and storable.

    Attributes:
        order: in which order it was set.
        owner: what has it in its `timers`, a dict by order.
    """

    __slots__ = ("order", "owner")
    order: int
    owner: Any
    _scheduled: bool  # a slot of asyncio's class
    _when: float
    _STORED = (*Handle._STORED, "_when", "_scheduled")

    def __getstate__(self) -> Any:
        if self._source_traceback:
            return super().__getstate__() | {"order": self.order, "owner": self.owner}
        context = kept_context(self._context, lambda: None if self.owner is None else self.owner.as_asker()[0])
        flags = self._cancelled * _CANCELLED + self._scheduled * _SCHEDULED
        return self._callback, self._args, self._loop, context, self._when, self.order, self.owner, flags

    def __setstate__(self, state: Any) -> None:
        if type(state) is not tuple:
            self.order, self.owner = 0, None
            super().__setstate__(state)
            return
        self._callback, self._args, self._loop, self._context, self._when, self.order, self.owner, flags = state
        self._cancelled, self._scheduled = bool(flags & _CANCELLED), bool(flags & _SCHEDULED)
        self._repr = self._source_traceback = None

    def is_to_set(self, future: Any) -> bool:
        """Whether it waits to set the result of a future, as `asyncio.sleep` leaves it, and the task has set it."""
        if self._callback is not _set_result_unless_cancelled or len(self._args) != 2 or self._args[0] is not future:
            return False
        owner, context = self.owner, self._context
        if self._source_traceback or self._cancelled or not self._scheduled or self._loop is not owner._loop:
            return False
        return type(context) is contextvars.Context and kept_context(context, lambda: owner.as_asker()[0]) is True

    def set_up(self, future: Any, result: Any, loop: Any, when: float, order: int, owner: Any) -> None:
        """Make one anew of which `is_to_set` held."""
        self.__setstate__((_set_result_unless_cancelled, (future, result), loop, True, when, order, owner, _SCHEDULED))

    def came_back(self, owner: Any) -> None:
        """Complete what was loaded: this is whose timer it is."""
        self._context = context_of(self._context, lambda: owner.as_asker()[0])


def _new_handle(cls: type[asyncio.Handle]) -> asyncio.Handle:
    return cls.__new__(cls)


class Timers:
    """The timers of a loop, soonest first; not stored."""

    # Cancelled entries stay in the heap until they come up; more of them than this, and than live ones: swept out.
    SWEEP_AT = 64

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TimerHandle]] = []
        self._set = 0
        self._cancelled = 0

    def add(self, handle: TimerHandle, owner: Any) -> None:
        """Let a new timer wait for its moment."""
        self._set += 1
        handle._scheduled, handle.order, handle.owner = True, self._set, owner
        owner.timers[self._set] = handle
        heapq.heappush(self._heap, (handle.when(), self._set, handle))

    @property
    def last(self) -> int:
        """The order of the last timer that was set."""
        return self._set

    def go_on_after(self, order: int) -> None:
        """Give later orders than this one from now on."""
        self._set = max(self._set, order)

    def restore(self, handle: TimerHandle) -> None:
        """Let a timer that was stored wait again."""
        self._set = max(self._set, handle.order)
        heapq.heappush(self._heap, (handle.when(), handle.order, handle))

    def take_out(self, handles: set[TimerHandle]) -> None:
        """Let go of some timers, which wait for their moment elsewhere."""
        self._heap = [entry for entry in self._heap if entry[2] not in handles]
        heapq.heapify(self._heap)

    def note_cancelled(self, handle: TimerHandle) -> None:
        """A timer was cancelled while it waited."""
        self._disown(handle)
        self._cancelled += 1
        if self._cancelled > self.SWEEP_AT and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if not entry[2].cancelled()]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def next_deadline(self) -> float | None:
        """Give the moment of the soonest timer, UTC seconds; None if there is none."""
        while self._heap and self._heap[0][2].cancelled():
            self._pop()
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float, order: float = math.inf) -> list[TimerHandle]:
        """Take out all timers whose moment has come, in order; those of just that moment before an order."""
        due = []
        while self.next_deadline() is not None and self._heap[0][:2] < (now, order):
            due.append(self._pop())
        return due

    def _pop(self) -> TimerHandle:
        handle = heapq.heappop(self._heap)[2]
        handle._scheduled = False
        if handle.cancelled():
            self._cancelled -= 1
        else:
            self._disown(handle)
        return handle

    def _disown(self, handle: TimerHandle) -> None:
        owner, handle.owner = handle.owner, None
        if owner is not None:
            owner.touch()
            owner.timers.pop(handle.order, None)

    def __getstate__(self) -> Any:
        """Of an old store: its node may still be in a record for a while."""
        return [], 0

    def __setstate__(self, state: tuple[list[tuple[float, int, TimerHandle]], int]) -> None:
        """Of a store that was written when timers were stored apart; see `old_stores`."""
        self.__init__()  # type: ignore[misc]
        self._heap, self._set = state

    def of_old_store(self) -> list[TimerHandle]:
        """The timers of such a store."""
        for _, order, handle in self._heap:
            handle.order = order
        return [handle for *_, handle in self._heap]


for _number, _obj in enumerate((Handle, TimerHandle, _new_handle), 24):
    constants.register(_number, _obj)
