"""`Store`: an object graph that outlives the process.

Owns: what a store is to its users, and the course of a commit.

The graph is kept in many records, each with some dozens of objects (`clusters`); a commit looks which of them have
changed, cuts what is new into records (`survey`), and writes those that are not as stored (`body`, `records`).  Nobody
has to say what has changed.

`root` is the user's mapping.  `parts` is for the layers above: the engine keeps its loop there, in the same graph, so
that what tasks and root share stays shared (invariant I3).

Rules: a persist is all or nothing; a refused one leaves the last committed state as it was (I4); a record whose
checksum is wrong is never loaded; nothing here runs user code other than the unpickling that it asked for, and the
``__getstate__`` and ``__reduce__`` methods of what is stored (I2).
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from persistent import Persistent
from transaction import TransactionManager
from ZODB.POSException import ConflictError, ReadOnlyError, StorageError

from pstore._frames import abandon
from pstore._store import graph
from pstore._store.body import Writer
from pstore._store.clusters import Cluster, Heap
from pstore._store.loading import Loader
from pstore._store.loading import Record as Loaded
from pstore._store.records import RECORD_FORMAT, Database, Jar, Record, decode, encode
from pstore._store.storages import open_storage
from pstore._store.survey import Survey
from pstore.errors import (
    NotAStore,
    PstoreBug,
    PstoreError,
    StoreClosed,
    StoreConflict,
    StoreCorrupt,
    StoreError,
    StoreInDoubt,
    StoreNotWritten,
    StoreReadOnly,
    UnsupportedValue,
)

__all__ = ["RECORD_FORMAT", "Record", "Store"]

_KEY = "pstore"
_ZERO = bytes(8)
_SUSPECTS = 1000


class Store:
    """An object graph that outlives the process.

    Args:
        uri_or_storage: what `storages.open_storage` takes: a path, ``memory:``, ..., or an open ZODB storage.  A
            storage that is handed over is closed with the store.
        read_only: take no lock and refuse to persist.

    Attributes:
        root: the named objects, a dict.  Whatever is reachable from it is stored by `persist`.
        parts: the same for the layers above; not for users.

    Raises: see `open_storage`; also StoreCorrupt, and RebuildError when what is stored cannot be brought back.
    """

    root: dict[str, Any]
    parts: dict[str, Any]

    def __init__(self, uri_or_storage: str | os.PathLike[str] | Any, *, read_only: bool = False) -> None:
        self.name = _name_of(uri_or_storage)
        self._read_only = read_only
        storage = open_storage(uri_or_storage, read_only=read_only)
        try:
            self._db = Database(storage, large_record_size=sys.maxsize)
            self._jar: Jar = self._db.open(TransactionManager(explicit=True))
        except BaseException as error:
            storage.close()
            if isinstance(error, ReadOnlyError):  # ZODB wants to write its root: there has never been a commit
                raise NotAStore(self.name, "it is empty") from error
            if isinstance(error, PstoreError | MemoryError) or not isinstance(error, Exception):
                raise
            raise self._unreadable(error) from error
        self._closed = self._failed = False
        self.root, self.parts = {}, {}
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def tid(self) -> bytes:
        """ID of the last transaction that changed the graph: 8 bytes, growing; 8 zero bytes before the first."""
        return self._tid

    # ------------------------------------------------------------ committing

    def persist(self, note: str | None = None) -> bytes:
        """Commit the graph as it is now.

        All or nothing: when it raises, the last committed state is as it was, and so are the live objects.
        Writes what has changed; nothing if nothing has.

        Args:
            note: kept as the description of the transaction.

        Returns:
            The transaction id.

        Raises:
            CaptureError: something reachable cannot be stored; the message has the path to it.
            StoreReadOnly, StoreClosed.
            StoreError: the database could not write; `retryable` tells whether it may be tried again.
        """
        self._check_open()
        if self._read_only:
            raise StoreReadOnly(self.name)
        heap = self._heap
        changed = heap.changed()
        changed += self._registered(changed)
        if not changed and self._top_cluster.serial != _ZERO:
            return self._tid
        survey = Survey(heap, self._jar.new_oid, self._adopt)
        self._adopted: list[Any] = []
        try:
            survey.run(changed)
            bodies = self._bodies(survey)
        except Exception as error:
            self._take_back(survey)
            raise self._refusal(error) from error
        except BaseException:
            self._take_back(survey)
            raise
        if bodies:
            self._commit(survey, bodies, note)
        self._settle(survey, bodies)
        return self._tid

    def _registered(self, known: Iterable[Cluster]) -> list[Cluster]:
        """The clusters of the Persistent objects that say that they have changed."""
        found = []
        seen = set(known)
        for obj in self._jar.registered:
            cluster = self._heap.home.get(id(obj))
            if cluster is not None and cluster not in seen:
                seen.add(cluster)
                found.append(cluster)
        return found

    def _adopt(self, obj: Any) -> bytes:
        if obj._p_jar is None:
            self._adopted.append(obj)
            return self._jar.adopt(obj)
        if obj._p_jar is not self._jar:
            raise UnsupportedValue(type(obj).__qualname__, "it is in another database", "store a copy of it")
        return bytes(obj._p_oid)

    def _reference(self, survey: Survey) -> Callable[[Any], tuple[bytes, Any]]:
        home = self._heap.home

        def reference(obj: Any) -> tuple[bytes, Any]:
            if isinstance(obj, Persistent):
                return bytes(obj._p_oid), type(obj)
            cluster = home[id(obj)]
            return cluster.oid, survey.numbers(cluster)[id(obj)]

        return reference

    def _bodies(self, survey: Survey) -> list[tuple[Cluster, bytes, int]]:
        """What is to be written: cluster, data, digest; without what is stored just so."""
        writer = Writer(survey, self._reference(survey))
        found = []
        for cluster, layout in survey.layouts.items():
            survey.at = cluster
            body, references = writer.write(cluster.nodes, layout)
            digest = hash((body, *references))
            if digest != cluster.digest:
                node = cluster.nodes[0] if cluster.nodes else None
                cls = type(node) if isinstance(node, Persistent) else Record
                found.append((cluster, encode(body, references, cls), digest))
        return found

    def _commit(self, survey: Survey, bodies: list[tuple[Cluster, bytes, int]], note: str | None) -> None:
        records = [(cluster.oid, cluster.serial, data) for cluster, data, _ in bodies]
        if self._top_cluster.serial == _ZERO and not self._replaces:
            records.append(self._jar.name_root(_KEY, self._top_cluster.oid))
        try:
            self._tid = self._jar.write(records, note)
        except BaseException as error:
            self._take_back(survey)
            self._failed = self._jar.doubtful or isinstance(error, ConflictError)
            raise self._not_committed(error) from error
        for cluster, _, digest in bodies:
            cluster.serial, cluster.digest = self._tid, digest
            if cluster.nodes and isinstance(cluster.nodes[0], Persistent):
                self._jar.stored(cluster.nodes[0], self._tid)
        self._jar.refresh()

    def _not_committed(self, error: BaseException) -> BaseException:
        if isinstance(error, ConflictError):
            return StoreConflict(self.name)
        text = f"{type(error).__name__}: {error}"
        if self._jar.doubtful:
            return error if isinstance(error, StoreInDoubt) else StoreInDoubt(self.name, text)
        if isinstance(error, OSError | StorageError):
            return StoreNotWritten(self.name, text)
        return error

    def _settle(self, survey: Survey, bodies: list[Any]) -> None:
        """What is now, is what is stored."""
        heap = self._heap
        del self._jar.registered[:]
        survey.finish()
        heap.all_looked_at()
        heap.incomplete = False
        lost = heap.settle(survey.layouts)
        while lost:
            lost = self._look_again(heap.sweep(lost))
        if heap.suspects > _SUSPECTS + len(heap.home):
            self.collect()

    def collect(self) -> int:
        """Let go of what was stored and can no longer be reached, in cycles, too; gives how many objects.

        The store does so by itself, from time to time: it costs a microsecond for each object that is loaded.
        """
        self._check_open()
        if self._heap.incomplete:
            return 0
        nodes = self._heap.unreachable(self._top)
        count = len(nodes)
        stale = self._heap.drop(nodes)
        del nodes
        lost = self._look_again(stale)
        while lost:
            lost = self._look_again(self._heap.sweep(lost))
        return count

    def tidy(self) -> None:
        """What there is time for when nothing else is to be done: `collect`, if that takes but a moment."""
        if self._heap.suspects and len(self._heap.home) < _SUSPECTS:
            self.collect()

    def _look_again(self, clusters: list[Cluster]) -> list[Any]:
        """Nodes of these clusters have gone: find out what to watch now.  Nothing is written for that."""
        survey = Survey(self._heap, self._jar.new_oid, self._adopt)
        survey.run(clusters)
        survey.finish()
        return self._heap.settle(clusters)

    def _take_back(self, survey: Survey) -> None:
        survey.undo()
        for obj in self._adopted:
            self._jar.disown(obj)

    def _refusal(self, error: Exception) -> Exception:
        """The error with the path from the root to what cannot be stored."""
        try:
            graph.dumps((self.parts, self.root))
        except UnsupportedValue as found:
            refused = type(found)(found.type_name, found.reason, found.remedy, _as_seen(found.path))
            refused.__cause__ = found.__cause__
            return refused
        except Exception as other:
            return other
        if isinstance(error, PstoreError):
            return error
        return PstoreBug(f"the graph cannot be cut into records: {type(error).__name__}: {error}")

    # ------------------------------------------------------------ going back, closing

    def abort(self) -> None:
        """Forget what was done since the last persist: `root` becomes what is stored, in new objects."""
        self._check_open()
        self._jar.forget()
        self._load()

    def close(self) -> None:
        """Close the database.  What was not persisted is lost; nothing of it is run.  Calling it twice does no harm."""
        if not self._closed:
            self._closed = True
            abandon(self.root, self.parts)
            self._jar.close()
            self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<pstore.Store {self.name}{' closed' if self.closed else ''}>"

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(self.name)
        if self._failed:
            raise StoreError(self.name, "an earlier commit failed half-way; close the store and open it again")

    # ------------------------------------------------------------ loading

    def _load(self) -> None:
        heap = Heap()
        loader = Loader(heap, self._read, self._jar.ghost, graph.unpickler)
        before = self.__dict__.get("_heap"), self.__dict__.get("_loader")
        try:
            self._jar.refresh()
            oid = self._find()
            self._heap, self._loader = heap, loader
            top, self._tid, self._replaces = self._load_top(oid)
        except (PstoreError, MemoryError):
            self._heap, self._loader = before
            raise
        except Exception as error:
            self._heap, self._loader = before
            raise self._unreadable(error) from error
        abandon(self.root, self.parts)
        self._top = top
        self.parts, self.root = top
        self._jar.activate = self._activate

    def _load_top(self, oid: bytes | None) -> tuple[list[Any], bytes, bool]:
        """The list of parts and root, the last transaction, and whether a record of format 1 is to be replaced."""
        if oid is None:
            unused = _ZERO if self._read_only else self._jar.new_oid()
            return self._new_top([{}, {}], unused, _ZERO), _ZERO, False
        data, serial = self._jar.read(oid)
        version, body, _ = decode(data)
        if version == 1:
            return self._new_top(list(graph.loads(body)), oid, serial), serial, True
        self._load_record(oid)
        self._top_cluster = self._heap.clusters[oid]
        return self._top_cluster.nodes[0], self._last_transaction(), False

    def _new_top(self, top: list[Any], oid: bytes, serial: bytes) -> list[Any]:
        self._top_cluster = cluster = Cluster(oid)
        cluster.serial = serial
        cluster.nodes.append(top)
        cluster.raw = b"not stored"
        self._heap.clusters[oid] = cluster
        self._heap.home[id(top)] = cluster
        return top

    def _last_transaction(self) -> bytes:
        return bytes(self._db.storage.lastTransaction())

    def _find(self) -> bytes | None:
        names = self._jar.named()
        if _KEY not in names and names:
            raise NotAStore(self.name, "it is a ZODB database, but not one of pstore's")
        return names[_KEY][0] if names else None

    def _read(self, oid: bytes) -> Loaded:
        data, serial = self._jar.read(oid)
        version, body, references = decode(data)
        if version != RECORD_FORMAT:
            raise ValueError(f"a record of format {version} is among those of format {RECORD_FORMAT}")
        return body, references, bytes(serial)

    def _load_record(self, oid: bytes, persistent: Any = None) -> None:
        new, unclear = self._loader.load(oid, persistent)
        heap = self._heap
        survey = Survey(heap, itertools.count().__next__, self._adopt)
        self._adopted = []
        survey.run(unclear)
        if survey.grew:  # what was loaded is not quite as it was stored: the next commit will find out
            self._take_back(survey)
            heap.incomplete = True
            for cluster in unclear:
                cluster.watch.opaque = True
        else:
            survey.finish()
            self._note_digests(survey, unclear)
        heap.settle([*new, *survey.layouts])

    def _note_digests(self, survey: Survey, clusters: list[Cluster]) -> None:
        """Of what has to be stored to see whether it has changed, find out how it is stored now."""
        writer = Writer(survey, self._reference(survey))
        for cluster in clusters:
            if cluster.watch.opaque:
                body, references = writer.write(cluster.nodes, survey.layouts[cluster])
                cluster.digest = hash((body, *references))

    def _activate(self, obj: Any) -> None:
        """A Persistent object is used for the first time."""
        oid = bytes(obj._p_oid)
        self._heap.clusters.pop(oid, None)
        self._load_record(oid, obj)
        obj._p_serial = self._heap.clusters[oid].serial

    def _unreadable(self, error: Exception) -> StoreError:
        """What to raise when ZODB could not read: damaged bytes can make its unpickler raise anything."""
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, OSError | StorageError):  # of the disk or the server, not of the bytes
            return StoreError(self.name, f"it cannot be read ({text})")
        return StoreCorrupt(self.name, f"its record cannot be read ({text})")


def _as_seen(path: str) -> str:
    """Turn a path from the pair that is stored into one from what users know."""
    for stored, seen in (("root[1]", "root"), ("root[0]['loop'].", ""), ("root[0]", "parts")):
        if path.startswith(stored):
            return seen + path[len(stored) :]
    return path


def _name_of(uri_or_storage: Any) -> str:
    if isinstance(uri_or_storage, str | os.PathLike):
        return os.fspath(uri_or_storage)
    return str(uri_or_storage.getName())
