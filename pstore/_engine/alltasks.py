"""`asyncio.all_tasks` while an engine runs: it gives the tasks that are parked, too, which asyncio does not know.

Rule: what others see of asyncio is as it was when no engine runs in this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pstore._engine.loop import DurableLoop

__all__ = ["parked_too"]

_PLACES: tuple[Any, ...] = (asyncio, asyncio.tasks)


@contextmanager
def parked_too(loop: DurableLoop) -> Iterator[None]:
    """Have `asyncio.all_tasks` give the parked tasks of a loop as well."""
    usual = [place.all_tasks for place in _PLACES]

    def all_tasks(of: Any = None) -> set[Any]:
        """Give all tasks of the loop, the running one if it is None, that are not done."""
        asked = asyncio.get_running_loop() if of is None else of
        found: set[Any] = usual[0](asked)
        if asked is loop:
            found.update(loop.parking.waiting())
        return found

    for place in _PLACES:
        place.all_tasks = all_tasks
    try:
        yield
    finally:
        for place, function in zip(_PLACES, usual, strict=True):
            place.all_tasks = function
