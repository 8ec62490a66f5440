# ruff: noqa
"""Section 6 of the language reference: a suspension in every operand position, with the rest waiting on the stack."""

import math

from tests.frames.kit import case, emit, group
from tests.frames.parts import Box, call, get, pause, quiet, sent

group("expressions")


class Loud:
    """Says which special method was called, in which order."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f"Loud({self.name})"

    def __getattr__(self, attr):
        if attr.startswith("__"):
            raise AttributeError(attr)
        emit("getattr", self.name, attr)
        return Loud(f"{self.name}.{attr}")

    def __getitem__(self, key):
        emit("getitem", self.name, key)
        return Loud(f"{self.name}[]")

    def __setitem__(self, key, value):
        emit("setitem", self.name, key, value)

    def __delitem__(self, key):
        emit("delitem", self.name, key)

    def __call__(self, *args, **kwargs):
        emit("call", self.name, args, kwargs)
        return Loud(f"{self.name}()")

    def _op(name):
        def method(self, other):
            emit(name, self.name, other)
            return Loud(f"{self.name}{name}")

        return method

    __add__, __radd__, __iadd__, __matmul__, __imatmul__ = map(_op, ("+", "r+", "+=", "@", "@="))
    __lt__, __eq__, __contains__ = map(_op, ("<", "==", "in"))
    __hash__ = None

    def __bool__(self):
        emit("bool", self.name)
        return True


@case
def yield_as_operand():
    """yield inside arithmetic, with both sides on the stack."""
    return 1 + (yield "a") * (yield "b") - -(yield "c"), not (yield "d")


@case
def yield_as_argument():
    """yield in positions, stars and keywords of one call."""
    return call((yield 1), *[(yield 2), 3], (yield 4), k=(yield 5), **{"z": (yield 6)})


@case
def yield_in_displays():
    """yield inside list, tuple, set and dict displays, with unpacking."""
    a = [(yield 1), *[(yield 2)], 0]
    b = (yield 3), *"ab", (yield 4)
    c = {(yield 5), *[7]}
    d = {(yield 6): (yield 7), **{"m": (yield 8)}, "k": (yield 9)}
    return a, b, sorted(c), d


@case
def yield_bare_and_tuple():
    """yield without value, yield of a tuple with a star, yield as a statement."""
    x = yield
    y = yield 1, *[2, 3]
    yield
    return x, y


@case
def yield_chain_of_assignments():
    """One yield assigned to several targets, targets evaluated late."""
    b, d = Box(), {}
    a = b.value = d[(yield "key")] = yield "value"
    return a, b, d


@case
async def await_in_calls():
    """The callee, arguments and nested calls are awaited."""
    args = [3, 4]
    a = call(1, await get(2), *args, await get(5), k=await get("k"), **await get({"z": 0}))
    b = (await quiet(call))(*await get([1]), **await get({"a": 2}))
    c = call(call(await get(1), x=2)[0], call(await get(3)), call())
    return a, b, c


@case
async def await_in_method_calls():
    """Method calls on objects, builtins, classes and super."""
    b, xs = Box(1), [3]
    xs.append(b.add(await get(5)))
    (await get(xs)).extend(sorted(await get([2, 1]), key=await get(abs)))
    s = "a-{}-b".format(await get("f")).replace("-", await get("+"), 1)
    return b, xs, max(await get(7), await get(8), key=lambda v: -v), s, Box.add(b, await get(1)), print


@case
async def await_in_displays():
    """list, tuple, set and dict displays with awaits and unpackings."""
    a = [await get(1), *await get([2, 3]), await get(4)]
    b = await get(1), *await get("xy")
    c = {await get(1), *await get([2])}
    d = {await get("a"): await get(1), **await get({"b": 2}), "c": await get(3)}
    return a, b, sorted(c), d


@case
async def await_in_subscripts():
    """Subscripts loaded, stored, deleted, sliced; both sides awaited."""
    d, xs = {"a": [1, 2, 3]}, list(range(10))
    d[await get("b")] = await get([4])
    d["a"][await get(0)] = d[await get("b")][0]
    del d[await get("b")]
    xs[await get(1) : await get(6) : await get(2)] = await get("abc")
    del xs[await get(-1) :], xs[: await get(1)]
    return d, xs, xs[await get(1) : await get(3)], xs[:: await get(3)]


@case
async def await_order_of_special_methods():
    """Loads, stores and calls happen in source order around the suspensions."""
    x = Loud("x")
    x.a[await get(1)].b = 1 if False else await get(2)
    x[await get("k")] = x.c(await get(3), k=await get(4))
    del x[await get(5)], x.d[await get(6)]
    x += await get(7)
    x @= await get(8)
    return x + await get(9), await get(0) + x, await get(1) in x, x < await get(2) < await get(3)


@case
async def await_in_augmented_assignment():
    """The old value waits on the stack: name, attribute, subscript, slice."""
    n, b, d, xs = 1, Box(10), {"k": [1]}, [1, 2, 3, 4]
    n += await sent("n")
    b.value *= await get(3)
    d["k"] += await get([2])
    d[await get("k")] += [await get(3)]
    xs[1:3] += await get([9])
    xs[await get(0)] -= await get(5)
    b.value //= (await get(4)) % 3
    return n, b, d, xs


@case
async def await_augmented_sees_old_value():
    """Another change while the augmented assignment waits is overwritten."""
    b = Box(1)

    async def meddle():
        await pause("meddling")
        b.value = 50
        return 2

    b.value += await meddle()
    return b


@case
async def await_in_conditional_expressions():
    """Test, branches, nested and as argument."""
    a = await get("t") if await get(1) else await get("f")
    b = await get("t") if await get(0) else (await get("x") if await get("") else await get("y"))
    return a, b, call(1, await get(2) if await get(True) else 3)


@case
async def await_in_boolean_operations():
    """and, or and not stop where they have to."""
    out = [await get(0) and await get(1), await get(2) or await get(3), not await get(0)]
    out.append((await get(1) and await get(0)) or (await get([]) or await get("last")))
    if await get(1) and not await get(0) or await get("never"):
        out.append("if")
    return out


@case
async def await_in_comparisons():
    """Chains that go on and chains that stop; in, is and their negations."""
    a = 1 < await get(2) < await get(3) <= 3 != await get(4)
    b = 1 < await get(0) < await get("never")
    c = await get(2) in await get([2]), await get(2) not in await get([2])
    d = await get(None) is await get(None), await get(1) is not None
    if 1 < await get(3) > await get(2):
        d += ("jumped",)
    return a, b, c, d


@case
async def await_in_arithmetic():
    """Every binary operator with an awaited operand on either side."""
    a = await get(7) + 1 - await get(2) * 3 // await get(2) % 5
    b = await get(2) ** await get(3) ** -await get(-1), ~await get(5), +await get(-1)
    c = await get(6) << await get(1) >> 1 & await get(7) | await get(8) ^ 1
    return a, b, c, "%s-%s" % (await get(1), 2), await get(1) / await get(4), [await get(0)] * await get(3)


@case
async def await_in_walrus():
    """Assignment expressions in displays, conditions, slices and loops."""
    out = [(x := await get(1)), x + 1, [y := x + await get(2), y * y]]
    if (z := await get(0)) or (z := await get("second")):
        out.append(z)
    while (n := await sent("n")) < 107:
        out.append(n)
    return out, x, y, z, n, [out[(i := await get(1))], i]


@case
async def await_in_f_strings():
    """Replacement fields, conversions, nested format specs, debug fields, quotes."""
    width = 6
    a = f"{await get(3.14159):{await get(width)}.{await get(2)}f}|{await get('é')!a:>{width}}|{await get(1)=}"
    b = f"{{}}{await get('x')!s:*^{await get(5)}}{await get([1])!r}" f"{(await get({'k': 1}))['k']:03d}"
    return a, b, f"{f'{await get(1)}' + f'{await get(2)}'}"


@case
async def await_in_lambda_defaults():
    """Defaults of lambdas and functions are evaluated around suspensions."""
    f = lambda a=await get(1), *, b=await get(2): (a, b)

    def g(a, b=await get([3]), /, c=await get(4), *d, e=await get(5), **k) -> await_nothing():
        b.append(a)
        return a, b, c, d, e, k

    await pause("defined")
    return f(), f(9, b=8), g(1), g(2, c=3, z=4), g.__defaults__, g.__kwdefaults__, sorted(g.__annotations__)


def await_nothing():
    """An annotation computed by a call."""
    return "annotation"


@case
async def await_in_generator_call_chain():
    """Attribute, call and subscript chained on awaited values."""
    b = Box([{"k": Box("deep")}])
    return (await get(b)).value[await get(0)][await get("k")].value.upper(), (await get(b)).value is b.value


@case
async def await_awaited():
    """await of await, parenthesised awaitables, power of an await."""

    async def gives():
        return sent("inner")

    a = await (await gives())
    b = await (sent("t") if a else sent("f"))
    return a, b, -await get(2) ** 2, (await get(3)) ** 2


@case
async def await_with_constants_waiting():
    """Constants, None, Ellipsis, big numbers and names wait below the suspension."""
    return (None, ..., 10**30, 1.5, -0.0, 2j, b"b", "s", True, (1, (2,)), frozenset({1}), await get("x"), len, math.pi)


@case
async def await_long_argument_list():
    """Hundreds of values on the stack at the suspension."""
    values = eval(f"lambda x: [{', '.join('x' if i % 9 else str(i) for i in range(300))}]")(await get(1))
    deep = call(*range(300), await get("last"), **{f"k{i}": i for i in range(40)})
    return sum(values), len(deep[0]), deep[1][-1]


def _wide():
    source = "async def wide(get):\n    return [" + ", ".join(["1", "'s'", "None", "await get(2)"] * 40) + "]\n"
    space = {"__name__": __name__}
    exec(source, space)
    return space["wide"]


@case
async def await_forty_deep_on_one_line():
    """Forty awaits in one display, the stack growing to 160."""
    return len(await _wide()(get))


@case
async def await_inside_parenthesised_nest():
    """Deeply nested parentheses: every level keeps an operand."""
    return 1 + (2 + (3 + (4 + (5 + (6 + (7 + (await get(8) + (9 + await get(10)))))))))


@case
async def await_in_slices_with_objects():
    """Slice objects and tuples as keys, Ellipsis, step and several dimensions."""

    class Grid:
        def __getitem__(self, key):
            return key

    g = Grid()
    return g[await get(1) :, ..., : await get(2)], g[await get(1), *await get([2, 3])], g[::], g[await get(1) : 2 : None]


@case
async def await_in_star_assignment():
    """Unpacking of awaited values into targets of every kind."""
    b, d = Box(), {}
    a, *b.value, d[await get("k")] = await get(range(5))
    (x, [y, *z]), w = await get(((1, "yzz"), 2))
    [p, q] = await get({"p": 1, "q": 2})
    *r, s = await get("rs")
    return a, b, d, x, y, z, w, p, q, r, s


@case
async def await_swap_and_rotate():
    """Parallel assignment with awaited parts."""
    a, b, c = 1, 2, 3
    a, b = await get(b), a
    a, b, c = c, await get(a), b
    xs = [0, 1]
    i = 0
    i, xs[i] = await get(1), await get("x")
    return a, b, c, i, xs


@case
def yield_in_lambda():
    """Lambdas that are generators, called and held."""
    f = lambda n: (yield n) or (yield n + 1)
    g = f(1)
    yield next(g)
    yield g.send(0)
    a = yield from f(5)
    return a, list(g), type(g).__name__, g.__name__


@case
def conversions_wait():
    """str.format with held bound methods and conversion calls around yields."""
    fmt = "{0.value}-{1[0]}-{k!r:>5}".format
    b = Box(1)
    text = fmt(b, [(yield "item")], k=(yield "k"))
    return text, "%(a)s %(b)05.1f" % {"a": (yield "a"), "b": (yield "b")}


@case
def shortcut_values_waiting():
    """The left value of and/or waits on the stack while the right one suspends."""
    a = [] or (yield "or")
    b = [1] and (yield "and")
    c = (yield "x") and (yield "y") or (yield "z")
    return a, b, c


@case
def numbers_of_every_size():
    """Integers around the sizes where their layout changes, floats of every kind."""
    ns = [0, -5, 256, 257, 2**30 - 1, 2**30, -(2**60), 2**63, 10**100]
    fs = [0.0, -0.0, 1e-320, math.inf, -math.inf, 0.1]
    nan = math.nan
    yield ns
    yield fs
    return ns, fs, nan != nan, complex(-0.0, math.inf), True + ns[2]
