"""The checkpoint beside a file: up to where it has been walked over, and the index of that.

A walk reads every header of the file, which takes as long as the file is; an opening begins where the checkpoint ends.

- One is written when the file has grown by `GROWN` bytes, and by eight times what the index takes, since the last: so
  what is walked is bounded by that, and a commit pays a small share of its own size, whatever the file has in it.
- It is written after the commit that it ends with was fsynced, never with ``durability="os"`` before the file is
  closed; under another name first, without an fsync of its own.  One that is missing, torn, of another file, or does
  not fit is left out: then all is walked, as where none is.
- It can be ahead of no file: it names the transaction that it ends with, which has to be there.

What is before it is not walked; so there `filestorage` checks each header that it reads, and walks over all before it
reads anything of the past.

``PATH.checkpoint`` is a struct: magic 8, inode of the file 8, place where the last transaction begins 8 and ends 8, its
tid 8, how many parts 4; parts, one for each 65,536 ids: the six bytes that begin these ids, length 4, bytes of an
``fsBucket`` (for each id the two bytes that end it; for each id its place, 6 bytes); crc32 of all 4.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from typing import NamedTuple

from ZODB.fsIndex import fsIndex

from pstore._store.fileformat import LENGTH, STATUS_AT, TRANSACTION, write_all

__all__ = ["GROWN", "Checkpoint", "read_checkpoint", "remove_checkpoint", "write_checkpoint"]

GROWN = 16 << 10

_MAGIC = b"pstorecp"
_HEAD = struct.Struct(">8sQQQ8sI")
_PART = struct.Struct(">6sI")
_CHECK = struct.Struct(">I")
_ENTRY = 8


class Checkpoint(NamedTuple):
    """The last transaction that was walked over: where it is in the file, its tid; object id -> place up to there."""

    start: int
    end: int
    tid: bytes
    index: fsIndex


def _place(path: str) -> str:
    return path + ".checkpoint"


def write_checkpoint(path: str, descriptor: int, checkpoint: Checkpoint) -> int:
    """Write it, if that can be done, in the place of the one before; give its size."""
    parts = checkpoint.index.__getstate__()["_data"]
    inode = os.fstat(descriptor).st_ino
    content = bytearray(_HEAD.pack(_MAGIC, inode, checkpoint.start, checkpoint.end, checkpoint.tid, len(parts)))
    for prefix, bucket in parts:
        content += _PART.pack(prefix, len(bucket))
        content += bucket
    content += _CHECK.pack(zlib.crc32(content))
    place = _place(path)
    with contextlib.suppress(OSError):  # it is no condition of a commit
        new = os.open(f"{place}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            write_all(new, content, 0)
        finally:
            os.close(new)
        os.replace(f"{place}.new", place)
    return len(content)


def read_checkpoint(path: str, descriptor: int) -> Checkpoint | None:
    """Read that of the open file, if there is one and it fits."""
    try:
        with open(_place(path), "rb") as file:
            content = file.read()
    except OSError:
        return None
    if len(content) < _HEAD.size + _CHECK.size:
        return None
    body = memoryview(content)[: -_CHECK.size]
    magic, inode, start, end, tid, count = _HEAD.unpack_from(body)
    if magic != _MAGIC or _CHECK.unpack_from(content, len(body)) != (zlib.crc32(body),):
        return None
    if inode != os.fstat(descriptor).st_ino or not _is_there(descriptor, start, end, tid):
        return None
    parts, position = [], _HEAD.size
    for _ in range(count):
        prefix, length = _PART.unpack_from(body, position)
        position += _PART.size
        if length % _ENTRY:
            return None
        parts.append((prefix, bytes(body[position : position + length])))
        position += length
    index = fsIndex()
    index.__setstate__({"state_version": 1, "_data": parts})
    return Checkpoint(start, end, tid, index)


def _is_there(descriptor: int, start: int, end: int, tid: bytes) -> bool:
    """Whether this transaction is where it should be."""
    header, length = os.pread(descriptor, TRANSACTION.size, start), end - LENGTH.size - start
    if len(header) < TRANSACTION.size or header[STATUS_AT] == ord("c"):
        return False
    if TRANSACTION.unpack(header)[:2] != (tid, length):
        return False
    return os.pread(descriptor, LENGTH.size, end - LENGTH.size) == LENGTH.pack(length)


def remove_checkpoint(path: str) -> None:
    """Remove it, if there is one: the file is to be another."""
    with contextlib.suppress(OSError):
        os.remove(_place(path))
