"""The mark beside a file: up to where its transactions were acknowledged.

A transaction is written and then fsynced; when that returns, somebody is told that it is committed.  In the file the
two look the same.  So the place of the last acknowledged transaction is written to ``PATH.mark``, after the fsync and
without one of its own, which costs 3 us instead of a second wait for the disk:

- It can never be ahead of the file: what it says was on disk before it was written.
- After the death of the process it is exact.  After a power cut it may be older, missing or torn.  Then it protects
  less (see `filetail`), and says nothing that is wrong.

It is one struct: magic 8, inode of the file 8, place where the transaction begins 8 and ends 8, its tid 8, crc32 4.
The inode ties it to the very file: a copy, a backup that was brought back, or a file that was packed is another one,
about which it says nothing.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import NamedTuple

__all__ = ["Mark", "MarkFile", "read_mark"]

_MAGIC = b"pstoremk"
_BODY = struct.Struct(">8sQQQ8s")
_CHECK = struct.Struct(">I")


class Mark(NamedTuple):
    """The last transaction that is known to have been acknowledged: where it is in the file, and its tid."""

    start: int
    end: int
    tid: bytes


def _place(path: str) -> str:
    return path + ".mark"


def read_mark(path: str, descriptor: int) -> Mark | None:
    """Read the mark of the open file, if there is one and it is about that file."""
    try:
        with open(_place(path), "rb") as file:
            content = file.read(_BODY.size + _CHECK.size)
    except OSError:
        return None
    if len(content) != _BODY.size + _CHECK.size:
        return None
    magic, inode, start, end, tid = _BODY.unpack_from(content)
    (checksum,) = _CHECK.unpack_from(content, _BODY.size)
    if magic != _MAGIC or checksum != zlib.crc32(content[: _BODY.size]) or inode != os.fstat(descriptor).st_ino:
        return None
    return Mark(start, end, tid)


class MarkFile:
    """Writes marks.  A mark that cannot be written is left out: it is no condition of a commit."""

    def __init__(self, path: str) -> None:
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(_place(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError:
            pass

    def put(self, descriptor: int, mark: Mark) -> None:
        """Say that the open file was fsynced with this transaction as its last."""
        if self._descriptor is None:
            return
        body = _BODY.pack(_MAGIC, os.fstat(descriptor).st_ino, mark.start, mark.end, mark.tid)
        try:
            os.pwrite(self._descriptor, body + _CHECK.pack(zlib.crc32(body)), 0)
        except OSError:
            pass

    def close(self) -> None:
        """Close it; also when that was done before."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
