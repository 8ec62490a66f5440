"""One suspension point, met with slots of different kinds: each frame comes back with its own."""

from __future__ import annotations

import collections
import itertools

import pytest

import pstore


class Sequence:
    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index >= 3:
            raise IndexError
        return index


class ListSubclass(list):
    pass


ITERABLES = {
    "range": lambda: range(3),
    "list": lambda: [1, 2, 3],
    "tuple": lambda: (1, 2, 3),
    "str": lambda: "abc",
    "bytes": lambda: b"abc",
    "bytearray": lambda: bytearray(b"abc"),
    "dict": lambda: {1: 1, 2: 2},
    "set": lambda: {1, 2},
    "deque": lambda: collections.deque([1, 2]),
    "sequence": Sequence,
    "list subclass": lambda: ListSubclass([1, 2]),
    "generator": lambda: (n for n in (1, 2)),
    "count": lambda: itertools.islice(itertools.count(), 3),
}


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(ITERABLES, 2)))
def test_for_loops_over_two_kinds(first, second):
    def each(iterable):
        for item in iterable:
            yield item

    def delegates(iterable):
        yield from iterable

    for function in (each, delegates):
        for kind in (first, second, first):
            original = function(ITERABLES[kind]())
            next(original)
            copy = pstore.loads(pstore.dumps(original))
            assert list(copy) == list(original)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4), 2)))
def test_locals_bound_or_not(order):
    def gen(which):
        if which & 1:
            a = [1]
        if which & 2:
            b = [2]
        yield which
        yield sorted({"a", "b"} & set(locals()))

    for which in order:
        original = gen(which)
        next(original)
        copy = pstore.loads(pstore.dumps(original))
        assert next(copy) == next(original) == [name for bit, name in ((1, "a"), (2, "b")) if which & bit]


def test_handling_or_not():
    def gen(fails):
        try:
            if fails:
                raise ValueError(1)
        except ValueError:
            pass
        for n in (1, 2):
            try:
                if fails:
                    raise KeyError(n)
            finally:
                try:
                    yield n
                except RuntimeError as error:
                    yield type(error.__context__).__name__

    for fails in (False, True, False, True):
        original = gen(fails)
        next(original)
        copy = pstore.loads(pstore.dumps(original))
        assert copy.throw(RuntimeError()) == original.throw(RuntimeError()) == ("KeyError" if fails else "NoneType")


def test_no_slots_and_a_frame_object_or_not():
    """A frame without any slot is that also when something else has come to belong to it."""

    def gen():
        yield 1
        yield 2

    for looked_at in (False, True, False):
        original = gen()
        next(original)
        if looked_at:
            assert original.gi_frame is not None
        assert next(pstore.loads(pstore.dumps(original))) == 2
