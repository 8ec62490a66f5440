"""The end of a file after a crash: what is dropped, and what is damage.

A commit writes a transaction at the end, sets its status from ``c`` to finished, and calls fsync once for both.  A
process that dies leaves what it wrote: the transaction is whole, or has status ``c``.  A power cut before the fsync
returned leaves any part of it: the file may end anywhere in it, and any of its pages of 4 KiB may never have been
written and read as zeros.  Nobody was told that it is committed, so it is dropped.  Nothing else is.

The exact rule.  Something is wrong with the transaction that begins at P, all before P being in order.  It is *torn*,
and dropped, if all of these hold; otherwise it is damage, and the file is refused and not touched:

1. It was not acknowledged: the mark beside the file (`filemark`) does not reach beyond P.  A mark that is missing or
   about another file does not.
2. It is the last: after P there is no other transaction, whole or in parts.  (Looked for backwards from the end of
   the file, and at every seal of a record.)
3. What is wrong is what a power cut does: its header is in a page that is zero, from P on; or the file ends before the
   end that its header names; or pages of it are zero.  Every record that can be made out in what is left and has its
   seal broken, every header and the repeated length, must touch such a page.  A flipped bit does not qualify.

What the rule cannot tell: with the mark lost (a copy of the file, or a power cut within the seconds in which the
kernel has not yet written the mark), a file that somebody cut, or zeroed whole pages of, in its last transaction, looks
torn.  So does one with a flipped bit in a record that has 4 KiB of zeros of its own.  It is said loudly, and the bytes
are kept beside the file.
"""

from __future__ import annotations

import logging
import mmap
import os
from dataclasses import dataclass

from pstore._store.fileformat import LENGTH, RECORD, SEAL, SEALED, TRANSACTION, seal_holds
from pstore._store.filemark import Mark

__all__ = ["PAGE", "Repair", "is_torn", "keep_tail", "report"]

PAGE = 4096
_LOG = logging.getLogger("pstore.store")


@dataclass(frozen=True)
class Repair:
    """What was dropped at the end of a file when it was opened.

    Attributes:
        position: where the dropped bytes began, and the file ends now.
        size: how many they were.
        reason: what was wrong with them.
        kept: the file beside it that has them now; empty where it was opened read-only, or where there was only an
            unfinished transaction of a process that died.
    """

    position: int
    size: int
    reason: str
    kept: str


def is_torn(descriptor: int, position: int, size: int, mark: Mark | None) -> bool:
    """Whether the damaged transaction at `position` is one whose writing a power cut ended; see the module."""
    if mark is not None and mark.end > position:
        return False
    with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as content:
        tail = _Tail(content, position, size)
        return tail.is_last() and tail.is_explained()


def keep_tail(path: str, descriptor: int, position: int, size: int) -> str:
    """Copy the end of the file to a new file beside it, on disk; give its name."""
    number = 0
    while True:
        name = f"{path}.torn-{number}"
        try:
            kept = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            break
        except FileExistsError:
            number += 1
    try:
        while position < size:
            position += os.write(kept, os.pread(descriptor, min(1 << 20, size - position), position))
        os.fsync(kept)
    finally:
        os.close(kept)
    return name


def report(path: str, repair: Repair) -> None:
    """Say what was dropped: loudly, unless a process merely died while it was writing."""
    where = f"; they are kept in {repair.kept}" if repair.kept else ""
    level = logging.WARNING if repair.reason else logging.INFO
    _LOG.log(
        level,
        "%s: a commit that was not known to be acknowledged is dropped: %d bytes from byte %d on (%s)%s",
        path,
        repair.size,
        repair.position,
        repair.reason or "its process died while writing it",
        where,
    )


class _Tail:
    """The bytes from `start` to the end of a file, in which the transaction at `start` is not whole."""

    def __init__(self, content: mmap.mmap, start: int, size: int) -> None:
        self.content, self.start, self.size = content, start, size

    # -- is it the last?

    def is_last(self) -> bool:
        """Whether no other transaction, nor a part of one, can be found after the one that begins at `start`."""
        if self.size - self.start < TRANSACTION.size:
            return True
        if self._whole_at_end():
            return False
        at = self.content.find(SEALED, self.start)
        while at >= 0:
            end = at + SEAL.size
            if self._begins_another(end) or self._ends_another(end):
                return False
            at = self.content.find(SEALED, at + 1)
        return True

    def _whole_at_end(self) -> bool:
        """Whether the last bytes of the file are the end of a transaction that begins later."""
        (length,) = LENGTH.unpack_from(self.content, self.size - LENGTH.size)
        return self._is_header(self.size - LENGTH.size - length, length)

    def _ends_another(self, end: int) -> bool:
        """Whether a transaction ends with a record that ends here, other than ours at the end of the file."""
        if end + LENGTH.size > self.size:
            return False
        (length,) = LENGTH.unpack_from(self.content, end)
        begin = end - length
        if begin == self.start:
            return end + LENGTH.size < self.size  # ours, and more follows it
        return self._is_header(begin, length)

    def _begins_another(self, end: int) -> bool:
        """Whether a record that follows here belongs to a later transaction."""
        if end + RECORD.size > self.size:
            return False
        _, tid, previous, place, zero, length = RECORD.unpack_from(self.content, end)
        plausible = zero == 0 and previous < place and tid != bytes(8) and length <= self.size
        return bool(plausible and self.start < place < end)

    def _is_header(self, position: int, length: int) -> bool:
        if not self.start < position <= self.size - TRANSACTION.size:
            return False
        found = TRANSACTION.unpack_from(self.content, position)
        return bool(found[1] == length and found[2] in b" pc" and TRANSACTION.size + sum(found[3:]) <= length)

    # -- is it what a power cut does?

    def is_explained(self) -> bool:
        """Whether zero pages and a missing end account for all that is wrong."""
        if self._zero_at(self.start) or self.size - self.start < TRANSACTION.size:
            return True  # its header is gone: never written
        tid, length, status, *texts = TRANSACTION.unpack_from(self.content, self.start)
        first, end = self.start + TRANSACTION.size + sum(texts), self.start + length
        if status not in b" p" or first > end or end + LENGTH.size < self.size or self._half_header():
            return self._touches_zero(self.start, self.start + TRANSACTION.size)
        cut = end + LENGTH.size > self.size
        if cut and self._length_at_end() in (length, self.size - LENGTH.size - self.start):
            return False  # its end is there: its header is wrong, or a part is missing in between
        return self._records(first, end, tid, cut=cut)

    def _half_header(self) -> bool:
        """Whether the header reaches into a page that is zero, so that its fields say nothing."""
        return self._zero_at((self.start // PAGE + 1) * PAGE) and self.start % PAGE + TRANSACTION.size > PAGE

    def _length_at_end(self) -> int:
        return int(LENGTH.unpack_from(self.content, self.size - LENGTH.size)[0])

    def _records(self, position: int, end: int, tid: bytes, *, cut: bool) -> bool:
        explained = cut
        while position < end:
            if position + RECORD.size > min(end, self.size):
                return cut
            oid, record_tid, _, place, zero, length = RECORD.unpack_from(self.content, position)
            after = position + RECORD.size + (length or LENGTH.size)
            if record_tid != tid or place != self.start or zero != 0 or after > end:
                return self._touches_zero(position, position + RECORD.size)  # no way to find the next
            if after > self.size:
                return cut
            if length and not seal_holds(oid, self.content[position + RECORD.size : after]):
                if not self._touches_zero(position + RECORD.size, after):
                    return False
                explained = True
            position = after
        if not cut and self._length_at_end() != end - self.start:
            return self._touches_zero(self.size - LENGTH.size, self.size)
        return explained

    def _touches_zero(self, begin: int, end: int) -> bool:
        """Whether a page that has a part of these bytes is zero, as far as it is in the tail."""
        return any(self._zero_at(at) for at in range(begin // PAGE * PAGE, min(end, self.size), PAGE))

    def _zero_at(self, position: int) -> bool:
        begin = max(position // PAGE * PAGE, self.start)
        part = self.content[begin : min(position // PAGE * PAGE + PAGE, self.size)]
        return bool(part) and not any(part)
