# ruff: noqa
"""Frames themselves: layout extremes, introspection of other frames, code made at run time, recursion."""

import inspect
import sys
import types

from tests.frames.kit import Fault, case, emit, group
from tests.frames.parts import Box, counter, get, pause, sent, ticker

group("frames")


def _lineno(frame):
    return frame.f_lineno - frame.f_code.co_firstlineno


def _source(lines, name):
    space = {"__name__": __name__}
    exec(compile("\n".join(lines) + "\n", f"<{name}>", "exec"), space)
    fn = space[name]
    fn.__module__ = __name__
    return fn


def _extended():
    lines = ["def extended_jumps():", "    t = 0", "    for i in range(2):", "        try:"]
    lines += [f"            if i == {n + 5}: t += {n + 1000}; name_{n} = t" for n in range(200)]
    lines += ["            t += yield i", "        finally:", "            t += 1"]
    lines += [f"        if i == {n + 7}: t -= {n + 2000}" for n in range(200)]
    return [*lines, "    got = yield t", "    return t, got, sorted(k for k in locals() if k.startswith('name'))"]


def _many_names():
    lines = ["def three_hundred_locals():", "    class attr: x0, x1, x2 = 0, 1, 2"]
    lines += [f"    v{n} = {n * 1000}.5" for n in range(300)]
    lines += ["    got = yield v299", "    v0 = got", "    del v1"]
    lines += [f"    v{n} += attr.x{n % 3}" for n in range(2, 290)]
    lines += ["    yield v289", "    return sum(v for k, v in locals().items() if k[1:].isdigit()), len(locals())"]
    return lines


def _many_cells():
    lines = ["def many_cells():"]
    lines += [f"    c{n} = [{n}]" for n in range(270)]
    names = ", ".join(f"c{n}" for n in range(270))
    lines += [f"    f = lambda: [{names}]", "    got = yield len(f())", "    c269 = got", "    del c5"]
    lines += ["    yield c269, f.__closure__[0].cell_contents", "    c5 = 'back'", "    return sum(map(len, f()[:5])), f()[5]"]
    return lines


def _deep_nest():
    lines = ["def deeply_nested():", "    last = None", "    from contextlib import nullcontext as guard"]
    pad = "    "
    for n in range(6):
        lines += [f"{pad}for i{n} in (0, 1):", f"{pad}    try:", f"{pad}        with guard({n}):"]
        pad += "            "
    lines += [f"{pad}got = yield i0, i5", f"{pad}if got == 102: raise ValueError(got)"]
    for n in reversed(range(6)):
        pad = "    " + "            " * n
        lines += [f"{pad}    finally:", f"{pad}        if i{n}: last = {n}", f"{pad}    break"]
    return [*lines, "    return last"]


case(_source(_extended(), "extended_jumps"))
case(_source(_many_names(), "three_hundred_locals"))
case(_source(_many_cells(), "many_cells"))
case(_source(_deep_nest(), "deeply_nested"))
case(_source(["N = 1", "def globals_of_its_own():", "    global N", "    yield N", "    N = yield N", "    return N"],
             "globals_of_its_own"))


@case
def made_by_exec():
    """A generator function without source, with a lambda over its cell."""
    space = {"__name__": "made_at_run_time"}
    exec("def f(n):\n  k = n\n  g = lambda x: x + k\n  while k:\n    k -= 1\n    yield g(1)\n  return g", space)
    g = space["f"](2)
    yield next(g)
    r = yield from g
    return r(5)


@case
def made_by_exec_with_own_globals():
    """A run-time module whose functions call each other and a class of theirs."""
    mod = types.ModuleType("made_module")
    exec(
        "import math\nclass A:\n    def m(self): return helper(), math.floor(1.5)\n"
        "def helper(): return N\nN = 1\ndef gen():\n    global N\n    while N < 5:\n        N += 1\n        yield A().m()\n",
        mod.__dict__,
    )
    g = mod.gen()
    yield next(g)
    mod.N = 3
    yield next(g)
    return list(g), mod.N


@case
def line_numbers_of_frames():
    """f_lineno of suspended generators as they move."""

    def gen():
        yield 1
        for i in range(2):
            yield (
                i,
                2,
            )
        try:
            yield 3
        finally:
            yield 4

    g = gen()
    yield _lineno(g.gi_frame)
    for x in g:
        yield x, _lineno(g.gi_frame)
    return g.gi_frame


@case
def frame_objects_held():
    """Frame objects of suspended generators held as locals."""

    def gen(x):
        y = [x]
        yield y
        x = "changed"
        yield y

    g = gen(1)
    f = g.gi_frame
    yield sorted(f.f_locals.items()), f is g.gi_frame
    next(g)
    yield sorted(f.f_locals.items()), f.f_code.co_qualname == gen.__qualname__
    next(g)
    yield f.f_locals["x"], g.gi_frame is f, _lineno(f), f.f_back, f.f_globals is globals()
    list(g)
    return g.gi_frame


@case
def own_frame_by_getframe():
    """sys._getframe of the running frame on both sides."""
    f = sys._getframe()
    here = _lineno(f)
    del f
    yield here
    f = sys._getframe()
    out = _lineno(f), f.f_code.co_name, sorted(f.f_locals)
    del f
    return out


@case
def generator_attributes():
    """gi_frame, gi_running, gi_code, gi_yieldfrom, gi_suspended, names."""

    def inner():
        yield 1

    def outer():
        yield 0
        yield from inner()

    g = outer()
    g.__name__, g.__qualname__ = "renamed", "re.named"
    yield g.gi_yieldfrom, g.gi_suspended, inspect.getgeneratorstate(g), g.__name__
    yield next(g), g.gi_suspended, inspect.getgeneratorstate(g)
    next(g)
    yield g.gi_yieldfrom.__name__, g.__qualname__, g.gi_yieldfrom.gi_frame.f_lineno > g.gi_code.co_firstlineno - 9
    next(g, None)
    return g.gi_yieldfrom, inspect.getgeneratorstate(g), g.gi_suspended, g.__name__


@case
async def coroutine_attributes():
    """cr_await, cr_frame, cr_origin and states of held coroutines."""

    async def outer():
        x = "local"
        return await sent(x)

    c = outer()
    await pause((inspect.getcoroutinestate(c), c.cr_await))
    c.send(None)
    await pause((inspect.getcoroutinestate(c), c.cr_await.cr_code.co_name, inspect.getcoroutinelocals(c)))
    inner = c.cr_await
    await pause((type(inner.cr_await).__name__, _lineno(inner.cr_frame), c.cr_origin))
    try:
        c.send("end")
    except StopIteration as e:
        return e.value, inspect.getcoroutinestate(c), inspect.getcoroutinestate(inner), c.cr_frame


@case
def generator_locals_looked_at():
    """inspect.getgeneratorlocals with unbound and cell variables."""

    def gen(a):
        def f():
            return b

        yield f
        b = a
        yield f
        c = 1
        del a
        yield c

    g = gen("a")
    out = []
    yield "new", sorted(inspect.getgeneratorlocals(g))
    for _ in g:
        found = inspect.getgeneratorlocals(g)
        out.append(sorted(found))
        yield out[-1], found.get("b"), found.get("c")
    return inspect.getgeneratorlocals(g)


@case
def parameters_of_every_kind():
    """Positional-only, defaults, varargs, keyword-only, keywords; some rebound."""

    def f(a, b=2, /, c=3, *rest, d, e=5, **more):
        yield a, b, c, rest, d, e, sorted(more.items())
        a, rest, more = "rebound", rest + (99,), {**more, "new": 1}
        d = None
        yield sorted(locals())
        return a, b, c, rest, d, e, sorted(more.items())

    a = yield from f(1, 2, 30, 31, 32, d=4, z=6)
    b = yield from f(1, d=0)
    return a, b


@case
def unbound_and_deleted_locals():
    """Locals that are unbound at the suspension."""
    a, b = 1, 2
    del a
    yield b
    for name in ("a", "c"):
        try:
            a if name == "a" else c
        except UnboundLocalError as e:
            emit(name, str(e))
    c = yield 2
    return sorted(locals()), c


@case
def big_locals():
    """Lists of thousands, long strings and bytes."""
    xs, text, d = list(range(3000)), "xé" * 3000, {i: str(i) for i in range(1000)}
    b = bytes(range(256)) * 20
    t = tuple([None] * 70000)
    yield len(xs)
    xs.append(1)
    return sum(xs), len(text), d[999], len(b), len(t), text[-1]


@case
def recursive_generators():
    """Towers of Hanoi and permutations by recursion."""

    def hanoi(n, a, b, c):
        if n:
            yield from hanoi(n - 1, a, c, b)
            yield a + c
            yield from hanoi(n - 1, b, a, c)

    def perms(xs):
        if not xs:
            yield ()
        for i, x in enumerate(xs):
            for rest in perms(xs[:i] + xs[i + 1 :]):
                yield x, *rest

    yield from hanoi(2, "a", "b", "c")
    yield from perms([1, 2, 3])


@case
async def recursive_coroutines():
    """Factorial and mutual recursion with suspensions at the bottom and on the way."""

    async def fact(n):
        return n * await fact(n - 1) if n > 1 else await get(1)

    async def even(n):
        return await odd(n - 1) if n else await sent("even")

    async def odd(n):
        await pause(("odd", n))
        return await even(n - 1) if n else "odd"

    return await fact(5), await even(3), await even(4)


@case
def hot_function_suspended():
    """A generator whose inner calls are specialised and inlined before it suspends."""

    def add(a, b):
        return a + b

    class P:
        __slots__ = ("v",)

        def __init__(self, v):
            self.v = v

        @property
        def double(self):
            return self.v * 2

        def get(self):
            return self.v

    p, d, total = P(1), {"k": 1}, 0
    for i in range(3000):
        total = add(total, p.v) + p.double + p.get() + d["k"] + len(d) + (i in d) + [1, 2][i & 1]
        if i == 1500:
            total += yield total
    p.v = 2.5
    yield add("a", "b"), p.double
    return total, P("s").double, isinstance(p, P), sum(x for x in range(3) if x > d["k"])


@case
def hot_generator_resumed_often():
    """One generator resumed thousands of times, then carried over."""

    def gen():
        n = 0
        while True:
            n += (yield n) or 1

    g = gen()
    for _ in range(3000):
        next(g)
    yield next(g)
    for x in g:
        if x > 6000:
            break
    yield x
    return g.send(5)


@case
def stack_of_every_statement():
    """Suspended with loops, with blocks, handlers and call arguments all on one stack."""
    out = []
    for a in (1, 2):
        with Quiet(a):
            try:
                for b in "xy":
                    try:
                        raise Fault(b)
                    except Fault as e:
                        out.append([a, b, e.args, *[(yield a, b)], max((yield "max"), 1)])
                        if b == "x":
                            continue
                    finally:
                        out.append((yield "finally"))
            except KeyError:
                out.append("never")
            else:
                out.append(len(out))
    return out


class Quiet:
    """A quiet manager."""

    def __init__(self, v):
        self.v = v

    def __enter__(self):
        return self

    def __exit__(self, *error):
        emit("exit", self.v, error[0])


@case
def names_of_generators():
    """Names and qualified names of frames made by comprehension, lambda, method and local function."""

    class C:
        def m(self):
            yield

    def f():
        yield

    gens = [C().m(), f(), (lambda: (yield))(), (x for x in ()), ticker(1)]
    yield [g.__name__ for g in gens]
    return [g.__qualname__ for g in gens], repr(gens[0]).split(" at ")[0]


@case
async def async_generator_frames():
    """ag_frame of an async generator while its caller is suspended."""
    ag = counter(2)
    it = ag.__anext__()
    it.send(None)
    await pause((_lineno(ag.ag_frame), sorted(ag.ag_frame.f_locals), ag.__name__, ag.__qualname__))
    try:
        it.send("x")
    except StopIteration as e:
        await pause(e.value)
    return _lineno(ag.ag_frame), [x async for x in ag]


@case
def builtins_replaced():
    """A function whose globals bring their own __builtins__."""
    space = {"__builtins__": {"len": lambda x: "my len", "print": None}, "__name__": "bare"}
    exec("def f():\n    yield len([])\n    yield len([1])\n", space)
    g = space["f"]()
    yield next(g)
    return next(g), sorted(space["__builtins__"])


@case
def trace_functions_untouched():
    """Docstrings, flags, stack size and line tables of a code object on both sides."""

    def gen(a, *b, **c):
        """doc of gen"""
        x = yield a
        return x

    g = gen(1)
    next(g)
    yield g.gi_code.co_flags, g.gi_code.co_stacksize, len(list(g.gi_code.co_lines())) > 1
    code = gen.__code__
    return code.co_name == g.gi_code.co_name, code.co_consts[0], gen.__doc__, len(list(code.co_positions())), inspect.signature(gen)
