"""What objects that are not loaded lead to (layer 2).

A `Persistent` object is loaded when it is first used.  Until then reference counts do not tell that what its record
refers to is still needed: that is found out here, by reading references, before anything that came from the store is
let go of.

Owns: :class:`Unloaded`.  Rule: where that would take too long, or a record cannot be read, all that came from the store
is kept: it takes room, and is never lost.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping

__all__ = ["Unloaded"]

_MOST = 10_000  # records that are read to find out, at some ten microseconds each


class Unloaded:
    """The records that are not loaded, and lead to those that are.

    Args:
        references_of: object id of a record -> object ids of those that it refers to.
        is_loaded: tells of an object id whether its record is loaded by now.
        is_there: tells of an object id whether its object is there, loaded or not: whether anything leads to it.
    """

    def __init__(
        self,
        references_of: Callable[[bytes], Iterable[bytes]],
        is_loaded: Callable[[bytes], bool],
        is_there: Callable[[bytes], bool],
    ) -> None:
        self._references_of, self._is_loaded, self._is_there = references_of, is_loaded, is_there
        self._came: dict[bytes, int] = {}
        self._ghosts: set[bytes] = set()
        self._needed: Container[bytes] | None = None

    def met(self, oid: bytes) -> None:
        """A record that is loaded leads to this one, of a `Persistent` object, which may not be loaded."""
        self._ghosts.add(oid)

    def came(self, counts: Mapping[bytes, int]) -> None:
        """These records were loaded: object id -> how many nodes it has."""
        self._came.update(counts)

    def look_again(self) -> None:
        """Find out anew what is needed: some may have been loaded, or let go of."""
        self._needed = None

    def lead_to(self, oid: bytes) -> int:
        """To how many nodes of a record, the first ones, records that are not loaded may lead.

        Not to those that were made since the store was opened: whatever leads to them was loaded then.
        """
        count = self._came.get(oid, 0)
        if not count:
            return 0
        if self._needed is None:
            self._needed = self._find()
        return count if oid in self._needed else 0

    def _find(self) -> Container[bytes]:
        """What records lead to that are not loaded now; of those that are loaded later, it is more than needed."""
        todo = [oid for oid in self._ghosts if self._is_there(oid) and not self._is_loaded(oid)]
        seen, needed = set(todo), set[bytes]()
        while todo:
            if len(seen) > _MOST:
                return self._came
            try:
                references = self._references_of(todo.pop())
            except Exception:  # it is reported when it is loaded
                return self._came
            for oid in references:
                needed.add(oid)
                if oid not in seen and not self._is_loaded(oid):
                    seen.add(oid)
                    todo.append(oid)
        return needed
