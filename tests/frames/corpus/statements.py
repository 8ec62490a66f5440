# ruff: noqa
"""Section 7 and the match statement: assert, del, global, nonlocal, import, assignments and every kind of pattern."""

import dataclasses
import enum
import sys

from tests.frames.kit import Fault, case, emit, group
from tests.frames.parts import Box, get, pause, quiet, sent

group("statements")

SETTING = "initial"
COUNTS = {"calls": 0}


@dataclasses.dataclass
class Point:
    """A class with positional patterns."""

    x: int
    y: int


class Colour(enum.Enum):
    """Dotted names in value patterns."""

    RED = 1
    BLUE = 2


@case
async def match_classes():
    """Positional and keyword class patterns, guards that suspend, builtins with a capture."""
    out = []
    for subject in (Point(0, 5), Point(1, 2), 7, "text", 1.5, [Point(3, 4)]):
        match await get(subject):
            case Point(x=0, y=y) if await get(y) > 3:
                out.append(("axis", y))
            case Point(x, y):
                out.append(("point", x, await get(y)))
            case int(n) | float(n):
                out.append(("number", await get(n)))
            case str() as s:
                out.append(("str", await get(s)))
            case [Point(x=a)]:
                out.append(("boxed", a, await get("p")))
    return out


@case
async def match_sequences():
    """Fixed, starred, nested and wildcard sequence patterns."""
    out = []
    for subject in ([], [1], [1, 2, 3], (1, (2, [3, 4])), "no sequence", range(3), [[0], 9]):
        match subject:
            case []:
                out.append(await get("empty"))
            case [x]:
                out.append(await sent(x))
            case [1, [2, [*inner]]]:
                out.append(await get(inner))
            case [[0], _]:
                out.append(await get("wild"))
            case [first, *_, last] if await get(first) is not None:
                out.append((first, last))
            case _:
                out.append(await get("other"))
    return out


@case
async def match_mappings():
    """Mapping patterns with rest, nested and with value patterns."""
    out = []
    for subject in ({"k": 1, "z": 2}, {"c": Colour.RED}, {"c": Colour.BLUE}, {}, {"n": {"m": [1]}}):
        match subject:
            case {"k": v, **rest}:
                out.append((v, await get(rest)))
            case {"c": Colour.RED}:
                out.append(await get("red"))
            case {"c": Colour() as c}:
                out.append(await get(c))
            case {"n": {"m": [x]}}:
                out.append(await get(x))
            case {}:
                out.append(await get("any mapping"))
    return out


@case
async def match_literals_and_alternatives():
    """Literals, None, True, negative and complex numbers, strings, or-patterns with as."""
    out = []
    for subject in (None, True, 1, -3, 2 + 1j, "s", b"b", "never"):
        match subject:
            case None:
                out.append(await get("none"))
            case True | False as b:
                out.append(await get(b))
            case (1 | 2) as n:
                out.append(await get(n))
            case -3 | 2 + 1j:
                out.append(await get("number"))
            case ("s" | b"b") as t:
                out.append(await get(t))
            case other:
                out.append(await get(other))
    return out


@case
def match_guard_yields():
    """Guards that yield, with captures made before they fail."""
    out = []
    for subject in ([1, 2], [3, 4]):
        match subject:
            case [a, b] if (yield "first", a) == 101:
                out.append(("first", a, b))
            case [a, b] if (yield "second", b):
                out.append(("second", a, b))
    return out, a, b


@case
def match_with_match_args_and_properties():
    """__match_args__ and properties with side effects."""

    class Pair:
        __match_args__ = ("left", "right")

        def __init__(self, a, b):
            self.a, self.b = a, b

        @property
        def left(self):
            emit("left")
            return self.a

        @property
        def right(self):
            emit("right")
            return self.b

    for p in (Pair(1, 2), Pair(Pair(3, 4), 5)):
        match p:
            case Pair(Pair(x, y), right=z):
                yield "deep", x, y, z
            case Pair(x, y):
                yield "flat", x, y


@case
async def match_subject_tuple():
    """A subject built from several awaits, matched in pieces."""
    match await get(1), await get([2, 3]), *await get("ab"):
        case 1, [x, y], *rest:
            await pause((x, y, rest))
            return x, y, rest


@case
async def assert_with_awaits():
    """The condition and the message are awaited; the message only on failure."""
    assert await get(True), f"{await get('not needed')}"
    try:
        assert not await get(True), await get("message")
    except AssertionError as e:
        await pause(e.args)
    assert (await get(1), "always true")[0]


@case
def del_of_every_target():
    """Names, attributes, items and slices deleted across suspensions."""
    a, b, d, xs = 1, Box(2), {"k": 1, "m": 2}, [1, 2, 3, 4]
    yield a
    del a, b.value, d["k"]
    yield d, hasattr(b, "value")
    del xs[1:3], (d["m"])
    try:
        a
    except UnboundLocalError as e:
        emit("a", type(e).__name__)
    yield xs, d
    a = "bound again"
    del b
    return a, xs


@case
def del_of_cell_variable():
    """A variable of a closure deleted and bound again."""
    x = 1

    def read():
        return x

    yield read()
    del x
    try:
        read()
    except NameError as e:
        yield str(e)
    yield "unbound"
    x = 2
    return read()


@case
def global_statement():
    """A module's global rebound by the frame; seen by the others of its module."""
    global SETTING
    yield SETTING
    SETTING = yield "set"
    emit(SETTING)
    SETTING = "initial"
    yield SETTING


@case
def global_created_and_deleted():
    """A global that exists only between two suspensions."""
    global passing_name
    passing_name = 1
    emit(passing_name)
    del passing_name
    yield "gone"
    try:
        passing_name
    except NameError as e:
        return str(e)


@case
def nonlocal_through_two_levels():
    """nonlocal from two function levels down, shared by siblings."""
    n = 0

    def outer():
        def up():
            nonlocal n
            n += 1
            return n

        def read():
            return n

        return up, read

    up, read = outer()
    yield up(), read()
    n += 10
    yield up(), read()
    return n


@case
def import_statements():
    """Modules, submodules, aliases and names imported inside the frame."""
    import json
    import os.path
    import xml.dom.minidom as dom
    from collections import OrderedDict as Ordered
    from collections import abc

    yield json.dumps([1]), os.path.basename("a/b")
    loads = json.loads
    yield loads("[2]"), Ordered.__name__
    return dom.__name__, isinstance([], abc.Sequence), sys.modules["json"] is json


@case
async def return_expressions():
    """return with an awaited tuple, a star and a conditional."""

    async def f(x):
        return (await get(x), *await get([x])) if await get(x) else None

    return await f(1), await f(0), *await f(2)


@case
def annotated_assignments():
    """Annotations in a function are not evaluated, their targets are."""
    x: int = yield 1
    y: undefined_name
    b = Box()
    b.value: str = yield 2
    (z): int = 3
    try:
        y
    except UnboundLocalError:
        return x, b, z


@case
def pass_and_empty_bodies():
    """Statements that leave nothing behind, between suspensions."""
    yield 1
    pass
    ...
    "a docstring that is none"
    if 0:
        yield "never"
    while False:
        yield "never"
    yield 2


@case
async def decorators_awaited():
    """Decorators that are awaited expressions, applied bottom up."""

    def tag(name):
        emit("made", name)

        def apply(f):
            emit("applied", name)
            return lambda *a: (name, f(*a))

        return apply

    @(await quiet(tag))("outer")
    @tag(await get("inner"))
    def f(x):
        return x

    await pause("decorated")
    return f(1)


@case
async def class_statement_awaited():
    """Bases, keywords, decorators and the body's names come from awaits."""

    def mark(cls):
        cls.mark = "marked"
        return cls

    class Meta(type):
        def __new__(mcls, name, bases, space, **kw):
            emit("new", name, sorted(kw))
            return super().__new__(mcls, name, bases, space)

        def __init__(cls, name, bases, space, **kw):
            super().__init__(name, bases, space)

    base = await get(Box)

    @await quiet(mark)
    class C(base, *await get([]), metaclass=await get(Meta), option=await get(1), **await get({"more": 2})):
        attr = 5

        def m(self):
            return super().add(self.attr), __class__.__name__

    await pause("between")
    return C(1).m(), C.mark, C.__mro__[1] is Box, type(C).__name__


@case
def try_in_loop_with_global_state():
    """A module-level dict changed by the frame is the importing module's own."""
    COUNTS["calls"] = 0
    for i in range(3):
        try:
            if i == 1:
                raise Fault(i)
            yield i
        except Fault:
            pass
    return COUNTS["calls"]


@case
def if_elif_ladder():
    """Conditions that suspend in a ladder of branches."""
    if (yield 1) == 0:
        yield "never"
    elif (yield 2) == 101:
        yield "taken"
        if (yield 3):
            yield "nested"
    else:
        yield "never"


@case
def exec_and_eval_with_locals():
    """Code run by exec and eval between suspensions, its namespace in a local."""
    space = {"__name__": "made"}
    exec("def f(x):\n    return x + k\nk = 1\nclass A:\n    def m(self): return k", space)
    yield space["f"](1)
    space["k"] = 10
    yield space["f"](1), eval("[x for x in range(k) if x > 7]", space)
    exec("k = 20", space)
    return space["f"](1), space["A"]().m(), eval("a + 1", {}, {"a": 1})
