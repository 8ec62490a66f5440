"""The walk over the headers of a FileStorage's file, at every opening: from its checkpoint, where it has one.

All transactions follow each other without a gap to the end of the file, both lengths of each agree, they are finished,
their ids grow, their records fill them, each record says where it is, and where the one before it of the same object
is.  The index is what the walk has seen.  The seals of the records are checked when they are read; those of the last
transaction also here, unless the mark beside the file says that it was acknowledged.

It only reads, with `os.pread`, which leaves ZODB's position in the file alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ZODB.fsIndex import fsIndex

from pstore._store.filecheckpoint import Checkpoint
from pstore._store.fileformat import LENGTH, MAGIC, RECORD, STATUS_AT, TRANSACTION, read, seal_holds
from pstore._store.filemark import Mark
from pstore._store.filetail import is_torn
from pstore.errors import StoreCorrupt, StoreTruncated

__all__ = ["Found", "no_checksum", "no_record", "walk"]

_ROOT = bytes(8)


@dataclass
class Found:
    """What a file has in it.

    Attributes:
        last_of: object id -> place of its last record, of those that were walked over.
        before: what was not walked over.
        walked: from here on.
        start, end, tid: the last finished transaction; `end` is where the next one goes.
        size: of the file; what is between `end` and it is of no account.
        torn: what is wrong with those bytes; empty if they are an unfinished transaction, or nothing.
    """

    last_of: dict[bytes, int] = field(default_factory=dict)
    start: int = 0
    end: int = len(MAGIC)
    tid: bytes = bytes(8)
    size: int = 0
    torn: str = ""
    before: fsIndex | None = None
    walked: int = len(MAGIC)

    @classmethod
    def at(cls, checkpoint: Checkpoint | None) -> Found:
        """What is found before anything is walked over."""
        if checkpoint is None:
            return cls()
        start, end, tid, before = checkpoint
        return cls({}, start, end, tid, before=before, walked=end)

    def place_of(self, oid: bytes) -> int:
        """Where the last record of an object is, as far as that is known; 0: nowhere."""
        place = self.last_of.get(oid)
        if place is None:
            place = 0 if self.before is None else self.before.get(oid, 0)
        return place

    def index(self) -> fsIndex:
        """Give all places as ZODB wants them; once."""
        index = fsIndex() if self.before is None else self.before
        index.update(self.last_of)
        return index


def walk(name: str, descriptor: int, mark: Mark | None, checkpoint: Checkpoint | None) -> Found:
    """Walk over an open file; over what follows the checkpoint, if there is one.

    Raises:
        StoreTruncated, StoreCorrupt: the file is damaged.
    """
    walker = _Walk(name, descriptor, mark, checkpoint)
    found = walker.found
    while True:
        try:
            end = walker.transaction(found.end)
        except (StoreTruncated, StoreCorrupt) as error:
            if not is_torn(descriptor, found.end, walker.size, mark):
                raise
            found.torn = error.reason
            break
        if end is None:
            break
        found.start, found.end = found.end, end
    found.size = walker.size
    if mark is not None and mark.end > found.end:
        raise StoreCorrupt(
            name,
            f"it ends at byte {found.end:,}, but was acknowledged up to byte {mark.end:,}; if an older copy of it was "
            f"put in its place on purpose, remove {name}.mark; otherwise",
        )
    if found.start and not found.place_of(_ROOT):
        raise StoreCorrupt(name, "it has no root object")
    return found


class _Walk:
    def __init__(self, name: str, descriptor: int, mark: Mark | None, checkpoint: Checkpoint | None) -> None:
        self.name, self.descriptor, self.mark = name, descriptor, mark
        self.size = self._size()
        self.found = Found.at(checkpoint)

    def transaction(self, position: int) -> int | None:
        """Check one transaction; give its end, or None if nothing, or an unfinished one, begins at `position`."""
        header = os.pread(self.descriptor, TRANSACTION.size, position)
        if len(header) <= STATUS_AT:
            return None  # too little to tell whether it was finished
        finished = header[STATUS_AT] != ord("c")
        if len(header) < TRANSACTION.size:
            if finished:
                raise StoreTruncated(self.name, self.size)
            return None
        tid, length, status, *texts = TRANSACTION.unpack(header)
        first, end = position + TRANSACTION.size + sum(texts), position + length
        if first > end or status not in b" pc" or tid <= self.found.tid:
            raise StoreCorrupt(self.name, f"there is no transaction at byte {position:,}, where one should begin")
        if not finished:
            if end + LENGTH.size < self.size:  # more was written after it, so it cannot have been the last
                raise StoreCorrupt(self.name, f"the transaction at byte {position:,} is not finished")
            return None
        if end + LENGTH.size > self.size:
            self.size = self._size()  # opened read-only, the file may have grown since
        if end + LENGTH.size > self.size:
            raise StoreTruncated(self.name, self.size)
        if read(self.descriptor, LENGTH, end) != (length,):
            raise StoreCorrupt(self.name, f"the transaction at byte {position:,} has two different lengths")
        in_doubt = end + LENGTH.size == self.size and (self.mark is None or self.mark.end <= position)
        self._records(position, first, end, tid, packed=status == b"p", in_doubt=in_doubt)
        self.found.tid = tid
        return int(end + LENGTH.size)

    def _records(self, transaction: int, position: int, end: int, tid: bytes, *, packed: bool, in_doubt: bool) -> None:
        seen: dict[bytes, int] = {}
        place_of = self.found.place_of
        while position < end:
            if position + RECORD.size > end:
                raise no_record(self.name, position)
            oid, record_tid, previous, place, zero, length = read(self.descriptor, RECORD, position)
            linked = previous == place_of(oid) or (packed and previous == 0)
            if record_tid != tid or place != transaction or zero != 0 or not linked:
                raise no_record(self.name, position)
            if in_doubt and length:
                self._data(oid, position + RECORD.size, length)
            seen[oid] = position
            position += RECORD.size + (length or LENGTH.size)
        if position != end:
            raise StoreCorrupt(self.name, f"the records of the transaction at byte {transaction:,} do not fill it")
        self.found.last_of.update(seen)

    def _data(self, oid: bytes, position: int, length: int) -> None:
        if position + length > self.size or not seal_holds(oid, os.pread(self.descriptor, length, position)):
            raise no_checksum(self.name, oid)

    def _size(self) -> int:
        return os.fstat(self.descriptor).st_size


def no_record(name: str, position: int) -> StoreCorrupt:
    """The error for a record whose header is not that of a record there."""
    return StoreCorrupt(name, f"the record at byte {position:,} does not fit where it is")


def no_checksum(name: str, oid: bytes) -> StoreCorrupt:
    """The error for a record whose seal is broken."""
    number = int.from_bytes(oid, "big")
    return StoreCorrupt(name, f"the record of object {number:,} does not have its checksum")
