"""Context variables, contexts and tokens (layer 1).

Owns: the policy for them.  A variable that a module (or a class in one) holds is code and stored by name; any other is
stored by value and keeps its identity within the graph.  A context is stored with its items.  A token is made again in
its context, so that ``reset`` does what it did.

Source: ``Python/context.c``, ``Include/internal/pycore_context.h``.
"""

from __future__ import annotations

import contextvars
import decimal
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from pstore._frames import names
from pstore._frames.access import words
from pstore._frames.making import loaded_parts
from pstore._frames.standins import HEAD, MISSING, fields
from pstore._frames.stored import stored

__all__ = ["REDUCERS"]

# --- variables -----------------------------------------------------------------------------------------------------

_known: dict[int, tuple[Any, str, str]] = {}  # id -> the variable, module and path by which it was found


def _name_of(variable: Any) -> tuple[str, str] | None:
    _, module, path = _known.get(id(variable), (None, "", ""))
    if not (module and names.is_importable(variable, module, path)):
        found = next(_places(variable), None)
        if found is None:
            return None
        module, path = found
        _known[id(variable)] = variable, module, path
    stored_name = names.module_name(module)
    return (stored_name, path) if stored_name else None


def _places(variable: Any) -> Iterator[tuple[str, str]]:
    spaces = [(name, dict(getattr(module, "__dict__", None) or {})) for name, module in list(sys.modules.items())]
    for name, space in spaces:
        yield from ((name, attribute) for attribute, value in space.items() if value is variable)
    for name, space in spaces:
        for cls in space.values():
            if isinstance(cls, type) and cls.__module__ == name and names.is_importable(cls, name, cls.__qualname__):
                held = dict(vars(cls)).items()
                yield from ((name, f"{cls.__qualname__}.{attribute}") for attribute, value in held if value is variable)


@stored
def context_variable(name: str, *default: Any) -> Any:
    """Make a context variable."""
    return contextvars.ContextVar(name, default=default[0]) if default else contextvars.ContextVar(name)


@stored
def decimal_variable() -> Any:
    """Give the variable of the decimal module, which has no other name than its own."""
    return _decimal_variable()


def _decimal_variable() -> Any:
    context = contextvars.Context()
    context.run(decimal.getcontext)
    return next(iter(context))


def _reduce_variable(obj: Any) -> Any:
    if obj.name == "decimal_context" and obj is _decimal_variable():
        return decimal_variable, ()
    found = _name_of(obj)
    if found is not None:
        return names.by_name, found
    name, default = fields(obj, 2)
    return context_variable, (name,) if default is MISSING else (name, default)


# --- contexts ------------------------------------------------------------------------------------------------------


class _Record:
    """Tokens of a context that is being loaded: by which its variables can be unset, and which were asked for."""

    __slots__ = ("__weakref__", "made", "unset")

    def __init__(self) -> None:
        self.unset: dict[Any, Any] = {}
        self.made: dict[Any, Any] = {}


# id of a context -> its record, which the unpickler's memo keeps alive until all is loaded; or `Parts`, where a graph
# is loaded in parts.
_records: weakref.WeakValueDictionary[int, _Record] = weakref.WeakValueDictionary()


@stored
def empty_context(carrier: list[Any]) -> Any:
    """Make a context; `carrier` is a list that lives as long as the loading."""
    context = contextvars.Context()
    record = _records[id(context)] = _Record()
    carrier.append((record, context))
    return context


@stored
def fill_context(context: Any, items: tuple[tuple[Any, Any], ...]) -> None:
    """Second phase of a context."""
    parts = loaded_parts()
    if parts is not None:
        parts.contexts.append((_records[id(context)], context))
    for variable, value in items:
        token = context.run(variable.set, value)
        if token.old_value is contextvars.Token.MISSING:
            _records[id(context)].unset[variable] = token


def _reduce_context(obj: Any) -> Any:
    items = tuple(obj.items())
    return (empty_context, ([],), items, None, None, fill_context) if items else (empty_context, ([],))


# --- tokens --------------------------------------------------------------------------------------------------------


@stored
def context_token(context: Any, variable: Any, used: bool, *old: Any) -> Any:
    """Make a token: resetting with it gives the variable its `old` value, or none."""
    if used:
        context = contextvars.Context()
    token = _token(context, variable, old[0]) if old else _unsetting_token(context, variable)
    if used:
        context.run(variable.reset, token)
    return token


def _token(context: Any, variable: Any, old: Any) -> Any:
    if variable in context:
        now = context[variable]
        context.run(variable.set, old)
        return context.run(variable.set, now)
    before = context.run(variable.set, old)
    token = context.run(variable.set, None)
    context.run(variable.reset, before)
    return token


def _unsetting_token(context: Any, variable: Any) -> Any:
    record = _records.get(id(context)) or _Record()
    if variable in record.made:  # a cycle asks for it twice, and a variable is unset once
        return record.made[variable]
    now = None
    if variable in context:
        now = context[variable]
        context.run(variable.reset, record.unset.pop(variable))
    token = record.made[variable] = context.run(variable.set, now)
    return token


def _reduce_token(obj: Any) -> Any:
    context, variable, old = fields(obj, 3)
    used = bool(words(id(obj) + HEAD + 24, 1)[0] & 0xFFFFFFFF)
    kept = () if old is MISSING else (old,)
    return context_token, (None if used else context, variable, used, *kept)


REDUCERS: dict[type, Callable[[Any], Any]] = {
    contextvars.ContextVar: _reduce_variable,
    contextvars.Context: _reduce_context,
    contextvars.Token: _reduce_token,
}
