"""Clusters: which live objects are kept in which record, and whether they have changed (layer 2).

Owns: :class:`Cluster`, some live objects (*nodes*) that share a record, with all that tells whether they changed;
:class:`Page`, some clusters that are looked at together.  All clusters of a store are in a `heap`.

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
an image of the memory that they and their values are in comes before (`image`), 3 ns an object; it tells besides which
clusters have to be asked when something is different.

Not seen: an attribute that is deleted and set again to the same object, as the only change to the instance; only the
order of ``vars()`` tells.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise, repeat
from typing import Any

from pstore._frames.access import memory, unpacker
from pstore._frames.standing import standing
from pstore._store.image import Image, image_of
from pstore._store.kinds import Kind
from pstore._store.rows import Row

__all__ = ["SEPARATOR", "Cluster", "Page", "Watch", "addresses"]

_word = unpacker(1)
SEPARATOR = (object(),)
"""Stands between objects whose referents are asked for together, so that what moves from one to the next is seen."""
PAGE = 512
_QUIET = 2  # looks that find nothing new to watch, before an image is worth its while
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
        row: what its nodes were at the last survey, if they were one row of instances with atoms, see `rows`.
        surveyed: what the nodes of a row referred to when it was surveyed, until that is settled.
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
        "row",
        "serial",
        "solo",
        "surveyed",
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
        self.page: Page | None = None
        self.others: list[Any] = []
        self.digest: int | None = None
        self.edges: list[list[int]] | None = None
        self.row: Row | None = None
        self.surveyed: list[Any] | None = None
        self.weight = 0

    def changed(self, exchanged: dict[Cluster, list[Any]] | None = None) -> bool:
        """Whether anything but what is opaque has changed since the last `settle`.

        If that are atoms in a row, and nothing else, what is held now is put into `exchanged`.
        """
        held, _, others = self.watch.look()
        if not self.watch.lists:
            if addresses(held) == addresses(self.held) and others == self.others:
                return False
            if exchanged is not None and self.row is not None and self._exchanges_atoms(held):
                exchanged[self] = held
            return True
        if others != self.others:
            return True
        parts = [held, *self.watch.lists]
        return not all(map(_has, parts, pairwise((0, *self.lists)), repeat(self.held)))

    def _exchanges_atoms(self, held: list[Any]) -> bool:
        row, watch, nodes = self.row, self.watch, self.nodes
        if row is None or watch.keyed or not watch.fits_page or self.placed or self.edges is not None:
            return False
        return addresses(nodes) == addresses(watch.watched) and row.only_atoms(nodes, self.held, held)

    def settle(self) -> None:
        """Take what is now for what is stored; of a row that was surveyed, what was then."""
        seen, self.surveyed = self.surveyed, None
        self.held, self.keys, self.others = self.watch.look() if seen is None else (seen, len(seen), [])
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


class Page:
    """Some clusters that are looked at together.

    Attributes:
        clusters: the clusters.
        room: how many objects may still join.
        image: of the memory that the objects are in, if there is one.

    Where the objects are instances without ``__dict__``, and few, there is a faster look before, at an `Image` of the
    memory that they are in.  The clusters that are in what has changed there are asked; if there is no image, all are
    asked at once, and then each.
    """

    __slots__ = ("_keyed", "_quiet", "_raw", "_spans", "_watched", "clusters", "image", "room")

    def __init__(self) -> None:
        self.clusters: list[Cluster] = []
        self.room = PAGE
        self.rebuild()

    def rebuild(self) -> None:
        """The clusters are other ones, or watch other objects."""
        self._watched: list[Any] = []
        self._keyed: list[Any] = []
        self._spans: dict[Cluster, tuple[tuple[int, int], set[Kind]]] = {}
        self._raw: bytes | None = None
        self.image: Image[Cluster] | None = None
        self._quiet = 0
        for cluster in self.clusters:
            watch, first = cluster.watch, len(self._watched)
            self._watched += watch.watched
            self._keyed += watch.keyed
            self._spans[cluster] = (first, len(self._watched)), watch.classes

    def settled(self, clusters: list[Cluster]) -> None:
        """Some clusters were settled that are, or were, among these."""
        if self._keyed or not all(map(self._watches_same, clusters)):
            self.rebuild()
            return
        self._raw = None
        if self.image is not None:
            self.image.forget(clusters)

    def settled_as_seen(self, cluster: Cluster) -> None:
        """One of them was settled as it was when `changed` was last asked, and watches what it watched."""
        self._raw = None
        if self.image is not None:
            self.image.confirm(cluster)

    def _watches_same(self, cluster: Cluster) -> bool:
        span, classes = self._spans.get(cluster, ((0, 0), None))
        watch = cluster.watch
        same = cluster.page is self and watch.classes == classes and not watch.keyed
        return same and _has(watch.watched, span, self._watched)

    def changed(self, with_image: bool, exchanged: dict[Cluster, list[Any]] | None) -> Iterable[Cluster]:
        """Those that have changed; to be asked unless the image holds.

        Args:
            with_image: an image may be taken.
            exchanged: see `Cluster.changed`.
        """
        image = self.image
        if image is None:
            if self._look():
                return [cluster for cluster in self.clusters if cluster.changed(exchanged)]
            self._quiet += 1
            if with_image and self._quiet == _QUIET:
                self.image = self._take_image()
            return ()
        doubtful = image.doubtful()
        if len(doubtful) == len(self.clusters) and not self._look():
            doubtful.clear()
        changed = [cluster for cluster in doubtful if cluster.changed(exchanged)]
        image.take(changed, exchanged or ())  # what was exchanged for atoms has not moved
        if image.noisy:
            self.image = self._take_image(image.noisy) or image
            image.noisy = frozenset()
        return changed

    def _take_image(self, noisy: frozenset[int] = frozenset()) -> Image[Cluster] | None:
        plain = {kind.cls for cluster in self.clusters for kind in cluster.watch.classes}
        if self._keyed or not plain.issuperset(map(type, self._watched)):
            return None
        return image_of({cluster: cluster.watch.watched for cluster in self.clusters}, noisy)

    def _look(self) -> bool:
        """Whether one of them has changed."""
        held = _get_referents(*self._watched)
        if self._keyed:
            held.extend(chain.from_iterable(self._keyed))
        if self._raw is None:
            self._raw = self._settled_raw()
        return addresses(held) != self._raw

    def _settled_raw(self) -> bytes:
        seen = [(addresses(cluster.held), 8 * cluster.keys) for cluster in self.clusters]
        return b"".join([raw[:keys] for raw, keys in seen] + [raw[keys:] for raw, keys in seen])
