"""`step`, `now`: what a task has beside the standard library; what ``@pstore.step`` makes of a function.

Rules: a step is asked for when it is awaited, not before; what a task awaits is a plain object (`StepCall`), not a
frame of pstore's, so that a new version of pstore can read the tasks of an old one; what is stored of a decorated
function of a module is its name.
"""

from __future__ import annotations

import asyncio
import copyreg
import dataclasses
import functools
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypedDict, TypeVar, TypeVarTuple, Unpack, overload

from pstore._engine.attempts import step_key
from pstore._engine.future import Future, FutureAwait
from pstore._engine.limits import Limiter
from pstore._engine.loop import DurableLoop, running_loop
from pstore._engine.options import NONE, Options, options_of
from pstore._engine.outbox import Retry, name_of
from pstore._frames import names
from pstore._store import constants, graph

__all__ = ["StepCall", "StepFunction", "now", "step", "step_key"]

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")
Ts = TypeVarTuple("Ts")


class StepCall(Coroutine[Any, Any, T]):
    """An action on the outside world, to be awaited once; ``create_task`` and ``gather`` take it as well."""

    # Of one that an older version has stored.
    options: Options | None = None
    asker = ""
    # Of one that has no state yet.
    _over = True

    def __init__(
        self, fn: Callable[..., Any], args: tuple[Any, ...], retry: Retry | None, options: Options | None = None
    ) -> None:
        self.fn, self.args, self.retry, self.options = fn, args, retry, options
        self.asker = _asking_task()
        self.__qualname__ = f"step {name_of(fn)}"
        self._future: Future[T] | None = None
        self._wait: FutureAwait | None = None
        self._over = False

    def __getstate__(self) -> Any:
        rare: tuple[Any, ...] | None = None
        if self.retry is not None or self.options is not None:
            rare = self.retry, self.options
        if len(self.__dict__) != len(_OF_CALL):  # the program has given it attributes
            others = {name: value for name, value in self.__dict__.items() if name not in _OF_CALL}
            rare = self.retry, self.options, others
        return self.fn, self.args, self.asker, self._future, self._wait, self._over, rare

    def is_plain(self) -> bool:
        """Whether it is as one that a task has just begun to wait for, with nothing but function and arguments."""
        own = len(self.__dict__) == len(_OF_CALL)
        return own and not self._over and self.retry is None and self.options is None

    def __setstate__(self, state: Any) -> None:
        if type(state) is dict:  # of an older store
            self.__dict__.update(state)
            return
        self.fn, self.args, self.asker, self._future, self._wait, self._over, rare = state
        self.retry, self.options = (None, None) if rare is None else rare[:2]
        self.__dict__.update(rare[2] if rare is not None and len(rare) > 2 else ())
        self.__qualname__ = f"step {name_of(self.fn)}"

    def __await__(self) -> Generator[Any, Any, T]:
        return self  # type: ignore[return-value]  # what an await asks for of a generator it has

    if not TYPE_CHECKING:  # by these it looks like a generator, of whose result a checker knows nothing

        def __iter__(self):
            return self

        def __next__(self):
            return self.send(None)

    def send(self, value: Any) -> Any:
        """Ask for the step at the first call; end with its result when there is one."""
        if self._over:
            raise RuntimeError(f"{self!r} was awaited already; make another with pstore.step()")
        try:
            if self._wait is None:
                self._wait = self._ask()
            return self._wait.send(None)
        except BaseException:
            self._over = True
            raise

    def _ask(self) -> FutureAwait:
        loop = running_loop("pstore.step()")
        self._future = loop.ask(self.fn, self.args, retry=self.retry, options=self.options, asker=self.asker, call=self)
        return FutureAwait(self._future)

    def throw(self, kind: Any, value: Any = None, traceback: TracebackType | None = None) -> Any:
        """Give the step up: its result is dropped, and it does not start if it has not."""
        self.close()
        error = kind if isinstance(kind, BaseException) else value if isinstance(value, BaseException) else kind()
        raise error if traceback is None else error.with_traceback(traceback)

    def close(self) -> None:
        """Give the step up."""
        self._over = True
        if self._future is not None and not self._future.done():
            self._future.cancel()

    def __del__(self) -> None:
        if not self._over and self._wait is None:
            warnings.warn(f"{self!r} was never awaited, so it was not done", RuntimeWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        return f"<{self.__qualname__}>"


_OF_CALL = frozenset(("fn", "args", "retry", "options", "asker", "__qualname__", "_future", "_wait", "_over"))
constants.register(41, StepCall)
constants.register_fresh(103, StepCall)


def _asking_task() -> str:
    loop = asyncio._get_running_loop()
    task = loop.running_task if isinstance(loop, DurableLoop) else None
    return "" if task is None else str(task.id)


class StepFunction(Coroutine[Any, Any, T], Generic[P, T]):
    """A function whose calls are steps: what ``@pstore.step`` makes.

    In a task of an engine a call gives a step, which is to be awaited.  Anywhere else, in tests, in another step, in a
    program without an engine, it calls the function; type checkers, who cannot know, are content with ``charge.fn``.

    It is also what ``pstore.step(fn)`` gives without arguments, so it may be awaited itself, or handed to
    ``create_task``: the step that calls `fn` without arguments.

    Attributes:
        fn: the function itself.
    """

    __pstore_outside__ = True  # its code does not run in the task: see `globals_used`
    __qualname__: str

    def __init__(self, fn: Callable[..., Any], retry: Retry | None, options: Options | None) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self._retry, self._options = retry, options
        self._base: StepFunction[..., T] | None = None  # that of the module, of one that differs in options or is bound
        self._bound: tuple[Any, ...] = ()
        self._call: StepCall[T] | None = None  # when it is the coroutine of a task
        self._waits = _in_task()  # for somebody to use it: made in a task it may be a step that somebody forgot

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> StepCall[T]:
        self._waits = False
        if not _in_task():
            return self.fn(*self._bound, *args, **kwargs)  # type: ignore[no-any-return]  # not in a task, see above
        called = functools.partial(self._callee(), **kwargs) if kwargs else self._callee()
        return StepCall(called, (*self._bound, *args), self._retry, self._options)

    def _callee(self) -> Callable[..., Any]:
        """Give what is stored with a step: what has the name, or else the function itself."""
        base = self._base or self
        return base if _has_name(base) else self.fn

    def with_options(self, **options: Unpack[_Options]) -> StepFunction[P, T]:
        """Give one that differs in options, for one call: ``await charge.with_options(key=order.id)(order)``.

        Args:
            **options: as of `pstore.step`; those that are not given stay.
        """
        unknown = options.keys() - _Options.__annotations__.keys()
        if unknown:
            raise TypeError(f"with_options() takes the options of pstore.step(), not {', '.join(sorted(unknown))}")
        retry = options.pop("retry", self._retry)
        derived = self._derived()
        derived._retry = retry
        derived._options = options_of(**{**dataclasses.asdict(self._options or NONE), **self._limit(), **options})
        return derived

    def _limit(self) -> dict[str, Any]:
        return {"limit": (self._options or NONE).limit}  # `asdict` makes a dict of a limiter

    def _derived(self) -> StepFunction[P, T]:
        self._waits = False
        derived: StepFunction[P, T] = StepFunction(self.fn, self._retry, self._options)
        derived._base, derived._bound = self._base or self, self._bound
        return derived

    def __get__(self, instance: Any, owner: Any = None) -> StepFunction[..., T]:
        """Bind it to an instance, as a method."""
        if instance is None:
            return self
        bound = self._derived()
        bound._bound, bound._waits = (instance,), False
        return bound

    # -- a step itself, where `pstore.step(fn)` is meant as a call

    def __await__(self) -> Generator[Any, Any, T]:
        return self._without_arguments().__await__()

    def _without_arguments(self) -> StepCall[T]:
        if _has_name(self):
            name = self.__qualname__
            raise TypeError(f"step {name} was awaited, but not called; write: await {name}(...)")
        self._waits = False
        return StepCall(self._callee(), self._bound, self._retry, self._options)

    def send(self, value: Any) -> Any:
        """Go on as the coroutine of a task."""
        if self._call is None:
            self._call = self._without_arguments()
        return self._call.send(value)

    def throw(self, kind: Any, value: Any = None, traceback: TracebackType | None = None) -> Any:
        """Give the step up; as `StepCall.throw`."""
        if self._call is None:
            self._call = self._without_arguments()
        return self._call.throw(kind, value, traceback)

    def close(self) -> None:
        """Give the step up."""
        self._waits = False
        if self._call is not None:
            self._call.close()

    def __del__(self) -> None:
        if getattr(self, "_waits", False):
            warnings.warn(f"<step {name_of(self)}> was never awaited, so it was not done", RuntimeWarning, stacklevel=2)

    # -- storing, showing

    def __reduce__(self) -> Any:
        if _has_name(self):
            return self.__qualname__
        return copyreg.__newobj__, (type(self),), self.__dict__.copy()  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<step function {name_of(self.fn)}>"


def _has_name(function: StepFunction[..., Any]) -> bool:
    return names.is_importable(function, function.__module__, getattr(function, "__qualname__", "<none>"))


def _reduce_step_function(function: StepFunction[..., Any]) -> Any:
    if not _has_name(function):
        return function.__reduce__()
    return names.reference(function, function.__module__, function.__qualname__)


graph.register(StepFunction, _reduce_step_function)


def _in_task() -> bool:
    return isinstance(asyncio._get_running_loop(), DurableLoop)


class _Options(TypedDict, total=False):
    retry: Retry | None
    timeout: float | None
    heartbeat: float | None
    key: str | None
    limit: Limiter | str | None
    limit_key: str | None
    priority: float


_USUAL = NONE.priority


class _Decorator(Protocol):
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> StepFunction[P, T]: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> StepFunction[P, T]: ...


@overload
def step(**options: Unpack[_Options]) -> _Decorator: ...
@overload
def step(fn: Callable[P, Coroutine[Any, Any, T]], /, **options: Unpack[_Options]) -> StepFunction[P, T]: ...
@overload
def step(fn: Callable[P, Awaitable[T]], /, **options: Unpack[_Options]) -> StepFunction[P, T]: ...
@overload
def step(fn: Callable[P, T], /, **options: Unpack[_Options]) -> StepFunction[P, T]: ...
@overload
def step(
    fn: Callable[[A, *Ts], Coroutine[Any, Any, T]], arg: A, /, *args: *Ts, **options: Unpack[_Options]
) -> StepCall[T]: ...
@overload
def step(fn: Callable[[A, *Ts], Awaitable[T]], arg: A, /, *args: *Ts, **options: Unpack[_Options]) -> StepCall[T]: ...
@overload
def step(fn: Callable[[A, *Ts], T], arg: A, /, *args: *Ts, **options: Unpack[_Options]) -> StepCall[T]: ...
def step(  # type: ignore[misc]  # it does take what the overloads say: mypy cannot compare *Ts with any arguments
    fn: Any = None,
    /,
    *args: Any,
    retry: Retry | None = None,
    timeout: float | None = None,
    heartbeat: float | None = None,
    key: str | None = None,
    limit: Limiter | str | None = None,
    limit_key: str | None = None,
    priority: float = _USUAL,
) -> Any:
    """Act on the outside world: ``value = await pstore.step(fn, *args)``; or ``@pstore.step`` over a function.

    The step is noted in the graph, and `fn` is called after the commit that contains the note is down.  What it gives
    back, or raises, is committed together with what the task does next.  After a crash a step whose result was not
    committed is called again, with the same `step_key`: **at least once**.  `fn` runs beside the engine (a function in
    a thread, a coroutine function on a private event loop), so it must not change objects that tasks share; it should
    give back what is new.  A task that is cancelled meanwhile drops the result: a coroutine function gets
    CancelledError, a function in a thread asks `step_cancelled`.

    As a decorator it makes a function whose calls in a task are steps, see `StepFunction`::

        @pstore.step(retry=pstore.Retry(attempts=5), timeout=30)
        def charge(card, amount): ...

        await charge("1234", 1000)                                   # in a task
        await charge.with_options(key="order-17")("1234", 1000)

    Args:
        fn: a function or coroutine function; a method, partial or closure is stored by value like any other.
        args: its arguments.  For keyword arguments use `functools.partial`, or the decorator.
        retry: when to call it again after it has raised; None: never, the exception is raised at the await.
        timeout: seconds that an attempt may take, counted from when its function is called, by a clock that nobody
            sets, and anew when the attempt is made again after a crash.  Then it has failed with `StepTimeout`: a
            coroutine is cancelled, a function in a thread is given up, and what it gives later dropped.
        heartbeat: seconds that an attempt may be without a `pstore.heartbeat()`; then as with `timeout`.
        key: what `step_key` gives, in place of one that pstore makes; of no other step that is not done in this store.
            A step that comes after it, with the same key, is done like any other: the other side tells them apart.
        limit: a `Limiter`, or the name of one, that says how many may run and start.  Without one 32 functions run in
            threads at a time, and any number of coroutine functions.
        limit_key: whose share of the limiter it takes, a customer's for instance.
        priority: among those that wait for the same limiter the lower goes first.

    Raises (at the await):
        StepResultRefused: what `fn` gave back cannot be stored.
        StepFailed: `fn` ended with something that would end the task or the program (SystemExit, CancelledError, ...).
        StepTimeout: the last attempt took longer than `timeout` or `heartbeat`, or all of it than ``retry.deadline``.
        StepKeyInUse: a step of the same `key` is not done.
        UnknownLimiter: there is no limiter of the name.
    """
    if args and callable(fn) and retry is None and timeout is None and heartbeat is None and key is None:
        if limit is None and limit_key is None and priority is _USUAL:  # as below, in less time
            return StepCall(fn, args, None, None)
    given = {"timeout": timeout, "heartbeat": heartbeat, "limit": limit, "limit_key": limit_key, "priority": priority}
    if not isinstance(retry, Retry | None):
        raise TypeError(f"pstore.step(): retry must be a pstore.Retry, not {retry!r}")
    options = options_of(**given, key=key)
    if fn is None and not args:
        if key is not None:
            raise TypeError("@pstore.step(key=...) would give all calls one key; use .with_options(key=...) in each")
        return functools.partial(step, retry=retry, **given)
    if not callable(fn):
        raise TypeError(f"pstore.step(fn, *args) needs a function, got {fn!r}; pass its arguments apart")
    return StepCall(fn, args, retry, options) if args else _step_function(fn, retry, options)


def _step_function(fn: Any, retry: Retry | None, options: Options | None) -> StepFunction[..., Any]:
    if not isinstance(fn, StepFunction):
        return StepFunction(fn, retry, options)
    derived = fn._derived()
    derived._retry, derived._options = retry or derived._retry, options or derived._options
    return derived


def now() -> float:
    """Give the time as the engine's clock has it: UTC, seconds since the epoch.  For tasks.

    Raises:
        NotInEngine: called outside a task.
    """
    return running_loop("pstore.now()").time()
