"""`Mail`: who a message is for; part of the graph.

A message is sent to an `Inbox`, to a task, to the id of a task, or to the name under which the root has an inbox.  The
inbox of a task is made when it is first needed, is stored with the task, and goes with it.

Rules: who puts something into the inbox of a task touches the task; to whom nobody can receive a message is refused
where it is sent; a message that comes again under its id is dropped, also when the task has ended meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pstore._engine.inbox import Inbox
from pstore._engine.parking import some_ids
from pstore._engine.task import Task
from pstore.errors import EngineError, TaskDone, UnknownTask

if TYPE_CHECKING:
    from pstore._engine.loop import DurableLoop

__all__ = ["Mail", "check_id"]


def check_id(id: Any) -> None:
    """Complain about what cannot be the id of a message."""
    if id is not None and not isinstance(id, str):
        raise TypeError(f"the id of a message is a text, got {id!r}")


class Mail:
    """Finds inboxes.

    Attributes:
        inboxes: of tasks of older stores, by id, until they are asked for.
    """

    def __init__(self) -> None:
        self.inboxes: dict[str, Inbox] = {}

    def of(self, task: Task[Any]) -> Inbox:
        """Give the inbox of a task, which may then be changed."""
        task.touch()
        inbox = self._known(task)
        if inbox is None:
            inbox = task.inbox = Inbox()
        return inbox

    def deliver(
        self, loop: DurableLoop, to: Any, message: Any, id: str | None, root: Mapping[str, Any] | None = None
    ) -> bool:
        """Put a message where it belongs; False if it came before.

        Raises:
            UnknownTask: there is no such task, nor an inbox of that name in `root`.
            TaskDone: nobody will receive it.
            TypeError: the id is no text.
        """
        check_id(id)
        inbox = to if isinstance(to, Inbox) else self._addressed(loop, to, id, root or {})
        return inbox.put(loop, message, id)

    def drop(self, task_id: str) -> None:
        """Let go of the inbox of a task that is there no more."""
        self.inboxes.pop(task_id, None)

    def _known(self, task: Task[Any]) -> Inbox | None:
        if task.inbox is None and task.id in self.inboxes:
            task.touch()
            task.inbox = self.inboxes.pop(task.id)
        return task.inbox

    def _addressed(self, loop: DurableLoop, to: Any, id: str | None, root: Mapping[str, Any]) -> Inbox:
        task = loop.tasks.get(to) if isinstance(to, str) else _own(loop, to)
        if task is None:
            inbox = root.get(to)
            if isinstance(inbox, Inbox):
                return inbox
            raise UnknownTask(to, some_ids(loop.tasks))
        known = self._known(task)
        if task.done() and (known is None or id is None or id not in known.known):
            raise TaskDone(task.id)
        return self.of(task)


def _own(loop: DurableLoop, to: Any) -> Task[Any]:
    if not isinstance(to, Task):
        raise TypeError(f"a message goes to a task, the id of one, or an Inbox, not to {to!r}")
    if to.get_loop() is not loop:
        raise EngineError(f"{to!r} does not belong to this engine")
    return to
