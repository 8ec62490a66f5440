"""asyncio's debug mode on the durable loop: where things were made, which calls are slow, who calls from elsewhere.

Rules:

- Whether debug mode is on belongs to the process, not to the program: it is never stored.  As with asyncio it is on
  under ``python -X dev`` and ``PYTHONASYNCIODEBUG=1``, and is set with ``loop.set_debug``.
- Where a task, future or call was made (`_source_traceback`) is noted in debug mode only, and is stored with it, as
  plain tuples: a process in debug mode shows it after any number of restarts, one that is not keeps it along.  What is
  stored without debug mode is what would be stored if there were none.
- asyncio's own futures in C (of ``asyncio.Future()`` and ``gather``) do not let theirs be set; it is not stored.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import threading
import traceback
from asyncio import base_events, constants, coroutines, format_helpers
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = [
    "STACKS",
    "check_callback",
    "check_thread",
    "describe",
    "is_on",
    "kept",
    "off",
    "restored",
    "set_origins",
    "trimmed",
    "whence",
]

_ENGINE = os.path.dirname(__file__)

Stored = list[tuple[str, int, str]]


def is_on() -> bool:
    """Tell whether processes like this one start in debug mode."""
    on: bool = coroutines._is_debug_mode()  # type: ignore[attr-defined]
    return on


@contextmanager
def off(loop: Any) -> Iterator[None]:
    """Have no source tracebacks made of what is made for a durable loop meanwhile."""
    before = vars(loop).get("_debug", False)
    loop._debug = False
    try:
        yield
    finally:
        loop._debug = before


# -- where things were made


def whence() -> traceback.StackSummary:
    """Give the stack of whoever called the engine."""
    return trimmed(format_helpers.extract_stack(sys._getframe(1)))


def trimmed(stack: traceback.StackSummary) -> traceback.StackSummary:
    """Take the engine's own frames off the end of a stack; in place."""
    while stack and os.path.dirname(stack[-1].filename) == _ENGINE:
        del stack[-1]
    return stack


def kept(stack: traceback.StackSummary | None) -> Stored | None:
    """Make what is stored of a source traceback."""
    return None if stack is None else [(entry.filename, entry.lineno or 0, entry.name) for entry in stack]


def restored(stored: Stored | None) -> traceback.StackSummary | None:
    """Make a source traceback of what was stored."""
    if stored is None:
        return None
    entries = [traceback.FrameSummary(file, line, name, lookup_line=False) for file, line, name in stored]
    return traceback.StackSummary.from_list(entries)


def set_origins(depth: int | None) -> int:
    """Have Python note where coroutines are made, if `depth` is None as deep as asyncio does; gives what was set."""
    before = sys.get_coroutine_origin_tracking_depth()
    sys.set_coroutine_origin_tracking_depth(constants.DEBUG_STACK_DEPTH if depth is None else depth)
    return before


# What is said before the stacks in the context of an exception handler.
STACKS = {
    "source_traceback": "Object created at (most recent call last):\n",
    "handle_traceback": "Handle created at (most recent call last):\n",
}


# -- calls


def check_callback(callback: Any, method: str) -> None:
    """Refuse what cannot be called, or would be called for nothing.

    Raises:
        TypeError: as asyncio's loops do in debug mode.
    """
    if asyncio.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
        raise TypeError(f"coroutines cannot be used with {method}()")
    if not callable(callback):
        raise TypeError(f"a callable object was expected by {method}(), got {callback!r}")


def check_thread(thread: int | None) -> None:
    """Refuse a call from another thread than that which runs the loop.

    Raises:
        RuntimeError: as asyncio's loops do in debug mode.
    """
    if thread is not None and thread != threading.get_ident():
        raise RuntimeError("Non-thread-safe operation invoked on an event loop other than the current one")


def describe(handle: asyncio.Handle) -> str:
    """Name a call in a warning: by its task, if it is a step of one."""
    text: str = base_events._format_handle(handle)  # type: ignore[attr-defined]
    return text
