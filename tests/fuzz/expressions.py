"""Random expressions, int-valued for the most part, with suspensions at any place that the grammar allows."""

from .scopes import Scope


class Expressions:
    """Wants self.choices, self.version, self.budget, self.fresh(prefix)."""

    def int_(self, s: Scope, d: int) -> str:
        self.budget -= 1
        if d <= 0 or self.budget <= 0:
            return self.leaf(s)
        return self.choices.weighted(self.int_options(s))(s, d - 1)

    def leaf(self, s):
        if s.suspends and self.budget > 0 and self.choices.chance(22):
            return self.simple_suspension(s, str(self.choices.integer(0, 9)))
        if s.ints and self.choices.chance(70):
            return self.choices.pick(s.ints)
        return str(self.choices.integer(0, 9))

    def int_options(self, s):
        options = [
            (6, lambda s, d: self.leaf(s)),
            (6, self.binary),
            (4, self.call),
            (3, self.subscript),
            (3, self.conditional),
            (3, self.boolean),
            (2, self.compare),
            (2, self.fstring),
            (3, self.reduced),
            (2, self.display),
            (1, self.unary),
            (2, self.lambda_call),
            (1, self.slice_sum),
            (4, self.comprehension),
            (2, self.local_call),
        ]
        if s.suspends:
            options.append((12, self.suspension))
        if s.walrus and s.own:
            options.append((3, self.walrus))
        if s.objs:
            options.append((3, self.method_call))
        if s.gens:
            options.append((2, self.next_of))
        if s.agens and s.awaits:
            options.append((2, self.anext_of))
        return options

    # -------------------------------------------------------------- suspending

    def suspension(self, s, d):
        call = lambda names: f"{self.recent(names)}({self.int_(s, d)})"  # noqa: E731
        options = [(10, lambda s, d: self.simple_suspension(s, self.int_(s, d)))]
        if s.awaits and s.calls["coro"]:
            options.append((8, lambda s, d: f"(await {call(s.calls['coro'])})"))
        if s.awaits and s.calls["gen"] and not s.clean:
            options.append((1, lambda s, d: f"(await Via({call(s.calls['gen'])}))"))
        gens = s.calls["clean_gen"] if s.clean else s.calls["gen"] + s.calls["clean_gen"]
        if s.kind == "gen" and gens:
            options.append((8, lambda s, d: f"num((yield from {call(gens)}))"))
        if s.kind == "gen" and s.calls["coro"] and not s.clean:
            options.append((2, lambda s, d: f"(yield from {call(s.calls['coro'])}.__await__())"))
        return self.choices.weighted(options)(s, d)

    def recent(self, names):
        """Prefers what was defined nearby."""
        return names[-1] if self.choices.chance(50) else self.choices.pick(names)

    def simple_suspension(self, s, value):
        if s.kind == "gen":
            return self.choices.pick(
                [
                    f"num((yield {value}))",
                    f"((yield {value}) or 0)",
                    f"(yield from pausing({value}))",
                    f"(yield from Later({value}).__await__())",
                    f"(yield from Wrapped({value}).__await__())",
                ]
            )
        forms = [
            f"(await pause({value}))",
            f"(await pause({value}))",
            f"(await Later({value}))",
            f"(await Wrapped({value}))",
        ]
        if s.kind == "agen" and s.yields:
            forms += [f"num((yield {value}))"] * 2
        return self.choices.pick(forms)

    # -------------------------------------------------------------- operators

    def binary(self, s, d):
        op = self.choices.weighted([(5, "+"), (4, "-"), (2, "^"), (2, "&"), (2, "|"), (2, "*"), (1, "//"), (1, "%")])
        text = f"({self.int_(s, d)} {op} {self.int_(s, d)})"
        return f"({text} % 97)" if op == "*" else text

    def unary(self, s, d):
        return self.choices.pick(["(-{})", "int(not {})", "(~{})"]).format(self.int_(s, d))

    def conditional(self, s, d):
        return f"({self.int_(s, d)} if {self.test(s, d)} else {self.int_(s, d)})"

    def boolean(self, s, d):
        op = self.choices.pick([" or ", " and "])
        parts = [self.int_(s, d) for _ in range(self.choices.integer(2, 3))]
        return f"({op.join(parts)})"

    def compare(self, s, d):
        return f"int({self.test(s, d)})"

    def test(self, s, d):
        """A condition."""
        form = self.choices.integer(0, 4)
        if form == 0:
            return f"{self.int_(s, d)} {self.choices.pick(['<', '<=', '!=', '>', '=='])} {self.int_(s, d)}"
        if form == 1:
            ops = self.choices.pick([("<", "<"), ("<=", "!="), (">", "<="), ("<", "in")])
            last = self.list_(s, d) if ops[1] == "in" else self.int_(s, d)
            return f"{self.int_(s, d)} {ops[0]} {self.int_(s, d)} {ops[1]} {last}"
        if form == 2:
            return f"{self.int_(s, d)} % 2"
        if form == 3:
            return f"not ({self.test(s, d - 1) if d > 0 else self.leaf(s)})"
        return f"{self.int_(s, d)} {self.choices.pick(['in', 'not in'])} {self.list_(s, d)}"

    def walrus(self, s, d):
        return f"({self.choices.pick(s.own)} := {self.int_(s, d)})"

    # -------------------------------------------------------------- calls

    def call(self, s, d):
        plain, keywords = [], []
        for i in range(self.choices.integer(1, 4)):
            form = self.choices.weighted([(6, 0), (2, 1), (2, 2), (1, 3), (1, 4)])
            if form == 0:
                plain.append(self.int_(s, d))
            elif form == 1:
                plain.append("*" + self.list_(s, d))
            elif form == 2:
                keywords.append(f"k{i}={self.int_(s, d)}")
            elif form == 3:
                keywords.append(f"**dict(z{i}={self.int_(s, d)})")
            else:
                plain.append(self.list_(s, d))
        args = plain + keywords
        if self.choices.chance(12):
            return "mix(\n    " + ",\n    ".join(args) + ",\n)"
        return f"mix({', '.join(args)})"

    def local_call(self, s, d):
        if not s.calls["sync"]:
            return self.binary(s, d)
        return f"{self.recent(s.calls['sync'])}({self.int_(s, d)})"

    def lambda_call(self, s, d):
        name, default = self.fresh("p"), self.fresh("q")
        inner = s.function("sync", [name, default])
        inner.walrus = False
        return f"(lambda {name}, {default}={self.int_(s, d)}: {self.int_(inner, min(d, 1))})({self.int_(s, d)})"

    def method_call(self, s, d):
        obj, value = self.choices.pick(s.objs), self.int_(s, d)
        if s.awaits and self.choices.chance(60):
            return f"(await {obj}.aadd({value}))"
        if s.kind == "gen" and s.yields and self.choices.chance(60):
            return f"(yield from {obj}.gadd({value}))"
        return self.choices.pick([f"{obj}.add({value})", f"({obj}.n % 97)", f"({obj}[{value}] % 97)"])

    def next_of(self, s, d):
        return f"num(next({self.choices.pick(s.gens)}, {self.int_(s, d)}))"

    def anext_of(self, s, d):
        g = self.choices.pick(s.agens)
        form = self.choices.pick(["anext({0}, {1})", "anext({0}, {1})", "{0}.asend(None)", "{0}.__anext__()"])
        return f"num(await {form.format(g, self.int_(s, d))})"

    def reduced(self, s, d):
        fold = self.choices.pick(["len", "sum", "mix", "max"])
        values = self.list_(s, d)
        return f"max({values}, default=0)" if fold == "max" else f"{fold}({values})"

    def fstring(self, s, d):
        if self.version >= (3, 14) and self.choices.chance(20):
            return f"mix(*t'{{{self.leaf(s)}}}-{{({self.leaf(s)})!r}}'.values)"
        a, b = self.plain_in_fstring(s, d), self.plain_in_fstring(s, d)
        return f"len(f'{{{a}}}-{{{b}!r:>{{{self.leaf_in_fstring(s)}}}}}')"

    def plain_in_fstring(self, s, d):
        """Before 3.12 no quote, backslash, newline nor (at top level) := or lambda may stand in an f-string."""
        text = self.int_(s, d)
        bad = "\n'\"\\" if self.version < (3, 12) else "\n"
        return self.leaf(s) if any(c in text for c in bad) else f"({text})"

    def leaf_in_fstring(self, s):
        return f"abs({self.leaf(s)}) % 9"

    # -------------------------------------------------------------- containers

    def subscript(self, s, d):
        form = self.choices.integer(0, 3)
        if form == 0:
            return f"[{self.int_(s, d)}, {self.int_(s, d)}, {self.int_(s, d)}][{self.int_(s, d)} % 3]"
        if form == 1 and s.lists:
            return f"{self.choices.pick(s.lists)}[{self.int_(s, d)} % 4]"
        if form == 2 and s.dicts:
            name = self.choices.pick(s.dicts)
            return self.choices.pick(
                [f"{name}[{self.int_(s, d)} % 4]", f"{name}.get({self.int_(s, d)} % 6, {self.int_(s, d)})"]
            )
        return f"{{0: {self.int_(s, d)}, 1: {self.int_(s, d)}}}.get({self.int_(s, d)} % 2)"

    def slice_sum(self, s, d):
        return f"sum({self.list_(s, d)}[{self.int_(s, d)} % 3:{self.int_(s, d)}])"

    def display(self, s, d):
        form = self.choices.integer(0, 2)
        if form == 0:
            return f"mix(({self.int_(s, d)}, *{self.list_(s, d)}, {self.int_(s, d)}))"
        if form == 1:
            base = f"**{self.choices.pick(s.dicts)}, " if s.dicts else ""
            return f"mix({{{base}{self.int_(s, d)}: {self.int_(s, d)}, **{{1: {self.int_(s, d)}}}}})"
        return f"len({{{self.int_(s, d)}, *{self.list_(s, d)}, {self.int_(s, d)}}})"

    def list_(self, s, d):
        self.budget -= 1
        if d <= 0 or self.budget <= 0:
            return self.choices.pick(s.lists) if s.lists and self.choices.chance(50) else "[1, 2]"
        form = self.choices.weighted([(3, 0), (2, 1), (1, 2), (2, 3), (1, 4)])
        if form == 0:
            return f"[{', '.join(self.int_(s, d - 1) for _ in range(self.choices.integer(1, 3)))}]"
        if form == 1 and s.lists:
            return self.choices.pick(s.lists)
        if form == 2:
            return f"[*{self.list_(s, d - 1)}, {self.int_(s, d - 1)}]"
        if form == 3:
            return self.list_comprehension(s, d - 1)
        return f"list(range({self.int_(s, d - 1)} % 4))"

    # -------------------------------------------------------------- comprehensions

    def comprehension(self, s, d):
        form = self.choices.integer(0, 6)
        if form == 0:
            return f"mix({self.list_comprehension(s, d)})"
        if form == 1 and self.choices.chance(70):
            return f"len({{{self.clauses(s, d, '{e} % 8')}}})"
        if form == 2:
            return f"mix({{{self.clauses(s, d, '{e} % 8: {e}')}}})"
        if form == 3:
            return f"sum({self.clauses(s.block(kind='sync'), d, '{e}')})"
        if form in (4, 5) and s.awaits:
            return self.async_genexpr(s, d)
        if form == 1 and self.version >= (3, 15):
            x = self.fresh("x")
            return f"mix([*{x} for {x} in ({self.list_(s.block(walrus=False), d)}, [{self.leaf(s)}])])"
        return f"mix([[{self.clauses(s, d, '{e}')}], {self.list_comprehension(s, d)}])"

    def list_comprehension(self, s, d):
        return f"[{self.clauses(s, d, '{e}')}]"

    def async_genexpr(self, s, d):
        """Certain to be asynchronous: its element awaits."""
        x, y = self.fresh("x"), self.fresh("x")
        outer = s.block(walrus=False)
        inner = outer.block(yields=False, ints=[*s.ints, y])
        element = f"{y} + (await pause({self.int_(inner, d)}))"
        return f"mix([{x} async for {x} in ({element} for {y} in {self.list_iterable(outer, d)})])"

    def clauses(self, s, d, element):
        """`element for ... in ... if ... for ...`; each {e} in the element is an int expression."""
        out, inner = "", s.block(yields=False)
        for i in range(self.choices.weighted([(4, 1), (1, 2)])):
            x = self.fresh("x")
            source = s.block(walrus=False) if i == 0 else inner.block(walrus=False)
            if s.awaits and self.choices.chance(35):
                out += f" async for {x} in {self.async_iterable(source, d, comp=True)}"
            else:
                out += f" for {x} in {self.list_iterable(source, d)}"
            inner.ints = [*inner.ints, x]
            if self.choices.chance(25):
                out += f" if {self.test(inner, d - 1)}"
        while "{e}" in element:
            element = element.replace("{e}", self.int_(inner, d), 1)
        return element + out

    def list_iterable(self, s, d):
        """Few elements, all ints."""
        form = self.choices.integer(0, 3)
        if form == 0:
            return f"({self.int_(s, d)}, {self.int_(s, d)})"
        if form == 1:
            return f"range({self.choices.integer(1, 3)})"
        if form == 2 and s.calls["clean_gen"]:
            return f"{self.choices.pick(s.calls['clean_gen'])}({self.int_(s, d)})"
        return f"{self.list_(s, d)}[:3]"

    def async_iterable(self, s, d, comp=False):
        names = s.calls["clean_agen"] if comp or s.clean else s.calls["clean_agen"] + s.calls["agen"]
        if names and self.choices.chance(60):
            return f"{self.choices.pick(names)}({self.int_(s, d)})"
        return f"AIter({self.choices.integer(1, 3)}{self.choices.pick(['', ', False'])})"
