"""Which globals of its module a piece of code uses (layer 1).

Owns: reading that off bytecode: :func:`uses`, and off source: :func:`changed_names`.  Nothing is run.

Used by a code object is what it loads by name, what the code within it (lambdas, comprehensions, inner functions, class
bodies) loads, and what the functions of the same module use that it calls by name, and so on.  A function that is
merely handed on is not followed, nor is a lambda among the arguments of a ``step`` or ``to_thread``, nor what
``@pstore.step`` has made (its class has ``__pstore_outside__``): those run outside of the task, where a module's state
is at home.
"""

from __future__ import annotations

import ast
import dis
import functools
import linecache
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pstore._frames.safe import words

__all__ = ["Use", "changed_names", "uses"]

DEPTH = 8  # calls that are followed, one within the other
_CACHE_LIMIT = 20_000
_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "LOAD_CLASSDEREF"})
_OUTSIDE = frozenset({"step", "to_thread", "run_in_executor"})
_ANNOTATIONS = frozenset({"__annotate__", "__annotations__"})


@dataclass(frozen=True, slots=True)
class Use:
    """One global that is loaded, or bound anew.

    Attributes:
        name: what it is called in the module.
        attribute: what is taken of it at once, where something is; of interest where the global is a module.
        code, line: where.
        called: whether it is called there.
        bound: whether it is bound there, by a ``global`` statement.
    """

    name: str
    attribute: str | None
    code: types.CodeType
    line: int
    called: bool
    bound: bool = False


_uses: dict[int, tuple[types.CodeType, tuple[Use, ...]]] = {}


def uses(code: types.CodeType, space: dict[str, Any]) -> Iterator[Use]:
    """Everything that `code`, with the globals `space`, uses of them; each name once, with its first use."""
    seen: set[tuple[str, str | None, bool]] = set()
    followed = {code}
    todo = [(code, 0)]
    while todo:
        code, depth = todo.pop()
        for use in _uses_of(code):
            if (use.name, use.attribute, use.bound) not in seen and use.name in space:
                seen.add((use.name, use.attribute, use.bound))
                yield use
            function = _function_behind(space.get(use.name)) if use.called and depth < DEPTH else None
            if function is not None and function.__globals__ is space and function.__code__ not in followed:
                followed.add(function.__code__)
                todo.append((function.__code__, depth + 1))


def _function_behind(value: Any) -> types.FunctionType | None:
    """The function itself that a decorated one, a partial or a cached function calls."""
    for _ in range(DEPTH):
        if type(value) is functools.partial:
            value = value.func
        elif getattr(type(value), "__pstore_outside__", False):  # made by @pstore.step: it runs outside of the task
            return None
        elif type(value) is types.FunctionType and "__wrapped__" not in value.__dict__:
            return value
        else:
            value = _own(value).get("__wrapped__")
    return None


def _own(value: Any) -> dict[str, Any]:
    """The attributes of an instance, without asking it."""
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return own if type(own) is dict else {}


def _uses_of(code: types.CodeType) -> tuple[Use, ...]:
    """What a code object and those within it load."""
    known = _uses.get(id(code))
    if known is None or known[0] is not code:
        if len(_uses) >= _CACHE_LIMIT:
            _uses.clear()
        known = _uses[id(code)] = (code, tuple(_read(code)))
    return known[1]


def _read(code: types.CodeType) -> Iterator[Use]:
    instructions = list(dis.get_instructions(code))
    own = {i.argval for i in instructions if i.opname == "STORE_NAME"}  # of a class body
    line = code.co_firstlineno
    outside = False
    for at, instruction in enumerate(instructions):
        line = (instruction.positions and instruction.positions.lineno) or line
        name, value = instruction.opname, instruction.argval
        if name in _LOADS or name.startswith(("LOAD_ATTR", "LOAD_METHOD")):
            outside = outside or value in _OUTSIDE
        if name == "GET_AWAITABLE" or name.startswith("STORE_") or name == "POP_TOP":
            outside = False
        if name in _LOADS and isinstance(value, str) and value not in own:
            called = name == "LOAD_GLOBAL" and bool((instruction.arg or 0) & 1)
            yield Use(value, _attribute(instructions, at), code, line, called)
        elif name == "STORE_GLOBAL":
            yield Use(value, None, code, line, called=False, bound=True)
        elif isinstance(value, types.CodeType) and not outside and value.co_name not in _ANNOTATIONS:
            yield from _read(value)


def _attribute(instructions: list[dis.Instruction], at: int) -> str | None:
    following = instructions[at + 1] if at + 1 < len(instructions) else None
    if following is not None and following.opname in ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR"):
        return str(following.argval)
    return None


# ---------------------------------------------------------------- what a module's own code changes

_CHANGING = words("""
    add append appendleft clear difference_update discard extend extendleft fill insert intersection_update move_to_end
    partition pop popitem popleft push put put_nowait remove reverse rotate setdefault sort subtract
    symmetric_difference_update update write __setitem__ __delitem__
""")

_changed: dict[str, frozenset[str]] = {}


def changed_names(module: types.ModuleType) -> frozenset[str]:
    """Globals whose contents some function of the module changes, as far as its source shows it.

    What the module does while it is imported does not count: the next process does the same.
    """
    path = getattr(module, "__file__", None)
    if not isinstance(path, str):
        return frozenset()
    if path not in _changed:
        try:
            tree = ast.parse("".join(linecache.getlines(path)))
        except (SyntaxError, ValueError):
            tree = ast.Module([], [])
        functions = (node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS))
        _changed[path] = frozenset(name for function in functions for name in _changed_in(function))
    return _changed[path]


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def _changed_in(function: ast.AST) -> Iterator[str]:
    declared: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Global):
            declared.update(node.names)
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            yield from _root(node)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del) and node.id in declared:
            yield node.id
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGING:
            yield from _root(node.func)


def _root(node: ast.AST) -> Iterator[str]:
    """The name at the bottom of ``NAME.a[b].c``."""
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id
