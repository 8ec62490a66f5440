"""Clusters: which live objects are kept in which record, and whether they have changed (layer 2).

Owns: :class:`Cluster`, some live objects (*nodes*) that share a record, with all that tells whether they changed;
:class:`Heap`, the clusters of one store and the table from object to cluster.

Change detection: an object graph of plain Python objects is watched without a hook on anybody's code path.  What the
nodes of a cluster refer to is asked of the garbage collector (`gc.get_referents`) and compared, address by address,
with what it was at the last commit; what they referred to then is held, so that no address can have become another
object's.  What that does not show is asked besides:

* where the referents of one object end and those of the next begin: a separator is put between them.  An instance
  needs none: its last referent is its class, and how many there are before that is known.
* keys of dicts: `gc` shows values only.  They are listed and compared in the same way, in order.
* names of attributes: an instance without ``__dict__`` that has a value under every name that its class shares has just
  these names.  Of any other instance the places of its names are compared; when a class has got a new name, those that
  had them all are looked at again.
* long lists: their items are compared where they stand in memory; to ask for them would touch every one.
* frames: where they stand (`pstore._frames.standing`).
* what only its own methods show (``__getstate__``, iterators, arrays): the cluster is *opaque*; it is stored again, and
  the bytes are compared.

The looks at most clusters are taken together, a *page* of some hundred objects at a time: that is the cost of a commit
in which little has changed, 25 ns an object.  Where the objects are instances without ``__dict__``, and not too many,
it is done by an image of the memory that they and their values are in, 3 ns an object.

Not seen: an attribute that is deleted and set again to the same object, as the only change to the instance; only the
order of ``vars()`` tells.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain, pairwise, repeat
from operator import is_
from sys import getrefcount
from typing import Any

from persistent import Persistent

from pstore._frames.access import memory, unpacker
from pstore._frames.attributes import memory_of
from pstore._frames.standing import standing
from pstore._store.kinds import Kind, Kinds

__all__ = ["SEPARATOR", "Cluster", "Heap", "Watch"]

_word = unpacker(1)
SEPARATOR = (object(),)
"""Stands between objects whose referents are asked for together, so that what moves from one to the next is seen."""
_PAGE = 512
_BLOCK = 256
_MANY = 200_000
_IN_WATCH = 12  # more often than one object is ever held for being watched
_LIST_ITEMS = 24  # offset of ob_item in a list object
_LONG = 64  # items: from then on it is faster to compare a list where it is
_get_referents = gc.get_referents


def addresses(items: list[Any]) -> bytes:
    """The addresses of the items of a list, as they stand in memory."""
    return _seen(items, 0, len(items)).tobytes() if items else b""


def _seen(items: list[Any], first: int, end: int) -> memoryview:
    """The addresses of some of the items of a list, in place: for as long as nobody changes it."""
    (start,) = _word(memory, id(items) + _LIST_ITEMS)
    return memory[start + 8 * first : start + 8 * end]


def _has(items: list[Any], place: tuple[int, int], held: list[Any]) -> bool:
    """Whether the items of a list are those that are held from one place to another."""
    first, end = place
    return len(items) == end - first and (not items or addresses(items).startswith(_seen(held, first, end)))


class Watch:
    """What to look at to see whether a cluster has changed.

    Attributes:
        watched: objects whose referents are compared.
        keyed: dicts, or views of dicts, whose keys are compared.
        lists: long lists whose items are compared.
        frames: suspended frames.
        loose: (function, object): what the function gives of the object is compared.
        classes: kinds of the instances that are known to have all names that their class shares.
        opaque: it has to be stored again to see.
    """

    __slots__ = ("classes", "frames", "keyed", "lists", "loose", "opaque", "watched")

    def __init__(self) -> None:
        self.watched: list[Any] = []
        self.keyed: list[Any] = []
        self.lists: list[list[Any]] = []
        self.frames: list[Any] = []
        self.loose: list[tuple[Callable[[Any], Any], Any]] = []
        self.classes: set[Kind] = set()
        self.opaque = False

    def count(self, obj: Any) -> int:
        """How often it is held here."""
        count = 0
        for places in (self.watched, self.keyed, self.lists, self.frames):
            for held in places:
                if held is obj:
                    count += 1
        for _, held in self.loose:
            if held is obj:
                count += 1
        return count

    def see(self, obj: Any) -> None:
        """Watch an object that refers to as many others as it likes, other than an instance."""
        if type(obj) is list and len(obj) >= _LONG:
            self.lists.append(obj)
            return
        self.watched.append(obj)
        self.watched.append(SEPARATOR)

    def keep(self, nodes: set[int]) -> None:
        """Watch no nodes but these (ids), and what is watched besides nodes; until it is found out what to watch."""
        kept = [obj for obj in self.watched if id(obj) in nodes]
        self.watched, self.keyed = kept, [obj for obj in self.keyed if id(obj) in nodes]
        self.lists = [obj for obj in self.lists if id(obj) in nodes]
        self.frames = [obj for obj in self.frames if id(obj) in nodes]
        self.loose = [(look, obj) for look, obj in self.loose if id(obj) in nodes]

    @property
    def fits_page(self) -> bool:
        """Whether all is seen from referents and keys."""
        return not (self.opaque or self.lists or self.frames or self.loose)

    def look(self) -> tuple[list[Any], int, list[Any]]:
        """What is held but for the items of long lists, where in that the keys begin, and what is compared by value."""
        held = _get_referents(*self.watched)
        keys = len(held)
        if self.keyed:
            held.extend(chain.from_iterable(self.keyed))
        others = []
        if self.frames:
            others = [standing(frame) for frame in self.frames]
        if self.loose:
            others += [look(obj) for look, obj in self.loose]
        return held, keys, others


class Cluster:
    """Some nodes that share a record.

    Attributes:
        oid: object id of the record.
        serial: id of the transaction that wrote it; eight zero bytes if none has.
        nodes: the objects by number; None where one has gone.  References from other records are by number, so numbers
            do not move.
        placed: the objects that are stored where they occur in this cluster; held, so that an id stays theirs.
        dependent: its nodes need others to be made before them.
        solo: made for one object, to be joined by no other.
        late: that object is made when what it is made with is filled.
        watch: how to see whether it has changed.
        held, keys, others: what was seen at the last commit, see `Watch.look`; then the items of each long list.
        lists: the places in that where the items of each long list begin, and where they end.
        page: the page that it is looked at with, if it is.
        digest: hash of the body last written, in this process only; None: not known.
        edges: for each node, the ids of the nodes that it leads to; None: the garbage collector shows them.
        weight: about how many references its nodes hold; see `survey`.
    """

    __slots__ = (
        "dependent",
        "digest",
        "edges",
        "held",
        "keys",
        "late",
        "lists",
        "nodes",
        "oid",
        "others",
        "page",
        "placed",
        "serial",
        "solo",
        "watch",
        "weight",
    )

    def __init__(self, oid: bytes, *, dependent: bool = False, solo: bool = False) -> None:
        self.oid = oid
        self.serial = bytes(8)
        self.nodes: list[Any] = []
        self.placed: list[Any] = []
        self.dependent = dependent
        self.solo = solo
        self.late = False
        self.watch = Watch()
        self.held: list[Any] = []
        self.keys = 0
        self.lists = [0]
        self.page: _Page | None = None
        self.others: list[Any] = []
        self.digest: int | None = None
        self.edges: list[list[int]] | None = None
        self.weight = 0

    def changed(self) -> bool:
        """Whether anything but what is opaque has changed since the last `settle`."""
        held, _, others = self.watch.look()
        if not self.watch.lists:
            return addresses(held) != addresses(self.held) or others != self.others
        if others != self.others:
            return True
        parts = [held, *self.watch.lists]
        return not all(map(_has, parts, pairwise((0, *self.lists)), repeat(self.held)))

    def settle(self) -> None:
        """Take what is now for what is stored."""
        self.held, self.keys, self.others = self.watch.look()
        self.lists = [len(self.held)]
        for items in self.watch.lists:
            self.held += items
            self.lists.append(len(self.held))

    def own_holds(self, obj: Any) -> int:
        """How often an object is held for being watched."""
        return self.watch.count(obj) * (1 if self.page is None else 2)

    def numbered(self) -> Iterator[tuple[int, Any]]:
        """The nodes that are there, with their numbers."""
        return ((number, node) for number, node in enumerate(self.nodes) if node is not None)

    def living(self) -> Iterator[Any]:
        """The nodes that are there."""
        return (node for node in self.nodes if node is not None)

    def __repr__(self) -> str:
        return f"<Cluster {int.from_bytes(self.oid, 'big')} of {sum(1 for _ in self.living())}>"


class _Page:
    """Some clusters that are looked at together.

    Attributes:
        clusters: the clusters.
        room: how many objects may still join.

    Where the objects are instances without ``__dict__``, and few, there is a faster look before: at an image of the
    memory that they are in.  If that is as it was, so are they; if not, it says nothing, and is taken anew.  It is
    compared in place, by ``bytes.startswith``, range by range: what follows a range that has changed is not read.
    """

    __slots__ = ("_image", "_keyed", "_ranges", "_raw", "_watched", "clusters", "room")

    def __init__(self) -> None:
        self.clusters: list[Cluster] = []
        self.room = _PAGE
        self._watched: tuple[Any, ...] = ()
        self._ranges: list[memoryview] | None = None
        self._image: list[bytes] | None = None
        self.rebuild()

    def rebuild(self) -> None:
        """The clusters are as they were settled."""
        clusters = self.clusters
        watched = tuple(chain.from_iterable([cluster.watch.watched for cluster in clusters]))
        self._keyed = list(chain.from_iterable([cluster.watch.keyed for cluster in clusters]))
        seen = [(addresses(cluster.held), 8 * cluster.keys) for cluster in clusters]
        self._raw = b"".join([raw[:keys] for raw, keys in seen] + [raw[keys:] for raw, keys in seen])
        self._image = None
        if len(watched) != len(self._watched) or not all(map(is_, watched, self._watched)):
            self._watched, self._ranges = watched, None

    def changed(self, with_image: bool) -> bool:
        """Whether one of them has changed; `with_image`: an image may be taken."""
        if self._image is not None and all(map(bytes.startswith, self._image, self._ranges or ())):
            return False
        changed = self._look()
        if not changed and with_image:
            if self._ranges is None:
                self._ranges = self._find_ranges()
            self._image = [part.tobytes() for part in self._ranges] or None
        return changed

    def _find_ranges(self) -> list[memoryview]:
        plain = {kind.cls for cluster in self.clusters for kind in cluster.watch.classes}
        if self._keyed or not plain.issuperset(map(type, self._watched)):
            return []
        return [memory[first:end] for first, end in memory_of(self._watched)]

    def _look(self) -> bool:
        held = _get_referents(*self._watched)
        if self._keyed:
            held.extend(chain.from_iterable(self._keyed))
        return addresses(held) != self._raw


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
        incomplete: there are clusters of which it is not known what they lead to, until they are surveyed.
        open: the clusters, dependent or not, that new nodes are put into.
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
        self._counted: dict[Kind, int] = {}
        self.runs: dict[int, list[list[Any]]] = {}
        self.run_ids: set[int] = set()
        self.dropped: list[Any] = []
        self._pages: list[_Page] = []
        self._singles: dict[Cluster, None] = {}

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

    def changed(self) -> list[Cluster]:
        """The clusters that have changed, and those that have to be stored to see."""
        with_image = len(self.home) < _MANY  # it takes some 150 bytes an object
        found = [cluster for cluster in self._singles if cluster.watch.opaque or cluster.changed()]
        for page in self._pages:
            if page.changed(with_image):
                found += [cluster for cluster in page.clusters if cluster.changed()]
        self._counted = {kind: kind.inline.count() for kind in self.shared if kind.inline is not None}
        grown = {kind for kind, count in self._counted.items() if count != self.shared[kind]}
        if grown:
            clusters = self.clusters.values()
            found += [cluster for cluster in clusters if not grown.isdisjoint(cluster.watch.classes)]
            found = list(dict.fromkeys(found))
        return found

    def _arrange(self, clusters: Iterable[Cluster]) -> None:
        """Put clusters that were settled where they are looked at."""
        touched: dict[_Page, None] = {}
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
                        page = _Page()
                        self._pages.append(page)
                    page.clusters.append(cluster)
                    page.room -= len(cluster.watch.watched)
                    cluster.page = page
            touched[page] = None
        for page in touched:
            page.rebuild()

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
        held_before = [(cluster.held, cluster.keys, cluster.others) for cluster in clusters]
        for cluster, (before, keys, _) in zip(clusters, held_before, strict=True):
            cluster.settle()
            if before:
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

    def unreachable(self, top: Any) -> list[Any]:
        """The nodes that neither `top` nor a Persistent object leads to.  Takes a microsecond a node."""
        home = self.home
        numbered = {
            id(node): (node, number) for cluster in self.clusters.values() for number, node in cluster.numbered()
        }
        todo = [top]
        todo += [cluster.nodes[0] for cluster in self.clusters.values() if isinstance(cluster.nodes[0], Persistent)]
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
                ended.append(obj)
        return ended

    def ending(self, is_wanted: Callable[[Any], bool], changed: Collection[Cluster]) -> list[Any]:
        """Give those of the wanted objects that a commit will let go of.

        `changed` are all clusters that have changed: what held an object at the last commit and does not any more is
        among them, or will be let go of itself.  As with `ended` reference counts tell; an object of which not every
        reference is accounted for stays.  What the objects lead to is not followed: their end is yet to come.
        """
        stale: Counter[int] = Counter()  # references that will be gone after the commit, by id
        pool: dict[int, Any] = {}
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
        if cluster is None:
            return False
        count = getrefcount(obj) - _IN_CALL - stale
        if count > _IN_HEAP + _IN_WATCH:
            return False
        places = sum(node is obj for node in cluster.nodes) + sum(placed is obj for placed in cluster.placed)
        return places > 0 and count <= cluster.own_holds(obj) + places

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
