"""`Task`: a coroutine that the durable loop runs.

Owned here: stepping a coroutine from await point to await point, cancellation, the states of a task.

    state       `_fut_waiter`   where the next step is
    waiting     a future        among the callbacks of that future, as `_wakeup`
    scheduled   None            among the ready calls of the loop
    running     None            nowhere; this is never stored, as commits happen between calls
    done        None            nowhere; `_coro` has ended, and is not stored

Rules: behaves as `asyncio.Task` does, of the newest Python, on all of them; it is not a subclass, since the C class
cannot be restored and the Python one keeps its steps under names that change with the version of Python.  A task that
is dropped says nothing and runs nothing (invariant I2).
Sources: CPython ``Lib/asyncio/tasks.py`` of 3.11 to 3.15 for the protocol between tasks, futures and the loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import types
from asyncio import base_tasks
from asyncio.coroutines import _format_coroutine  # type: ignore[attr-defined]  # as asyncio's tasks show it
from asyncio.tasks import _enter_task, _leave_task, _register_task
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from pstore._engine.future import Future

if TYPE_CHECKING:
    from pstore._engine.loop import DurableLoop

__all__ = ["Task"]

T = TypeVar("T")


class Task(Future[T]):
    """A running program of its own; part of the graph.

    Attributes:
        id: names the task in the store; unique there.
        spawned: whether the engine started it, rather than another task.
        keep: whether it is to be found by its id when it is done.
        since: when it came to where it stands: was made, last suspended, or ended; UTC seconds of the loop's time.
    """

    __slots__ = (
        "_context",
        "_coro",
        "_fut_waiter",
        "_must_cancel",
        "_name",
        "_num_cancels_requested",
        "id",
        "keep",
        "since",
        "spawned",
        "title",
    )

    def __init__(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        loop: DurableLoop,
        task_id: str,
        name: str | None = None,
        context: contextvars.Context | None = None,
        spawned: bool = False,
    ) -> None:
        if self._loop is not None:
            raise RuntimeError(f"{self!r} object is already initialized")
        if context is not None and not isinstance(context, contextvars.Context):
            raise TypeError(f"a contextvars.Context was expected, got {context!r}")
        super().__init__(loop=loop)
        self.id = task_id
        self.spawned = spawned
        self.keep = False
        self.since = float(loop.time())
        self.title = getattr(coro, "__qualname__", type(coro).__name__)
        self._coro: Coroutine[Any, Any, T] | None = coro
        self._name = task_id if name is None else str(name)
        self._context = contextvars.copy_context() if context is None else context
        self._fut_waiter: Any = None
        self._must_cancel = False
        self._num_cancels_requested = 0
        _register_task(self)  # type: ignore[arg-type]  # for asyncio.all_tasks()

    # -- what asyncio.Task has

    if not TYPE_CHECKING:

        @property
        def __class__(self):
            return asyncio.Task

    def get_coro(self) -> Coroutine[Any, Any, T] | None:
        """Give the coroutine; None if the task was done when it was stored."""
        return self._coro

    def get_context(self) -> contextvars.Context:
        """Give the context that the task runs in."""
        return self._context

    def get_name(self) -> str:
        """Give the name."""
        return self._name

    def set_name(self, value: object) -> None:
        """Set the name; the id stays."""
        self._name = str(value)

    def set_result(self, result: T) -> None:
        """Refuse: the result of a task is what its coroutine returns."""
        raise RuntimeError("Task does not support set_result operation")

    def set_exception(self, exception: BaseException | type[BaseException]) -> None:
        """Refuse: the exception of a task is what its coroutine raises."""
        raise RuntimeError("Task does not support set_exception operation")

    def get_stack(self, *, limit: int | None = None) -> list[types.FrameType]:
        """Give the outermost frame of a suspended coroutine; the traceback's frames of one that failed."""
        frames: list[types.FrameType] = base_tasks._task_get_stack(self, limit)  # type: ignore[arg-type]
        return frames

    def print_stack(self, *, limit: int | None = None, file: Any = None) -> None:
        """Print what `get_stack` gives, to stderr if there is no `file`."""
        base_tasks._task_print_stack(self, limit, file)  # type: ignore[arg-type]

    @property
    def _log_destroy_pending(self) -> bool:
        return False

    @_log_destroy_pending.setter
    def _log_destroy_pending(self, value: bool) -> None:
        # asyncio.gather sets this; a dropped durable task is silent anyway.
        pass

    # -- cancellation

    def cancel(self, msg: Any = None) -> bool:
        """Have CancelledError raised in the coroutine at its next step; False if the task is done."""
        self._unseen = False
        if self.done():
            return False
        self._num_cancels_requested += 1
        if self._fut_waiter is not None and self._fut_waiter.cancel(msg=msg):
            return True  # _wakeup will find the future cancelled; it stays the waiter in case the cancel is ignored
        self._must_cancel, self._cancel_message = True, msg
        return True

    def cancelling(self) -> int:
        """Count the requests to cancel that were not taken back."""
        return self._num_cancels_requested

    def uncancel(self) -> int:
        """Take one request to cancel back; gives how many are left."""
        if self._num_cancels_requested > 0:
            self._num_cancels_requested -= 1
            if self._num_cancels_requested == 0:
                self._must_cancel = False
        return self._num_cancels_requested

    # -- stepping

    def start(self) -> None:
        """Have the loop make the first step."""
        self._loop.call_soon(self._step, context=self._context)

    def start_eagerly(self) -> None:
        """Make the first step now, inside the running task, as ``eager_start=True`` asks for."""
        outer = asyncio.current_task(self._loop)
        if outer is not None:
            _leave_task(self._loop, outer)
        try:
            self._context.run(self._step)
        finally:
            if outer is not None:
                _enter_task(self._loop, outer)

    def _wakeup(self, future: Any) -> None:
        if isinstance(future, Future):
            self._step(future._failure())
            return
        try:
            future.result()
        except BaseException as error:  # a cancellation as well
            self._step(_without_first_frame(error))
        else:
            self._step()
        finally:
            del self, future  # as in Future.result

    def _step(self, error: BaseException | None = None) -> None:
        if self.done():
            raise asyncio.InvalidStateError(f"_step(): already done: {self!r}")
        if self._must_cancel:
            if not isinstance(error, asyncio.CancelledError):
                error = self._make_cancelled_error()
            self._must_cancel = False
        self._fut_waiter = None
        _enter_task(self._loop, self)  # type: ignore[arg-type]
        try:
            self._advance(error)
        finally:
            _leave_task(self._loop, self)  # type: ignore[arg-type]
            self.since = getattr(self._loop, "latest", self.since)  # asyncio's own loops have none
            del self, error  # as above

    def _advance(self, error: BaseException | None) -> None:
        coro = self._coro
        assert coro is not None
        try:
            yielded = coro.send(None) if error is None else coro.throw(error)
        except StopIteration as stop:
            if self._must_cancel:  # cancelled while it returned
                self._must_cancel = False
                self._finish_cancelled(self._cancel_message)
            else:
                super().set_result(stop.value)
                self._end()
        except asyncio.CancelledError as cancelled:
            self._cancelled_exc = _without_first_frame(cancelled)
            self._finish_cancelled(None)
        except (KeyboardInterrupt, SystemExit) as leaving:
            self._fail(leaving)
            raise
        except BaseException as failure:  # kept with the task
            self._fail(failure)
        else:
            self._wait_for(yielded)
        finally:
            del self, coro, error

    def _wait_for(self, yielded: Any) -> None:
        blocking = getattr(yielded, "_asyncio_future_blocking", None)
        if blocking is None:
            if yielded is None:  # a bare yield: asyncio.sleep(0)
                self.start()
            else:
                self._step_soon_with(f"Task got bad yield: {yielded!r}")
        elif yielded.get_loop() is not self._loop:
            self._step_soon_with(f"Task {self!r} got Future {yielded!r} attached to a different loop")
        elif not blocking:
            self._step_soon_with(f"yield was used instead of yield from in task {self!r} with {yielded!r}")
        elif yielded is self:
            self._step_soon_with(f"Task cannot await on itself: {self!r}")
        else:
            yielded._asyncio_future_blocking = False
            yielded.add_done_callback(self._wakeup, context=self._context)
            self._fut_waiter = yielded
            if self._must_cancel and yielded.cancel(msg=self._cancel_message):
                self._must_cancel = False

    def _step_soon_with(self, message: str) -> None:
        self._loop.call_soon(self._step, RuntimeError(message), context=self._context)

    # -- ending

    def _end(self) -> None:
        self._loop.task_ended(self)

    def _finish_cancelled(self, message: Any) -> None:
        super().cancel(msg=message)
        self._end()

    def _fail(self, error: BaseException) -> None:
        super().set_exception(_without_first_frame(error))
        self._end()

    @property
    def failed(self) -> bool:
        """Whether the task ended with an exception (a cancellation is none)."""
        return self._exception is not None

    def __del__(self) -> None:
        # A spawned task that failed is reported by the engine, which keeps it.
        if not getattr(self, "spawned", True):
            super().__del__()

    # -- storing, showing

    def __getstate__(self) -> dict[str, Any]:
        # The coroutine first, so that the path to what cannot be stored leads through it, not through callbacks.
        state = {"id": self.id, "_coro": None if self.done() else self._coro, **super().__getstate__()}
        for name in Task.__slots__:
            state.setdefault(name, getattr(self, name))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.since = 0.0  # of a store that was written before there was such a thing
        super().__setstate__(state)
        if not self.done():
            _register_task(self)  # type: ignore[arg-type]

    def _repr_info(self) -> list[str]:
        info = super()._repr_info()
        if not self.done() and self.cancelling():
            info[0] = "cancelling"
        # Of a task that was done when it was stored the coroutine is not there any more.
        coro = f"{self.title}() done" if self._coro is None else _format_coroutine(self._coro)
        info[1:1] = [f"name={self._name!r}", f"coro=<{coro}>"]
        if self._fut_waiter is not None:
            info.insert(3, f"wait_for={self._fut_waiter!r}")
        return info


def _without_first_frame(error: BaseException) -> BaseException:
    """Take the frame that caught an exception off its traceback: that is a frame of the engine's."""
    if error.__traceback__ is not None:
        error.__traceback__ = error.__traceback__.tb_next
    return error
