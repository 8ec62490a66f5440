"""The durable loop, task and future in the places that CPython's tests of asyncio know: driven by themselves, on the
clock of the system or on that of the test; nothing is stored.

The driver is that of a test, not of the engine: `run_forever`, `run_until_complete` and `stop` with the rounds of
asyncio's own loops; steps are run by the engine's `Dispatcher`, right after the round in which they were asked for.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import sys

from pstore._engine import future, task
from pstore._engine.dispatch import Dispatcher, News
from pstore._engine.loop import DurableLoop
from pstore.clock import SystemClock


class DrivenLoop(DurableLoop):
    """The durable loop, driven by itself as asyncio's own loops are."""

    _default_executor = None  # looked at by the tests' tearDown
    _clock_resolution = 1e-9

    def __init__(self):
        super().__init__()
        self._stopping = False
        self._steps = Dispatcher(self, SystemClock())
        self._factory = None

    # -- what the tests call

    def run_forever(self):
        self._check_may_run()
        hooks = sys.get_asyncgen_hooks()
        self.set_running(True)
        sys.set_asyncgen_hooks(finalizer=self.close_asyncgen)
        try:
            while True:
                self._run_once()
                if self._stopping:
                    break
        finally:
            self._stopping = False
            sys.set_asyncgen_hooks(*hooks)
            self.set_running(False)

    def run_until_complete(self, future):
        self._check_may_run()
        mine = not asyncio.isfuture(future)
        future = asyncio.ensure_future(future, loop=self)
        future.add_done_callback(self._stop_with)
        try:
            self.run_forever()
        except BaseException:
            if mine and future.done() and not future.cancelled():
                future.exception()  # it is what was raised
            raise
        finally:
            future.remove_done_callback(self._stop_with)
        if not future.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return future.result()

    def _stop_with(self, future):
        if future.cancelled() or not isinstance(future.exception(), SystemExit | KeyboardInterrupt):
            self.stop()

    def stop(self):
        self._stopping = True

    def close(self):
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        super().close()
        self._ready.clear()
        self._steps.close()

    def set_task_factory(self, factory):
        # The engine's loop takes no factory but asyncio.eager_task_factory; the tests put their classes in by one.
        if factory is not None and not callable(factory):
            raise TypeError("task factory must be a callable or None")
        if factory is getattr(asyncio, "eager_task_factory", self):
            super().set_task_factory(factory)
            factory = None
        self._factory = factory

    def get_task_factory(self):
        return self._factory or super().get_task_factory()

    def create_task(self, coro, **kwargs):
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        if self._factory is None:
            task = super().create_task(coro, **kwargs)
            if task._source_traceback:
                del task._source_traceback[-1]  # this frame
            return task
        if kwargs.get("context", self) is None:
            del kwargs["context"]
        name = kwargs.pop("name", None) if sys.version_info < (3, 13, 3) else None
        task = self._factory(self, coro, **kwargs)
        if name is not None:
            task.set_name(name)
        return task

    @property
    def _scheduled(self):
        return [handle for _, _, handle in self._timers._heap]

    # -- a round

    def _check_may_run(self):
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        if self.is_running():
            raise RuntimeError("This event loop is already running")
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("Cannot run the event loop while another loop is running")

    def _run_once(self):
        self._steps.before_commit()
        self.touched.clear()  # as a commit does
        self._steps.after_commit()
        self._take_news(self._timeout())
        self._ready.extend(self._timers.take_due(self.time()))
        self._run_calls(len(self._ready))

    def _timeout(self):
        if self._stopping or self.has_ready():
            return 0
        deadline = self.next_deadline()
        return None if deadline is None else max(0.0, deadline - self.time())

    def _take_news(self, timeout):
        try:
            while True:
                news = self.inbox.get(block=timeout != 0, timeout=timeout)
                timeout = 0
                if isinstance(news, News):
                    self._steps.take(news)
                elif news is not None:
                    self.call_ready(news)
        except queue.Empty:
            return

    def _run_calls(self, count):
        for _ in range(count):
            self._run_round(self._ready, 1)
        self._run_round(self._from_outside)


class TimedLoop(DrivenLoop):
    """On the clock of a test: a generator that is sent each deadline and gives by how much time goes on."""

    def __init__(self, gen=None):
        super().__init__()
        self._has_gen, self._seconds, self._asked = gen is not None, 0, []
        self._gen = iter(()) if gen is None else gen()
        next(self._gen, None)

    def time(self):
        return self._seconds

    def advance_time(self, advance):
        self._seconds += advance or 0

    def call_at(self, when, callback, *args, context=None):
        self._asked.append(when)
        return super().call_at(when, callback, *args, context=context)

    def _timeout(self):
        return 0

    def _run_once(self):
        super()._run_once()
        asked, self._asked = self._asked, []
        for when in asked if self._has_gen else ():
            self.advance_time(self._gen.send(when))

    def close(self):
        super().close()
        if self._has_gen:
            assert next(self._gen, self) is self, "the generator of times is not at its end"


class Future(future.Future):
    """The durable future with the constructor that the tests call."""

    def __init__(self, *, loop=None):
        super().__init__(loop=asyncio.get_event_loop() if loop is None else loop)
        if self._source_traceback:
            del self._source_traceback[-1]  # this frame


class Task(task.Task):
    """The durable task with the constructor that the tests call."""

    numbers = itertools.count()

    def __init__(self, coro, *, loop=None, name=None, context=None, eager_start=False):
        if not asyncio.iscoroutine(coro):
            raise TypeError(f"a coroutine was expected, got {coro!r}")
        loop = asyncio.get_event_loop() if loop is None else loop
        super().__init__(coro, loop=loop, task_id=f"Task-{next(self.numbers)}", name=name, context=context)
        if self._source_traceback:
            del self._source_traceback[-1]  # this frame
        if eager_start and loop.is_running():
            self.start_eagerly()
        else:
            self.start()
