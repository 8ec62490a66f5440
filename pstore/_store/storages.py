"""URI -> ZODB storage.

Owned here: what a URI means.  Rule: a file that is not a FileStorage is never modified, nor is one that is damaged; see
`filestorage` for what counts as damage.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import zc.lockfile
from ZODB.FileStorage.FileStorage import CorruptedError, FileStorageError
from ZODB.MappingStorage import MappingStorage

from pstore._store.filestorage import MAGIC, SealedFileStorage
from pstore.errors import NotAStore, StoreCorrupt, StoreLocked, StoreTruncated, UnsupportedStorage

__all__ = ["open_storage"]

# ZODB logs what it also raises; without a handler of its own the last resort of `logging` would print it all the same.
logging.getLogger("ZODB").addHandler(logging.NullHandler())

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
        if path.exists():
            _check_magic(path)
        return SealedFileStorage(str(path), read_only=read_only)
    except (FileStorageError, CorruptedError) as error:
        raise StoreCorrupt(str(path), str(error)) from error
    except zc.lockfile.LockError as error:
        raise StoreLocked(str(path)) from error
    except OSError as error:
        raise NotAStore(str(path), f"it cannot be opened ({error.strerror or error})") from error


def _check_magic(path: Path) -> None:
    """Refuse a file that is not a FileStorage before anything is made beside it."""
    with path.open("rb") as file:
        magic = file.read(len(MAGIC))
    if not MAGIC.startswith(magic):
        raise NotAStore(str(path), "it does not begin as a ZODB FileStorage does")
    if 0 < len(magic) < len(MAGIC):
        raise StoreTruncated(str(path), len(magic))
