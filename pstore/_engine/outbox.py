"""`Outbox`: the steps that are asked for but not answered; each is stored with the task that asked for it.

    asked      in `Outbox.pending`, `due` None     started after the commit that contains it; again after every restart
    resting    in `Outbox.pending`, `due` a moment  an attempt failed; a timer of the loop makes it asked again
    answered   not in `Outbox.pending`              its future is done; committed with what its task does next
    cancelled  not in `Outbox.pending`              its future was cancelled; what it may still give back is dropped

A step that was asked waits in a line of the dispatcher's until its limiter lets it go: `begun` says that one of its own
once did.

Rules: what is started must be here and committed (invariant I5); a step that was started may be started again after a
crash (at least once), under the same key; nothing here starts anything, that is the dispatcher's part.  Steps of older
stores have fewer attributes: those of the class serve.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import random
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pstore._engine.future import Future
from pstore._engine.limits import Limits, limiter_of
from pstore._engine.options import NONE, Options, check_seconds
from pstore._engine.origin import context_of, kept_context
from pstore._store import constants
from pstore.errors import StepKeyInUse, StepTimeout

if TYPE_CHECKING:
    from pstore._engine.loop import DurableLoop

__all__ = ["Outbox", "Retry", "Step", "name_of", "without_context_run"]

Kinds = type[BaseException] | tuple[type[BaseException], ...]
# Characters of an exception that are kept for people.
LONGEST_TEXT = 300


@dataclass(frozen=True)
class Retry:
    """When a step that raised is tried again.

    All of it outlives the process: how many attempts there were, the moment of the next, the deadline.  An attempt that
    a crash cut off is made again and is not one that failed.

    Attributes:
        attempts: how many attempts there are in all, at least 1; None: any number.
        delay: seconds before the second attempt.
        factor: each further delay is this many times the one before.
        longest: no delay is longer, in seconds.
        on: exception class, or a tuple of them, after which to try again; all others are raised at the await at once.
        jitter: share of each delay that is drawn anew, 0 to 1, so that not all try again at once: 0.5 gives half of the
            delay to all of it, 1 gives nothing to all of it.
        not_on: exception class, or a tuple of them, after which not to try again, though they are among `on`.
        deadline: seconds since the step was asked for, in which all has to be over: waiting for a limiter, attempts,
            delays, also time in which no process ran.  No delay is begun that would end later, but the exception
            raised; where the deadline comes while the step waits or runs, `StepTimeout` is.  None: no limit.
    """

    attempts: int | None = 3
    delay: float = 1.0
    factor: float = 2.0
    longest: float = 60.0
    on: Kinds = (Exception,)
    jitter: float = 0.0
    not_on: Kinds = ()
    deadline: float | None = None

    def __post_init__(self) -> None:
        if (self.attempts is not None and self.attempts < 1) or min(self.delay, self.factor, self.longest) < 0:
            raise ValueError("Retry: attempts must be at least 1 or None, delay, factor and longest not negative")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"Retry: jitter is the share of a delay that is drawn, 0 to 1, not {self.jitter!r}")
        check_seconds("Retry", "deadline", self.deadline)
        for name in ("on", "not_on"):
            self._check_kinds(name, getattr(self, name))

    def _check_kinds(self, name: str, kinds: Any) -> None:
        for kind in kinds if isinstance(kinds, tuple) else (kinds,):
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise TypeError(f"Retry: {name} must be an exception class or a tuple of them, not {kinds!r}")

    def pause(self, failed: int, error: BaseException) -> float | None:
        """Draw the seconds until the next attempt after `failed` failed, the last with `error`; None: give up."""
        if self.attempts is not None and failed >= self.attempts:
            return None
        if not isinstance(error, self.on) or isinstance(error, self.not_on):
            return None
        return self._delay_after(failed) * (1 - self.jitter * random.random())

    def _delay_after(self, failed: int) -> float:
        try:
            return float(min(self.delay * self.factor ** (failed - 1), self.longest))
        except OverflowError:  # after a thousand attempts
            return float(self.longest)


def name_of(fn: Callable[..., Any]) -> str:
    """Name a callable for people."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return str(getattr(fn, "__qualname__", type(fn).__qualname__))


class Step:
    """One action on the outside world that a task waits for.

    Attributes:
        key: idempotency key: the same at every attempt and after every restart, and no other pending step's.
        future: what the task awaits.
        options: how it is to be done; None: as `options.NONE` says.
        asker: ids of the started task, and of the task, that asked for it.
        failed: attempts that failed.
        due: moment of the next attempt, UTC seconds; None: as soon as it is committed, and its turn.
        begun: whether its limiter let it go once, also in an earlier process.
        details: what the last heartbeat told.
        last: the exception of the last attempt that failed, for people.
        until: moment at which it fails, UTC seconds; None: it has no deadline.
        timers: of the loop, which rest and deadline have set; not stored.
        owner: the task that asked for it, or the state of the loop; it has the step in its `steps`.  Not stored.
        number: its key is that which its owner makes of this; None: it is another.
        call: gives what asked for it, while that lives; None: that is not known.  Not stored.
    """

    options: Options | None = None
    retry: Retry | None = None
    asker: tuple[str, ...] = ("", "")
    failed = 0
    due: float | None = None
    begun = False
    details: Any = None
    last = ""
    until: float | None = None
    timers: tuple[asyncio.TimerHandle, ...] = ()
    owner: Any = None
    number: int | None = None
    call: Callable[[], Any] | None = None

    def __init__(
        self,
        key: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        retry: Retry | None,
        context: contextvars.Context,
        options: Options | None = None,
    ) -> None:
        self.key, self.fn, self.args, self.context = key, fn, args, context
        self.future: Future[Any]
        if retry is not None:
            self.retry = retry
        if options is not None:
            self.options = options

    @property
    def title(self) -> str:
        """Name of the function and key, for people."""
        return f"{name_of(self.fn)} [{self.key}]"

    def is_awaited_by(self, call: Any) -> None:
        """Note what asked for it."""
        self.call = weakref.ref(call)

    def is_plain(self) -> bool:
        """Whether all that is stored of it is number, function, arguments and context."""
        own = len(self.__dict__) == len(_ALWAYS)  # with asker, without timers
        return own and self.number is not None and self.asker == self.owner.as_asker()

    def kept_context(self) -> Any:
        """What is stored of the context."""
        return kept_context(self.context, lambda: self.asker[0])

    def touch(self) -> None:
        """Say that the step may have changed."""
        if self.owner is not None:
            self.owner.touch()

    def __getstate__(self) -> Any:
        """The state: (key or number, fn, args, context, future, and a dict of what is not as it usually is).

        The context as `kept_context` gives it.  Who asked is left out where it is the owner itself.
        """
        own, usual = self.__dict__, type(self).__dict__
        rare = {name: value for name, value in own.items() if name not in _ALWAYS and value is not usual[name]}
        context = self.kept_context()
        if self.owner is not None and self.asker == self.owner.as_asker():
            rare.pop("asker", None)
        key = self.key if self.number is None else self.number
        return key, self.fn, self.args, context, self.future, rare or None

    def __setstate__(self, state: Any) -> None:
        if type(state) is dict:  # of an older store
            self.__dict__.update(state)
            self.timers = ()
            return
        self.key, self.fn, self.args, self.context, self.future, rare = state
        self.__dict__.update(rare or {})

    def came_back(self, owner: Any) -> None:
        """Complete what was loaded: this is whose step it is."""
        self.owner = owner
        key: Any = self.key
        if type(key) is int:
            self.number, self.key = key, owner.key_of(key)
        if "asker" not in self.__dict__:
            self.asker = owner.as_asker()
        self.context = context_of(self.context, lambda: self.asker[0])

    def pass_on(self, owner: Any) -> None:
        """Give it to another owner, under the key that it has."""
        self.owner, self.number = owner, None
        owner.steps[self.key] = self

    def stop_timers(self) -> None:
        """Take back what was set for it, as it is over."""
        for timer in self.timers:
            timer.cancel()
        if self.timers:
            self.timers = ()

    def __repr__(self) -> str:
        return f"<Step {self.title}>"


# Of the attributes of a step: those that it always has, and those that are not stored.
_ALWAYS = frozenset(("key", "fn", "args", "context", "future", "timers", "owner", "number", "call"))
constants.register(40, Step)


class Outbox:
    """All steps of a loop that are not answered, by key.  Not stored: tasks have their steps, the state the limits."""

    def __init__(self, loop: DurableLoop) -> None:
        self._loop = loop
        self.pending: dict[str, Step] = {}
        self._of_future: dict[int, Step] = {}

    @property
    def store_id(self) -> str:
        """No other store has it."""
        return self._loop.state.store_id

    def restore(self, step: Step, owner: Any) -> None:
        """Take up a step that was stored with a task, or with the state of the loop."""
        if step.owner is None:
            step.came_back(owner)
        self._add(step)
        if step.future.done():
            self._loop.finished.append(id(step.future))
        if step.until is not None:
            self._call_at(step, step.until, self._overdue, step)
        if step.due is not None:
            self._call_at(step, step.due, self._rearm, step.key)

    def _call_at(self, step: Step, when: float, callback: Callable[..., object], *args: Any) -> None:
        step.timers = (*step.timers, self._loop.call_again(when, callback, *args))

    def ask(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        retry: Retry | None,
        context: contextvars.Context,
        options: Options | None = None,
        asker: tuple[str, ...] = ("", ""),
        call: Any = None,
    ) -> Future[Any]:
        """Note a step; gives the future of its result.  `call`: what asks, if that is to be awaited.

        Raises:
            StepKeyInUse: a step of the same key is pending.  UnknownLimiter.
        """
        given, loop = options or NONE, self._loop
        owner: Any = loop.running_task or loop.state
        number, key = self._new_key(owner) if given.key is None else (None, self._free_key(str(given.key), fn))
        if given.limit is not None:
            self.limits_of(given)
        step = Step(key, fn, args, retry, context, options)
        step.asker, step.owner, step.number = asker, owner, number
        if call is not None:
            step.is_awaited_by(call)
        step.future = loop.create_future()
        owner.steps[key] = step
        self._add(step)
        if retry is not None and retry.deadline is not None:
            step.until = loop.time() + retry.deadline
            self._call_at(step, step.until, self._overdue, step)
        loop.fresh_steps.append(step)
        return step.future

    def _add(self, step: Step) -> None:
        self.pending[step.key] = self._of_future[id(step.future)] = step

    def _new_key(self, owner: Any) -> tuple[int, str]:
        while True:
            owner.asked += 1
            key = owner.key_of(owner.asked)
            if key not in self.pending:  # as somebody may have given that very key
                return owner.asked, key

    def _free_key(self, key: str, fn: Callable[..., Any]) -> str:
        known = self.pending.get(key)
        if known is not None:
            if not known.future.done():
                raise StepKeyInUse(key, name_of(fn), name_of(known.fn))
            self._drop(known)
        return key

    def limits_of(self, options: Options) -> Limits:
        """Give what is known of the limiter that a step names, with its declaration brought up to date.

        Raises:
            UnknownLimiter: it is not declared in this process, and never was in this store.
        """
        known = self._loop.state.limits
        assert options.limit is not None
        limiter = limiter_of(options.limit, known)
        limits = known.get(limiter.name)
        if limits is None:
            limits = known[limiter.name] = Limits(limiter)
        elif limits.limiter != limiter:
            limits.limiter = limiter
        return limits

    def sweep(self) -> list[Step]:
        """Drop the steps whose future is done, as it was cancelled or the deadline has come; gives them."""
        finished, self._loop.finished[:] = self._loop.finished[:], []
        found = (self._of_future.get(key) for key in dict.fromkeys(finished))
        dropped = [step for step in found if step is not None and step.future.done()]
        for step in dropped:
            self._drop(step)
        return dropped

    def _drop(self, step: Step) -> None:
        step.stop_timers()
        del self.pending[step.key], self._of_future[id(step.future)]
        step.touch()
        step.owner.steps.pop(step.key, None)

    def startable(self) -> list[Step]:
        """Give the steps that do not rest: those that were begun first, otherwise in the order of asking."""
        steps = [step for step in self.pending.values() if step.due is None and not step.future.done()]
        return sorted(steps, key=lambda step: not step.begun)

    def answer(self, step: Step, value: Any, error: BaseException | None) -> Step | None:
        """Take in what an attempt gave.

        Returns:
            The step if it is answered now; None if it is to be tried again, or nobody waits for it any more.
        """
        if self.pending.get(step.key) is not step or step.future.done():
            return None
        step.touch()
        if error is None:
            step.future.set_result(value)
        elif self._rests(step, error):
            return None
        else:
            step.future.set_exception(error)
        self._drop(step)
        return step

    def _rests(self, step: Step, error: BaseException) -> bool:
        """Let a step that failed rest, if it is to be tried again."""
        step.failed += 1
        pause = None if step.retry is None else step.retry.pause(step.failed, error)
        due = 0.0 if pause is None else self._loop.time() + pause
        if pause is None or (step.until is not None and due >= step.until):
            return False
        told = error.what if isinstance(error, StepTimeout) else error  # not again of the one before it
        step.due, step.last = due, f"{type(error).__name__}: {told}"[:LONGEST_TEXT]
        step.timers = tuple(known for known in step.timers if known.when() == step.until)
        self._call_at(step, due, self._rearm, step.key)
        return True

    def _rearm(self, key: str) -> None:
        step = self.pending.get(key)
        if step is not None and step.due is not None:
            step.due = None
            step.touch()
            self._loop.fresh_steps.append(step)

    def _overdue(self, step: Step) -> None:
        if self.pending.get(step.key) is step and not step.future.done():
            step.touch()
            seconds = 0.0 if step.retry is None else float(step.retry.deadline or 0.0)
            step.future.set_exception(StepTimeout(step.title, "deadline", seconds, step.last))


def without_context_run(
    func: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[contextvars.Context | None, Callable[..., Any], tuple[Any, ...]]:
    """Unwrap what `asyncio.to_thread` makes, ``partial(context.run, fn, ...)``, so that the step has fn's name."""
    if isinstance(func, functools.partial):
        context = getattr(func.func, "__self__", None)
        if isinstance(context, contextvars.Context) and func.args:
            fn, *rest = func.args
            call = functools.partial(fn, **func.keywords) if func.keywords else fn
            return context, call, (*rest, *args)
    return None, func, args
