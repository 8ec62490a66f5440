"""The wait of a task for its step, a message or a moment, as it is stored: without its objects.

At nearly every commit a task that runs waits for one step, by ``await pstore.step(...)``, and most that do not run wait
for a message, by ``await pstore.receive()``, or sleep, by ``await asyncio.sleep(...)``.  The objects of the wait are
then as every such wait leaves them, so a record names them (`constants.fresh`), and says in the place of what the task
waits for what is not known:

    step       function and arguments; then number and context, where it is not the last step that the task has asked
               for, or has not the context that steps usually have
    message    True
    moment     when, order and result of the timer

The objects are made anew when the task is loaded.

Rule: where anything is otherwise (options, a second step, somebody else's callback, a failed attempt, a timeout, ids of
messages to be remembered), or anybody else leads to one of the objects, they are stored as they are.
"""

from __future__ import annotations

from collections import deque
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from pstore._engine.backlog import Backlog
from pstore._engine.future import _WITHOUT_DEBUG, PENDING, Future, FutureAwait
from pstore._engine.inbox import Inbox, Receive, Window
from pstore._engine.outbox import Step
from pstore._engine.timers import TimerHandle
from pstore._store import constants

if TYPE_CHECKING:
    from pstore._engine.task import Task

__all__ = [
    "MESSAGE",
    "NO_WAIT",
    "has_inbox",
    "has_timer",
    "kept_wait",
    "restore_message_wait",
    "restored_step",
    "restored_timer",
    "wait_of",
]

MESSAGE = True
"""Stands for the wait for a message of the task's own inbox."""
Parts = tuple[tuple[Any, ...], tuple[int, ...]]
NO_WAIT: Parts = (), ()
_FUTURE, _WAIT, _CALL, _RECEIVE, _INBOX, _WINDOW, _BACKLOG, _PARTS, _WAITERS, _TIMER = _NUMBERS = range(101, 111)
_OF_STEP = tuple(map(constants.reference_to, (_FUTURE, _CALL, _WAIT)))
_OF_MOMENT = tuple(map(constants.reference_to, (_FUTURE, _TIMER, _WAIT)))
_OF_MESSAGE = tuple(
    map(constants.reference_to, (_FUTURE, _RECEIVE, _WAIT, _INBOX, _WINDOW, _BACKLOG, _PARTS, _WAITERS))
)


def wait_of(task: Task[Any]) -> Parts:
    """The objects of a wait for nothing but its step, a message or a moment, and what stands for each in a record."""
    if task.steps:
        return _wait_for_step(task)
    found = NO_WAIT if task.inbox is None else _wait_for_message(task, task.inbox)
    return _wait_for_moment(task) if found is NO_WAIT and len(task.timers) == 1 else found


def _wait_for_step(task: Task[Any]) -> Parts:
    if len(task.steps) != 1:
        return NO_WAIT
    (step,) = task.steps.values()
    future: Any = step.future
    if future is not task._fut_waiter or step.call is None or not step.is_plain():
        return NO_WAIT
    call: Any = step.call()
    kind: Any = constants.fresh[_CALL]
    if type(call) is not kind or not call.is_plain() or call._future is not future:
        return NO_WAIT
    if call.fn is not step.fn or call.args is not step.args or call.asker != task.id:
        return NO_WAIT
    wait = call._wait
    return ((future, call, wait), _OF_STEP) if _is_begun(wait, future) and _is_plain(future, task) else NO_WAIT


def _wait_for_message(task: Task[Any], inbox: Any) -> Parts:
    future = task._fut_waiter
    if type(inbox) is not Inbox or inbox._loop is not task._loop or not inbox.is_plain():
        return NO_WAIT
    waiters = inbox._waiters
    if len(waiters) != 1 or waiters[0] is not future or not _is_plain(future, task):
        return NO_WAIT
    receive = _awaited(task)
    if type(receive) is not Receive or receive.inbox is not inbox or not receive.is_plain():
        return NO_WAIT
    wait, messages = receive._wait, inbox._messages
    if receive._future is not future or not _is_begun(wait, future):
        return NO_WAIT
    return (future, receive, wait, inbox, inbox.known, messages, messages._parts, waiters), _OF_MESSAGE


def _wait_for_moment(task: Task[Any]) -> Parts:
    future: Any = task._fut_waiter
    (handle,) = task.timers.values()
    if type(handle) is not TimerHandle or not handle.is_to_set(future) or not _is_plain(future, task):
        return NO_WAIT
    wait = _awaited(task)
    return ((future, handle, wait), _OF_MOMENT) if _is_begun(wait, future) else NO_WAIT


def _awaited(task: Task[Any]) -> Any:
    """What the innermost coroutine of a task awaits."""
    found: Any = task._coro
    while type(found) is CoroutineType:
        found = found.cr_await
    return found


def _is_begun(wait: Any, future: Any) -> bool:
    """Whether it iterates a future, which it has given."""
    return type(wait) is FutureAwait and wait._future is future and wait._given


def _is_plain(future: Any, task: Task[Any]) -> bool:
    """Whether it is as one that a task has just begun to wait for."""
    if type(future) is not Future or future._state != PENDING or future._asyncio_future_blocking:
        return False
    if future._cancelled_exc is not None or future._source_traceback is not None or future._loop is not task._loop:
        return False
    callbacks = future._callbacks
    return len(callbacks) == 1 and callbacks[0][1] is None and callbacks[0][0].__self__ is task


def kept_wait(task: Task[Any], parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """What is stored of the wait of a task, and of its step, where `wait_of` gives some parts."""
    if has_inbox(parts):
        return (MESSAGE,)
    if has_timer(parts):
        handle = parts[1]
        return handle.when(), handle.order, handle._args[1]
    (step,) = task.steps.values()
    context = step.kept_context()
    if context is True and step.number == task.asked:
        return step.fn, step.args
    return step.fn, step.args, step.number, context


def has_inbox(parts: tuple[Any, ...]) -> bool:
    """Whether the inbox of the task is among the parts."""
    return len(parts) > 3


def has_timer(parts: tuple[Any, ...]) -> bool:
    """Whether the timer of the task is among the parts."""
    return len(parts) > 1 and type(parts[1]) is TimerHandle


def restored_step(task: Task[Any], kept: tuple[Any, ...], made: dict[int, Any]) -> Step:
    """Fill the objects of a wait for a step; gives the step.  `made`: those that the rest of the task leads to."""
    fn, args, asked, context = kept if len(kept) > 2 else (*kept, task.asked, True)
    future, wait = _waiting(task, made)
    call = _made(_CALL, made)
    call.__setstate__((fn, args, task.id, future, wait, False, None))
    step = Step.__new__(Step)
    step.__setstate__((asked, fn, args, context, future, None))
    step.is_awaited_by(call)
    return step


def restore_message_wait(task: Task[Any], made: dict[int, Any]) -> Any:
    """Fill the objects of a wait for a message; gives the future."""
    future, wait = _waiting(task, made)
    inbox, known, messages = _made(_INBOX, made), _made(_WINDOW, made), _made(_BACKLOG, made)
    known.__init__()
    messages._parts = _made(_PARTS, made)
    inbox.known, inbox._messages, inbox._waiters, inbox._loop = known, messages, _made(_WAITERS, made), task._loop
    inbox._waiters.append(future)
    receive = _made(_RECEIVE, made)
    receive.__init__(inbox, None)
    receive._future, receive._wait = future, wait
    task.inbox = inbox
    return future


def restored_timer(task: Task[Any], kept: tuple[Any, ...], made: dict[int, Any]) -> Any:
    """Fill the objects of a wait for a moment; gives the timer."""
    when, order, result = kept
    future, _ = _waiting(task, made)
    handle = _made(_TIMER, made)
    handle.set_up(future, result, task._loop, when, order, task)
    return handle


def _waiting(task: Task[Any], made: dict[int, Any]) -> tuple[Any, Any]:
    """A future that a task waits for, and what iterates it."""
    future, wait = _made(_FUTURE, made), _made(_WAIT, made)
    Future.__init__(future, loop=_WITHOUT_DEBUG)
    future._loop, future._callbacks = task._loop, [(task._wakeup, None)]
    wait.__setstate__((future, True))
    return future, wait


def _made(number: int, made: dict[int, Any]) -> Any:
    return made[number] if number in made else constants.empty(number)


_CLASSES = (Future, FutureAwait, None, Receive, Inbox, Window, Backlog, deque, deque, TimerHandle)
for _number, _class in zip(_NUMBERS, _CLASSES, strict=True):
    if _class is not None:  # `effects` registers its own
        constants.register_fresh(_number, _class)
