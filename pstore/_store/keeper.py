"""Keeping a live graph and its records in step (layer 2).

Owns: :class:`Keeper`: the course of a commit of what `live` has:

    look what has changed -> survey -> write bodies -> two-phase commit -> take what is now for what is stored

Rules: until the database has said that a commit is done, the heap is as it was (an error takes back what the survey did
to it); nothing here runs user code but the ``__getstate__`` and ``__reduce__`` methods of what is stored (I2).
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable
from typing import Any

from persistent import Persistent
from ZODB.POSException import ConflictError, StorageError

from pstore._frames.policy import Policy
from pstore._store import graph, module_state
from pstore._store.body import RowWriter, Writer, digest_of
from pstore._store.capsules import Capsule, Written
from pstore._store.clusters import Cluster
from pstore._store.endings import Mortals, NoCollection
from pstore._store.layout import Layout
from pstore._store.live import ROOT_NAME, SHELF_NAME, Live
from pstore._store.records import CAPSULE_FORMAT, Jar, Record, encode
from pstore._store.survey import Survey
from pstore.errors import (
    ModuleStateError,
    ModuleStateWarning,
    PstoreBug,
    PstoreError,
    StoreConflict,
    StoreError,
    StoreInDoubt,
    StoreNotWritten,
    UnsupportedValue,
)

__all__ = ["Keeper"]

_ZERO = bytes(8)
_SUSPECTS, _FEW = 1000, 250
_Written = dict[Cluster, tuple[Layout, bytes, list[bytes]]]


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
        live: the graph.
        failed: a commit failed in a way that leaves it open what is stored.
        mortals: see `endings.Mortals`; None: there are none.
    """

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
        self._row_writer = RowWriter()
        self.live = self._load()

    def _load(self) -> Live:
        return Live(self.name, self._jar, self._policy, past=self._past, read_only=self._read_only)

    # ------------------------------------------------------------ committing

    def persist(self, note: str | None, *, thorough: bool = False) -> bytes:
        """Commit what has changed, if anything has; see `Store.persist`.  `thorough`: there is time to tidy up, too."""
        if self._busy:
            raise StoreError(
                self.name, "persist was called by what it is storing (a __getstate__ or __reduce__ method)"
            )
        self._busy = True
        try:
            with NoCollection():
                return self._persist(note, thorough)
        finally:
            self._busy = False

    def _persist(self, note: str | None, thorough: bool) -> bytes:
        heap, changed = self.live.heap, self._changed()
        if (changed or self.live.capsules.touched) and self._save_what_ends(changed):
            changed = self._changed()
        if self.live.top_cluster.digest is None and not self.live.top_cluster.held:
            changed.append(self.live.top_cluster)  # never stored, or stored in format 1
        if not changed and not self.live.capsules.touched and not self.live.shelf.is_changed:
            return self.live.tid
        if not (heap.exchanged and self._persist_exchanged(len(changed), note)):
            self._persist_surveyed(changed, note)
        if self._is_to_collect(thorough):
            self._collect()
        return self.live.tid

    def _is_to_collect(self, thorough: bool) -> bool:
        """Whether to look for what can no longer be reached: that takes a third of a microsecond for each object."""
        suspects, size = self.live.heap.suspects, len(self.live.heap.home) + len(self.live.capsules)
        if not thorough or size >= _SUSPECTS:
            return suspects > _SUSPECTS + size
        return suspects > 0 if size < _FEW else suspects * 16 > size

    def _persist_exchanged(self, changed: int, note: str | None) -> bool:
        """Commit that atoms were exchanged for atoms, if that is all that has changed; see `rows`."""
        heap = self.live.heap
        exchanged = heap.exchanged
        if len(exchanged) != changed or self._jar.registered or self.live.capsules.touched:
            return False
        if heap.shrunk or heap.dropped or heap.incomplete:
            return False
        bodies = []
        try:
            for cluster, held in exchanged.items():
                if cluster.row is None:
                    return False
                body = self._row_writer.write(cluster.row, held)
                digest = digest_of(body, ())
                if digest != cluster.digest:
                    bodies.append((cluster, encode(body, ()), digest))
        except Exception:  # a survey tells what is refused, and where it is
            return False
        lost = self._commit(bodies, {}, note)
        heap.all_looked_at()
        heap.settle_exchanged(exchanged)
        heap.suspects += len(lost)
        self._sweep(lost)
        return True

    def _persist_surveyed(self, changed: list[Cluster], note: str | None) -> None:
        heap, survey = self.live.heap, self.live.new_survey()
        try:
            if changed:
                survey.run(changed)
            capsules = self.live.capsules.write(survey)
            for layout in survey.layouts.values():
                module_state.watch(layout.watch.frames, strict=self._strict_globals)
            module_state.watch(self.live.capsules.frames(), strict=self._strict_globals)
            written: _Written = {}
            bodies = self._bodies(survey, written)
            if bodies and heap.shrunk:
                # a node that has gone still stands in these records, and may lead to what is written away now
                survey.run([cluster for cluster in heap.shrunk if cluster not in survey.layouts])
                capsules = self.live.capsules.write_on(survey, capsules)
                bodies = self._bodies(survey, written, set(heap.shrunk))
        except (ModuleStateError, ModuleStateWarning):
            self.live.take_back(survey)
            raise
        except Exception as error:
            self.live.take_back(survey)
            raise self._refusal(error) from error
        except BaseException:
            self.live.take_back(survey)
            raise
        self._settle(survey, self._commit(bodies, capsules, note, survey))

    def _changed(self) -> list[Cluster]:
        """The clusters that have changed, as far as that is seen without storing them."""
        changed = self.live.heap.changed()
        ghosts = [cluster.nodes[0] for cluster in changed if _is_ghost(cluster)]
        if ghosts:
            for obj in ghosts:  # a survey would load it while it goes on, and not know the cluster that it comes to
                obj._p_activate()
            changed = self.live.heap.changed()
        return changed + self._registered(changed)

    def _save_what_ends(self, changed: list[Cluster]) -> bool:
        """Ask for what must not end with a commit that does not have it any more; tells whether there was any."""
        if not self.mortals:
            return False
        ending = self.live.heap.ending(self.mortals.__contains__, changed, self.live.capsules.may_end())
        if ending:
            self.mortals.save(ending)
        return bool(ending)

    def compact(self) -> None:
        """Write all records again that have objects in them which have gone, unless there are other changes."""
        if not self._busy:
            with NoCollection():
                self._compact()

    def _compact(self) -> None:
        shrunk = list(self.live.heap.shrunk)
        if not shrunk or self._is_changed():
            return
        survey = self.live.new_survey()
        try:
            survey.run(shrunk)
            bodies = self._bodies(survey, {}, set(shrunk))
        except BaseException:
            self.live.take_back(survey)
            raise
        self._commit(bodies, {}, "compact", survey)
        self._sweep(self._finish(survey, survey.layouts))

    def _registered(self, known: Iterable[Cluster]) -> list[Cluster]:
        """The clusters of the Persistent objects that say that they have changed."""
        found = []
        seen = set(known)
        for obj in self._jar.registered:
            cluster = self.live.heap.home.get(id(obj))
            if cluster is not None and cluster not in seen:
                seen.add(cluster)
                found.append(cluster)
        return found

    def _bodies(
        self, survey: Survey, written: _Written, forced: Container[Cluster] = ()
    ) -> list[tuple[Cluster, bytes, int]]:
        """What is to be written: cluster, data, digest; without what is stored just so, unless that is `forced`.

        `written` keeps what was laid out and written before, for a survey that has gone on since.
        """
        writer = Writer(survey, self.live.reference(survey))
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

    def _commit(
        self,
        bodies: list[tuple[Cluster, bytes, int]],
        capsules: dict[Capsule, Written],
        note: str | None,
        survey: Survey | None = None,
    ) -> list[Any]:
        """Write what is not stored just so, if there is anything; give the nodes that capsules have let go of.

        An error takes the survey back.
        """
        records = [(cluster.oid, cluster.serial, data) for cluster, data, _ in bodies]
        for capsule, new in capsules.items():
            if new.digest != capsule.digest:
                data = encode(new.body, new.references, version=CAPSULE_FORMAT)
                records.append((capsule.oid, capsule.serial, data))
        shelf = self.live.shelf
        if not records and not shelf.is_changed:
            return self.live.capsules.settle(capsules, None)
        try:
            records += shelf.records()
            records += self._named()
            self.live.tid = self._jar.write(records, note)
        except BaseException as error:
            if survey is not None:
                self.live.take_back(survey)
            self.failed = self._jar.doubtful or isinstance(error, ConflictError)
            said = self._not_committed(error)
            if said is error:
                raise
            raise said from error
        lost = self.live.capsules.settle(capsules, self.live.tid)
        shelf.stored(self.live.tid)
        for cluster, _, digest in bodies:
            cluster.serial, cluster.digest = self.live.tid, digest
            self.live.heap.shrunk.pop(cluster, None)
            if cluster.nodes and isinstance(cluster.nodes[0], Persistent):
                self._jar.stored(cluster.nodes[0], self.live.tid)
        self._jar.refresh_if_possible()
        return lost

    def _named(self) -> list[tuple[bytes, bytes, bytes]]:
        """What is to be written so that the database names what is new."""
        live, names = self.live, {}
        if live.top_cluster.serial == _ZERO and not live.replaces:
            names[ROOT_NAME] = live.top_cluster.oid
        if live.shelf.oid is not None and not live.shelf.is_named:
            names[SHELF_NAME] = live.shelf.oid
        return [self._jar.name_roots(names)] if names else []

    def _not_committed(self, error: BaseException) -> BaseException:
        if isinstance(error, ConflictError):
            return StoreConflict(self.name)
        text = f"{type(error).__name__}: {error}"
        if self._jar.doubtful:
            return error if isinstance(error, StoreInDoubt) else StoreInDoubt(self.name, text)
        if isinstance(error, OSError | StorageError):
            return StoreNotWritten(self.name, text)
        return error

    def _settle(self, survey: Survey, lost: list[Any]) -> None:
        """What is now, is what is stored; `lost` are nodes that capsules have let go of."""
        del self._jar.registered[:]
        self.live.heap.all_looked_at()
        self.live.heap.incomplete = False
        heap = self.live.heap
        heap.suspects += len(lost)
        lost += self._finish(survey, survey.layouts)
        self._sweep(lost)

    def _finish(self, survey: Survey, clusters: Collection[Cluster]) -> list[Any]:
        """Take the clusters for stored as they were surveyed; give the nodes that may have been let go of.

        What ends with this, ends last: it may run code of the program (``__del__``, ``finally``), and what that changes
        is not stored.
        """
        survey.finish()
        lost = self.live.heap.settle(clusters)
        survey.clear()
        return lost

    def collect(self) -> int:
        """Let go of what was stored and can no longer be reached, in cycles, too; gives how many objects.

        Nothing is done while there are changes that were not committed: what they lead to is not known.
        """
        with NoCollection():
            return 0 if self._is_changed() else self._collect()

    def _is_changed(self) -> bool:
        changed = self._changed()
        if self._jar.registered or self.live.capsules.touched or self.live.shelf.is_changed:
            return True
        if not changed:
            return False
        survey = self.live.new_survey()
        try:
            survey.run(changed)
            return bool(self._bodies(survey, {}))
        except Exception:
            return True
        finally:
            self.live.take_back(survey)

    def _collect(self) -> int:
        if self.live.heap.incomplete:
            return 0
        self.live.unloaded.look_again()
        nodes = self.live.heap.unreachable(self.live.top)
        count = len(nodes)
        self._sweep(self._let_go(nodes))
        return count

    def _sweep(self, lost: list[Any]) -> None:
        while lost:
            ended = self.live.heap.ended(lost)
            if ended:
                lost += self.live.heap.led_to(ended)
                lost += self._let_go(ended)

    def _let_go(self, nodes: list[Any]) -> list[Any]:
        """Forget nodes, emptying the list of them; give those that may be next.

        They end last, when what is stored is settled without them.  What has ended before, and changed what stands in
        the same records, must not be settled: the next commit writes that.
        """
        clusters = {self.live.heap.home[id(node)] for node in nodes}
        changed = self._changed_of(clusters)
        stale = self.live.heap.drop(nodes)
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
        survey = self.live.new_survey()
        try:
            survey.run(opaque)
            changed.update(opaque if survey.grew else (cluster for cluster, *_ in self._bodies(survey, {})))
        except Exception:  # of the program's own methods: the next commit will tell
            changed.update(opaque)
        finally:
            self.live.take_back(survey)
        return changed

    def _look_again(self, clusters: list[Cluster]) -> list[Any]:
        """Nodes of these clusters have gone: find out what to watch now.  Nothing is written for that."""
        survey = self.live.new_survey()
        survey.run(clusters)
        if survey.grew or len(survey.layouts) > len(clusters):
            # of a reduce value that is new each time, or what is dying; or others are stored in another way now
            survey.undo()
            return self._leave_open(clusters)
        self.live.note_digests(survey)
        return self._finish(survey, clusters)

    def _leave_open(self, clusters: list[Cluster]) -> list[Any]:
        """What is stored of these clusters is not what is there now: the next commit will look, and write."""
        for cluster in clusters:
            cluster.watch.opaque, cluster.digest = True, None
            self.live.heap.incomplete = True
        return self.live.heap.settle(clusters)

    def _refusal(self, error: Exception) -> Exception:
        """The error with the path from the root to what cannot be stored."""
        of_capsule = self.live.capsules.refusal()
        if of_capsule is not None:
            return of_capsule
        try:
            graph.dumps(tuple(self.live.top))
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

    def reload(self) -> None:
        """Load what is stored again, in new objects; those before are let go of.  An error changes nothing."""
        before, self.live = self.live, self._load()
        before.let_go()

    def let_go(self) -> None:
        """The store is closed: nothing of the graph is to end as if the program had dropped it."""
        self.live.let_go()


def _as_seen(path: str) -> str:
    """Turn a path from the pair that is stored into one from what users know."""
    for stored, seen in (("root[1]", "root"), ("root[0]['loop'].state.", ""), ("root[0]", "parts")):
        if path.startswith(stored):
            path = seen + path[len(stored) :]
            break
    task, coroutine, rest = path.partition("]._coro")
    return f"task {task[len('tasks[') :]}{rest}" if coroutine and task.startswith("tasks[") else path


def _is_ghost(cluster: Cluster) -> bool:
    """Whether a cluster is that of a Persistent object that is to be loaded again."""
    node = cluster.nodes[0] if cluster.nodes else None
    return isinstance(node, Persistent) and node._p_changed is None
