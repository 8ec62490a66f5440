"""Visit every state of a protocol that can be reached; on the way to what is broken, the shortest way there is.

Owned here: the search, and what is true of the whole graph: that from every state all can come to its end without
another fault.
"""

from __future__ import annotations

import sys
from array import array
from collections import deque
from dataclasses import dataclass

from tests.engine.protocol import Broken, Protocol, State


@dataclass
class Found:
    """What came of a search.

    Attributes:
        states, moves: how many there are; of the whole scenario, if nothing is broken.
        broken: what does not hold; empty if all does.
        trace: how to come to where it does not: the shortest way there is.
    """

    states: int = 0
    moves: int = 0
    broken: str = ""
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.broken:
            return f"{self.states:,} states, {self.moves:,} moves"
        lines = [f"{number:4}. {label}" for number, label in enumerate(self.trace, 1)]
        return "\n".join([f"refuted after {self.states:,} states: {self.broken}", *lines])


class _Graph:
    """The states that were reached, by number, and how; with the moves that are no faults, backwards."""

    def __init__(self) -> None:
        self.numbers: dict[State, int] = {}
        self.parents = array("l")
        self.labels: list[str] = []
        self.sources, self.targets = array("l"), array("l")

    def add(self, state: State, parent: int, label: str) -> tuple[int, bool]:
        number = self.numbers.setdefault(state, len(self.numbers))
        is_new = number == len(self.parents)
        if is_new:
            self.parents.append(parent)
            self.labels.append(sys.intern(label))
        return number, is_new

    def trace(self, number: int) -> tuple[str, ...]:
        labels = []
        while self.parents[number] >= 0:
            labels.append(self.labels[number])
            number = self.parents[number]
        return tuple(reversed(labels))


def search(protocol: Protocol, most: int | None = None) -> Found:
    """Visit every state that can be reached, the nearest first, up to the first in which something is broken.

    Args:
        protocol: what may happen, and what has to hold.
        most: raise RuntimeError if there are more states.
    """
    graph, moves = _Graph(), 0
    start = protocol.scenario.start()
    graph.add(start, -1, "")
    waiting = deque([start])
    over = []
    while waiting:
        state = waiting.popleft()
        number = graph.numbers[state]
        label = ""
        try:
            protocol.check(state)
            ends = protocol.is_over(state)
            for is_fault, made in ((False, protocol.moves), (True, protocol.faults)):
                for label, later in made(state):
                    moves += 1
                    target, is_new = graph.add(later, number, label)
                    if is_new:
                        waiting.append(later)
                    # The way out of doubt, and of nothing else, is a new process.
                    if not is_fault or state.engine == "doubt":
                        graph.sources.append(number)
                        graph.targets.append(target)
                label = ""
        except Broken as broken:
            return Found(len(graph.numbers), moves, str(broken), graph.trace(number))
        if ends:
            over.append(number)
        if most is not None and len(graph.numbers) > most:
            raise RuntimeError(f"{protocol.scenario}: more than {most:,} states")
    found = Found(len(graph.numbers), moves)
    stuck = _stuck(graph, over)
    if stuck is not None:
        found.broken, found.trace = "from here on, without another fault, it can never be over", graph.trace(stuck)
    return found


def _stuck(graph: _Graph, over: list[int]) -> int | None:
    """Give the nearest state from which none of the `over` can be reached."""
    count = len(graph.numbers)
    begins = array("l", bytes(8 * (count + 2)))
    for target in graph.targets:
        begins[target + 2] += 1
    for number in range(2, count + 2):
        begins[number] += begins[number - 1]
    before = array("l", bytes(8 * len(graph.targets)))
    for source, target in zip(graph.sources, graph.targets, strict=True):
        before[begins[target + 1]] = source
        begins[target + 1] += 1
    reaches = bytearray(count)
    waiting = list(over)
    for number in over:
        reaches[number] = 1
    while waiting:
        number = waiting.pop()
        for source in before[begins[number] : begins[number + 1]]:
            if not reaches[source]:
                reaches[source] = 1
                waiting.append(source)
    stuck = reaches.find(0)
    return None if stuck < 0 else stuck
