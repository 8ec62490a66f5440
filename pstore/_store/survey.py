"""Taking clusters apart for writing (layer 2).

Owns: :class:`Survey`, one pass over the clusters that may have changed, before a commit.  It finds, by `cutting`, the
nodes that are new and which others a cluster leads to, and lays out for `body` what is to be written of each
(:class:`Layout`).  Nothing is written, and `undo` takes back what it did to the heap.

Rule: a layout depends on what is stored alone: not on addresses, caches, or what somebody has looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from gc import get_referents
from itertools import chain
from types import CellType
from typing import Any

from pstore._frames.stored import stored
from pstore._store.clusters import Cluster
from pstore._store.containers import CONTAINERS, Values
from pstore._store.cutting import ITS_OWN, STATES, Cutting, id_of_dict
from pstore._store.ephemeral import recipes
from pstore._store.kinds import ATOMS, DICT, INSTANCE, LIST, PERSISTENT, PLACED, REDUCED, SET, Kind
from pstore._store.layout import Group, Layout
from pstore._store.reduced import FRAMES
from pstore._store.rows import row_of
from pstore._store.runs import LONG, cut
from pstore.errors import UnsupportedValue

__all__ = ["Survey", "may_become_dict"]

_FILLED_EARLY = (*FRAMES, CellType)
_MANY = 200
_STRAIGHT = bytes(range(256))
_SORTED = frozenset((int, str, bytes))


class Survey(Cutting):
    """See the module, and `Cutting`."""

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
                    self._enter_section(number if self._is_late else STATES)
                if cluster.solo:
                    self._note_making(cluster, layout, obj)
            number += 1
        self._judge(cluster, layout)
        if self._spoilt:  # something of it got a cluster of its own meanwhile: it is taken once more
            self._cluster = None
            self.again(cluster)

    def _take_run(self, number: int, kind: Kind) -> int:
        """Take all instances at once that stand in a row, have all names that their class knows, and hold only atoms.

        Gives how many; 0 if they are not of that kind.  Most objects of large graphs are: this is four times as fast.
        """
        inline = kind.inline
        if inline is None or kind.slots or kind.dependent:
            return 0
        nodes, end = self._cluster.nodes, number
        for node in nodes[number:]:
            if type(node) is not kind.cls or id(node) in recipes:
                break
            end += 1
        objects = nodes[number:end]
        width = inline.count()
        held = get_referents(*objects)
        order = inline.common_order(objects)
        if order is None or len(held) != len(objects) * (width + 1):
            return 0
        row = row_of(kind, inline, order)
        values = row.values(held)
        if not ATOMS.issuperset(map(type, values)):
            return 0
        cluster, layout = self._cluster, self._layout
        if len(objects) == len(nodes) and not (cluster.dependent or cluster.solo):
            layout.row, layout.held = row, held
        layout.add(Group.SHAPED, (kind.cls, row.names))
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
            layout.simple = all(sections.get(id(value)) == ITS_OWN for value in layout.placed)
        layout.plain = layout.simple and not (layout.placed or watch.loose)
        if layout.unordered:
            layout.foreign = dict(sorted(layout.foreign.items(), key=self._place_of_entry))

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
        if len(get_referents(obj)) < len(obj):  # the __dict__ of an instance that has the values itself (3.13+)
            layout.watch.loose.append((Values, obj))
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
        if ATOMS.issuperset(map(type, keys)):
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
        classes = set(map(type, items))
        layout.unordered |= not ATOMS.issuperset(classes)
        if len(classes) == 1 and classes <= _SORTED:
            items.sort()
        else:
            items.sort(key=self._place_of)
        return [len(items), *items]

    def _place_of(self, value: Any, depth: int = 3) -> tuple[Any, ...]:
        """Orders members of sets by value, or by where they are stored: addresses and hashes of strings do not last."""
        if type(value) in ATOMS:
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
            whole = len(order) == len(names)
            names = tuple(names[place] for place in order)
        else:
            whole = len(order) == len(names)
            names = names[: len(order)]
        if whole:
            watch.classes.add(kind)
        if not whole or may_become_dict(values):
            watch.loose.append((inline.order, obj))
        layout.add(Group.SHAPED, (kind.cls, names))
        self._values(values)
        return values

    def _take_attributes(self, obj: Any, cls: type) -> list[Any]:
        """An instance with a ``__dict__``."""
        own = obj.__dict__
        if self._is_shared(own):
            self._layout.add(Group.ADOPTING, cls)
            self._layout.watch.loose.append((id_of_dict, obj))
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
        return [(self._layout.apart(names), values, None)]

    def _is_shared(self, own: dict[Any, Any]) -> bool:
        """Whether something else in the graph leads to a ``__dict__``: that is stored as a node, then."""
        where = self.heap.home.get(id(own))
        if where is None:
            self._place(own)
            self._touched.pop()
            self._sections[id(own)] = ITS_OWN
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
        layout = self._layout
        layout.add(Group.ATTRIBUTES, kind.cls)
        return [(layout.apart(names), attributes, [tuple(layout.apart(slots)), *values])]

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
                "make it by a function of a module, with plain data, or declare it as a pstore.Ephemeral of a class, "
                "which is given the instance",
            )
        return []

    def _take_placed(self, obj: Any, kind: Kind) -> list[Any]:
        """A tuple or frozenset with a cluster of its own."""
        self._layout.add(Group.VALUE, obj)
        self._layout.shuffled |= type(obj) is frozenset
        self._for_making(*((item, False) for item in obj), hashed=() if type(obj) is tuple else obj)
        return []

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
        self._layout.shuffled |= isinstance(obj, (set, frozenset))
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

    def _depend(self, cls: type) -> None:
        if id(cls) not in self._layout.deps:
            self._for_making((cls, False))


_TAKE: dict[int, Callable[[Survey, Any, Kind], list[Any]]] = {
    LIST: Survey._take_list,
    DICT: Survey._take_dict,
    SET: Survey._take_set,
    INSTANCE: Survey._take_instance,
    PLACED: Survey._take_placed,
    REDUCED: Survey._take_reduced,
    PERSISTENT: Survey._take_persistent,
}


def may_become_dict(values: list[Any]) -> bool:
    """Whether the values of an instance would be its referents, too, if they, or it, were to be its ``__dict__``."""
    return len(values) == 1 and isinstance(values[0], dict)


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
