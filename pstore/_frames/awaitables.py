"""Awaitables that CPython makes and pickle refuses <-> records (layer 1).

Owns: what ``asend()``, ``athrow()``, ``aclose()``, ``anext(it, default)`` and ``coroutine.__await__()`` return.  One
that is under way belongs to its async generator, and comes back as the object with which that was set going again (see
`making`); one that was not awaited yet, or is done, is made anew.

Layout (the same on 3.11-3.15; ``Objects/genobject.c``), words after the 16 bytes of the object's head::

    async_generator_asend     generator, value to send, state
    async_generator_athrow    generator, (type, value, traceback) or NULL for aclose, state     3.11-3.13
                              generator, type, traceback, value, state                          3.14, 3.15
    anext_awaitable           wrapped awaitable, default                                  ``Objects/iterobject.c``
    coroutine_wrapper         coroutine
"""

from __future__ import annotations

import gc
import types
from typing import Any

from pstore._frames import making
from pstore._frames.access import signed_words, words
from pstore._frames.stored import stored
from pstore.errors import UnsupportedValue

__all__ = ["REDUCERS"]

_HEAD = 16  # sizeof(PyObject)
_INIT, _ITER, _CLOSED = 0, 1, 2  # AwaitableState


async def _nothing() -> Any:
    yield


async def _return() -> None: ...


def _types() -> tuple[type, type, type, type]:
    generator, coroutine = _nothing(), _return()
    made = generator.asend(None), generator.aclose(), anext(generator, None), coroutine.__await__()
    for awaitable in made:
        awaitable.close()  # none of them is awaited
    return type(made[0]), type(made[1]), type(made[2]), type(made[3])


def _referent(obj: Any, address: int) -> Any:
    for value in gc.get_referents(obj):
        if id(value) == address:
            return value
    raise UnsupportedValue(type(obj).__name__, "its fields are not what the garbage collector sees")


def _state_of(obj: Any) -> int:
    size = type(obj).__basicsize__
    return signed_words(id(obj) + size - 8, 1)[0] & 0xFFFFFFFF


def _reduce_asend(obj: Any) -> tuple[Any, ...]:
    generator, value = words(id(obj) + _HEAD, 2)
    state = _state_of(obj)
    if state == _CLOSED:
        return spent_awaitable, ("asend",)
    owner = _referent(obj, generator)
    if state == _ITER:
        return making.driving, (owner,)
    return asend, (owner, _referent(obj, value) if value else None)


def _reduce_athrow(obj: Any) -> tuple[Any, ...]:
    size = (type(obj).__basicsize__ - _HEAD) // 8
    fields = words(id(obj) + _HEAD, size)
    state = _state_of(obj)
    if state == _CLOSED:
        return spent_awaitable, ("aclose",)
    owner = _referent(obj, fields[0])
    if state == _ITER:
        # CPython leaves an athrow() object in this state when it is done: then its generator is not running
        return (making.driving, (owner,)) if owner.ag_running else (spent_awaitable, ("aclose",))
    if not fields[1]:
        return aclose, (owner,)
    if size == 3:  # up to 3.13 the arguments are one tuple
        return athrow, (owner, _referent(obj, fields[1]))
    order = (fields[1], fields[3], fields[2])
    return athrow, (owner, tuple(_referent(obj, field) for field in order if field))


def _reduce_anext(obj: Any) -> tuple[Any, ...]:
    wrapped, default = (_referent(obj, address) for address in words(id(obj) + _HEAD, 2))
    return anext_default, (wrapped, default)


def _reduce_wrapper(obj: Any) -> tuple[Any, ...]:
    return coroutine_await, (_referent(obj, words(id(obj) + _HEAD, 1)[0]),)


@stored
def asend(generator: Any, value: Any) -> Any:
    """What ``generator.asend(value)`` returns, before it is awaited."""
    with making.no_first_iteration():
        return generator.asend(value)


@stored
def athrow(generator: Any, arguments: tuple[Any, ...]) -> Any:
    """What ``generator.athrow(...)`` returns, before it is awaited."""
    with making.no_first_iteration():
        return generator.athrow(*arguments)


@stored
def aclose(generator: Any) -> Any:
    """What ``generator.aclose()`` returns, before it is awaited."""
    with making.no_first_iteration():
        return generator.aclose()


@stored
def spent_awaitable(kind: str) -> Any:
    """An asend() or aclose() object that was awaited to its end."""
    awaitable = _nothing().asend(None) if kind == "asend" else _nothing().aclose()
    awaitable.close()
    return awaitable


class _Anext:
    """An async iterator whose next awaitable is a given one."""

    __slots__ = ("awaitable",)

    def __init__(self, awaitable: Any) -> None:
        self.awaitable = awaitable

    def __anext__(self) -> Any:
        return self.awaitable


@stored
def anext_default(awaitable: Any, default: Any) -> Any:
    """What ``anext(iterator, default)`` returns, around the awaitable that the iterator gave."""
    return anext(_Anext(awaitable), default)


@stored
def coroutine_await(coroutine: types.CoroutineType[Any, Any, Any]) -> Any:
    """What ``coroutine.__await__()`` returns."""
    return coroutine.__await__()


DRIVERS = _ASEND, _ATHROW, _ANEXT, _WRAPPER = _types()
"""Types of what drives a frame that is another object."""

REDUCERS = {
    _ASEND: _reduce_asend,
    _ATHROW: _reduce_athrow,
    _ANEXT: _reduce_anext,
    _WRAPPER: _reduce_wrapper,
}
