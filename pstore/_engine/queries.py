"""Questions to a task that do not disturb it: its locals, and the query functions that it declared.

    frames = engine.locals("order-17")            # the await stack, outermost first, with copies of the locals
    engine.query("order-17", "status")            # what pstore.query("status", fn) declared in the task gives

Rules: nothing of the task is resumed; what is given is a copy.  A query function is called by the host between two
calls of the program, outside of any task, and must only look: what it changes is committed like what a task changes.
In debug mode it is watched: one that changes what it can reach raises QueryChanged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pstore._engine.byvalue import copied, packed
from pstore._engine.loop import DurableLoop
from pstore._engine.parking import some_ids
from pstore._engine.stack import places
from pstore._engine.task import Task
from pstore.errors import CaptureError, EngineError, QueryChanged, UnknownTask

__all__ = ["FrameLocals", "ask", "frames_of"]


@dataclass(frozen=True)
class FrameLocals:
    """One frame of the await stack of a task.

    Attributes:
        function: qualified name.
        filename, line: where it stands.
        locals: name -> a copy of the value.
        left_out: name -> why there is no copy: it belongs to the program, or cannot be stored.
    """

    function: str
    filename: str
    line: int
    locals: dict[str, Any]
    left_out: dict[str, str] = field(default_factory=dict)


def frames_of(loop: DurableLoop, task_id: str) -> list[FrameLocals]:
    """Give the await stack of a task, outermost frame first; nothing for a task that is done."""
    found = []
    for place in places(_task(loop, task_id).get_coro()):
        copies, left_out = _copies(dict(place.frame.f_locals))
        found.append(FrameLocals(place.function, place.filename, place.line, copies, left_out))
    return found


def ask(loop: DurableLoop, task_id: str, name: str, args: tuple[Any, ...]) -> Any:
    """Give a copy of what a query function of a task gives."""
    task = _task(loop, task_id)
    declared = loop.services.queries.get(task.id, {})
    if name not in declared:
        known = ", ".join(sorted(declared)) or "none"
        raise EngineError(f"task {task.id!r} has declared no query {name!r} (it has: {known})")
    fn = declared[name]
    before = _state(fn) if loop.get_debug() else None
    given = copied(_outside_of_tasks(fn, args), "result")
    if before is not None and _state(fn) != before:
        raise QueryChanged(task.id, name)
    return given


def _task(loop: DurableLoop, task_id: str) -> Task[Any]:
    task = loop.tasks.get(task_id)
    if task is None:
        raise UnknownTask(task_id, some_ids(loop.tasks))
    return task


def _copies(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        return copied(values), {}  # all at once: what they share the copies share
    except CaptureError:
        pass
    copies, left_out = {}, {}
    for name, value in values.items():
        try:
            copies[name] = copied(value, name)
        except CaptureError as error:
            left_out[name] = str(error)
    return copies, left_out


def _outside_of_tasks(fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Call without a running loop, so that what only tasks may do is refused."""
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        return fn(*args)
    finally:
        asyncio._set_running_loop(running)


def _state(fn: Callable[..., Any]) -> bytes | None:
    """Give bytes of all that a function can reach; None if that leads to the program itself."""
    try:
        return packed((fn, getattr(fn, "__self__", None), getattr(fn, "__closure__", None)))
    except CaptureError:
        return None
