"""Record -> suspended frame (layer 1).

Owns: making frames from twins, in two phases so that a graph may run in a cycle through a frame: a *shell* is made
first (and known to the unpickler's memo), and *filled* with its state when that has been read.  Neither runs any of
the user's code (invariant I2).  A frame that was not started has one phase: it is made with its state.

An async generator that was suspended in an await is made under way: the asend() or aclose() object that drives it is
created with the shell, and handed to whoever holds it (:func:`driving`) until :func:`end_of_load`.  An athrow() that is
under way behaves as an asend() from its first suspension on, and comes back as one.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from sys import getrefcount
from types import AsyncGeneratorType, CodeType, CoroutineType, FunctionType, GeneratorType
from typing import Any

from pstore._frames import codes, twins
from pstore._frames.access import abandon_one
from pstore._frames.stored import stored
from pstore._frames.twins import Shape, problem_with
from pstore.errors import FormatError, RebuildError

__all__ = [
    "DIGEST",
    "driving",
    "Parts",
    "end_of_load",
    "function_of_twin",
    "make",
    "no_first_iteration",
    "start_of_load",
    "take_driver",
]

DIGEST = 16  # bytes of a key that stand for the code; the rest is the shape


@dataclass(slots=True)
class _Maker:
    """Makes frames of one shape.

    Attributes:
        call: the twin's function; calling it gives a frame at the start of the prefix.
        holder: the list from which a created frame takes its state.
        space, name, value: while the namespace has that value under that name, the code is current (see
            `codes.CodeIdentity.anchor`).
    """

    call: FunctionType
    holder: list[Any]
    mode: str
    space: dict[str, Any]
    name: str
    value: Any


_makers: dict[bytes, _Maker] = {}
_twins_by_value: dict[bytes, CodeType] = {}
CACHE_LIMIT = 20_000


def function_of_twin(twin: CodeType, namespace: dict[str, Any]) -> tuple[FunctionType, list[Any]]:
    """A function that makes frames of a twin, and the list through which a created frame gets its state."""
    origin = twins.origin_of(twin)
    assert origin is not None
    return twins.function_of(twin, namespace), origin.holder


def _maker(key: bytes, encoded: bytes) -> _Maker:
    """The maker for code that is found by reference.

    Raises:
        CodeNotFound, CodeChanged, FormatError: as `codes.find`.
    """
    maker = _makers.get(key)
    if maker is not None and maker.space.get(maker.name) is maker.value:
        return maker
    identity = codes.find(key[:DIGEST], encoded)
    shape = _shape(key, identity.code)
    assert identity.namespace is not None  # code found by reference has its namespace with it
    function, holder = function_of_twin(twins.make_twin(identity.code, shape), identity.namespace)
    if len(_makers) >= CACHE_LIMIT:
        _makers.clear()
    maker = _makers[key] = _Maker(function, holder, shape.mode, *(identity.anchor or _ALWAYS))
    return maker


def _maker_by_value(key: bytes, function: FunctionType) -> _Maker:
    """The maker for code that is stored by value: its function came with the record."""
    twin = _twins_by_value.get(key)
    if twin is None:
        if len(_twins_by_value) >= CACHE_LIMIT:
            _twins_by_value.clear()
        twin = _twins_by_value[key] = twins.make_twin(function.__code__, _shape(key, function.__code__))
    call, holder = function_of_twin(twin, function.__globals__)
    return _Maker(call, holder, Shape.decode(key[DIGEST:]).mode, *_ALWAYS)


_ALWAYS: tuple[dict[str, Any], str, Any] = ({}, "", None)  # an anchor that holds for ever: of code stored by value


def _shape(key: bytes, code: CodeType) -> Shape:
    """The shape in a key, held against the code: a damaged one would make the interpreter read what is not there."""
    try:
        shape = Shape.decode(key[DIGEST:])
    except ValueError as error:
        raise FormatError(f"the place of a stored frame is damaged: {error}") from error
    problem = problem_with(code, shape)
    if problem is not None:
        raise FormatError(f"the place of a stored frame of {code.co_qualname}() is damaged: {problem}")
    return shape


def make(maker_call: FunctionType, holder: list[Any], mode: str, state: tuple[Any, ...]) -> Any:
    """A whole frame in one go, from live values."""
    if mode == twins.CREATED:
        return _created(maker_call, holder, state)
    if mode == twins.SUSPENDED:
        gen = maker_call()
        gen.send(None)
        gen.send(state)
        return gen
    gen = _start_async(maker_call, mode)
    fill_async(gen, state)
    return gen


# ---------------------------------------------------------------- generators and coroutines


@stored
def frame(
    key: bytes, encoded: bytes, state: tuple[Any, ...], name: str | None = None, qualname: str | None = None
) -> Any:
    """A suspended generator or coroutine whose code is found by reference, in one phase."""
    maker = _makers.get(key)
    if maker is None or maker.space.get(maker.name) is not maker.value:
        maker = _maker(key, encoded)
    gen = maker.call()
    gen.send(None)
    gen.send(state)
    if name is not None:
        gen.__name__, gen.__qualname__ = name, qualname
    _thread.load.made.append(gen)
    return gen


@stored
def frame_of_function(
    key: bytes, function: FunctionType, state: tuple[Any, ...], name: str | None = None, qualname: str | None = None
) -> Any:
    """A suspended generator or coroutine whose function is stored by value, in one phase."""
    gen = frame_shell_of_function(key, function, name, qualname)
    fill(gen, state)
    return gen


@stored
def frame_shell(key: bytes, encoded: bytes, name: str | None = None, qualname: str | None = None) -> Any:
    """Shell of a suspended generator or coroutine whose code is found by reference."""
    return _shell(_maker(key, encoded), name, qualname)


@stored
def frame_shell_of_function(
    key: bytes, function: FunctionType, name: str | None = None, qualname: str | None = None
) -> Any:
    """Shell of a suspended generator or coroutine whose function is stored by value."""
    return _shell(_maker_by_value(key, function), name, qualname)


def _shell(maker: _Maker, name: str | None, qualname: str | None) -> Any:
    gen = _named(maker.call(), name, qualname)
    gen.send(None)
    _thread.load.made.append(gen)
    _thread.load.empty.add(id(gen))
    return gen


@stored
def fill(gen: Any, state: tuple[Any, ...]) -> None:
    """Second phase: the state goes in, and the frame stands where the stored one stood.

    Once: in a graph that leads from a frame's own function back to the frame, the state is written twice.
    """
    if id(gen) in _thread.load.empty:
        _thread.load.empty.remove(id(gen))
        gen.send(state)


# ---------------------------------------------------------------- not started, finished


@stored
def created(
    key: bytes, encoded: bytes, state: tuple[Any, ...], name: str | None = None, qualname: str | None = None
) -> Any:
    """A generator, coroutine or async generator that has not been started; code found by reference."""
    maker = _maker(key, encoded)
    return _named(_created(maker.call, maker.holder, state), name, qualname)


@stored
def created_of_function(
    key: bytes, function: FunctionType, state: tuple[Any, ...], name: str | None = None, qualname: str | None = None
) -> Any:
    """A generator, coroutine or async generator that has not been started; its function is stored by value."""
    maker = _maker_by_value(key, function)
    return _named(_created(maker.call, maker.holder, state), name, qualname)


def _named(gen: Any, name: str | None, qualname: str | None) -> Any:
    if name is not None:
        gen.__name__, gen.__qualname__ = name, qualname
    return gen


def _created(call: FunctionType, holder: list[Any], state: tuple[Any, ...]) -> Any:
    with _holding:
        holder[:] = (state,)
        gen = call()
        holder.clear()
    _thread.load.made.append(gen)
    return gen


_holding = threading.Lock()


class Parts:
    """What a graph that is loaded in parts keeps from one load for the later ones.

    Attributes:
        left: id of an async generator -> (itself, the awaitable that drives it), which nobody has asked for yet.
        contexts: the latest contexts, each with what is known of it: a token may be loaded after its context.
    """

    def __init__(self) -> None:
        self.left: dict[int, tuple[Any, Any]] = {}
        self.contexts: deque[Any] = deque(maxlen=1000)

    def clear(self) -> None:
        """Keep nothing: there are no later loads."""
        self.left.clear()
        self.contexts.clear()


class _Load:
    """What only the loads under way in one thread need.

    Attributes:
        marks: for each load under way, one within the other, how many frames were made before it.
        under_way: id of an async generator made in this load -> (itself, the awaitable that drives it).
        parts: of the graph of which a part is loaded; None: it is loaded whole.
        empty: ids of shells that were not filled yet; `made` keeps them alive.
        made: the frames.  In a cyclic graph one may be made twice, and the other dropped; when a load fails, all are.
    """

    __slots__ = ("empty", "made", "marks", "parts", "under_way")

    def __init__(self) -> None:
        self.parts: Parts | None = None
        self.marks: list[int] = []
        self.under_way: dict[int, tuple[Any, Any]] = {}
        self.empty: set[int] = set()
        self.made: list[Any] = []


class _Thread(threading.local):
    def __init__(self) -> None:
        self.load = _Load()


_thread = _Thread()


def start_of_load(parts: Parts | None = None) -> None:
    """Called before every load; `parts`: of the graph, if other loads, later ones, bring other parts of it."""
    load = _thread.load
    if not load.marks:
        load.parts = parts
    load.marks.append(len(load.made))


def loaded_parts() -> Parts | None:
    """What is known of the graph of which a part is being loaded; None: it is loaded whole."""
    return _thread.load.parts


def end_of_load(failed: bool = False) -> None:
    """Called after every load.  Frames that nobody has, all of them if it failed, are let go without running."""
    load = _thread.load
    mark = load.marks.pop()
    made = load.made
    if failed:
        for gen in made[mark:]:
            abandon_one(gen)
    if load.marks:
        return
    parts, load.parts = load.parts, None
    if load.under_way:
        if parts is not None and not failed:
            parts.left |= {key: pair for key, pair in load.under_way.items() if getrefcount(pair[1]) <= _UNUSED}
        load.under_way.clear()
    if load.empty:
        load.empty.clear()
    if made:
        for gen in made:
            if getrefcount(gen) <= _LOOSE:
                abandon_one(gen)
        made.clear()


def _loose() -> int:
    """What `getrefcount` says in a loop over a list of an object that only the list has."""
    for obj in [object()]:
        return getrefcount(obj)
    raise AssertionError


_LOOSE = _loose()


def _unused() -> int:
    """What `getrefcount` says in a comprehension over pairs of an object that only its pair has."""
    pairs = {0: (None, object())}
    (count,) = {key: getrefcount(pair[1]) for key, pair in pairs.items()}.values()
    return count


_UNUSED = _unused()


@stored
def finished_frame(kind: str, name: str, qualname: str) -> Any:
    """A generator, coroutine or async generator that has run to its end."""
    gen = _named(_ENDED[kind](), name, qualname)
    if kind == "async_generator":
        try:
            gen.aclose().send(None)
        except StopIteration:
            pass
    else:
        gen.close()
    return gen


def _generator() -> Any:
    yield


async def _coroutine() -> Any: ...


async def _async_generator() -> Any:
    yield


_ENDED = {"generator": _generator, "coroutine": _coroutine, "async_generator": _async_generator}
ENDED_KINDS: dict[type, str] = {
    GeneratorType: "generator",
    CoroutineType: "coroutine",
    AsyncGeneratorType: "async_generator",
}


# ---------------------------------------------------------------- async generators


@stored
def async_frame(key: bytes, encoded: bytes, name: str | None = None, qualname: str | None = None) -> Any:
    """Shell of a suspended async generator whose code is found by reference."""
    maker = _maker(key, encoded)
    return _named(_start_async(maker.call, maker.mode), name, qualname)


@stored
def async_frame_of_function(
    key: bytes, function: FunctionType, name: str | None = None, qualname: str | None = None
) -> Any:
    """Shell of a suspended async generator whose function is stored by value."""
    maker = _maker_by_value(key, function)
    return _named(_start_async(maker.call, maker.mode), name, qualname)


def _start_async(call: FunctionType, mode: str) -> Any:
    with no_first_iteration():
        gen = call()
        _thread.load.made.append(gen)
        _thread.load.empty.add(id(gen))
        _until_yield(gen.asend(None), None)
        if mode in (twins.IN_AWAIT, twins.IN_CLOSE, twins.CLOSED_AT_YIELD):
            driver = gen.asend(None) if mode == twins.IN_AWAIT else gen.aclose()
            driver.send(None)
            _thread.load.under_way[id(gen)] = (gen, driver)
    return gen


@contextlib.contextmanager
def no_first_iteration() -> Iterator[None]:
    """Keep the hook for first iterations out: what is rebuilt was first iterated long ago.

    But for a hook that has an attribute `rebuilt_too`: it is called with what is rebuilt as well.  The finaliser hook
    of this thread is taken over by what is rebuilt.
    """
    firstiter = sys.get_asyncgen_hooks().firstiter
    if not getattr(firstiter, "rebuilt_too", False):
        sys.set_asyncgen_hooks(firstiter=None)
    try:
        yield
    finally:
        sys.set_asyncgen_hooks(firstiter=firstiter)


def _until_yield(awaitable: Any, value: Any) -> None:
    try:
        awaitable.send(value)
    except StopIteration:
        return
    raise RebuildError("an async generator did not come to its yield")


@stored
def fill_async(gen: Any, state: tuple[Any, ...]) -> None:
    """Second phase of an async generator; once, as :func:`fill`."""
    if id(gen) not in _thread.load.empty:
        return
    _thread.load.empty.remove(id(gen))
    under_way = _thread.load.under_way.get(id(gen))
    if under_way is None:
        _until_yield(gen.asend(state), None)
        return
    try:
        under_way[1].send(state)
    except RuntimeError:
        # aclose() says that GeneratorExit was ignored: that is how the stored one came to stand at a yield
        del _thread.load.under_way[id(gen)]


TWO_PHASES: dict[Any, tuple[Any, Any]] = {
    frame: (frame_shell, fill),
    frame_of_function: (frame_shell_of_function, fill),
    async_frame: (async_frame, fill_async),
    async_frame_of_function: (async_frame_of_function, fill_async),
}
"""Function that makes a frame -> the functions that make its shell and fill it."""


@stored
def driving(gen: Any) -> Any:
    """The awaitable that drives an async generator that was made in a load, and is suspended in an await."""
    parts = _thread.load.parts
    left = None if parts is None else parts.left.pop(id(gen), None)
    if left is not None:
        return left[1]
    try:
        return _thread.load.under_way[id(gen)][1]
    except KeyError:
        raise FormatError("an awaitable drives an async generator that is not suspended in an await") from None


def take_driver(gen: Any) -> Any:
    """As :func:`driving`, for a frame rebuilt in memory, once; None when nothing drives it."""
    return _thread.load.under_way.pop(id(gen), (None, None))[1]
