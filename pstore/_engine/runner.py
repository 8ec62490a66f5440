"""`DurableRunner`, `durable_runners`: programs written for asyncio alone, ``asyncio.run(main())``, run durably.

    with durable_runners("orders.fs"):
        runpy.run_path("shop.py", run_name="__main__")      # calls asyncio.run

The n-th call of `asyncio.run`, or of ``Runner.run``, in a process is the n-th in the next: it starts the task ``main``,
``main-2``, ..., or goes on with it if the store has it, and then the coroutine that was passed is let go without
having run.  It has to be of the same function: a call that comes at another place in this process than in the one
before is refused, and so is another script.  What the script does outside of `asyncio.run` is done in each process.

Rules:

- As `asyncio.Runner` does: the task runs in a copy of the context of the caller; when it is done, the tasks that are
  left are cancelled, once, and async generators are closed, which is durable too.
- Not as `asyncio.Runner`: Ctrl-C, and whatever else ends the process, cancels nothing: the program goes on in the next
  process.
- Only in the main thread; a step that calls `asyncio.run` in its thread gets asyncio's own.  A loop of the script's own
  in the main thread would not be durable, and nobody would notice until the first kill: it is refused.

Sources: CPython ``Lib/asyncio/runners.py`` of 3.11 to 3.15.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any

from pstore._engine.engine import Engine, open
from pstore.errors import EngineError

__all__ = ["DurableRunner", "Program", "durable_runners", "in_place_of_runner"]

# In `Store.parts`: main tasks whose end was followed by the cancellation of what was left.
_ENDED_PART = "ended"
# Id of a main task -> the script and the function that it is of, and the arguments that the script had.
_RUNS_PART = "runs"


class Program:
    """The runs of a process.

    Attributes:
        uri, options: of the store; see `pstore.open`.
        tell: told, in a line of text, what somebody who does not expect it has to know.
        runs: how many there were.
        open: whether a runner has the store.
        raised: what came out of the last run, if it was the program's own; None: it came from elsewhere.
    """

    def __init__(self, uri: Any, options: dict[str, Any], tell: Callable[[str], object]) -> None:
        self.uri, self.options, self.tell = uri, options, tell
        self.runs = 0
        self.open = False
        self.raised: BaseException | None = None

    def next_id(self) -> str:
        """Give the id of the task of the next run."""
        self.runs += 1
        return "main" if self.runs == 1 else f"main-{self.runs}"


class DurableRunner:
    """In the place of `asyncio.Runner`; with a loop that is in a store.

    Args:
        program: what it is a part of.
        debug: whether the loop is in debug mode; None: as asyncio decides.
        loop_factory: not used, the loop is in the store.
    """

    def __init__(self, program: Program, *, debug: bool | None = None, loop_factory: Any = None) -> None:
        self._program, self._debug = program, debug
        self._context: contextvars.Context | None = None
        self._engine: Engine | None = None
        self._closed = False
        self._ended: list[str] = []

    def __enter__(self) -> DurableRunner:
        return self  # opened by `run`: what cannot be opened must not leave a coroutine behind that nobody awaited

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Give the loop."""
        return self._opened()._loop

    def run(self, coro: Coroutine[Any, Any, Any], *, context: contextvars.Context | None = None) -> Any:
        """Run a coroutine to its end, or the one that the store has in its place.

        Returns:
            Its result; at once if it was done in an earlier process.  Raises what it raised.
        """
        if not asyncio.iscoroutine(coro):
            raise TypeError(f"a coroutine was expected, got {coro!r}")
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("asyncio.run() cannot be called from a running event loop")
        try:
            engine, task_id = self._opened(), self._program.next_id()
            task = engine.tasks.get(task_id)
            if task is None:
                task = engine._loop.spawn(coro, task_id, self._context if context is None else context)
                engine.store.parts.setdefault(_RUNS_PART, {})[task_id] = (*_identity(coro), sys.argv[1:])
            else:
                self._check(engine, task_id, coro)
        except BaseException:
            coro.close()
            raise
        if coro is not task.get_coro():
            coro.close()  # it has not begun, so nothing of it runs
            if task.done():
                self._tell_of_the_end(task)
        try:
            return engine.run(task, forever=True)
        except BaseException as error:
            self._program.raised = error if task.done() and task._exception is error else None
            raise
        finally:
            if task.done():
                self._ended.append(task_id)

    def _check(self, engine: Engine, task_id: str, coro: Any) -> None:
        *known, arguments = engine.store.parts[_RUNS_PART][task_id]
        given = list(_identity(coro))
        if known != given:
            raise EngineError(
                f"{engine.store.name}: asyncio.run number {self._program.runs} of its program is that of "
                f"{known[1]}() in {known[0]}, this one is of {given[1]}() in {given[0]}; run the script that it is of, "
                "with its runs in the same order, or use another store"
            )
        if arguments != sys.argv[1:]:
            before = " ".join([known[0], *map(shlex.quote, arguments)])
            self._program.tell(f"going on as {before}; the arguments given now are not used")

    def _tell_of_the_end(self, task: Any) -> None:
        ended = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(task.since)) if task.since else "earlier"
        how = "failed" if task.failed else "was cancelled" if task.cancelled() else "ended"
        self._program.tell(
            f"{task.title}() {how} in another process, at {ended}; nothing of it runs again, what it gave is in "
            f"{self._program.uri}; use another store, or delete this one, to begin anew"
        )

    def close(self) -> None:
        """Cancel what is left, if the task of every run is done, and close the store."""
        engine, self._engine, self._closed = self._engine, None, True
        if engine is None:
            return
        try:
            if self._ended and not engine._broken:
                self._end(engine)
        finally:
            engine.close()
            self._program.open = False

    def _end(self, engine: Engine) -> None:
        # Commits only if there is something to end: an exception on its way out has a longer traceback by now.
        if not _left(engine) and not list(engine._loop.live_asyncgens):
            return
        ended: list[str] = engine.store.parts.setdefault(_ENDED_PART, [])
        if self._ended[-1] not in ended:  # else an earlier process came to here
            ended += self._ended
            for task in _left(engine):
                task.cancel()
        if left := _left(engine):
            engine.run(asyncio.gather(*left, return_exceptions=True), forever=True)
        engine.run(engine._loop.shutdown_asyncgens(), forever=True)

    def _opened(self) -> Engine:
        if self._closed:
            raise RuntimeError("Runner is closed")
        if self._engine is None:
            if self._program.open:
                raise EngineError("one asyncio.Runner is open already, and both would use the same store")
            self._engine = open(self._program.uri, **self._program.options)
            self._program.open = True
            self._context = contextvars.copy_context()
            if self._debug is not None:
                self._engine._loop.set_debug(self._debug)
        return self._engine


def _left(engine: Engine) -> list[Any]:
    return [task for task in engine.tasks.values() if not task.done()]


def _identity(coro: Any) -> tuple[str, str]:
    """Name the script, without its folder, and the function."""
    code = getattr(coro, "cr_code", None)
    return os.path.basename(code.co_filename) if code else "?", getattr(coro, "__qualname__", type(coro).__name__)


@contextlib.contextmanager
def durable_runners(
    uri: str | os.PathLike[str] | Any, tell: Callable[[str], object] = lambda _: None, **options: Any
) -> Iterator[Program]:
    """Have `asyncio.run` and `asyncio.Runner`, in the main thread, run their programs durably; gives the account.

    Args:
        uri: of the store.
        tell: see `Program`.
        **options: see `pstore.open`.
    """
    program, usual = Program(uri, options, tell), asyncio.Runner

    def runner(**given: Any) -> Any:
        in_main = threading.current_thread() is threading.main_thread()
        return DurableRunner(program, **given) if in_main else usual(**given)

    with in_place_of_runner(runner), _no_other_loop():
        yield program


@contextlib.contextmanager
def _no_other_loop() -> Iterator[None]:
    usual = asyncio.BaseEventLoop.run_forever

    def run_forever(loop: asyncio.BaseEventLoop) -> None:
        if threading.current_thread() is threading.main_thread():
            raise EngineError(
                "this script runs an event loop of its own, which is not durable; call asyncio.run(main()), which is"
            )
        usual(loop)

    asyncio.BaseEventLoop.run_forever = run_forever  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        asyncio.BaseEventLoop.run_forever = usual  # type: ignore[method-assign]


@contextlib.contextmanager
def in_place_of_runner(runner: Callable[..., Any]) -> Iterator[None]:
    """Have `asyncio.run` and whoever asks for `asyncio.Runner` call this."""
    usual, places = asyncio.Runner, (asyncio, asyncio.runners)
    for place in places:
        place.Runner = runner  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for place in places:
            place.Runner = usual  # type: ignore[attr-defined]
