"""`Lot`: the tasks that are parked: they are stored, and not in memory.

    tasks    id -> (record, state, since, number, deadline, order)
    due      deadline and order -> id
    since    state, since and number -> id

Owns: these trees, which stand beside the graph (`pstore._store.shelf`), however many parked tasks there are: what is
asked of them costs what is found.

Rules: an entry is as the task was stored; who brings a task back takes its entry out; what is to be changed is read
before anything is, as the database may not be there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from pstore._store.shelf import Reference, Shelf

__all__ = ["Entry", "Lot"]

_MOMENT = struct.Struct(">dQ")
_FIRST = struct.Struct(">d")
_CHUNK = 1000


class Entry(NamedTuple):
    """What is known of a parked task.

    Attributes:
        record: object id of its record.
        state: as of `tags.STATES`, its number.
        since: when it came to where it stands, UTC seconds.
        number: of the task.
        deadline: when its first timer is due, UTC seconds; None: it has none.
        order: of that timer: those of one deadline are due in it.
    """

    record: bytes
    state: int
    since: float
    number: int
    deadline: float | None
    order: int


class Lot:
    """See the module."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def tell_of_failures(self, told: Callable[[Exception], None]) -> None:
        """Have it told when a part of it cannot be read."""
        self._shelf.could_not_read = told

    def _find(self, name: str) -> Any:
        tree = self._shelf.find(name)
        return {} if tree is None else tree

    def put(self, task_id: str, entry: Entry) -> None:
        """Park a task."""
        tree = self._shelf.tree
        self._read(task_id, entry)
        tree("tasks")[task_id] = (Reference(entry.record), *entry[1:])
        tree("since")[_since_key(entry)] = task_id
        if entry.deadline is not None:
            tree("due")[_MOMENT.pack(entry.deadline, entry.order)] = task_id

    def take(self, task_id: str) -> None:
        """Take a task out, if it is there."""
        entry = self.get(task_id)
        if entry is None:
            return
        tree = self._shelf.tree
        self._read(task_id, entry)
        del tree("tasks")[task_id]
        del tree("since")[_since_key(entry)]
        if entry.deadline is not None:
            del tree("due")[_MOMENT.pack(entry.deadline, entry.order)]

    def reach(self, task_id: str) -> None:
        """Read what `take` is going to change, but for pages that an empty one has to be taken out of."""
        entry = self.get(task_id)
        if entry is not None:
            self._read(task_id, entry)

    def _read(self, task_id: str, entry: Entry) -> None:
        self._find("tasks").get(task_id)
        self._find("since").get(_since_key(entry))
        if entry.deadline is not None:
            self._find("due").get(_MOMENT.pack(entry.deadline, entry.order))

    def get(self, task_id: str) -> Entry | None:
        """What is known of a task that is parked."""
        found = self._find("tasks").get(task_id)
        if found is None:
            return None
        return Entry._make(found if len(found) > 5 else (*found, found[3]))  # once the number was in place of the order

    def record_of(self, task_id: str) -> bytes | None:
        """The record of a task that is parked."""
        found = self._find("tasks").get(task_id)
        return None if found is None else bytes(found[0])

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._find("tasks")

    def __iter__(self) -> Iterator[str]:
        """The ids, in no order that matters; tasks may be taken out meanwhile."""
        tree, last = self._find("tasks"), None
        while chunk := list(islice(tree.keys(last, excludemin=last is not None), _CHUNK)) if tree else []:
            yield from chunk
            last = chunk[-1]

    def numbered(self) -> Iterator[tuple[int, str]]:
        """The number and id of each; no task may be taken out meanwhile."""
        tree = self._find("since")
        return ((_MOMENT.unpack_from(key, 1)[1], task_id) for key, task_id in tree.items())

    def next_due(self) -> tuple[float, int] | None:
        """When the first timer of a parked task is due, UTC seconds, and its order."""
        tree = self._find("due")
        if not tree:
            return None
        deadline, order = _MOMENT.unpack(tree.minKey())
        return deadline, order

    def due(self, now: float, most: int) -> list[str]:
        """Ids of parked tasks whose first timer is due, in the order of those; at most so many."""
        found: list[str] = []
        tree = self._find("due")
        if tree:
            for key, task_id in tree.items():
                if len(found) >= most or _MOMENT.unpack(key)[0] > now:
                    break
                found.append(task_id)
        return found

    def of_state(self, state: int, since: float | None) -> list[tuple[float, int, str]]:
        """The moment, number and id of the parked tasks of a state, since a moment; the earliest first."""
        tree, first = self._find("since"), bytes((state,))
        # as bytes, what is less than nothing comes after all others
        start = first + _FIRST.pack(since) if since is not None and since > 0 else first
        found = tree.items(start, bytes((state + 1,)), excludemax=True) if tree else ()
        entries = ((*_MOMENT.unpack_from(key, 1), task_id) for key, task_id in found)
        return [entry for entry in entries if since is None or entry[0] >= since]


def _since_key(entry: Entry) -> bytes:
    return bytes((entry.state,)) + _MOMENT.pack(entry.since, entry.number)
