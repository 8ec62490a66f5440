"""Rows of instances that hold only atoms (layer 2).

Owns: :class:`Row`, what the instances of such a row have in common, and whether they have only exchanged atoms since.

A *row* are instances of one class that a `survey` has taken all at once: each has all names that the class shares, got
them in the same order, has no ``__dict__``, and holds only atoms.  Most objects of large graphs are in clusters of
one row.  Where nothing has happened to these but that atoms have taken the place of atoms, a survey would find what the
last one has found: no object has come into the graph, none has left it, and what to watch is what was watched.  What is
to be written is known then from what is seen, and so is what to settle; to find that out by a survey was half of what a
commit took that is so small.

Rule: what is not certain is left to a survey.
"""

from __future__ import annotations

from itertools import compress
from operator import is_not
from sys import intern
from typing import Any

from pstore._frames.attributes import Inline
from pstore._store.ephemeral import recipes
from pstore._store.kinds import ATOMS, Kind

__all__ = ["Row", "row_of"]

_CACHE_LIMIT = 50
_STRAIGHT = bytes(range(256))


class Row:
    """What the instances of a row have in common.

    Attributes:
        cls: their class.
        names: of their attributes, in the order in which they got them.
    """

    __slots__ = ("_inline", "_order", "_straight", "cls", "names")

    def __init__(self, cls: type, inline: Inline, names: tuple[str, ...], order: bytes) -> None:
        self.cls, self._inline, self._order = cls, inline, order
        self._straight = order == _STRAIGHT[: len(order)]
        self.names = tuple(intern(names[place]) for place in order)

    def values(self, held: list[Any]) -> list[Any]:
        """The values of the attributes, in the order of their names, of what the instances refer to."""
        width = len(self.names)
        values = held.copy()
        del values[width :: width + 1]  # the class
        if not self._straight:
            for at, place in enumerate(self._order):
                values[at::width] = held[place :: width + 1]
        return values

    def only_atoms(self, nodes: list[Any], before: list[Any], now: list[Any]) -> bool:
        """Whether nothing but atoms has taken the place of atoms in what such instances, these nodes, refer to.

        Before, those were atoms, and after those of each instance its class, which is none.  So where what is there now
        in the place of another is an atom, no instance has less values than before.  Nor has one more, then, or a
        ``__dict__``, which would be a referent, too.  That leaves names and order, of those that have another value.
        """
        if len(now) != len(before):
            return False
        width = len(self.names)
        places = list(compress(range(len(now)), map(is_not, before, now)))
        if not ATOMS.issuperset(type(now[place]) for place in places):
            return False
        if recipes and not recipes.keys().isdisjoint(map(id, nodes)):
            return False
        return self._inline.common_order([nodes[place // (width + 1)] for place in places]) == self._order


def row_of(kind: Kind, inline: Inline, order: bytes) -> Row:
    """The row of instances of a kind that got their attributes in this order."""
    rows: dict[bytes, Row] = kind.rows
    row = rows.get(order)
    if row is None:
        if len(rows) >= _CACHE_LIMIT:
            rows.clear()
        row = rows[order] = Row(kind.cls, inline, kind.straight_names(len(order)), order)
    return row
