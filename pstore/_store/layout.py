"""What is to be written of one cluster (layer 2).

Owns: :class:`Layout`, which a survey fills and `body` writes; :class:`Group`, the kinds of nodes in a body.
"""

from __future__ import annotations

from collections.abc import Iterable
from sys import intern
from typing import Any

from pstore._store.clusters import Watch
from pstore._store.rows import Row

__all__ = ["Group", "Layout"]


class Group:
    """What a run of nodes in a body is.  Stored, so that the numbers never change."""

    HOLE, LIST, DICT, SET, SHAPED, ATTRIBUTES, ADOPTING, MADE, VALUE, PERSISTENT = range(10)
    EPHEMERAL, LONG_LIST, LONG_DICT, RUN = range(10, 14)
    LONG = (LONG_LIST, LONG_DICT)


_NO_WATCH = Watch()


class Layout:
    """What is to be written of one cluster.

    Attributes:
        groups: [code, payload, count] for runs of nodes in order of number.
        flat: the states of the nodes, one after the other.
        late: (number of the node, its state, ids of the objects that have to be filled before).
        deps: id -> object: foreign nodes that are needed to make the nodes.
        foreign: id -> object: foreign nodes that are needed to fill them.
        simple: what to watch is the nodes, and the keys of those that are dicts; nothing is placed.
        plain: besides, no instance has a ``__dict__`` or lacks attributes.
        unordered: it has sets of objects.
        shuffled: it has frozensets, or what is stored as a set is pickled: in the order that this process gives them.
        alone: 1: the cluster is for one node alone; 2: that one is made when what it is made with is filled.
        held: what the nodes refer to, if they are one row.
        edges, watch, placed, row: see `Cluster`.
    """

    __slots__ = (
        "_apart",
        "_names",
        "alone",
        "deps",
        "edges",
        "flat",
        "foreign",
        "groups",
        "held",
        "late",
        "placed",
        "plain",
        "row",
        "shuffled",
        "simple",
        "unordered",
        "watch",
    )

    def __init__(self) -> None:
        self.groups: list[list[Any]] = []
        self.flat: list[Any] = []
        self.late: list[tuple[int, list[Any], list[int]]] = []
        self.deps: dict[int, Any] = {}
        self.foreign: dict[int, Any] = {}
        self.simple = True
        self.plain = self.unordered = self.shuffled = False
        self.alone = 0
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._apart: dict[str, str] = {}
        self.watch = Watch()
        self.placed: list[Any] = []
        self.edges: list[list[int]] = []
        self.row: Row | None = None
        self.held: list[Any] | None = None

    def clear(self) -> None:
        """Hold nothing any more."""
        self.groups, self.flat, self.late, self.deps, self.foreign, self.held = [], [], [], {}, {}, None
        self.watch, self.placed, self.edges = _NO_WATCH, [], []  # those are its cluster's by now

    def apart(self, names: Iterable[Any]) -> list[Any]:
        """Names of attributes, as strings that nothing else in the graph is.

        Names are interned, strings that are loaded are not: whether one is the name itself does not last.
        """
        known = self._apart
        return [known.setdefault(name, _copied(name)) if type(name) is str else name for name in names]

    def add(self, code: int, payload: Any) -> None:
        """One more node."""
        if self.groups and code not in (Group.MADE, Group.VALUE, Group.EPHEMERAL):
            last = self.groups[-1]
            if last[0] == code and (last[1] is payload or (type(payload) is tuple and last[1] == payload)):
                last[2] += 1
                return
        if code == Group.SHAPED:  # what is written must not depend on which of equal names are the same object
            cls, names = payload
            payload = cls, self._names.setdefault(names, tuple(map(intern, names)))
        self.groups.append([code, payload, 1])


def _copied(text: str) -> str:
    return str(text.encode("utf-8", "surrogatepass"), "utf-8", "surrogatepass")
