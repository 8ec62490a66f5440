"""`Outbox`: the steps that are asked for but not answered; part of the graph.

    asked      in `Outbox.pending`, `due` None     started after the commit that contains it; again after every restart
    resting    in `Outbox.pending`, `due` a moment  an attempt failed; a timer of the loop makes it asked again
    answered   not in `Outbox.pending`              its future is done; a commit keeps that before the task goes on
    cancelled  not in `Outbox.pending`              its future was cancelled; what it may still give back is dropped

Rules: what is started must be here and committed (invariant I5); a step that was started may be started again after a
crash (at least once), under the same key; nothing here starts anything, that is `host`'s part.
"""

from __future__ import annotations

import contextvars
import functools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pstore._engine.future import Future

if TYPE_CHECKING:
    from pstore._engine.loop import DurableLoop

__all__ = ["Outbox", "Retry", "Step", "name_of"]


@dataclass(frozen=True)
class Retry:
    """When a step that raised is tried again.

    Attributes:
        attempts: how many attempts there are in all, at least 1.
        delay: seconds before the second attempt.
        factor: each further delay is this many times the one before.
        longest: no delay is longer, in seconds.
        on: exception classes after which to try again; all others are raised at the await at once.
    """

    attempts: int = 3
    delay: float = 1.0
    factor: float = 2.0
    longest: float = 60.0
    on: tuple[type[BaseException], ...] = field(default=(Exception,))

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.delay < 0 or self.factor < 0:
            raise ValueError("Retry: attempts must be at least 1, delay and factor must not be negative")

    def pause(self, failed: int, error: BaseException) -> float | None:
        """Seconds until the next attempt after `failed` attempts failed, the last with `error`; None: give up."""
        if failed >= self.attempts or not isinstance(error, self.on):
            return None
        return float(min(self.delay * self.factor ** (failed - 1), self.longest))


def name_of(fn: Callable[..., Any]) -> str:
    """Name a callable for people."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return str(getattr(fn, "__qualname__", type(fn).__qualname__))


class Step:
    """One action on the outside world that a task waits for.

    Attributes:
        key: idempotency key: the same at every attempt and after every restart, and no other step's.
        future: what the task awaits.
        failed: attempts that failed.
        due: moment of the next attempt, UTC seconds; None: as soon as it is committed.
    """

    def __init__(
        self, key: str, fn: Callable[..., Any], args: tuple[Any, ...], retry: Retry | None, context: contextvars.Context
    ) -> None:
        self.key, self.fn, self.args, self.retry, self.context = key, fn, args, retry, context
        self.future: Future[Any]
        self.failed = 0
        self.due: float | None = None

    @property
    def title(self) -> str:
        """Name of the function and key, for people."""
        return f"{name_of(self.fn)} [{self.key}]"

    def __repr__(self) -> str:
        return f"<Step {self.title}>"


class Outbox:
    """All steps of a loop that are not answered, by key."""

    def __init__(self) -> None:
        self.store_id = uuid.uuid4().hex[:16]
        self.asked = 0
        self.pending: dict[str, Step] = {}

    def ask(
        self,
        loop: DurableLoop,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        retry: Retry | None,
        context: contextvars.Context,
    ) -> Future[Any]:
        """Note a step; gives the future of its result."""
        self.asked += 1
        step = Step(f"{self.store_id}.{self.asked}", fn, args, retry, context)
        step.future = loop.create_future()
        self.pending[step.key] = step
        return step.future

    def sweep(self) -> None:
        """Drop the steps whose future was cancelled."""
        for key in [key for key, step in self.pending.items() if step.future.done()]:
            del self.pending[key]

    def startable(self) -> list[Step]:
        """Give the steps that are to run as soon as they are committed, in the order in which they were asked for."""
        return [step for step in self.pending.values() if step.due is None and not step.future.done()]

    def answer(self, loop: DurableLoop, key: str, value: Any, error: BaseException | None) -> Step | None:
        """Take in what an attempt gave.

        Returns:
            The step if it is answered now; None if it is to be tried again, or nobody waits for it any more.
        """
        step = self.pending.get(key)
        if step is None or step.future.done():
            self.pending.pop(key, None)
            return None
        if error is None:
            step.future.set_result(value)
        else:
            step.failed += 1
            pause = None if step.retry is None else step.retry.pause(step.failed, error)
            if pause is not None:
                step.due = loop.time() + pause
                loop.call_at(step.due, self._rearm, key, context=contextvars.Context())
                return None
            step.future.set_exception(error)
        del self.pending[key]
        return step

    def _rearm(self, key: str) -> None:
        step = self.pending.get(key)
        if step is not None:
            step.due = None
