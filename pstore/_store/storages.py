"""URI -> ZODB storage.

Owned here: what a URI means, and the look at a file before ZODB is allowed to touch it.  Rules:

- A file that is not a FileStorage is never modified, nor is a file that lost part of a finished transaction.
- A transaction that was still being written when its process died is no damage: ZODB drops it when it opens the file
  (nobody was ever told that it was committed) and keeps the bytes beside the file.

Source of the file layout: ``ZODB/FileStorage/format.py``: the magic ``FS30``; per transaction a header of 23 bytes
(tid 8, length 8, status 1, three lengths of 2), the data, and the length once more (8).  The length in the header
leaves out the 8 bytes of its repetition.  Status ``c`` marks a transaction that is not finished.
"""

from __future__ import annotations

import logging
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import zc.lockfile
from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.FileStorage import CorruptedError, FileStorageError
from ZODB.MappingStorage import MappingStorage

from pstore.errors import NotAStore, StoreCorrupt, StoreLocked, StoreTruncated, UnsupportedStorage

__all__ = ["open_storage"]

# ZODB logs what it also raises; without a handler of its own the last resort of `logging` would print it all the same.
logging.getLogger("ZODB").addHandler(logging.NullHandler())

MAGIC = b"FS30"
_HEADER = struct.Struct(">8sQcHHH")
_LENGTH = struct.Struct(">Q")
_STATUSES = b" pu"
_KNOWN_ELSEWHERE = ("sqlite", "postgresql", "mysql", "zeo", "demo")


def open_storage(uri: str | os.PathLike[str] | Any, *, read_only: bool = False) -> Any:
    """Open the ZODB storage that `uri` names.

    Args:
        uri: ``memory:``; the path of a file (made when it is not there, unless `read_only`), also as ``file:PATH``; or
            a ZODB storage that is open already, which is given back as it is.
        read_only: open a file without its lock, so that it may be looked at while a program is using it.

    Raises:
        UnsupportedStorage: no storage of that kind can be opened by this version.
        NotAStore: the path leads to something that is not a FileStorage.
        StoreTruncated, StoreCorrupt: the file is damaged.
        StoreLocked: another process has it open; trying again may help.
    """
    if not isinstance(uri, str | os.PathLike):
        return uri
    text = os.fspath(uri)
    scheme, colon, rest = text.partition(":")
    if colon and scheme == "memory":
        return MappingStorage(rest or "memory")
    if colon and scheme in _KNOWN_ELSEWHERE:
        raise UnsupportedStorage(text, f"storages of the kind '{scheme}:' cannot be opened by this version yet")
    if "://" in text:
        raise UnsupportedStorage(text, f"'{scheme}' is no kind of storage that is known")
    return _open_file(Path(rest if colon and scheme == "file" else text), read_only)


def _open_file(path: Path, read_only: bool) -> Any:
    if path.is_dir():
        raise NotAStore(str(path), "it is a folder")
    if path.exists() and not path.is_file():  # to open a pipe would wait for its other end
        raise NotAStore(str(path), "it is not an ordinary file")
    if not path.exists():
        if read_only:
            raise NotAStore(str(path), "there is no such file")
        if not path.absolute().parent.is_dir():
            raise NotAStore(str(path), "the folder that it should be in does not exist")
    try:
        if read_only:
            _check(path)
        elif path.exists():
            # Under the lock, as a tail that another process is still writing looks like a torn one.
            lock = zc.lockfile.LockFile(f"{path}.lock")
            try:
                _check(path)
            finally:
                lock.close()
        return FileStorage(str(path), read_only=read_only)
    except (FileStorageError, CorruptedError) as error:
        raise StoreCorrupt(str(path), str(error)) from error
    except zc.lockfile.LockError as error:
        raise StoreLocked(str(path)) from error
    except OSError as error:
        raise NotAStore(str(path), f"it cannot be opened ({error.strerror or error})") from error


def _check(path: Path) -> None:
    """Refuse a file that is not a FileStorage or that lost part of a finished transaction.  Only reads."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        magic = file.read(len(MAGIC))
        if magic != MAGIC and not (MAGIC.startswith(magic) and size < len(MAGIC)):
            raise NotAStore(str(path), "it does not begin as a ZODB FileStorage does")
        if 0 < size < len(MAGIC):
            raise StoreTruncated(str(path), size)
        if size > len(MAGIC) and not _ends_well(file, size):
            _check_tail(path, file, size)


def _ends_well(file: BinaryIO, size: int) -> bool:
    """Tell whether the last transaction is finished and whole.  O(1): the length at the end leads to its header."""
    if size < len(MAGIC) + _HEADER.size + _LENGTH.size:
        return False
    file.seek(size - _LENGTH.size)
    (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
    start = size - _LENGTH.size - length
    if length < _HEADER.size or start < len(MAGIC):
        return False
    file.seek(start)
    _, repeated, status, *_ = _HEADER.unpack(file.read(_HEADER.size))
    return bool(repeated == length and status in _STATUSES)


def _check_tail(path: Path, file: BinaryIO, size: int) -> None:
    """Walk the headers to the end that is not whole; return if it is a transaction that was never finished."""
    position = len(MAGIC)
    while position < size:
        file.seek(position)
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return
        _, length, status, *_ = _HEADER.unpack(header)
        if status == b"c":
            return
        if status not in _STATUSES or length < _HEADER.size:
            raise StoreCorrupt(str(path), f"there is no transaction at byte {position:,}, where one should begin")
        end = position + length
        if end + _LENGTH.size > size:
            raise StoreTruncated(str(path), size)
        file.seek(end)
        if _LENGTH.unpack(file.read(_LENGTH.size))[0] != length:
            raise StoreCorrupt(str(path), f"the transaction at byte {position:,} has two different lengths")
        position = end + _LENGTH.size
