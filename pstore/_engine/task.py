"""`Task`: a coroutine that the durable loop runs.

Owned here: stepping a coroutine from await point to await point, cancellation, the states of a task.

    state       `_fut_waiter`   where the next step is
    waiting     a future        among the callbacks of that future, as `_wakeup`
    scheduled   None            among the ready calls of the loop, `turn` says where
    running     None            nowhere; this is never stored, as commits happen between calls
    done        None            nowhere; `_coro` has ended, and is not stored

A task is the head of a capsule (`pstore._store.capsules`): it has a record of its own, with its coroutine, and all that
only they lead to; its timers and steps are stored there as well.  Whoever changes a task, or runs it, touches it.

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
from asyncio.tasks import _enter_task, _leave_task, _register_task, _unregister_task
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import ref

from pstore._engine.future import Future
from pstore._engine.origin import origin
from pstore._engine.taskstate import kept_state, path_in, restore_state
from pstore._engine.timers import Handle
from pstore._engine.waits import NO_WAIT, wait_of
from pstore._store import constants
from pstore._store.capsules import moving

if TYPE_CHECKING:
    from pstore._engine.inbox import Inbox
    from pstore._engine.loop import DurableLoop
    from pstore._engine.outbox import Step
    from pstore._engine.timers import TimerHandle

__all__ = ["Task"]

T = TypeVar("T")


class Task(Future[T]):
    """A running program of its own; part of the graph.

    Attributes:
        id: names the task in the store; unique there.
        spawned: whether the engine started it, rather than another task.
        keep: whether it is to be found by its id when it is done.
        number: no other task of the store ever has it.
        asked: how many steps it has asked for.
        timers: those that it has set, by order.
        steps: those that it has asked for and that are not answered, by key.
        inbox: of the messages that were sent to it; None: it has not needed any.
        turn: its place among the ready calls when the loop was stored before they all were made; else None.
        since: when it came to where it stands: was made, last suspended, or ended; UTC seconds of the loop's time.
    """

    __pstore_tracked__ = False
    __pstore_capsule__ = True
    __slots__ = (
        "_activate",
        "_context",
        "_coro",
        "_fut_waiter",
        "_must_cancel",
        "_name",
        "_num_cancels_requested",
        "_owns_context",
        "asked",
        "id",
        "inbox",
        "keep",
        "number",
        "since",
        "spawned",
        "steps",
        "timers",
        "title",
        "turn",
    )
    _activate: Callable[[Task[Any]], None]  # of a task that is not loaded: loads it

    def __init__(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        loop: DurableLoop,
        task_id: str,
        name: str | None = None,
        context: contextvars.Context | None = None,
        spawned: bool = False,
        number: int = 0,
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
        self._owns_context = context is None
        self.number, self.asked = number, 0
        self.timers: dict[int, TimerHandle] = {}
        self.steps: dict[str, Step] = {}
        self.turn: int | None = None
        self.inbox: Inbox | None = None
        self._fut_waiter: Any = None
        self._must_cancel = False
        self._num_cancels_requested = 0
        _register_task(self)  # type: ignore[arg-type]  # for asyncio.all_tasks()

    def __getattr__(self, name: str) -> Any:
        """Load the task, if it is not loaded yet."""
        if self.is_loaded():
            if name not in _NAMES:
                return super().__getattr__(name)
            with moving:  # another thread may be about to load it, or to let go of it
                loaded = self.is_loaded()
            if loaded:
                try:
                    return object.__getattribute__(self, name)
                except AttributeError:
                    return super().__getattr__(name)
        self.__capsule_load__()
        return getattr(self, name)

    def __capsule_load__(self) -> None:
        """Load the task, if it is not loaded yet; in the thread that runs the engine."""
        try:
            activate = _activate_of(self)
        except AttributeError:
            return
        try:
            activate(self)
        except BaseException as error:
            running: Any = asyncio._get_running_loop()
            if hasattr(running, "parking"):  # by a part of the program, which may go on all the same
                running.parking.could_not_load(self, error)
            raise

    def is_loaded(self) -> bool:
        """Whether the task is not still to be loaded, when it is first used."""
        try:
            _activate_of(self)
        except AttributeError:
            return True
        return False

    def touch(self) -> None:
        """Say that the task, or something that only it leads to, may have changed."""
        self._loop.touched[id(self)] = ref(self)

    def key_of(self, number: int) -> str:
        """The key of the step of that number that this asks for."""
        return f"{self._loop.state.store_id}.{self.number}.{number}"

    def as_asker(self) -> tuple[str, str]:
        """Ids of the started task that this comes from, and of this."""
        return self._context.get(origin, ""), self.id

    # -- what asyncio.Task has

    if not TYPE_CHECKING:

        @property
        def __class__(self):
            return asyncio.Task

    def get_coro(self) -> Coroutine[Any, Any, T] | None:
        """Give the coroutine; None if the task was done when it was stored."""
        self.touch()
        return self._coro

    def get_context(self) -> contextvars.Context:
        """Give the context that the task runs in."""
        self._owns_context = False
        self.touch()
        return self._context

    def get_name(self) -> str:
        """Give the name."""
        return self._name

    def set_name(self, value: object) -> None:
        """Set the name; the id stays."""
        self.touch()
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
        self.touch()
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
        self.touch()
        if self._num_cancels_requested > 0:
            self._num_cancels_requested -= 1
            if self._num_cancels_requested == 0:
                self._must_cancel = False
        return self._num_cancels_requested

    # -- callbacks, outcome: as of a future

    def add_done_callback(self, fn: Callable[[Any], object], *, context: contextvars.Context | None = None) -> None:
        """Have the loop call ``fn(task)`` once the task is done; soon, if it is."""
        self.touch()
        super().add_done_callback(fn, context=context)

    def add_waiter(self, task: Task[Any]) -> None:
        """Have another task woken when this one is done."""
        self.touch()
        super().add_waiter(task)

    def remove_done_callback(self, fn: Callable[[Any], object]) -> int:
        """Take all calls of `fn` back; returns how many there were."""
        self.touch()
        return super().remove_done_callback(fn)

    def exception(self) -> BaseException | None:
        """As of a future."""
        self.touch()
        return super().exception()

    def _failure(self) -> BaseException | None:
        self.touch()
        return super()._failure()

    # -- stepping

    def wake(self, wakeup: Callable[[Any], object], future: Any) -> None:
        """Make the next step soon: what it waits for is done."""
        try:
            self.touch()
        except BaseException as error:  # the future does not know it any more
            future.get_loop().parking.could_not_load(self, error)
            raise
        self._loop.call_soon(wakeup, future, context=self._context)

    def start(self) -> None:
        """Have the loop make the first step, or the next one."""
        self.touch()
        self._loop.call_soon(self._step, context=self._context)

    def next_call(self) -> asyncio.Handle:
        """Make the call that makes the next step, of a task that has a `turn`."""
        waiter = self._fut_waiter
        if waiter is None:
            return Handle(self._step, (), self._loop, self._context)
        if isinstance(waiter, Future):
            return Handle(self._wakeup, (waiter,), self._loop, self._context)
        return Handle(self._wakeup_from, (waiter,), self._loop, _NOBODYS)

    def is_next_call(self, handle: Any) -> bool:
        """Whether a call is what `next_call` makes."""
        args = handle._args
        if self._fut_waiter is None:
            return handle._callback == self._step and not args
        return handle._callback in (self._wakeup, self._wakeup_from) and len(args) == 1 and args[0] is self._fut_waiter

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

    def wait_for_foreign(self, future: Any) -> None:
        """Be woken when a future of another kind is done, the one of `asyncio.gather` for instance.

        In a context of nobody's: the task may not be loaded yet, and its own one is to be led to by nobody else.
        """
        future.add_done_callback(self._wakeup_from, context=_NOBODYS)

    def _wakeup_from(self, future: Any) -> None:
        self._context.run(self._wakeup, future)

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
        self._fut_waiter = self.turn = None
        loop = self._loop
        loop.touched[id(self)] = ref(self)
        outer, loop.running_task = loop.running_task, self
        _enter_task(loop, self)  # type: ignore[arg-type]
        try:
            self._advance(error)
        finally:
            _leave_task(loop, self)  # type: ignore[arg-type]
            loop.running_task = outer
            self.since = loop.latest
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
            if not isinstance(yielded, Future):
                self.wait_for_foreign(yielded)
            elif yielded.done():
                self.wake(self._wakeup, yielded)
            else:
                yielded.add_waiter(self)
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
        if not self.is_loaded() or getattr(self, "spawned", True):
            return
        super().__del__()

    # -- storing, showing

    def __capsule_empty__(self) -> None:
        """Let go of all that the task has.

        asyncio knows it no longer: to whoever asks, in any thread and of any loop, it shows all that it knows, which
        would load this.
        """
        _unregister_task(self)  # type: ignore[arg-type]
        for name in _SLOTS:
            try:
                delattr(self, name)
            except AttributeError:
                pass

    def __capsule_parts__(self) -> tuple[tuple[Any, ...], tuple[int, ...]]:
        """What is not stored, if nobody else leads to it: see `waits`."""
        return wait_of(self) if self.steps or self.timers or self.inbox is not None else NO_WAIT

    def __capsule_state__(self, parts: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        """The state: see `taskstate`."""
        return kept_state(self, parts)

    def __capsule_path__(self, path: str) -> str:
        return path_in(self, path)

    def __set_capsule_state__(self, state: tuple[Any, ...], owner: Any, made: dict[int, Any]) -> None:
        restore_state(self, state, owner, made)

    def __getstate__(self) -> dict[str, Any]:
        # For who stores a task by itself, and for stores that were written when tasks had no records of their own.
        state = {"id": self.id, "_coro": None if self.done() else self._coro, **self._whole_state()}
        for name in Task.__slots__:
            if name not in ("_activate", "timers", "steps"):
                state.setdefault(name, getattr(self, name))
        return state

    def __setstate__(self, state: Any) -> None:
        self.since, self.number, self.asked, self._owns_context, self.turn = 0.0, 0, 0, False, None
        self.timers, self.steps, self.inbox = {}, {}, None
        super().__setstate__(state)
        if self._unseen and not self.spawned:
            self._loop.note_unseen(self)
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


_SLOTS = [name for cls in (Task, Future) for name in cls.__slots__ if name != "__weakref__"]
_NAMES = frozenset(_SLOTS)
_NOBODYS = contextvars.Context()
_activate_of = Task.__dict__["_activate"].__get__
constants.register(32, Task)


def _without_first_frame(error: BaseException) -> BaseException:
    """Take the frame that caught an exception off its traceback: that is a frame of the engine's."""
    if error.__traceback__ is not None:
        error.__traceback__ = error.__traceback__.tb_next
    return error
