"""Who waits for a future: what asyncio's call graphs (3.14+: ``asyncio.print_call_graph``) ask a future for.

asyncio keeps a set beside each of its own futures for this.  A durable future keeps nothing: who waits is in its
callbacks, so that it is right after a restart as well, and costs nothing until somebody asks.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from typing import Any

__all__ = ["waiters"]

# Where a task group, and an iterator of asyncio.as_completed, have the task that waits.
_OWNERS = ("_parent_task", "_cur_task")


def waiters(future: Any) -> list[asyncio.Task[Any]]:
    """Give the tasks that wait for a future: at it, or at what gather, shield, wait or a group made to wait for it."""
    found: dict[int, asyncio.Task[Any]] = {}
    asked, seen = [future], {id(future)}
    while asked:
        for callback, *_ in asked.pop()._callbacks or ():
            for held in _held(callback):
                if id(held) in seen or not asyncio.isfuture(held) or held.done():
                    continue
                seen.add(id(held))
                if isinstance(held, asyncio.Task):
                    found[id(held)] = held
                else:
                    asked.append(held)
    return list(found.values())


def _held(callback: Any) -> Iterator[Any]:
    """Give what a callback acts on: what it is bound to, its arguments, its cells."""
    if isinstance(callback, functools.partial):
        yield from callback.args
        callback = callback.func
    owner = getattr(callback, "__self__", None)
    yield owner
    for name in _OWNERS:
        yield getattr(owner, name, None)
    for cell in getattr(callback, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # empty
            continue
