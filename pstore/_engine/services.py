"""`Services`: what a loop has for its tasks beside scheduling and steps; part of the graph.

Rule: a store that was written before a service was there has it, empty, when it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pstore._engine.deliveries import Deliveries
from pstore._engine.future import Future
from pstore._engine.mail import Mail
from pstore._engine.schedules import Schedule
from pstore._engine.tags import Index

if TYPE_CHECKING:
    from pstore._engine.task import Task

__all__ = ["Services"]


class Services:
    """The services of one loop.

    Attributes:
        mail: the inboxes of tasks.
        deliveries: letters to the world outside.
        index: finds tasks by state and tags.
        queries: id of a task -> name -> the function that it declared.
        schedules: by name: what starts tasks again and again.
        committing: futures of those that wait for the next commit.
    """

    def __init__(self) -> None:
        self.mail = Mail()
        self.deliveries = Deliveries()
        self.index = Index()
        self.queries: dict[str, dict[str, Callable[..., Any]]] = {}
        self.schedules: dict[str, Schedule] = {}
        self.committing: list[Future[None]] = []

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]  # what the store does not have yet
        self.__dict__.update(state)

    def attach(self, tasks: Mapping[str, Task[Any]]) -> None:
        """Begin to serve the tasks of a loop that was made or loaded."""
        self.index.bring_up_to_date()
        if len(self.index) != len(tasks):
            self.index.rebuild(tasks.values())

    def committed(self) -> None:
        """Let those go on that waited for a commit: it is down.

        What this does is in the commit after that; who is killed between them waits, and is let go, again.
        """
        if self.committing:
            waiting, self.committing = self.committing, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    def task_started(self, task: Task[Any]) -> None:
        """Take note of a task that was made."""
        self.index.started(task.id, task.since)

    def task_ended(self, task: Task[Any], moment: float, *, kept: bool) -> None:
        """Take note of a task that is done; `kept`: it can still be found by its id."""
        if self.queries:
            self.queries.pop(task.id, None)
        if kept:
            self.index.ended(task, moment)
        else:
            self.task_dropped(task.id)

    def task_dropped(self, task_id: str) -> None:
        """Let go of what belongs to a task that cannot be found by its id any more."""
        self.mail.drop(task_id)
        self.index.drop(task_id)
