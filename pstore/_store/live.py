"""A live graph that came from a database (layer 2).

Owns: :class:`Live`: loading what a database has, and which live objects that is; `keeper` keeps it in step with the
records.

Rules: a record whose checksum is wrong is never loaded; nothing here runs user code but the unpickling that was asked
for, and the ``__getstate__`` and ``__reduce__`` methods of what is stored (I2); a database is loaded whole, with new
objects, or an error is raised.
"""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from typing import Any

from persistent import Persistent
from ZODB.POSException import POSKeyError, ReadConflictError, StorageError

from pstore._frames import Parts
from pstore._frames.gates import is_shared
from pstore._frames.policy import Policy
from pstore._store import checked, graph
from pstore._store.body import Writer, digest_of
from pstore._store.capsulebody import read_state
from pstore._store.capsules import Capsule, Capsules
from pstore._store.closing import let_go
from pstore._store.clusters import Cluster
from pstore._store.endings import NoCollection
from pstore._store.heap import Heap
from pstore._store.loading import Loader
from pstore._store.loading import Record as Loaded
from pstore._store.lost import is_lost, text_of
from pstore._store.records import CAPSULE_FORMATS, RECORD_FORMAT, Jar, decode
from pstore._store.shelf import Shelf
from pstore._store.survey import Survey
from pstore._store.unloaded import Unloaded
from pstore.errors import (
    NoSuchState,
    NotAStore,
    PstoreError,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
    UnsupportedValue,
)

__all__ = ["ROOT_NAME", "SHELF_NAME", "Live", "unreadable"]

ROOT_NAME = "pstore"
"""Under which the root of the database names the record of the top."""
SHELF_NAME = "pstore.shelf"
"""The same of the root of the shelf."""
_CODES = "codes"
_OWNER = "loop"
_ZERO = bytes(8)


class Live:
    """See the module.  Making one loads it.

    Args:
        name: of the store, for errors.
        jar: the connection.
        policy: what may be loaded.
        past: the transaction as of which the database is seen; None: the last.
        read_only: nothing will be committed.

    Attributes:
        heap, capsules: the live objects; unloaded: what is not loaded leads to.
        top: the list of parts and root; top_cluster: where it is.
        shelf: the trees beside the graph.
        replaces: the record of the top is one of format 1.
        tid: the last transaction that changed the graph.

    Raises:
        StoreError, PstoreError: see `Store`.
    """

    top: list[Any]
    tid: bytes

    def __init__(self, name: str, jar: Jar, policy: Policy | None, *, past: bytes | None, read_only: bool) -> None:
        self.name, self._jar, self._policy, self._past, self._read_only = name, jar, policy, past, read_only
        self.heap = heap = Heap()
        new_oid = _no_oid if read_only else jar.new_oid
        self.capsules = Capsules(heap, new_oid, self._codes, self._activate_head, self._owner_of_heads)
        heap.meet, heap.led_by_capsules = self.capsules.meet, self.capsules.leads_to
        self.unloaded = self._new_unloaded(heap)
        self._parts = Parts()
        self._loader = Loader(heap, self._read, self._ghost, self._unpickler(), self._parts, self._guard())
        self._adopted: list[Any] = []
        self.top_cluster: Cluster
        self.replaces = self._is_over = False
        try:
            jar.refresh()
            names = self._find()
            self.shelf = Shelf(name, jar, names.get(SHELF_NAME))
            self.top = self._load_top(names.get(ROOT_NAME))
        except (PstoreError, MemoryError):
            raise
        except Exception as error:
            raise unreadable(name, error) from error
        jar.activate = self.activate

    def let_go(self) -> None:
        """Nothing of the graph is to end as if the program had dropped it: it is not used any more.

        Heads that something leads to are loaded first, as whoever holds one may go on to look at it.
        """
        if not self._read_only:
            self.capsules.load_all()
        self.heap.dropped += self.capsules.no_longer_kept()
        let_go(self.top, self.heap)
        self._is_over = True
        self._parts.clear()
        self.heap.clear()  # what the program holds by itself, it holds alone from now on

    def with_capsules(self) -> Capsules:
        """The capsules; from now on there may be some."""
        self._codes()  # in its place before the first commit that needs it
        return self.capsules

    def _code_of(self, number: int) -> Any:
        return self._codes()[number]

    def _owner_of_heads(self) -> Any:
        return self.top[0].get(_OWNER)

    def _codes(self) -> list[Any]:
        codes: list[Any] = self.top[0].setdefault(_CODES, [])
        return codes

    # ------------------------------------------------------------ surveys

    def new_survey(self) -> Survey:
        self._adopted = []
        return Survey(self.heap, self._jar.new_oid, self._adopt)

    def take_back(self, survey: Survey) -> None:
        survey.undo()
        for obj in self._adopted:
            self._jar.disown(obj)

    def _adopt(self, obj: Any) -> bytes:
        if obj._p_jar is None:
            self._adopted.append(obj)
            return self._jar.adopt(obj)
        if obj._p_jar is not self._jar:
            raise UnsupportedValue(type(obj).__qualname__, "it is in another database", "store a copy of it")
        return bytes(obj._p_oid)

    def reference(self, survey: Survey) -> Callable[[Any], tuple[bytes, Any]]:
        home = self.heap.home

        def reference(obj: Any) -> tuple[bytes, Any]:
            if isinstance(obj, Persistent):
                return bytes(obj._p_oid), type(obj)
            cluster = home.get(id(obj))
            if cluster is None:
                return self.capsules.meet(obj), type(obj)
            return cluster.oid, survey.numbers(cluster)[id(obj)]

        return reference

    def note_digests(self, survey: Survey) -> None:
        """Find out how clusters are stored now, where that is how it is seen whether they have changed.

        And where it is only so in this process: to others, they may be the same in another order.
        """
        writer = Writer(survey, self.reference(survey))
        for cluster, layout in survey.layouts.items():
            if layout.watch.opaque or layout.shuffled:
                body, references = writer.write(cluster.nodes, layout)
                cluster.digest = digest_of(body, references)

    # ------------------------------------------------------------ loading

    def _load_top(self, oid: bytes | None) -> list[Any]:
        if oid is None:
            self.tid, self.replaces = _ZERO, False
            return self._new_top([{}, {}], _ZERO if self._read_only else self._jar.new_oid(), _ZERO)
        data, serial = self._jar.read(oid)
        version, body, _ = decode(data)
        self.replaces = version == 1
        if self.replaces:
            self.tid = serial
            return self._new_top(list(graph.loads_under(self._policy, body)), oid, serial)
        self._load_record(oid)
        self.top_cluster = self.heap.clusters[oid]
        self.tid = self._jar.last_transaction() if self._past is None else self._past
        top: list[Any] = self.top_cluster.nodes[0]
        return top

    def _new_top(self, top: list[Any], oid: bytes, serial: bytes) -> list[Any]:
        self.top_cluster = cluster = Cluster(oid)
        cluster.serial = serial
        cluster.nodes.append(top)
        self.heap.clusters[oid] = cluster
        self.heap.home[id(top)] = cluster
        return top

    def _find(self) -> dict[str, bytes]:
        names = {name: oid for name, (oid, _) in self._jar.named().items()}
        if ROOT_NAME not in names and names:
            raise NotAStore(self.name, "it is a ZODB database, but not one of pstore's")
        return names

    def _load_record(self, oid: bytes, persistent: Any = None) -> None:
        with NoCollection():
            self._enter(*self._loader.load(oid, persistent))

    def _enter(self, new: list[Cluster], unclear: list[Cluster]) -> None:
        """Find out what to watch of clusters that were loaded."""
        heap = self.heap
        self.unloaded.came({cluster.oid: len(cluster.nodes) for cluster in new})
        had_heads, new, unclear = heap.take_heads_out(new, unclear)
        survey = Survey(heap, _no_oid, self._adopt)
        self._adopted = []
        survey.run(unclear)
        if survey.grew or had_heads:  # what was loaded is not quite as it was stored: the next commit will find out
            self.take_back(survey)
            heap.leave_unclear(new if had_heads else unclear)
        else:
            self.note_digests(survey)
            survey.finish()
        heap.settle([*new, *survey.layouts])
        survey.clear()

    def _read(self, oid: bytes, wanted: tuple[int, ...] = (RECORD_FORMAT,)) -> Loaded:
        try:
            data, serial = self._jar.read(oid)
        except (POSKeyError, ReadConflictError) as error:
            number = int.from_bytes(oid, "big")
            if self._past is not None:
                raise NoSuchState(self.name, f"object {number:,} of then was packed away meanwhile") from error
            raise StoreCorrupt(self.name, f"the record of object {number:,} is missing") from error
        except (OSError, StorageError) as error:  # else what is being loaded would be said to be at fault
            raise unreadable(self.name, error) from error
        version, body, references = decode(data)
        if version not in wanted:
            raise ValueError(f"a record of format {version} is where one of format {wanted[-1]} should be")
        return body, references, bytes(serial)

    def _new_unloaded(self, heap: Heap) -> Unloaded:
        capsules, jar = self.capsules, self._jar
        unloaded = Unloaded(
            lambda oid: decode(jar.read(oid)[0])[2],
            lambda oid: oid in heap.clusters or capsules.is_loaded(oid),
            lambda oid: capsules.find(oid) is not None or jar.has(oid),
        )
        heap.pinned = unloaded.lead_to
        return unloaded

    def _unpickler(self) -> Callable[..., Any]:
        policy = self._policy
        return pickle.Unpickler if policy is None else lambda file, buffers: checked.unpickler(file, policy, buffers)

    def _guard(self) -> Callable[[Any], bool] | None:
        return is_shared if self._policy is not None and self._policy.restricted else None

    # ------------------------------------------------------------ what is loaded when it is used

    def _ghost(self, oid: bytes, cls: type) -> Any:
        """The head, or the Persistent object, of that id; loaded or not."""
        self.unloaded.met(oid)
        if getattr(cls, "__pstore_capsule__", False):
            return self.capsules.ghost(oid, cls)
        return self._jar.ghost(oid, cls)

    def _activate_head(self, head: Any, capsule: Capsule) -> None:
        """A head is used for the first time."""
        if self._is_over:
            raise StoreError(self.name, "the task was not loaded when the store was closed, or went back")
        try:
            body, references, serial = self._read(capsule.oid, CAPSULE_FORMATS)
            owner, made = self._owner_of_heads(), dict[int, Any]()
            state, places = read_state(
                body,
                references,
                head,
                owner,
                self._code_of,
                self._object_at,
                self._unpickler(),
                self._parts,
                made,
            )
        except PstoreError:
            raise
        except Exception as error:
            raise unreadable(self.name, error) from error
        capsule.serial, capsule.digest, capsule.places = serial, digest_of(body, references), places
        head.__set_capsule_state__(state, owner, made)
        self.capsules.touch(head)

    def _object_at(self, oid: bytes, entry: int | type) -> Any:
        """The node of a number, or the object of a class, that a record has; the cluster if it is a node."""
        if isinstance(entry, type):
            return self._ghost(oid, entry)
        if oid not in self.heap.clusters:
            self._load_record(oid)
        return self.heap.clusters[oid]

    def activate(self, obj: Any) -> None:
        """A Persistent object is used for the first time."""
        oid = bytes(obj._p_oid)
        known = self.heap.clusters.get(oid)
        if known is not None:
            self.heap.drop(list(known.living()))
        self._load_record(oid, obj)
        obj._p_serial = self.heap.clusters[oid].serial


def unreadable(name: str, error: Exception) -> StoreError:
    """What to raise when ZODB could not read: damaged bytes can make its unpickler raise anything."""
    text = f"{type(error).__name__}: {error}"
    if is_lost(error):
        return StoreUnavailable(name, text_of(error))
    if isinstance(error, OSError | StorageError):  # of the disk or the server, not of the bytes
        return StoreError(name, f"it cannot be read ({text})")
    return StoreCorrupt(name, f"its record cannot be read ({text})")


_numbers = itertools.count(1 << 63)


def _no_oid() -> bytes:
    """An object id for a cluster that is not to stay."""
    return next(_numbers).to_bytes(8)
