"""`Store`: an object graph that outlives the process.

Owns: what a store is to its users.  Behind it stands a `keeper`.

The graph is kept in many records, each with some dozens of objects (`clusters`); a commit looks which of them have
changed, cuts what is new into records (`survey`), and writes those that are not as stored (`body`, `records`).  Nobody
has to say what has changed.

`root` is the user's mapping.  `parts` is for the layers above: the engine keeps its loop there, in the same graph, so
that what tasks and root share stays shared (invariant I3).

Rule: a persist is all or nothing; a refused one leaves the last committed state as it was (I4), and the program can go
on.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Iterable, Mapping
from contextvars import ContextVar, Token
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, TypeVar

from transaction import TransactionManager
from ZODB.POSException import ReadOnlyError

from pstore._frames.policy import Policy, policy_of
from pstore._store import history
from pstore._store.capsules import Capsules
from pstore._store.checked import class_factory
from pstore._store.endings import Mortals
from pstore._store.history import Transaction
from pstore._store.keeper import Keeper
from pstore._store.live import unreadable
from pstore._store.lost import reaching
from pstore._store.records import RECORD_FORMAT, Database, Jar, Record
from pstore._store.shelf import Shelf
from pstore._store.storages import open_storage, shown
from pstore.errors import CaptureError, NotAStore, PstoreError, StoreClosed, StoreError, StoreReadOnly, UnknownRoot

__all__ = ["RECORD_FORMAT", "Record", "Store"]

T = TypeVar("T")

current: ContextVar[Store | None] = ContextVar("pstore_store", default=None)
"""The store of the innermost ``with`` block; what `pstore.attach` and `pstore.persist` act on."""

_ATTACHED = "attached"
_NOTE = 60_000  # bytes; FileStorage has room for 65,535, in all


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
        thorough: there is time after a commit to let go of what cannot be reached; the engine says so before it waits.

    Raises: see `open_storage`; also StoreCorrupt, NotAllowed, and RebuildError when what is stored cannot be brought
        back.
    """

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
            raise unreadable(self.name, error) from error
        self._begin(db, policy, None, read_only=read_only, strict_globals=strict_globals)

    def _begin(
        self, db: Database, policy: Policy | None, past: bytes | None, *, read_only: bool, strict_globals: bool = False
    ) -> None:
        """Load what is in the database, as it is or as it was."""
        self._db, self._policy, self._past = db, policy, past
        self._read_only = read_only
        self._closed = False
        self._tokens: list[Token[Any]] = []
        self.thorough = False
        self._pasts: weakref.WeakSet[Store] = weakref.WeakSet()
        self._top: list[Any] = [{}, {}]
        try:
            self._jar: Jar = db.open(TransactionManager(explicit=True), at=past)
        except BaseException:
            self._closed = True
            if past is None:
                db.close()
            raise
        try:
            self._keeper = Keeper(
                self.name, self._jar, policy, strict_globals=strict_globals, past=past, read_only=read_only
            )
            self._top = self._keeper.live.top
        except BaseException:
            self.close()
            raise

    @property
    def root(self) -> dict[str, Any]:
        """The named objects."""
        root: dict[str, Any] = self._top[1]
        return root

    @property
    def parts(self) -> dict[str, Any]:
        """What the layers above keep."""
        parts: dict[str, Any] = self._top[0]
        return parts

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def tid(self) -> bytes:
        """ID of the last transaction that changed the graph: 8 bytes, growing; 8 zero bytes before the first."""
        return self._keeper.live.tid

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

    def watch_ends(self, mortals: Mortals) -> None:
        """Have `persist` ask what must not end with it; for the layers above, see `endings.Mortals`."""
        self._keeper.mortals = mortals

    @property
    def capsules(self) -> Capsules:
        """The heads of the layers above, see `capsules`."""
        return self._keeper.live.with_capsules()

    @property
    def shelf(self) -> Shelf:
        """Trees beside the graph, for the layers above, see `shelf`."""
        return self._keeper.live.shelf

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
        if note is not None and len(note.encode()) > _NOTE:
            raise ValueError(f"a note has at most {_NOTE:,} bytes; what is longer belongs into the graph")
        return self._keeper.persist(note, thorough=self.thorough)

    def collect(self) -> int:
        """Let go of what was stored and can no longer be reached, in cycles, too; gives how many objects.

        The store does so by itself, from time to time: it costs a microsecond for each object that is loaded.  Nothing
        is done while there are changes that were not persisted.
        """
        self._check_open()
        return self._keeper.collect()

    # ------------------------------------------------------------ going back, closing

    def abort(self) -> None:
        """Forget what was done since the last persist: `root` becomes what is stored, in new objects."""
        self._check_open()
        self._jar.forget()
        self._load()

    def close(self) -> None:
        """Close the database.  What was not persisted is lost; nothing of it is run.  Calling it twice does no harm."""
        if not self._closed:
            for past in list(self._pasts):
                past.close()
            self._closed = True
            if hasattr(self, "_keeper"):
                self._keeper.let_go()
            self._jar.activate = None
            self._jar.close()
            if self._past is None:
                self._db.close()

    def __enter__(self) -> Store:
        self._tokens.append(current.set(self))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            current.reset(self._tokens.pop())
        except ValueError:
            pass  # the block was left in another context than it was entered in, where another store is current
        finally:
            self.close()

    # ------------------------------------------------------------ the past

    def history(self, limit: int | None = None) -> list[Transaction]:
        """Give the transactions that there is a state of, the newest first; at most `limit`.

        Raises:
            NoHistory: the storage keeps only the present.
            StoreUnavailable: the server cannot be reached.
        """
        self._check_open()
        with reaching(self._db.storage):
            return history.transactions(self._db, limit)

    def at(self, when: bytes | datetime) -> Store:
        """Give the store as it was: read-only, with objects of its own, frames of then included.

        Close it when done; it is closed with this one in any case.

        Args:
            when: a transaction id, or a time with a time zone: the last transaction until then.

        Raises:
            NoHistory: the storage keeps only the present.
            NoSuchState: there is no such state, or it was packed away.
            StoreUnavailable: the server cannot be reached.
        """
        self._check_open()
        with reaching(self._db.storage):
            tid = history.tid_of(self._db, when)
            past = Store.__new__(Store)
            past.name = f"{self.name} at {tid.hex()}"
            past._begin(self._db, self._policy, tid, read_only=True)
        self._pasts.add(past)
        return past

    def pack(self, keep: datetime | timedelta | bytes | None = None) -> None:
        """Give back the space of what is no longer reachable, and of the past.

        Args:
            keep: how much of the past to keep: since a time or transaction, or within a span before now.  None: only
                the present.

        Raises:
            StoreReadOnly.  NoHistory, NoSuchState, StoreError: see `history.pack`.
            StoreUnavailable: the server cannot be reached.
        """
        self._check_open()
        if self._read_only:
            raise StoreReadOnly(self.name)
        with reaching(self._db.storage):
            self._keeper.compact()
            history.pack(self._db, keep)

    def __reduce__(self) -> Any:
        raise CaptureError(
            "cannot store a Store: it belongs to the process; hand on what is in it (store.root['name'])"
        )

    def __repr__(self) -> str:
        return f"<pstore.Store {self.name}{' closed' if self.closed else ''}>"

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(self.name)
        if self._keeper.failed:
            raise StoreError(self.name, "an earlier commit failed half-way; close the store and open it again")

    def _load(self) -> None:
        self._keeper.reload()
        self._top = self._keeper.live.top


def _name_of(uri_or_storage: Any) -> str:
    if isinstance(uri_or_storage, str | os.PathLike):
        return shown(os.fspath(uri_or_storage))
    return str(uri_or_storage.getName())
