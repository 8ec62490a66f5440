"""Where a task stands: the chain of frames from its coroutine to what it waits for, read without running anything."""

from __future__ import annotations

import gc
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pstore._engine.task import Task

__all__ = ["Place", "awaited", "innermost", "places", "where"]

_FRAMES = (
    (types.CoroutineType, "cr_frame", "cr_await"),
    (types.GeneratorType, "gi_frame", "gi_yieldfrom"),
    (types.AsyncGeneratorType, "ag_frame", "ag_await"),
)
# Awaitables in C that stand between a frame and the frame that it awaits; they have no attribute that leads on.
_BETWEEN = {"coroutine_wrapper", "async_generator_asend", "async_generator_athrow", "anext_awaitable"}


@dataclass(frozen=True)
class Place:
    """One frame of an await chain.

    Attributes:
        function: qualified name.
        filename, line: where it stands; line is the one of the await.
        frame: the frame; reading its ``f_locals`` runs nothing.
    """

    function: str
    filename: str
    line: int
    frame: types.FrameType


def places(coro: Any) -> list[Place]:
    """Give the frames of an await chain, outermost first; none for a coroutine that has ended."""
    found = []
    for link in _chain(coro):
        frame = _frame(link)
        if frame is not None:
            code = frame.f_code
            found.append(Place(code.co_qualname, code.co_filename, frame.f_lineno, frame))
    return found


def awaited(coro: Any) -> Any:
    """Give what the innermost frame of the chain awaits: a future's awaitable, a step, ...; None before the start."""
    last = list(_chain(coro))[-1]
    return None if last is coro or _frame(last) is not None else last


def innermost(task: Task[Any]) -> Place | None:
    """Give the innermost frame that is not of asyncio itself: it says most to the reader; None if there is no frame."""
    chain = places(task.get_coro())
    own = [place for place in chain if not place.frame.f_globals.get("__name__", "").startswith("asyncio")]
    stands = own or chain
    return stands[-1] if stands else None


def where(task: Task[Any]) -> str:
    """Tell in one line where a task stands: ``order() at shop.py:12``."""
    place = innermost(task)
    return f"{task.title}()" if place is None else f"{place.function}() at {place.filename}:{place.line}"


def _chain(coro: Any) -> Iterator[Any]:
    seen = set()
    while coro is not None and id(coro) not in seen:
        seen.add(id(coro))
        yield coro
        coro = _next(coro)


def _next(link: Any) -> Any:
    for kind, _, inner in _FRAMES:
        if isinstance(link, kind):
            return getattr(link, inner)
    if type(link).__name__ in _BETWEEN:
        kinds = tuple(kind for kind, _, _ in _FRAMES)
        held = [item for item in gc.get_referents(link) if isinstance(item, kinds) or type(item).__name__ in _BETWEEN]
        return held[0] if held else None
    return None


def _frame(link: Any) -> types.FrameType | None:
    for kind, attribute, _ in _FRAMES:
        if isinstance(link, kind):
            frame: types.FrameType | None = getattr(link, attribute)
            return frame
    return None
