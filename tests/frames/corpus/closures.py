# ruff: noqa
"""Closures and functions: cells shared, empty, deleted; functions with everything a function object can carry."""

import functools
import types

from tests.frames.kit import case, emit, group
from tests.frames.parts import Box, call, get, pause, sent, ticker

group("closures")


@case
def cell_read_by_lambda():
    """A lambda over a variable of the frame that changes."""
    k = 3
    f = lambda x: x * k
    yield f(1)
    k = 4
    yield f(1)
    return f(2)


@case
def cell_shared_by_two_generators():
    """Two generators and the frame count in one cell."""
    total = 0

    def adder(step):
        nonlocal total
        while total < 40:
            total += step
            yield total

    a, b = adder(1), adder(10)
    while True:
        try:
            yield next(a), next(b), total
        except StopIteration:
            return total


@case
def cell_survives_its_frame():
    """The cell of a finished function is shared by what it returned."""

    def make():
        n = 0

        def up():
            nonlocal n
            n += 1
            return n

        def gen():
            while up() < 6:
                yield n

        return up, gen()

    up, g = make()
    yield next(g)
    up()
    yield next(g), up()
    up()
    return list(g), up()


@case
def cell_before_assignment():
    """A cell captured before its variable is bound."""

    def read():
        return late

    try:
        read()
    except NameError as e:
        yield str(e)
    yield "not yet"
    late = "bound"
    return read()


@case
def cell_empty_in_generator():
    """A generator not started whose cell variable is unbound."""

    def gen():
        yield late

    g = gen()
    yield "held"
    late = [1]
    return next(g) is late


@case
def cell_of_recursive_function():
    """A function that refers to itself through its cell."""

    def fact(n):
        return 1 if n < 2 else n * fact(n - 1)

    def even(n):
        return True if n == 0 else odd(n - 1)

    def odd(n):
        return False if n == 0 else even(n - 1)

    yield fact(3)
    yield even(4), odd(4)
    return fact(5), even(3)


@case
def cells_made_in_a_loop():
    """Lambdas made in a loop share one cell, unless a default keeps the value."""
    fs, gs, hs = [], [], []
    for i in range(3):
        fs.append(lambda: i)
        gs.append(lambda i=i: i)
        hs.append((lambda j: lambda: j)(i))
        yield [f() for f in fs], [g() for g in gs]
    return [h() for h in hs]


@case
def cells_of_three_levels():
    """A variable passed down through a function that does not use it."""
    x = 1

    def middle():
        def inner():
            nonlocal x
            x += 1
            return x

        return inner

    inner = middle()
    yield inner()
    x = 10
    yield inner(), x
    return [c.cell_contents for c in inner.__closure__], inner.__closure__[0] is middle.__closure__[0]


@case
def cell_objects_in_locals():
    """Cells held as plain values, filled, empty and shared with a function."""
    x = "x"
    f = lambda: x
    (shared,) = f.__closure__
    free, empty = types.CellType([1]), types.CellType()
    yield shared.cell_contents
    shared.cell_contents = "changed"
    yield x, f(), free.cell_contents
    try:
        empty.cell_contents
    except ValueError as e:
        emit(str(e))
    empty.cell_contents = 2
    return empty.cell_contents, shared is f.__closure__[0]


@case
def cell_parameters():
    """Parameters that are cell variables, of every kind."""

    def f(a, b=2, *rest, k=3, **more):
        def read():
            return a, b, rest, k, more

        yield read()
        a, more = "new", {"n": 1}
        yield read()
        return read

    read = yield from f(1, 5, 6, z=7)
    return read()


@case
def cell_cycle_through_function():
    """A function in a list in its own closure."""
    box = []

    def f():
        return box

    box.append(f)
    yield box[0] is f
    yield f()[0] is f
    del f
    return box[0]() is box


@case
def class_body_uses_cells():
    """A class body executed in the frame, with names that are cells, locals and globals of it."""
    x, y = "x", "y"

    class C:
        w = x
        z = y

        def m(self):
            return x, y, self.w

        class D:
            w = y

    yield C.w, C.z, C.D.w
    x, y = 1, 2
    return C().m(), C.z


@case
def function_with_everything():
    """Defaults, keyword defaults, annotations, attributes, docstring, closure."""
    k = 1

    def f(a, b=[1], /, c="c", *args: int, d={"k": 2}, **kw) -> "ret":
        """A docstring."""
        return a, b, c, args, d, kw, k

    f.tag = ["tag"]
    yield f(0)
    f.__defaults__[0].append(9)
    k = 2
    yield f(0), f.tag
    f.__name__, f.__qualname__, f.__doc__ = "renamed", "Some.renamed", "other"
    f.__defaults__ = (5,)
    yield f.__name__, f.__qualname__, f.__doc__, sorted(f.__annotations__), f.__annotations__["return"]
    return f(1, 2), f.__kwdefaults__, f.__module__


@case
def functions_from_parts():
    """Functions made with types.FunctionType and code.replace."""

    def f(a, b=1):
        return a + b + k

    g = types.FunctionType(f.__code__, {"k": 10, "__name__": "elsewhere"}, "g", (2,))
    h = types.FunctionType(f.__code__.replace(co_name="h2", co_consts=f.__code__.co_consts), {"k": 100}, "h")
    yield g(1), h(1, 1)
    g.__globals__["k"] = 20
    yield g(1), g.__name__, h.__code__.co_name
    return g.__globals__["k"], g.__module__


@case
def generator_functions_from_parts():
    """A running generator whose function has globals of its own."""
    space = {"__name__": "made", "k": [1]}
    exec("def gen():\n    global k\n    while True:\n        k = k + [(yield k)]\n", space)
    g = space["gen"]()
    yield next(g)
    yield g.send("a"), space["k"]
    space["k"] = []
    return g.send("b"), space["k"]


@case
def methods_bound_and_unbound():
    """Bound methods of locals, builtin methods, class and static methods, method descriptors."""
    b, xs, d, text = Box(1), [], {"k": 1}, "ab"
    add, app, look, up, join = b.add, xs.append, d.get, str.upper, "-".join
    low, size, make, pos = text.title, xs.__len__, dict.fromkeys, "abc".index
    yield add(1)
    app(2)
    d["m"] = 3
    yield look("m"), up("x"), join("ab"), size(), low()
    return b, xs, make("ab"), pos("c"), add.__self__ is b, app.__self__ is xs, look.__self__ is d


@case
def method_wrappers_and_slots():
    """Slot wrappers, method wrappers, member and getset descriptors in locals."""

    class S:
        __slots__ = ("a",)

    s = S()
    s.a = 1
    things = [(5).__add__, int.__add__, S.a, [].__iter__, type.__dict__["__mro__"], object.__init__, S.__init__, len]
    yield things[0](1), things[1](2, 3), things[2].__get__(s)
    return things[0](2), things[2].__get__(s), things[3]().__length_hint__(), things[7]("ab"), S.a is things[2]


@case
def partials_of_everything():
    """partial of functions, lambdas, methods, classes and partials, with attributes."""
    k = 2
    ps = [functools.partial(call, 1, x=2), functools.partial(lambda a, b: a * b + k, 3), functools.partial(Box(1).add)]
    ps.append(functools.partial(ps[0], 5))
    ps[0].tag = "tagged"
    yield ps[0](9), ps[1](1), ps[2](4), ps[3]()
    k = 50
    yield ps[1](1), ps[2](4), ps[0].tag
    return ps[3].func is call, ps[3].args, ps[0].keywords


@case
def decorators_with_wraps():
    """functools.wraps: attributes, __wrapped__ and the closure of the wrapper."""

    def traced(fn):
        @functools.wraps(fn)
        def wrapper(*a, **k):
            emit("call", fn.__name__, a)
            wrapper.calls += 1
            return fn(*a, **k)

        wrapper.calls = 0
        return wrapper

    @traced
    def f(x):
        """doc"""
        return x + 1

    yield f(1)
    yield f(2), f.calls
    return f.__wrapped__(5), f.__name__, f.__doc__, f.calls


@case
async def coroutine_functions_local():
    """Coroutine functions defined in a frame, over its cells, called before and after."""
    k = 5

    async def work(x):
        nonlocal k
        k += x
        v = await sent(k)
        k += 1
        return v, k

    a = await work(1)
    held = work(2)
    await pause("held")
    return a, await held, k


@case
def local_generator_as_method():
    """A function of the frame bound to an object by types.MethodType and by attribute."""

    def gen(self, n):
        for i in range(n):
            yield self.value, i

    b = Box("b")
    b.gen = types.MethodType(gen, b)
    g = b.gen(3)
    yield next(g)
    b.value = "changed"
    yield next(g)
    return list(g), b.gen.__func__ is gen


@case
def lambda_in_default_of_lambda():
    """Lambdas as defaults, in containers, immediately called, recursive by argument."""
    y = lambda f, n: 1 if n == 0 else n * f(f, n - 1)
    table = {"add": lambda a, b=(lambda: 10): a + b(), "self": y}
    yield table["add"](1)
    yield (lambda *a, **k: (a, k))(1, z=2), y(y, 5)
    return table["self"] is y, table["add"](2, lambda: 0)


@case
def closure_over_loop_of_generators():
    """Generators started in a loop over one cell, finished in another order."""
    gens = []
    for i in range(3):

        def gen():
            yield i
            yield "second", i

        g = gen()
        gens.append(g)
        yield next(g)
    yield [next(g) for g in reversed(gens)]
    return [list(g) for g in gens], [list(ticker(i)) for i in (0, 1)]


@case
def locals_function_results():
    """locals() taken before and after, with cells in it."""
    a, b = 1, [2]
    f = lambda: b
    before = locals()
    yield sorted(k for k in before), before["b"] is b
    c = 3
    after = locals()
    return sorted(after), after["b"] is b, f() is b, c


@case
def same_code_two_closures():
    """Two functions of one code object with different cells and defaults."""

    def make(n, d):
        def f(x=d):
            nonlocal n
            n += 1
            return n, x

        return f

    f, g = make(0, "f"), make(100, "g")
    yield f(), g()
    yield f(), f(), g()
    return f.__code__ is g.__code__, f(), g()


@case
async def awaits_in_nested_functions():
    """A local coroutine over a cell that the awaiting frame changes while it waits."""
    x = 1

    async def reader(n):
        return [(x, await get(i)) for i in range(n)]

    r = reader(2)
    x = 2
    first = await r
    x = 3
    return first, await reader(1)
