"""The smallest program that still goes wrong: takes away statements, unwraps blocks, simplifies expressions."""

import ast
import dataclasses
import time
import warnings

APART = 10**9  # between the number of a program and of its smaller versions, which are other modules


def minimise(program, fails, seconds=40):
    """`fails(program)` says whether it still goes wrong in the same way."""
    end = time.monotonic() + seconds
    program = dataclasses.replace(program, number=program.number + APART)
    text, changed = program.text, True
    while changed and time.monotonic() < end:
        changed, i = False, 0
        while time.monotonic() < end:
            smaller = edited(text, i)
            if smaller is None:
                break
            if smaller != text and _compiles(smaller) and fails(dataclasses.replace(program, text=smaller)):
                text, changed = smaller, True
            else:
                i += 1
    return dataclasses.replace(program, text=text)


def _compiles(text):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, "<smaller>", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def edited(text, i):
    """The text after its i-th possible edit; None if there are fewer."""
    tree = ast.parse(text)
    for number, edit in enumerate(edits(tree)):
        if number == i:
            edit()
            try:
                return ast.unparse(ast.fix_missing_locations(tree)) + "\n"
            except ValueError:  # a tree that is no program
                return text
    return None


def edits(tree):
    """Functions that each make the tree smaller in one way, the large cuts first."""
    for node in ast.walk(tree):
        yield from statement_edits(node)
    for node in ast.walk(tree):
        yield from expression_edits(node)


def statement_edits(node):
    for field in ("body", "orelse", "finalbody", "handlers", "items", "cases"):
        block = getattr(node, field, None)
        if not isinstance(block, list):
            continue
        for size in (len(block) // 2, len(block) // 4):
            for start in range(0, len(block) if size > 1 else 0, max(size, 1)):
                yield lambda block=block, start=start, size=size: _replace(block, start, start + size, [])
        for i, child in enumerate(block):
            if not isinstance(child, (ast.Import, ast.ImportFrom, ast.Pass)):
                yield lambda block=block, i=i: _replace(block, i, i + 1, [])
            for inner in ("body", "orelse", "finalbody"):
                found = getattr(child, inner, None)
                if isinstance(child, ast.stmt) and isinstance(found, list) and found and not _defines(child):
                    yield lambda block=block, i=i, found=found: _replace(block, i, i + 1, found)


def _defines(node):
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))


def _replace(block, start, stop, by):
    block[start:stop] = by
    if not block and isinstance(by, list):
        block.append(ast.Pass())


def expression_edits(node):
    for field, value in ast.iter_fields(node):
        values = value if isinstance(value, list) else [value]
        for i, child in enumerate(values):
            if not isinstance(child, ast.expr) or isinstance(child, (ast.Constant, ast.Name)):
                continue
            for by in [ast.Constant(1), *(c for c in ast.iter_child_nodes(child) if isinstance(c, ast.expr))]:
                yield lambda field=field, value=value, i=i, by=by: _put(node, field, value, i, by)
            for key in ("elts", "args", "keywords", "generators", "values", "ifs"):
                inner = getattr(child, key, None)
                if isinstance(inner, list) and len(inner) > 1:
                    for j in range(len(inner)):
                        yield lambda inner=inner, j=j: inner.pop(j)


def _put(node, field, value, i, by):
    if isinstance(value, list):
        value[i] = by
    else:
        setattr(node, field, by)
