"""`PlainAwaitable`: what a task awaits of pstore's own, as a plain object.

Rule: no frame of pstore's own code may be part of a stored task, or a new version of pstore could not read it.  So what
would be a coroutine elsewhere is an object here whose state is in its attributes.
"""

from __future__ import annotations

import abc
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

__all__ = ["OnFuture", "PlainAwaitable"]

T = TypeVar("T")


class PlainAwaitable(Coroutine[Any, Any, T]):
    """Something to be awaited once; ``create_task``, ``gather`` and ``wait_for`` take it as well."""

    _over = False

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> PlainAwaitable[T]:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        """Give the future to wait for; raise StopIteration with the result when there is one."""
        if self._over:
            raise RuntimeError(f"{self!r} was awaited already; make another")
        try:
            return self._advance()
        except BaseException:
            self.close()
            raise

    def throw(self, kind: Any, value: Any = None, traceback: TracebackType | None = None) -> Any:
        """Give it up, and raise."""
        self.close()
        error = kind if isinstance(kind, BaseException) else value if isinstance(value, BaseException) else kind()
        raise error if traceback is None else error.with_traceback(traceback)

    def close(self) -> None:
        """Give it up."""
        if not self._over:
            self._over = True
            self._give_up()

    @abc.abstractmethod
    def _advance(self) -> Any:
        """Make a step: what `send` does."""

    def _give_up(self) -> None:
        """Take back what was asked for; called once, also after it has ended."""

    def __repr__(self) -> str:
        return f"<{getattr(self, '__qualname__', type(self).__name__)}>"


class OnFuture(PlainAwaitable[T]):
    """Awaits one future, which is made at the first step."""

    _future: Any = None
    _wait: Any = None

    @abc.abstractmethod
    def _ask(self) -> Any:
        """Make the future."""

    def _advance(self) -> Any:
        if self._wait is None:
            self._future = self._ask()
            self._wait = self._future.__await__()
        return self._wait.send(None)

    def _give_up(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.cancel()
