"""pstore: durable Python on real CPython frames."""

from __future__ import annotations

from pstore import client
from pstore._engine.attempts import heartbeat, heartbeat_details, step_cancelled, step_key
from pstore._engine.deliveries import Letter
from pstore._engine.door import Receipt
from pstore._engine.effects import now, step
from pstore._engine.engine import Engine, open  # pstore.open, as gzip.open
from pstore._engine.in_tasks import committed, inbox, post, query, receive, scheduled_at, send, tag
from pstore._engine.inbox import Inbox
from pstore._engine.limits import Limiter
from pstore._engine.outbox import Retry
from pstore._engine.schedules import Schedule
from pstore._engine.task import Task
from pstore._frames import abandon
from pstore._frames.policy import BY_VALUE
from pstore._store.current import attach, load, persist
from pstore._store.ephemeral import Ephemeral, ephemeral
from pstore._store.graph import dumps, loads
from pstore._store.module_state import volatile
from pstore._store.records import Record as _Record  # noqa: F401  # its name in every record
from pstore._store.store import Store

__all__ = [
    "BY_VALUE",
    "Engine",
    "Ephemeral",
    "Inbox",
    "Letter",
    "Limiter",
    "Receipt",
    "Retry",
    "Schedule",
    "Store",
    "Task",
    "abandon",
    "attach",
    "client",
    "committed",
    "dumps",
    "ephemeral",
    "heartbeat",
    "heartbeat_details",
    "inbox",
    "load",
    "loads",
    "now",
    "open",
    "persist",
    "post",
    "query",
    "receive",
    "scheduled_at",
    "send",
    "step",
    "step_cancelled",
    "step_key",
    "tag",
    "volatile",
]
