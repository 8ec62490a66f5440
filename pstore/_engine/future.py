"""`Future`: the future that the durable loop makes, and how asyncio's own futures are stored.

Owned here: the state of a pending or finished result, its callbacks, and the awaitable behind ``await future``.

Rules:

- Behaves as `asyncio.Future` does (``asyncio.isfuture`` holds); written in Python with readable state, because the C
  class hides the parts that a restart needs.
- No frame of pstore's own code may be part of a stored task, or a new version of pstore could not read it.  So
  ``await future`` runs through `FutureAwait`, a plain object, in place of a generator.
- Futures that users make with ``asyncio.Future()``, and the one that ``asyncio.gather`` returns, are C objects; they
  are stored through `graph.register`: state, result, exception, cancel message, callbacks with their contexts, own
  attributes.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import reprlib
import types
from asyncio import base_futures, futures
from asyncio.tasks import _GatheringFuture  # type: ignore[attr-defined]  # gather's result has no public name
from collections.abc import Callable, Generator, Iterable
from traceback import StackSummary
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pstore._engine import debug
from pstore._engine.waiters import waiters
from pstore._store import constants, graph
from pstore.errors import UnsupportedValue

if TYPE_CHECKING:
    from pstore._engine.loop import DurableLoop
    from pstore._engine.task import Task

__all__ = ["Future", "FutureAwait"]

T = TypeVar("T")
Callback = Callable[[Any], object]

# In place of a traceback: the one that the exception has.
_OF_EXCEPTION = object()

PENDING, CANCELLED, FINISHED = "PENDING", "CANCELLED", "FINISHED"


_AT_FIRST = {"_loop": None, "_state": PENDING, "_exception": None, "_unseen": False, "_source_traceback": None}


class Future(Generic[T]):
    """A result that will be there later; part of the graph.

    Made by ``loop.create_future()``.  The methods are those of `asyncio.Future`.
    """

    # Whatever changes in one, and in a task, is in its slots, where the store can see it without storing it again.
    __pstore_tracked__ = True
    __slots__ = (
        "__weakref__",
        "_asyncio_future_blocking",
        "_callbacks",
        "_cancel_message",
        "_cancelled_exc",
        "_exception",
        "_exception_tb",
        "_loop",
        "_result",
        "_source_traceback",
        "_state",
        "_unseen",
    )
    _loop: Any  # DurableLoop; None before it is initialised
    _state: str
    _exception: BaseException | None
    _unseen: bool
    _source_traceback: StackSummary | None

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(types.GenericAlias)

        @property
        def __class__(self):
            """What `isinstance` is told besides the type: programs ask whether they have a future, or a task."""
            return asyncio.Future

    def __getattr__(self, name: str) -> Any:
        """Give what a future is that was not initialised, or whose state is not loaded yet; others have the slots."""
        try:
            return _AT_FIRST[name]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self
            ) from None

    # The order is that of the stored format.
    _STORED = (
        "_asyncio_future_blocking",
        "_callbacks",
        "_cancel_message",
        "_cancelled_exc",
        "_exception",
        "_loop",
        "_result",
        "_state",
    )

    def __init__(self, *, loop: DurableLoop) -> None:
        self._loop = loop
        self._state, self._exception, self._unseen = PENDING, None, False
        self._result: T | None = None
        self._exception_tb: Any = None
        self._callbacks: list[tuple[Any, contextvars.Context | None]] = []
        self._cancel_message: Any = None
        self._cancelled_exc: BaseException | None = None
        self._asyncio_future_blocking = False
        self._source_traceback = debug.whence() if loop.get_debug() else None

    @property
    def _asyncio_awaited_by(self) -> list[asyncio.Task[Any]] | None:
        return waiters(self) or None

    # -- state

    def get_loop(self) -> DurableLoop:
        """Give the loop that the future belongs to."""
        if self._loop is None:
            raise RuntimeError("Future object is not initialized.")
        loop: DurableLoop = self._loop
        return loop

    def done(self) -> bool:
        """Tell whether there is a result, an exception, or a cancellation."""
        return self._state != PENDING

    def cancelled(self) -> bool:
        """Tell whether the future was cancelled."""
        return self._state == CANCELLED

    def result(self) -> T:
        """Give the result, or raise the exception that was set.

        Raises:
            asyncio.CancelledError: the future was cancelled.
            asyncio.InvalidStateError: it is not done.
        """
        if self._state == PENDING:
            raise asyncio.InvalidStateError("Result is not set.")
        error = self._failure()
        if error is not None:
            try:
                raise error
            finally:
                del self, error  # the traceback has this frame, and must not hold the future that holds the exception
        return self._result  # type: ignore[return-value]  # done without an exception: it is a T

    def _failure(self) -> BaseException | None:
        """Give what `result` raises when the future is done; None if it gives a result."""
        if self._state == CANCELLED:
            return self._make_cancelled_error()
        self._unseen = False
        if self._exception is None:
            return None
        trace = self._exception.__traceback__ if self._exception_tb is _OF_EXCEPTION else self._exception_tb
        self._exception_tb = None  # given out once, as by asyncio's: the next who asks adds to no other's
        return self._exception.with_traceback(trace)

    def exception(self) -> BaseException | None:
        """Give the exception that was set, None if there is a result; raises as `result` if cancelled or not done."""
        if self._state == CANCELLED:
            raise self._make_cancelled_error()
        if self._state != FINISHED:
            raise asyncio.InvalidStateError("Exception is not set.")
        self._unseen = False
        return self._exception

    @property
    def _log_traceback(self) -> bool:
        """Whether there is an exception that nobody has looked at; asyncio says that somebody has by setting it."""
        return self._unseen

    @_log_traceback.setter
    def _log_traceback(self, value: bool) -> None:
        if value:
            raise ValueError("_log_traceback can only be set to False")
        self._unseen = False

    def _make_cancelled_error(self) -> BaseException:
        # Called by asyncio.gather too. The saved error is handed out once, so that it is chained once.
        error, self._cancelled_exc = self._cancelled_exc, None
        if error is not None:
            return error
        message = self._cancel_message
        return asyncio.CancelledError() if message is None else asyncio.CancelledError(message)

    # -- making it done

    def set_result(self, result: T) -> None:
        """Make the future done with a result."""
        self._check_pending()
        self._result, self._state = result, FINISHED
        self._schedule_callbacks()

    def set_exception(self, exception: BaseException | type[BaseException]) -> None:
        """Make the future done with an exception."""
        self._check_pending()
        error = exception() if isinstance(exception, type) else exception
        if isinstance(error, StopIteration):
            # A StopIteration that leaves an awaitable would look like its result.
            wrapped = RuntimeError("StopIteration interacts badly with generators and cannot be raised into a Future")
            wrapped.__cause__ = wrapped.__context__ = error
            error = wrapped
        self._exception, self._exception_tb, self._state = error, error.__traceback__, FINISHED
        self._schedule_callbacks()
        self._unseen = True

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the future; False if it is done already."""
        self._unseen = False
        if self._state != PENDING:
            return False
        self._state, self._cancel_message = CANCELLED, msg
        self._schedule_callbacks()
        return True

    def _check_pending(self) -> None:
        if self._state != PENDING:
            raise asyncio.InvalidStateError(f"{self._state}: {self!r}")

    # -- callbacks

    def add_done_callback(self, fn: Callback, *, context: contextvars.Context | None = None) -> None:
        """Have the loop call ``fn(future)`` once the future is done; soon, if it is."""
        if self._state != PENDING:
            self._loop.call_soon(fn, self, context=context)
        else:
            self._callbacks.append((fn, contextvars.copy_context() if context is None else context))

    def remove_done_callback(self, fn: Callback) -> int:
        """Take all calls of `fn` back; returns how many there were."""
        kept = [entry for entry in self._callbacks if entry[0] != fn]
        removed = len(self._callbacks) - len(kept)
        self._callbacks[:] = kept
        return removed

    def _schedule_callbacks(self) -> None:
        self._loop.finished.append(id(self))
        callbacks, self._callbacks = self._callbacks, []
        for fn, context in callbacks:
            if context is None:
                fn.__self__.wake(fn, self)
            else:
                self._loop.call_soon(fn, self, context=context)

    def add_waiter(self, task: Task[Any]) -> None:
        """Have a task woken when the future, which is pending, is done."""
        self._callbacks.append((task._wakeup, None))

    # -- awaiting

    def __await__(self) -> Generator[Any, None, T]:
        return FutureAwait(self)

    __iter__ = __await__

    # -- storing, reporting

    def __reduce__(self) -> tuple[Any, ...]:
        return _new_durable, (type(self),), self.__getstate__()

    def __getstate__(self) -> Any:
        """The state: (loop, callbacks, blocking) of a plain pending future, see `_kept_callbacks`; (loop, result)
        of one with a result; of others a dict.
        """
        if self._cancel_message is None and self._source_traceback is None:
            if self._state == PENDING:
                return self._loop, _kept_callbacks(self._callbacks), self._asyncio_future_blocking
            if self._state == FINISHED and self._exception is None and not self._callbacks:
                return self._loop, self._result
        return self._whole_state()

    def _whole_state(self) -> dict[str, Any]:
        # The traceback is stored with the exception, whose __traceback__ it was, until it was given out.
        state = {name: getattr(self, name) for name in Future._STORED}
        state["_callbacks"] = _kept_callbacks(self._callbacks)
        state["_log_traceback"] = self._unseen
        if self._exception is not None and self._exception_tb is None:
            state["_exception_tb"] = None
        if self._source_traceback is not None:
            state["_source_traceback"] = debug.kept(self._source_traceback)
        return state

    def __setstate__(self, state: Any) -> None:
        if type(state) is tuple:
            Future.__init__(self, loop=_WITHOUT_DEBUG)
            if len(state) == 2:
                (self._loop, self._result), self._state = state, FINISHED
            else:
                self._loop, callbacks, self._asyncio_future_blocking = state
                self._callbacks = _live_callbacks(callbacks)
            return
        given = dict(state)
        given["_callbacks"] = _live_callbacks(given["_callbacks"])
        self._unseen = given.pop("_log_traceback")
        self._source_traceback = debug.restored(given.pop("_source_traceback", None))
        # Asked later: in a cycle the exception may not have its traceback yet.
        self._exception_tb = _OF_EXCEPTION
        for name, value in given.items():
            setattr(self, name, value)

    def __del__(self) -> None:
        if self._unseen and not self._loop.is_closed():
            what = f"{type(self).__name__} exception was never retrieved"
            context: dict[str, Any] = {"message": what, "exception": self._exception, "future": self}
            if self._source_traceback:
                context["source_traceback"] = self._source_traceback
            self._loop.call_exception_handler(context)

    def _repr_info(self) -> list[str]:
        info: list[str] = base_futures._future_repr_info(self)  # type: ignore[arg-type]  # reads what is here too
        return info

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {' '.join(self._repr_info())}>"


def _kept_callbacks(callbacks: list[tuple[Any, contextvars.Context | None]]) -> list[Any]:
    """Callbacks as they are stored: a task that waits stands for itself."""
    return [entry if entry[1] is not None else entry[0].__self__ for entry in callbacks]


def _live_callbacks(kept: Iterable[Any]) -> list[tuple[Any, contextvars.Context | None]]:
    return [entry if type(entry) is tuple else (entry._wakeup, None) for entry in kept]


def _new_durable(cls: type[Future[Any]]) -> Future[Any]:
    new: Future[Any] = cls.__new__(cls)
    return new


class _NoLoop:
    """For a future that is done at once."""

    def get_debug(self) -> bool:
        return False


_WITHOUT_DEBUG: Any = _NoLoop()


def _finished_await() -> Any:
    loop: Any = _WITHOUT_DEBUG
    future: asyncio.Future[None] = asyncio.Future(loop=loop)
    future.set_result(None)
    awaitable = future.__await__()
    next(awaitable, None)
    return awaitable


# Raises what it is given.
_THROW: Callable[..., Any] = _finished_await().throw


class FutureAwait:
    """What ``await future`` iterates: gives the future to the task once, then its result.  A plain, stored object."""

    __pstore_tracked__ = True
    __slots__ = ("_future", "_given")

    def __init__(self, future: Future[Any]) -> None:
        self._future = future
        self._given = False

    # In C, as is what makes a step that fails: no frame of the engine's is in a traceback.
    throw = _THROW

    def __iter__(self) -> FutureAwait:
        return self

    @property
    def __next__(self) -> Callable[[], Any]:
        """Give what makes a step: as `send`."""
        future = self._future
        error = future._failure() if future.done() else None
        return functools.partial(self.send, None) if error is None else functools.partial(_THROW, error)

    def send(self, value: None) -> Future[Any]:
        """Give the future while it is pending; end with its result when it is done."""
        future = self._future
        if future.done():
            try:
                raise StopIteration(future.result())
            finally:
                del self, future  # as in Future.result
        if self._given:
            raise RuntimeError("await wasn't used with future")
        self._given = future._asyncio_future_blocking = True
        return future

    def close(self) -> None:
        """Nothing is held."""

    def __getstate__(self) -> tuple[Future[Any], bool]:
        return self._future, self._given

    def __setstate__(self, state: tuple[Future[Any], bool]) -> None:
        self._future, self._given = state


# -- asyncio's own futures

_ForeignState = dict[str, Any]


def _new_future(cls: type[asyncio.Future[Any]], loop: Any) -> asyncio.Future[Any]:
    # Complete as to C, as a frame may ask for its awaitable before its state is there. The loop may be without state.
    # Where this is done is of no interest to debug mode.
    future = cls.__new__(cls)
    with debug.off(loop):
        asyncio.Future.__init__(future, loop=loop)
    return future


def _reduce_future(future: Any) -> tuple[Any, ...]:
    state: _ForeignState = {
        "state": future._state,
        "result": future._result if future._state == FINISHED and future._exception is None else None,
        "exception": future._exception,
        "callbacks": [_kept_foreign(*entry) for entry in future._callbacks or ()],
        "cancel_message": future._cancel_message,
        "blocking": future._asyncio_future_blocking,
        "unseen": future._log_traceback,
        "attributes": object.__getstate__(future) or {},  # the C class shows no __dict__
    }
    return _new_future, (type(future), future._loop), state, None, None, _restore_future


def _kept_foreign(fn: Any, context: contextvars.Context) -> Any:
    """A callback as it is stored: a task that waits stands for itself."""
    task: Any = getattr(fn, "__self__", None)
    return task if getattr(type(task), "__pstore_capsule__", False) and fn == task._wakeup_from else (fn, context)


def _restore_future(future: asyncio.Future[Any], state: _ForeignState) -> None:
    for name, value in state["attributes"].items():
        setattr(future, name, value)
    # Made done before the callbacks are put in: those of a future that was done ran, or wait, in the loop.
    if state["state"] == CANCELLED:
        asyncio.Future.cancel(future, msg=state["cancel_message"])
    elif state["exception"] is not None:
        future.set_exception(state["exception"])
        if not state["unseen"]:
            future._log_traceback = False
    elif state["state"] == FINISHED:
        future.set_result(state["result"])
    for entry in state["callbacks"]:
        if type(entry) is tuple:
            future.add_done_callback(entry[0], context=entry[1])
        else:
            entry.wait_for_foreign(future)
    future._cancel_message = state["cancel_message"]  # type: ignore[attr-defined]
    future._asyncio_future_blocking = state["blocking"]


def _await(future: asyncio.Future[Any]) -> Any:
    return future.__await__()


def _reduce_await(awaitable: Any) -> tuple[Any, ...]:
    # A new one serves: it asks the future, and gives it to the task again only while it is pending.
    futures = [item for item in gc.get_referents(awaitable) if asyncio.isfuture(item)]
    return (_await, (futures[0],)) if futures else (_finished_await, ())


def _reduce_task(task: asyncio.Task[Any]) -> tuple[Any, ...]:
    reason = "asyncio keeps its state where it cannot be read"
    raise UnsupportedValue("asyncio.Task", reason, "make tasks with asyncio.create_task, not with asyncio.Task")


for _number, _obj in enumerate((Future, FutureAwait, _new_durable, futures._set_result_unless_cancelled), 16):  # type: ignore[attr-defined]
    constants.register(_number, _obj)

graph.register(asyncio.Future, _reduce_future)
graph.register(_GatheringFuture, _reduce_future)
graph.register(type(_finished_await()), _reduce_await)
graph.register(asyncio.Task, _reduce_task)
