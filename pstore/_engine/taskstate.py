"""How a task is stored, in the record that it has (`pstore._store.capsules`).

Owns: the state of a task (invariant I9), a tuple::

    coroutine   None: it is done
    id, number  of the task
    asked       how many steps it has asked for * 256 + flags
    since       see `Task`
    wait        nothing; a future; or one, two, three or four objects that stand for it, see `waits`
    more        nothing, or, as a flag says: callbacks, context, timers, steps, and a dict of what is rarely so

A context that the task alone has, with nothing but an origin, is stored as that (None: it is empty); a flag says that
it is the id of the task.  In format 5 it was ``coroutine, wait, id, number, asked, since, more``, with one object, or
None, for the wait, and one for what is more; in format 3 a tuple of 13, with the loop in it.

Rule: most tasks at most commits are small, and every object in the state is asked about when it is written: so what is
as usual takes no object of its own.
"""

from __future__ import annotations

import contextvars
from asyncio.tasks import _register_task
from typing import TYPE_CHECKING, Any

from pstore._engine import debug
from pstore._engine.future import _WITHOUT_DEBUG, PENDING, Future, _kept_callbacks, _live_callbacks
from pstore._engine.origin import context_of, origin
from pstore._engine.waits import (
    MESSAGE,
    has_inbox,
    has_timer,
    kept_wait,
    restore_message_wait,
    restored_step,
    restored_timer,
)

if TYPE_CHECKING:
    from pstore._engine.task import Task

__all__ = ["RARE", "kept_state", "path_in", "restore_state"]

_SPAWNED, _KEEP, _MUST_CANCEL, _BLOCKING, _OWNS_CONTEXT, _OWN_ORIGIN, _MORE = 1, 2, 4, 8, 16, 32, 64
_FLAGS = 8  # bits
RARE: tuple[tuple[str, Any], ...] = (
    ("_num_cancels_requested", 0),
    ("turn", None),
    ("inbox", None),
    ("_cancel_message", None),
    ("_cancelled_exc", None),
)
_OF_TASK = frozenset(("_name", "title", *(name for name, _ in RARE)))
_PARTS = ("_coro", "id", "number", "asked", "since")
_PARTS_OF_MORE = ("_callbacks", "_context", "timers", "steps")


def kept_state(task: Task[Any], parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """The state of a task, without its `parts`, as of `wait_of`."""
    flags = task.spawned * _SPAWNED + task.keep * _KEEP
    if task._must_cancel or task._asyncio_future_blocking:
        flags += task._must_cancel * _MUST_CANCEL + task._asyncio_future_blocking * _BLOCKING
    context: Any = task._context
    if task._owns_context:
        flags += _OWNS_CONTEXT
        if len(context) < 2:  # what nobody else knows, and has nothing of the program's in it
            own = context.get(origin)
            if own == task.id:
                flags, context = flags + _OWN_ORIGIN, None
            elif own is not None or not len(context):
                context = own
    timers, steps, waiter = task.timers, task.steps, task._fut_waiter
    own_inbox = False
    wait: tuple[Any, ...] = () if waiter is None else (waiter,)
    if parts:
        wait, own_inbox = kept_wait(task, parts), has_inbox(parts)
        steps = {}
        if timers and has_timer(parts):
            timers = {}
    rare = _rare_of(task, own_inbox) if _is_rare(task, own_inbox) else None
    if context is not None or rare or timers or steps or task._callbacks:
        flags |= _MORE
        wait += (tuple(_kept_callbacks(task._callbacks)), context, tuple(timers.values()), tuple(steps.values()), rare)
    # The coroutine first, so that the path to what cannot be stored leads through it, not through callbacks.
    coro = task._coro if task._state == PENDING else None
    return coro, task.id, task.number, task.asked << _FLAGS | flags, task.since, *wait


def _is_rare(task: Task[Any], own_inbox: bool) -> bool:
    """Whether `_rare_of` gives anything; the same questions in a part of its time, as most tasks have nothing rare."""
    if task._state != PENDING or task._name != task.id or task._source_traceback is not None:
        return True
    if task.turn is not None or (task.inbox is not None and not own_inbox) or task._num_cancels_requested:
        return True
    return task._cancel_message is not None or task._cancelled_exc is not None


def _rare_of(task: Task[Any], own_inbox: bool) -> dict[str, Any]:
    """What is not as usual; `own_inbox`: the wait has the inbox."""
    rare: dict[str, Any] = {}
    if task._name != task.id:
        rare["_name"] = task._name
    for name, usual in RARE:
        value = getattr(task, name)
        if value is not usual and not (own_inbox and name == "inbox"):
            rare[name] = value
    if task.done():
        rare |= task._whole_state()
        del rare["_callbacks"], rare["_loop"]
        rare["title"] = task.title
    elif task._source_traceback is not None:
        rare["_source_traceback"] = debug.kept(task._source_traceback)
    return rare


def path_in(task: Task[Any], path: str) -> str:
    """A path from the state, ``root[0]...``, as one that users know."""
    place, rest = _first_of(path.removeprefix("root"))
    if place == 0:
        return f"task {task.id!r}{rest}"
    if place < len(_PARTS):
        return f"tasks[{task.id!r}].{_PARTS[place]}{rest}"
    place -= len(_PARTS) + (task._fut_waiter is not None)
    if place < 0:
        return f"tasks[{task.id!r}]._fut_waiter{rest}"
    if place < len(_PARTS_OF_MORE):
        return f"tasks[{task.id!r}].{_PARTS_OF_MORE[place]}{rest}"
    name, _, rest = rest.removeprefix("['").partition("']")
    return f"tasks[{task.id!r}].{name}{rest}"


def _first_of(path: str) -> tuple[int, str]:
    place, _, rest = path.removeprefix("[").partition("]")
    return int(place), rest


def restore_state(task: Task[Any], state: tuple[Any, ...], loop: Any, made: dict[int, Any]) -> None:
    """Fill a task that was stored.

    Args:
        task: it has nothing yet.
        state: of it.
        loop: that it belongs to.
        made: objects that the state leads to, new and empty, by the numbers of `constants.fresh`.
    """
    coro, task_id, number, asked, flags, since, wait, more = _parts_of(state)
    callbacks, context, timers, steps, rare = more or ((), None, (), (), None)
    Future.__init__(task, loop=_WITHOUT_DEBUG)
    task._loop, task._coro = loop, coro
    task._callbacks = _live_callbacks(callbacks)
    task._context = _context_of(context, task_id if flags & _OWN_ORIGIN else None)
    task._name = task.id = task_id
    task.number, task.asked, task.since = number, asked, since
    task.spawned, task.keep = bool(flags & _SPAWNED), bool(flags & _KEEP)
    task._must_cancel, task._asyncio_future_blocking = bool(flags & _MUST_CANCEL), bool(flags & _BLOCKING)
    task._owns_context = bool(flags & _OWNS_CONTEXT)
    for name, usual in RARE:
        setattr(task, name, usual)
    if len(wait) == 3:
        timers = (*timers, restored_timer(task, wait, made))
        task._fut_waiter = timers[-1]._args[0]
    elif len(wait) > 1:
        steps = (restored_step(task, wait, made),)
        task._fut_waiter = steps[0].future
    elif wait:
        task._fut_waiter = restore_message_wait(task, made) if wait[0] is MESSAGE else wait[0]
    else:
        task._fut_waiter = None
    given = dict(rare or ())
    if "_state" in given:
        Future.__setstate__(task, {"_callbacks": callbacks, "_loop": loop, **given})
        given = {name: value for name, value in given.items() if name in _OF_TASK}
    else:
        task._source_traceback = debug.restored(given.pop("_source_traceback", None))
        task.title = getattr(coro, "__qualname__", type(coro).__name__)
    for name, value in given.items():
        setattr(task, name, value)
    task.timers = {handle.order: handle for handle in timers}
    for owned in (*timers, *steps):
        owned.came_back(task)
    task.steps = {step.key: step for step in steps}
    if not task.done():
        _register_task(task)  # type: ignore[arg-type]
    loop.parking.came(task)


def _parts_of(state: tuple[Any, ...]) -> tuple[Any, ...]:
    """Coroutine, id, number, steps asked for, flags, since, wait, and what is more, of a state of any format."""
    wait: tuple[Any, ...]
    if type(state[1]) is str:
        coro, task_id, number, asked, since = state[:5]
        end = len(state) - 5 if asked & _MORE else len(state)
        wait, more = state[5:end], state[end:]
    elif len(state) == 7:
        coro, waiter, task_id, number, asked, since, more = state
        wait = waiter if type(waiter) is tuple else (waiter,)
    else:
        coro, waiter, callbacks, context, _, task_id, number, asked, flags, since, *rest = state
        return coro, task_id, number, asked, flags, since, (waiter,), (callbacks, context, *rest)
    return coro, task_id, number, asked >> _FLAGS, asked & (1 << _FLAGS) - 1, since, wait, more


def _context_of(kept: Any, own: str | None) -> contextvars.Context:
    found: Any = own if kept is None else kept
    return context_of(found if isinstance(found, contextvars.Context) else found is not None, lambda: found)
