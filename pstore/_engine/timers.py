"""`Handle` and `TimerHandle`: calls that wait in the loop; `Timers`: those that wait for a moment.

Rules: a deadline is absolute, UTC seconds, so it means the same after any number of restarts; equal deadlines fire
in the order in which they were set; a cancelled timer is never stored.
"""

from __future__ import annotations

import asyncio
import heapq
from typing import Any

from pstore._engine import debug

__all__ = ["Handle", "TimerHandle", "Timers"]


class Handle(asyncio.Handle):
    """A call that the loop will make soon.  As `asyncio.Handle`, and storable."""

    __pstore_tracked__ = True  # all that changes is in slots
    __slots__ = ()
    _STORED: tuple[str, ...] = ("_callback", "_args", "_cancelled", "_loop", "_context")

    def __getstate__(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in self._STORED}
        if self._source_traceback:
            state["_source_traceback"] = debug.kept(self._source_traceback)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self._repr, self._source_traceback = None, debug.restored(state.get("_source_traceback"))

    def __reduce__(self) -> tuple[Any, ...]:
        return _new_handle, (type(self),), self.__getstate__()


class TimerHandle(Handle, asyncio.TimerHandle):
    """A call that the loop will make at a moment.  As `asyncio.TimerHandle`, and storable."""

    __slots__ = ()
    _scheduled: bool  # a slot of asyncio's class
    _STORED = (*Handle._STORED, "_when", "_scheduled")


def _new_handle(cls: type[asyncio.Handle]) -> asyncio.Handle:
    return cls.__new__(cls)


class Timers:
    """The timers of a loop, soonest first."""

    # Cancelled entries stay in the heap until they come up; more of them than this, and than live ones: swept out.
    SWEEP_AT = 64

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TimerHandle]] = []
        self._set = 0
        self._cancelled = 0

    def add(self, handle: TimerHandle) -> None:
        """Let the timer wait for its moment."""
        self._set += 1
        handle._scheduled = True
        heapq.heappush(self._heap, (handle.when(), self._set, handle))

    def note_cancelled(self) -> None:
        """Count a timer that was cancelled while it waited."""
        self._cancelled += 1
        if self._cancelled > self.SWEEP_AT and self._cancelled * 2 > len(self._heap):
            self._heap = self._live()
            heapq.heapify(self._heap)
            self._cancelled = 0

    def next_deadline(self) -> float | None:
        """Give the moment of the soonest timer, UTC seconds; None if there is none."""
        while self._heap and self._heap[0][2].cancelled():
            self._pop()
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float) -> list[TimerHandle]:
        """Take out all timers whose moment has come, in order."""
        due = []
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            due.append(self._pop())
        return due

    def _pop(self) -> TimerHandle:
        handle = heapq.heappop(self._heap)[2]
        handle._scheduled = False
        self._cancelled -= handle.cancelled()
        return handle

    def _live(self) -> list[tuple[float, int, TimerHandle]]:
        return [entry for entry in self._heap if not entry[2].cancelled()]

    def __getstate__(self) -> tuple[list[tuple[float, int, TimerHandle]], int]:
        return sorted(self._live(), key=lambda entry: entry[:2]), self._set

    def __setstate__(self, state: tuple[list[tuple[float, int, TimerHandle]], int]) -> None:
        self._heap, self._set = state  # sorted, so it is a heap
        self._cancelled = 0
