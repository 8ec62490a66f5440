"""What tasks call beside steps: `send`, `receive`, `inbox`, `post`, `query`, `tag`, `committed`,
`scheduled_at`.

Rules: these are synchronous, and so part of the commit of the step that calls them, or give a plain awaitable object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pstore._engine.awaitables import OnFuture
from pstore._engine.future import Future
from pstore._engine.inbox import Inbox, Receive
from pstore._engine.loop import DurableLoop, running_loop
from pstore._engine.outbox import Retry
from pstore._engine.schedules import moment_of_task
from pstore._engine.task import Task
from pstore.errors import NotInEngine

__all__ = ["Committed", "committed", "inbox", "post", "query", "receive", "scheduled_at", "send", "tag"]


def send(to: Task[Any] | asyncio.Task[Any] | Inbox | str, message: Any, *, id: str | None = None) -> bool:
    """Send a message to a task or an inbox of this program; it is part of the same commit as what the caller does.

    The message is not copied: sender and receiver share it, as with an `asyncio.Queue`.

    Args:
        to: a task, the id of one, or an `Inbox`.
        message: anything that can be stored.
        id: a message that comes again under the same id is dropped, for as long as the inbox remembers it.

    Returns:
        Whether it is new there.

    Raises:
        UnknownTask, TaskDone: nobody can receive it.
        TypeError: the id is no text.
        NotInEngine: called outside a task; `Engine.send` is for the host.
    """
    loop = running_loop("pstore.send()")
    return loop.services.mail.deliver(loop, to, message, id)


def receive(timeout: float | None = None) -> Receive:
    """Take the oldest message that was sent to this task: ``message = await pstore.receive()``.

    The inbox is that of the task in which this is called, also where another task is made to await it.

    Args:
        timeout: seconds to wait for it; 0: not at all; None: as long as it takes.

    Raises:
        NotInEngine: called outside a task.
        TimeoutError (at the await): none came in that time.
    """
    return _inbox("pstore.receive()").receive(timeout)


def inbox() -> Inbox:
    """Give the inbox of this task, for instance to hand it to others: ``async for message in pstore.inbox()``.

    Raises:
        NotInEngine: called outside a task.
    """
    return _inbox("pstore.inbox()")


def post(
    to: str | Callable[[Any], Any],
    payload: Any,
    *,
    id: str | None = None,
    retry: Retry | None = None,
    timeout: float | None = None,
) -> str:
    """Post a letter to the world outside; it leaves after the commit of the step that posts it.

    Letters to one destination are delivered one after the other, in the order in which they were posted; each at least
    once, under its id.  One that cannot be delivered ends in ``engine.dead_letters``.

    Args:
        to: a function of a module, which is called with the payload, in a thread or, if it is a coroutine function, on
            an event loop; or a name, to which the host has said ``engine.deliver(name, fn)``.
        payload: what is delivered: a copy of it.
        id: by which the other side can tell a repetition; made up if None.  `step_key` gives it to the function.
        retry: when it is tried again; None: as the destination has it, or else for some ten minutes.  Its `deadline`
            is counted from the first attempt; one that is under way is not broken off.
        timeout: seconds that an attempt may take; None: as the destination has it, or else 60; `math.inf`: as long as
            it takes.  One that takes longer has failed, with StepTimeout; see `Engine.deliver`.

    Returns:
        The id.

    Raises:
        CaptureError: the payload cannot be stored.
        ValueError: the name has a colon, as functions of modules have; or `timeout` is no span of time.
        NotInEngine: called outside a task.
    """
    loop = running_loop("pstore.post()")
    return loop.services.deliveries.post(loop, to, payload, id, retry, timeout)


def query(name: str, fn: Callable[..., Any] | None) -> None:
    """Declare a function that tells the host something of this task: ``engine.query(task_id, name, *args)`` calls it.

    It is called while the task is suspended, outside of any task, and must only look.  It goes with the task.

    Args:
        name: of the query; declaring it again replaces it.
        fn: a function, for instance a closure over locals of the task; None takes the query away.

    Raises:
        NotInEngine: called outside a task.
    """
    if fn is not None and not callable(fn):
        raise TypeError(f"pstore.query(name, fn) needs a function, got {fn!r}")
    loop, task = _caller("pstore.query()")
    declared = loop.services.queries.setdefault(task.id, {})
    declared.pop(name, None)
    if fn is not None:
        declared[name] = fn
    if not declared:
        del loop.services.queries[task.id]


def tag(**tags: str | int | float | bool | None) -> None:
    """Set tags of this task, by which ``engine.find(tag={...})`` finds it: ``pstore.tag(customer="c-17")``.

    A tag with the value None is taken away.  Values of another type are other tags: 1, 1.0 and True are three.

    Raises:
        NotInEngine: called outside a task.
    """
    loop, task = _caller("pstore.tag()")
    loop.services.index.tag(task.id, tags)


def scheduled_at() -> float:
    """Give the moment that the schedule which has started this task was due at, UTC seconds.

    Raises:
        NotInEngine: no schedule has started it.
    """
    moment = moment_of_task.get(None)
    if moment is None:
        raise NotInEngine("pstore.scheduled_at() was called where no schedule has started the task")
    return moment


class Committed(OnFuture[None]):
    """Awaits the next commit."""

    def _ask(self) -> Future[None]:
        loop = running_loop("pstore.committed()")
        future: Future[None] = loop.create_future()
        loop.services.committing.append(future)
        return future


def committed() -> Committed:
    """Wait until all that was done before is durable: ``await pstore.committed()``.

    Steps, letters and acknowledgements wait for that by themselves.  This is for what the task itself shows outside,
    by whatever other way.
    """
    return Committed()


def _inbox(asked_for: str) -> Inbox:
    loop, task = _caller(asked_for)
    return loop.services.mail.of(task)


def _caller(asked_for: str) -> tuple[DurableLoop, Task[Any]]:
    """Give the loop and the task that is running."""
    loop = running_loop(asked_for)
    task: Any = asyncio.current_task(loop)
    if task is None:
        raise NotInEngine(f"{asked_for} was called in a callback of the loop; call it in a task")
    return loop, task
