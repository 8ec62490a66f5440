"""What a loop does when a call fails, or an exception is never looked at: as asyncio's loops do.

Owned here: the exception handler, and what is logged where there is none.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pstore._engine import debug
from pstore._engine.refusing import RefusingLoop

if TYPE_CHECKING:
    from pstore._engine.state import LoopState

__all__ = ["ReportingLoop"]

logger = logging.getLogger("pstore")


class ReportingLoop(RefusingLoop):  # type: ignore[misc]  # made of what asyncio's interface has
    """The part of the durable loop that reports errors.

    Attributes:
        state: what is stored of the loop; it has the handler.
    """

    state: LoopState
    _closed: bool
    _current: asyncio.Handle | None

    def get_exception_handler(self) -> Any:
        """Give the handler that was set."""
        return self.state.handler

    def set_exception_handler(self, handler: Any) -> None:
        """Set what is called when a call fails or an exception is never looked at; None: they are logged."""
        if handler is not None and not callable(handler):
            raise TypeError(f"A callable object or None is expected, got {handler!r}")
        self.state.handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log what went wrong."""
        error = context.get("exception")
        lines = [context.get("message") or "Unhandled exception in the durable loop"]
        for name in sorted(context):
            if name in debug.STACKS:
                lines.append(debug.STACKS[name] + "".join(traceback.format_list(context[name])).rstrip())
            elif name not in ("message", "exception"):
                lines.append(f"{name}: {context[name]!r}")
        whence = getattr(self._current, "_source_traceback", None)  # of the call that is being made
        if whence and "source_traceback" not in context:
            lines.append(debug.STACKS["handle_traceback"] + "".join(traceback.format_list(whence)).rstrip())
        logger.error("\n".join(lines), exc_info=error and (type(error), error, error.__traceback__))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Hand what went wrong to the handler, and to the log if there is none or it fails itself."""
        if self._closed:
            return
        if self.state.handler is None:
            self._handle_by_default(context, "")
        else:
            self._handle_by(self.state.handler, context)

    def _handle_by_default(self, context: dict[str, Any], when: str) -> None:
        try:
            self.default_exception_handler(context)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # it must not get out into the loop
            logger.error("Exception in default exception handler" + when, exc_info=True)

    def _handle_by(self, handler: Callable[..., object], context: dict[str, Any]) -> None:
        """Call the handler that was set, in the context of what went wrong."""
        origin: Any = next(
            (context[name] for name in ("task", "future", "handle") if context.get(name) is not None), None
        )
        of_origin = origin.get_context() if hasattr(origin, "get_context") else None
        try:
            if isinstance(of_origin, contextvars.Context):
                of_origin.run(handler, self, context)
            else:
                handler(self, context)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            failed = {"message": "Unhandled error in exception handler", "exception": error, "context": context}
            self._handle_by_default(failed, " while handling an unexpected error in custom exception handler")
