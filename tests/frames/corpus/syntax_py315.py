# ruff: noqa
"""New in 3.15: unpacking in comprehensions and frozendict."""

from tests.frames.kit import case, group
from tests.frames.parts import AsyncCount, get, pause, sent, ticker

group("newer syntax")


@case
async def comprehension_unpacking():
    """Stars in comprehensions of every kind, suspended inside."""
    a = [*await get(x) for x in [[1, 2], [3]]]
    b = {**await get(d) for d in ({"a": 1}, {"b": 2})}
    c = [*p async for p in AsyncCount(2)]
    return a, b, c, sorted({*x for x in ([await sent(1)], [2])})


@case
def genexp_unpacking():
    """A starred generator expression held in the middle of one of its iterables."""
    g = (*ticker(n) for n in (2, 3))
    yield next(g)
    yield next(g), next(g)
    return list(g)


@case
async def frozen_dicts():
    """frozendict as value, key and with mutable members."""
    xs = [1]
    f = frozendict(a=1, xs=xs)
    key = frozendict({"k": ("v", 1)})
    d = {key: "found"}
    it = iter(f.items())
    await pause(next(it))
    xs.append(2)
    return f, f["xs"] is xs, d[frozendict(k=("v", 1))], hash(key) == hash(frozendict(k=("v", 1))), list(it)


MISSING = sentinel("MISSING")


@case
def sentinels():
    """A module's sentinel stays the one object, in defaults too."""

    def f(x=MISSING):
        return x is MISSING

    held = {"m": MISSING}
    yield f(), f(None)
    return f(), held["m"] is MISSING, repr(MISSING)
