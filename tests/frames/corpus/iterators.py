# ruff: noqa
"""itertools: each tool suspended half way, with live inputs, shared inputs and functions of every kind inside."""

import itertools
import operator

from tests.frames.kit import case, emit, group
from tests.frames.parts import Box, Countdown, call, ticker

group("itertools")


def _odd(x):
    return x % 2


@case
def tools_chain_both_ways():
    """chain over mixed inputs and from_iterable over a generator of generators."""
    a = itertools.chain([1, 2], (3,), {}, iter("x"))
    b = itertools.chain.from_iterable(ticker(n) for n in (2, 1))
    yield next(a), next(b)
    yield next(a), next(b)
    yield next(a), next(b)
    return list(a), list(b)


@case
def tools_chain_not_begun_and_done():
    """chains before their first and after their last element."""
    new, done = itertools.chain([1], [2]), itertools.chain([1])
    list(done)
    yield "held"
    return list(new), list(done)


@case
def tools_chain_live_list():
    """The list inside a chain grows after the transfer."""
    xs = [1]
    c = itertools.chain(xs, xs)
    yield next(c)
    xs.append(2)
    yield next(c)
    return list(c)


@case
def tools_count_kinds():
    """count with int, negative, float, Fraction-like and huge steps."""
    cs = [itertools.count(), itertools.count(5, -2), itertools.count(0.5, 0.25), itertools.count(2**63 - 1)]
    cs.append(itertools.count(1j, 1))
    yield [next(c) for c in cs]
    yield [next(c) for c in cs]
    return [next(c) for c in cs], cs[1]


@case
def tools_cycle_first_and_second_round():
    """cycle in its first round, when it still saves, and in a later one."""
    c = itertools.cycle(iter("abc"))
    for _ in range(5):
        yield next(c)
    d = itertools.cycle(Countdown(2))
    yield next(d), next(d), next(d)
    return [next(c) for _ in range(3)], [next(d) for _ in range(3)]


@case
def tools_repeat():
    """repeat for ever and with a count."""
    b = Box(1)
    r, s = itertools.repeat(b), itertools.repeat("x", 3)
    yield next(r) is b, next(s)
    return next(r) is b, list(s), s.__length_hint__()


@case
def tools_accumulate():
    """accumulate with the default, a function, an initial value and a closure."""
    k = 2
    a = itertools.accumulate([1, 2, 3])
    b = itertools.accumulate([1, 2, 3], operator.mul, initial=10)
    c = itertools.accumulate([1, 2, 3], lambda p, q: p * k + q)
    yield next(a), next(b), next(c)
    yield next(a), next(b), next(c)
    k = 100
    return list(a), list(b), list(c)


@case
def tools_compress_and_filterfalse():
    """compress over two live inputs; filterfalse with and without function."""
    c = itertools.compress(ticker(5), itertools.cycle([1, 0, 1]))
    f, g = itertools.filterfalse(_odd, range(6)), itertools.filterfalse(None, [0, 1, "", []])
    yield next(c), next(f), next(g)
    yield next(c), next(f), next(g)
    return list(c), list(f), list(g)


@case
def tools_dropwhile_takewhile():
    """Both before and after their turning point."""
    d = itertools.dropwhile(lambda x: x < 2, [0, 1, 2, 0, 3])
    t = itertools.takewhile(lambda x: x < 2, it := iter([0, 1, 2, 0, 3]))
    yield "fresh"
    yield next(d), next(t)
    yield next(d), next(t)
    yield next(t, "over"), next(t, "still over")
    return list(d), list(t), list(it)


@case
def tools_groupby_half_a_group():
    """A group is held while groupby stands on it, then gone over."""
    g = itertools.groupby([1, 3, 2, 4, 5], _odd)
    key, first = next(g)
    yield key, next(first)
    yield list(first)
    key, second = next(g)
    yield key
    third = next(g)
    yield list(second)
    return third[0], list(third[1]), list(g)


@case
def tools_groupby_without_key():
    """groupby by value over a string, consumed in a for loop."""
    for k, run in itertools.groupby("aabccc"):
        yield k, next(run)
        emit(list(run))


@case
def tools_islice():
    """islice with start, stop and step over a shared iterator."""
    it = iter(range(20))
    s, t = itertools.islice(it, 2, 12, 3), itertools.islice(it, None)
    yield next(s)
    yield next(s), next(t)
    yield next(s), next(it)
    return list(s), list(t)


@case
def tools_pairwise():
    """pairwise holds one element back; also not begun."""
    p, q = itertools.pairwise(ticker(4)), itertools.pairwise([1, 2])
    yield next(p)
    yield next(p)
    return list(p), list(q)


@case
def tools_product():
    """product with repeat, in the middle."""
    p = itertools.product([1, 2], "ab", repeat=1)
    r = itertools.product((0, 1), repeat=3)
    yield next(p), next(r)
    for _ in range(2):
        yield next(p), next(r)
    return list(p), list(r)


@case
def tools_permutations_and_combinations():
    """The three combinatoric tools in the middle, at the start and at the end."""
    ps = itertools.permutations("abc", 2), itertools.combinations([1, 2, 3], 2)
    ps += (itertools.combinations_with_replacement("xy", 2),)
    yield "fresh"
    yield [next(p) for p in ps]
    yield [next(p) for p in ps]
    out = [list(p) for p in ps]
    yield out
    return [list(p) for p in ps]


@case
def tools_starmap():
    """starmap over a builtin and a function."""
    s, t = itertools.starmap(pow, [(2, 3), (3, 2), (1, 9)]), itertools.starmap(call, zip("ab", [1, 2]))
    yield next(s), next(t)
    yield next(s)
    return list(s), list(t)


@case
def tools_tee_shares_its_source():
    """Three tee iterators at different places of one live source."""
    g = ticker(6)
    a, b = itertools.tee(g)
    yield next(a), next(a)
    c = b.__copy__()
    yield next(b), next(a)
    yield next(c), next(c)
    return list(b), list(a), list(c), list(g)


@case
def tools_tee_of_a_tee_long():
    """More elements buffered than one block of tee holds."""
    a, b = itertools.tee(iter(range(130)))
    for _ in range(120):
        next(a)
    yield next(a)
    (c,) = itertools.tee(b, 1)
    yield next(c), next(b)
    return sum(a), len(list(b)), len(list(c))


@case
def tools_zip_longest():
    """One input exhausted, one not, with a fill value."""
    fill = Box("fill")
    z = itertools.zip_longest([1], ticker(3), "ab", fillvalue=fill)
    yield next(z)
    yield next(z)
    a = next(z)
    return a, a[0] is fill, list(z)


@case
def tools_nested_pipeline():
    """A pipeline of six tools as the loop's iterator."""
    k = 3
    pipe = itertools.islice(
        filter(lambda x: x[1] % k, enumerate(map(operator.neg, itertools.chain(range(4), Countdown(5))))), 5
    )
    for x in pipe:
        got = yield x
        k = 2 if got > 101 else k


@case
def tools_alias_inside_pipeline():
    """The source of a pipeline is read from outside too."""
    src = iter("abcdefgh")
    pairs = zip(src, src)
    yield next(pairs)
    yield next(src)
    chained = itertools.chain(pairs, src)
    yield next(chained)
    return list(chained), list(src)


@case
def tools_that_raise():
    """A function inside map raises after the transfer and the map goes on."""
    m = map(int, ["1", "x", "3"])
    yield next(m)
    try:
        next(m)
    except ValueError as e:
        yield str(e)
    return list(m)
