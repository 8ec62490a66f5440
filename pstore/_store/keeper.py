"""Keeping a live graph and its records in step (layer 2).

Owns: :class:`Keeper`: loading what a database has, and the course of a commit:

    look what has changed -> survey -> write bodies -> two-phase commit -> take what is now for what is stored

Rules: until the database has said that a commit is done, the heap is as it was (an error takes back what the survey did
to it); a record whose checksum is wrong is never loaded; nothing here runs user code but the unpickling that was asked
for, and the ``__getstate__`` and ``__reduce__`` methods of what is stored (I2).
"""

from __future__ import annotations

import gc
import itertools
import pickle
from collections.abc import Callable, Collection, Container, Iterable
from typing import Any, Protocol

from persistent import Persistent
from ZODB.POSException import ConflictError, POSKeyError, ReadConflictError, StorageError

from pstore._frames.gates import is_shared
from pstore._frames.policy import Policy
from pstore._store import checked, graph, module_state
from pstore._store.body import Writer, digest_of
from pstore._store.closing import let_go
from pstore._store.clusters import Cluster
from pstore._store.heap import Heap
from pstore._store.layout import Layout
from pstore._store.loading import Loader
from pstore._store.loading import Record as Loaded
from pstore._store.lost import is_lost, text_of
from pstore._store.records import RECORD_FORMAT, Jar, Record, decode, encode
from pstore._store.survey import Survey
from pstore._store.unloaded import Unloaded
from pstore.errors import (
    ModuleStateError,
    ModuleStateWarning,
    NoSuchState,
    NotAStore,
    PstoreBug,
    PstoreError,
    StoreConflict,
    StoreCorrupt,
    StoreError,
    StoreInDoubt,
    StoreNotWritten,
    StoreUnavailable,
    UnsupportedValue,
)

__all__ = ["Keeper", "Mortals", "unreadable"]

_KEY = "pstore"
_ZERO = bytes(8)
_SUSPECTS = 1000
_Written = dict[Cluster, tuple[Layout, bytes, list[bytes]]]


class Mortals(Protocol):
    """Objects whose end is a change of the graph, such as async generators: they are closed by a task.

    They would end after the commit that has let go of them, and the change would be in the next one: who is killed in
    between would have lost both.  So they are found before it.
    """

    def __len__(self) -> int:
        """How many there are."""

    def __contains__(self, obj: Any) -> bool:
        """Whether an object is one."""

    def save(self, objs: list[Any]) -> None:
        """Make what their end would change; it is called in `persist`, before anything is written."""


class Keeper:
    """See the module.

    Args:
        name: of the store, for errors.
        jar: the connection.
        policy: what may be loaded.
        strict_globals: see `Store`.
        past: the transaction as of which the database is seen; None: the last.
        read_only: nothing will be committed.

    Attributes:
        top: the list of parts and root.
        tid: the last transaction that changed the graph.
        failed: a commit failed in a way that leaves it open what is stored.
        mortals: see `Mortals`; None: there are none.
    """

    top: list[Any]
    tid: bytes

    def __init__(
        self,
        name: str,
        jar: Jar,
        policy: Policy | None,
        *,
        strict_globals: bool,
        past: bytes | None,
        read_only: bool,
    ) -> None:
        self.name, self._jar, self._policy, self._past = name, jar, policy, past
        self._strict_globals, self._read_only = strict_globals, read_only
        self.failed = self._busy = False
        self.mortals: Mortals | None = None
        self._adopted: list[Any] = []
        self._heap = Heap()
        self._replaces = False
        self._unloaded = self._new_unloaded(self._heap)
        self._loader = self._new_loader(self._heap)
        self._top_cluster: Cluster

    # ------------------------------------------------------------ committing

    def persist(self, note: str | None, *, thorough: bool = False) -> bytes:
        """Commit what has changed, if anything has; see `Store.persist`.  `thorough`: there is time to tidy up, too."""
        if self._busy:
            raise StoreError(
                self.name, "persist was called by what it is storing (a __getstate__ or __reduce__ method)"
            )
        self._busy = True
        try:
            with _NoCollection():
                return self._persist(note, thorough)
        finally:
            self._busy = False

    def _persist(self, note: str | None, thorough: bool) -> bytes:
        heap = self._heap
        changed = self._changed()
        if changed and self._save_what_ends(changed):
            changed = self._changed()
        if self._top_cluster.digest is None and not self._top_cluster.held:
            changed.append(self._top_cluster)  # never stored, or stored in format 1
        if not changed:
            return self.tid
        survey = self._new_survey()
        try:
            survey.run(changed)
            for layout in survey.layouts.values():
                module_state.watch(layout.watch.frames, strict=self._strict_globals)
            written: _Written = {}
            bodies = self._bodies(survey, written)
            if bodies and heap.shrunk:
                # a node that has gone still stands in these records, and may lead to what is written away now
                survey.run([cluster for cluster in heap.shrunk if cluster not in survey.layouts])
                bodies = self._bodies(survey, written, set(heap.shrunk))
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
        self._settle(survey)
        if heap.suspects > _SUSPECTS + len(heap.home) or (thorough and heap.suspects and len(heap.home) < _SUSPECTS):
            self._collect()
        return self.tid

    def _changed(self) -> list[Cluster]:
        """The clusters that have changed, as far as that is seen without storing them."""
        changed = self._heap.changed()
        return changed + self._registered(changed)

    def _new_survey(self) -> Survey:
        self._adopted = []
        return Survey(self._heap, self._jar.new_oid, self._adopt)

    def _save_what_ends(self, changed: list[Cluster]) -> bool:
        """Ask for what must not end with a commit that does not have it any more; tells whether there was any."""
        if not self.mortals:
            return False
        ending = self._heap.ending(self.mortals.__contains__, changed)
        if ending:
            self.mortals.save(ending)
        return bool(ending)

    def compact(self) -> None:
        """Write all records again that have objects in them which have gone, unless there are other changes."""
        if not self._busy:
            with _NoCollection():
                self._compact()

    def _compact(self) -> None:
        shrunk = list(self._heap.shrunk)
        if not shrunk or self._is_changed():
            return
        survey = self._new_survey()
        try:
            survey.run(shrunk)
            bodies = self._bodies(survey, {}, set(shrunk))
        except BaseException:
            self._take_back(survey)
            raise
        if bodies:
            self._commit(survey, bodies, "compact")
        self._sweep(self._finish(survey, survey.layouts))

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

    def _bodies(
        self, survey: Survey, written: _Written, forced: Container[Cluster] = ()
    ) -> list[tuple[Cluster, bytes, int]]:
        """What is to be written: cluster, data, digest; without what is stored just so, unless that is `forced`.

        `written` keeps what was laid out and written before, for a survey that has gone on since.
        """
        writer = Writer(survey, self._reference(survey))
        found = []
        for cluster, layout in survey.layouts.items():
            survey.at = cluster
            known = written.get(cluster)
            if known is None or known[0] is not layout:
                known = written[cluster] = (layout, *writer.write(cluster.nodes, layout))
            _, body, references = known
            digest = digest_of(body, references)
            if digest != cluster.digest or cluster in forced:
                node = cluster.nodes[0] if cluster.nodes else None
                cls = type(node) if isinstance(node, Persistent) else Record
                found.append((cluster, encode(body, references, cls), digest))
        return found

    def _commit(self, survey: Survey, bodies: list[tuple[Cluster, bytes, int]], note: str | None) -> None:
        records = [(cluster.oid, cluster.serial, data) for cluster, data, _ in bodies]
        if self._top_cluster.serial == _ZERO and not self._replaces:
            records.append(self._jar.name_root(_KEY, self._top_cluster.oid))
        try:
            self.tid = self._jar.write(records, note)
        except BaseException as error:
            self._take_back(survey)
            self.failed = self._jar.doubtful or isinstance(error, ConflictError)
            raise self._not_committed(error) from error
        for cluster, _, digest in bodies:
            cluster.serial, cluster.digest = self.tid, digest
            self._heap.shrunk.pop(cluster, None)
            if cluster.nodes and isinstance(cluster.nodes[0], Persistent):
                self._jar.stored(cluster.nodes[0], self.tid)
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

    def _settle(self, survey: Survey) -> None:
        """What is now, is what is stored."""
        del self._jar.registered[:]
        self._heap.all_looked_at()
        self._heap.incomplete = False
        self._sweep(self._finish(survey, survey.layouts))

    def _finish(self, survey: Survey, clusters: Collection[Cluster]) -> list[Any]:
        """Take the clusters for stored as they were surveyed; give the nodes that may have been let go of.

        What ends with this, ends last: it may run code of the program (``__del__``, ``finally``), and what that changes
        is not stored.
        """
        survey.finish()
        lost = self._heap.settle(clusters)
        survey.clear()
        return lost

    def collect(self) -> int:
        """Let go of what was stored and can no longer be reached, in cycles, too; gives how many objects.

        Nothing is done while there are changes that were not committed: what they lead to is not known.
        """
        with _NoCollection():
            return 0 if self._is_changed() else self._collect()

    def _is_changed(self) -> bool:
        changed = self._heap.changed()
        if self._jar.registered or not changed:
            return bool(self._jar.registered)
        survey = self._new_survey()
        try:
            survey.run(changed)
            return bool(self._bodies(survey, {}))
        except Exception:
            return True
        finally:
            self._take_back(survey)

    def _collect(self) -> int:
        if self._heap.incomplete:
            return 0
        nodes = self._heap.unreachable(self.top)
        count = len(nodes)
        self._sweep(self._let_go(nodes))
        return count

    def _sweep(self, lost: list[Any]) -> None:
        while lost:
            ended = self._heap.ended(lost)
            if ended:
                lost += self._heap.led_to(ended)
                lost += self._let_go(ended)

    def _let_go(self, nodes: list[Any]) -> list[Any]:
        """Forget nodes, emptying the list of them; give those that may be next.

        They end last, when what is stored is settled without them.  What has ended before, and changed what stands in
        the same records, must not be settled: the next commit writes that.
        """
        clusters = {self._heap.home[id(node)] for node in nodes}
        changed = self._changed_of(clusters)
        stale = self._heap.drop(nodes)
        lost = self._look_again([cluster for cluster in stale if cluster not in changed])
        lost += self._leave_open([cluster for cluster in stale if cluster in changed])
        nodes.clear()
        return lost

    def _changed_of(self, clusters: Iterable[Cluster]) -> set[Cluster]:
        """Those clusters that are not as they were settled."""
        changed = {cluster for cluster in clusters if cluster.changed()}
        opaque = [cluster for cluster in clusters if cluster.watch.opaque and cluster not in changed]
        if not opaque:
            return changed
        survey = self._new_survey()
        try:
            survey.run(opaque)
            changed.update(opaque if survey.grew else (cluster for cluster, *_ in self._bodies(survey, {})))
        except Exception:  # of the program's own methods: the next commit will tell
            changed.update(opaque)
        finally:
            self._take_back(survey)
        return changed

    def _look_again(self, clusters: list[Cluster]) -> list[Any]:
        """Nodes of these clusters have gone: find out what to watch now.  Nothing is written for that."""
        survey = self._new_survey()
        survey.run(clusters)
        if survey.grew or len(survey.layouts) > len(clusters):
            # of a reduce value that is new each time, or what is dying; or others are stored in another way now
            survey.undo()
            return self._leave_open(clusters)
        self._note_digests(survey)
        return self._finish(survey, clusters)

    def _leave_open(self, clusters: list[Cluster]) -> list[Any]:
        """What is stored of these clusters is not what is there now: the next commit will look, and write."""
        for cluster in clusters:
            cluster.watch.opaque, cluster.digest = True, None
            self._heap.incomplete = True
        return self._heap.settle(clusters)

    def _take_back(self, survey: Survey) -> None:
        survey.undo()
        for obj in self._adopted:
            self._jar.disown(obj)

    def _refusal(self, error: Exception) -> Exception:
        """The error with the path from the root to what cannot be stored."""
        try:
            graph.dumps(tuple(self.top))
        except UnsupportedValue as found:
            refused = type(found)(found.type_name, found.reason, found.remedy, _as_seen(found.path))
            refused.__cause__ = found.__cause__
            return refused
        except Exception as other:
            return other
        if isinstance(error, PstoreError):
            return error
        return PstoreBug(f"the graph cannot be cut into records: {type(error).__name__}: {error}")

    # ------------------------------------------------------------ loading

    def load(self) -> None:
        """Load what is stored, in new objects; those before are let go of.  An error changes nothing."""
        before = self._heap, self._loader, self._unloaded
        self._heap = Heap()
        self._unloaded = self._new_unloaded(self._heap)
        self._loader = self._new_loader(self._heap)
        try:
            self._jar.refresh()
            top = self._load_top(self._find())
        except BaseException as error:
            self._heap, self._loader, self._unloaded = before
            if isinstance(error, PstoreError | MemoryError) or not isinstance(error, Exception):
                raise
            raise unreadable(self.name, error) from error
        if hasattr(self, "top"):
            let_go(self.top, before[0])
        self.top = top
        self._jar.activate = self._activate

    def let_go(self) -> None:
        """The store is closed: nothing of the graph is to end as if the program had dropped it."""
        if hasattr(self, "top"):
            let_go(self.top, self._heap)

    def _new_unloaded(self, heap: Heap) -> Unloaded:
        unloaded = Unloaded(lambda oid: self._read(oid)[1], lambda oid: oid in heap.clusters)
        heap.pinned = unloaded.lead_to
        return unloaded

    def _new_loader(self, heap: Heap) -> Loader:
        return Loader(heap, self._read, self._ghost, self._unpickler(), self._guard())

    def _ghost(self, oid: bytes, cls: type) -> Any:
        self._unloaded.met(oid)
        return self._jar.ghost(oid, cls)

    def _unpickler(self) -> Callable[..., Any]:
        policy = self._policy
        return pickle.Unpickler if policy is None else lambda file, buffers: checked.unpickler(file, policy, buffers)

    def _guard(self) -> Callable[[Any], bool] | None:
        return is_shared if self._policy is not None and self._policy.restricted else None

    def _load_top(self, oid: bytes | None) -> list[Any]:
        if oid is None:
            self.tid, self._replaces = _ZERO, False
            return self._new_top([{}, {}], _ZERO if self._read_only else self._jar.new_oid(), _ZERO)
        data, serial = self._jar.read(oid)
        version, body, _ = decode(data)
        self._replaces = version == 1
        if self._replaces:
            self.tid = serial
            return self._new_top(list(graph.loads_under(self._policy, body)), oid, serial)
        self._load_record(oid)
        self._top_cluster = self._heap.clusters[oid]
        self.tid = self._jar.last_transaction() if self._past is None else self._past
        top: list[Any] = self._top_cluster.nodes[0]
        return top

    def _new_top(self, top: list[Any], oid: bytes, serial: bytes) -> list[Any]:
        self._top_cluster = cluster = Cluster(oid)
        cluster.serial = serial
        cluster.nodes.append(top)
        self._heap.clusters[oid] = cluster
        self._heap.home[id(top)] = cluster
        return top

    def _find(self) -> bytes | None:
        names = self._jar.named()
        if _KEY not in names and names:
            raise NotAStore(self.name, "it is a ZODB database, but not one of pstore's")
        return names[_KEY][0] if names else None

    def _read(self, oid: bytes) -> Loaded:
        try:
            data, serial = self._jar.read(oid)
        except (POSKeyError, ReadConflictError) as error:
            number = int.from_bytes(oid, "big")
            if self._past is not None:
                raise NoSuchState(self.name, f"object {number:,} of then was packed away meanwhile") from error
            raise StoreCorrupt(self.name, f"the record of object {number:,} is missing") from error
        version, body, references = decode(data)
        if version != RECORD_FORMAT:
            raise ValueError(f"a record of format {version} is among those of format {RECORD_FORMAT}")
        return body, references, bytes(serial)

    def _load_record(self, oid: bytes, persistent: Any = None) -> None:
        with _NoCollection():
            self._enter(*self._loader.load(oid, persistent))

    def _enter(self, new: list[Cluster], unclear: list[Cluster]) -> None:
        """Find out what to watch of clusters that were loaded."""
        heap = self._heap
        self._unloaded.came({cluster.oid: len(cluster.nodes) for cluster in new})
        survey = Survey(heap, _no_oid, self._adopt)
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
        survey.clear()

    def _note_digests(self, survey: Survey) -> None:
        """Find out how clusters are stored now, where that is how it is seen whether they have changed.

        And where it is only so in this process: to others, they may be the same in another order.
        """
        writer = Writer(survey, self._reference(survey))
        for cluster, layout in survey.layouts.items():
            if layout.watch.opaque or layout.shuffled:
                body, references = writer.write(cluster.nodes, layout)
                cluster.digest = digest_of(body, references)

    def _activate(self, obj: Any) -> None:
        """A Persistent object is used for the first time."""
        oid = bytes(obj._p_oid)
        known = self._heap.clusters.get(oid)
        if known is not None:
            self._heap.drop(list(known.living()))
        self._load_record(oid, obj)
        obj._p_serial = self._heap.clusters[oid].serial


def unreadable(name: str, error: Exception) -> StoreError:
    """What to raise when ZODB could not read: damaged bytes can make its unpickler raise anything."""
    text = f"{type(error).__name__}: {error}"
    if is_lost(error):
        return StoreUnavailable(name, text_of(error))
    if isinstance(error, OSError | StorageError):  # of the disk or the server, not of the bytes
        return StoreError(name, f"it cannot be read ({text})")
    return StoreCorrupt(name, f"its record cannot be read ({text})")


class _NoCollection:
    """Keep the garbage collector from looking at everything while many objects are made, none of them garbage.

    And from running code of the program, by letting something end, between a look at the graph and what is made of it.
    """

    __slots__ = ("_was_enabled",)

    def __enter__(self) -> None:
        self._was_enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_enabled:
            gc.enable()


def _as_seen(path: str) -> str:
    """Turn a path from the pair that is stored into one from what users know."""
    for stored, seen in (("root[1]", "root"), ("root[0]['loop'].", ""), ("root[0]", "parts")):
        if path.startswith(stored):
            path = seen + path[len(stored) :]
            break
    task, coroutine, rest = path.partition("]._coro")
    return f"task {task[len('tasks[') :]}{rest}" if coroutine and task.startswith("tasks[") else path


_numbers = itertools.count(1 << 63)


def _no_oid() -> bytes:
    """An object id for a cluster that is not to stay."""
    return next(_numbers).to_bytes(8)
