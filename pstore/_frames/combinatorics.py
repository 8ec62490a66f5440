"""``itertools.product``, ``combinations``, ``combinations_with_replacement`` and ``permutations`` (layer 1).

Owns: bringing them back to their position.  A short way in, a new object is stepped to it.  Far in, that would take
for ever; then what remains is told as a chain of smaller objects of the same kind, each with a fixed beginning: after
(a, c, e) of the combinations of three come those with (a, c, later than e), (a, later than c) and (later than a).

Only tuples of the pool are stored and positions are integers, so nothing of the user's runs.

Source: ``Modules/itertoolsmodule.c`` of 3.11 to 3.15, whose order is lexicographic by position in the pool.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from math import comb, perm
from typing import Any

from pstore._frames.access import signed_words
from pstore._frames.standins import MISSING, consume, fields, refuse
from pstore._frames.stored import stored

__all__ = ["REDUCERS"]

_STEPS = 20_000
"""As many steps as a new object is sent ahead at most: under a millisecond."""


def _resume(made: Any, rank: int, rest: Callable[[], Iterable[Any]]) -> Any:
    """Bring `made` behind the item of the given rank, or chain the `rest`."""
    if rank >= _STEPS:
        return itertools.chain.from_iterable(list(rest()))
    consume(made, rank + 1)
    return made


def _after(fixed: Iterable[Any], rest: Iterator[Any]) -> Iterator[Any]:
    return map(partial(operator.add, tuple(fixed)), rest)


def _positions(obj: Any, address: int, count: int, limits: Sequence[int]) -> tuple[int, ...]:
    read = signed_words(address, count) if count else ()
    if not all(0 <= index < limit for index, limit in zip(read, limits, strict=True)):
        raise refuse(obj, "its fields are not where this CPython is known to keep them")
    return read


# --- product -------------------------------------------------------------------------------------------------------


@stored
def product_iterator(pools: tuple[tuple[Any, ...], ...], indices: tuple[int, ...] | None) -> Any:
    """Make a product that has given the item at `indices` last, or that has not begun."""
    made = itertools.product(*pools)
    if indices is None:
        return made
    rank = 0
    for index, pool in zip(indices, pools, strict=True):
        rank = rank * len(pool) + index
    return _resume(made, rank, lambda: _product_rest(pools, indices))


def _product_rest(pools: tuple[tuple[Any, ...], ...], indices: tuple[int, ...]) -> Iterator[Any]:
    for level in reversed(range(len(pools))):
        fixed = [(pool[index],) for pool, index in zip(pools[:level], indices, strict=False)]
        yield itertools.product(*fixed, pools[level][indices[level] + 1 :], *pools[level + 1 :])


@stored
def spent_product() -> Any:
    """Make a product that has come to its end."""
    made: Any = itertools.product(())
    consume(made, 1)
    return made


def _reduce_product(obj: Any) -> Any:
    pools, address, result, stopped = fields(obj, 4, (0, 2))
    if stopped & 0xFFFFFFFF:
        return spent_product, ()
    if result is MISSING:
        return product_iterator, (pools, None)
    return product_iterator, (pools, _positions(obj, address, len(pools), list(map(len, pools))))


# --- combinations, with and without replacement --------------------------------------------------------------------


@stored
def combinations_iterator(pool: tuple[Any, ...], indices: tuple[int, ...] | int) -> Any:
    """Make combinations that gave the item at `indices` last, or that have not begun and give so many elements."""
    if isinstance(indices, int):
        return itertools.combinations(pool, indices)
    size, length = len(pool), len(indices)
    # Ranked from the end: how many combinations come later in the order.
    later = sum(comb(size - 1 - index, length - place) for place, index in enumerate(indices))
    rank = comb(size, length) - 1 - later
    rest = partial(_combinations_rest, itertools.combinations, pool, indices)
    return _resume(itertools.combinations(pool, length), rank, rest)


@stored
def combinations_with_replacement_iterator(pool: tuple[Any, ...], indices: tuple[int, ...] | int) -> Any:
    """Make combinations_with_replacement that gave the item at `indices` last, or that have not begun."""
    if isinstance(indices, int):
        return itertools.combinations_with_replacement(pool, indices)
    size, length = len(pool), len(indices)
    later = sum(_multiset(size - 1 - index, length - place) for place, index in enumerate(indices))
    rank = _multiset(size, length) - 1 - later
    rest = partial(_combinations_rest, itertools.combinations_with_replacement, pool, indices)
    return _resume(itertools.combinations_with_replacement(pool, length), rank, rest)


def _multiset(size: int, length: int) -> int:
    return comb(size + length - 1, length) if size else int(not length)


def _combinations_rest(kind: Any, pool: tuple[Any, ...], indices: tuple[int, ...]) -> Iterator[Any]:
    for level in reversed(range(len(indices))):
        yield _after((pool[index] for index in indices[:level]), kind(pool[indices[level] + 1 :], len(indices) - level))


@stored
def spent_combinations(replacement: bool) -> Any:
    """Make combinations, with or without replacement, that have come to their end."""
    made: Any = (itertools.combinations_with_replacement if replacement else itertools.combinations)((), 1)
    consume(made, 1)
    return made


def _reduce_combinations(obj: Any) -> Any:
    pool, address, result, length, stopped = fields(obj, 5, (0, 2))
    replacement = type(obj) is itertools.combinations_with_replacement
    if stopped & 0xFFFFFFFF:
        return spent_combinations, (replacement,)
    function = combinations_with_replacement_iterator if replacement else combinations_iterator
    if result is MISSING:
        return function, (pool, length)
    return function, (pool, _positions(obj, address, length, [len(pool)] * length))


# --- permutations --------------------------------------------------------------------------------------------------


@stored
def permutations_iterator(pool: tuple[Any, ...], indices: tuple[int, ...] | int) -> Any:
    """Make permutations that gave the item at `indices` last, or that have not begun and give so many elements."""
    if isinstance(indices, int):
        return itertools.permutations(pool, indices)
    size, length = len(pool), len(indices)
    rank = 0
    for place, index in enumerate(indices):
        smaller = index - sum(other < index for other in indices[:place])
        rank += smaller * perm(size - place - 1, length - place - 1)
    return _resume(itertools.permutations(pool, length), rank, lambda: _permutations_rest(pool, indices))


def _permutations_rest(pool: tuple[Any, ...], indices: tuple[int, ...]) -> Iterator[Any]:
    for level in reversed(range(len(indices))):
        free = sorted(set(range(len(pool))) - set(indices[:level]))
        for index in free:
            if index > indices[level]:
                fixed = [pool[each] for each in (*indices[:level], index)]
                others = tuple(pool[each] for each in free if each != index)
                yield _after(fixed, itertools.permutations(others, len(indices) - level - 1))


@stored
def spent_permutations() -> Any:
    """Make permutations that have come to their end."""
    made: Any = itertools.permutations((), 1)
    consume(made, 1)
    return made


def _reduce_permutations(obj: Any) -> Any:
    pool, address, _, result, length, stopped = fields(obj, 6, (0, 3))
    if stopped & 0xFFFFFFFF:
        return spent_permutations, ()
    if result is MISSING:
        return permutations_iterator, (pool, length)
    indices = _positions(obj, address, length, [len(pool)] * length)
    if len(set(indices)) != length:
        raise refuse(obj, "its fields are not where this CPython is known to keep them")
    return permutations_iterator, (pool, indices)


REDUCERS: dict[type, Callable[[Any], Any]] = {
    itertools.product: _reduce_product,
    itertools.combinations: _reduce_combinations,
    itertools.combinations_with_replacement: _reduce_combinations,
    itertools.permutations: _reduce_permutations,
}
