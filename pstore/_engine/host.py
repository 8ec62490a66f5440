"""`Host`: where steps run, beside the engine; never stored.

Functions run in a few daemon threads, coroutine functions on an event loop in a thread of its own.  What they give
comes back to the engine as an `Answer` in the inbox.

Rules: `Host` starts only what the engine says is committed; nothing is waited for at close, as whatever is still
running will be started again (steps are at least once); threads are daemons so that a stuck step cannot keep the
process from ending.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import queue
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pstore._engine.effects import call_with_key
from pstore._engine.outbox import Outbox, Step
from pstore.errors import StepFailed

__all__ = ["Answer", "Host"]

MOST_THREADS = 32


@dataclass(frozen=True)
class Answer:
    """What one attempt of a step gave: a value, or an error."""

    key: str
    value: Any
    error: BaseException | None


class Host:
    """Runs steps.

    Attributes:
        running: keys of the steps that were started and whose answer the engine has not taken.
    """

    def __init__(self, inbox: queue.SimpleQueue[Any]) -> None:
        self.running: set[str] = set()
        self._inbox = inbox
        self._jobs: queue.SimpleQueue[functools.partial[None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._async = _AsyncHost(self._post)
        self._closed = False

    def start_committed(self, outbox: Outbox) -> None:
        """Start what is to run and does not; call off what nobody waits for.  Only right after a commit."""
        for key in self.running - outbox.pending.keys():
            self._async.cancel(key)
        for step in outbox.startable():
            if step.key not in self.running:
                self._start(step)

    def taken(self, key: str) -> None:
        """Note that the engine has the answer."""
        self.running.discard(key)

    def close(self) -> None:
        """Let go of everything; answers that are still to come are dropped."""
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        self._async.close()

    def _start(self, step: Step) -> None:
        self.running.add(step.key)
        context = step.context.copy()
        call = functools.partial(step.fn, *step.args)
        if _is_coroutine_function(step.fn):
            self._async.start(step.key, functools.partial(call_with_key, step.key, call), context)
            return
        self._jobs.put(functools.partial(self._run, step.key, call, context))
        if len(self._threads) < min(MOST_THREADS, len(self.running)):
            thread = threading.Thread(target=self._work, name=f"pstore-step-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None and not self._closed:
            job()
            del job  # not kept while waiting for the next

    def _run(self, key: str, call: functools.partial[Any], context: Any) -> None:
        try:
            value = context.run(call_with_key, key, call)
        except BaseException as error:  # whatever it is belongs to the task, not to this thread
            self._post(key, None, error)
            return
        if inspect.isawaitable(value):  # a plain function, such as a lambda, that called a coroutine function
            self._async.start(key, functools.partial(_itself, value), context)
        else:
            self._post(key, value, None)

    def _post(self, key: str, value: Any, error: BaseException | None) -> None:
        if self._closed:
            return
        if isinstance(error, StopIteration | asyncio.CancelledError) or not isinstance(error, Exception | None):
            failed = StepFailed(key, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
            failed.__cause__, error = error, failed
        self._inbox.put(Answer(key, value, error))


class _AsyncHost:
    """An event loop in a daemon thread, started when first needed."""

    def __init__(self, post: Callable[[str, Any, BaseException | None], None]) -> None:
        self._post = post
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}  # touched in the loop's thread only
        self._closing = False
        self._lock = threading.Lock()

    def start(self, key: str, call: Callable[[], Awaitable[Any]], context: Any) -> None:
        """Have what `call` gives awaited in `context`; from any thread."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._serve, args=(self._loop,), name="pstore-steps", daemon=True).start()
        self._loop.call_soon_threadsafe(self._create, self._loop, key, call, context)

    def cancel(self, key: str) -> None:
        """Cancel a step if it runs here."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, key)

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

    def _create(self, loop: asyncio.AbstractEventLoop, key: str, call: Callable[[], Any], context: Any) -> None:
        self._tasks[key] = loop.create_task(self._drive(key, call), context=context)

    def _cancel(self, key: str) -> None:
        if key in self._tasks:
            self._tasks[key].cancel()

    async def _drive(self, key: str, call: Callable[[], Awaitable[Any]]) -> None:
        try:
            value = await call()
        except BaseException as error:  # goes to the task that asked; this loop serves the others
            self._post(key, None, error)
        else:
            self._post(key, value, None)
        finally:
            del self._tasks[key]
            self._end_if_idle()

    def _close(self) -> None:
        self._closing = True
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._closing and not self._tasks:
            asyncio.get_running_loop().stop()


def _itself(value: Any) -> Any:
    return value


def _is_coroutine_function(fn: Any) -> bool:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(type(fn), "__call__", None))  # noqa: B004
