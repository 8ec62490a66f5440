"""The past of a store: which transactions there were, which of them there is a state of, and how to forget them.

Owned here: the rule of what can be looked at.  A storage keeps a state for every transaction since it was last packed,
and for the one up to which it was packed; what is older may have been packed away in part, and is not offered.
Storages that keep only the present (``?keep_history=false``) have no past: NoHistory.

Each function takes a ZODB database or storage.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from persistent.TimeStamp import TimeStamp
from ZODB.FileStorage.FileStorage import RedundantPackWarning
from ZODB.POSException import StorageError
from ZODB.utils import u64

from pstore._store.lost import is_lost
from pstore.errors import NoHistory, NoSuchState, StoreError

__all__ = ["Transaction", "pack", "tid_of", "transactions"]

_MADE_BY_ZODB = "initial database creation"
_TICK = 1e-5  # more than what a time loses as a float


@dataclass(frozen=True, slots=True)
class Transaction:
    """One commit.

    Attributes:
        tid: its id; ids grow.
        time: when it was, UTC.
        note: what `persist` was given; may be empty.
    """

    tid: bytes
    time: datetime
    note: str


def transactions(storage_or_db: Any, limit: int | None = None) -> list[Transaction]:
    """Give the transactions that there is a state of, the newest first.

    Raises:
        NoHistory: the storage keeps only the present.
    """
    return list(islice(_transactions(_storage(storage_or_db)), limit))


def tid_of(storage_or_db: Any, when: bytes | datetime) -> bytes:
    """Give the id of the last transaction at or before `when`, or check that there is a state of that id.

    Raises:
        NoHistory: the storage keeps only the present.
        NoSuchState: there is no such transaction, or it was packed away.
        ValueError: a time without a time zone.
    """
    storage = _storage(storage_or_db)
    if not isinstance(when, bytes | datetime):
        raise TypeError(f"a state is asked for by transaction id or datetime, not by {when!r}")
    if not isinstance(when, bytes) and when.tzinfo is None:
        raise ValueError(f"{when!r} could be any time: give it a time zone, datetime.now(UTC) for instance")
    for found in _transactions(storage):
        if isinstance(when, bytes):
            if found.tid <= when:
                if found.tid == when:
                    return found.tid
                break
        elif found.time <= when:
            return found.tid
    asked = f"transaction {when.hex()}" if isinstance(when, bytes) else f"time {when.isoformat()}"
    raise NoSuchState(_name(storage), f"there is no state of {asked}: it never was, or was packed away")


def pack(db: Any, keep: datetime | timedelta | bytes | None = None) -> None:
    """Give back the space of what is no longer reachable, and of the past.

    Args:
        db: a ZODB database.
        keep: how much of the past to keep: all since a time or transaction, its state included, or within a span
            before now.  None: only the present.

    Raises:
        NoHistory: something is to be kept of the past, but there is none.
        NoSuchState: there is no such transaction.
        StoreError: it could not be packed; it is as it was.
    """
    storage = _storage(db)
    if not _has_history(storage):
        if keep is not None:
            raise NoHistory(_name(storage), "it keeps only the present, so no part of the past can be kept")
        _pack(storage, None, db.references)
        return
    if isinstance(keep, timedelta):
        keep = datetime.now(UTC) - keep
    if keep is None:
        newest = next(_newest(storage), None)
        if newest is not None:
            _pack(storage, _target(storage, newest[0], exact=False), db.references)
        return
    try:
        tid = tid_of(storage, keep)
    except NoSuchState:
        if isinstance(keep, bytes):
            raise
        return  # all that there is, is younger
    _pack(storage, _target(storage, tid, exact=True), db.references)


def _target(storage: Any, tid: bytes, *, exact: bool) -> Any:
    """What to tell the storage's pack: it counts in seconds, which do not tell transactions apart, but for two."""
    if hasattr(storage, "newest_transactions"):
        return tid
    if hasattr(storage, "keep_history"):
        return u64(tid)
    seconds = TimeStamp(tid).timeTime()
    return seconds - _TICK if exact else max(seconds, time.time()) + _TICK


def _pack(storage: Any, target: Any, references: Any) -> None:
    try:
        storage.pack(target, references)
    except RedundantPackWarning:  # an error of FileStorage's, by that name: there is nothing to do
        return
    except StorageError as error:
        if is_lost(error):
            raise
        raise StoreError(_name(storage), f"it could not be packed ({error})") from error
    except ValueError as error:  # MappingStorage
        if "Already packed" not in str(error):
            raise


def _transactions(storage: Any) -> Iterator[Transaction]:
    if not _has_history(storage):
        raise NoHistory(_name(storage), "it keeps only the present; make it without ?keep_history=false for a past")
    for tid, note, packed in _newest(storage):
        if note != _MADE_BY_ZODB:
            yield Transaction(tid, _time(tid), note)
        if packed:
            break  # what is older is there in part


def _newest(storage: Any) -> Iterator[tuple[bytes, str, bool]]:
    """Give (tid, note, whether a pack went up to it) of all transactions, the newest first."""
    found: Iterable[tuple[bytes, Any, bool]]
    if hasattr(storage, "newest_transactions"):
        found = storage.newest_transactions()
    else:
        packed_to = getattr(storage, "_last_pack", None) or b""
        records = [(bytes(t.tid), t.description, t.status == "p") for t in storage.iterator()]
        found = ((tid, note, packed or tid <= packed_to) for tid, note, packed in reversed(records))
    for tid, note, packed in found:
        yield tid, note.decode("utf-8", "replace") if isinstance(note, bytes) else note, packed


def _has_history(storage: Any) -> bool:
    return bool(getattr(storage, "keep_history", True)) and hasattr(storage, "iterator")


def _storage(storage_or_db: Any) -> Any:
    return getattr(storage_or_db, "storage", storage_or_db)


def _name(storage: Any) -> str:
    return str(storage.getName())


def _time(tid: bytes) -> datetime:
    stamp = TimeStamp(tid)
    minute = datetime(stamp.year(), stamp.month(), stamp.day(), stamp.hour(), stamp.minute(), tzinfo=UTC)
    return minute + timedelta(seconds=stamp.second())
