"""Reducers of generators, coroutines and async generators, and their capture and rebuilding in memory (layer 1).

Owns: the pickle reduction of a frame (``REDUCERS``), and :func:`capture` / :func:`rebuild`, which do the same without
bytes in between: the rebuilt frame holds the very objects of the captured one.
"""

from __future__ import annotations

import gc
from gc import get_referents
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType
from typing import Any

from pstore._frames import making, twins
from pstore._frames.access import memory
from pstore._frames.layout import BASE, HEAD_SIZE, NULL, SUSPENDED, unpack_head
from pstore._frames.making import frame
from pstore._frames.reading import FrameState, Plan, has_ended, has_extra_locals, points, read

__all__ = ["REDUCERS", "capture", "driver_of", "rebuild", "reduce_in_two_phases"]


def _reduce(gen: Any) -> tuple[Any, ...]:
    """Reduce a generator or coroutine, in one phase: made and filled at once.

    A graph may run in a cycle through a frame: the pickler then comes back here before the frame is in its memo, writes
    it again, inside, and keeps that one; the unpickler makes the outer one for nothing, and `making` lets it go.  Only
    a cycle without any list, dict, cell or instance in it has no end: the frame that holds itself.  That ends in a
    RecursionError, after which the graph is written by way of :func:`reduce_in_two_phases`.
    """
    base = id(gen) + BASE
    name, qualname, exc, _, _, _, state, frame_object, instruction, _ = unpack_head(memory, base - HEAD_SIZE)
    point = points.get(instruction)
    if point is not None and not exc and state in SUSPENDED and not (frame_object and has_extra_locals(frame_object)):
        plain = point.plain
        if plain is not None and NULL not in point.checked(memory, base):
            if name == point.name and qualname == point.qualname:
                return frame, (*plain.arguments, tuple(get_referents(gen)[plain.first :]))
    make, arguments, values, names = _parts(gen)
    if values is None:
        return make, arguments
    return make, (*arguments, values, *names)


def reduce_in_two_phases(gen: Any) -> tuple[Any, ...]:
    """Reduce a frame of any kind so that it can be referred to before its state is written."""
    make, arguments, values, names = _parts(gen)
    if values is None:
        return make, arguments
    phases = making.TWO_PHASES.get(make)
    if phases is None:  # not started: it is made with its state
        return make, (*arguments, values, *names)
    shell, fill = phases
    return shell, (*arguments, *names), values, None, None, fill


def _parts(gen: Any) -> tuple[Any, tuple[Any, ...], tuple[Any, ...] | None, tuple[str, ...]]:
    """The function that makes the frame again, its first arguments, the state, and names that are not the code's."""
    if has_ended(gen):
        return making.finished_frame, (making.ENDED_KINDS[type(gen)], gen.__name__, gen.__qualname__), None, ()
    plan, values, renamed = read(gen)
    names = (gen.__name__, gen.__qualname__) if renamed else ()
    by_value = plan.identity.module is None
    arguments = (plan.key, _function(gen)) if by_value else plan.arguments
    return _MAKERS[_group(gen, plan), by_value], arguments, tuple(values), names


def _group(gen: Any, plan: Plan) -> str:
    if plan.shape.mode == twins.CREATED:
        return "created"
    return "async" if type(gen) is AsyncGeneratorType else "suspended"


_MAKERS: dict[tuple[str, bool], Any] = {
    ("created", False): making.created,
    ("created", True): making.created_of_function,
    ("suspended", False): frame,
    ("suspended", True): making.frame_of_function,
    ("async", False): making.async_frame,
    ("async", True): making.async_frame_of_function,
}


def _function(gen: Any) -> FunctionType:
    return next(value for value in gc.get_referents(gen) if type(value) is FunctionType)


REDUCERS = {GeneratorType: _reduce, CoroutineType: _reduce, AsyncGeneratorType: reduce_in_two_phases}


# ---------------------------------------------------------------- in memory

_twins: dict[bytes, tuple[Any, Any]] = {}
_CACHE_LIMIT = 20_000


def capture(gen: Any) -> FrameState:
    """Capture a created, suspended or ended frame; it can go on afterwards.

    Raises:
        UnsupportedFrame: it is running, or in a state that cannot be reproduced.
    """
    if has_ended(gen):
        return FrameState(type(gen), None, (), None, gen.__name__, gen.__qualname__)
    plan, values, _ = read(gen)
    return FrameState(type(gen), plan, tuple(values), _function(gen), gen.__name__, gen.__qualname__)


def rebuild(state: FrameState) -> Any:
    """A new frame that stands where the captured one stood, with the same live objects in its slots.

    Guarantees: none of the frame's own code has run.  To be called between `start_of_load` and `end_of_load`: until
    then :func:`driver_of` has the new asend() or aclose() object that drives an async generator in an await.
    """
    if state.plan is None or state.function is None:
        return making.finished_frame(making.ENDED_KINDS[state.kind], state.name, state.qualname)
    plan = state.plan
    known = _twins.get(plan.key)
    if known is None or known[0] is not plan.identity.code:
        if len(_twins) >= _CACHE_LIMIT:
            _twins.clear()
        known = _twins[plan.key] = (plan.identity.code, twins.make_twin(plan.identity.code, plan.shape))
    call, holder = making.function_of_twin(known[1], state.function.__globals__)
    gen = making.make(call, holder, plan.shape.mode, state.values)
    gen.__name__, gen.__qualname__ = state.name, state.qualname
    return gen


def driver_of(gen: Any) -> Any:
    """The awaitable that drives an async generator just rebuilt in the middle of an await; None for any other."""
    return making.take_driver(gen)
