"""What a loop does about asynchronous generators that were begun: as asyncio's loops do, durably.

Owned here: closing those that the program has dropped, and all of them when it asks for that.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pstore._engine.reporting import ReportingLoop

if TYPE_CHECKING:
    from pstore._engine.loop import NewsQueue

__all__ = ["AsyncGenLoop"]


class AsyncGenLoop(ReportingLoop):
    """The part of the durable loop that closes asynchronous generators.

    Attributes:
        live_asyncgens: async generators that were begun and live; not stored as such.
        inbox: what comes to the engine from other threads.
    """

    live_asyncgens: Iterable[Any]
    inbox: NewsQueue
    _thread: int | None

    # -- for the engine, which sets these as hooks

    def close_asyncgen(self, agen: Any) -> None:
        """Close an async generator that was dropped, as asyncio does; the collector may call this in any thread."""
        if not self._closed:
            if self._thread == threading.get_ident():
                self.close_asyncgen_soon(agen)
            else:
                self.call_soon_threadsafe(self.create_task, agen.aclose())

    def close_asyncgen_soon(self, agen: Any) -> None:
        """Close an async generator, in a task; called in the thread of the engine, and stored by its next commit."""
        self.call_soon(self.create_task, agen.aclose(), context=contextvars.Context())
        self.inbox.put(None)  # whoever waits already has something to do

    def shutdown_asyncgens(self) -> asyncio.Future[Any]:
        """Close the async generators that were begun and live; to be awaited.  A program's end does not do this.

        Not a coroutine function: no frame of pstore's own may be part of a stored task.
        """
        closing = list(self.live_asyncgens)
        if not closing:
            nothing: Any = self.create_future()
            nothing.set_result(None)
            return nothing  # type: ignore[no-any-return]
        tasks: list[Any] = [self.create_task(agen.aclose()) for agen in closing]
        closed = asyncio.gather(*tasks, return_exceptions=True)
        closed.add_done_callback(functools.partial(self._asyncgens_closed, closing))
        return closed

    def _asyncgens_closed(self, closing: list[Any], closed: asyncio.Future[list[Any]]) -> None:
        for agen, outcome in zip(closing, [] if closed.cancelled() else closed.result(), strict=False):
            if isinstance(outcome, Exception):
                message = f"an error occurred during closing of asynchronous generator {agen!r}"
                self.call_exception_handler({"message": message, "exception": outcome, "asyncgen": agen})
