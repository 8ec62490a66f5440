"""Random statements."""

from .expressions import Expressions
from .scopes import Scope

ERRORS = ("Fault", "Fault", "Fault", "Fault", "Ping", "ValueError", "KeyError", "ZeroDivisionError", "Halt")
CAUGHT = (
    "Fault",
    "Fault",
    "Fault",
    "Exception",
    "Exception",
    "Exception",
    "(Fault, Ping)",
    "(Fault, LookupError, ArithmeticError)",
    "Ping",
    "ValueError",
    "BaseException",
    "BaseException",
    "GeneratorExit",
)


def indent(lines):
    return ["    " + line for line in lines]


class Statements(Expressions):
    """Each method takes a scope and a depth and returns lines; a name that it binds is added to the scope."""

    def block(self, s: Scope, d: int, low=1, high=3):
        """Statements of a block; the scope is taken as it is (give it s.block() unless names shall stay)."""
        out = []
        for _ in range(self.choices.integer(low, high)):
            out += self.statement(s, d)
            if self.budget <= 0:
                break
        return out or ["pass"]

    def nested(self, s, d, low=1, high=3, **changes):
        return indent(self.block(s.block(**changes), d - 1, low, high))

    def statement(self, s, d):
        self.budget -= 1
        return self.choices.weighted(self.statement_options(s, d))(s, d)

    def statement_options(self, s, d):
        options = [
            (9, self.emit),
            (9, self.assign),
            (6, self.augment),
            (5, self.unpack),
            (3, self.mutate_list),
            (3, self.mutate_dict),
            (2, self.alias),
            (2, self.new_object),
            (2, self.delete),
            (2, self.undo),
            (2, self.observe),
            (2, self.assertion),
        ]
        if s.suspends:
            options.append((9, self.suspend))
        if d > 0 and self.budget > 0:
            options += self.compound_options(s)
        if s.loops or d < 3:
            options += self.jump_options(s)
        return options

    def compound_options(self, s):
        options = [(6, self.if_), (10, self.function), (4, self.klass), (5, self.match), (3, self.half_consumed)]
        if s.loops < 3:
            options += [(11, self.for_), (4, self.while_), (4, self.many_kinds)]
        if not s.clean:
            options += [(15, self.try_), (6, self.with_), (3, self.exit_stack), (6, self.try_star), (3, self.hold)]
        if s.awaits and s.loops < 3:
            options += [(7, self.async_for), (3, self.use_agen)]
        if s.awaits and not s.clean:
            options += [(7, self.async_with), (3, self.ahold), (2, self.async_exit_stack)]
        return options

    def jump_options(self, s):
        options = [(3, self.raise_)]
        if s.jumps or s.in_loop == "inner":
            options += [(3, self.jump)] if s.in_loop else []
        if s.jumps:
            options.append((1, self.return_))
        return options

    # -------------------------------------------------------------- simple statements

    def emit(self, s, d):
        label = self.fresh("")
        what = self.choices.weighted([(5, None), (1, s.lists), (1, s.dicts), (1, s.objs), (1, s.slotted)])
        text = self.choices.pick(what) if what else self.int_(s, 2)
        return [f"emit({label}, {text})"]

    def suspend(self, s, d):
        return [self.suspension(s, 2)]

    def target(self, s):
        """Something that can be assigned an int; may itself evaluate suspensions."""
        form = self.choices.weighted([(6, 0), (2, 1), (2, 2), (1, 3), (1, 4)])
        if form == 1 and s.lists:
            return f"{self.choices.pick(s.lists)}[{self.int_(s, 1)} % 2]"
        if form == 2 and s.dicts:
            return f"{self.choices.pick(s.dicts)}[{self.int_(s, 1)} % 4]"
        if form == 3 and s.objs:
            return self.choices.pick(
                [f"{self.choices.pick(s.objs)}[{self.int_(s, 1)}]", f"{self.choices.pick(s.objs)}.n"]
            )
        if form == 4 and s.slotted:
            return f"{self.choices.pick(s.slotted)}.n"
        if s.own and self.choices.chance(70):
            return self.choices.pick(s.own)
        return self.fresh("v")

    def bound(self, s, target):
        if target.isidentifier() and target not in s.own:
            s.ints.append(target)
            s.own.append(target)

    def assign(self, s, d):
        targets = [self.target(s) for _ in range(self.choices.weighted([(5, 1), (1, 2)]))]
        text = f"{' = '.join(targets)} = {self.int_(s, 3)}"
        for target in targets:
            self.bound(s, target)
        return [text]

    def augment(self, s, d):
        target = self.target(s)
        if target.isidentifier() and target not in s.own:
            return self.assign(s, d)
        op = self.choices.weighted([(5, "+="), (2, "-="), (1, "^="), (1, "//="), (1, "|=")])
        return [f"{target} {op} {self.int_(s, 2)}"]

    def unpack(self, s, d):
        form = self.choices.integer(0, 3)
        a, b = self.target(s), self.target(s)
        if form == 0:
            out = [f"{a}, {b} = {self.int_(s, 2)}, {self.int_(s, 2)}"]
        elif form == 1:
            rest = self.fresh("l")
            out = [f"{a}, *{rest} = [{self.int_(s, 1)}, *{self.list_(s, 2)}]"]
            s.lists.append(rest)
            b = a
        elif form == 2:
            out = [f"[{a}, ({b}, *_)] = {self.int_(s, 1)}, [{self.int_(s, 2)}, {self.int_(s, 1)}]"]
        else:
            out = [f"({a}, {b}) = {self.list_(s, 2)}"]
        self.bound(s, a)
        self.bound(s, b)
        return out

    def mutate_list(self, s, d):
        if not s.lists or self.choices.chance(20):
            name = self.fresh("l")
            s.lists.append(name)
            return [f"{name} = {self.list_(s.block(lists=s.lists[:-1]), 2)}"]
        name = self.choices.pick(s.lists)
        return [
            self.choices.pick(
                [
                    f"{name}.append({self.int_(s, 2)})",
                    f"{name}.extend({self.list_(s, 1)}[:2])",
                    f"{name}.pop()",
                    f"{name}.insert(0, {self.int_(s, 1)})" if name in s.outer else f"{name} += [{self.int_(s, 1)}]",
                    f"{name}[{self.int_(s, 1)} % 2:] = [{self.int_(s, 1)}]",
                    f"del {name}[{self.int_(s, 1)} % 3:]",
                ]
            )
        ]

    def mutate_dict(self, s, d):
        if not s.dicts or self.choices.chance(20):
            name = self.fresh("d")
            s.dicts.append(name)
            before = s.block(dicts=s.dicts[:-1])
            return [f"{name} = {{{self.int_(before, 1)} % 4: {self.int_(before, 2)}}}"]
        name = self.choices.pick(s.dicts)
        return [
            self.choices.pick(
                [
                    f"{name}[{self.int_(s, 1)} % 5] = {self.int_(s, 2)}",
                    f"{name}.pop({self.int_(s, 1)} % 5, None)",
                    f"{name}.update({{{self.int_(s, 1)} % 5: {self.int_(s, 1)}}})",
                    f"{name}.setdefault({self.int_(s, 1)} % 5, {self.int_(s, 1)})",
                ]
            )
        ]

    def alias(self, s, d):
        if not s.lists:
            return self.mutate_list(s, d)
        old, new = self.choices.pick(s.lists), self.fresh("l")
        s.lists.append(new)
        if s.objs and self.choices.chance(40):
            obj = self.choices.pick(s.objs)
            return [
                f"{new} = {obj}.items = {old}",
                f"{new}.append({self.int_(s, 1)})",
                f"emit({self.fresh('')}, {old}, {new} is {old})",
            ]
        return [
            f"{new} = {old}",
            self.suspension(s, 1) if s.suspends else "pass",
            f"{new}.append({self.int_(s, 1)})",
            f"emit({self.fresh('')}, {old}, {new} is {old})",
        ]

    def new_object(self, s, d):
        name = self.fresh("o")
        if self.choices.chance(30):
            s.slotted.append(name)
            return [f"{name} = Slotted({self.int_(s, 1)})"]
        made = self.choices.pick(["Box", *s.calls["class"]])
        out = [f"{name} = {made}({self.int_(s, 1)})"]
        s.objs.append(name)
        return out

    def delete(self, s, d):
        name = self.fresh("v")
        out = [
            f"{name} = {self.int_(s, 1)}",
            f"emit({self.fresh('')}, {self.int_(s.block(ints=[*s.ints, name]), 2)})",
            f"del {name}",
        ]
        if s.clean:
            return out
        if s.suspends:
            out.append(self.suspension(s, 1))
        return out + ["try:", f"    {name}", "except NameError as error:", f"    emit({self.fresh('')}, show(error))"]

    def undo(self, s, d):
        if not s.undo:
            name = self.fresh("u")
            s.undo.append(name)
            return [f"{name} = []"]
        name, x = self.choices.pick(s.undo), self.fresh("x")
        if self.choices.chance(35):
            return [f"for {x} in reversed({name}):", f"    emit({self.fresh('')}, {x}())"]
        inner = s.function("sync", [x])
        inner.walrus = False
        return [f"{name}.append(lambda {x}={self.int_(s, 1)}: {self.int_(inner, 1)})"]

    def observe(self, s, d):
        options = ["handled()", *(f"show({name})" for name in s.kept + s.excs), *(f"lines({name})" for name in s.excs)]
        return [f"emit({self.fresh('')}, {self.choices.pick(options[::-1])})"]

    def assertion(self, s, d):
        return [f"assert {self.test(s, 1)}, {self.int_(s, 1)}"]

    def raise_(self, s, d):
        error = self.error(s)
        forms = [f"raise {error}", f"raise {error}", f"raise {error} from None"]
        if s.excs:
            name = self.choices.pick(s.excs)
            forms += ["raise", "raise", f"raise {name}", f"raise {error} from {name}"]
        if s.kept:
            forms += [f"raise {error} from {self.choices.pick(s.kept)}"]
        statement = self.choices.pick(forms)
        return [f"if {self.test(s, 1)}:", f"    {statement}"] if self.choices.chance(40) else [statement]

    def error(self, s):
        return f"{self.choices.pick(ERRORS)}({self.int_(s, 2)})"

    def grouped_error(self, s):
        return f"{self.choices.pick(ERRORS[:-1])}({self.int_(s, 2)})"

    def jump(self, s, d):
        word = self.choices.pick(["break", "continue"])
        return [f"if {self.test(s, 1)}:", f"    {word}"] if self.choices.chance(70) else [word]

    def return_(self, s, d):
        if s.kind == "agen":
            return ["return"]
        if self.choices.chance(60):
            return [f"if {self.test(s, 1)}:", f"    return {self.int_(s, 2)}"]
        return [f"return {self.int_(s, 2)}"]

    # -------------------------------------------------------------- branches and loops

    def if_(self, s, d):
        out = [f"if {self.test(s, 2)}:", *self.nested(s, d)]
        if self.choices.chance(30):
            out += [f"elif {self.test(s, 2)}:", *self.nested(s, d, 1, 2)]
        if self.choices.chance(50):
            out += ["else:", *self.nested(s, d, 1, 2)]
        return out

    def loop_body(self, s, d, names=()):
        inside = dict(in_loop="outer" if s.jumps else "inner", loops=s.loops + 1)
        return self.nested(s, d, 1, 3, ints=[*s.ints, *names], own=[*s.own, *names], **inside)

    def loop_else(self, s, d):
        return ["else:", *self.nested(s, d, 1, 2)] if self.choices.chance(25) else []

    def for_(self, s, d):
        if s.lists and self.choices.chance(8):
            return self.live_list(s, d)
        target, names, source = self.iterable(s)
        return [f"for {target} in {source}:", *self.loop_body(s, d, names), *self.loop_else(s, d)]

    def live_list(self, s, d):
        """Over a list that the body may change; it is cut each time round so that this ends."""
        name, x = self.choices.pick(s.lists), self.fresh("i")
        return [f"for {x} in {name}:", f"    del {name}[6:]", *self.loop_body(s, d, [x]), *self.loop_else(s, d)]

    def many_kinds(self, s, d):
        """One place that is suspended in with values of several types on the stack."""
        x, y, label = self.fresh("i"), self.fresh("i"), self.fresh("")
        if self.choices.chance(60):
            kinds = [
                f"[{self.int_(s, 1)}, 2]",
                "range(2)",
                f"({self.int_(s, 1)}, 1)",
                "{1, 2}",
                "b'xy'",
                "'ab'",
                "{3: 4}",
            ]
            kinds += ["deque([1, 2])", "bytearray(b'z')", "iter([5])", "Iter(2)", "zip([1])", "reversed((1, 2))"]
            body = [f"for {y} in {x}:", f"    emit({label}, {y}, {self.leaf(s)}, {self.suspension_or_leaf(s)})"]
            if s.suspends and self.choices.chance(50):
                body = [f"emit({label}, ({'await aspread' if s.awaits else 'yield from spread'}({x})))"]
        elif s.clean or self.choices.chance(50):
            kinds = [*s.objs, "Box(1)", "Calls(2)", "Box(3)"]
            body = [f"emit({label}, {x}.add({self.suspension_or_leaf(s)}))"]
        else:
            kinds = ["Span(1)", "Still()", "contextlib.nullcontext(2)", "Span(3, 'swallow')"]
            body = [f"with {x}:", f"    emit({label}, {self.suspension_or_leaf(s)}, {self.leaf(s)})"]
        picked = [self.choices.pick(kinds) for _ in range(self.choices.integer(2, 4))]
        return [f"for {x} in ({', '.join(picked)}):", *indent(body)]

    def suspension_or_leaf(self, s):
        return self.suspension(s, 1) if s.suspends else self.leaf(s)

    def while_(self, s, d):
        count = self.fresh("w")
        head = (
            f"while ({count} := {count} - 1) >= 0 and {self.test(s, 2)}:"
            if self.choices.chance(40)
            else f"while {count} > 0:"
        )
        step = [] if ":=" in head else [f"    {count} -= 1"]
        return [f"{count} = {self.choices.integer(1, 3)}", head, *step, *self.loop_body(s, d), *self.loop_else(s, d)]

    def iterable(self, s):
        """(target, int names bound, source) of a for loop over at most a handful of values."""
        a, b = self.fresh("i"), self.fresh("i")
        one, two = (a, [a]), (f"{a}, {b}", [a, b])
        values = self.list_(s.block(walrus=False), 2)
        n = self.choices.integer(1, 3)
        forms = [
            (4, (*one, f"range({n})")),
            (4, (*one, f"{values}[:3]")),
            (2, (*one, f"({self.int_(s, 1)}, {self.int_(s, 1)})")),
            (2, (*two, f"enumerate({values}[:3])")),
            (2, (*two, f"zip({values}[:3], range(9))")),
            (2, (*one, f"reversed({values}[:3])")),
            (2, (*one, f"{{{n}, {n + 2}, {self.int_(s, 1)} % 8}}")),
            (2, (*one, f"map(lambda {b}: {b} + 1, {values}[:3])")),
            (2, (*one, f"filter(lambda {b}: {b} % 2, range(5))")),
            (1, (*one, f"map(ord, 'ab{n}')")),
            (1, (*one, f"b'x{n}'")),
            (1, (*one, f"Iter({n})")),
            (1, (*one, f"iter([{n}, 2, 1, 0].pop, {n})")),
            (1, (*one, f"sorted({values}[:3])")),
            (1, (*one, f"deque({values}[:3])")),
            (1, (f"({a}, ({b}, *_))", [a, b], f"enumerate([({n}, 1), [2, 3, 4]])")),
            (4, (*(one if self.choices.chance(60) else two), None)),
            (3, (*one, f"({b} + 1 for {b} in {values}[:3])")),
        ]
        if s.dicts:
            name = self.choices.pick(s.dicts)
            forms += [
                (3, (*two, f"{name}.items()")),
                (2, (*one, name)),
                (1, (*one, f"{name}.values()")),
                (1, (*one, f"list({name})")),
            ]
        if s.lists:
            forms += [(2, (*one, self.choices.pick(s.lists) + "[-4:]"))]
        gens = s.calls["clean_gen"] if s.clean else s.calls["gen"] + s.calls["clean_gen"]
        if gens:
            forms += [(6, (*one, f"{self.choices.pick(gens)}({self.int_(s, 1)})"))]
        if s.gens:
            forms += [(3, (*one, self.choices.pick(s.gens)))]
        target, names, source = self.choices.weighted(forms)
        return target, names, source or self.itertool(s, values, names)

    def itertool(self, s, values, names):
        n = self.choices.integer(1, 3)
        if len(names) == 1:
            forms = [
                f"itertools.chain({values}[:2], (1, {n}))",
                f"itertools.islice(itertools.count({n}), {n})",
                f"itertools.repeat({n}, {n})",
                f"itertools.islice(itertools.cycle({values}[:2]), 3)",
                f"itertools.takewhile(lambda y: y < 9, {values}[:3])",
                f"itertools.accumulate({values}[:3])",
                f"itertools.dropwhile(lambda y: y > 3, {values}[:3])",
                f"itertools.starmap(mix, [({n}, 1), (2,)])",
                f"itertools.tee({values}[:3])[1]",
                f"itertools.compress('121', {values})",
                f"itertools.chain.from_iterable([{values}[:2], range({n})])",
                f"itertools.filterfalse(None, [{n}, 0, 0])",
            ]
            forms[9] = f"itertools.compress([1, 2, 1], {values})"
        else:
            forms = [
                f"itertools.product(range({n}), {values}[:2])",
                f"itertools.pairwise({values}[:4])",
                f"itertools.zip_longest({values}[:2], range({n}), fillvalue=0)",
                f"itertools.combinations(range({n + 1}), 2)",
                f"itertools.permutations(range({n}), 2)",
                f"((y, len(list(z))) for y, z in itertools.groupby({values}[:3]))",
            ]
            if self.version >= (3, 12):
                forms.append(f"itertools.batched(range({2 * n}), 2)")
        return self.choices.pick(forms)

    # -------------------------------------------------------------- exceptions

    def raising(self, s, d, chance=70):
        """Lines that end a try body: perhaps a raise, at best after a suspension."""
        if not self.choices.chance(chance):
            return []
        out = [self.suspension(s, 1)] if s.suspends and self.choices.chance(30) else []
        return (
            out + self.raise_(s, d)[-1:]
            if self.choices.chance(80)
            else out + [f"emit({self.fresh('')}, {self.int_(s, 1)} // 0)"]
        )

    def raising_block(self, s, d, chance=70):
        inner = s.block()
        return indent(self.block(inner, d - 1, 1, 2) + [x.strip() for x in self.raising(inner, d, chance)])

    def try_(self, s, d):
        shape = self.choices.weighted([(6, "e"), (3, "f"), (4, "ef"), (3, "el"), (3, "elf")])
        out = ["try:", *self.raising_block(s, d, 20 if "l" in shape else 70)]
        if "e" in shape:
            out += self.handlers(s, d)
        if "l" in shape:
            out += ["else:", *self.nested(s, d, 1, 2)]
        if "f" in shape:
            out += ["finally:", *self.final(s, d)]
        return out

    def final(self, s, d):
        out = self.nested(s, d, 1, 2, finals=True)
        if s.suspends and self.choices.chance(50):
            out += [f"    emit({self.fresh('')}, {self.suspension(s, 1)}, handled())"]
        if self.choices.chance(10):
            out += indent(self.raise_(s, d))
        return out

    def handlers(self, s, d):
        out, kinds = [], []
        for _ in range(self.choices.weighted([(5, 1), (2, 2)])):
            kinds.append(self.choices.pick(CAUGHT))
        for kind in dict.fromkeys(sorted(kinds, key=lambda k: k == "BaseException")):
            name = self.fresh("e") if self.choices.chance(70) else None
            if self.version >= (3, 14) and name is None and kind.startswith("("):
                kind = kind[1:-1]
            head = (
                f"except {kind} as {name}:" if name else ("except:" if kind == "BaseException" else f"except {kind}:")
            )
            out += [head, *self.handler_body(s, d, name)]
        return out

    def handler_body(self, s, d, name, **changes):
        inner = s.block(excs=[*s.excs, name] if name else s.excs, **changes)
        out = []
        if s.suspends and self.choices.chance(60):
            out.append(f"emit({self.fresh('')}, {self.suspension(inner, 1)}, handled())")
        out += self.block(inner, d - 1, 1, 2)
        if name and s.kept and self.choices.chance(30):
            out.append(f"{self.choices.pick(s.kept)} = {name}")
        if name and self.choices.chance(15):
            out.append(f"{name}.add_note(f'note {{{self.leaf(inner.block(kind='sync'))}}}')")
        if name and self.choices.chance(40):
            out.append(f"emit({self.fresh('')}, show({name}))")
        if self.choices.chance(20):
            out.append("raise")
        elif self.choices.chance(20):
            out += self.raise_(inner, d)
        return indent(out)

    def group(self, s):
        members = [self.grouped_error(s) for _ in range(self.choices.integer(1, 3))]
        if self.choices.chance(30):
            members.append(f"ExceptionGroup('inner', [{self.grouped_error(s)}])")
        return f"ExceptionGroup('outer', [{', '.join(members)}])"

    def try_star(self, s, d):
        inner = s.block()
        out = ["try:", *indent(self.block(inner, d - 1, 0, 1)), f"    raise {self.group(inner)}"]
        for kind in self.choices.pick(
            [["Fault"], ["ValueError"], ["Fault", "Exception"], ["Fault", "(Ping, ValueError)"]]
        ):
            name = self.fresh("e")
            out += [f"except* {kind} as {name}:", *self.handler_body(s, d, name, jumps=False, in_loop=False)]
        if self.choices.chance(30):
            out += ["finally:", *self.final(s, d)]
        return self.guard(s, out) if self.choices.chance(60) else out

    def guard(self, s, lines):
        """Catches what the lines raise, and tells."""
        name = self.fresh("e")
        return ["try:", *indent(lines), f"except Exception as {name}:", f"    emit({self.fresh('')}, show({name}))"]

    # -------------------------------------------------------------- managers

    def how(self, suspends):
        flags = (
            ["swallow", "fail", "refuse"] if not suspends else ["after", "before", "swallow", "fail", "refuse", "after"]
        )
        picked = [self.choices.pick(flags) for _ in range(self.choices.integer(0, 2 if suspends else 1))]
        if "refuse" in picked and self.choices.chance(60):
            picked.remove("refuse")
        return "".join(f", '{flag}'" for flag in dict.fromkeys(picked))

    def manager(self, s):
        options = [f"Span({self.int_(s, 1)}{self.how(False)})"] * 3 + [
            "contextlib.suppress(Fault, KeyError)",
            f"contextlib.nullcontext({self.int_(s, 1)})",
        ]
        options += [f"{name}({self.int_(s, 1)})" for name in s.calls["cm"]] * 2
        return self.choices.pick(options)

    def with_(self, s, d):
        items = [f"{self.manager(s)} as {self.fresh('m')}" for _ in range(self.choices.weighted([(5, 1), (2, 2)]))]
        return [f"with {', '.join(items)}:", *self.raising_block(s, d)]

    def async_manager(self, s):
        options = [f"ASpan({self.int_(s, 1)}{self.how(True)})"] * 3
        options += [f"{name}({self.int_(s, 1)})" for name in s.calls["acm"]] * 2
        return self.choices.pick(options)

    def async_with(self, s, d):
        items = [
            f"{self.async_manager(s)} as {self.fresh('m')}" for _ in range(self.choices.weighted([(5, 1), (2, 2)]))
        ]
        return [f"async with {', '.join(items)}:", *self.raising_block(s, d)]

    def exit_stack(self, s, d):
        name = self.fresh("st")
        out = [f"{name}.enter_context({self.manager(s)})", f"{name}.callback(emit, {self.int_(s, 1)})"]
        if s.calls["sync"]:
            out.append(f"{name}.callback({self.choices.pick(s.calls['sync'])}, {self.int_(s, 1)})")
        return [f"with contextlib.ExitStack() as {name}:", *indent(out), *self.raising_block(s, d)]

    def async_exit_stack(self, s, d):
        name = self.fresh("st")
        out = [f"await {name}.enter_async_context({self.async_manager(s)})", f"{name}.enter_context({self.manager(s)})"]
        if s.calls["coro"]:
            out.append(f"{name}.push_async_callback({self.choices.pick(s.calls['coro'])}, {self.int_(s, 1)})")
        return [f"async with contextlib.AsyncExitStack() as {name}:", *indent(out), *self.raising_block(s, d)]

    # -------------------------------------------------------------- generators and asynchronous generators

    def half_consumed(self, s, d):
        name, x = self.fresh("g"), self.fresh("x")
        if s.calls["clean_gen"] and self.choices.chance(60):
            made = f"{self.choices.pick(s.calls['clean_gen'])}({self.int_(s, 1)})"
        else:
            made = f"({self.clauses(s.block(kind='sync'), 1, '{e}')})"
        out = [f"{name} = {made}", f"{x} = num(next({name}, 0))"]
        if s.suspends:
            out.append(f"{x} += {self.suspension(s, 1)}")
        s.gens.append(name)
        s.ints.append(x)
        s.own.append(x)
        return out + [f"emit({self.fresh('')}, {x}, num(next({name}, 9)))"]

    def hold(self, s, d):
        """A generator with open blocks, driven by hand."""
        names = s.calls["gen"] + s.calls["clean_gen"]
        if not names:
            return self.with_(s, d)
        g = self.fresh("g")
        out = [f"emit({self.fresh('')}, next({g}, None))"]
        for _ in range(self.choices.integer(1, 2)):
            move = self.choices.pick(
                [
                    f"next({g}, {self.int_(s, 1)})",
                    f"{g}.send({self.int_(s, 1)})",
                    f"{g}.throw({self.error(s)})",
                    f"{g}.close()",
                    f"[*zip({g}, range(3))]",
                ]
            )
            out += [f"emit({self.fresh('')}, {move})"]
            if s.suspends:
                out.append(self.suspension(s, 1))
        lines = [f"with Hold({self.choices.pick(names)}({self.int_(s, 1)})) as {g}:", *indent(out)]
        return self.guard(s, lines) if self.choices.chance(70) else lines

    def ahold(self, s, d):
        names = s.calls["agen"] + s.calls["clean_agen"]
        if not names:
            return self.async_with(s, d)
        g = self.fresh("g")
        out = [f"emit({self.fresh('')}, await anext({g}, None))"]
        for _ in range(self.choices.integer(1, 3)):
            move = self.choices.pick(
                [
                    f"anext({g}, {self.int_(s, 1)})",
                    f"{g}.asend({self.int_(s, 1)})",
                    f"{g}.athrow({self.error(s)})",
                    f"{g}.aclose()",
                    f"{g}.__anext__()",
                ]
            )
            out += [f"emit({self.fresh('')}, await {move})"]
            if self.choices.chance(40):
                out.append(self.suspension(s, 1))
        made = self.choices.pick(names)
        manager = self.choices.pick(["AHold", "contextlib.aclosing"]) if made in s.calls["clean_agen"] else "AHold"
        lines = [f"async with {manager}({made}({self.int_(s, 1)})) as {g}:", *indent(out)]
        return self.guard(s, lines) if self.choices.chance(70) else lines

    def use_agen(self, s, d):
        """A clean asynchronous generator kept in a variable and consumed bit by bit."""
        if not s.calls["clean_agen"]:
            return self.async_for(s, d)
        g = self.fresh("ag")
        out = [
            f"{g} = {self.choices.pick(s.calls['clean_agen'])}({self.int_(s, 1)})",
            f"emit({self.fresh('')}, await anext({g}, None))",
        ]
        s.agens.append(g)
        return out + [self.suspension(s, 1)]

    def async_for(self, s, d):
        x = self.fresh("i")
        source = self.async_iterable(s, 1)
        if self.choices.chance(20):
            y = self.fresh("x")
            inner = s.block(walrus=False, yields=False, ints=[*s.ints, y])
            source = (
                f"({self.int_(inner, 1)} async for {y} in {self.async_iterable(s.block(walrus=False), 1, comp=True)})"
            )
        return [f"async for {x} in {source}:", *self.loop_body(s, d, [x]), *self.loop_else(s, d)]

    # -------------------------------------------------------------- definitions

    def function(self, s, d):
        """A closure over the variables around, of any kind, with nonlocal."""
        kinds = ["sync", "sync"] + (
            ["coro", "coro", "clean_agen", "agen", "clean_gen"] if s.awaits else ["gen", "clean_gen", "gen"]
        )
        kind = self.choices.pick(kinds)
        if s.clean and kind in ("gen", "agen"):
            kind = "clean_" + kind
        name = self.fresh("f")
        out = self.definition(s, name, kind, min(d, 2) - 1)
        s.calls[kind].append(name)
        if self.choices.chance(85):
            out += self.use(s, f"{name}({self.int_(s, 1)})", kind)
        return out

    def use(self, s, call, kind):
        """Statements that run what a call returns, in the way that its kind wants."""
        label, x = self.fresh(""), self.fresh("i")
        if kind.endswith("agen"):
            return [f"async for {x} in {call}:", f"    emit({label}, {x}, {self.suspension(s, 1)})"]
        if kind.endswith("gen") and s.kind == "gen":
            return [f"emit({label}, (yield from {call}))"]
        if kind.endswith("gen"):
            return [f"for {x} in {call}:", f"    emit({label}, {x}, {self.leaf(s)})"]
        return [f"emit({label}, {'await ' if kind == 'coro' else ''}{call})"]

    def definition(self, s, name, kind, d, high=3):
        """def name(x, y=...) of a kind, its body included."""
        x, y = self.fresh("a"), self.fresh("a")
        clean, base = kind.startswith("clean_"), kind.removeprefix("clean_")
        inner = s.function(base, [x, y], clean)
        out = []
        free = [v for v in s.own if v not in inner.own]
        if free and self.choices.chance(60):
            v = self.choices.pick(free)
            out = [f"nonlocal {v}", f"{v} {self.choices.pick(['+=', '^='])} {x}"]
            inner.own.append(v)
        head = "async def" if base in ("coro", "agen") else "def"
        generic = "[T]" if self.version >= (3, 12) and self.choices.chance(5) else ""
        default = self.int_(s, 1) if s.level else "2"
        body = out + self.block(inner, d, 1, high) + self.ending(inner, base, x)
        return [f"{head} {name}{generic}({x}, {y}={default}):", *indent(body)]

    def ending(self, s, base, x):
        if base in ("gen", "agen"):
            last = [f"yield {self.int_(s, 1)}"]
            for _ in range(self.choices.integer(0, 1)):
                last.append(f"{self.fresh('y')} = yield {self.leaf(s.block(kind='sync'))}")
            return last + ([f"return {self.int_(s, 1)}"] if base == "gen" else [])
        return [f"return {self.int_(s, 2)}"]

    def klass(self, s, d):
        """A class of objects with n, add, aadd, gadd, some of them overridden with super()."""
        name, base = self.fresh("K"), self.choices.pick(["Box", *s.calls["class"]])
        n = self.fresh("a")
        out = [f"class {name}({base}):"]
        sync, coro, gen = (s.function(kind, [n], clean=kind == "gen") for kind in ("sync", "coro", "gen"))
        for inner in (sync, coro, gen):
            inner.ints.append("self.n")
        out += [f"    def add(self, {n}):", f"        return super().add({self.int_(sync, 1)}) + {self.int_(sync, 1)}"]
        if self.choices.chance(70):
            out += [
                f"    async def aadd(self, {n}):",
                f"        {n} = await super().aadd({self.int_(coro, 1)})",
                *indent(indent(self.block(coro, min(d, 2) - 1, 1, 1))),
                f"        return {n} + {self.int_(coro, 1)}",
            ]
        if self.choices.chance(50):
            out += [
                f"    def gadd(self, {n}):",
                f"        return (yield from super().gadd({self.int_(gen, 1)})) + {self.int_(gen, 1)}",
            ]
        s.calls["class"].append(name)
        if not s.level:
            return out
        obj = self.fresh("o")
        s.objs.append(obj)
        return out + [
            f"{obj} = {name}({self.int_(s, 1)})",
            f"emit({self.fresh('')}, {self.method_call(s.block(objs=[obj]), 1)})",
        ]

    # -------------------------------------------------------------- match

    def match(self, s, d):
        x, y = self.fresh("x"), self.fresh("y")
        subject, cases = self.choices.pick(
            [
                (f"{self.int_(s, 2)}", ["0 | 1 | 2", f"int({x}) if {self.test(s, 1)}", "_"]),
                (
                    f"[{self.int_(s, 1)}, *{self.list_(s, 1)}]",
                    [f"[{x}]", f"[{x}, {y}] if {self.test(s, 1)}", f"[{x}, *_]"],
                ),
                (
                    f"{{'k': {self.int_(s, 1)}, 'z': {self.int_(s, 1)}}}",
                    [f"{{'k': 1, 'z': {x}}}", f"{{'z': int({x})}} if {self.test(s, 1)}", "_"],
                ),
                (
                    f"Pair({self.int_(s, 1)}, {self.int_(s, 1)})",
                    [f"Pair(0, {x})", f"Pair(a={x}, b={y}) if {self.test(s, 1)}", "_"],
                ),
            ]
        )
        out = [f"match {subject}:"]
        for pattern in cases:
            bound = [v for v in (x, y) if v in pattern.split(" if ")[0]]
            out += [
                f"    case {pattern}:",
                *indent(self.nested(s, d, 1, 2, ints=[*s.ints, *bound], own=[*s.own, *bound])),
            ]
        return out
