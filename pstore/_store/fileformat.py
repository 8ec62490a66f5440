"""The layout of a FileStorage as this package reads it, and the seal that each record of ours ends in.

Source of the layout: ``ZODB/FileStorage/format.py``: the magic ``FS30``; per transaction a header of 23 bytes (tid 8,
length 8, status 1, three lengths of texts 2 each), the texts, the records, and the length once more (8).  The length
leaves out the 8 bytes of its repetition.  Status ``c`` marks a transaction that is not finished, ``p`` one that pack
has been at.  Per record a header of 42 bytes (oid 8, tid 8, place of the record before it of that oid 8, place of its
transaction 8, zero 2, length 8), and the data; where the length is 0, the place of another record (8).

The seal: 6 bytes ``pstore``, and 4 bytes crc32 of the object's id and the data before it.  ZODB reads two pickles and
does not look at what follows them, so its own tools read sealed records as they do others.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import Any

__all__ = [
    "LENGTH",
    "MAGIC",
    "RECORD",
    "SEAL",
    "SEALED",
    "STATUS_AT",
    "TRANSACTION",
    "read",
    "seal",
    "seal_holds",
    "write_all",
]

MAGIC = b"FS30"
TRANSACTION = struct.Struct(">8sQcHHH")
RECORD = struct.Struct(">8s8sQQHQ")
LENGTH = struct.Struct(">Q")
STATUS_AT = 16

SEAL = struct.Struct(">6sI")
SEALED = b"pstore"


def seal(oid: bytes, data: bytes) -> bytes:
    """Give the data with its seal."""
    return data + SEAL.pack(SEALED, _checksum(oid, data))


def seal_holds(oid: bytes, data: bytes | memoryview) -> bool:
    """Whether the seal fits the data; data without a seal has to end as a pickle does."""
    start = len(data) - SEAL.size
    mark, checksum = SEAL.unpack_from(data, start) if start >= 0 else (b"", 0)
    if mark != SEALED:
        return bytes(data[-1:]) == b"."
    return bool(checksum == _checksum(oid, memoryview(data)[:start]))


def read(descriptor: int, layout: struct.Struct, position: int) -> tuple[Any, ...]:
    """Read one structure, all of which is known to be there; leaves the descriptor's position alone."""
    return layout.unpack(os.pread(descriptor, layout.size, position))


def write_all(descriptor: int, data: bytes | bytearray, position: int) -> None:
    """Write all of it, at this place."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, position)
        position += written
        view = view[written:]


def _checksum(oid: bytes, data: bytes | memoryview) -> int:
    return zlib.crc32(data, zlib.crc32(oid))
