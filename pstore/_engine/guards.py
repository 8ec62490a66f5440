"""What `Engine.run` puts around the loop: the hooks of async generators, Ctrl-C, reports."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pstore._engine.future import Future
from pstore._engine.loop import DurableLoop

__all__ = ["AsyncGenHooks", "on_interrupt", "report_failures"]

logger = logging.getLogger("pstore")


class _Live(weakref.WeakSet[Any]):
    """The async generators that were begun and live; a hook for first iterations."""

    rebuilt_too = True
    __call__ = weakref.WeakSet.add


class AsyncGenHooks:
    """What Python calls when an async generator is begun and when it is dropped while suspended.

    Those that a load brings back get the hooks as well.

    Attributes:
        live: the async generators that were begun and live.
    """

    def __init__(self) -> None:
        self.loop: DurableLoop | None = None
        self.live = _Live()

    def _finalise(self, agen: Any) -> None:
        if self.loop is not None:
            self.loop.close_asyncgen(agen)

    def __len__(self) -> int:
        return len(self.live)

    def __contains__(self, obj: Any) -> bool:
        """Whether it is an async generator that was begun and has not ended: for the store, at each commit."""
        return isinstance(obj, types.AsyncGeneratorType) and obj in self.live and obj.ag_frame is not None

    def save(self, objs: list[Any]) -> None:
        """Close async generators that only the store holds: in a task that is stored by the commit that drops them."""
        assert self.loop is not None
        for agen in objs:
            self.live.discard(agen)  # once: one that yields again, as it should not, is left alone
            self.loop.close_asyncgen_soon(agen)

    @contextmanager
    def installed(self) -> Iterator[None]:
        before = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self.live, finalizer=self._finalise)
        try:
            yield
        finally:
            sys.set_asyncgen_hooks(*before)


@contextmanager
def on_interrupt(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Have Ctrl-C call `handler`, in the main thread and if nobody else handles it."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def report_failures(loop: DurableLoop, until: Future[Any] | asyncio.Future[Any] | None) -> None:
    """Log the spawned tasks that failed and that nobody has asked; `until` is about to be asked."""
    failures, loop.unreported[:] = loop.unreported[:], []
    for task in failures:
        if task is not until and task._log_traceback:
            logger.error("task %s failed: %s", task.id, task.title, exc_info=task._exception)
