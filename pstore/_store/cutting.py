"""Cutting a graph into clusters (layer 2).

Owns: :class:`Cutting`, that part of a `survey` which decides which object is stored where: it puts new nodes into
clusters, and finds out which objects a cluster leads to.

Which object is stored where:

- A *node* is stored once, in its cluster, and others refer to it by number: containers, instances, and whatever
  reduces to something that is made from leaves and filled later (frames, cells, exceptions, subclasses of containers,
  ``__getstate__`` users).
- A *placed* object is stored where it occurs, inside the state of a node: tuples, and what has to be made with its
  parts (functions stored by value, methods, partials, ``__reduce__`` users).  When a second cluster leads to it, it
  gets a cluster of its own, and the first is written again without it.  So it does when it would be written in a second
  *section* of its cluster: what the nodes are made with, the states of those that are not late, and that of each late
  node are pickled apart.
- A class stored by value has a cluster of its own from the beginning: its instances are made with it.
- Objects that only a reduce value holds (they are made anew each time) are part of that value: nothing else can lead
  to them.  Their reference count tells.

New nodes join the cluster that leads to them while it has room, then the open one.

A node is *late* if filling it needs others to be filled before: a dict or set with keys hashed by value, and what
holds placed objects that are made by functions of others.  A cluster of one such placed object is late, too: the object
is made when what it is made with is filled; then all nodes that lead to it are late.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable
from contextvars import Context
from functools import partial
from gc import get_referents
from types import BuiltinFunctionType, CellType, FunctionType, MethodType
from typing import Any

from persistent import Persistent

from pstore._frames.exceptions import exception_by
from pstore._frames.stored import stored
from pstore._store.clusters import Cluster
from pstore._store.containers import CONTAINERS, keys_of_subclass
from pstore._store.ephemeral import recipes
from pstore._store.heap import Heap
from pstore._store.kinds import ATOMS, DICT, HEAD, INSTANCE, LEAF, LIST, PERSISTENT, PLACED, REDUCED, SET, Kind
from pstore._store.layout import Layout
from pstore._store.reduced import FRAMES, Reduced, parts

__all__ = ["ITS_OWN", "STATES", "Cutting", "id_of_dict"]

_SEEN_WHOLE = (*FRAMES, CellType, FunctionType, partial, MethodType, Context)
"""Reduced types of which the garbage collector (and `standing`) shows all that can change."""
_FUNCTIONS = (FunctionType, BuiltinFunctionType)
_TEMPORARY = frozenset((tuple, list, dict, set, frozenset))
_NODES = 48
_WEIGHT = 600
STATES, _MAKING, ITS_OWN = -1, -2, -3
"""Sections of a body, other than the numbers of late nodes.  The last: a ``__dict__`` that its instance alone holds."""
_EMPTY = ()
_NEW = bytes(8)
_NONE = Layout()


class Cutting(abc.ABC):
    """See the module.

    Args:
        heap: the live side of the store.
        new_oid: gives an unused object id.
        adopt: takes a `Persistent` object into the database if it is not yet; gives its object id.

    Attributes:
        layouts: cluster -> what is to be written of it.
        reduced: id -> reduce value, for the pickler to write what was looked at here.
        at: the node at which the survey stands.
        grew: objects that became nodes.
    """

    def __init__(self, heap: Heap, new_oid: Callable[[], bytes], adopt: Callable[[Any], bytes]) -> None:
        self.heap = heap
        self.layouts: dict[Cluster, Layout] = {}
        self.reduced: dict[int, Reduced] = {}
        self.at: Any = None
        self._new_oid, self._adopt = new_oid, adopt
        self._todo: list[Cluster] = []
        self._queued: set[Cluster] = set()
        self._same: dict[Any, Any] = {}
        self._left: dict[Cluster, list[Any]] = {}
        self._undo: list[Callable[[], object]] = []
        self._added: list[int] = []
        self._replaced: list[Any] = []
        self._open = dict(heap.open)
        self._numbers: dict[Cluster, dict[int, int]] = {}
        self._lengths: dict[Cluster, int] = {}
        self._late: set[Cluster] = set()
        self._runs: dict[int, tuple[Any, list[list[Any]]]] = {}
        self._run_ids: set[int] = set()
        self.grew: list[Any] = []
        # of the cluster at hand
        self._cluster: Any = None
        self._layout = _NONE
        self._foreign: dict[int, Any] = {}
        self._pending: list[tuple[Any, bool]] = []
        self._sections: dict[int, int | None] = {}
        self._touched: list[Any] = []
        self._spoilt = False
        self._is_late = self._made_late = False
        self._late_for: list[int] = []
        self._looks_inside = False
        self._edges: list[int] = []

    # ------------------------------------------------------------ the pass

    def run(self, clusters: Iterable[Cluster]) -> None:
        """Survey `clusters`, and all that they newly lead to."""
        for cluster in clusters:
            self.again(cluster)
        todo = self._todo
        while todo:
            cluster = todo.pop()
            if cluster in self._queued:
                self._queued.remove(cluster)
                self._take(cluster)
                self._cluster = None

    @abc.abstractmethod
    def _take(self, cluster: Cluster) -> None:
        """Find what the nodes of a cluster lead to, and lay it out."""

    def again(self, cluster: Cluster) -> None:
        """Have a cluster surveyed, once more if it was."""
        self._retake(cluster)
        self._release(self._left.pop(cluster, []), cluster)

    def _retake(self, cluster: Cluster) -> None:
        """As `again`; what is placed in it is taken for placed there until then."""
        if cluster is self._cluster:
            self._spoilt = True
        elif cluster not in self._queued:
            layout = self.layouts.pop(cluster, None)
            placed = self._left[cluster] = cluster.placed if layout is None else layout.placed
            if layout is None and placed:
                self._undo.append(lambda: self.heap.home.update({id(obj): cluster for obj in placed}))
            self._queue(cluster)

    def _release(self, placed: list[Any], cluster: Cluster) -> None:
        home = self.heap.home
        for obj in placed:
            if home.get(id(obj)) is cluster:
                del home[id(obj)]

    def _queue(self, cluster: Cluster) -> None:
        if cluster not in self._queued:
            self._queued.add(cluster)
            self._todo.append(cluster)

    def undo(self) -> None:
        """Take back what was done to the heap."""
        for number in self._added:
            self.heap.home.pop(number, None)
        for step in reversed(self._undo):
            step()
        self._undo.clear()

    def finish(self) -> None:
        """What was surveyed is written: make it the state of the heap.  What that had before is held until `clear`."""
        for cluster, layout in self.layouts.items():
            self._replaced.append((cluster.watch, cluster.placed))
            cluster.watch, cluster.placed = layout.watch, layout.placed
            cluster.edges = None if layout.plain else layout.edges
            cluster.row, cluster.surveyed = layout.row, layout.held
        self.heap.open = self._open
        self.heap.note_runs(self._runs)

    def clear(self) -> None:
        """Hold nothing any more.  What ends with that may run code, so that all has to be settled."""
        self._replaced.clear()
        self._runs.clear()
        self._undo.clear()  # its functions lead back here, and the collector may not come by for long
        self._layout, self._foreign = _NONE, {}
        self.reduced.clear()
        self.grew.clear()
        self.at = None
        for layout in self.layouts.values():
            layout.clear()

    def numbers(self, cluster: Cluster) -> dict[int, int]:
        """Id of a node -> its number in the cluster."""
        numbers = self._numbers.get(cluster)
        if numbers is None:
            nodes = enumerate(cluster.nodes)
            numbers = self._numbers[cluster] = {id(node): number for number, node in nodes if node is not None}
        return numbers

    @property
    def added(self) -> list[int]:
        """Ids of all objects that were put into clusters, in order."""
        return self._added

    def take_in(self, obj: Any) -> None:
        """Put an object that was in a capsule into a cluster; or have the one that it is in surveyed again."""
        home = self.heap.home
        where = home.get(id(obj))
        if where is not None:
            if id(obj) in self.numbers(where):
                self.again(where)
            else:
                self._promote(obj, where)
            return
        kind = self.heap.kinds[type(obj)]
        self._cluster, self._layout, self._foreign = _NOWHERE, Layout(), {}
        if id(obj) in recipes or (kind.code == PLACED and obj is not _EMPTY):
            self._put_apart(obj)
        elif kind.code == REDUCED and kind.cls not in CONTAINERS and not isinstance(obj, type):
            reduced = self._reduce(obj)
            if reduced.value is not None:
                function, arguments = reduced.value[:2]
                if reduced.has_state and self._always_leaves(function, arguments, kind.cls):
                    self._new_node(obj, dependent=kind.dependent)
                else:
                    self._put_apart(obj)
        else:
            self._new(obj, kind)
        self._cluster = None

    def _put_apart(self, obj: Any) -> None:
        self.put(obj, self.new_cluster(dependent=True, solo=True))

    def new_cluster(self, *, dependent: bool = False, solo: bool = False) -> Cluster:
        """A cluster without nodes, to be surveyed."""
        return self._enter(Cluster(self._new_oid(), dependent=dependent, solo=solo))

    def _enter(self, cluster: Cluster) -> Cluster:
        clusters = self.heap.clusters
        clusters[cluster.oid] = cluster
        self._undo.append(lambda: clusters.pop(cluster.oid, None))
        self._queue(cluster)
        return cluster

    def put(self, obj: Any, cluster: Cluster) -> None:
        """Make an object a node of a cluster."""
        nodes = cluster.nodes
        numbers = self._numbers.get(cluster)
        if numbers is not None:
            numbers[id(obj)] = len(nodes)
        if cluster not in self._lengths:
            count = self._lengths[cluster] = len(nodes)
            self._undo.append(lambda: nodes.__delitem__(slice(count, None)))
        nodes.append(obj)
        self.grew.append(obj)
        self.heap.home[id(obj)] = cluster
        self._added.append(id(obj))
        cluster.weight += 4 + (len(obj) if type(obj) in (list, dict, set) else 0)

    # ------------------------------------------------------------ sections

    def _enter_section(self, section: int) -> None:
        """The placed objects just met are written in that section.  What two sections lead to cannot stay placed."""
        sections = self._sections
        cluster: Cluster = self._cluster
        for value in self._touched:
            known = sections.get(id(value))
            if known is None:
                sections[id(value)] = section
            elif known != section and self.heap.home.get(id(value)) is cluster:
                self._promote(value, cluster)
        self._touched.clear()

    def _note_making(self, cluster: Cluster, layout: Layout, obj: Any) -> None:
        """Whether the node of a solo cluster has to be made late; then whatever leads to it is late, too.

        And not any more when it is not.  In one survey it becomes late once at most, or two could go on in turn.
        """
        late = (self._made_late and bool(layout.deps)) or cluster in self._late
        layout.alone = 2 if late else 1
        if late == cluster.late:
            return
        cluster.late = late
        self._undo.append(lambda: setattr(cluster, "late", not late))
        if late:
            self._late.add(cluster)
        new = cluster.serial == _NEW
        for other in list(self.heap.clusters.values()):
            known = self.layouts.get(other)
            if known is not None:
                leads = id(obj) in known.foreign or id(obj) in known.deps
            elif new:
                continue
            elif other.edges is None:
                leads = any(part is obj for part in get_referents(*other.living()))
            else:
                leads = any(id(obj) in edges for edges in other.edges)
            if leads:
                self._retake(other)

    def _for_making(self, *values: tuple[Any, bool], hashed: Iterable[Any] = ()) -> None:
        """Note values that the nodes themselves are made with, which makes what they lead to dependencies."""
        self._flush()
        before = self._touched, self._is_late, self._late_for, self._looks_inside
        self._touched, self._is_late, self._late_for = [], False, []
        self._foreign = self._layout.deps
        self._pending += values
        self._flush()
        self._foreign = self._layout.foreign
        self._hashed(hashed)
        self._enter_section(_MAKING)
        self._made_late |= self._is_late
        self._touched, self._is_late, self._late_for, self._looks_inside = before

    def _promote(self, value: Any, where: Cluster) -> None:
        """Give a placed object a cluster of its own."""
        self._retake(where)
        self._put_apart(value)

    # ------------------------------------------------------------ values

    def _flush(self) -> None:
        pending = self._pending
        while pending:
            value, owned = pending.pop()
            cls = type(value)
            if not owned or cls not in _TEMPORARY:
                if owned and cls not in ATOMS and value is not None:
                    self._temporary(value)
                else:
                    self._values((value,))
            elif cls is dict:
                pending += parts(value)
                pending += parts(value.values())
                self._hashed(list(value))
            else:
                pending += parts(value)
                if cls in (set, frozenset):
                    self._layout.shuffled = True
                    self._hashed(list(value))

    def _temporary(self, value: Any) -> None:
        """An object that a reduce value alone holds: part of the state that it occurs in, whatever it is."""
        kind = self.heap.kinds[type(value)]
        if kind.code in (LEAF, PERSISTENT, HEAD) or kind.cls in _SEEN_WHOLE or isinstance(value, type):
            self._values((value,))
            return
        reduced = self._reduce(value)
        if reduced.value is not None:
            self._layout.watch.opaque = True
            self._is_late = self._looks_inside = True
            self._pending += ((reduced.value[0], False), *self._arguments_of(reduced))
            self._note_state(reduced)

    def _values(self, values: Iterable[Any]) -> None:
        """Note what values are that something else holds, too."""
        kinds, home, cluster = self.heap.kinds, self.heap.home, self._cluster
        for value in values:
            if type(value) in ATOMS:
                continue
            kind = kinds[type(value)]
            if kind.code == LEAF or value is _EMPTY:  # there is only one empty tuple
                continue
            known = home.get(id(value))
            self._edges.append(id(value))
            if known is None:
                self._new(value, kind)
            elif known is cluster:
                if id(value) in self._sections:
                    self._touched.append(value)
            else:
                if id(value) not in self._foreign:
                    if id(value) not in self.numbers(known):
                        self._promote(value, known)
                        known = home[id(value)]
                    self._foreign[id(value)] = value
                if known.late:
                    self._is_late = True
                    self._late_for.append(id(value))

    def _many(self, values: list[Any]) -> bool:
        """Note many values at once, if they are new instances of one class, or atoms."""
        kinds = {self.heap.kinds[cls] for cls in set(map(type, values))}
        if all(kind.cls in ATOMS for kind in kinds):
            return True
        ids = list(map(id, values))
        known = self.heap.home.keys()
        if len(kinds) > 1 or len(set(ids)) < len(ids) or not (known.isdisjoint(ids) and recipes.keys().isdisjoint(ids)):
            return False
        (kind,) = kinds
        if kind.code != INSTANCE or kind.dependent or self._foreign is not self._layout.foreign:
            return False
        for start in range(0, len(values), _NODES):
            cluster = self._open[False] = self.new_cluster()
            cluster.nodes = values[start : start + _NODES]
            cluster.weight = 4 * len(cluster.nodes)
            self.heap.home.update(dict.fromkeys(ids[start : start + _NODES], cluster))
        self._added += ids
        self.grew += values
        self._edges += ids
        self._foreign.update(zip(ids, values, strict=True))
        return True

    def _new(self, value: Any, kind: Kind) -> None:
        code = kind.code
        if id(value) in recipes:
            self.put(value, self.new_cluster(dependent=True, solo=True))
            self._foreign[id(value)] = value
        elif code in (LIST, DICT, SET, INSTANCE):
            self._new_node(value, dependent=kind.dependent)
        elif code == PLACED:
            self._place(value)
            self._place_parts(value)
        elif code == PERSISTENT:
            self._new_persistent(value)
        elif code == HEAD:
            self.heap.meet(value)
            self._foreign[id(value)] = value
        else:
            self._new_reduced(value, kind)

    def _place_parts(self, value: Any) -> None:
        for item in value:
            if type(item) not in ATOMS:
                self._pending.append((item, False))
        if type(value) is frozenset:
            self._hashed(list(value))

    def _place(self, value: Any) -> None:
        self.heap.home[id(value)] = self._cluster
        self._added.append(id(value))
        self._sections[id(value)] = None
        self._touched.append(value)
        self._layout.placed.append(value)
        if isinstance(value, frozenset):
            self._layout.shuffled = True

    def _new_node(self, value: Any, *, dependent: bool) -> None:
        cluster = self._cluster
        if cluster.dependent != dependent or not _has_room(cluster):
            found = self._open[dependent]
            if found is None or found in self.layouts or not _has_room(found):
                found = self._open[dependent] = self.new_cluster(dependent=dependent)
            elif found not in self._queued:
                self.again(found)
            cluster = found
            self._foreign[id(value)] = value
        self.put(value, cluster)

    def _new_persistent(self, value: Any) -> None:
        oid = self._adopt(value)
        if oid not in self.heap.clusters and value._p_changed is not None:
            self.put(value, self._enter(Cluster(oid, solo=True)))
        self._foreign[id(value)] = value

    def _new_reduced(self, value: Any, kind: Kind) -> None:
        if kind.cls in CONTAINERS:
            self._new_node(value, dependent=False)
            return
        if isinstance(value, type) and not self.heap.kinds[value].dependent:
            return
        reduced = self._reduce(value)
        if reduced.value is None:
            return
        function, arguments = reduced.value[:2]
        if isinstance(value, type):  # its instances, which are made with it, must be elsewhere
            self.put(value, self.new_cluster(dependent=True, solo=True))
            self._foreign[id(value)] = value
        elif reduced.has_state and self._always_leaves(function, arguments, kind.cls):
            self._new_node(value, dependent=kind.dependent)
        else:
            self._place(value)
            self._watch_reduced(value, kind, reduced)
            if not (isinstance(value, _SEEN_WHOLE) or (kind.immutable and not _is_made_by_stored_code(kind))):
                self._is_late = self._looks_inside = True
            self._pending += ((function, False), *self._arguments_of(reduced))
            self._note_state(reduced)
            if kind.hashed_by_value and isinstance(value, frozenset):
                self._hashed(list(frozenset.__iter__(value)))

    # ------------------------------------------------------------ what reduces

    def _reduce(self, obj: Any) -> Reduced:
        reduced = self.reduced.get(id(obj))
        if reduced is None:
            reduced = self.reduced[id(obj)] = Reduced(obj, self._same)
        return reduced

    def _note_state(self, reduced: Reduced) -> None:
        assert reduced.value is not None
        _, _, state, items, pairs, setter = reduced.value
        self._pending += ((items, True), (pairs, True), (setter, False))
        own = getattr(reduced.obj, "__dict__", None)
        if type(state) is tuple and reduced.owned:
            parts_of_state = parts(state)
        else:
            parts_of_state = [(state, reduced.owned)]
        for part, owned in parts_of_state:
            if part is own and own is not None:  # copied into the __dict__ that it has: that dict is part of the state
                self._pending += ((item, False) for pair in own.items() for item in pair)
            else:
                self._pending.append((part, owned))

    def _arguments_of(self, reduced: Reduced) -> list[tuple[Any, bool]]:
        """The arguments, each with whether only the reduce value holds it."""
        assert reduced.value is not None
        arguments = reduced.value[1]
        return parts(arguments) if reduced.fresh else [(part, False) for part in arguments]

    def _watch_reduced(self, obj: Any, kind: Kind, reduced: Reduced) -> None:
        watch = self._layout.watch
        if getattr(kind.cls, "__pstore_fixed__", False):  # what is stored of it does not change
            return
        if isinstance(obj, _SEEN_WHOLE) or getattr(kind.cls, "__pstore_tracked__", False):
            watch.see(obj)
            if isinstance(obj, FRAMES):
                watch.frames.append(obj)
            elif isinstance(obj, (FunctionType, partial)):
                self._watch_attributes(obj, obj.__dict__)
            return
        keys = keys_of_subclass(obj)
        if keys is not None and not kind.cls.__dict__.get("__slots__"):
            watch.see(obj)
            watch.keyed.append(keys)
            own = getattr(obj, "__dict__", None)
            if own is not None:
                self._watch_attributes(obj, own)
        elif kind.only_dict:
            watch.see(obj)
            self._watch_attributes(obj, obj.__dict__)
        elif not kind.immutable or reduced.has_state:
            watch.opaque = True

    def _watch_attributes(self, obj: Any, own: dict[Any, Any]) -> None:
        watch = self._layout.watch
        watch.see(own)
        watch.keyed.append(own)
        watch.loose.append((id_of_dict, obj))

    def _always_leaves(self, function: Any, arguments: tuple[Any, ...], cls: type) -> bool:
        """Whether an object is made with its class and leaves alone, now and later, so that it can be made before."""
        others = arguments[1:] if arguments and arguments[0] is cls else arguments
        if others and (getattr(function, "__module__", None) != stored.__module__ or function is exception_by):
            return False  # what a __reduce__ of the user's says may change
        return self._are_leaves((function, *others))

    def _looks_at_arguments(self, obj: Any, kind: Kind, arguments: tuple[Any, ...]) -> bool:
        """Whether what an object is made with has to be filled before, as far as that can be."""
        if kind.immutable and not _is_made_by_stored_code(kind):
            return False
        return not (isinstance(obj, _SEEN_WHOLE) or self._are_leaves(arguments))

    def _are_leaves(self, values: Iterable[Any]) -> bool:
        kinds = self.heap.kinds
        for value, owned in parts(values):
            kind = kinds[type(value)]
            if kind.code == PLACED:
                if not (owned or value is _EMPTY) or not self._are_leaves(value):
                    return False
            elif isinstance(value, type):
                if kinds[value].dependent:
                    return False
            elif kind.code != LEAF and not (type(value) in _FUNCTIONS and self._reduce(value).value is None):
                return False
        return True

    # ------------------------------------------------------------ hashes

    def _hashed(self, keys: Iterable[Any]) -> None:
        """The keys are hashed when the node at hand is filled."""
        kinds = self.heap.kinds
        todo = list(keys)
        while todo:
            key = todo.pop()
            if type(key) in ATOMS:
                continue
            kind = kinds[type(key)]
            if kind.code == PLACED:
                todo += key
            elif kind.hashed_by_value and not isinstance(key, (type, MethodType, Persistent)):
                self._is_late = True
                self._late_for.append(id(key))


_NOWHERE = Cluster(b"", solo=True)
"""In place of the cluster at hand where there is none."""


def _has_room(cluster: Cluster) -> bool:
    return not cluster.solo and len(cluster.nodes) < _NODES and cluster.weight < _WEIGHT


def _is_made_by_stored_code(kind: Kind) -> bool:
    """Whether making an instance calls a function that is stored with its class: so that has to be filled before."""
    return kind.dependent and isinstance(kind.cls.__new__, FunctionType)


def id_of_dict(obj: Any) -> int:
    return id(obj.__dict__)
