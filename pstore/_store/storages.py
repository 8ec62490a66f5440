"""URI -> ZODB storage.

Owned here: what a URI means, and that whatever a storage says when it cannot be opened becomes one clear error.  The
servers' storages are in `servers`, which is imported only for them.

    PATH, file:PATH                       a file (`filestorage`)
    memory:                               nothing outlives the process
    sqlite:FOLDER                         a folder with SQLite databases; several processes of one machine
    postgresql://USER:PASSWORD@HOST/NAME  RelStorage; several machines
    mysql://USER:PASSWORD@HOST/NAME       the same
    zeo:HOST:PORT, zeo:/SOCKET            a ZEO server

``?keep_history=false`` makes a new SQLite, PostgreSQL or MySQL store keep only the present; it stays so.

Durability: ``"full"`` means that what is committed outlives a power cut: every commit is on disk before it returns.
``"os"`` means that it outlives the process: nothing waits for the disk.  Where it is the server that decides, only
``"full"`` can be asked for, and the server's settings say what it means.

Rule: what is not a store is never modified, nor is one that is damaged.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
from pathlib import Path
from typing import Any

import zc.lockfile
from ZODB.FileStorage.FileStorage import CorruptedError, FileStorageError
from ZODB.MappingStorage import MappingStorage

from pstore._store.filestorage import MAGIC, SealedFileStorage, is_locked_here
from pstore.errors import NotAStore, StoreCorrupt, StoreLocked, StoreTruncated, UnsupportedStorage

__all__ = ["DURABILITIES", "open_storage", "shown"]

# ZODB logs what it also raises; without a handler of its own the last resort of `logging` would print it all the same.
logging.getLogger("ZODB").addHandler(logging.NullHandler())

DURABILITIES = ("full", "os")
_SERVERS = {
    "sqlite": "open_sqlite",
    "postgresql": "open_postgresql",
    "postgres": "open_postgresql",
    "mysql": "open_mysql",
    "zeo": "open_zeo",
}


def open_storage(uri: str | os.PathLike[str] | Any, *, read_only: bool = False, durability: str = "full") -> Any:
    """Open the ZODB storage that `uri` names.

    Args:
        uri: see the module; or a ZODB storage that is open already, which is given back as it is.
        read_only: take no lock, so that a file may be looked at while a program is using it, and change nothing.
        durability: ``"full"`` or ``"os"``, see the module.

    Raises:
        ValueError: `durability` is something else.
        UnsupportedStorage: there is no such kind of storage, or it has no such option.
        MissingExtra: a package has to be installed for it.
        NotAStore: the path leads to something that is not a store.
        StoreTruncated, StoreCorrupt: it is damaged.
        StoreLocked: another process has it open, and trying again may help; or this one has.
        StoreUnavailable: the server cannot be reached.
    """
    if durability not in DURABILITIES:
        raise ValueError(f"durability is 'full' or 'os', not {durability!r}")
    if not isinstance(uri, str | os.PathLike):
        return uri
    text = os.fspath(uri)
    scheme, colon, rest = text.partition(":")
    if colon and scheme == "memory":
        return MappingStorage(rest or "memory")
    if colon and scheme in _SERVERS:
        servers = importlib.import_module("pstore._store.servers")
        return getattr(servers, _SERVERS[scheme])(text, shown(text), read_only=read_only, durability=durability)
    if "://" in text:
        raise UnsupportedStorage(shown(text), f"'{scheme}' is no kind of storage that is known")
    return _open_file(Path(rest if colon and scheme == "file" else text), read_only, durability == "full")


def shown(uri: str) -> str:
    """Give a URI as it may be shown: without the password."""
    return re.sub(r"(?<=:)[^:/@]*(?=@)|(?<=[?&]password=)[^&]*", "***", uri) if "://" in uri else uri


def _open_file(path: Path, read_only: bool, sync: bool) -> Any:
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
        return SealedFileStorage(str(path), read_only=read_only, sync=sync)
    except (FileStorageError, CorruptedError) as error:
        raise StoreCorrupt(str(path), str(error)) from error
    except zc.lockfile.LockError as error:
        raise StoreLocked(str(path), is_locked_here(str(path))) from error
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
