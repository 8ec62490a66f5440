"""`SealedFileStorage`: a FileStorage that never takes a damaged file for an older state of it.

FileStorage has no checksums, and goes on where it can: what it cannot make sense of at the end of a file it drops, an
object whose header is damaged it takes for another, an index beside the file it believes.  Owned here, in its place:

- The walk, at every opening: all transactions follow each other without a gap to the end of the file, both lengths of
  each agree, they are finished, their ids grow, their records fill them, each record says where it is, and where the
  one before it of the same object is.  The index is what the walk has seen; that beside the file is not read.
- The seal: every record that is written ends in a checksum of the object's id and the data.  It is checked whenever a
  record is read, before anything is unpickled.  ZODB reads two pickles and does not look at what follows them, so its
  own tools read sealed files as they do others.  Records without a seal (written through a storage that was handed
  over) are read too; `store.Record` has a checksum of its own.

A transaction at the end that was still being written when its process died is no damage: ZODB drops it (nobody was
ever told that it was committed) and keeps the bytes beside the file.

Not to be seen in one file: that whole transactions are missing at its end.

Source of the layout: ``ZODB/FileStorage/format.py``: the magic ``FS30``; per transaction a header of 23 bytes (tid 8,
length 8, status 1, three lengths of texts 2 each), the texts, the records, and the length once more (8).  The length
leaves out the 8 bytes of its repetition.  Status ``c`` marks a transaction that is not finished, ``p`` one that pack
has been at.  Per record a header of 42 bytes (oid 8, tid 8, place of the record before it of that oid 8, place of its
transaction 8, zero 2, length 8), and the data; where the length is 0, the place of another record (8).
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import Any

from ZODB.FileStorage import FileStorage
from ZODB.fsIndex import fsIndex

from pstore.errors import StoreCorrupt, StoreTruncated

__all__ = ["MAGIC", "SealedFileStorage"]

MAGIC = b"FS30"
_TRANSACTION = struct.Struct(">8sQcHHH")
_RECORD = struct.Struct(">8s8sQQHQ")
_LENGTH = struct.Struct(">Q")
_STATUS_AT = 16
_ROOT = bytes(8)

_SEAL = struct.Struct(">6sI")
_SEALED = b"pstore"


class SealedFileStorage(FileStorage):  # type: ignore[misc]  # ZODB has no types
    """See the module.

    Raises:
        StoreTruncated, StoreCorrupt: when it is opened, and when a record is read.
    """

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        try:
            super().__init__(path, read_only=read_only)
        except BaseException:
            self._let_go()
            raise

    def _let_go(self) -> None:
        """Close what an opening that failed has opened, the lock in particular."""
        for name in ("_file", "_files", "_tfile", "_lock_file"):
            opened = getattr(self, name, None)
            if opened is not None:
                opened.close()

    def _restore_index(self) -> tuple[fsIndex, int, bytes] | None:
        """ZODB's place for reading the index beside the file; it goes on reading where this one ends."""
        descriptor = self._file.fileno()
        if os.fstat(descriptor).st_size <= len(MAGIC):
            return None
        return _Walk(self.__name__, descriptor).index()

    def store(self, oid: bytes, oldserial: bytes, data: bytes, version: str, transaction: Any) -> None:
        """Write a record, sealed."""
        super().store(oid, oldserial, data + _SEAL.pack(_SEALED, _checksum(oid, data)), version, transaction)

    def load(self, oid: bytes, version: str = "") -> tuple[bytes, bytes]:
        """Give data and tid of the last record of an object."""
        data, tid = super().load(oid, version)
        return self._checked(oid, data), tid

    def loadBefore(self, oid: bytes, tid: bytes) -> tuple[bytes, bytes, bytes | None] | None:
        """Give data, tid and next tid of the last record of an object before `tid`."""
        found = super().loadBefore(oid, tid)
        if found is not None:
            self._checked(oid, found[0])
        return found  # type: ignore[no-any-return]

    def loadSerial(self, oid: bytes, serial: bytes) -> bytes:
        """Give the data of the record of an object in one transaction."""
        return self._checked(oid, super().loadSerial(oid, serial))

    def _checked(self, oid: bytes, data: bytes) -> bytes:
        start = len(data) - _SEAL.size
        if start >= 0:
            mark, checksum = _SEAL.unpack_from(data, start)
            if mark == _SEALED and checksum != _checksum(oid, memoryview(data)[:start]):
                number = int.from_bytes(oid, "big")
                raise StoreCorrupt(self.__name__, f"the record of object {number:,} does not have its checksum")
        return data


def _checksum(oid: bytes, data: bytes | memoryview) -> int:
    return zlib.crc32(data, zlib.crc32(oid))


class _Walk:
    """One walk over the headers of a file.  It only reads; `os.pread` leaves ZODB's position alone."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name, self.descriptor = name, descriptor
        self.size = self._size()
        self.last_of: dict[bytes, int] = {}
        self.last_tid = bytes(8)

    def index(self) -> tuple[fsIndex, int, bytes]:
        """Give where the last record of each object is, where the finished transactions end, and the last tid."""
        position = len(MAGIC)
        while (end := self._transaction(position)) is not None:
            position = end
        if position > len(MAGIC) and _ROOT not in self.last_of:
            raise StoreCorrupt(self.name, "it has no root object")
        index = fsIndex()
        index.update(self.last_of)
        return index, position, self.last_tid

    def _transaction(self, position: int) -> int | None:
        """Check one transaction; give its end, or None if nothing, or an unfinished one, begins at `position`."""
        header = os.pread(self.descriptor, _TRANSACTION.size, position)
        if len(header) <= _STATUS_AT:
            return None  # too little to tell whether it was finished
        finished = header[_STATUS_AT] != ord("c")
        if len(header) < _TRANSACTION.size:
            if finished:
                raise StoreTruncated(self.name, self.size)
            return None
        tid, length, status, *texts = _TRANSACTION.unpack(header)
        first, end = position + _TRANSACTION.size + sum(texts), position + length
        if first > end or status not in b" pc" or tid <= self.last_tid:
            raise StoreCorrupt(self.name, f"there is no transaction at byte {position:,}, where one should begin")
        if not finished:
            if end + _LENGTH.size < self.size:  # more was written after it, so it cannot have been the last
                raise StoreCorrupt(self.name, f"the transaction at byte {position:,} is not finished")
            return None
        if end + _LENGTH.size > self.size:
            self.size = self._size()  # opened read-only, the file may have grown since
        if end + _LENGTH.size > self.size:
            raise StoreTruncated(self.name, self.size)
        if self._read(_LENGTH, end) != (length,):
            raise StoreCorrupt(self.name, f"the transaction at byte {position:,} has two different lengths")
        self._records(position, first, end, tid, packed=status == b"p")
        self.last_tid = tid
        return int(end + _LENGTH.size)

    def _records(self, transaction: int, position: int, end: int, tid: bytes, *, packed: bool) -> None:
        seen = {}
        while position < end:
            if position + _RECORD.size > end:
                raise self._no_record(position)
            oid, record_tid, previous, place, zero, length = self._read(_RECORD, position)
            linked = previous == self.last_of.get(oid, 0) or (packed and previous == 0)
            if record_tid != tid or place != transaction or zero != 0 or not linked:
                raise self._no_record(position)
            seen[oid] = position
            position += _RECORD.size + (length or _LENGTH.size)
        if position != end:
            raise StoreCorrupt(self.name, f"the records of the transaction at byte {transaction:,} do not fill it")
        self.last_of.update(seen)

    def _size(self) -> int:
        return os.fstat(self.descriptor).st_size

    def _read(self, layout: struct.Struct, position: int) -> tuple[Any, ...]:
        return layout.unpack(os.pread(self.descriptor, layout.size, position))

    def _no_record(self, position: int) -> StoreCorrupt:
        return StoreCorrupt(self.name, f"the record at byte {position:,} does not fit where it is")
