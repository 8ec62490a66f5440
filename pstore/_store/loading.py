"""Records -> live objects (layer 2).

Owns: :class:`Loader`, which loads the record that is asked for and all that it leads to, up to `Persistent` objects,
which wait until they are used.

Order: all bodies are read; the nodes of all are made, without contents; then all are filled; then those are filled
that hash others, or are made of others by functions that may look into them, each after those that it needs.  So it
does not matter how the graph runs in cycles, or through which records.

Rule: either all of it is loaded, or nothing has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from gc import get_referents
from itertools import groupby
from types import FunctionType, MethodType
from typing import Any

from pstore._frames import Parts
from pstore._store.body import Reading, digest_of
from pstore._store.clusters import Cluster, Watch
from pstore._store.heap import Heap
from pstore._store.layout import Group
from pstore._store.loadby import IN_STORE, load_by
from pstore._store.survey import may_become_dict
from pstore.errors import RebuildError

__all__ = ["Loader"]

_LATE = 2  # see `body`: alone
_INT = frozenset((int,))
_SOME = 16  # of so many objects that were filled in the same way one is looked at
_FOLLOWED = frozenset((tuple, frozenset, partial, FunctionType, MethodType))

Record = tuple[bytes, tuple[bytes, ...], bytes]
"""Body, object ids of the records that it refers to, id of the transaction that wrote it."""


class _Entry:
    """One record on its way.

    Attributes:
        missing: (place among the foreign nodes, entry, number there) of those that are not made yet.
    """

    __slots__ = ("cluster", "made", "missing", "reading", "references")

    def __init__(self, cluster: Cluster, reading: Reading, references: tuple[bytes, ...]) -> None:
        self.cluster, self.reading, self.references = cluster, reading, references
        self.made = False
        self.missing: list[tuple[int, _Entry, int]] = []


_bases_of = type.__dict__["__bases__"].__get__  # whatever its metaclass says


def _places_of_nodes(table: tuple[Any, ...]) -> set[int]:
    """The places of the records that a table of foreign nodes, or of deps, names; without Persistent objects."""
    places, numbers = table[::2], table[1::2]
    if _INT.issuperset(map(type, numbers)):
        return set(places)
    return {place for place, number in zip(places, numbers, strict=True) if type(number) is int}


class Loader:
    """See the module.

    Args:
        heap: where what is loaded is entered.
        read: object id -> record.
        ghost: (object id, class) -> the Persistent object of that id, loaded or not.
        unpickler, is_shared: see `Reading`.
    """

    def __init__(
        self,
        heap: Heap,
        read: Callable[[bytes], Record],
        ghost: Callable[[bytes, type], Any],
        unpickler: Callable[..., Any],
        parts: Parts,
        is_shared: Callable[[Any], bool] | None = None,
    ) -> None:
        self._is_shared, self._parts = is_shared, parts
        self._heap, self._read, self._ghost, self._unpickler = heap, read, ghost, unpickler

    def load(self, oid: bytes, persistent: Any = None) -> tuple[list[Cluster], list[Cluster]]:
        """Load a record, and what it leads to that is not loaded.

        Args:
            oid: the record.
            persistent: the Persistent object that it is of, if it is of one.

        Returns:
            The clusters that are new, each with nodes and with what to watch; and those of them of which a survey has
            to find out what to watch.

        Raises:
            RebuildError: it cannot be brought back; names why.
        """
        return load_by(_Load.run, _Load(self, oid, persistent), self._parts, IN_STORE)


class _Load:
    def __init__(self, loader: Loader, oid: bytes, persistent: Any) -> None:
        self._heap = loader._heap
        self._loader = loader
        self._oid, self._persistent = oid, persistent
        self.entries: dict[bytes, _Entry] = {}
        self._pending: dict[int, tuple[_Entry, int]] = {}
        self._nodes: set[int] = set()
        self._seen: set[int] = set()

    def run(self) -> tuple[list[Cluster], list[Cluster]]:
        self._read()
        for entry in self.entries.values():
            if entry.reading.groups is not None:
                self._make(entry)
        for entry in self.entries.values():
            if entry.reading.alone < _LATE:
                self._make_with_deps(entry)
        for entry in self.entries.values():
            if entry.made:
                self._fill(entry)
        if self._pending or not all(entry.made for entry in self.entries.values()):
            self._nodes = {id(node) for entry in self.entries.values() for node in entry.reading.nodes}
            for entry in self.entries.values():
                if not entry.made:
                    self._settle(entry)
                for number, _ in entry.reading.late:
                    self._settle(entry.reading.nodes[number])
        return self._enter()

    def _read(self) -> None:
        todo = [self._oid]
        clusters = self._heap.clusters
        while todo:
            oid = todo.pop()
            if oid in self.entries or oid in clusters:
                continue
            body, references, serial = self._loader._read(oid)
            reading = Reading(body, self._loader._unpickler, self._loader._is_shared)
            cluster = Cluster(oid, dependent=bool(reading.deps), solo=reading.alone > 0)
            cluster.late = reading.alone == _LATE
            cluster.serial, cluster.digest = serial, digest_of(body, references)
            self.entries[oid] = _Entry(cluster, reading, references)
            for table in (reading.foreign, reading.deps):
                todo += [references[place] for place in _places_of_nodes(table)]

    def _make(self, entry: _Entry) -> None:
        reading = entry.reading
        reading.make(self._resolve(entry, reading.deps), self._persistent if entry.cluster.oid == self._oid else None)
        entry.made = True

    def _fill(self, entry: _Entry) -> None:
        reading = entry.reading
        reading.fill(self._resolve(entry, reading.foreign), self._heap.kinds)
        for index, (number, _) in enumerate(reading.late):
            self._pending[id(reading.nodes[number])] = entry, index
        if entry.missing and not reading.late:
            raise RebuildError("an object is filled with what is not made yet")

    def _make_with_deps(self, entry: _Entry) -> list[_Entry]:
        stack, made = [entry], []
        under_way = set()
        while stack:
            entry = stack[-1]
            if entry.made:
                stack.pop()
                continue
            deps = entry.reading.deps
            missing = []
            for place, number in zip(deps[::2], deps[1::2], strict=True):
                other = self.entries.get(entry.references[place])
                if type(number) is int and other is not None and not other.made:
                    missing.append(other)
            if not missing:
                self._make(entry)
                made.append(entry)
                stack.pop()
            elif entry in under_way:
                raise RebuildError("objects that have to be made of each other cannot be made")
            else:
                under_way.add(entry)
                stack += missing
        return made

    def _resolve(self, entry: _Entry, table: tuple[Any, ...]) -> list[Any]:
        found: list[Any] = []
        numbers = table[1::2]
        for place, row in groupby(table[::2]):  # many in a row are of one record
            row_of_numbers = numbers[len(found) : len(found) + len(list(row))]
            if not _INT.issuperset(map(type, row_of_numbers)):  # of a Persistent object it is the class
                found += [self._loader._ghost(entry.references[place], number) for number in row_of_numbers]
                continue
            other = self.entries.get(entry.references[place])
            if other is not None and not other.made:
                entry.missing += [(len(found) + n, other, number) for n, number in enumerate(row_of_numbers)]
                found += [None] * len(row_of_numbers)
                continue
            nodes = other.reading.nodes if other else self._heap.clusters[entry.references[place]].nodes
            found += map(nodes.__getitem__, row_of_numbers)
        return found

    # ------------------------------------------------------------ late nodes

    def _settle(self, start: Any) -> None:
        """Fill a late node, or make an entry, after all that it leads to, as far as that does not lead back to it.

        What is not late is filled, so that the garbage collector shows what it leads to.
        """
        stack: list[tuple[Any, bool]] = [(start, False)]
        seen, pending = self._seen, self._pending
        while stack:
            item, ready = stack.pop()
            if type(item) is _Entry:
                if item.made:
                    continue
                if ready:
                    stack += ((node, False) for node in self._make_late(item))
                elif id(item) not in seen:
                    seen.add(id(item))
                    stack.append((item, True))
                    stack += ((part, False) for part in self._needed(item))
            elif ready:
                self._fill_late(*pending[id(item)])
            elif id(item) not in seen:
                seen.add(id(item))
                late = pending.get(id(item))
                if late is None:
                    stack += ((part, False) for part in get_referents(item) if self._is_followed(part, item))
                else:
                    stack.append((item, True))
                    stack += ((part, False) for part in self._before(*late))
                    if issubclass(type(item), type):  # to make an instance may run functions of its bases
                        stack += ((base, False) for base in _bases_of(item) if id(base) in self._nodes)

    def _needed(self, entry: _Entry) -> Iterator[Any]:
        """What an entry is made with."""
        deps = entry.reading.deps
        for place, number in zip(deps[::2], deps[1::2], strict=True):
            other = self.entries.get(entry.references[place])
            if type(number) is int and other is not None:
                yield other.reading.nodes[number] if other.made else other

    def _before(self, entry: _Entry, index: int) -> Iterator[Any]:
        """What has to be filled, or made, before a late node is filled."""
        reading = entry.reading
        first = len(reading.memo) - len(reading.foreign) // 2
        missing = {first + place: other for place, other, _ in entry.missing}
        number, places = reading.late[index]
        if reading.is_long(number):  # it does not look into what its runs hold
            places = [place for place in places if id(reading.memo[place]) in self._pending]
        for place in places:
            yield missing.get(place) or reading.memo[place]

    def _fill_late(self, entry: _Entry, index: int) -> None:
        reading = entry.reading
        first = len(reading.memo) - len(reading.foreign) // 2
        for place, other, number in list(entry.missing):
            if not other.made and first + place in reading.late[index][1]:
                for node in self._make_late(other):  # what it is made with leads here, and cannot be filled before
                    self._settle(node)
            if other.made:
                reading.replace(place, other.reading.nodes[number])
        entry.missing = [one for one in entry.missing if not one[1].made]
        reading.fill_late(index, self._heap.kinds)

    def _make_late(self, entry: _Entry) -> list[Any]:
        """Make an entry, and those that it is made with, if need be; give the nodes that are to be filled late."""
        late = []
        for made in self._make_with_deps(entry):
            self._nodes.update(map(id, made.reading.nodes))
            self._fill(made)
            late += [made.reading.nodes[number] for number, _ in made.reading.late]
        return late

    def _is_followed(self, part: Any, owner: Any) -> bool:
        if id(part) in self._nodes or type(part) in _FOLLOWED:
            return True
        return type(part) is dict and id(owner) in self._nodes

    # ------------------------------------------------------------ afterwards

    def _enter(self) -> tuple[list[Cluster], list[Cluster]]:
        """Enter what was loaded into the heap."""
        heap = self._heap
        new, unclear = [], []
        for entry in self.entries.values():
            cluster = entry.cluster
            cluster.nodes = entry.reading.nodes
            if entry.reading.runs:
                heap.runs.update(entry.reading.runs)
                heap.run_ids.update(id(run) for runs in entry.reading.runs.values() for run in runs)
            heap.enter(cluster)
            watch = self._simple_watch(entry.reading)
            if watch is None:
                unclear.append(cluster)
            else:
                cluster.watch = watch
            new.append(cluster)
        return new, unclear

    def _simple_watch(self, reading: Reading) -> Watch | None:
        """What to watch, where that is to be seen without looking at each node; None where it is not."""
        if not reading.simple:
            return None
        watch = Watch()
        number = 0
        for code, payload, count in reading.groups:
            nodes = reading.nodes[number : number + count]
            number += count
            if code in (Group.HOLE, Group.RUN):
                continue
            if code == Group.SHAPED:
                watch.watched += nodes
                if not self._is_whole(payload, nodes, watch):
                    return None
                continue
            for node in nodes:
                watch.see(node)
            if code == Group.DICT:
                watch.keyed += nodes
        return watch

    def _is_whole(self, payload: tuple[type, tuple[str, ...]], nodes: list[Any], watch: Watch) -> bool:
        """Whether the instances have every attribute that their class knows, and no dict."""
        cls, names = payload
        kind = self._heap.kinds[cls]
        if kind.slots or not kind.has_dict:
            return not kind.has_dict and len(names) == len(kind.slots)
        inline = kind.inline
        if inline is None or sorted(kind.straight_names(inline.count())) != sorted(names):
            return False
        if len(names) == 1 and any(may_become_dict(get_referents(node)[:1]) for node in nodes):
            return False
        # all were filled in the same way
        if any(len(get_referents(node)) != len(names) + 1 or inline.order(node) is None for node in nodes[::_SOME]):
            return False
        watch.classes.add(kind)
        return True
