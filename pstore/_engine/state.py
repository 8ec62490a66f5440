"""`LoopState`: what of the durable loop is stored, but for what belongs to a task.

Rules: it changes when tasks come and go, not when they run: whatever a task has asked for is stored with the task.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pstore._engine.services import Services

if TYPE_CHECKING:
    import asyncio

    from pstore._engine.limits import Limits
    from pstore._engine.outbox import Step
    from pstore._engine.task import Task
    from pstore._engine.timers import TimerHandle

__all__ = ["LoopState"]


class LoopState:
    """See the module.

    Attributes:
        services: what else tasks are served with: messages, letters, tags, schedules.
        limits: what was let go, by the name of the limiter.
        store_id: no other store has it.
        tasks: by id: all tasks that are not done, and the done ones that were spawned under a name or failed; but for
            those that are parked.
        made: number of the last task.
        named: number in the id of the last task whose id was made up.
        asked: number of the last step.
        ready: (turn, call) of the calls that are ready, but for those that tasks have; see `Task.turn`.
        timers: those that no task has set, by order.
        steps: those that no task has asked for, by key.
        unseen: object ids of the tasks that failed, and that nobody has asked, but for those that were spawned.
        handler: see `DurableLoop.set_exception_handler`.
        eager: whether tasks start eagerly.
        parked: how many tasks are not among these, as they are parked.
        timed: order of a timer that none of a parked task is beyond.
        shared: number of a parked task -> what it leads to and shares with others.
        latest: a moment not before which time goes on after a restart, UTC seconds; tasks have later ones.
    """

    number = 0  # as of a task

    def __init__(self) -> None:
        self.store_id = uuid.uuid4().hex[:16]
        self.services = Services()
        self.limits: dict[str, Limits] = {}
        self.tasks: dict[str, Task[Any]] = {}
        self.made = self.named = self.asked = 0
        self.ready: list[tuple[int, asyncio.Handle]] = []
        self.timers: dict[int, TimerHandle] = {}
        self.steps: dict[str, Step] = {}
        self.unseen: list[bytes] = []
        self.handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
        self.eager = False
        self.parked = self.timed = 0
        self.shared: dict[int, list[Any]] = {}
        self.latest = 0.0

    def touch(self) -> None:
        """As of a task, which has timers and steps, too; the store sees by itself whether this has changed."""

    def key_of(self, number: int) -> str:
        """As of a task."""
        return f"{self.store_id}.{self.number}.{number}"

    def as_asker(self) -> tuple[str, str]:
        """As of a task: it is none."""
        return "", ""
