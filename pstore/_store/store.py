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

import gc
import itertools
import os
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, TypeVar

from persistent import Persistent
from transaction import TransactionManager
from ZODB.POSException import ConflictError, ReadOnlyError, StorageError

from pstore._frames import abandon
from pstore._frames.gates import is_shared
from pstore._frames.policy import Policy, policy_of
from pstore._store import checked, graph, history, module_state
from pstore._store.body import Writer
from pstore._store.checked import class_factory
from pstore._store.clusters import Cluster, Heap
from pstore._store.history import Transaction
from pstore._store.loading import Loader
from pstore._store.loading import Record as Loaded
from pstore._store.records import RECORD_FORMAT, Database, Jar, Record, decode, encode
from pstore._store.storages import open_storage, shown
from pstore._store.survey import Survey
from pstore.errors import (
    ModuleStateError,
    ModuleStateWarning,
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
    UnknownRoot,
    UnsupportedValue,
)

__all__ = ["RECORD_FORMAT", "Record", "Store"]

T = TypeVar("T")

current: ContextVar[Store | None] = ContextVar("pstore_store", default=None)
"""The store of the innermost ``with`` block; what `pstore.attach` and `pstore.persist` act on."""

_KEY = "pstore"
_ATTACHED = "attached"
_ZERO = bytes(8)
_SUSPECTS = 1000


class Store:
    """An object graph that outlives the process.  For one thread at a time.

    Args:
        uri_or_storage: what `storages.open_storage` takes: a path, ``memory:``, ``sqlite:``, ``postgresql:``,
            ``mysql:``, ``zeo:``, or an open ZODB storage.  A storage that is handed over is closed with the store.
        read_only: take no lock and refuse to persist.
        durability: ``"full"``: what `persist` has returned from outlives a power cut; ``"os"``: it outlives the
            process, but is left to the operating system to write.
        allow: modules (``shop``, ``shop.*``) whose classes and functions the store may name; None: any.  Loading runs
            what a store names: without a list, open only what you trust.
        renames: old name -> new name of modules, classes and functions that were moved or renamed since.
        strict_globals: refuse to persist frames whose code keeps data in module globals, where it would be lost;
            otherwise that is a ModuleStateWarning.

    Attributes:
        name: the path or URI, without passwords.
        root: the named objects, a dict.  Whatever is reachable from it is stored by `persist`.
        parts: the same for the layers above; not for users.

    Raises: see `open_storage`; also StoreCorrupt, NotAllowed, and RebuildError when what is stored cannot be brought
        back.
    """

    root: dict[str, Any]
    parts: dict[str, Any]

    def __init__(
        self,
        uri_or_storage: str | os.PathLike[str] | Any,
        *,
        read_only: bool = False,
        durability: str = "full",
        allow: Iterable[str] | None = None,
        renames: Mapping[str, str] | None = None,
        strict_globals: bool = False,
    ) -> None:
        policy = policy_of(allow, renames)
        storage = open_storage(uri_or_storage, read_only=read_only, durability=durability)
        self.name = _name_of(uri_or_storage)
        try:
            db = Database(storage, large_record_size=sys.maxsize, class_factory=class_factory(policy))
        except BaseException as error:
            storage.close()
            if isinstance(error, ReadOnlyError):  # ZODB wants to write its root: there has never been a commit
                raise NotAStore(self.name, "it is empty") from error
            if isinstance(error, PstoreError | MemoryError) or not isinstance(error, Exception):
                raise
            raise self._unreadable(error) from error
        self._begin(db, policy, None, read_only=read_only, strict_globals=strict_globals)

    def _begin(
        self, db: Database, policy: Policy | None, past: bytes | None, *, read_only: bool, strict_globals: bool = False
    ) -> None:
        """Load what is in the database, as it is or as it was."""
        self._db, self._policy, self._past = db, policy, past
        self._read_only, self._strict_globals = read_only, strict_globals
        self._closed = self._failed = False
        self._adopted: list[Any] = []
        self._tokens: list[Token[Any]] = []
        self.root, self.parts = {}, {}
        try:
            self._jar: Jar = db.open(TransactionManager(explicit=True), at=past)
        except BaseException:
            self._closed = True
            if past is None:
                db.close()
            raise
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

    # ------------------------------------------------------------ roots

    def attach(self, obj: T, name: str | None = None) -> T:
        """Make an object a root: it, and all that it leads to, is stored from the next `persist` on.

        Args:
            obj: the object; attached twice, it is a root once.
            name: the name to `resolve` it by; without one it is resolved by its type.

        Returns:
            The object.
        """
        self._check_open()
        if name is not None:
            self.root[name] = obj
        elif not any(obj is known for known in self._attached()):
            self.parts.setdefault(_ATTACHED, []).append(obj)
        return obj

    def detach(self, what: Any) -> None:
        """Take back `attach`: of a name, or of an object under all its names.

        What nothing else leads to is gone with the next `persist`.

        Raises:
            UnknownRoot: it is no root.
        """
        self._check_open()
        if isinstance(what, str) and what in self.root:
            del self.root[what]
            return
        names = [name for name, obj in self.root.items() if obj is what]
        attached = self._attached()
        kept = [obj for obj in attached if obj is not what]
        if not names and len(kept) == len(attached):
            raise UnknownRoot(repr(what) if isinstance(what, str) else f"a {type(what).__qualname__}", tuple(self.root))
        for name in names:
            del self.root[name]
        attached[:] = kept

    def resolve(self, what: str | type[T]) -> Any:
        """Give the root of a name, or the only root that is an instance of a type.

        Raises:
            UnknownRoot: there is none, or there are several of that type.
        """
        self._check_open()
        if isinstance(what, str):
            if what not in self.root:
                raise UnknownRoot(repr(what), tuple(self.root))
            return self.root[what]
        unique = {id(obj): obj for obj in (*self._attached(), *self.root.values()) if isinstance(obj, what)}
        if len(unique) != 1:
            count = "several roots" if unique else "no root"
            raise UnknownRoot(f"{count} of type {what.__qualname__}", tuple(self.root))
        return next(iter(unique.values()))

    def _attached(self) -> list[Any]:
        found: list[Any] = self.parts.get(_ATTACHED, [])
        return found

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
        with _no_collection():
            return self._persist(note)

    def _persist(self, note: str | None) -> bytes:
        heap = self._heap
        changed = heap.changed()
        changed += self._registered(changed)
        if self._top_cluster.digest is None and not self._top_cluster.held:
            changed.append(self._top_cluster)  # never stored, or stored in format 1
        if not changed:
            return self._tid
        survey = Survey(heap, self._jar.new_oid, self._adopt)
        self._adopted = []
        try:
            survey.run(changed)
            for layout in survey.layouts.values():
                module_state.watch(layout.watch.frames, strict=self._strict_globals)
            bodies = self._bodies(survey)
        except (ModuleStateError, ModuleStateWarning):
            self._take_back(survey)
            raise
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
        self._note_digests(survey)
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
            self._jar.activate = None
            self._jar.close()
            if self._past is None:
                self._db.close()

    def __enter__(self) -> Store:
        self._tokens.append(current.set(self))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        current.reset(self._tokens.pop())
        self.close()

    # ------------------------------------------------------------ the past

    def history(self, limit: int | None = None) -> list[Transaction]:
        """Give the transactions that there is a state of, the newest first; at most `limit`.

        Raises:
            NoHistory: the storage keeps only the present.
        """
        self._check_open()
        return history.transactions(self._db, limit)

    def at(self, when: bytes | datetime) -> Store:
        """Give the store as it was: read-only, with objects of its own, frames of then included.

        Close it when done; it is closed with this one in any case.

        Args:
            when: a transaction id, or a time with a time zone: the last transaction until then.

        Raises:
            NoHistory: the storage keeps only the present.
            NoSuchState: there is no such state, or it was packed away.
        """
        self._check_open()
        tid = history.tid_of(self._db, when)
        past = Store.__new__(Store)
        past.name = f"{self.name} at {tid.hex()}"
        past._begin(self._db, self._policy, tid, read_only=True)
        return past

    def pack(self, keep: datetime | timedelta | bytes | None = None) -> None:
        """Give back the space of what is no longer reachable, and of the past.

        Args:
            keep: how much of the past to keep: since a time or transaction, or within a span before now.  None: only
                the present.

        Raises:
            StoreReadOnly.  NoHistory, NoSuchState, StoreError: see `history.pack`.
        """
        self._check_open()
        if self._read_only:
            raise StoreReadOnly(self.name)
        history.pack(self._db, keep)

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
        loader = Loader(heap, self._read, self._jar.ghost, self._unpickler(), self._guard())
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

    def _unpickler(self) -> Callable[..., Any]:
        policy = self._policy
        return pickle.Unpickler if policy is None else lambda file, buffers: checked.unpickler(file, policy, buffers)

    def _guard(self) -> Callable[[Any], bool] | None:
        return is_shared if self._policy is not None and self._policy.restricted else None

    def _load_top(self, oid: bytes | None) -> tuple[list[Any], bytes, bool]:
        """The list of parts and root, the last transaction, and whether a record of format 1 is to be replaced."""
        if oid is None:
            unused = _ZERO if self._read_only else self._jar.new_oid()
            return self._new_top([{}, {}], unused, _ZERO), _ZERO, False
        data, serial = self._jar.read(oid)
        version, body, _ = decode(data)
        if version == 1:
            return self._new_top(list(graph.loads_under(self._policy, body)), oid, serial), serial, True
        self._load_record(oid)
        self._top_cluster = self._heap.clusters[oid]
        return self._top_cluster.nodes[0], self._last_transaction(), False

    def _new_top(self, top: list[Any], oid: bytes, serial: bytes) -> list[Any]:
        self._top_cluster = cluster = Cluster(oid)
        cluster.serial = serial
        cluster.nodes.append(top)
        self._heap.clusters[oid] = cluster
        self._heap.home[id(top)] = cluster
        return top

    def _last_transaction(self) -> bytes:
        if self._past is not None:
            return self._past
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
        with _no_collection():
            self._enter(*self._loader.load(oid, persistent))

    def _enter(self, new: list[Cluster], unclear: list[Cluster]) -> None:
        """Find out what to watch of clusters that were loaded."""
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
            self._note_digests(survey)
            survey.finish()
        heap.settle([*new, *survey.layouts])

    def _note_digests(self, survey: Survey) -> None:
        """Of what has to be stored to see whether it has changed, find out how it is stored now."""
        writer = Writer(survey, self._reference(survey))
        for cluster, layout in survey.layouts.items():
            if layout.watch.opaque:
                body, references = writer.write(cluster.nodes, layout)
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


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from looking at all that there is while many objects are made, none of them garbage."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _as_seen(path: str) -> str:
    """Turn a path from the pair that is stored into one from what users know."""
    for stored, seen in (("root[1]", "root"), ("root[0]['loop'].", ""), ("root[0]", "parts")):
        if path.startswith(stored):
            return seen + path[len(stored) :]
    return path


def _name_of(uri_or_storage: Any) -> str:
    if isinstance(uri_or_storage, str | os.PathLike):
        return shown(os.fspath(uri_or_storage))
    return str(uri_or_storage.getName())
