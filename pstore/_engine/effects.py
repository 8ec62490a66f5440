"""`step`, `step_key`, `now`: what a task has beside the standard library.

Rules: a step is asked for when it is awaited, not before; what a task awaits is a plain object (`StepCall`), not a
frame of pstore's, so that a new version of pstore can read the tasks of an old one.
"""

from __future__ import annotations

import contextvars
import functools
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar, overload

from pstore._engine.future import Future, FutureAwait
from pstore._engine.loop import running_loop
from pstore._engine.outbox import Retry, name_of
from pstore.errors import NotInEngine

__all__ = ["StepCall", "call_with_key", "now", "step", "step_key"]

T = TypeVar("T")

_current_key: contextvars.ContextVar[str] = contextvars.ContextVar("pstore_step_key")


class StepCall(Coroutine[Any, Any, T]):
    """An action on the outside world, to be awaited once; ``create_task`` and ``gather`` take it as well."""

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...], retry: Retry | None) -> None:
        self.fn, self.args, self.retry = fn, args, retry
        self.__qualname__ = f"step {name_of(fn)}"
        self._future: Future[T] | None = None
        self._wait: FutureAwait | None = None
        self._over = False

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> StepCall[T]:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        """Ask for the step at the first call; end with its result when there is one."""
        if self._over:
            raise RuntimeError(f"{self!r} was awaited already; make another with pstore.step()")
        if self._wait is None:
            self._future = running_loop("pstore.step()").ask(self.fn, self.args, retry=self.retry)
            self._wait = FutureAwait(self._future)
        try:
            return self._wait.send(None)
        except BaseException:
            self._over = True
            raise

    def throw(self, kind: Any, value: Any = None, traceback: TracebackType | None = None) -> Any:
        """Give the step up: its result is dropped, and it does not start if it has not."""
        self.close()
        error = kind if isinstance(kind, BaseException) else value if isinstance(value, BaseException) else kind()
        raise error if traceback is None else error.with_traceback(traceback)

    def close(self) -> None:
        """Give the step up."""
        self._over = True
        if self._future is not None and not self._future.done():
            self._future.cancel()

    def __del__(self) -> None:
        if not getattr(self, "_over", True) and self._wait is None:
            warnings.warn(f"{self!r} was never awaited, so it was not done", RuntimeWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        return f"<{self.__qualname__}>"


@overload
def step(fn: Callable[..., Coroutine[Any, Any, T]], *args: Any, retry: Retry | None = None) -> StepCall[T]: ...
@overload
def step(fn: Callable[..., Awaitable[T]], *args: Any, retry: Retry | None = None) -> StepCall[T]: ...
@overload
def step(fn: Callable[..., T], *args: Any, retry: Retry | None = None) -> StepCall[T]: ...
def step(fn: Callable[..., Any], *args: Any, retry: Retry | None = None) -> StepCall[Any]:
    """Act on the outside world: ``value = await pstore.step(fn, *args)``.

    The step is noted in the graph, and `fn` is called after the commit that contains the note is down.  What it gives
    back, or raises, is committed before the task goes on.  After a crash a step whose result was not committed is
    called again, with the same `step_key`: **at least once**.  `fn` runs beside the engine (a function in a thread, a
    coroutine function on a private event loop), so it must not change objects that tasks share; it should give back
    what is new.  A task that is cancelled meanwhile drops the result.

    Args:
        fn: a function or coroutine function; a method, partial or closure is stored by value like any other.
        args: its arguments.  For keyword arguments use `functools.partial`.
        retry: when to call it again after it has raised; None: never, the exception is raised at the await.

    Raises (at the await):
        StepResultRefused: what `fn` gave back cannot be stored.
        StepFailed: `fn` ended with something that would end the task or the program (SystemExit, CancelledError, ...).
    """
    if not callable(fn):
        raise TypeError(f"pstore.step(fn, *args) needs a function, got {fn!r}; pass its arguments apart")
    return StepCall(fn, args, retry)


def step_key() -> str:
    """Give the idempotency key of the step that is running: pass it to a service that drops repeated requests.

    The same at every attempt and after every restart; no other step, of this or another store, has it.

    Raises:
        NotInEngine: called outside a step.
    """
    key = _current_key.get(None)
    if key is None:
        raise NotInEngine("pstore.step_key() was called outside a step; call it in a function given to pstore.step()")
    return key


def now() -> float:
    """Give the time as the engine's clock has it: UTC, seconds since the epoch.  For tasks.

    Raises:
        NotInEngine: called outside a task.
    """
    return running_loop("pstore.now()").time()


def call_with_key(key: str, call: functools.partial[T]) -> T:
    """Call with `step_key` set in the present context."""
    _current_key.set(key)
    return call()
