"""`Store`: one object graph in one ZODB database.

The graph is kept in one record: a `Persistent` shell whose ZODB state is

    (format, checksum, body, references)

    format      int, `RECORD_FORMAT`
    checksum    int, ``zlib.crc32(body)``
    body        bytes, `graph.dumps` of the pair (parts mapping, root mapping)
    references  tuple of the records that the body refers to, so that pack and GC see them; empty as long as there is
                one record

`root` is the user's mapping.  `parts` is for the layers above: the engine keeps its loop there, in the same graph, so
that what tasks and root share stays shared (invariant I3).

Rules: a persist is all or nothing; a refused one leaves the last committed state as it was (I4); a record whose
checksum is wrong is never loaded; nothing here runs user code other than the unpickling that it asked for (I2).
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Iterable
from types import TracebackType
from typing import Any

import ZODB
from persistent import Persistent
from transaction import TransactionManager
from ZODB.POSException import ReadOnlyError, StorageError

from pstore._frames import abandon
from pstore._store import graph
from pstore._store.storages import open_storage
from pstore.errors import (
    FormatError,
    NotAStore,
    PstoreError,
    StoreClosed,
    StoreCorrupt,
    StoreError,
    StoreReadOnly,
    UnsupportedValue,
)

__all__ = ["RECORD_FORMAT", "Record", "Store"]

RECORD_FORMAT = 1
_KEY = "pstore"


class Record(Persistent):  # type: ignore[misc]  # persistent has no types
    """The shell of a stored body.  Checked when it is read, not when ZODB fills it: ZODB would hide the error."""

    def __init__(self, body: bytes, references: Iterable[Record] = ()) -> None:
        self.state: tuple[Any, ...] = ()
        self.replace(body, references)

    def replace(self, body: bytes, references: Iterable[Record] = ()) -> None:
        """Put another body in."""
        self.state = (RECORD_FORMAT, zlib.crc32(body), body, tuple(references))

    def body(self) -> bytes:
        """Give the body.

        Raises:
            FormatError: the record has a format that this version does not know.
            ValueError: it is damaged.
        """
        if not isinstance(self.state, tuple) or len(self.state) != 4 or not isinstance(self.state[0], int):
            raise ValueError("it is not a record of pstore's")
        version, checksum, body, _ = self.state
        if version != RECORD_FORMAT:
            raise FormatError(f"a record has format {version}, this version of pstore reads {RECORD_FORMAT}")
        if not isinstance(body, bytes) or zlib.crc32(body) != checksum:
            raise ValueError("it does not have its checksum")
        return body

    def __getstate__(self) -> tuple[Any, ...]:
        return self.state

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state


class Store:
    """An object graph that outlives the process.

    Args:
        uri_or_storage: what `storages.open_storage` takes: a path, ``memory:``, or an open ZODB storage.  A storage
            that is handed over is closed with the store.
        read_only: take no lock and refuse to persist.

    Attributes:
        root: the named objects, a dict.  Whatever is reachable from it is stored by `persist`.
        parts: the same for the layers above; not for users.

    Raises: see `open_storage`; also StoreCorrupt, and RebuildError when what is stored cannot be brought back.
    """

    root: dict[str, Any]
    parts: dict[str, Any]

    def __init__(self, uri_or_storage: str | os.PathLike[str] | Any, *, read_only: bool = False) -> None:
        self.name = _name_of(uri_or_storage)
        self._read_only = read_only
        storage = open_storage(uri_or_storage, read_only=read_only)
        self._manager = TransactionManager(explicit=True)
        try:
            self._db = ZODB.DB(storage, large_record_size=sys.maxsize)  # the graph is one record, however large
            self._connection = self._db.open(self._manager)
        except BaseException as error:
            storage.close()
            if isinstance(error, ReadOnlyError):  # ZODB wants to write its root: there has never been a commit
                raise NotAStore(self.name, "it is empty") from error
            if isinstance(error, PstoreError | MemoryError) or not isinstance(error, Exception):
                raise
            raise self._unreadable(error) from error
        self._closed = False
        self._record: Record | None = None
        self.root, self.parts = {}, {}
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def tid(self) -> bytes:
        """ID of the last transaction that changed the graph: 8 bytes, growing; 8 zero bytes before the first."""
        return bytes(self._record._p_serial) if self._record is not None else bytes(8)

    def persist(self, note: str | None = None) -> bytes:
        """Commit the graph as it is now.

        All or nothing: when it raises, the last committed state is as it was, and so are the live objects.
        Writes nothing if nothing has changed.

        Args:
            note: kept as the description of the transaction.

        Returns:
            The transaction id.

        Raises:
            CaptureError: something reachable cannot be stored; the message has the path to it.
            StoreReadOnly, StoreClosed.
        """
        self._check_open()
        if self._read_only:
            raise StoreReadOnly(self.name)
        try:
            body = graph.dumps((self.parts, self.root))
        except UnsupportedValue as error:
            raise type(error)(error.type_name, error.reason, error.remedy, _as_seen(error.path)) from error
        return self.write(body, note)

    def write(self, body: bytes, note: str | None = None) -> bytes:
        """Commit `body`, which `graph.dumps` made; writes nothing if it is what is stored already."""
        if self._record is not None and body == self._record.body():
            return self.tid
        with self._manager as transaction:
            if note is not None:
                transaction.note(note)
            if self._record is None:
                self._connection.root()[_KEY] = record = Record(body)
            else:
                record = self._record
                record.replace(body)
        self._record = record
        return self.tid

    def abort(self) -> None:
        """Forget what was done since the last persist: `root` becomes what is stored, in new objects."""
        self._check_open()
        self._load()

    def close(self) -> None:
        """Close the database.  What was not persisted is lost; nothing of it is run.  Calling it twice does no harm."""
        if not self._closed:
            self._closed = True
            abandon(self.root, self.parts)
            self._connection.close()
            self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<pstore.Store {self.name}{' closed' if self._closed else ''}>"

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(self.name)

    def _load(self) -> None:
        with self._manager:
            try:
                record = self._find()
                body = None if record is None else record.body()
            except (PstoreError, MemoryError):
                raise
            except Exception as error:
                raise self._unreadable(error) from error
        parts, root = ({}, {}) if body is None else graph.loads(body)
        abandon(self.root, self.parts)
        self._record, self.root, self.parts = record, root, parts

    def _find(self) -> Record | None:
        names = self._connection.root()
        record = names.get(_KEY)
        if record is None and len(names):
            raise NotAStore(self.name, "it is a ZODB database, but not one of pstore's")
        if record is not None and not isinstance(record, Record):
            raise ValueError(f"a {type(record).__name__} is where its record should be")
        return record

    def _unreadable(self, error: Exception) -> StoreError:
        """What to raise when ZODB could not read: damaged bytes can make its unpickler raise anything."""
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, OSError | StorageError):  # of the disk or the server, not of the bytes
            return StoreError(self.name, f"it cannot be read ({text})")
        return StoreCorrupt(self.name, f"its record cannot be read ({text})")


def _as_seen(path: str) -> str:
    """Turn a path from the pair that is stored into one from what users know."""
    for stored, seen in (("root[1]", "root"), ("root[0]['loop'].", ""), ("root[0]", "parts")):
        if path.startswith(stored):
            return seen + path[len(stored) :]
    return path


def _name_of(uri_or_storage: Any) -> str:
    if isinstance(uri_or_storage, str | os.PathLike):
        return os.fspath(uri_or_storage)
    return str(uri_or_storage.getName())
