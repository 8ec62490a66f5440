"""Cutting a graph into clusters, and taking them apart for writing (layer 2).

Owns: :class:`Survey`, one pass over the clusters that may have changed, before a commit.  It finds the nodes that are
new and puts them into clusters, finds which other nodes a cluster leads to, and lays out for `body` what is to be
written of each (:class:`Layout`).  Nothing is written, and `undo` takes back what it did to the heap.

Which object is stored where:

- A *node* is stored once, in its cluster, and others refer to it by number: containers, instances, and whatever
  reduces to something that is made from leaves and filled later (frames, cells, exceptions, subclasses of containers,
  ``__getstate__`` users).
- A *placed* object is stored where it occurs, inside the state of a node: tuples, and what has to be made with its
  parts (functions stored by value, methods, partials, ``__reduce__`` users).  When a second cluster leads to it, it
  gets a cluster of its own, and the first is written again without it.
- Objects that only a reduce value holds (they are made anew each time) are part of that value: nothing else can lead
  to them.  Their reference count tells.

New nodes join the cluster that leads to them while it has room, then the open one.

A node is *late* if filling it needs others to be filled before: a dict or set with keys hashed by value, and what
holds placed objects that are made by functions of others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from gc import get_referents
from itertools import chain
from types import BuiltinFunctionType, CellType, FunctionType, MethodType
from typing import Any

from persistent import Persistent

from pstore._frames.exceptions import exception_by
from pstore._frames.stored import stored
from pstore._store.clusters import Cluster, Heap
from pstore._store.containers import CONTAINERS, keys_of_subclass
from pstore._store.ephemeral import recipes
from pstore._store.kinds import DICT, INSTANCE, LEAF, LIST, PERSISTENT, PLACED, REDUCED, SET, Kind
from pstore._store.layout import Group, Layout
from pstore._store.reduced import FRAMES, Reduced, parts
from pstore._store.runs import LONG, cut
from pstore.errors import UnsupportedValue

__all__ = ["Survey"]


_SEEN_WHOLE = (*FRAMES, CellType, FunctionType, partial, MethodType)
"""Reduced types of which the garbage collector (and `standing`) shows all that can change."""
_FUNCTIONS = (FunctionType, BuiltinFunctionType)
_FILLED_EARLY = (*FRAMES, CellType)
_TEMPORARY = frozenset((tuple, list, dict, set, frozenset))
_NODES = 48
_WEIGHT = 600
_MANY = 200
_STATES, _MAKING, _ITS_OWN = -1, -2, -3
"""Sections of a body, other than the numbers of late nodes.  The last: a ``__dict__`` that its instance alone holds."""
_EMPTY = ()
_STRAIGHT = bytes(range(256))
_NEW = bytes(8)


class Survey:
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
        self._open = dict(heap.open)
        self._numbers: dict[Cluster, dict[int, int]] = {}
        self._lengths: dict[Cluster, int] = {}
        self._runs: dict[int, tuple[Any, list[list[Any]]]] = {}
        self._run_ids: set[int] = set()
        self.grew: list[Any] = []
        # of the cluster at hand
        self._cluster: Any = None
        self._layout = Layout()
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
        """What was surveyed is written: make it the state of the heap.  Nothing is held here any more."""
        for cluster, layout in self.layouts.items():
            cluster.watch, cluster.placed = layout.watch, layout.placed
            cluster.edges = None if layout.plain else layout.edges
        self.heap.open = self._open
        self.heap.note_runs(self._runs)
        self._runs.clear()
        self._undo.clear()  # its functions lead back here, and the collector may not come by for long
        self._layout = Layout()
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

    # ------------------------------------------------------------ one cluster

    def _take(self, cluster: Cluster) -> None:
        self._cluster, self._layout = cluster, Layout()
        layout = self.layouts[cluster] = self._layout
        self._foreign = layout.foreign
        self._release(self._left.pop(cluster, []), cluster)
        self._sections.clear()
        self._spoilt = False
        nodes, kinds = cluster.nodes, self.heap.kinds
        number = 0
        while number < len(nodes):  # more may join on the way
            obj = nodes[number]
            taken = 0 if id(obj) in recipes else self._take_run(number, kinds[type(obj)])
            if taken:
                number += taken
                continue
            self._edges = []
            layout.edges.append(self._edges)
            if obj is None:
                layout.add(Group.HOLE, None)
            else:
                self.at = obj
                self._is_late, self._late_for, self._looks_inside, self._made_late = False, [], False, False
                kind = kinds[type(obj)]
                take = _TAKE[kind.code] if id(obj) not in recipes else Survey._take_ephemeral
                state = take(self, obj, kind)
                if self._pending:
                    self._flush()
                if self._is_late:
                    before = self._edges if self._looks_inside else self._late_for
                    layout.late.append((number, state, list(dict.fromkeys(before))))
                else:
                    layout.flat += state
                if self._touched:
                    self._enter_section(number if self._is_late else _STATES)
                if cluster.solo:
                    self._note_making(cluster, layout, obj)
            number += 1
        self._judge(cluster, layout)
        if self._spoilt:  # something of it got a cluster of its own meanwhile: it is taken once more
            self._cluster = None
            self.again(cluster)

    def _enter_section(self, section: int) -> None:
        """The placed objects just met are written in that section.  What two sections lead to cannot stay placed."""
        sections, cluster = self._sections, self._cluster
        for value in self._touched:
            known = sections.get(id(value))
            if known is None:
                sections[id(value)] = section
            elif known != section and self.heap.home.get(id(value)) is cluster:
                self._promote(value, cluster)
        self._touched.clear()

    def _note_making(self, cluster: Cluster, layout: Layout, obj: Any) -> None:
        """Whether the node of a solo cluster has to be made late; then whatever leads to it is late, too."""
        late = self._made_late and bool(layout.deps)
        layout.alone = 2 if late else 1
        if late == cluster.late:
            return
        cluster.late = late
        self._undo.append(lambda: setattr(cluster, "late", not late))
        if not late:
            return
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

    def _take_run(self, number: int, kind: Kind) -> int:
        """Take all instances at once that stand in a row, have all names that their class knows, and hold only atoms.

        Gives how many; 0 if they are not of that kind.  Most objects of large graphs are: this is four times as fast.
        """
        inline = kind.inline
        if inline is None or kind.slots or kind.dependent:
            return 0
        nodes, end = self._cluster.nodes, number
        for node in nodes[number:]:
            if type(node) is not kind.cls:
                break
            end += 1
        objects = nodes[number:end]
        width = inline.count()
        values = get_referents(*objects)
        if len(values) != len(objects) * (width + 1) or not inline.straight(objects):
            return 0
        del values[width :: width + 1]  # the class
        if not _ATOMS.issuperset(map(type, values)):
            return 0
        layout = self._layout
        layout.add(Group.SHAPED, (kind.cls, kind.straight_names(width)))
        layout.groups[-1][2] += len(objects) - 1
        layout.flat += values
        layout.edges += [[]] * len(objects)
        layout.watch.watched += objects
        layout.watch.classes.add(kind)
        return len(objects)

    def _judge(self, cluster: Cluster, layout: Layout) -> None:
        """Find out whether what to watch can be told from the nodes alone.

        What is written must not tell whether instances have a ``__dict__`` by now; how the nodes are watched does.
        """
        watch, sections = layout.watch, self._sections
        layout.simple = not (layout.late or watch.opaque or watch.frames or cluster.dependent) and all(
            group[0] <= Group.SHAPED or group[0] == Group.RUN for group in layout.groups
        )
        if layout.simple and layout.placed:
            layout.simple = all(sections.get(id(value)) == _ITS_OWN for value in layout.placed)
        layout.plain = layout.simple and not (layout.placed or watch.loose)
        if layout.unordered:
            layout.foreign = dict(sorted(layout.foreign.items(), key=self._place_of_entry))

    # each gives the state of a node: a list of values

    def _take_list(self, obj: list[Any], kind: Kind) -> list[Any]:
        layout = self._layout
        if id(obj) in self._run_ids or id(obj) in self.heap.run_ids:
            layout.add(Group.RUN, None)  # the list that it is of is watched, and nobody changes it
        elif len(obj) >= LONG:
            return self._take_long(obj, obj, Group.LONG_LIST)
        else:
            layout.add(Group.LIST, None)
            layout.watch.see(obj)
        if len(obj) < _MANY or not self._many(obj):
            self._values(obj)
        return [len(obj), *obj]

    def _take_dict(self, obj: dict[Any, Any], kind: Kind) -> list[Any]:
        layout = self._layout
        keys, values = list(obj), list(obj.values())
        if 2 * len(obj) >= LONG and not self._need_hashes(keys):
            layout.watch.keyed.append(obj)
            return self._take_long(obj, list(chain.from_iterable(obj.items())), Group.LONG_DICT)
        layout.add(Group.DICT, None)
        layout.watch.see(obj)
        layout.watch.keyed.append(obj)
        self._values(keys)
        if len(values) < _MANY or not self._many(values):
            self._values(values)
        self._hashed(keys)
        return [len(obj), *keys, *values]

    def _take_long(self, obj: Any, items: list[Any], code: int) -> list[Any]:
        """A container of many items, whose runs are nodes of their own."""
        before = self._runs[id(obj)][1] if id(obj) in self._runs else self.heap.runs.get(id(obj), [])
        runs = cut(items, before, 2 if code == Group.LONG_DICT else 1)
        self._runs[id(obj)] = obj, runs
        self._run_ids.update(map(id, runs))
        self._layout.add(code, None)
        self._layout.watch.see(obj)
        self._values(runs)
        self._is_late = True
        self._late_for += map(id, runs)
        return [len(runs), *runs]

    def _need_hashes(self, keys: list[Any]) -> bool:
        if _ATOMS.issuperset(map(type, keys)):
            return False
        before = self._is_late, self._late_for
        self._is_late, self._late_for = False, []
        self._hashed(keys)
        found, (self._is_late, self._late_for) = self._is_late, before
        return found

    def _take_set(self, obj: set[Any], kind: Kind) -> list[Any]:
        layout = self._layout
        layout.add(Group.SET, None)
        layout.watch.see(obj)
        items = list(obj)
        self._values(items)
        self._hashed(items)
        if not _ATOMS.issuperset(map(type, items)):
            layout.unordered = True
            items.sort(key=self._place_of)
        return [len(items), *items]

    def _place_of(self, value: Any, depth: int = 3) -> tuple[Any, ...]:
        """Orders members of sets by where they are stored: the addresses that order a set do not outlive the process."""
        if type(value) in _ATOMS:
            return 0, type(value).__name__, repr(value)
        where = self.heap.home.get(id(value))
        number = None if where is None else self.numbers(where).get(id(value))
        if where is not None and number is not None:
            return 1, where.oid, number
        if type(value) is tuple and depth:
            return 2, [self._place_of(part, depth - 1) for part in value]
        if type(value) is frozenset and depth:
            return 3, sorted(self._place_of(part, depth - 1) for part in value)
        return 4, type(value).__qualname__

    def _place_of_entry(self, entry: tuple[int, Any]) -> tuple[Any, ...]:
        return self._place_of(entry[1])

    def _take_instance(self, obj: Any, kind: Kind) -> list[Any]:
        layout, watch = self._layout, self._layout.watch
        watch.watched.append(obj)
        if kind.dependent:
            self._depend(kind.cls)
        if kind.slots:
            return self._take_slots(obj, kind)
        inline = kind.inline
        order = inline.order(obj) if inline is not None else None
        if order is None:
            if kind.has_dict:
                return self._take_attributes(obj, kind.cls)
            layout.add(Group.SHAPED, (kind.cls, ()))
            return []
        assert inline is not None
        values = get_referents(obj)
        values.pop()  # the class
        if len(values) != len(order):
            raise AssertionError(f"{len(order)} attributes, but {len(values)} referents")
        names = kind.straight_names(inline.count())
        if order != _STRAIGHT[: len(order)]:
            by_place = dict(zip(sorted(order), values, strict=True))
            values = [by_place[place] for place in order]
            names = tuple(names[place] for place in order)
            watch.loose.append((inline.order, obj))
        elif len(order) == len(names):
            watch.classes.add(kind)
        else:
            names = names[: len(order)]
            watch.loose.append((inline.order, obj))
        layout.add(Group.SHAPED, (kind.cls, names))
        self._values(values)
        return values

    def _take_attributes(self, obj: Any, cls: type) -> list[Any]:
        """An instance with a ``__dict__``."""
        own = obj.__dict__
        if self._is_shared(own):
            self._layout.add(Group.ADOPTING, cls)
            self._layout.watch.loose.append((_id_of_dict, obj))
            self._values((own,))
            return [own]
        names, values = list(own), list(own.values())
        self._watch_attributes(obj, own)
        self._values(values)
        if all(type(name) is str for name in names):
            self._layout.add(Group.SHAPED, (cls, tuple(names)))
            return values
        self._values(names)
        self._layout.add(Group.ATTRIBUTES, cls)
        return [(names, values, None)]

    def _is_shared(self, own: dict[Any, Any]) -> bool:
        """Whether something else in the graph leads to a ``__dict__``: that is stored as a node, then."""
        where = self.heap.home.get(id(own))
        if where is None:
            self._place(own)
            self._touched.pop()
            self._sections[id(own)] = _ITS_OWN
            return False
        if id(own) not in self.numbers(where):
            self._promote(own, where)
        return True

    def _take_slots(self, obj: Any, kind: Kind) -> list[Any]:
        slots = bound_slots(kind, obj)
        values = list(slots.values())
        self._values(values)
        if len(slots) < len(kind.slots):
            self._layout.watch.loose.append((partial(_names_of_slots, kind), obj))
        own = obj.__dict__ if kind.has_dict else None
        if own is None:
            self._layout.add(Group.SHAPED, (kind.cls, tuple(slots)))
            return values
        self._watch_attributes(obj, own)
        names, attributes = list(own), list(own.values())
        self._values(attributes)
        self._values(names)
        self._layout.add(Group.ATTRIBUTES, kind.cls)
        return [(names, attributes, [tuple(slots), *values])]

    def _watch_attributes(self, obj: Any, own: dict[Any, Any]) -> None:
        watch = self._layout.watch
        watch.see(own)
        watch.keyed.append(own)
        watch.loose.append((_id_of_dict, obj))

    def _take_persistent(self, obj: Any, kind: Kind) -> list[Any]:
        self._layout.add(Group.PERSISTENT, None)
        state = obj.__getstate__()
        self._pending.append((state, True))
        own = getattr(obj, "__dict__", None)
        if own is not None:  # Persistent does not notice who writes into that
            self._layout.watch.see(own)
            self._layout.watch.keyed.append(own)
        self._is_late = self._looks_inside = True
        return [state]

    def _take_ephemeral(self, obj: Any, kind: Kind) -> list[Any]:
        """What is stored of it is how it is made."""
        recipe = recipes[id(obj)]
        self._layout.simple = False
        self._layout.add(Group.EPHEMERAL, (recipe.function, recipe.arguments, recipe.keywords))
        made_with = (recipe.function, *recipe.arguments, *recipe.keywords.values())
        self._for_making(*((part, False) for part in made_with))
        if self._layout.deps:
            raise UnsupportedValue(
                f"{type(obj).__module__}.{type(obj).__qualname__}",
                "it was declared ephemeral, but is made with objects of the graph, which would not be there yet",
                "make it by a function of a module, with plain data, or declare it as a pstore.Ephemeral of a class, which "
                "is given the instance",
            )
        return []

    def _take_placed(self, obj: Any, kind: Kind) -> list[Any]:
        """A tuple or frozenset with a cluster of its own."""
        self._layout.add(Group.VALUE, obj)
        self._for_making(*((item, False) for item in obj), hashed=() if type(obj) is tuple else obj)
        return []

    # ------------------------------------------------------------ what reduces

    def _reduce(self, obj: Any) -> Reduced:
        reduced = self.reduced.get(id(obj))
        if reduced is None:
            reduced = self.reduced[id(obj)] = Reduced(obj, self._same)
        return reduced

    def _take_reduced(self, obj: Any, kind: Kind) -> list[Any]:
        container = CONTAINERS.get(kind.cls)
        if container is not None:
            return self._take_container(obj, container)
        reduced = self._reduce(obj)
        if reduced.value is None:  # it can be found by name by now
            self._layout.add(Group.VALUE, obj)
            return []
        function, arguments, *rest = reduced.value
        self._watch_reduced(obj, kind, reduced)
        if self._cluster.dependent or self._cluster.solo:
            self._for_making((function, False), *self._arguments_of(reduced))
            if isinstance(obj, type):
                self._made_late = False
            elif self._cluster.solo and self._looks_at_arguments(obj, kind, arguments):
                self._made_late = True
        self._layout.add(Group.MADE, (function, arguments))
        if not reduced.has_state:
            return [None]
        self._note_state(reduced)
        if not isinstance(obj, _FILLED_EARLY):
            self._is_late = True
            self._looks_inside |= rest[3] is None or rest[3].__module__ != stored.__module__
        if kind.hashed_by_value and isinstance(obj, (dict, set)):
            self._hashed(list(dict.keys(obj) if isinstance(obj, dict) else set.__iter__(obj)))
        return [tuple(rest)]

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

    def _take_container(self, obj: Any, container: Any) -> list[Any]:
        watch = self._layout.watch
        self._layout.add(Group.MADE, (container.make, container.arguments(obj)))
        watch.see(obj)
        if container.keyed:
            watch.keyed.append(obj)
        if container.look is not None:
            watch.loose.append((container.look, obj))
        state = container.state(obj)
        for part in state:
            self._values(part if type(part) is list else (part,))
        if container.hashes:
            self._hashed(list(obj))
        return [(state, None, None, container.fill)]

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

    def _depend(self, cls: type) -> None:
        if id(cls) not in self._layout.deps:
            self._for_making((cls, False))

    def _watch_reduced(self, obj: Any, kind: Kind, reduced: Reduced) -> None:
        watch = self._layout.watch
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
        elif not kind.immutable or reduced.has_state:
            watch.opaque = True

    # ------------------------------------------------------------ values

    def _flush(self) -> None:
        pending = self._pending
        while pending:
            value, owned = pending.pop()
            cls = type(value)
            if not owned or cls not in _TEMPORARY:
                if owned and cls not in _ATOMS and value is not None:
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
                    self._hashed(list(value))

    def _temporary(self, value: Any) -> None:
        """An object that a reduce value alone holds: part of the state that it occurs in, whatever it is."""
        kind = self.heap.kinds[type(value)]
        if kind.code in (LEAF, PERSISTENT) or kind.cls in _SEEN_WHOLE or isinstance(value, type):
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
            if type(value) in _ATOMS:
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
                    self._foreign[id(value)] = value
                if known.late:
                    self._is_late = True
                    self._late_for.append(id(value))

    def _many(self, values: list[Any]) -> bool:
        """Note many values at once, if they are new instances of one class, or atoms."""
        kinds = {self.heap.kinds[cls] for cls in set(map(type, values))}
        if all(kind.cls in _ATOMS for kind in kinds):
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

    def _promote(self, value: Any, where: Cluster) -> None:
        """Give a placed object a cluster of its own."""
        self._retake(where)
        own = self.new_cluster(dependent=True, solo=True)
        self.put(value, own)

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
        else:
            self._new_reduced(value, kind)

    def _place_parts(self, value: Any) -> None:
        for item in value:
            if type(item) not in _ATOMS:
                self._pending.append((item, False))
        if type(value) is frozenset:
            self._hashed(list(value))

    def _place(self, value: Any) -> None:
        self.heap.home[id(value)] = self._cluster
        self._added.append(id(value))
        self._sections[id(value)] = None
        self._touched.append(value)
        self._layout.placed.append(value)

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
            if not kind.immutable and not isinstance(value, _SEEN_WHOLE):
                self._is_late = self._looks_inside = True
            self._pending += ((function, False), *self._arguments_of(reduced))
            self._note_state(reduced)
            if kind.hashed_by_value and isinstance(value, frozenset):
                self._hashed(list(frozenset.__iter__(value)))

    def _always_leaves(self, function: Any, arguments: tuple[Any, ...], cls: type) -> bool:
        """Whether an object is made with its class and leaves alone, now and later, so that it can be made before."""
        others = arguments[1:] if arguments and arguments[0] is cls else arguments
        if others and (getattr(function, "__module__", None) != stored.__module__ or function is exception_by):
            return False  # what a __reduce__ of the user's says may change
        return self._are_leaves((function, *others))

    def _looks_at_arguments(self, obj: Any, kind: Kind, arguments: tuple[Any, ...]) -> bool:
        """Whether what an object is made with has to be filled before, as far as that can be."""
        return not (kind.immutable or isinstance(obj, _SEEN_WHOLE) or self._are_leaves(arguments))

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
            if type(key) in _ATOMS:
                continue
            kind = kinds[type(key)]
            if kind.code == PLACED:
                todo += key
            elif kind.hashed_by_value and not isinstance(key, (type, MethodType, Persistent)):
                self._is_late = True
                self._late_for.append(id(key))


_TAKE: dict[int, Callable[[Survey, Any, Kind], list[Any]]] = {
    LIST: Survey._take_list,
    DICT: Survey._take_dict,
    SET: Survey._take_set,
    INSTANCE: Survey._take_instance,
    PLACED: Survey._take_placed,
    REDUCED: Survey._take_reduced,
    PERSISTENT: Survey._take_persistent,
}
_ATOMS = frozenset((type(None), bool, int, float, str, bytes))


def _has_room(cluster: Cluster) -> bool:
    return not cluster.solo and len(cluster.nodes) < _NODES and cluster.weight < _WEIGHT


def _id_of_dict(obj: Any) -> int:
    return id(obj.__dict__)


def bound_slots(kind: Kind, obj: Any) -> dict[str, Any]:
    """The slots of an instance that are set."""
    found = {}
    for name, descriptor in kind.slots.items():
        try:
            found[name] = descriptor.__get__(obj)
        except AttributeError:
            continue
    return found


def _names_of_slots(kind: Kind, obj: Any) -> tuple[str, ...]:
    return tuple(bound_slots(kind, obj)) if type(obj) is kind.cls else ()
