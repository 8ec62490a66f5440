"""Reducers of generators, coroutines and async generators, and their capture and rebuilding in memory (layer 1).

Owns: the pickle reduction of a frame (``REDUCERS``), and :func:`capture` / :func:`rebuild`, which do the same without
bytes in between: the rebuilt frame holds the very objects of the captured one.
"""

from __future__ import annotations

import gc
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType
from typing import Any

from pstore._frames import making
from pstore._frames import twins
from pstore._frames.reading import FrameState, Plan, finished, read

__all__ = ["REDUCERS", "capture", "rebuild"]


def _reduce(gen: Any) -> tuple[Any, ...]:
    """Reduce a generator or coroutine."""
    if finished(gen):
        return making.finished_frame, (making.ENDED_KINDS[type(gen)], gen.__name__, gen.__qualname__)
    plan, values, renamed = read(gen)
    if plan.shape.mode == twins.CREATED:
        return _reduce_created(gen, plan, values, renamed)
    arguments: tuple[Any, ...] = plan.arguments
    make: Any = making.frame
    if plan.identity.module is None:
        make, arguments = making.frame_of_function, (plan.key, _function(gen))
    if renamed:
        arguments = (*arguments, gen.__name__, gen.__qualname__)
    return make, arguments, tuple(values), None, None, making.fill


def _reduce_async(gen: Any) -> tuple[Any, ...]:
    if finished(gen):
        return making.finished_frame, (making.ENDED_KINDS[type(gen)], gen.__name__, gen.__qualname__)
    plan, values, renamed = read(gen)
    if plan.shape.mode == twins.CREATED:
        return _reduce_created(gen, plan, values, renamed)
    arguments: tuple[Any, ...] = plan.arguments
    make: Any = making.async_frame
    if plan.identity.module is None:
        make, arguments = making.async_frame_of_function, (plan.key, _function(gen))
    if renamed:
        arguments = (*arguments, gen.__name__, gen.__qualname__)
    return make, arguments, tuple(values), None, None, making.fill_async


def _reduce_created(gen: Any, plan: Plan, values: list[Any], renamed: bool) -> tuple[Any, ...]:
    names = (gen.__name__, gen.__qualname__) if renamed else ()
    if plan.identity.module is None:
        return making.created_of_function, (plan.key, _function(gen), tuple(values), *names)
    return making.created, (*plan.arguments, tuple(values), *names)


def _function(gen: Any) -> FunctionType:
    return next(value for value in gc.get_referents(gen) if type(value) is FunctionType)


REDUCERS = {GeneratorType: _reduce, CoroutineType: _reduce, AsyncGeneratorType: _reduce_async}


# ---------------------------------------------------------------- in memory

_functions: dict[tuple[int, bytes], tuple[Plan, FunctionType, list[Any]]] = {}


def capture(gen: Any) -> FrameState:
    """Capture a created, suspended or finished frame; it can go on afterwards.

    Raises:
        UnsupportedFrame: it is running, or in a state that cannot be reproduced.
    """
    if finished(gen):
        return FrameState(type(gen), None, (), None, gen.__name__, gen.__qualname__)
    plan, values, _ = read(gen)
    return FrameState(type(gen), plan, tuple(values), _function(gen), gen.__name__, gen.__qualname__)


def rebuild(state: FrameState) -> Any:
    """A new frame that stands where the captured one stood, with the same live objects in its slots.

    Guarantees: none of the frame's own code has run.  An async generator in the middle of an await is driven by a new
    asend() or aclose() object: see :func:`driver_of`.
    """
    if state.plan is None or state.function is None:
        return making.finished_frame(making.ENDED_KINDS[state.kind], state.name, state.qualname)
    plan = state.plan
    key = (id(state.function.__globals__), plan.key)
    known = _functions.get(key)
    if known is None or known[0].identity.code is not plan.identity.code:
        call, holder = making.function_of_twin(plan.identity.code, plan.shape, state.function.__globals__)
        known = _functions[key] = (plan, call, holder)
    gen = making.make(known[1], known[2], plan.shape.mode, state.values)
    gen.__name__, gen.__qualname__ = state.name, state.qualname
    return gen


def driver_of(gen: Any) -> Any:
    """The awaitable that drives an async generator just rebuilt in the middle of an await; None for any other."""
    return making.take_driver(gen)
