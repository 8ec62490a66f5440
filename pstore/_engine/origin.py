"""`origin`: which task of the engine's a task comes from."""

from __future__ import annotations

import contextvars

from pstore._store import constants

__all__ = ["origin"]

origin: contextvars.ContextVar[str] = contextvars.ContextVar("pstore_origin")
"""Id of the task of the engine's that a task, or the one that made it, ...: so steps know for whom they are."""

constants.register(36, origin)
