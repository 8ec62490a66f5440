"""`DurableLoop`: the scheduling half of `asyncio.AbstractEventLoop`, as a part of the graph.

Owned here: which call is next, which tasks there are, time as tasks see it.  Whatever the standard library builds on
these (sleep, queues, locks, groups, timeouts, gather, ...) becomes durable as it is.

Principles:

1. Everything that decides what runs next is stored: ready calls, timers, tasks, steps; in `LoopState`, or with the task
   that it belongs to.  The clock is not.
2. The loop only ever runs a bounded batch, and stands between two calls when it returns: then every task stands at an
   await point, and the graph may be committed (invariant I1).
3. The loop never touches the outside: no sockets, pipes, processes, signals, threads.  Asking for those is refused
   with the name of what to use instead; `run_in_executor` (so ``asyncio.to_thread``) becomes a step.
4. The loop does not know the engine.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any, TypeVar

from pstore._engine import debug, old_stores
from pstore._engine.asyncgens import AsyncGenLoop
from pstore._engine.byvalue import stay
from pstore._engine.future import Future
from pstore._engine.lot import Lot
from pstore._engine.options import Options
from pstore._engine.origin import origin
from pstore._engine.outbox import Outbox, Retry, Step, without_context_run
from pstore._engine.parking import NoParking, Parking, Tasks
from pstore._engine.ready import ReadyCalls
from pstore._engine.services import Services
from pstore._engine.state import LoopState
from pstore._engine.task import Task
from pstore._engine.timers import Handle, TimerHandle, Timers
from pstore._store.capsules import Capsules
from pstore._store.shelf import Shelf
from pstore.clock import Clock, SystemClock, Timeline
from pstore.errors import EngineError, NotInEngine, NotOnThisLoop, TaskExists

__all__ = ["DurableLoop", "running_loop"]

T = TypeVar("T")
logger = logging.getLogger("pstore")

# Bounds of a batch, so that a task that never rests does not keep the others' commits waiting.  With more tasks than
# BATCH_TASKS, that are not parked yet, a batch may have as many times more: each commit looks at the table of them.
BATCH_TASKS = 16_000
BATCH_CALLS = 2_000
BATCH_SECONDS = 0.1


class NewsQueue(queue.SimpleQueue[Any]):
    """What comes to the engine from other threads.

    Attributes:
        wake: called after each entry, in the thread that brought it: of a host that does not block to wait.
    """

    wake: Callable[[], object] | None = None

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an entry; from any thread and from signal handlers."""
        super().put(item)
        if self.wake is not None:
            self.wake()


class DurableLoop(AsyncGenLoop):
    """An event loop that is stored with the tasks that it runs.

    Attributes:
        state: what is stored of it.
        outbox: steps that are asked for.
        services: what else tasks are served with: messages, letters, tags, schedules.
        parking: which tasks are in memory.
        watcher: called with each task that ends; not stored.
        latest: the time when the last call was made, UTC seconds; time goes on from there after a restart.
        touched: tasks that may have changed since the last commit; the store's.
        running_task: the task that is making a step.
        live_asyncgens: async generators that were begun and live; not stored as such.
        unreported: spawned tasks that failed and of which this process has told nobody; not stored.
        finished: ids of futures that came to be done since the last commit, with some of others; not stored.
        fresh_steps: that came to be startable and that the dispatcher has not taken; not stored.
        slow_callback_duration: in debug mode calls that take longer, in seconds, are logged; not stored.
    """

    __pstore_fixed__ = True  # what is stored of it is the state, which is an object of its own

    def __init__(self) -> None:
        self.state = LoopState()
        self._reset()

    def _reset(self) -> None:
        self._ready = ReadyCalls()
        self._timers = Timers()
        self._tasks = Tasks(self)
        self.parking: NoParking = NoParking()
        self.outbox = Outbox(self)
        self._came_or_went = False
        self._ended: list[Task[Any]] = []
        self.has_to_be_stored: Callable[[Any], bool] = lambda task: False
        self._unseen: list[weakref.ref[Task[Any]]] = []
        self.id_of: Callable[[Any], bytes] = lambda task: b""
        self._old: dict[str, Any] | None = None
        self.touched: dict[int, weakref.ref[Any]] = {}
        self.running_task: Task[Any] | None = None
        self.latest = 0.0
        self._timeline = Timeline(SystemClock())
        self._running = self._closed = self.interrupted = False
        self._from_outside: deque[asyncio.Handle] = deque()
        self._batching: int | None = None
        self._debug, self._origins = debug.is_on(), 0
        self._thread: int | None = None
        self._current: asyncio.Handle | None = None
        self.slow_callback_duration = 0.1
        self.unreported: list[Task[Any]] = []
        self.live_asyncgens: Iterable[Any] = ()
        self.fresh_steps: list[Step] = []
        self.finished: list[int] = []
        self.inbox = NewsQueue()
        self.watcher: Callable[[Task[Any]], object] | None = None

    def __getstate__(self) -> dict[str, Any]:
        old_stores.take_over(self)
        return {"state": self.state}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "state" in state:
            self.state = state["state"]
        else:
            self.state, self._old = LoopState(), state

    def __reduce__(self) -> tuple[Any, ...]:
        stay("DurableLoop")
        return _new_loop, (), self.__getstate__()

    @property
    def tasks(self) -> Tasks:
        """By id: all tasks that are not done, and the done ones that were spawned under a name or failed."""
        return self._tasks

    @property
    def services(self) -> Services:
        """What else tasks are served with."""
        return self.state.services

    def __repr__(self) -> str:
        return f"<DurableLoop tasks={len(self.tasks)} running={self._running} closed={self._closed}>"

    # -- running: for the engine

    def attach(
        self, clock: Clock, capsules: Capsules | None = None, shelf: Shelf | None = None, resident: int | None = None
    ) -> None:
        """Give the loop its clock, and where its tasks are stored, after it was made or loaded.

        Args:
            clock: where time comes from.
            capsules: where tasks are stored.
            shelf: where it is stored which are parked.
            resident: how many may be in memory before some are parked; None: any number.
        """
        old_stores.take_over(self)
        if capsules is not None:
            capsules.touched.update(self.touched)
            self.touched, self.id_of = capsules.touched, capsules.meet
            self.has_to_be_stored = lambda task: capsules.ghosts > 0 and capsules.has_record(task)
        if capsules is not None and shelf is not None:
            self.parking = Parking(self, Lot(shelf), capsules, resident)
        tasks = sorted(self.state.tasks.values(), key=lambda task: task.number)
        self.latest = max((self.state.latest, *(task.since for task in tasks)))
        self._timeline = Timeline(clock, self.latest)
        self.unreported = [task for task in tasks if task.spawned and task.failed]
        self._resume(tasks)
        self.services.attach(self.state.tasks)
        if capsules is not None:
            failed = map(capsules.find, self.state.unseen)
            self._unseen += [weakref.ref(task) for task in failed if task is not None and task._unseen]

    def look_at(self, capsules: Capsules, shelf: Shelf) -> None:
        """Find parked tasks, in a loop that is not to run."""
        self.parking = Parking(self, Lot(shelf), capsules, None)

    def _resume(self, tasks: list[Task[Any]]) -> None:
        """Take up the calls, timers and steps that were stored."""
        ready = list(self.state.ready)
        ready += [(task.turn, task.next_call()) for task in tasks if task.turn is not None]
        self._ready.take_up(ready)
        self._timers.go_on_after(self.state.timed)
        self.take_up(self.state)
        for task in tasks:
            self.take_up(task)

    def take_up(self, owner: Any) -> None:
        """Take up the timers and steps of a task that was loaded, or of the state."""
        for timer in owner.timers.values():
            timer.came_back(owner)
            self._timers.restore(timer)
        for step in owner.steps.values():
            self.outbox.restore(step, owner)

    def take_out_timers(self, tasks: list[Task[Any]]) -> None:
        """Let go of the timers of tasks, for the time being."""
        self.state.timed = self._timers.last
        self._timers.take_out({timer for task in tasks for timer in task.timers.values()})

    def committed(self) -> None:
        """A commit is down: tasks that have ended need not be held for being stored, as one that is not loaded may
        lead to them.
        """
        self._ended.clear()

    def settle(self) -> None:
        """Put into the state, and into the tasks, what a commit has to keep of the calls that are ready."""
        others = self._ready.settle(self.state.ready)
        self._note_unseen()
        self._came_or_went |= self.parking.before_commit()
        if others != self.state.ready:
            self.state.ready = others
        if self._came_or_went:
            self.state.latest, self._came_or_went = self.latest, False

    def run_batch(self, until: asyncio.Future[Any] | Future[Any] | None = None) -> bool:
        """Run what is ready, and what becomes ready by that, within bounds; tells whether anything ran.

        Stops early when `interrupted` is set, and where asyncio's loops would because `until` is done: after the round
        that follows.  Raises only KeyboardInterrupt and SystemExit.
        """
        self._batching = threading.get_ident()
        try:
            return self._run_rounds(until)
        finally:
            self._batching = None

    def _run_rounds(self, until: asyncio.Future[Any] | Future[Any] | None) -> bool:
        scale = max(1.0, len(self.state.tasks) / BATCH_TASKS)
        most, calls = int(BATCH_CALLS * scale), 0
        end, is_last = time.monotonic() + BATCH_SECONDS * scale, False
        while not self.interrupted and calls < most:
            now = self.time()
            self._ready.extend(self._timers.take_due(*self.parking.bring_due(now)))
            if not self.has_ready():
                break
            self.latest = now
            calls += self._run_round(self._ready, most - calls)
            calls += self._run_round(self._from_outside)
            if is_last or self.parking.lost is not None or time.monotonic() >= end:
                break
            is_last = until is not None and until.done()
        if calls:
            self.latest = self.time()  # whatever the calls were told is kept with what they did
        return calls > 0

    def _run_round(self, handles: deque[asyncio.Handle], most: float = math.inf) -> int:
        """Make the calls that wait in `handles` now, at most so many; gives how many."""
        calls, is_ready = 0, handles is self._ready
        for _ in range(len(handles)):
            if self.interrupted or calls >= most or self.parking.lost is not None:
                break
            handle = handles.popleft()
            self._ready.first += is_ready
            if not handle.cancelled():
                self._run_timed(handle) if self._debug else handle._run()
                calls += 1
            del handle  # this frame may be in the traceback of what the call has raised
        return calls

    def _run_timed(self, handle: asyncio.Handle) -> None:
        began, self._current = time.monotonic(), handle
        try:
            handle._run()
        finally:
            self._current = None
        seconds = time.monotonic() - began
        if seconds >= self.slow_callback_duration:
            logger.warning("Executing %s took %.3f seconds", debug.describe(handle), seconds)
        del handle  # as above

    def set_running(self, running: bool) -> None:
        """Make this the running loop of the thread, or no longer."""
        if self._debug:
            self._note_origins(running)
        self._running = running
        self._thread = threading.get_ident() if running else None
        asyncio._set_running_loop(self if running else None)

    def _note_origins(self, on: bool) -> None:
        """Have Python note where coroutines are made, in debug mode while the loop runs."""
        if on:
            self._origins = debug.set_origins(None)
        else:
            debug.set_origins(self._origins)

    def has_ready(self) -> bool:
        """Tell whether a call is ready now."""
        return bool(self._ready or self._from_outside)

    def next_deadline(self) -> float | None:
        """Give the moment of the next timer, UTC seconds; None if there is none."""
        moments = (self._timers.next_deadline(), self.parking.next_deadline())
        return min((moment for moment in moments if moment is not None), default=None)

    def until(self, moment: float) -> float:
        """Give the real seconds until a moment of the loop's time."""
        return self._timeline.until(moment)

    def _note_unseen(self) -> None:
        """Keep in mind which failures would be reported if their tasks were dropped: they are loaded with the store."""
        self._unseen = [task for task in self._unseen if task() is not None and task()._unseen]  # type: ignore[union-attr]
        known = [self.id_of(task()) for task in self._unseen]
        if known != self.state.unseen:
            self.state.unseen = known

    # -- tasks

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: contextvars.Context | None = None,
        eager_start: bool | None = None,
    ) -> asyncio.Task[T]:
        """Start a task.  As of `asyncio`, with the arguments of the newest Python."""
        task = self._make_task(coro, None, None if name is None else str(name), context, spawned=False)
        if self._running and (self.state.eager if eager_start is None else eager_start):
            task.start_eagerly()
        else:
            task.start()
        return task  # type: ignore[return-value]  # not a subclass, see task.py

    def spawn(
        self, coro: Coroutine[Any, Any, T], task_id: str | None, context: contextvars.Context | None = None
    ) -> Task[T]:
        """Start a task of the engine's; without a context in an empty one: it does not depend on who started it."""
        if task_id is not None and task_id in self.tasks:
            raise TaskExists(task_id)
        given, context = context, contextvars.Context() if context is None else context
        task = self._make_task(coro, task_id, None, context, spawned=True)
        task._owns_context = given is None
        context.run(origin.set, task.id)
        task.start()
        return task

    def _make_task(
        self, coro: Any, task_id: str | None, name: str | None, context: contextvars.Context | None, *, spawned: bool
    ) -> Task[Any]:
        if not asyncio.iscoroutine(coro):
            raise TypeError(f"a coroutine was expected, got {coro!r}")
        given, state = task_id, self.state
        while task_id is None or task_id in self.tasks:
            state.named += 1
            task_id = f"Task-{state.named}"
        state.made += 1
        task: Task[Any] = Task(
            coro, loop=self, task_id=task_id, name=name, context=context, spawned=spawned, number=state.made
        )
        task.keep = given is not None
        self._came_or_went = True
        state.tasks[task_id] = task
        self.services.task_started(task)
        return task

    def task_ended(self, task: Task[Any]) -> None:
        """Drop a task that is done, unless it has to be found again: by its name, or as a failure of the engine's."""
        self._came_or_went = True
        self._inherit(task)
        if task.spawned and task.failed:
            self.unreported.append(task)
        elif not task.keep:
            self.state.tasks.pop(task.id, None)
        self.services.task_ended(task, self.latest, kept=task.id in self.state.tasks)
        if self.has_to_be_stored(task):
            self._ended.append(task)
        if self.watcher is not None:
            self.watcher(task)
        if task.failed and not task.spawned:
            self.note_unseen(task)

    def note_unseen(self, task: Task[Any]) -> None:
        """Keep in mind a failure that nobody has seen."""
        self._unseen.append(weakref.ref(task))

    def _inherit(self, task: Task[Any]) -> None:
        """What a task that ends has set and asked for, and nobody has taken back, goes on without it."""
        for order, timer in task.timers.items():
            timer.owner = self.state
            self.state.timers[order] = timer
        for step in task.steps.values():
            step.pass_on(self.state)
        task.timers, task.steps = {}, {}

    def set_task_factory(self, factory: Any) -> None:
        """Choose whether tasks start eagerly: ``asyncio.eager_task_factory`` or None; others cannot be served."""
        eager = getattr(asyncio, "eager_task_factory", None)
        if factory is not None and factory is not eager:
            raise EngineError("the durable loop makes its own tasks; use asyncio.eager_task_factory or None")
        self.state.eager = factory is not None

    def get_task_factory(self) -> Any:
        """Give ``asyncio.eager_task_factory`` if tasks start eagerly, else None."""
        return getattr(asyncio, "eager_task_factory", None) if self.state.eager else None

    # -- calls

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Have ``callback(*args)`` called in the next round."""
        handle = Handle(callback, args, self, context)
        if self._debug:
            self._check_call(handle, "call_soon")
        self._ready.append(handle)
        if not self._running and self.inbox.wake is not None:  # called by the host, which waits for news
            self.inbox.wake()
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """As `call_soon`, from any thread and from signal handlers.  Durable once the engine has committed it."""
        own = self._batching == threading.get_ident()  # from a call of the loop: in its turn, as with asyncio
        handle = Handle(callback, args, self, contextvars.Context() if context is None and not own else context)
        if self._debug:
            self._check_call(handle, "call_soon_threadsafe", any_thread=True)
        if own:
            self._ready.append(handle)
        else:
            self.inbox.put(handle)
        return handle

    def call_ready(self, handle: asyncio.Handle) -> None:
        """Take in a call that came from another thread; it is made in the first round of the next batch.

        It is not part of the graph: it may hold what cannot be stored, an engine for instance, so it must not be left
        over when a batch comes to its bounds.
        """
        self._from_outside.append(handle)

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Have ``callback(*args)`` called in `delay` seconds."""
        if delay is None:
            raise TypeError("delay must not be None")
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Have ``callback(*args)`` called at `when`, UTC seconds."""
        if when is None:
            raise TypeError("when cannot be None")
        handle = TimerHandle(when, callback, args, self, context)
        if self._debug:
            self._check_call(handle, "call_at")
        self._timers.add(handle, self.running_task or self.state)
        return handle

    def call_again(self, when: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Have ``callback(*args)`` called at `when`; not stored: whoever asks for it asks again after a restart."""
        handle = TimerHandle(when, callback, args, self, contextvars.Context())
        self._timers.add(handle, _NOBODY)
        return handle

    def _check_call(self, handle: Any, method: str, *, any_thread: bool = False) -> None:
        """What debug mode asks of a call that is to be made."""
        if not any_thread:
            debug.check_thread(self._thread)
        debug.check_callback(handle._callback, method)
        if handle._source_traceback:
            debug.trimmed(handle._source_traceback)

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        if handle._scheduled:
            self._timers.note_cancelled(handle)

    def time(self) -> float:
        """Give the present time: UTC, seconds since the epoch; never less than before, also after a restart."""
        return self._timeline.now()

    def create_future(self) -> Future[Any]:
        """Make a future of this loop."""
        return Future(loop=self)

    # -- effects

    def ask(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        *,
        retry: Retry | None = None,
        options: Options | None = None,
        asker: str = "",
        context: contextvars.Context | None = None,
        call: Any = None,
    ) -> Future[Any]:
        """Ask for a step; it starts after the next commit, or when its limiter lets it go.  `call`: what asks."""
        context = contextvars.copy_context() if context is None else context
        asker = asker or str(getattr(asyncio.current_task(self), "id", ""))
        return self.outbox.ask(fn, args, retry, context, options, (context.get(origin, ""), asker), call)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run a function in a thread, as a step: at least once, its result stored."""
        if executor is not None:
            raise NotOnThisLoop(
                "run_in_executor with an executor of its own",
                "pass None, or await pstore.step(function, ...): it becomes a step",
                "an executor cannot be stored",
            )
        if self._debug:
            debug.check_callback(func, "run_in_executor")
        context, func, args = without_context_run(func, args)
        return self.ask(func, args, context=context)

    # -- being a loop

    def get_debug(self) -> bool:
        """Tell whether asyncio's debug mode is on, in this process."""
        return self._debug

    def set_debug(self, enabled: bool) -> None:
        """Turn asyncio's debug mode on or off, in this process; see `debug`."""
        if self._running and bool(enabled) != self._debug:
            self._note_origins(enabled)
        self._debug = bool(enabled)

    def is_running(self) -> bool:
        """Tell whether the engine is running this loop."""
        return self._running

    def is_closed(self) -> bool:
        """Tell whether the engine was closed."""
        return self._closed

    def close(self) -> None:
        """Fall silent: nothing is called, logged or reported any more."""
        self._closed = True

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: there is no executor."""


class _Nobody:
    """Owner of timers that are not stored."""

    timers: dict[int, TimerHandle] = {}

    def touch(self) -> None:
        """There is nobody."""


_NOBODY = _Nobody()


def running_loop(asked_for: str) -> DurableLoop:
    """Give the durable loop that runs the calling task.

    Raises:
        NotInEngine: there is none; names what was `asked_for`.
    """
    loop = asyncio._get_running_loop()
    if not isinstance(loop, DurableLoop):
        raise NotInEngine(
            f"{asked_for} was called outside the tasks of an engine; call it in a coroutine that engine.spawn started"
        )
    return loop


def _new_loop() -> DurableLoop:
    loop = DurableLoop.__new__(DurableLoop)
    loop._reset()
    return loop
