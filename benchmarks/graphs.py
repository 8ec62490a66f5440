"""The object graphs that the store is measured with, and the containers and generators of the curves.

A *plain object* is an instance of a class without a trick in it, with three attributes: an int of its own, a short str
of its own, and a str of 60 characters that all share.  A shape is that many plain objects, or what stands for them, put
together in some way.  Names of classes and functions are part of what is stored: they are short, as users' are.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from itertools import chain
from itertools import count as count_from
from operator import attrgetter, itemgetter
from typing import Any

__all__ = ["CONTAINERS", "SHAPES", "Change", "Container", "Shape", "change_some"]

NOTE = "a note of sixty characters, the very same for all the objects"[:60]

Change = Callable[[Any, int], None]
"""Makes the change number so-and-so in a graph."""


class Plain:
    """Three attributes."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"n{number}"
        self.note = NOTE


class Listed:
    """Three attributes, and a list of its own."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"n{number}"
        self.note = NOTE
        self.items = [number]


class Slotted:
    """Three slots."""

    __slots__ = ("name", "note", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"n{number}"
        self.note = NOTE


@dataclass
class Data:
    """A dataclass of three fields."""

    number: int
    name: str
    note: str


class Node:
    """Three attributes, and two other objects."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"n{number}"
        self.note = NOTE
        self.earlier: Node = self
        self.neighbour: Node = self


# ---------------------------------------------------------------- shapes


@dataclass(frozen=True)
class Shape:
    """So many objects, put together in some way.

    Attributes:
        make: gives the graph of that many.
        objects: all the objects of a graph, in order.
        change: gives one of them another value.
        value: the int that `change` changes.
    """

    name: str
    title: str
    make: Callable[[int], Any]
    objects: Callable[[Any], Iterable[Any]]
    change: Callable[[Any, int], None]
    value: Callable[[Any], int]

    def total(self, graph: Any) -> int:
        """Look at every object: what is loaded only when it is needed is loaded then."""
        return sum(map(self.value, self.objects(graph)))


_values = count_from(10_000_000)  # never the same twice: a change that changes nothing would be measured as fast


def change_some(shape: Shape, count: int) -> Callable[[list[Any], int], None]:
    """What changes that many objects, other ones each time, of a list of all."""

    def change(objects: list[Any], turn: int) -> None:
        positions = random.Random(turn * 31 + count).sample(range(len(objects)), min(count, len(objects)))
        for position, value in zip(positions, _values, strict=False):
            shape.change(objects[position], value)

    return change


def _list_of(cls: Callable[[int], Any]) -> Callable[[int], list[Any]]:
    return lambda count: [cls(number) for number in range(1000, 1000 + count)]


def _data(number: int) -> Data:
    return Data(number, f"n{number}", NOTE)


def _as_dict(number: int) -> dict[str, Any]:
    return {"number": number, "name": f"n{number}", "note": NOTE}


def _nodes(count: int) -> list[Node]:
    """Each refers to one at random among the earlier, and to its neighbour in a ring of ten.

    Cycles and sharing everywhere, but no long way to go: `pickle` calls itself for each step of it.
    """
    nodes: list[Node] = _list_of(Node)(count)
    chosen = random.Random(count)
    for position, node in enumerate(nodes):
        node.earlier = nodes[chosen.randrange(position + 1)]
        ring = position - position % 10
        node.neighbour = nodes[min(ring + (position + 1) % 10, count - 1)]
    return nodes


def _in_dict(count: int) -> dict[int, Plain]:
    return {number: Plain(number) for number in range(1000, 1000 + count)}


def _in_tree(count: int) -> list[list[Plain]]:
    """A list of lists, as many as each has objects."""
    width = max(1, round(count**0.5))
    plain = _list_of(Plain)(count)
    return [plain[start : start + width] for start in range(0, count, width)]


def _with_dicts(count: int) -> list[Plain]:
    """As `Plain`, after something asked each for its ``__dict__``: CPython keeps it from then on."""
    plain: list[Plain] = _list_of(Plain)(count)
    for one in plain:
        vars(one)
    return plain


def _set_number(one: Any, value: int) -> None:
    one.number = value


def _set_item(one: Listed, value: int) -> None:
    one.items[0] = value


def _set_key(one: dict[str, Any], value: int) -> None:
    one["number"] = value


_number: Callable[[Any], int] = attrgetter("number")

_SHAPES = (
    Shape("plain", "plain objects in a list", _list_of(Plain), iter, _set_number, _number),
    Shape("listed", "each with a list of its own", _list_of(Listed), iter, _set_item, lambda one: one.items[0]),
    Shape("slots", "instances with slots", _list_of(Slotted), iter, _set_number, _number),
    Shape("dataclass", "instances of a dataclass", _list_of(_data), iter, _set_number, _number),
    Shape("dicts", "dicts instead of instances", _list_of(_as_dict), iter, _set_key, itemgetter("number")),
    Shape("random", "each refers to two others", _nodes, iter, _set_number, _number),
    Shape("in_dict", "plain objects in a dict", _in_dict, lambda graph: graph.values(), _set_number, _number),
    Shape("in_tree", "plain objects in a list of lists", _in_tree, chain.from_iterable, _set_number, _number),
    Shape("with_dicts", "plain objects asked for __dict__", _with_dicts, iter, _set_number, _number),
)
SHAPES = {shape.name: shape for shape in _SHAPES}


# ---------------------------------------------------------------- containers, generators


@dataclass(frozen=True)
class Container:
    """Something of size N that is changed in one place.

    Attributes:
        make, plain: give what is stored, and what is pickled beside it; None: the same.
        change, change_plain: in these.
        largest: of the sizes to measure.
    """

    name: str
    title: str
    make: Callable[[int], Any]
    change: Change
    plain: Callable[[int], Any] | None = None
    change_plain: Change | None = None
    largest: int = 100_000


def _numbers(count: int) -> list[int]:
    return list(range(1000, 1000 + count))


def _append(items: list[Any], turn: int) -> None:
    items.append(1_000_000 + turn)


def _append_plain(items: list[Any], turn: int) -> None:
    items.append(Plain(1_000_000 + turn))


def _at_front(items: list[Any], turn: int) -> None:
    if turn % 2:
        items.pop(0)
    else:
        items.insert(0, 1_000_000 + turn)


def _in_queue(items: deque[int], turn: int) -> None:
    items.popleft()
    items.append(1_000_000 + turn)


def _new_key(names: dict[str, int], turn: int) -> None:
    names[f"new{turn}"] = 1_000_000 + turn


def _worker(number: int, name: str) -> Generator[int, int, None]:
    """What a task of a program looks like to the store."""
    total = 0
    items = [number]
    while True:
        total += yield number
        items[0] = total


def _suspended(count: int) -> list[Generator[int, int, None]]:
    workers = [_worker(number, f"n{number}") for number in range(1000, 1000 + count)]
    for worker in workers:
        next(worker)
    return workers


class Worker:
    """A plain object with the values of a `_worker`."""

    def __init__(self, number: int) -> None:
        self.number, self.name, self.total, self.items = number, f"n{number}", 0, [number]


def _advance(workers: list[Any], turn: int) -> None:
    workers[turn * 7919 % len(workers)].send(1 + turn)


def _advance_plain(workers: list[Any], turn: int) -> None:
    worker = workers[turn * 7919 % len(workers)]
    worker.total += 1 + turn
    worker.items[0] = worker.total


CONTAINERS = (
    Container("append", "append to a list of N ints", _numbers, _append, largest=1_000_000),
    Container("append_object", "append an object to a list of N", _list_of(Plain), _append_plain),
    Container("front", "insert and pop at the front of a list of N", _numbers, _at_front),
    Container("queue", "popleft and append, deque of N", lambda count: deque(_numbers(count)), _in_queue),
    Container("new_key", "a new key in a dict of N", lambda n: {f"k{i}": i for i in _numbers(n)}, _new_key),
    Container(
        "generators",
        "advance one of N suspended generators",
        _suspended,
        _advance,
        _list_of(Worker),
        _advance_plain,
    ),
)
