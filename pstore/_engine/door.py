"""`Door`: what the host of a program asks of it, from any thread: the half of `Engine` that faces outwards.

    receipt = engine.send("order-17", {"approved": True}, id="msg-1")
    receipt.result()            # in a thread
    await receipt               # in a coroutine of the host

Rules:

- What is asked is done in the thread that runs the engine, between two calls of the program.
- Nothing leaves before the commit that contains its cause is down (invariant I5): an acknowledgement, a result and an
  error wait for it.
- What passes is copied (`byvalue`).
- An engine that is closed answers all that is open with EngineClosed: what was not acknowledged may be lost.
- A run that ends with an error answers all that is open with RunFailed, as nobody may run the engine again.  What was
  asked stays: what the run had begun, and what is still queued, is done and committed by the next run, if there is one.
  What is asked while nobody runs the engine waits for that.
"""

from __future__ import annotations

import abc
import asyncio
import concurrent.futures
import contextvars
import os
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, overload

from pstore._engine.byvalue import copied, packed, unpacked
from pstore._engine.deliveries import DeadLetters, register, unregister
from pstore._engine.host import is_for_tasks
from pstore._engine.inbox import Inbox
from pstore._engine.listening import Listener
from pstore._engine.loop import DurableLoop
from pstore._engine.mail import check_id
from pstore._engine.outbox import Retry
from pstore._engine.parking import some_ids
from pstore._engine.queries import FrameLocals, ask, frames_of
from pstore._engine.schedules import CatchUp, Schedule, Schedules
from pstore._engine.tags import STATES, check_asked
from pstore._engine.task import Task
from pstore._engine.timers import Handle
from pstore.client import socket_beside
from pstore.errors import (
    CaptureError,
    EngineClosed,
    EngineError,
    NotInEngine,
    PstoreError,
    RunFailed,
    Stalled,
    TaskCancelled,
    UnknownTask,
)

if TYPE_CHECKING:
    from pstore._store.store import Store

__all__ = ["Door", "Receipt"]

T = TypeVar("T")

_LOADED_AT_ONCE = 1000  # tasks
# Seconds after which one who has asked looks whether there is still somebody to answer.
AGAIN = 0.05


class Receipt(concurrent.futures.Future[T]):
    """What the engine owes its host: ``.result()`` in a thread, ``await`` in a coroutine of the host.

    It is done when what it tells of is durable; with RunFailed when the run ends with an error before, with
    EngineClosed when the engine is closed before.  To cancel it takes nothing back.
    """

    def __await__(self) -> Generator[Any, None, T]:
        loop = asyncio.get_running_loop()
        if isinstance(loop, DurableLoop):
            raise NotInEngine(
                "what an engine owes its host was awaited in a task; tasks use pstore.send and await tasks"
            )
        return asyncio.wrap_future(self, loop=loop).__await__()

    def settle(self, value: Any, error: BaseException | None) -> None:
        """Make it done, unless it was cancelled, or a run that failed has answered it."""
        if self.done() or not self.set_running_or_notify_cancel():
            return
        if error is None:
            self.set_result(value)
        else:
            self.set_exception(error)


class Door(abc.ABC):
    """The outward half of `Engine`."""

    _loop: DurableLoop
    _store: Store
    _refused: bool

    @abc.abstractmethod
    def _check_open(self) -> None:
        """Raise EngineClosed when the engine is closed."""

    @abc.abstractmethod
    def _check_usable(self) -> None:
        """Raise that, or EngineInterrupted when nothing will be committed any more."""

    def _open_door(self) -> None:
        self._open: set[Receipt[Any]] = set()
        # What is to leave with the next commit.
        self._leaving: list[tuple[Receipt[Any], Any, BaseException | None]] = []
        self._watched: dict[int, tuple[Task[Any], list[Receipt[Any]]]] = {}
        # The thread that runs the engine; None: nobody does.
        self._runner: int | None = None
        # Held while another thread looks when nobody runs it, and by who begins to.
        self._looking = threading.RLock()
        self._listeners: list[Listener] = []
        self._loop.watcher = self._task_ended
        self._store.capsules.look = self._load

    def _close_door(self) -> None:
        for listener in self._listeners:
            listener.close()
        unregister(self._loop.outbox.store_id)
        name = self._store.name
        for receipt in list(self._open):
            text = f"{name}: the engine was closed before this was known to be committed"
            self._settle(receipt, None, EngineClosed(text))

    @contextmanager
    def _answering_if_it_fails(self) -> Iterator[None]:
        """Let those who wait know of the error by which a run ends."""
        try:
            yield
        except (Stalled, asyncio.CancelledError, GeneratorExit):
            raise  # it ended as it may, and goes on another time
        except BaseException as error:
            if not self._loop.is_running():  # else this was refused, as another run is under way
                self._answer_with(error)
            raise

    def _answer_with(self, error: BaseException) -> None:
        reason = f"as the run of the engine has ended with {type(error).__name__}: {error}"
        for receipt in list(self._open):
            failed = RunFailed(f"{self._store.name}: this is not known to be committed, {reason}")
            failed.__cause__ = error
            self._settle(receipt, None, failed)
        self._watched.clear()

    # -- messages

    def send(self, to: Task[Any] | Inbox | str, message: Any, *, id: str | None = None) -> Receipt[bool]:
        """Send a message to a task or an inbox, from any thread.

        Args:
            to: a task, the id of one, an `Inbox`, or the name under which `root` has an inbox.
            message: what is sent: a copy of it.
            id: a message that comes again under the same id is dropped, for as long as the inbox remembers it.

        Returns:
            A receipt, which is done when the message is durable; its result: whether the message is new.  A message
            that is durable is received once.  One that was not acknowledged may be sent again under its id.

        Raises:
            UnsupportedValue: the message cannot be stored, or refers to what belongs to the program; `path` begins with
                ``message``.
            TypeError: the id is no text.
            UnknownTask, TaskDone (by the receipt): nobody can receive it.
            RunFailed, EngineClosed (by the receipt): it was not acknowledged.
            EngineInterrupted: the engine commits no more.
        """
        self._check_usable()
        check_id(id)
        return self._ask(self._deliver, to, packed(message, "message"), id)

    def _deliver(self, to: Any, message: bytes, id: str | None) -> bool:
        task = self._loop.tasks.get(to) if isinstance(to, str) else to
        if isinstance(task, Task):
            self._only_look(task.done)  # nothing has changed yet, should it be parked and not to be brought back
        return self._loop.services.mail.deliver(self._loop, to, unpacked(message), id, self._store.root)

    def listen(self, path: str | os.PathLike[str] | None = None) -> str:
        """Let other processes of this user send messages: see `pstore.client.send` and ``pstore send``.

        Args:
            path: where the Unix domain socket is made; None: beside the file of the store, its name and ``.sock``.

        Returns:
            The path.  The socket is gone when the engine is closed.

        Raises:
            EngineError: there is no file that it could be beside; somebody listens there; the path is too long.
        """
        self._check_open()
        if path is None:
            if not os.path.isfile(self._store.name):
                raise EngineError(
                    f"{self._store.name}: is no file that a socket could be beside; say engine.listen(path)"
                )
            path = socket_beside(self._store.name)
        listener = Listener(os.fspath(path), self.send)
        self._listeners.append(listener)
        return listener.path

    # -- results

    @overload
    def future(self, task: Task[T]) -> Receipt[T]: ...
    @overload
    def future(self, task: str) -> Receipt[Any]: ...
    def future(self, task: Task[T] | str) -> Receipt[T]:
        """Give a receipt for the result of a task: ``await engine.future(task)``; an id will do.

        Its result is a copy; its exception is what the task failed with, or TaskCancelled.  A failure that is waited
        for counts as reported.

        Raises (by the receipt):
            UnknownTask: there is no task of that id.
        """
        self._check_usable()
        receipt: Receipt[T] = Receipt()
        self._open.add(receipt)
        if self._is_mine():
            self._watch(receipt, task)
        else:
            self._enter(self._watch, receipt, task)
        return receipt

    wait = future

    def _watch(self, receipt: Receipt[Any], asked: Task[Any] | str) -> None:
        task = self._loop.tasks.get(asked) if isinstance(asked, str) else asked
        try:
            if task is not None:
                self._only_look(task.done)
        except PstoreError as error:  # it is parked, and cannot be brought back
            self._settle(receipt, None, error)
            return
        if task is None:
            self._settle(receipt, None, UnknownTask(str(asked), some_ids(self._loop.tasks)))
        elif task.get_loop() is not self._loop:
            self._settle(receipt, None, EngineError(f"{task!r} does not belong to this engine"))
        elif not task.done():
            self._watched.setdefault(id(task), (task, []))[1].append(receipt)
        elif self._loop.is_running() or self._refused:
            self._leaving.append((receipt, *_outcome(task)))
        else:  # what is done was committed by the turn that made it so
            self._settle(receipt, *_outcome(task))

    def _task_ended(self, task: Task[Any]) -> None:
        _, receipts = self._watched.pop(id(task), (task, []))
        for receipt in receipts:
            self._leaving.append((receipt, *_outcome(task)))

    # -- letters

    def deliver(
        self, name: str, fn: Callable[[Any], Any], *, retry: Retry | None = None, timeout: float | None = None
    ) -> None:
        """Deliver what tasks post to a name, in this process: ``fn(payload)`` is called for each letter, in order.

        What was posted to a name to which nobody delivers waits.  From any thread; call it before `run`.

        Args:
            name: of the destination.
            fn: a function, called in a thread, or a coroutine function; it may be bound to a client or a connection,
                as it is not stored.
            retry: when a letter is tried again; None: for some ten minutes.
            timeout: seconds that an attempt may take; None: 60; `math.inf`: as long as it takes.  One that takes longer
                has failed with StepTimeout: a coroutine is cancelled, a function in a thread given up: it may ask
                `pstore.step_cancelled`, and what it still delivers comes twice.

        Raises:
            TypeError, ValueError: `fn` is no function, `name` has a colon, or `timeout` is no span of time.
        """
        self._check_open()
        register(self._loop.outbox.store_id, name, fn, retry, timeout)
        self._enter(self._loop.services.deliveries.start, self._loop, name)

    @property
    def dead_letters(self) -> DeadLetters:
        """The letters that could not be delivered; they can be posted again."""
        self._check_open()
        return DeadLetters(self._loop)

    # -- schedules

    def schedule(
        self,
        name: str,
        when: str | float,
        fn: Callable[..., Coroutine[Any, Any, Any]],
        *args: Any,
        tz: str = "UTC",
        catch_up: CatchUp = "skip",
        limit: int = 100,
        late: float = 60.0,
    ) -> Schedule:
        """Have ``fn(*args)`` started as a task again and again; gives the schedule, which is durable like a task.

        Said again under the same name, by the next process for instance, it goes on as it was, with what is different
        changed; at other times it is due anew from now on.

        Args:
            name: of the schedule.
            when: a cron expression (needs ``pip install 'pstore[schedules]'``), or seconds from one to the next.
            fn: a coroutine function, what wraps one (`functools.wraps`, `functools.partial`), or a `pstore.step`; of
                other functions it is only known when they are called, at the moment, what they give.
            *args: its arguments.
            tz: name of the time zone in which the cron expression is meant.
            catch_up: what happens to moments at which nobody ran: ``skip``, ``one`` (the latest starts a task) or
                ``all``.
            limit: of how many, with ``all``; the latest.
            late: seconds that a moment may be past without counting as missed, with ``skip``.

        Raises:
            ValueError: the expression, the time zone or another argument is wrong.
            TypeError: `fn` is no coroutine function.
        """
        self._check_open()
        if not is_for_tasks(fn):
            raise TypeError(f"engine.schedule(name, when, fn, *args): {fn!r} is no coroutine function")
        schedules = Schedules(self._loop)
        schedule = schedules.put(name, when, fn, args, tz, catch_up=catch_up, limit=limit, late=late)
        self._enter(_nothing)  # so that a host that runs already commits it, and waits for its moment
        return schedule

    @property
    def schedules(self) -> Schedules:
        """The schedules by name; ``pause()``, ``resume()`` and ``delete()`` are methods of each."""
        self._check_open()
        return Schedules(self._loop)

    # -- questions

    def locals(self, task_id: str) -> list[FrameLocals]:
        """Give the await stack of a task, outermost frame first, with copies of its locals; nothing if it is done.

        From any thread; another one than that of the engine waits until it has answered.

        Raises:
            UnknownTask: there is no such task.
        """
        return self._look(frames_of, self._loop, task_id)

    def query(self, task_id: str, name: str, *args: Any) -> Any:
        """Call the function that a task has declared by ``pstore.query(name, fn)``; gives a copy of what it gives.

        From any thread; another one than that of the engine waits until it has answered.

        Raises:
            UnknownTask: there is no such task.
            EngineError: it has declared no such query.
            QueryChanged: in debug mode, the function has changed something.
            UnsupportedValue: what it gave cannot be copied.
            Whatever the function raises.
        """
        return self._look(ask, self._loop, task_id, name, args)

    def find(
        self,
        *,
        state: str | None = None,
        tag: Mapping[str, Any] | None = None,
        since: float | datetime | None = None,
    ) -> list[Task[Any]]:
        """Find tasks, the earliest first, without looking at all of them.

        From any thread; another one than that of the engine waits until it has answered.

        Args:
            state: ``active`` (not done), ``finished``, ``failed`` or ``cancelled``.
            tag: the tags that they have, all of them, by name and value: see `spawn` and `pstore.tag`.  Values of
                another type are other tags: 1, 1.0 and True are three.
            since: those that came to their state, were started or ended, at this moment or later: UTC seconds, or a
                datetime with a time zone.

        Returns:
            Tasks that are in `tasks`: all that are not done, and the done ones with a name of their own or that failed.

        Raises:
            ValueError: there is no such state, or `since` has no time zone.
            TypeError: `tag` has a value that no tag has.
        """
        if state is not None and state not in STATES:
            raise ValueError(f"{state!r} is no state of tasks; there are {', '.join(STATES)}")
        tag = {} if tag is None else tag
        check_asked(tag)
        if isinstance(since, datetime):
            if since.tzinfo is None:
                raise ValueError("since: a datetime has to have a time zone")
            since = since.timestamp()
        found = self._look(self._find, state, tag, since)
        if not self._is_mine():  # who is parked is loaded when it is looked at: many at once, and not each by itself
            self._look(_load, found[:_LOADED_AT_ONCE])
        return found

    def _find(self, state: str | None, tags: Mapping[str, Any], since: float | None) -> list[Task[Any]]:
        return [self._loop.tasks[task_id] for task_id in self._loop.services.index.find(state, tags, since, self._loop)]

    # -- anything else

    def call(self, fn: Callable[..., T], *args: Any) -> Receipt[T]:
        """Have ``fn(*args)`` called in the thread that runs the engine, between two calls of the program.

        For what only that thread may do: to spawn a task, to look at `root`.  The receipt is done, with a copy of the
        result, when what it did is durable.
        """
        self._check_usable()
        return self._ask(_copied_result, fn, args)

    def _ask(self, fn: Callable[..., Any], *args: Any) -> Receipt[Any]:
        receipt: Receipt[Any] = Receipt()
        self._open.add(receipt)
        self._enter(self._answer, receipt, fn, args)
        return receipt

    def _enter(self, fn: Callable[..., object], *args: Any) -> None:
        """Have a call made by the engine; not stored."""
        self._loop.inbox.put(Handle(fn, args, self._loop, contextvars.Context()))

    def _answer(self, receipt: Receipt[Any], fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            self._leaving.append((receipt, fn(*args), None))
        except Exception as error:  # whatever it is belongs to whoever asked
            self._leaving.append((receipt, None, error))

    def _look(self, fn: Callable[..., T], *args: Any) -> T:
        """Give ``fn(*args)``, which only looks: now if this is the thread that runs the engine, or if nobody does."""
        receipt: Receipt[T] | None = None
        while True:
            self._check_open()
            if self._runner == threading.get_ident():
                return self._only_look(fn, *args)
            with self._looking:
                if self._runner is None:  # and nobody begins to run it before this has looked
                    return self._only_look(fn, *args)
            if receipt is None:  # not among those that are open: this sees by itself that nobody runs it any more
                receipt = Receipt()
                self._enter(self._answer, receipt, self._only_look, (fn, *args))
            if concurrent.futures.wait([receipt], AGAIN).done:
                return receipt.result()

    def _only_look(self, fn: Callable[..., T], *args: Any) -> T:
        """The same; that a task cannot be brought back for it matters to nobody else."""
        with self._loop.parking.looking():
            return fn(*args)

    def _load(self, fn: Callable[..., T], *args: Any) -> T:
        """Load a task, in the thread that runs the engine."""
        with self._looking:
            if self._is_mine():
                return fn(*args)
        return self._look(fn, *args)

    def _is_mine(self) -> bool:
        return self._runner in (None, threading.get_ident())

    # -- leaving

    def _after_commit(self) -> None:
        """Let out what waited for the commit that is down."""
        leaving, self._leaving = self._leaving, []
        for receipt, value, error in leaving:
            self._settle(receipt, value, error)
        self._loop.services.committed()

    def _settle(self, receipt: Receipt[Any], value: Any, error: BaseException | None) -> None:
        self._open.discard(receipt)
        receipt.settle(value, error)


def _load(tasks: list[Task[Any]]) -> None:
    for task in tasks:
        task.__capsule_load__()


def _nothing() -> None:
    """A call that makes the engine commit."""


def _copied_result(fn: Callable[..., T], args: tuple[Any, ...]) -> T:
    return copied(fn(*args), "result")


def _outcome(task: Task[Any]) -> tuple[Any, BaseException | None]:
    """Give a copy of the result, or of the exception; whoever gets it has looked."""
    if task.cancelled():
        return None, TaskCancelled(task.id)
    task._log_traceback = False
    error = task._exception
    try:
        return (copied(task._result, "result"), None) if error is None else (None, copied(error, "exception"))
    except CaptureError as refused:
        how = "its result" if error is None else f"it failed with {error!r}, which"
        refusal = EngineError(f"task {task.id!r} is done; {how} cannot be copied for the host: {refused}")
        refusal.__cause__ = refused
        return None, refusal
