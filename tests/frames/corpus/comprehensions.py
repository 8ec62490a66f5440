# ruff: noqa
"""Comprehensions and generator expressions of every kind, suspended inside and held half consumed."""

from tests.frames.kit import Fault, case, emit, group
from tests.frames.parts import AsyncCount, call, counter, get, pause, sent, ticker

group("comprehensions")


@case
async def comp_list_await_everywhere():
    """await in the element, the condition and the first iterable."""
    return [await sent(x) for x in await get([1, 2, 3]) if await get(x != 2)]


@case
async def comp_set_and_dict():
    """A set and a dict display filled across suspensions."""
    s = {await get(x) % 3 for x in range(4)}
    d = {await get(k): await sent(v) for k, v in {"a": 1, "b": 2}.items() if await get(v)}
    return sorted(s), d


@case
async def comp_two_loops_dependent():
    """The second loop runs over the first one's variable, both awaited."""
    k = 10
    return [(x, await get(y) + k) for x in await get([[1, 2], [3]]) for y in x if await get(y > 1)]


@case
async def comp_nested_in_element():
    """Comprehensions inside the element, three kinds deep."""
    return [{y: {await get(z) for z in range(y)} for y in range(1, x)} for x in (2, 3)]


@case
async def comp_async_for_kinds():
    """async for in list, set and dict comprehensions, over class and generator."""
    a = [x async for x in AsyncCount(2)]
    b = {x async for x in counter(2) if x}
    c = {i: v async for i, v in AsyncCount(2) if await get(i)}
    return a, b, c


@case
async def comp_async_for_mixed_with_for():
    """async for after for and for after async for."""
    return [(x, i) for x in "ab" async for i, _ in AsyncCount(2)], [(i, y) async for i, _ in AsyncCount(1) for y in "cd"]


@case
async def comp_keeps_outer_name():
    """The comprehension's variable shadows a bound, an unbound and a cell variable."""
    x = "outer"
    f = lambda: x
    a = [await get(x) for x in (1, 2)]
    b = [await get(y) for y in (3,)]
    try:
        y
    except NameError as e:
        emit(type(e).__name__)
    y = "now bound"
    return x, f(), a, b, y


@case
async def comp_with_inner_lambdas():
    """Lambdas of a comprehension share its variable, not the outer one."""
    fs = [lambda: x for x in range(3) if await get(True)]
    gs = [lambda y=await get(y): y for y in range(2)]
    await pause("made")
    return [f() for f in fs], [g() for g in gs]


@case
async def comp_raises_inside():
    """An exception half way through; the shadowed names are back."""
    x = "kept"
    try:
        [1 // (await get(x)) for x in (1, 0, 2)]
    except ZeroDivisionError as e:
        await pause(x)
        raise Fault(x) from e


@case
async def comp_walrus_leaks_out():
    """A walrus in a comprehension binds in the function."""
    ys = [last := await get(x) for x in (1, 2)]
    await pause(last)
    return ys, last, any((hit := z) > 1 for z in ys), hit


@case
async def comp_in_arguments_on_stack():
    """A comprehension suspended while arguments wait on the stack."""
    return call(1, [await get(x) for x in (2, 3)], *[await get(4)], k={await get("k"): 1 for _ in "a"})


@case
async def comp_in_class_body():
    """A comprehension in a class body executed between suspensions."""
    n = await get(3)

    class C:
        xs = [n * i for i in range(n)]
        ys = [y for y in xs if y]

    await pause("made")
    return C.xs, C.ys


@case
def comp_with_yield_in_first_iterable():
    """Only the first iterable of a comprehension may yield in a generator."""
    a = [x + 1 for x in [(yield "list"), 5]]
    b = {x: y for x, y in zip("ab", [(yield "dict"), 6])}
    g = (x for x in [(yield "genexp")])
    yield a, b
    return list(g)


@case
def genexp_half_consumed():
    """A generator expression held in the middle, before and after the end."""
    mid, new, done = (x * x for x in [1, 2, 3]), (x for x in "ab"), (x for x in ())
    next(mid)
    next(done, None)
    yield next(mid)
    return list(mid), list(new), list(done)


@case
def genexp_closes_over_frame():
    """A generator expression reads variables of the frame that change."""
    k = 2
    g = (x * k + y for x in range(3) for y in (0, k))
    yield next(g)
    k = 100
    yield next(g)
    yield next(g)
    return list(g)


@case
def genexp_nested_and_lazy():
    """Nested generator expressions driven from the inside."""
    rows = ((r * c for c in range(1, 4)) for r in (1, 2))
    first = next(rows)
    yield next(first)
    second = next(rows)
    yield next(second), next(first)
    return list(first), list(second), list(rows)


@case
def genexp_first_iterable_is_early():
    """The first iterable is evaluated when the expression is made."""
    xs = [1, 2]
    g = (x for x in xs for _ in ys)
    xs = ["other"]
    yield "made"
    try:
        next(g)
    except NameError as e:
        return str(e), xs


@case
def genexp_in_for_and_from():
    """A generator expression as loop iterator and as delegate."""
    for x in (t + 1 for t in ticker(4) if t % 2):
        yield x
    yield from (c.upper() for c in "ab")
    return "end"


@case
def genexp_inside_consumer():
    """sum and any run a generator expression over live locals between suspensions."""
    xs = [1, 2]
    total = sum(x for x in xs)
    xs.append((yield total))
    return any(x > 100 for x in xs), max((x for x in xs), key=lambda v: -v), "".join(str(x) for x in xs)


@case
async def genexp_async_held():
    """An async generator expression held between its elements."""
    g = (i * 2 async for i, _ in AsyncCount(3))
    first = await anext(g)
    await pause("between")
    return first, [x async for x in g]


@case
async def genexp_async_by_await():
    """A generator expression is asynchronous because its element awaits."""
    g = (await sent(x) for x in range(3) if await get(True))
    a = await g.__anext__()
    await pause(type(g).__name__)
    b = await g.__anext__()
    await g.aclose()
    return a, b, [x async for x in g]


@case
def comp_many_shadowed():
    """Shadowed names restored after comprehensions that follow each other on live iterators."""
    a, b, c = 1, 2, 3
    it = iter(range(9))
    out = [(a, b) for a, b in zip(it, it) if a < 4]
    yield out, a, b, c
    out = {c: [b for b in (c, a)] for c in "xy"}
    yield out, a, b, c
    return [[a for a in [a]] for a in [a]], list(it)


@case
def comp_with_inner_class_and_super():
    """Comprehensions inside methods use __class__ cell and self."""

    class A:
        def f(self, x):
            return "A", x

    class B(A):
        def f(self, n):
            return [super(B, self).f(i) for i in range(n)]

        def g(self):
            yield from (self.f(i) for i in range(2))

    g = B().g()
    yield next(g)
    return list(g)
