"""`Host`: where attempts of steps run, beside the engine; never stored.

Functions run in daemon threads, coroutine functions on an event loop in a thread of its own.  What they give comes
back to the engine as an `Answer` in the inbox.

Rules: `Host` starts what it is told to, when it is told; nothing is waited for at close, as whatever is still running
will be started again (steps are at least once); threads are daemons so that a stuck step cannot keep the process from
ending; nobody breaks into a thread: its attempt is told that it was given up.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import queue
import threading
import types
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pstore._engine.attempts import Answer, Attempt, Moved, call_in
from pstore._engine.effects import StepFunction
from pstore._engine.threads import Threads
from pstore.errors import StepFailed

__all__ = ["AsyncHost", "Host", "is_coroutine_function", "is_for_tasks"]


class Host:
    """Runs attempts of steps."""

    def __init__(self, inbox: queue.SimpleQueue[Any]) -> None:
        self._inbox = inbox
        self._threads = Threads()
        self._async = AsyncHost(self.post)
        self._closed = False

    def start(self, attempt: Attempt, *, in_turn: bool) -> None:
        """Call the function of the attempt's step; `in_turn`: it is no coroutine function, and waits with others."""
        step = attempt.step
        context, call = step.context.copy(), functools.partial(step.fn, *step.args)
        if not in_turn and is_coroutine_function(step.fn):
            self._async.start(attempt, functools.partial(call_in, attempt, call), context)
            return
        start = self._threads.call_in_turn if in_turn else self._threads.call
        try:
            start(functools.partial(self._run, attempt, call, context))
        except RuntimeError as error:  # no more threads
            self.post(attempt, None, error)

    def give_up(self, attempt: Attempt) -> None:
        """Tell an attempt that its result is not wanted; cancel it if it is a coroutine."""
        attempt.give_up()
        self._async.cancel(attempt)

    @contextmanager
    def coroutines_by(self, steps: AsyncHost) -> Iterator[None]:
        """Have coroutine functions run elsewhere for a while."""
        before, self._async = self._async, steps
        try:
            yield
        finally:
            self._async = before

    def close(self) -> None:
        """Let go of everything; answers that are still to come are dropped."""
        self._closed = True
        self._threads.close()
        self._async.close()

    def _run(self, attempt: Attempt, call: functools.partial[Any], context: Any) -> None:
        if self._closed or attempt.given_up:
            return
        try:
            value = context.run(call_in, attempt, call)
        except BaseException as error:  # whatever it is belongs to the task, not to this thread
            self.post(attempt, None, error)
            return
        if inspect.isawaitable(value):  # a plain function, such as a lambda, that called a coroutine function
            self._inbox.put(Moved(attempt))
            self._async.start(attempt, functools.partial(_itself, value), context)
        else:
            self.post(attempt, value, None)

    def post(self, attempt: Attempt, value: Any, error: BaseException | None) -> None:
        """Take in what an attempt gave; from any thread."""
        if self._closed or attempt.given_up:
            return
        if isinstance(error, StopIteration | asyncio.CancelledError) or not isinstance(error, Exception | None):
            failed = StepFailed(attempt.step.key, _text_of(error))
            failed.__cause__, error = error, failed
        self._inbox.put(Answer(attempt, value, error))


class AsyncHost:
    """An event loop in a daemon thread, started when first needed."""

    def __init__(self, post: Callable[[Attempt, Any, BaseException | None], None]) -> None:
        self._post = post
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: dict[Attempt, asyncio.Task[None]] = {}  # touched in the loop's thread only
        self._closing = False
        self._lock = threading.Lock()

    def start(self, attempt: Attempt, call: Callable[[], Awaitable[Any]], context: Any) -> None:
        """Have what `call` gives awaited in `context`; from any thread."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._serve, args=(self._loop,), name="pstore-steps", daemon=True).start()
        self._loop.call_soon_threadsafe(self._create, self._loop, attempt, call, context)

    def cancel(self, attempt: Attempt) -> None:
        """Cancel an attempt if it runs here."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, attempt)

    def close(self) -> None:
        """End the thread when the steps that run have ended by themselves: nothing is thrown into them."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._close)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.close()

    def _create(self, loop: asyncio.AbstractEventLoop, attempt: Attempt, call: Callable[[], Any], context: Any) -> None:
        self._tasks[attempt] = loop.create_task(self._drive(attempt, call), context=context)
        if attempt.given_up:  # while it was on its way here
            loop.call_soon(self._cancel, attempt)

    def _cancel(self, attempt: Attempt) -> None:
        if attempt in self._tasks:
            self._tasks[attempt].cancel()

    async def _drive(self, attempt: Attempt, call: Callable[[], Awaitable[Any]]) -> None:
        try:
            value = await call()
        except BaseException as error:  # goes to the task that asked; this loop serves the others
            self._failed(attempt, error)
        else:
            self._post(attempt, value, None)
        finally:
            del self._tasks[attempt]
            self._end_if_idle()

    def _failed(self, attempt: Attempt, error: BaseException) -> None:
        self._post(attempt, None, error)

    def _close(self) -> None:
        self._closing = True
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._closing and not self._tasks:
            asyncio.get_running_loop().stop()


def _text_of(error: BaseException) -> str:
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # it is the program's own
        return name
    return f"{name}: {text}" if text else name


def _itself(value: Any) -> Any:
    return value


def is_coroutine_function(fn: Any) -> bool:
    """Whether calling it gives a coroutine: a coroutine function in whatever wrapping."""
    if type(fn) is types.FunctionType and not fn.__dict__:  # as below, in less time; a mark would be in there
        return bool(fn.__code__.co_flags & inspect.CO_COROUTINE)
    while True:
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif isinstance(fn, types.MethodType):
            fn = fn.__func__
        elif isinstance(fn, StepFunction):
            fn = fn.fn
        else:
            break
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(type(fn), "__call__", None))  # noqa: B004


def is_for_tasks(fn: Any) -> bool:
    """Whether calling it in a loop gives what a task can run: a coroutine function, a wrapper of one, or a step."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return isinstance(fn, StepFunction) or is_coroutine_function(fn) or is_coroutine_function(inspect.unwrap(fn))
