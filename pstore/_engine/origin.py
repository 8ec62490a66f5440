"""`origin`: which task of the engine's a task comes from; and contexts that have nothing else, as they are stored."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

from pstore._store import constants

__all__ = ["context_of", "kept_context", "origin"]

origin: contextvars.ContextVar[str] = contextvars.ContextVar("pstore_origin")
"""Id of the task of the engine's that a task, or the one that made it, ...: so steps know for whom they are."""

constants.register(36, origin)


def kept_context(context: Any, whose: Callable[[], str | None]) -> Any:
    """What is stored of a context: True if it has nothing but an origin, None if it is empty, else itself.

    `whose` gives that origin, None if there is none.  What was loaded, and is no context yet, is given as it is.
    """
    if not isinstance(context, contextvars.Context):
        return context
    if not len(context):
        return None
    own = context.get(origin) if len(context) == 1 else None
    return True if own is not None and own == whose() else context


def context_of(kept: Any, whose: Callable[[], str]) -> contextvars.Context:
    """The context of which that is stored."""
    if isinstance(kept, contextvars.Context):
        return kept
    context = contextvars.Context()
    if kept:
        context.run(origin.set, whose())
    return context
