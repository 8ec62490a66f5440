"""The wait of a task for the step that it has asked for last, as it is stored: without its objects.

At nearly every commit a task that runs waits for one step, by ``await pstore.step(...)``.  The future, the call and
what iterates it are then as every such wait leaves them, so a record names them (`constants.fresh`), and says what is
not known, in the place of what the task waits for: function and arguments, and then the number of the step and its
context where the step is not the last that the task has asked for, or has not the context that steps usually have.  The
objects are made anew when the task is loaded.

Rule: where anything is otherwise (options, a second step, somebody else's callback, a failed attempt), or anybody else
leads to one of the objects, the step and the objects are stored as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pstore._engine.future import _WITHOUT_DEBUG, PENDING, Future, FutureAwait
from pstore._engine.outbox import Step
from pstore._store import constants

if TYPE_CHECKING:
    from pstore._engine.task import Task

__all__ = ["kept_wait", "restored_wait", "wait_of"]


def wait_of(task: Task[Any]) -> tuple[Any, ...]:
    """Future, call and iterator, if the task waits for the one step that it has asked for; else nothing."""
    if len(task.steps) != 1:
        return ()
    (step,) = task.steps.values()
    future: Any = step.future
    if future is not task._fut_waiter or step.call is None or not step.is_plain():
        return ()
    call: Any = step.call()
    if type(call) not in constants.fresh_references or not call.is_plain() or call._future is not future:
        return ()
    if call.fn is not step.fn or call.args is not step.args:
        return ()
    wait = call._wait
    if type(wait) is not FutureAwait or wait._future is not future or not wait._given:
        return ()
    return (future, call, wait) if call.asker == task.id and _is_plain(future, task) else ()


def _is_plain(future: Any, task: Task[Any]) -> bool:
    """Whether it is as one that a task has just begun to wait for."""
    if future._state != PENDING or future._asyncio_future_blocking or type(future) is not Future:
        return False
    if future._cancelled_exc is not None or future._source_traceback is not None or future._loop is not task._loop:
        return False
    callbacks = future._callbacks
    return len(callbacks) == 1 and callbacks[0][1] is None and callbacks[0][0].__self__ is task


def kept_wait(task: Task[Any]) -> tuple[Any, ...]:
    """What is stored of the step of a task, and of its wait, where `wait_of` gives something."""
    (step,) = task.steps.values()
    context = step.kept_context()
    if context is True and step.number == task.asked:
        return step.fn, step.args
    return step.fn, step.args, step.number, context


def restored_wait(task: Task[Any], kept: tuple[Any, ...], made: dict[int, Any]) -> Step:
    """Fill the objects of a wait; gives the step.  `made`: those of them that the rest of the task leads to."""
    fn, args, asked, context = kept if len(kept) > 2 else (*kept, task.asked, True)
    future, wait, call = (made[number] if number in made else constants.fresh[number]() for number in _NUMBERS)
    Future.__init__(future, loop=_WITHOUT_DEBUG)
    future._loop, future._callbacks = task._loop, [(task._wakeup, None)]
    wait.__setstate__((future, True))
    call.__setstate__((fn, args, task.id, future, wait, False, None))
    step = Step.__new__(Step)
    step.__setstate__((asked, fn, args, context, future, None))
    step.is_awaited_by(call)
    return step


_NUMBERS = (101, 102, 103)  # the last is that of `effects.StepCall`
constants.register_fresh(101, Future)
constants.register_fresh(102, FutureAwait)
