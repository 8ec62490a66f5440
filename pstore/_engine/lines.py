"""`Line`: the steps that wait for a limiter, and whose turn it is.  Never stored: every process makes it anew.

    lower priority first -> keys take turns -> started tasks take turns -> their tasks take turns -> in order

Rules: to take the next costs the same however many wait; a key that is at its bound is set aside, so that it is not
looked at again before it may go on; a step that nobody waits for any more is dropped when its turn comes.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pstore._engine.limits import Limits
from pstore._engine.options import NONE

if TYPE_CHECKING:
    from pstore._engine.outbox import Step

__all__ = ["Line"]


class _Turns:
    """Steps of one priority and key: those that have the same names on their path, level by level, take turns."""

    __slots__ = ("_names", "_steps")

    def __init__(self) -> None:
        # A step that is alone under its name stands there itself, with the rest of its path: as most do.
        self._names: OrderedDict[str, _Turns | tuple[tuple[str, ...], Step]] = OrderedDict()
        self._steps: deque[Step] | None = None

    def __bool__(self) -> bool:
        return bool(self._steps or self._names)

    def __iter__(self) -> Iterator[Step]:
        yield from self._steps or ()
        for turns in self._names.values():
            if isinstance(turns, tuple):
                yield turns[1]
            else:
                yield from turns

    def push(self, path: tuple[str, ...], step: Step) -> None:
        if not path:
            if self._steps is None:
                self._steps = deque()
            self._steps.append(step)
            return
        known = self._names.get(path[0])
        if known is None:
            self._names[path[0]] = path[1:], step
            return
        if isinstance(known, tuple):
            first, known = known, _Turns()
            known.push(*first)
            self._names[path[0]] = known
        known.push(path[1:], step)

    def pop(self) -> Step:
        if self._steps:
            return self._steps.popleft()
        name, turns = self._names.popitem(last=False)
        if isinstance(turns, tuple):
            return turns[1]
        step = turns.pop()
        if turns:
            self._names[name] = turns
        return step


class Line:
    """The steps that wait for one limiter.

    Attributes:
        limits: the limiter, and what was let go; the caller keeps it in the graph.
        running: how many were let go and have not come back.
        ahead: how many more may be let go than the limiter has places for.
        wake: moment at which a rate lets more go, UTC seconds of the loop's time; None: time alone lets nobody go.
    """

    COMPACT_AT = 64

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.running = self.ahead = 0
        self.wake: float | None = None
        self._of_key: dict[str, int] = {}
        self._open: dict[float, OrderedDict[str, _Turns]] = {}
        self._priorities: list[float] = []  # a heap: the keys of _open
        self._aside: dict[str, dict[float, _Turns]] = {}
        self._waking: list[tuple[float, str]] = []  # a heap: when keys that are set aside may go on by their rate
        self._size = self._dropped = 0

    def __len__(self) -> int:
        """Count the steps that wait, with some that were dropped."""
        return self._size

    def push(self, step: Step) -> None:
        """Let a step wait."""
        options = step.options or NONE
        key = _key_of(step)
        aside = self._aside.get(key)
        if aside is None:
            turns = self._lines_of(options.priority).setdefault(key, _Turns())
        else:
            turns = aside.setdefault(options.priority, _Turns())
        turns.push(step.asker, step)
        self._size += 1

    def take(self, now: float) -> Step | None:
        """Let the next go, and count it; None: nobody may go now."""
        if self._waking:
            self._reopen(now)
        if not self._size or not self._may_go(now):
            return None
        while (found := self._first()) is not None:
            key, lines = found
            if not self._key_may_go(key, now):
                self._set_aside(key)
                continue
            step = self._next_of(key, lines)
            if not step.future.done():
                self._let_go(key, now)
                return step
        self._wake_for_keys()
        return None

    def release(self, step: Step) -> None:
        """Note that a step that was let go has come back."""
        self.running -= 1
        key = _key_of(step)
        self._of_key[key] -= 1
        if not self._of_key[key]:
            del self._of_key[key]
        self._open_again(key)

    def note_dropped(self) -> None:
        """Count a step that waits, or has waited, here in vain; many of them are let go of before their turn."""
        self._dropped += 1
        if self._dropped > self.COMPACT_AT and self._dropped * 2 > self._size:
            steps = [step for step in self if not step.future.done()]
            self._open, self._priorities, self._aside, self._waking = {}, [], {}, []
            self._size = self._dropped = 0
            for step in steps:
                self.push(step)

    def __iter__(self) -> Iterator[Step]:
        for by_key in self._open.values():
            for turns in by_key.values():
                yield from turns
        for by_priority in self._aside.values():
            for turns in by_priority.values():
                yield from turns

    # -- bounds

    def _may_go(self, now: float) -> bool:
        most = self.limits.limiter.concurrency
        self.wake = None
        if most is not None and self.running >= most + self.ahead:
            return False  # the next that comes back wakes
        if self.limits.limiter.rate is None:
            return True
        free = self.limits.free_at(now)
        self.wake = free if free > now else None
        return free <= now

    def _key_may_go(self, key: str, now: float) -> bool:
        limiter = self.limits.limiter
        most = limiter.key_concurrency
        if most is None and limiter.key_rate is None:
            return True
        if most is not None and self._of_key.get(key, 0) >= most:
            return False
        free = self.limits.key_free_at(key, now)
        if free > now:
            heapq.heappush(self._waking, (free, key))
        return free <= now

    def _let_go(self, key: str, now: float) -> None:
        self.running += 1
        self._of_key[key] = self._of_key.get(key, 0) + 1
        self.limits.add(key, now)

    # -- order

    def _lines_of(self, priority: float) -> OrderedDict[str, _Turns]:
        if priority not in self._open:
            self._open[priority] = OrderedDict()
            heapq.heappush(self._priorities, priority)
        return self._open[priority]

    def _first(self) -> tuple[str, OrderedDict[str, _Turns]] | None:
        while self._priorities:
            lines = self._open[self._priorities[0]]
            if lines:
                return next(iter(lines)), lines
            del self._open[heapq.heappop(self._priorities)]
        return None

    def _next_of(self, key: str, lines: OrderedDict[str, _Turns]) -> Step:
        turns = lines[key]
        step = turns.pop()
        if turns:
            lines.move_to_end(key)
        else:
            del lines[key]
        self._size -= 1
        return step

    def _set_aside(self, key: str) -> None:
        self._aside[key] = {priority: lines.pop(key) for priority, lines in self._open.items() if key in lines}

    def _open_again(self, key: str) -> None:
        for priority, turns in self._aside.pop(key, {}).items():
            self._lines_of(priority)[key] = turns

    def _reopen(self, now: float) -> None:
        while self._waking and self._waking[0][0] <= now:
            self._open_again(heapq.heappop(self._waking)[1])

    def _wake_for_keys(self) -> None:
        if self._waking and (self.wake is None or self._waking[0][0] < self.wake):
            self.wake = self._waking[0][0]


def _key_of(step: Step) -> str:
    return (step.options or NONE).limit_key or ""
