"""Where a program tells the process that runs it how far it has come; nothing of it is stored."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["on", "reached"]


class _Listener:
    call: Callable[[], None] | None = None


def on(call: Callable[[], None]) -> None:
    """Have `call` called when the moment is reached."""
    _Listener.call = call


def reached() -> None:
    """Tell."""
    if _Listener.call is not None:
        _Listener.call()
