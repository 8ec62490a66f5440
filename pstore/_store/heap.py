"""The clusters of one store (layer 2).

Owns: :class:`Heap`: the table from live object to cluster, which clusters have changed, and which objects nothing but
the store holds any more.

Rule: what has left the graph is told by reference counts, every reference accounted for; one that is not keeps the
object.  Nothing ends before all is settled: an end may run code of the program.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from itertools import chain, compress
from operator import is_not
from sys import getrefcount
from typing import Any

from persistent import Persistent

from pstore._store.clusters import Cluster, Page, addresses
from pstore._store.kinds import HEAD, Kind, Kinds

__all__ = ["Heap"]

_BLOCK = 256
_MANY = 200_000
_IN_WATCH = 12  # more often than one object is ever held for being watched
_get_referents = gc.get_referents


class Heap:
    """The clusters of one store.

    Attributes:
        kinds: class -> kind.
        home: id of a node or a placed object -> its cluster.
        clusters: object id of the record -> cluster.
        shared: kind -> how many names its class shared when its instances were last looked at.
        runs: id of a long list or dict -> its runs, see there; run_ids: the ids of all runs.
        dropped: runs that their containers have not any more, until `settle`.
        suspects: how many nodes may have been let go of since `unreachable` was last asked.
        shrunk: clusters whose records have nodes that have gone.
        exchanged: of the clusters that `changed` has found, those in which atoms of a row were exchanged for atoms and
            nothing else has changed, with what they hold; it may not be all of them.
        incomplete: there are clusters of which it is not known what they lead to, until they are surveyed.
        open: the clusters, dependent or not, that new nodes are put into.
        meet: gives the object id of a head of `capsules`, of one that is new as well.
        led_by_capsules: gives the nodes that capsules lead to.
        pinned: tells of a record to how many of its nodes, the first ones, something that is not loaded may lead: they
            stay.
    """

    def __init__(self) -> None:
        self.kinds = Kinds()
        self._home: dict[int, Cluster] = {}
        self._entering: list[Cluster] = []
        self.clusters: dict[bytes, Cluster] = {}
        self.shared: dict[Kind, int] = {}
        self.open: dict[bool, Cluster | None] = {False: None, True: None}
        self.suspects = 0
        self.shrunk: dict[Cluster, None] = {}
        self.incomplete = False
        self.exchanged: dict[Cluster, list[Any]] = {}
        self._counted: dict[Kind, int] = {}
        self.runs: dict[int, list[list[Any]]] = {}
        self.run_ids: set[int] = set()
        self.dropped: list[Any] = []
        self._pages: list[Page] = []
        self._singles: dict[Cluster, None] = {}
        self.meet: Callable[[Any], bytes] = _no_heads
        self.led_by_capsules: Callable[[], Iterable[Any]] = tuple
        self.pinned: Callable[[bytes], int] = lambda oid: 0

    @property
    def home(self) -> dict[int, Cluster]:
        """See the class.  After a load it is made when it is first asked for: who only reads never does."""
        if self._entering:
            for cluster in self._entering:
                self._home.update(dict.fromkeys(map(id, cluster.nodes), cluster))
            self._home.pop(id(None), None)  # a node that has gone
            self._entering.clear()
        return self._home

    def enter(self, cluster: Cluster) -> None:
        """Take in a cluster that was loaded."""
        self.clusters[cluster.oid] = cluster
        self._entering.append(cluster)

    def clear(self) -> None:
        """Hold nothing any more."""
        for cluster in self.clusters.values():
            cluster.page = None
        tables: tuple[Any, ...] = (self._home, self._entering, self.clusters, self.shared, self.shrunk, self.dropped)
        self.exchanged = {}
        for table in (*tables, self.runs, self.run_ids, self._pages, self._singles, self._counted):
            table.clear()
        self.open = {False: None, True: None}

    def changed(self) -> list[Cluster]:
        """The clusters that have changed, and those that have to be stored to see."""
        with_image = len(self.home) < _MANY  # it takes some 150 bytes an object
        exchanged = self.exchanged = {}
        found = [cluster for cluster in self._singles if cluster.watch.opaque or cluster.changed()]
        for page in self._pages:
            if page.image is None or not page.image.holds():
                # what is exchanged is of use only if it is all that has changed
                found += page.changed(with_image, exchanged if len(exchanged) == len(found) else None)
        self._counted = {kind: kind.inline.count() for kind in self.shared if kind.inline is not None}
        grown = {kind for kind, count in self._counted.items() if count != self.shared[kind]}
        if grown:
            clusters = self.clusters.values()
            found += [cluster for cluster in clusters if not grown.isdisjoint(cluster.watch.classes)]
            found = list(dict.fromkeys(found))
        return found

    def _arrange(self, clusters: Iterable[Cluster]) -> None:
        """Put clusters that were settled where they are looked at."""
        touched: dict[Page, list[Cluster]] = {}
        for cluster in clusters:
            page = cluster.page
            if not cluster.watch.fits_page:
                self._singles[cluster] = None
                if page is None:
                    continue
                page.clusters.remove(cluster)
                cluster.page = None
            else:
                self._singles.pop(cluster, None)
                if page is None:
                    page = self._pages[-1] if self._pages and self._pages[-1].room > 0 else None
                    if page is None:
                        page = Page()
                        self._pages.append(page)
                    page.clusters.append(cluster)
                    page.room -= len(cluster.watch.watched)
                    cluster.page = page
            touched.setdefault(page, []).append(cluster)
        for page, settled in touched.items():
            page.settled(settled)

    def _forget(self, cluster: Cluster) -> None:
        del self.clusters[cluster.oid]
        for obj in cluster.placed:
            if self.home.get(id(obj)) is cluster:
                del self.home[id(obj)]
        self._singles.pop(cluster, None)
        self.shrunk.pop(cluster, None)
        page = cluster.page
        if page is not None:
            page.clusters.remove(cluster)
            page.rebuild()
        self.open = {key: None if value is cluster else value for key, value in self.open.items()}

    def settle(self, clusters: Collection[Cluster]) -> list[Any]:
        """Take the clusters as they are now for what is stored; give the nodes that may have been let go of.

        Nothing ends before all are settled: that may run code, and what it changes is not what is stored.
        """
        lost, self.dropped = self.dropped, []
        self.exchanged = {}
        held_before = [(cluster.held, cluster.keys, cluster.others) for cluster in clusters]
        for cluster, (before, keys, _) in zip(clusters, held_before, strict=True):
            cluster.settle()
            if before:
                if keys == len(before) and cluster.keys == len(cluster.held):
                    gone = _no_longer(before, cluster.held)
                else:
                    gone = _no_longer(before[:keys], cluster.held[: cluster.keys])
                    gone += _no_longer(before[keys:], cluster.held[cluster.keys :])
                lost += (obj for obj in gone if id(obj) in self.home)
                if cluster.edges is not None:  # what it leads to is not all held
                    lost += cluster.living()
            for kind in cluster.watch.classes:
                if kind not in self.shared and kind.inline is not None:
                    self.shared[kind] = kind.inline.count()
        self._arrange(clusters)
        self.suspects += len(lost)
        return lost

    def settle_exchanged(self, exchanged: dict[Cluster, list[Any]]) -> None:
        """What was `exchanged` is stored.  No object has come or gone."""
        as_seen = exchanged is self.exchanged  # nobody has asked again since
        for cluster, held in exchanged.items():
            cluster.held = held
            if cluster.page is not None:
                if as_seen:
                    cluster.page.settled_as_seen(cluster)
                else:
                    cluster.page.settled([cluster])
        self.exchanged = {}

    def unreachable(self, top: Any) -> list[Any]:
        """The nodes that neither `top` nor a Persistent object leads to.  Takes a microsecond a node."""
        home = self.home
        numbered = {
            id(node): (node, number) for cluster in self.clusters.values() for number, node in cluster.numbered()
        }
        todo = [top]
        todo += [cluster.nodes[0] for cluster in self.clusters.values() if isinstance(cluster.nodes[0], Persistent)]
        todo += self.led_by_capsules()
        for cluster in self.clusters.values():
            todo += (node for node in cluster.nodes[: self.pinned(cluster.oid)] if node is not None)
        seen = set(map(id, todo))
        while todo:
            node = todo.pop()
            cluster = home[id(node)]
            edges = cluster.edges
            reached = map(id, _get_referents(node)) if edges is None else edges[numbered[id(node)][1]]
            for number in reached:
                if number in numbered and number not in seen:
                    seen.add(number)
                    todo.append(numbered[number][0])
        self.suspects = 0
        return [node for key, (node, _) in numbered.items() if key not in seen]

    def drop(self, nodes: Iterable[Any]) -> list[Cluster]:
        """Let go of nodes; give the clusters that they were in, but for those that are empty now."""
        stale: dict[Cluster, None] = {}
        for node in nodes:
            cluster = self.home.pop(id(node))
            self._without_runs(node)
            cluster.nodes[next(number for number, other in cluster.numbered() if other is node)] = None
            stale[cluster] = None
        return self._without_empty(stale)

    def take_heads_out(self, new: list[Cluster], unclear: list[Cluster]) -> tuple[bool, list[Cluster], list[Cluster]]:
        """Heads that an older version has stored as nodes of clusters are nodes no longer.

        Tells if there were any; and gives which clusters, of two lists of those that were loaded, are left.
        """
        heads = [node for cluster in new for node in cluster.living() if self.kinds[type(node)].code == HEAD]
        if not heads:
            return False, new, unclear
        self.drop(heads)
        self.suspects += 1000 + len(self.home)  # nothing leads any more to much of what they were stored with
        left = self.clusters
        return True, [each for each in new if each.oid in left], [each for each in unclear if each.oid in left]

    def leave_unclear(self, clusters: Iterable[Cluster]) -> None:
        """Let the next commit find out what is in these clusters."""
        self.incomplete = True
        for cluster in clusters:
            cluster.watch.opaque = True

    def _without_empty(self, stale: dict[Cluster, None]) -> list[Cluster]:
        # what has gone is not to be held for being watched, or weak references would still see it
        for cluster in stale:
            cluster.watch.keep(set(map(id, cluster.living())))
            if cluster.page is not None:
                cluster.page.rebuild()
        for cluster in list(stale):
            if not any(True for _ in cluster.living()):
                self._forget(cluster)
                del stale[cluster]
        self.shrunk |= stale
        return list(stale)

    def ended(self, lost: list[Any]) -> list[Any]:
        """Give those of some nodes that nothing but the heap holds; the list of them all is emptied.

        What held a node at the last commit, and does not any more, is not held by the heap any more either: so the
        reference counts tell what they would have told the program.
        """
        ended = []
        unique = list({id(obj): obj for obj in lost}.values())
        lost.clear()
        while unique:
            obj = unique.pop()
            cluster = self.home.get(id(obj))
            if cluster is None:
                continue
            count = getrefcount(obj)
            if count > _IN_HEAP + _IN_WATCH:
                continue  # to count what the watch holds takes long
            if count <= _IN_HEAP + cluster.own_holds(obj) and any(node is obj for node in cluster.nodes):
                if not self._is_pinned(obj, cluster):
                    ended.append(obj)
        return ended

    def ending(
        self, is_wanted: Callable[[Any], bool], changed: Collection[Cluster], of_capsules: Iterable[Any]
    ) -> list[Any]:
        """Give those of the wanted objects that a commit will let go of.

        `changed` are all clusters that have changed: what held an object at the last commit and does not any more is
        among them, or will be let go of itself; or it is a capsule, and the object is one of `of_capsules`.  As with
        `ended` reference counts tell; an object of which not every reference is accounted for stays.  What the objects
        lead to is not followed: their end is yet to come.
        """
        stale: Counter[int] = Counter()  # references that will be gone after the commit, by id
        pool: dict[int, Any] = {id(node): node for node in of_capsules}
        for cluster in changed:
            held = cluster.held + self._in_runs_of(cluster)
            kept = set(map(id, chain(cluster.watch.look()[0], *cluster.watch.lists)))
            stale.update(map(id, cluster.held))
            stale.update(id(obj) for obj in held[len(cluster.held) :] if id(obj) not in kept)
            pool.update((id(obj), obj) for obj in held if id(obj) not in kept and id(obj) in self.home)
            del held
        todo, ending, wanted = list(pool), set(), []
        while todo:
            key = todo.pop()
            if key in ending or not self._accounted_for(pool[key], stale[key]):
                continue
            ending.add(key)
            if is_wanted(pool[key]):
                wanted.append(key)
                continue
            home = self.home[key]
            referents = [part for part in _get_referents(pool[key]) if id(part) in self.home]
            watched = home not in changed and any(
                held is pool[key] for held in chain(home.watch.watched, home.watch.lists)
            )
            stale.update(list(map(id, referents)) * (2 if watched else 1))
            referents += self.runs.get(key, ())
            stale.update(map(id, self.runs.get(key, ())))
            pool.update((id(part), part) for part in referents)
            todo += map(id, referents)
            del referents
        return [pool[key] for key in wanted]

    def _in_runs_of(self, cluster: Cluster) -> list[Any]:
        """What the runs hold of the long containers of a cluster."""
        runs = (self.runs.get(id(node), ()) for node in cluster.living())
        return list(chain.from_iterable(chain.from_iterable(runs))) if self.runs else []

    def _accounted_for(self, obj: Any, stale: int) -> bool:
        """Whether the heap, `stale` references and the caller's table hold an object, and nothing else."""
        cluster = self.home.get(id(obj))
        if cluster is None or self._is_pinned(obj, cluster):
            return False
        count = getrefcount(obj) - _IN_CALL - stale
        if count > _IN_HEAP + _IN_WATCH:
            return False
        places = sum(node is obj for node in cluster.nodes) + sum(placed is obj for placed in cluster.placed)
        return places > 0 and count <= cluster.own_holds(obj) + places

    def _is_pinned(self, obj: Any, cluster: Cluster) -> bool:
        count = self.pinned(cluster.oid)
        return count > 0 and not any(node is obj for node in cluster.nodes[count:])

    def led_to(self, nodes: list[Any]) -> list[Any]:
        """The nodes that some nodes lead to."""
        found: list[Any] = []
        for node in nodes:
            found += self.runs.get(id(node), ())
        found += (part for part in _get_referents(*nodes) if id(part) in self.home)
        return found

    def note_runs(self, runs: dict[int, tuple[Any, list[list[Any]]]]) -> None:
        """Containers were cut into runs, see `runs`: id -> (container, runs)."""
        for key, (_, new) in runs.items():
            kept = set(map(id, new))
            self.dropped += (run for run in self.runs.get(key, ()) if id(run) not in kept)
            self.runs[key] = new
            self.run_ids |= kept
        self.run_ids.difference_update(map(id, self.dropped))

    def _without_runs(self, node: Any) -> None:
        """The node has gone."""
        self.run_ids.difference_update(map(id, self.runs.pop(id(node), ())))

    def all_looked_at(self) -> None:
        """All that `changed` has found was surveyed again, so that grown classes are known as they are."""
        self.shared.update(self._counted)


def _no_heads(head: Any) -> bytes:
    raise AssertionError("a heap without capsules")


def _no_longer(before: list[Any], now: list[Any]) -> list[Any]:
    """What is not in the second list any more, and perhaps some of what is."""
    first = end = 0
    if len(before) > _BLOCK:
        old, new = addresses(before), addresses(now)
        step, limit = 8 * _BLOCK, min(len(old), len(new))
        while first + step <= limit and old[first : first + step] == new[first : first + step]:
            first += step
        limit -= first
        while (
            end + step <= limit
            and old[len(old) - end - step : len(old) - end] == new[len(new) - end - step : len(new) - end]
        ):
            end += step
        before, now = before[first // 8 : len(before) - end // 8], now[first // 8 : len(now) - end // 8]
    if len(before) == len(now):  # most often all but a few stand where they stood
        moved = list(map(is_not, before, now))
        before, now = list(compress(before, moved)), list(compress(now, moved))
    kept = set(map(id, now))
    return [obj for obj in before if id(obj) not in kept]


def _in_heap() -> int:
    """What `getrefcount` says in `Heap.ended` of an object that only the nodes of its cluster hold."""
    global _IN_HEAP
    for count in range(10):
        _IN_HEAP = count
        if _has_ended(held=False):
            if _has_ended(held=True):
                break
            return count
    raise ImportError("reference counts are not what they are in CPython")


def _has_ended(*, held: bool) -> bool:
    heap, cluster = Heap(), Cluster(bytes(8))
    heap.clusters[cluster.oid] = cluster
    cluster.nodes = [_Probe(), _Probe()]
    heap.home[id(cluster.nodes[0])] = cluster
    holder = [cluster.nodes[0]] if held else []
    return bool(heap.ended([cluster.nodes[0]])) and len(holder) == held


def _in_call() -> int:
    """What `getrefcount` says in `Heap._accounted_for` of an object that nothing but the caller's table holds."""
    global _IN_CALL
    heap, cluster = Heap(), Cluster(bytes(8))
    cluster.nodes = [_Probe()]
    pool = {0: cluster.nodes[0]}
    heap.home[id(pool[0])] = cluster
    for count in range(10):
        _IN_CALL = count
        if heap._accounted_for(pool[0], 0):
            return count
    raise ImportError("reference counts are not what they are in CPython")


class _Probe:
    """Something to count references to."""


_IN_HEAP = _IN_CALL = 0
_IN_HEAP = _in_heap()
_IN_CALL = _in_call()
