"""Looking into a store without running anything of it: which tasks there are, and where each stands.

Rules: nothing here resumes a frame, starts a step or writes to the store; values are shown by their `repr`, clipped,
and one that raises is shown as its type and address.  A running program may be using the store: `look` takes no lock.
"""

from __future__ import annotations

import linecache
import os
import reprlib
import traceback
from dataclasses import dataclass
from typing import Any

from pstore._engine.engine import LOOP_PART, Engine
from pstore._engine.loop import DurableLoop
from pstore._engine.outbox import Step
from pstore._engine.parking import some_ids
from pstore._engine.stack import awaited, innermost, places, where
from pstore._engine.task import Task
from pstore._store.store import Store
from pstore.errors import EngineError, UnknownTask

__all__ = ["FrameInfo", "TaskInfo", "load", "look", "stack", "task", "tasks", "waits_for"]

_LONGEST = 200
_CLIP = reprlib.Repr()
_CLIP.maxlevel = 4
_CLIP.maxstring = _CLIP.maxother = 80
_CLIP.maxlist = _CLIP.maxtuple = _CLIP.maxdict = _CLIP.maxset = _CLIP.maxfrozenset = _CLIP.maxdeque = 8


@dataclass(frozen=True)
class TaskInfo:
    """One task.

    Attributes:
        id: its id in the store.
        state: ``ready`` (it can go on), ``waiting``, ``finished``, ``failed`` or ``cancelled``.
        function: qualified name of its coroutine function.
        where: ``function() at file:line`` of the innermost frame that is not asyncio's; for a task that is done what
            it returned or raised.
        waits_for: what the innermost frame awaits; empty if the task is done or ready.
        since: when it came there, or ended, as the time of its loop was then: UTC seconds; 0 if it is not known.
        source: the line of source of that place, stripped; empty if the task is done or the source is not to be had.
    """

    id: str
    state: str
    function: str
    where: str
    waits_for: str
    since: float
    source: str


@dataclass(frozen=True)
class FrameInfo:
    """One frame of the await stack of a task.

    Attributes:
        function: qualified name.
        filename, line: where it stands.
        source: the source line, stripped; empty if it is not to be had.
        locals: name -> clipped repr, in the order of the frame.
    """

    function: str
    filename: str
    line: int
    source: str
    locals: dict[str, str]


def look(uri: str | os.PathLike[str] | Any) -> Store:
    """Open a store read-only, to be handed to the functions here.  Close it when done.  Raises: see `Store`."""
    return Store(uri, read_only=True)


def load(store: Store) -> None:
    """Load the tasks of a program, if there is one, which otherwise are loaded when they are first looked at."""
    loop = store.parts.get(LOOP_PART)
    if isinstance(loop, DurableLoop):
        loop.look_at(store.capsules, store.shelf)
        for task in loop.tasks.values():
            task.done()


def tasks(source: Store | Engine) -> list[TaskInfo]:
    """List the tasks of a program, in the order in which they were started."""
    loop = _loop(source)
    steps = _Steps(loop)
    return [_describe(task, steps) for task in sorted(loop.tasks.values(), key=lambda task: task.number)]


def task(source: Store | Engine, task_id: str) -> TaskInfo:
    """Tell of one task.

    Raises:
        UnknownTask: there is no such task.
    """
    return _describe(_task(source, task_id), _Steps(_loop(source)))


def stack(source: Store | Engine, task_id: str) -> list[FrameInfo]:
    """Give the await stack of a task, outermost frame first; for a failed task the frames of its traceback.

    Raises:
        UnknownTask: there is no such task.
    """
    task = _task(source, task_id)
    if task._exception is not None:
        return [_of_traceback(entry) for entry in traceback.extract_tb(task._exception.__traceback__)]
    return [
        FrameInfo(
            place.function,
            place.filename,
            place.line,
            _source(place.filename, place.line, place.frame.f_globals),
            {name: clipped(value) for name, value in place.frame.f_locals.items()},
        )
        for place in places(task.get_coro())
    ]


def waits_for(source: Store | Engine, task_id: str) -> str:
    """Tell what the innermost frame of a task awaits; empty if it is done, ready, or not started.

    Raises:
        UnknownTask: there is no such task.
    """
    return _waits_for(_task(source, task_id), _Steps(_loop(source)))


def clipped(value: Any) -> str:
    """Give the repr of a value in at most 200 characters; its type and address if the repr raises."""
    text = _CLIP.repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _loop(source: Store | Engine) -> DurableLoop:
    store = source.store if isinstance(source, Engine) else source
    loop = store.parts.get(LOOP_PART)
    if not isinstance(loop, DurableLoop):
        raise EngineError(f"{store.name}: no program was ever run in this store; pstore.open() starts one")
    if not isinstance(source, Engine):
        loop.look_at(store.capsules, store.shelf)
    return loop


def _task(source: Store | Engine, task_id: str) -> Task[Any]:
    known = _loop(source).tasks
    if task_id not in known:
        raise UnknownTask(task_id, some_ids(known))
    return known[task_id]


class _Steps:
    """The steps of a program by their futures; of a store that is looked at nobody has a list."""

    def __init__(self, loop: DurableLoop) -> None:
        self._loop = loop
        self._all: dict[int, Step] | None = None

    def of(self, task: Task[Any], future: Any) -> Step | None:
        """The step that a task waits for by its future: most often its own."""
        for step in task.steps.values():
            if step.future is future:
                return step
        if self._all is None:
            owners: list[Any] = [self._loop.state, *self._loop.tasks.values()]
            self._all = {id(step.future): step for owner in owners for step in owner.steps.values()}
        return self._all.get(id(future))


def _describe(task: Task[Any], steps: _Steps) -> TaskInfo:
    state, place = _state(task)
    return TaskInfo(task.id, state, task.title, place, _waits_for(task, steps), task.since, _source_of(task))


def _state(task: Task[Any]) -> tuple[str, str]:
    if not task.done():
        waiting = task._fut_waiter is not None and not task._fut_waiter.done()
        return ("waiting" if waiting else "ready"), where(task)
    if task.cancelled():
        return "cancelled", ""
    if task._exception is not None:
        return "failed", f"raised {clipped(task._exception)}"
    return "finished", f"returned {clipped(task._result)}"


def _waits_for(task: Task[Any], steps: _Steps) -> str:
    waiter = task._fut_waiter
    if task.done() or waiter is None or waiter.done():
        return ""
    step = steps.of(task, waiter)
    if step is not None:
        arguments = ", ".join(clipped(argument) for argument in step.args)
        again = f", attempt {step.failed + 1}" if step.failed else ""
        limit = None if step.begun or step.options is None else step.options.limit_name
        line = "" if limit is None else f", in line for {limit}"
        return f"step {step.title} ({arguments}){again}{line}"
    if isinstance(waiter, Task):
        return f"task {waiter.id}"
    inner = awaited(task.get_coro())
    own = type(waiter).__name__ if inner is None or type(inner).__name__ in _FUTURE_ITERATORS else type(inner).__name__
    return own.strip("_")


_FUTURE_ITERATORS = {"FutureAwait", "FutureIter"}


def _of_traceback(entry: traceback.FrameSummary) -> FrameInfo:
    return FrameInfo(entry.name, entry.filename, entry.lineno or 0, entry.line or "", {})


def _source_of(task: Task[Any]) -> str:
    place = None if task.done() else innermost(task)
    return "" if place is None else _source(place.filename, place.line, place.frame.f_globals)


def _source(filename: str, line: int, module_globals: dict[str, Any]) -> str:
    return linecache.getline(filename, line, module_globals).strip()
