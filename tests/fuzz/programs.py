"""Random programs as source text: helpers of all kinds and a `main` that is to be suspended.

A program ends (loops are bounded, calls only go to what was defined before, recursion is counted down), is
deterministic and does not depend on hashes, addresses or on when memory is freed: whatever holds a `with` or `try` open
across a yield is consumed on the value stack or closed explicitly, see Scope.clean.
"""

import random
import sys
import textwrap
from dataclasses import dataclass

from hypothesis import strategies as st

from . import kit
from .choices import Drawn, Seeded
from .scopes import Scope
from .statements import Statements, indent

HOMES = ("module", "nested", "exec")
CORO_HELPERS = (
    (5, "coro"),
    (3, "agen"),
    (3, "clean_agen"),
    (2, "clean_gen"),
    (2, "gen"),
    (1, "sync"),
    (2, "recursive"),
    (2, "cm"),
    (2, "acm"),
    (2, "class"),
)
GEN_HELPERS = ((5, "gen"), (3, "clean_gen"), (2, "coro"), (1, "sync"), (2, "recursive"), (2, "cm"), (2, "class"))
HEADER = f"""import contextlib
import itertools
import sys
from collections import deque

from {kit.__name__} import (
{textwrap.fill(", ".join(sorted(kit.__all__)), 110, initial_indent="    ", subsequent_indent="    ")},
)
"""


@dataclass(frozen=True)
class Program:
    number: int
    text: str  # header and definitions; `main` makes the root
    flavour: str  # coro, gen
    home: str  # module, nested (all in a function), exec (in a namespace that can't be imported)
    sends: bool  # resumed with ints rather than None

    @property
    def name(self):
        return f"fuzz_prog_{self.number}"

    @property
    def source(self):
        """The text of its module."""
        if self.home != "nested":
            return self.text
        body = self.text.rstrip("\n") + "\nreturn main"
        return "def make():\n" + textwrap.indent(body, "    ") + "\n"


class Builder(Statements):
    def __init__(self, choices, size=60, version=sys.version_info[:2]):
        self.choices, self.size, self.version = choices, size, version
        self.budget, self.counter = 0, 0

    def fresh(self, prefix):
        self.counter += 1
        return f"{prefix}{self.counter}"

    def program(self, number):
        flavour = self.choices.weighted([(3, "coro"), (2, "gen")])
        home = self.choices.weighted([(6, "module"), (2, "nested"), (2, "exec")])
        sends = self.choices.weighted([(4, True), (1, False)])
        top = Scope("sync")
        lines = [HEADER]
        for _ in range(self.choices.integer(0, 5)):
            self.budget = self.size // 2
            lines += [*self.helper(top, flavour), "", ""]
        self.budget = self.size * 2
        lines += self.main(top, flavour)
        return Program(number, "\n".join(lines) + "\n", flavour, home, sends)

    # -------------------------------------------------------------- helpers

    def helper(self, top, flavour):
        kind = self.choices.weighted(CORO_HELPERS if flavour == "coro" else GEN_HELPERS)
        if kind == "class":
            return self.klass(top, 2)
        name = self.fresh("h")
        if kind == "recursive":
            return self.recursive(top, name, flavour)
        if kind in ("cm", "acm"):
            out = self.context_manager(top, name, kind)
        else:
            out = self.definition(top, name, kind, 3)
        top.calls[kind].append(name)
        return out

    def recursive(self, top, name, kind):
        """Calls itself a few levels deep; every level has something on its stack meanwhile."""
        x, n = self.fresh("a"), self.fresh("n")
        s = top.function(kind, [x])
        head = "async def" if kind == "coro" else "def"
        call = f"(await {name}({x} + 1, {n} - 1))" if kind == "coro" else f"num((yield from {name}({x} + 1, {n} - 1)))"
        body = [
            f"if {n} <= 0:",
            f"    return {self.simple_suspension(s, x)}",
            *self.block(s, 2, 1, 2),
            f"return {self.int_(s, 1)} + {call}",
        ]
        out = [f"{head} {name}({x}, {n}={self.choices.integer(1, 3)}):", *indent(body)]
        top.calls[kind].append(name)
        return out

    def context_manager(self, top, name, kind):
        """One yield, in one of the usual shapes."""
        x = self.fresh("a")
        s = top.function("sync" if kind == "cm" else "agen", [x])
        s.yields = False
        before, after = self.block(s.block(), 1, 1, 1), self.block(s.block(), 1, 1, 1)
        shape = self.choices.pick(["finally", "except", "plain"])
        if shape == "finally":
            body = ["try:", f"    yield {x}", "finally:", *indent(after)]
        elif shape == "except":
            error = self.fresh("e")
            raising = self.choices.pick([[], ["raise"], [f"raise Fault({x}) from {error}"]])
            body = [
                "try:",
                f"    yield {x}",
                f"except Exception as {error}:",
                *indent([f"emit({self.fresh('')}, show({error}))", *after, *raising]),
            ]
        else:
            body = [f"yield {x}", *after]
        decorator, head = ("contextmanager", "def") if kind == "cm" else ("asynccontextmanager", "async def")
        return [f"@contextlib.{decorator}", f"{head} {name}({x}):", *indent(before + body)]

    # -------------------------------------------------------------- main

    def main(self, top, flavour):
        names = {prefix: self.fresh(prefix) for prefix in "abldok"}
        a, b, values, d, o, k = (names[prefix] for prefix in "abldok")
        s = top.function(flavour, [a, b])
        s.lists, s.dicts, s.objs, s.kept = [values], [d], [o], [k]
        head = "async def" if flavour == "coro" else "def"
        signature = self.choices.pick([f"{a}=3, {b}=4", f"{a}=3, *args, {b}=4", f"{a}=3, /, *args, {b}=4, **kw"])
        start = [f"{values} = [{a}, 2, 1]", f"{d} = {{1: {b}, 2: 5}}", f"{o} = Box({a})", f"{k} = None"]
        opening = self.choices.weighted([(7, None), (1, self.klass), (1, self.function)])
        body = opening(s, 3) if opening else []
        for _ in range(self.choices.integer(2, 6)):
            body += self.part(s)
        end = [f"emit({self.fresh('')}, {a}, {b}, {values}, {d}, {o}, show({k}))", f"return mix({', '.join(s.own)})"]
        if flavour == "gen":
            end.insert(0, f"yield {a}")
        return [f"{head} main({signature}):", *indent(start + body + end)]

    def part(self, s):
        if self.choices.chance(55):
            return self.guard(s, self.block(s.block(), 3, 1, 2))
        return self.statement(s, 4)


def seeded_program(seed, number, size=60):
    """The same program for the same arguments, on the same Python."""
    return Builder(Seeded(f"{seed}/{number}"), size).program(number)


@st.composite
def programs(draw, size=60):
    """A strategy; the number only names the program's module."""
    return Builder(Drawn(draw), size).program(random.Random(draw(st.integers(0, 999))).randrange(10**9))
