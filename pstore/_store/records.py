"""Records in a ZODB storage (layer 2).

Owns: the ZODB side of a record, and the connection that reads and writes them, :class:`Jar`.

A record is to ZODB the state of a Persistent object: of class :class:`Record`, or of the user's own class for the
Persistent objects that users bring.  The state is a tuple (invariant I9):

    (format, checksum, body, references)

    format      int; 2: a cluster (`body`), 5, once 3: a head (`capsulebody`), 4: a page (`shelf`).  Format 1 had the
                whole graph in one record, the body being what `graph.dumps` gives
    checksum    int, ``zlib.crc32(body)``, signed or not
    body        bytes
    references  tuple of the records that the body refers to, in ZODB's own way: by object id alone.  By them pack and
                garbage collection know what is still needed

ZODB's tools read it as they read everything else.  Records are written through the storage's own two-phase commit,
without a `Persistent` object for each: that takes a third of the time.
"""

from __future__ import annotations

import io
import pickle
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from persistent import Persistent
from ZODB._compat import Unpickler
from ZODB.Connection import Connection, TransactionMetaData
from ZODB.DB import DB
from ZODB.serialize import ObjectWriter
from ZODB.utils import z64

from pstore._store.lost import raise_lost, reaching
from pstore.errors import FormatError, StoreNotWritten, StoreUnavailable

__all__ = [
    "CAPSULE_FORMAT",
    "CAPSULE_FORMATS",
    "PAGE_FORMAT",
    "RECORD_FORMAT",
    "Database",
    "Jar",
    "Record",
    "decode",
    "encode",
]

RECORD_FORMAT, CAPSULE_FORMAT, PAGE_FORMAT = 2, 6, 4
CAPSULE_FORMATS = (3, 5, CAPSULE_FORMAT)
_READABLE = (1, RECORD_FORMAT, PAGE_FORMAT, *CAPSULE_FORMATS)


class Record(Persistent):  # type: ignore[misc]  # persistent has no types
    """What a record is to ZODB's own tools.  The store does not make any, but for the one that the root names."""

    state: Any = None

    def __getnewargs__(self) -> tuple[()]:
        return ()  # so that references to it are its object id alone

    def __getstate__(self) -> Any:
        return self.state

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _class_pickle(cls: type) -> bytes:
    """What comes before a state: how ZODB makes the object."""
    return _RECORD_CLASS if cls is Record else pickle.dumps(cls, 3)


# Under a short name, as it is in every record; older ones have the one above, with a tuple of no arguments.
_RECORD_CLASS = pickle.PROTO + b"\2" + pickle.GLOBAL + b"pstore\n_Record\n" + pickle.STOP
# What the pickler would write of a state, without its notes of what it has met.
_HEAD = {
    version: pickle.PROTO + b"\3" + pickle.MARK + pickle.BININT1 + bytes((version,)) + pickle.BININT
    for version in range(256)
}
_CHECKSUM = struct.Struct("<I")  # a number from 2 ** 31 on is read as a negative one
_SHORT, _LONG = 1 << 8, 1 << 32
_LENGTH, _LENGTH_8 = struct.Struct("<I"), struct.Struct("<Q")
_REFERENCE = pickle.SHORT_BINBYTES + bytes((8,))
_END = pickle.TUPLE + pickle.TUPLE + pickle.STOP
_END_WITHOUT = pickle.EMPTY_TUPLE + pickle.TUPLE + pickle.STOP


def encode(body: bytes, references: Sequence[bytes], cls: type = Record, version: int = RECORD_FORMAT) -> bytes:
    """The data of a record: two pickles of protocol 3, the class and the state."""
    if not references and cls is Record and len(body) < _SHORT:  # as below, in less time: most records of tasks
        parts = [_RECORD_CLASS, _HEAD[version], _CHECKSUM.pack(zlib.crc32(body)), pickle.SHORT_BINBYTES]
        return b"".join((*parts, bytes((len(body),)), body, _END_WITHOUT))
    parts = [_class_pickle(cls), _HEAD[version], _CHECKSUM.pack(zlib.crc32(body))]
    if len(body) < _SHORT:
        parts += (pickle.SHORT_BINBYTES, bytes((len(body),)), body)
    elif len(body) < _LONG:
        parts += (pickle.BINBYTES, _LENGTH.pack(len(body)), body)
    else:
        parts += (pickle.BINBYTES8, _LENGTH_8.pack(len(body)), body)
    known = len(parts)
    for oid in references:
        parts += (_REFERENCE, oid, pickle.BINPERSID)
    if len(parts) == known:
        parts.append(_END_WITHOUT)
    else:
        parts.insert(known, pickle.MARK)
        parts.append(_END)
    return b"".join(parts)


class _Unpickler(Unpickler):  # type: ignore[misc]  # ZODB has no types
    def persistent_load(self, reference: Any) -> Any:
        return reference

    def find_class(self, module: str, name: str) -> Any:
        return module, name  # nothing is imported, nothing runs


def decode(data: bytes) -> tuple[int, bytes, tuple[bytes, ...]]:
    """Format, body and references of a record.

    Raises:
        FormatError: the record has a format that this version does not know.
        ValueError: it is damaged, or not one of pstore's.
    """
    file = io.BytesIO(data)
    _skip_class(file)
    state = _Unpickler(file).load()
    if not isinstance(state, tuple) or len(state) != 4 or not isinstance(state[0], int):
        raise ValueError("it is not a record of pstore's")
    version, checksum, body, references = state
    if version not in _READABLE:
        raise FormatError(f"a record has format {version}, this version of pstore reads up to {max(_READABLE)}")
    if not isinstance(body, bytes) or (zlib.crc32(body) ^ checksum) & 0xFFFFFFFF:
        raise ValueError("it does not have its checksum")
    return version, body, tuple(map(_oid_of, references))


def _skip_class(file: io.BytesIO) -> None:
    if file.getbuffer()[: len(_RECORD_CLASS)] == _RECORD_CLASS:
        file.seek(len(_RECORD_CLASS))
    else:
        _Unpickler(file).load()


def _oid_of(reference: Any) -> bytes:
    oid = reference[0] if isinstance(reference, tuple) else reference
    return bytes(oid)


class Jar(Connection):  # type: ignore[misc]  # ZODB has no types
    """A connection that reads and writes records, and hands the activation of Persistent objects to the store.

    What a driver raises when its server is gone becomes StoreUnavailable, or StoreNotWritten on the way to a commit.

    Attributes:
        activate: loads the state of a Persistent object: (object) -> None; None: ZODB does it by itself.
        doubtful: a commit failed in its last phase: whether it is stored is only known when the database is opened.
        behind: the database is seen as it was before a commit of this connection; to be made up for at the next use.
    """

    activate: Callable[[Any], None] | None = None
    doubtful = behind = False

    def read(self, oid: bytes) -> tuple[bytes, bytes]:
        """Data of a record, and id of the transaction that wrote it."""
        if self.behind:
            self.refresh()
        try:
            return self._storage.load(oid)  # type: ignore[no-any-return]
        except Exception as error:
            raise_lost(error, self._storage, StoreUnavailable)
            raise

    def new_oid(self) -> bytes:
        """An object id that nothing has."""
        try:
            return self._storage.new_oid()  # type: ignore[no-any-return]
        except Exception as error:
            raise_lost(error, self._storage, StoreNotWritten)
            raise

    def last_transaction(self) -> bytes:
        """Id of the last transaction in the database."""
        return bytes(self._storage.lastTransaction())

    def refresh(self) -> None:
        """See what others have committed; without it, the database is seen as it was."""
        with reaching(self._storage):
            self._see_present()

    def refresh_if_possible(self) -> None:
        """The same after a commit: as that is down, an error is of no account, and what is to be seen waits."""
        self.behind = True
        with suppress(Exception):
            self._see_present()

    def _see_present(self) -> None:
        self._storage.sync(True)
        self._storage.poll_invalidations()
        self.behind = False

    def setstate(self, obj: Any) -> None:
        """Load the state of a ghost."""
        if self.activate is None or obj._p_oid == z64 or isinstance(obj, Record):
            if self.behind:
                self.refresh()
            super().setstate(obj)
        else:
            self.activate(obj)

    def ghost(self, oid: bytes, cls: type) -> Any:
        """The Persistent object of that id."""
        obj = self._cache.get(oid)
        if obj is None:
            obj = cls.__new__(cls)  # type: ignore[call-overload]
            self._cache.new_ghost(oid, obj)
        return obj

    def has(self, oid: bytes) -> bool:
        """Whether the Persistent object of that id is there, loaded or not."""
        return self._cache.get(oid) is not None

    def adopt(self, obj: Any) -> bytes:
        """Give a new Persistent object an id; it is not yet stored."""
        obj._p_jar = self
        oid = obj._p_oid = self.new_oid()
        return bytes(oid)

    def disown(self, obj: Any) -> None:
        """Take back `adopt`."""
        if obj._p_changed:
            obj._p_changed = False
        del obj._p_jar
        del obj._p_oid

    def stored(self, obj: Any, tid: bytes) -> None:
        """A Persistent object was committed."""
        if self._cache.get(obj._p_oid) is None:
            self._cache[obj._p_oid] = obj
        obj._p_changed = False
        obj._p_serial = tid

    def name_roots(self, names: Mapping[str, bytes]) -> tuple[bytes, bytes, bytes]:
        """What to write so that the database's root names records, and those that it names already."""
        mapping = self.get(z64)
        mapping._p_invalidate()  # it may have been written since it was loaded
        for name, oid in names.items():
            record = Record()
            record._p_jar, record._p_oid = self, oid
            mapping[name] = record
        data = ObjectWriter(mapping).serialize(mapping)
        serial = bytes(mapping._p_serial)
        mapping._p_invalidate()
        return z64, serial, data

    def named(self) -> dict[str, tuple[bytes, Any]]:
        """What the database's root names: object ids, and classes by name where they are known."""
        file = io.BytesIO(self.read(z64)[0])
        unpickler = _Unpickler(file)
        unpickler.load()
        names = unpickler.load()["data"]
        return {name: value if isinstance(value, tuple) else (value, None) for name, value in names.items()}

    def forget(self) -> None:
        """Let all Persistent objects go; those asked for from now on are new ones."""
        self._registered_objects: list[Any] = []
        self._resetCache()

    def register(self, obj: Any) -> None:
        """A Persistent object says that it has changed: it is kept in mind until the next commit."""
        self._registered_objects.append(obj)

    @property
    def registered(self) -> list[Any]:
        """Persistent objects that have said so."""
        return self._registered_objects

    def write(self, records: Iterable[tuple[bytes, bytes, bytes]], note: str | None) -> bytes:
        """Commit records: (object id, id of the transaction that is replaced, data).  Gives the transaction id.

        All or nothing.  After an error nothing is written, unless `doubtful` says that it may have been.
        """
        storage = self._storage
        meta = TransactionMetaData("", note or "", {})
        try:
            if self.behind:
                self._see_present()
            storage.tpc_begin(meta)
            try:
                for oid, serial, data in records:
                    storage.store(oid, serial, data, "", meta)
                storage.tpc_vote(meta)
            except BaseException:
                storage.tpc_abort(meta)
                raise
        except Exception as error:
            raise_lost(error, storage, StoreNotWritten)
            raise
        self.doubtful = True
        tid: bytes = storage.tpc_finish(meta)
        self.doubtful = False
        return tid


class Database(DB):  # type: ignore[misc]
    """A ZODB database whose connections are jars."""

    klass = Jar
