"""pstore: durable Python on real CPython frames."""

from __future__ import annotations

from ._engine.effects import now, step, step_key
from ._engine.engine import Engine, open  # noqa: A004  # pstore.open, as gzip.open
from ._engine.outbox import Retry
from ._store.store import Store

__all__ = ["Engine", "Retry", "Store", "now", "open", "step", "step_key"]
