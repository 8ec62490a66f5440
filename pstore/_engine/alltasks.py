"""`asyncio.all_tasks` while engines run: it gives the tasks that are parked, too, which asyncio does not know.

Rule: what others see of asyncio is as it was when no engine runs in this process, in whatever order engines of several
threads begin and end.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["parked_too"]

_PLACES: tuple[Any, ...] = (asyncio, asyncio.tasks)
_lock = threading.Lock()
_running = 0
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


@contextmanager
def parked_too() -> Iterator[None]:
    """Have `asyncio.all_tasks` give the parked tasks of durable loops as well."""
    _begin()
    try:
        yield
    finally:
        _end()


def _begin() -> None:
    global _running, _asyncios_own
    with _lock:
        _running += 1
        if _running == 1:
            _usual[:] = [place.all_tasks for place in _PLACES]
            _asyncios_own = _usual[0]
            for place in _PLACES:
                place.all_tasks = _all_tasks


def _end() -> None:
    global _running
    with _lock:
        _running -= 1
        if not _running:
            for place, function in zip(_PLACES, _usual, strict=True):
                place.all_tasks = function
