"""Depth and size: nothing recurses, nothing is copied more often than it must be."""

from __future__ import annotations

import sys
import types

import pytest

import pstore

DEPTH = 100_000


class Plain:
    def __init__(self, value, following):
        self.value, self.next = value, following


class Slotted:
    __slots__ = ("next", "value")

    def __init__(self, value, following):
        self.value, self.next = value, following


def linked(make):
    node = None
    for number in range(DEPTH):
        node = make(number, node)
    return node


def walk(node, following):
    while node is not None:
        node, previous = following(node), node
        yield previous


SHAPES = {
    "instances": (Plain, lambda node: node.next, lambda node: node.value),
    "slots": (Slotted, lambda node: node.next, lambda node: node.value),
    "tuples": (lambda n, f: (n, f), lambda node: node[1], lambda node: node[0]),
    "lists": (lambda n, f: [n, f], lambda node: node[1], lambda node: node[0]),
    "dicts": (lambda n, f: {"n": n, "f": f}, lambda node: node["f"], lambda node: node["n"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_linked_list_of_100_000_nodes(shape):
    make, following, value = SHAPES[shape]
    root = linked(make)

    def keep(first):
        yield 1
        yield first

    gen = keep(root)
    next(gen)
    loaded = pstore.loads(pstore.dumps(gen))
    assert [value(node) for node in walk(next(loaded), following)] == list(range(DEPTH - 1, -1, -1))


@types.coroutine
def pause(value):
    return (yield value)


async def deep(level, log):
    try:
        if level == 0:
            return await pause("bottom")
        return 1 + await deep(level - 1, log)
    finally:
        log.append(level)


@pytest.fixture
def high_limit():
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    yield limit
    sys.setrecursionlimit(limit)


def test_await_chain_of_1_000(high_limit):
    log = []
    coroutine = deep(1000, log)
    assert coroutine.send(None) == "bottom"
    sys.setrecursionlimit(high_limit)
    loaded, its_log = pstore.loads(pstore.dumps((coroutine, log)))
    sys.setrecursionlimit(10_000)
    with pytest.raises(StopIteration) as stop:
        loaded.send(5)
    assert stop.value.value == 1005
    assert (its_log, log) == (list(range(1001)), [])
    pstore.abandon(coroutine)


def test_a_frame_that_holds_itself():
    def gen():
        me = yield
        pair = (me, [me])
        while True:
            yield pair[0] is me is pair[1][0]

    original = gen()
    next(original)
    original.send(original)
    loaded = pstore.loads(pstore.dumps(original))
    assert next(loaded) is True
    assert loaded.gi_frame.f_locals["me"] is loaded


@pytest.mark.slow
def test_bytes_of_100_megabytes_in_a_local():
    def gen():
        data = bytes(100_000_000)
        yield 1
        yield len(data), data[0], data[-1]

    original = gen()
    next(original)
    data = pstore.dumps(original)
    assert len(data) < 100_002_000
    assert next(pstore.loads(data)) == (100_000_000, 0, 0)
