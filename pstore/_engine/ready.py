"""`ReadyCalls`: the calls of the loop that are ready, in order, and how their order is stored.

A call that makes the next step of a task is stored with the task, which has its *turn* (`Task.turn`); the others are in
`LoopState.ready`, with theirs.  Turns are counted on and on, so that a call keeps its own while those before it are
made: a commit is about those that were added since the last.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from types import MethodType
from typing import Any

from pstore._engine.task import Task

__all__ = ["ReadyCalls"]

Turns = list[tuple[int, asyncio.Handle]]


class ReadyCalls(deque[asyncio.Handle]):
    """See the module.

    Attributes:
        first: the turn of the first; whoever takes one from the left counts it on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = 0
        self._settled: int | None = None  # up to there it is said who has which turn; None: of nobody

    def take_up(self, stored: Turns) -> None:
        """Take in what was stored."""
        stored.sort(key=lambda entry: entry[0])
        self.first, self._settled = (stored[0][0] if stored else 0), None
        self.extend(handle for _, handle in stored)

    def settle(self, others: Turns) -> Turns:
        """Tell the tasks their turns; give the other calls with theirs.

        Args:
            others: what this gave for the commit before; of no account for the first.
        """
        first, found = self.first, Turns()
        if self._settled is None:
            start = first
        else:
            start = max(first, self._settled)
            found += [entry for entry in others if entry[0] >= first and not entry[1].cancelled()]
        for turn, handle in enumerate(islice(self, start - first, None), start):
            task = _stepping(handle)
            if task is None:
                if not handle.cancelled():
                    found.append((turn, handle))
            elif task.turn != turn:
                task.turn = turn
                task.touch()
        self._settled = first + len(self)
        return found


def _stepping(handle: asyncio.Handle) -> Task[Any] | None:
    """The task whose next step a call makes, if that is all there is to it."""
    callback: Any = getattr(handle, "_callback", None)
    if isinstance(callback, MethodType) and isinstance(callback.__self__, Task) and not handle.cancelled():
        task = callback.__self__
        if task.is_next_call(handle):
            return task
    return None
