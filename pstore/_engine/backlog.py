"""`Backlog`: things in a row, the first in the first out; part of the graph.

A deque is stored as a whole: with ten thousand messages in it, each one that is taken would write them all again.  This
is a deque of short lists, of which a commit writes those that have changed.

Rule: what is used of it is what a deque has, too, as older stores have deques in its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

__all__ = ["Backlog"]


class Backlog:
    """A row, in parts; none of them is empty."""

    PART = 64

    def __init__(self) -> None:
        self._parts: deque[list[Any]] = deque()

    def append(self, item: Any) -> None:
        """Add to the end."""
        if not self._parts or len(self._parts[-1]) >= self.PART:
            self._parts.append([])
        self._parts[-1].append(item)

    def popleft(self) -> Any:
        """Take the first.

        Raises:
            IndexError: there is none.
        """
        first = self._parts[0]
        item = first.pop(0)
        if not first:
            self._parts.popleft()
        return item

    def __getitem__(self, index: int) -> Any:
        """Give the first, which is ``[0]``; others as those of a list, at the price of making one."""
        return self._parts[0][0] if index == 0 else list(self)[index]

    def __iter__(self) -> Iterator[Any]:
        for part in self._parts:
            yield from part

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __bool__(self) -> bool:
        return bool(self._parts)
