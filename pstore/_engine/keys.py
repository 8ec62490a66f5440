"""The idempotency key of what is being delivered: of a letter, which is not that of the step which delivers it."""

from __future__ import annotations

import contextvars
import functools
from typing import TypeVar

__all__ = ["call_with_key", "current_key"]

T = TypeVar("T")

current_key: contextvars.ContextVar[str] = contextvars.ContextVar("pstore_letter_id")


def call_with_key(key: str, call: functools.partial[T]) -> T:
    """Call in the present context, with this key for whoever asks `step_key`."""
    current_key.set(key)
    return call()
