"""Inside what a program really was suspended: finds the syntax around each suspension point that a run has passed."""

import ast
import dis
import os

EXPRESSIONS = {
    ast.Call: "call",
    ast.BinOp: "operator",
    ast.BoolOp: "boolean",
    ast.Compare: "comparison",
    ast.IfExp: "conditional",
    ast.Subscript: "subscript",
    ast.Slice: "slice",
    ast.JoinedStr: "f-string",
    ast.NamedExpr: "walrus",
    ast.Dict: "dict display",
    ast.List: "list display",
    ast.Tuple: "tuple",
    ast.Set: "set display",
    ast.Starred: "starred",
    ast.keyword: "keyword argument",
    ast.AugAssign: "augmented assignment",
    ast.Return: "return value",
    ast.Raise: "raise operand",
    ast.Assert: "assert",
    ast.match_case: "match case",
    ast.YieldFrom: "yield from",
    ast.AsyncFor: "async for",
    ast.ListComp: "comprehension",
    ast.SetComp: "comprehension",
    ast.DictComp: "comprehension",
    ast.GeneratorExp: "generator expression",
}
EXPECTED = sorted(
    {
        *EXPRESSIONS.values(),
        "handler",
        "except* handler",
        "finally",
        "try body",
        "try else",
        "with",
        "async with",
        "async enter or exit",
        "for",
        "while",
        "loop else",
        "if",
        "match guard",
        "nested call",
        "closure",
        "method",
        "async generator",
        "sub-generator",
        "coroutine",
        "several frames",
        "async comprehension",
        "assignment target",
    }
)


class Looker:
    """Called with the root at each suspension; `found` is the set of features."""

    def __init__(self, program):
        self.program, self.found, self.seen = program, set(), set()
        self.nodes = Places(ast.parse(program.source))

    def look(self, root):
        frames = [f for f in chain(root) if self.program.name in os.path.basename(f[0].co_filename)]
        if len(frames) > 2:
            self.found.add("several frames")
        for depth, (code, lasti) in enumerate(frames):
            if (code, lasti) in self.seen:
                continue
            self.seen.add((code, lasti))
            self.found |= self.nodes.around(position(code, lasti), code, depth)


def chain(root):
    """(code, offset) of the frames from the root down to the innermost."""
    while root is not None:
        for prefix in ("gi", "cr", "ag"):
            frame = getattr(root, prefix + "_frame", None)
            if frame is not None:
                yield frame.f_code, frame.f_lasti
                below = getattr(root, "gi_yieldfrom" if prefix == "gi" else prefix + "_await", None)
                root = below
                break
        else:
            root = getattr(root, "_asend_target", None)


def position(code, lasti):
    for instruction in dis.get_instructions(code):
        if instruction.offset >= lasti:
            return instruction.positions
    return None


class Places:
    """Ancestors of the smallest node at a position."""

    def __init__(self, tree):
        self.parents, self.spans = {}, {}
        for node in ast.walk(tree):
            for field, value in ast.iter_fields(node):
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        self.parents[child] = (node, field)
            if hasattr(node, "lineno"):
                self.spans.setdefault((node.lineno, node.col_offset, node.end_lineno, node.end_col_offset), node)

    def around(self, where, code, depth):
        node = where and self.spans.get((where.lineno, where.col_offset, where.end_lineno, where.end_col_offset))
        found, calls = set(), 0
        while node in self.parents:
            parent, field = self.parents[node]
            found.update(features_of(parent, field, node))
            calls += isinstance(parent, ast.Call) and field != "func"
            if isinstance(parent, (ast.FunctionDef, ast.AsyncFunctionDef)) and field == "body":
                found.update(self.function_features(parent, depth))
                break
            node = parent
        return found | ({"nested call"} if calls > 1 else set())

    def function_features(self, function, depth):
        outer = self.parents.get(function, (None, ""))[0]
        if isinstance(outer, ast.ClassDef):
            yield "method"
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef)) and outer.name != "make":
            yield "closure"
        yields = any(isinstance(n, (ast.Yield, ast.YieldFrom)) for n in ast.walk(function))
        if isinstance(function, ast.AsyncFunctionDef):
            yield "async generator" if yields else "coroutine"
        elif depth:
            yield "sub-generator"


def features_of(parent, field, node):
    """What it means to be the given field of the parent."""
    kind = type(parent)
    if kind in EXPRESSIONS and not (kind is ast.AsyncFor and field == "body"):
        yield EXPRESSIONS[kind]
    if kind is ast.Try:
        yield {"body": "try body", "orelse": "try else", "finalbody": "finally", "handlers": "handler"}[field]
    elif kind is ast.TryStar:
        yield {"body": "try body", "orelse": "try else", "finalbody": "finally", "handlers": "except* handler"}[field]
    elif kind in (ast.With, ast.AsyncWith):
        yield (
            ("with" if kind is ast.With else "async with")
            if field == "body"
            else "async enter or exit"
            if kind is ast.AsyncWith
            else "with"
        )
    elif kind in (ast.For, ast.While, ast.AsyncFor):
        yield "loop else" if field == "orelse" else "while" if kind is ast.While else "for"
    elif kind is ast.If:
        yield "if"
    elif kind is ast.match_case and field == "guard":
        yield "match guard"
    elif kind is ast.comprehension and parent.is_async:
        yield "async comprehension"
    if field == "targets" or (kind is ast.AugAssign and field == "target"):
        yield "assignment target"
