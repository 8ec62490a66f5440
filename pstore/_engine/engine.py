"""`Engine`: runs the loop that is in a store, commits at await points, starts steps; `open`.

    run:  commit -> start steps -> [ take answers -> run a batch -> commit -> start steps -> wait ] ...

Rules:

- A commit is made only between two calls of the loop (I1), whenever a batch has run or an answer has come: an answer is
  committed with what its task does next.
- Steps are started, and results handed to the caller of `run`, only after the commit that contains their cause (I5).
- Closing, leaving and exiting commit nothing and run nothing of the user's (I2): what was not committed is lost.
- After KeyboardInterrupt or SystemExit went through a task's code, memory is no state that a commit may keep:
  nothing more is committed by this engine.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from operator import itemgetter
from types import TracebackType
from typing import Any, TypeVar, overload

from pstore import errors
from pstore._engine import alltasks
from pstore._engine.dispatch import Dispatcher, News
from pstore._engine.door import Door
from pstore._engine.future import Future
from pstore._engine.guards import AsyncGenHooks, on_interrupt, report_failures
from pstore._engine.loop import DurableLoop
from pstore._engine.parking import some_ids
from pstore._engine.serving import Served
from pstore._engine.stack import where
from pstore._engine.tags import check_tags
from pstore._engine.task import Task
from pstore._frames import abandon
from pstore._store.store import Store
from pstore.clock import Clock, SystemClock

__all__ = ["LOOP_PART", "Engine", "open"]

T = TypeVar("T")

# Where the loop is in `Store.parts`.
LOOP_PART = "loop"
RESIDENT = 1000  # tasks that are in memory where nobody says how many
_SAID = 100  # waiting tasks that an error names
_open_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def open(  # the public name
    uri: str | os.PathLike[str] | Any, *, clock: Clock | None = None, resident: int | None = RESIDENT, **options: Any
) -> Engine:
    """Start a new durable program, or continue the one that is in the store.

    Nothing runs before `Engine.run`.

    Args:
        uri: path of a file, ``memory:``, ``sqlite:``, ..., or an open ZODB storage.
        clock: where time comes from; the system's if None.
        resident: so many tasks may be in memory; when there are more, some that wait, or are done, are only in the
            store, until they are used or their time has come.  None: all are in memory.
        **options: `durability`, `allow`, `renames`, `strict_globals`: see `pstore.Store`.

    Raises: see `pstore.Store`.
    """
    hooks = AsyncGenHooks()
    with hooks.installed():
        store = Store(uri, **options)
        try:
            return Engine(store, SystemClock() if clock is None else clock, hooks, resident)
        except BaseException:
            store.close()
            raise


class Engine(Door):
    """A durable program: a store, and the loop in it.  Made by `open`.  For one thread at a time, but for what says
    that it may be called from any.
    """

    def __init__(self, store: Store, clock: Clock, hooks: AsyncGenHooks, resident: int | None) -> None:
        loop = store.parts.get(LOOP_PART)
        if loop is None:
            loop = store.parts[LOOP_PART] = DurableLoop()
        elif not isinstance(loop, DurableLoop):
            kind = type(loop).__name__
            raise errors.EngineError(f"{store.name}: the part {LOOP_PART!r} of the store is a {kind}, not a loop")
        self._store, self._clock, self._hooks = store, clock, hooks
        self._loop: DurableLoop = loop
        self._loop.attach(clock, store.capsules, store.shelf, resident)
        hooks.loop, loop.live_asyncgens = loop, hooks.live
        store.watch_ends(hooks)
        self._steps = Dispatcher(loop, clock)
        self._held: deque[Any] = deque()
        self._broken = self._stop = self._refused = self._begins = False
        self._served: Served | None = None
        self._open_door()
        _open_engines.add(self)
        alltasks.begin()

    # -- what is in the store

    @property
    def root(self) -> dict[str, Any]:
        """The named objects, a dict; stored with the tasks, sharing with them what is shared."""
        self._check_open()
        return self._store.root

    @property
    def store(self) -> Store:
        """The store that the program is in."""
        return self._store

    @property
    def tasks(self) -> Mapping[str, Task[Any]]:
        """Tasks by id: all that are not done, and the done ones that have a name of their own or failed."""
        self._check_open()
        return self._loop.tasks

    @property
    def clock(self) -> Clock:
        """The source of time."""
        return self._clock

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._store.closed

    # -- starting tasks

    def spawn(
        self,
        fn: Callable[..., Coroutine[Any, Any, T]],
        *args: Any,
        id: str | None = None,
        tags: Mapping[str, str | int | float | bool] | None = None,
    ) -> Task[T]:
        """Start a task: ``fn(*args)``.  It runs, and is durable, from the next `run` on.

        Args:
            fn: a coroutine function.
            *args: its arguments.
            id: name of the task, under which it is kept when it is done; made up if None.
            tags: by which `find` finds it.

        Raises:
            TaskExists: there is a task of that id; see `spawn_once`.
            TypeError: `fn` is no coroutine function, or anything else that gives a coroutine; or a tag has a value
                that no tag can have.
        """
        self._check_open()
        if id is not None and id in self._loop.tasks:
            raise errors.TaskExists(id)
        check_tags(tags or {})
        if not callable(fn):
            raise TypeError(f"engine.spawn(fn, *args) needs a coroutine function and its arguments, not {fn!r}")
        coro = fn(*args)
        if not asyncio.iscoroutine(coro):
            raise TypeError(f"engine.spawn(fn, *args) needs a coroutine function, and {fn!r} gave {coro!r}")
        try:
            task = self._loop.spawn(coro, id)
            if tags:
                self._loop.services.index.tag(task.id, tags)
            return task
        except BaseException:
            coro.close()
            raise

    def spawn_once(
        self,
        id: str,
        fn: Callable[..., Coroutine[Any, Any, T]],
        *args: Any,
        tags: Mapping[str, str | int | float | bool] | None = None,
    ) -> Task[T]:
        """Give the task of that id, done or not, whatever it runs; start it as ``fn(*args)`` if there is none."""
        self._check_open()
        task = self._loop.tasks.get(id)
        return self.spawn(fn, *args, id=id, tags=tags) if task is None else task

    def forget(self, id: str) -> None:
        """Drop a task that is done, so that its id can be used again.

        Raises:
            UnknownTask: there is no such task.
            EngineError: it is not done.
        """
        self._check_open()
        task = self._loop.tasks.get(id)
        if task is None:
            raise errors.UnknownTask(id, some_ids(self._loop.tasks))
        if not task.done():
            raise errors.EngineError(f"task {id!r} is not done: cancel it, and run the engine until it is")
        del self._loop.state.tasks[id]
        self._loop.services.task_dropped(id)
        self._loop.unreported[:] = [entry for entry in self._loop.unreported if entry is not task]

    # -- running

    @overload
    def run(self, until: None = None, *, forever: bool = False) -> list[Task[Any]]: ...
    @overload
    def run(self, until: Future[T] | asyncio.Future[T], *, forever: bool = False) -> T: ...
    def run(self, until: Future[T] | asyncio.Future[T] | None = None, *, forever: bool = False) -> T | list[Task[Any]]:
        """Run the program.

        Args:
            until: run until this task or future is done, and that is committed; then give its result or raise its
                exception.  None: run until no task can go on by itself any more: all are done, or wait for what is
                neither a timer nor a step, such as a queue that nothing in the program will fill.
            forever: do not end for want of work, as other threads will call `call_soon_threadsafe`; `stop` ends it.

        Returns:
            The result of `until`; or, if that is None, the tasks that wait (an empty list: all are done).

        Raises:
            Stalled: `until` can never be done; names where the tasks wait.  EngineStopped: see `stop`.
            CaptureError: something that tasks or the root refer to cannot be stored; has the path to it.  Nothing was
                committed, the last commit is intact.  After mending it `run` may be called again.
            KeyboardInterrupt: Ctrl-C was pressed.  At the first one what ran is committed; the program can go on.  A
                second one breaks into the running task, see EngineInterrupted.
            EngineInterrupted: see there.  EngineClosed.

        With whatever it raises but what `until` gave, Stalled and EngineStopped, receipts that are open are answered by
        RunFailed: nobody may run the engine again.
        """
        self._check_usable()
        if until is not None and until.get_loop() is not self._loop:
            raise errors.EngineError(f"{until!r} does not belong to this engine")
        self._check_not_hosted("engine.run()")
        self._stop = False
        with self._answering_if_it_fails(), self._running():
            self._loop.parking.until = until
            if not self._refused:
                self._commit_and_start()
            while self._refused or not self._is_over(until):
                self._turn(until)
                if not self._has_work() and not self._is_over(until):
                    if not self._can_go_on(forever):
                        return self._stalled(until)
                    self._pause(self._wait_for_news)
        if until is None:
            return self._waiting()
        if not until.done():
            raise errors.EngineStopped(f"engine.stop() was called before {until!r} was done")
        return until.result()

    async def serve(self) -> None:
        """Run the program inside the running asyncio loop of a host, such as a web application, until `stop`.

        Coroutines of the host may use the engine, its root and its tasks as they do outside of `run`: the program
        moves only while the host's loop makes its turns.  What they want to know to be durable they await:
        ``await engine.send(...)``, ``await engine.wait(task)``.  Steps that are coroutine functions run on the host's
        loop.  To cancel this ends it after a turn, with everything committed.

        Raises: see `run`.
        """
        self._check_usable()
        if self._loop.is_running() or self._served is not None:
            raise errors.EngineError("the engine is running already; one engine.serve() is enough")
        await Served(self).run()

    def stop(self) -> None:
        """Make the `run` or `serve` that is running end soon.  From any thread, from tasks and from signal handlers."""
        self._stop = True
        self._loop.inbox.put(None)

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        """Have the engine call ``callback(*args)`` in its thread.  From any thread.

        The call is part of the program, and so durable, once the engine has taken it and committed; a crash before
        that loses it.
        """
        self._check_open()
        self._loop.call_soon_threadsafe(callback, *args)

    def commit(self, note: str | None = None) -> bytes:
        """Commit now; `run` does so by itself.  Gives the transaction id.

        Raises:
            CaptureError: see `run`.  EngineError: called by a task or step, while `run` is running.
        """
        self._check_usable()
        if self._loop.is_running():
            raise errors.EngineError("engine.commit() was called while the engine runs: it commits by itself")
        with self._looking:
            return self._commit(note)

    def close(self) -> None:
        """Close the store.  Runs nothing of the user's; what was not committed is lost.  Twice does no harm.

        Raises:
            EngineError: called while `run` is running; `stop` ends it.
        """
        if self.closed:
            return
        if self._loop.is_running():
            raise errors.EngineError("engine.close() was called while it runs; call engine.stop(), then close it")
        if self._served is not None:
            raise errors.EngineError("engine.close() was called while engine.serve() runs; call engine.stop() first")
        _open_engines.discard(self)
        alltasks.end()
        self._loop.close()
        self._steps.close()
        self._close_door()
        self._store.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<pstore.Engine {self._store.name}{' closed' if self.closed else ''}>"

    def __reduce__(self) -> Any:
        raise errors.CaptureError(
            "cannot store an Engine: it belongs to the process, not to the program; "
            "hand tasks what they need (engine.root['name']), start tasks with asyncio.create_task"
        )

    # -- one turn of the loop

    def _turn(self, until: Future[Any] | asyncio.Future[Any] | None) -> None:
        changed = self._take_news()
        # After a refused commit tasks go first: one of them may be about to let go of what was refused.
        ran = self._run_batch(until)
        if ran:
            self._loop.parking.ran()
        if ran or changed or self._refused or self._loop.parking.is_due:
            if until is not None and until.done():
                until._log_traceback = False  # about to be seen by the caller; this is to be committed too
            self._commit_and_start()
        self._raise_if_interrupted()
        report_failures(self._loop, until)

    def _hosted_turn(self) -> bool | None:
        """Make one turn for a host that does not block; tells whether there is more to do now, None: `stop` ends it."""
        self._check_usable()
        with self._running():
            if self._begins:
                self._begins = False
                if not self._refused:
                    self._commit_and_start()
            self._turn(None)
        return None if self._stop else self._refused or self._has_work()

    def _run_batch(self, until: Future[Any] | asyncio.Future[Any] | None) -> bool:
        try:
            ran = self._loop.run_batch(until)
        except errors.PstoreError:  # a task could not be brought back when its time came; nothing of it has run
            raise
        except BaseException:
            self._broken = True
            raise
        self._raise_if_lost()
        return ran

    def _raise_if_lost(self) -> None:
        """Say which task could not be brought back, when something happened to it."""
        if self._loop.parking.lost is not None:
            self._broken = True
            raise self._loop.parking.lost

    def _take_news(self) -> bool:
        """Take answers and calls from other threads; tells whether that is something to commit."""
        changed = self._steps.tick()
        self._wait_for_news(0)
        while self._held:
            news = self._held.popleft()
            if isinstance(news, News):
                changed |= self._steps.take(news)
            elif news is not None:
                self._loop.call_ready(news)
            self._wait_for_news(0)
        return changed

    def _commit_and_start(self) -> None:
        self._commit(None)
        self._steps.after_commit()

    def _commit(self, note: str | None) -> bytes:
        self._raise_if_lost()
        self._steps.before_commit()
        self._loop.settle()
        try:
            self._store.thorough = not self._loop.has_ready()  # the next thing to do may be to wait
            tid = self._store.persist(note)
        except BaseException as error:
            self._loop.parking.not_committed()
            if not isinstance(error, errors.CaptureError):
                raise
            self._refused = True
            error.add_note(
                f"Nothing was committed to {self._store.name}: the last commit is intact. Mend what the path leads "
                "to and call engine.run() again, or close the engine and open the store again to go back to it."
            )
            raise
        self._refused = False
        self._loop.parking.after_commit()
        self._loop.committed()
        self._after_commit()
        return tid

    def _pause(self, wait: Callable[[float | None], bool]) -> None:
        deadline = self._next_deadline()
        if deadline is not None and self._loop.time() > self._clock.now():  # the clock was set back
            deadline = self._clock.now() + self._loop.until(deadline)
        self._clock.pause(deadline, wait, busy=self._steps.is_busy)

    def _wait_for_news(self, timeout: float | None) -> bool:
        """Hold the next of the inbox; wait for it at most `timeout` seconds, None: without limit."""
        try:
            self._held.append(self._loop.inbox.get(block=timeout != 0, timeout=timeout))
        except queue.Empty:
            return False
        return True

    # -- when to end

    def _is_over(self, until: Future[Any] | asyncio.Future[Any] | None) -> bool:
        # What is done was committed by the turn that made it so.
        return self._stop or (until is not None and until.done())

    def _has_work(self) -> bool:
        loop = self._loop
        return loop.has_ready() or bool(self._held) or not loop.inbox.empty() or loop.parking.is_due

    def _can_go_on(self, forever: bool) -> bool:
        return forever or self._steps.is_busy or self._next_deadline() is not None

    def _next_deadline(self) -> float | None:
        """Give the moment at which something is to be done, UTC seconds of the loop's time; None if none is known."""
        moments = (self._loop.next_deadline(), self._steps.next_deadline())
        return min((moment for moment in moments if moment is not None), default=None)

    def _waiting(self) -> list[Task[Any]]:
        loop = self._loop
        resident = [(task.number, task) for task in loop.state.tasks.values() if not task.done()]
        return [task for _, task in sorted([*resident, *loop.parking.waiting()], key=itemgetter(0))]

    def _stalled(self, until: Future[Any] | asyncio.Future[Any] | None) -> list[Task[Any]]:
        waiting = self._waiting()
        if until is not None:
            said = [f"{task.id}: {where(task)}" for task in waiting[:_SAID]]
            if len(waiting) > _SAID:
                said.append(f"and {len(waiting) - _SAID:,} more")
            raise errors.Stalled(repr(until), tuple(said))
        return waiting

    def _check_open(self) -> None:
        if self.closed:
            raise errors.EngineClosed(f"{self._store.name}: the engine is closed; open the store again")

    def _check_usable(self) -> None:
        self._check_open()
        if self._store.parts.get(LOOP_PART) is not self._loop:
            raise errors.EngineError(
                f"{self._store.name}: the store went back, or its loop was replaced; open it again"
            )
        if self._loop.parking.lost is not None:
            raise errors.EngineInterrupted(
                f"{self._store.name}: a task could not be brought back when something happened to it, or the index of "
                "tasks could not be read, so nothing more is committed; the last commit is intact: mend that, close "
                "the engine and open the store again"
            ) from self._loop.parking.lost
        if self._broken:
            raise errors.EngineInterrupted(
                f"{self._store.name}: a task was broken into by KeyboardInterrupt or SystemExit, so nothing more is "
                "committed; the last commit is intact: close the engine and open the store again"
            )

    def _check_not_hosted(self, call: str) -> None:
        if self._served is not None:
            raise errors.EngineError(f"{call} was called while engine.serve() runs; call engine.stop() first")
        host = asyncio._get_running_loop()
        if host is not None and not self._loop.is_running():
            raise errors.EngineError(f"{call} would block the event loop that is running here; await engine.serve()")

    def _raise_if_interrupted(self) -> None:
        if self._loop.interrupted:
            self._loop.interrupted = False
            raise KeyboardInterrupt

    def _interrupt(self, signum: int, frame: Any) -> None:
        if self._loop.interrupted:
            raise KeyboardInterrupt
        self._loop.interrupted = True
        self._loop.inbox.put(None)  # SimpleQueue.put may be called in a signal handler

    @contextmanager
    def _running(self) -> Iterator[None]:
        if self._loop.is_running():
            raise errors.EngineError("the engine is running already; tasks await, they do not call engine.run()")
        host = asyncio._get_running_loop()
        with self._hooks.installed(), on_interrupt(self._interrupt):
            with self._looking:
                before, self._runner = self._runner, threading.get_ident()
            self._loop.set_running(True)
            try:
                yield
            finally:
                self._loop.parking.until = None
                self._loop.set_running(False)
                self._runner = before
                asyncio._set_running_loop(host)

    @contextmanager
    def _served_by(self, served: Served) -> Iterator[None]:
        self._check_usable()
        self._served, self._stop, self._begins = served, False, True
        with self._looking:
            self._runner = threading.get_ident()
        try:
            yield
        finally:
            self._served = self._runner = None


@atexit.register
def _close_all() -> None:
    """Close what is open when the interpreter ends, so that its shutdown runs nothing of the tasks."""
    for engine in list(_open_engines):
        engine._served = None  # by a loop that does not run any more
        if engine._loop.is_running():  # in another thread, which will never get to its end
            abandon(engine._store.root, engine._store.parts)
        else:
            engine.close()
