# ruff: noqa
"""Syntax new in 3.12: type parameters, type statements and f-strings with anything inside."""

import typing

from tests.frames.kit import Fault, case, emit, group
from tests.frames.parts import AsyncCount, Guard, call, get, pause, sent

group("newer syntax")

type Tree[T] = T | list[Tree[T]]


def first[T: int](xs: list[T]) -> T:
    """A generic function of the module."""
    return xs[0]


@case
def type_parameters_of_functions():
    """Generic local functions and generators."""

    def pick[T, *Ts, **P](x: T, *rest: *Ts) -> T:
        return x, rest, T.__name__

    def gen[T](xs: list[T]):
        for x in xs:
            yield x, T.__name__

    g = gen([1, 2])
    yield pick(1, 2)
    yield next(g)
    return [p.__name__ for p in pick.__type_params__], pick.__type_params__[0].__bound__, list(g), first([3])


@case
def type_parameters_of_classes():
    """A generic local class with methods over its parameter."""
    outer = [1]

    class Stack[T]:
        kind = "stack"

        def __init__(self, *items: T):
            self.items = [*items]

        def pop(self) -> T:
            return self.items.pop(), T.__name__, outer, __class__.kind

        def each[U](self, f):
            for x in self.items:
                yield f(x), U.__name__

    s = Stack[int](1, 2, 3)
    g = s.each(str)
    yield s.pop(), next(g)
    return s.pop(), list(g), [p.__name__ for p in Stack.__type_params__], Stack[int].__args__


type Numbers = list[int]


@case
def type_statements():
    """Type aliases of the module, lazy and recursive."""
    held = Tree, Numbers
    yield held[0].__name__, held[1].__value__
    return held[1] is Numbers, Tree.__type_params__[0].__name__


@case
async def f_strings_nested():
    """Quotes, comments, lambdas, displays and nested f-strings in replacement fields."""
    d = {"k": "v"}
    a = f"{d["k"]} {f"{f"{await get(1)}" + "x"}":>{await get(5)}}"
    b = f"{(lambda x: f"{x!r:^{5}}")(await get("l"))} {[await get(i) for i in (1, 2)]!s:>{10 + await get(2)}}"
    c = f"""{
        await get("multi")  # a comment
        :{await get("<")}{
            await get(8)
        }}|{await get(2) = }"""
    return a, b, c, f"{'\n'.join(["x", await get("y")])}"


@case
async def comprehensions_inlined():
    """Inlined comprehensions with cells, lambdas, names shared and exceptions inside a handler."""
    x, fs = "outer", []
    try:
        raise Fault("handled")
    except Fault:
        a = [(x, fs.append(lambda: x)) and await get(x) for x in (1, 2)]
        b = {x: [await get(x + y) async for y, _ in AsyncCount(1)] for x in (3,)}
    g = lambda: x
    await pause("made")
    try:
        [1 / await get(x) for x in (1, 0)]
    except ZeroDivisionError as e:
        emit(type(e).__name__, x, g())
    return x, a, b, [f() for f in fs], [[x for x in [x]] for x in [await sent(x)]]


@case
def with_and_comprehension_lines():
    """Lines of a traceback through an inlined comprehension in a with block."""
    with Guard("g", swallow=True):
        [
            1
            // x
            for x in (1, 0)
            if call(x)
        ]
    yield "swallowed"
    return [y for y in [(yield "first")]]
