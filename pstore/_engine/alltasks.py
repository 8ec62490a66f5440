"""`asyncio.all_tasks` while engines are open: it gives the tasks that are parked, too, which asyncio does not know.

Rule: what others see of asyncio is as it was when no engine is open in this process, in whatever order engines of
several threads are opened and closed.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

__all__ = ["begin", "end"]

_PLACES: tuple[Any, ...] = (asyncio, asyncio.tasks)
_lock = threading.Lock()
_open = 0
_usual: list[Any] = []


def _all_tasks(loop: Any = None) -> set[Any]:
    """Give all tasks of the loop, the running one if it is None, that are not done."""
    asked = asyncio.get_running_loop() if loop is None else loop
    found: set[Any] = _asyncios_own(asked)
    parking = getattr(asked, "parking", None)
    if parking is not None:
        found.update(task for _, task in parking.waiting())
    return found


_asyncios_own: Any = asyncio.all_tasks


def begin() -> None:
    """Have `asyncio.all_tasks` give the parked tasks of durable loops as well, until `end` was called as often."""
    global _open, _asyncios_own
    with _lock:
        _open += 1
        if _open == 1:
            _usual[:] = [place.all_tasks for place in _PLACES]
            _asyncios_own = _usual[0]
            for place in _PLACES:
                place.all_tasks = _all_tasks


def end() -> None:
    """See `begin`."""
    global _open
    with _lock:
        _open -= 1
        if not _open:
            for place, function in zip(_PLACES, _usual, strict=True):
                if place.all_tasks is _all_tasks:  # else somebody has put something else there
                    place.all_tasks = function
