"""`Shelf`: BTrees beside the graph, in the same database and the same commits (layer 2).

The graph is loaded whole, or by the object; what stands here is loaded by the page when it is asked for, and let go of
again: a million entries take no memory.  Keys and values are plain data; a `Reference` stands for a record of the
graph.

Owns: the records of the pages, format 4 of bodies (invariant I9): a pickle of protocol 5 of the state of a tree or a
bucket of `BTrees.OOBTree`, in which the persistent id ``3 * place + kind`` stands for the reference of the record at
that place; kind 0: a `Reference`, 1: a tree, 2: a bucket.

Rules: nothing of a shelf is a node of the graph, nor leads to one but by its record; what is read names no classes; a
page whose checksum is wrong is never loaded.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

from BTrees.OOBTree import OOBTree, OOBucket
from persistent import PickleCache
from ZODB.POSException import POSKeyError, StorageError

from pstore._store.records import PAGE_FORMAT, Jar, decode, encode
from pstore.errors import StoreCorrupt, StoreError

__all__ = ["Reference", "Shelf"]

_PAGES = 2000  # of 30 entries each, or of 250 pages, that stay in memory
_KINDS: tuple[Any, ...] = (None, OOBTree, OOBucket)
_NEW = bytes(8)


class Reference(bytes):
    """The object id of a record of the graph."""

    __slots__ = ()


class _Writer(pickle.Pickler):
    def __init__(self, file: io.BytesIO, shelf: Shelf) -> None:
        super().__init__(file, 5)
        self._shelf = shelf
        self.references: list[bytes] = []

    def persistent_id(self, obj: Any) -> int | None:
        cls = type(obj)
        if cls is Reference:
            oid, kind = bytes(obj), 0
        elif cls in _KINDS:
            oid, kind = self._shelf.oid_of(obj), _KINDS.index(cls)
        else:
            return None
        self.references.append(oid)
        return 3 * len(self.references) - 3 + kind


class _Reader(pickle.Unpickler):
    def __init__(self, body: bytes, references: tuple[bytes, ...], shelf: Shelf) -> None:
        super().__init__(io.BytesIO(body))
        self._references, self._shelf = references, shelf

    def find_class(self, module: str, name: str) -> Any:
        raise ValueError(f"it names {module}.{name}")

    def persistent_load(self, pid: int) -> Any:
        place, kind = divmod(pid, 3)
        oid = self._references[place]
        return self._shelf.get(oid, _KINDS[kind]) if kind else Reference(oid)


class Shelf:
    """The trees of one store.

    Args:
        name: of the store, for errors.
        jar: the connection.
        oid: object id of the record of the root; None: there is none yet.

    Attributes:
        oid: as above; it is given by `records`.
        is_named: the database names it by now.
        could_not_read: told of a page that could not be read, before whoever asked for it is.
    """

    could_not_read: Callable[[Exception], None] | None = None

    def __init__(self, name: str, jar: Jar, oid: bytes | None) -> None:
        self.oid = oid
        self.is_named = oid is not None
        self._name, self._jar = name, jar
        self._cache = PickleCache(self, _PAGES)
        self._changed: list[Any] = []
        self._written: list[Any] = []
        self._root: Any = OOBTree() if oid is None else self.get(oid, OOBTree)

    def tree(self, name: str) -> Any:
        """The tree of a name, an `OOBTree`; made if there is none."""
        found = self.find(name)
        if found is None:
            found = self._root[name] = OOBTree()
        return found

    def find(self, name: str) -> Any:
        """The tree of a name; None if there is none."""
        return self._root.get(name)

    # ------------------------------------------------------------ what persistent asks of a jar

    def setstate(self, obj: Any) -> None:
        """Load a page."""
        try:
            self._load(obj)
        except Exception as error:
            if self.could_not_read is not None:
                self.could_not_read(error)
            raise

    def _load(self, obj: Any) -> None:
        number = int.from_bytes(obj._p_oid, "big")
        try:
            data, serial = self._jar.read(obj._p_oid)
            version, body, references = decode(data)
            if version != PAGE_FORMAT:
                raise ValueError(f"a record of format {version} is where one of format {PAGE_FORMAT} should be")
            state = _Reader(body, references, self).load()
        except (POSKeyError, ValueError, EOFError, IndexError, pickle.UnpicklingError) as error:
            raise StoreCorrupt(self._name, f"page {number:,} of its index cannot be read ({error!r})") from error
        except (OSError, StorageError) as error:  # of the disk or the server, not of the bytes
            raise StoreError(self._name, f"page {number:,} of its index cannot be read ({error!r})") from error
        obj.__setstate__(state)
        obj._p_serial = serial

    def register(self, obj: Any) -> None:
        """A page says that it has changed."""
        self._changed.append(obj)

    def readCurrent(self, obj: Any) -> None:
        """Nobody else writes."""

    # ------------------------------------------------------------ pages

    def get(self, oid: bytes, cls: Any) -> Any:
        """The page of that id."""
        obj = self._cache.get(oid)
        if obj is None:
            obj = cls.__new__(cls)
            self._cache.new_ghost(oid, obj)
        return obj

    def oid_of(self, obj: Any) -> bytes:
        """The object id of a page; one that is new gets one, and is to be written, too."""
        if obj._p_oid is None:
            obj._p_oid = self._jar.new_oid()
            obj._p_jar = self
            self._changed.append(obj)
        return bytes(obj._p_oid)

    # ------------------------------------------------------------ committing

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._changed or self._written or (self.oid is None and self._root))

    def records(self) -> list[tuple[bytes, bytes, bytes]]:
        """What is to be written: (object id, id of the transaction that is replaced, data)."""
        if self.oid is None and self._root:
            self.oid = self.oid_of(self._root)
        self._changed += self._written  # of a commit that failed
        self._written = []
        found, seen = [], set()
        while self._changed:
            obj = self._changed.pop()
            if id(obj) not in seen:
                seen.add(id(obj))
                self._written.append(obj)
                file = io.BytesIO()
                writer = _Writer(file, self)
                writer.dump(obj.__getstate__())
                data = encode(file.getvalue(), writer.references, version=PAGE_FORMAT)
                found.append((bytes(obj._p_oid), bytes(obj._p_serial or _NEW), data))
        return found

    def stored(self, tid: bytes) -> None:
        """What was to be written is stored; pages that were not used for long are let go of."""
        for obj in self._written:
            if self._cache.get(obj._p_oid) is None:
                self._cache[obj._p_oid] = obj
            obj._p_changed = False
            obj._p_serial = tid
        self._written = []
        self.is_named = self.oid is not None
        self._cache.incrgc()
