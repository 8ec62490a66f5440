"""The wait of a task for the step that it has asked for last, as it is stored: without its objects.

At nearly every commit a task that runs waits for one step, by ``await pstore.step(...)``.  The future, the call and
what iterates it are then as every such wait leaves them, so a record names them (`constants.fresh`), and says what is
not known: ``(number of the step, function, arguments, context, call, iterator)``.  They are made anew when the task is
loaded.

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

_OF_CALL = 9  # attributes


def wait_of(task: Task[Any]) -> tuple[Any, ...]:
    """Future, call and iterator, if the task waits for the one step that it has asked for; else nothing."""
    if len(task.steps) != 1:
        return ()
    (step,) = task.steps.values()
    future: Any = step.future
    call = None if step.call is None else step.call()
    if call is None or future is not task._fut_waiter or not _is_plain_future(future, task):
        return ()
    wait = call._wait
    if type(wait) is not FutureAwait or wait._future is not future or not wait._given:
        return ()
    return (future, call, wait) if _is_plain_call(call, step, task) and step.is_plain() else ()


def _is_plain_future(future: Any, task: Task[Any]) -> bool:
    if type(future) is not Future or future._state != PENDING or future._asyncio_future_blocking:
        return False
    if future._cancelled_exc is not None or future._source_traceback is not None or future._loop is not task._loop:
        return False
    callbacks = future._callbacks
    return len(callbacks) == 1 and callbacks[0][1] is None and callbacks[0][0] == task._wakeup


def _is_plain_call(call: Any, step: Step, task: Task[Any]) -> bool:
    if constants.fresh_numbers.get(type(call)) is None or len(call.__dict__) != _OF_CALL:
        return False
    if call._future is not step.future or call._over or call.retry is not None or call.options is not None:
        return False
    return call.fn is step.fn and call.args is step.args and call.asker == task.id


def kept_wait(step: Step, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """What is stored of a step whose wait is not; `parts` as of `wait_of`."""
    return step.number, step.fn, step.args, step.kept_context(), parts[1], parts[2]


def restored_wait(task: Task[Any], kept: tuple[Any, ...], future: Any) -> Step:
    """Fill the objects of a wait; gives the step."""
    number, fn, args, context, call, wait = kept
    Future.__init__(future, loop=_WITHOUT_DEBUG)
    future._loop, future._callbacks = task._loop, [(task._wakeup, None)]
    wait.__setstate__((future, True))
    call.__setstate__((fn, args, task.id, future, wait, False, None))
    step = Step.__new__(Step)
    step.__setstate__((number, fn, args, context, future, None))
    step.is_awaited_by(call)
    return step


constants.register_fresh(101, Future)
constants.register_fresh(102, FutureAwait)
