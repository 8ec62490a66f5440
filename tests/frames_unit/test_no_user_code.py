"""Neither storing nor loading calls a method of an object that iterators are made of."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from tests.frames_unit.kit import advanced, copied

PICKLE_ASKS = ("__reduce_ex__", "__reduce__", "__dict__", "__class__", "__getstate__", "__setstate__")


class Trap:
    """Whatever is called on it while it is armed is an error."""

    armed = False

    def spring(self, *_: Any) -> Any:
        if Trap.armed:
            raise AssertionError("user code ran")
        return self

    __iter__ = __reversed__ = __add__ = __call__ = __next__ = spring

    def __len__(self) -> int:
        self.spring()
        return 3

    __length_hint__ = __index__ = __len__

    def __getitem__(self, index: int) -> int:
        self.spring()
        return index

    def __eq__(self, other: object) -> bool:
        return bool(self.spring())

    def __hash__(self) -> int:
        return id(self.spring())

    def __getattribute__(self, name: str) -> Any:
        if Trap.armed and name not in PICKLE_ASKS:
            raise AssertionError(f"user code ran: {name}")
        return object.__getattribute__(self, name)


class Sized:
    """No iterator of its own."""

    def __len__(self) -> int:
        Trap.spring(self)  # type: ignore[arg-type]
        return 4

    def __getitem__(self, index: int) -> int:
        Trap.spring(self)  # type: ignore[arg-type]
        return index


TRAP, SIZED = Trap(), Sized()
TWO = [TRAP, TRAP]
MAKERS: list[Callable[[], Any]] = [
    lambda: map(TRAP, TRAP),
    lambda: filter(TRAP, TRAP),
    lambda: zip(TRAP, TRAP, strict=True),
    lambda: enumerate(TRAP),
    lambda: iter(TRAP, None),
    lambda: iter(SIZED),
    lambda: reversed(SIZED),
    lambda: itertools.accumulate(TRAP, TRAP),
    lambda: itertools.accumulate(TRAP, TRAP, initial=TRAP),
    lambda: itertools.chain(TWO, TRAP),
    lambda: itertools.chain.from_iterable(TRAP),
    lambda: itertools.compress(TRAP, TRAP),
    lambda: itertools.cycle(TRAP),
    lambda: itertools.dropwhile(TRAP, TWO),
    lambda: itertools.filterfalse(TRAP, TWO),
    lambda: itertools.groupby(TWO, TRAP),
    lambda: itertools.groupby(TWO),
    lambda: itertools.islice(TRAP, 5),
    lambda: itertools.pairwise(TRAP),
    lambda: itertools.repeat(TRAP),
    lambda: itertools.starmap(TRAP, [TWO, TWO]),
    lambda: itertools.takewhile(TRAP, TRAP),
    lambda: itertools.tee(TRAP)[1],
    lambda: itertools.zip_longest(TRAP, TRAP),
    lambda: itertools.product(TWO, TWO),
    lambda: itertools.permutations(TWO),
    lambda: itertools.combinations(TWO, 1),
]


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("number", range(len(MAKERS)))
def test_nothing_is_called(number: int, steps: int) -> None:
    iterator = advanced(MAKERS[number](), steps)
    Trap.armed = True
    try:
        copied(copied(iterator))
    finally:
        Trap.armed = False
