"""Type parameters: TypeVar, ParamSpec, TypeVarTuple (layer 1).

Owns: those that no module holds, as the parameters of ``def f[T](x: T)`` in a function are; pickle looks for them in
`typing`.  They are stored by parts, with their identity within the graph.  Bounds, constraints and defaults written in
such a declaration are evaluated when first asked for; that would run user code, so one that has not been is refused.

Source: ``Objects/typevarobject.c`` (3.12 and later; in 3.11 they are Python classes).
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable
from typing import Any

from pstore._frames import names
from pstore._frames.standins import MISSING, fields, refuse
from pstore._frames.stored import stored

__all__ = ["REDUCERS"]


@stored
def type_parameter(kind: str, name: str, module: str, constraints: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Make a TypeVar, ParamSpec or TypeVarTuple."""
    made = getattr(typing, kind)(name, *constraints, **options)
    made.__module__ = module
    return made


def _options(obj: Any) -> dict[str, Any]:
    """The keyword arguments that were not left out."""
    flags = "covariant", "contravariant", "infer_variance"
    return {flag: True for flag in flags if getattr(obj, f"__{flag}__", False)}


def _lazy(obj: Any, value: Any, evaluate: Any, what: str) -> Any:
    if value is MISSING and evaluate is not MISSING:
        remedy = f"ask for its __{what}__ once, or declare it at the level of a module"
        raise refuse(obj, f"its {what} has not been evaluated yet", remedy)
    return value


def _reduce_type_var(obj: Any) -> Any:
    if _has_name(obj):
        return NotImplemented
    options, constraints = _options(obj), ()
    if sys.version_info < (3, 12):
        constraints, bound = obj.__constraints__, obj.__bound__
    else:
        count = 7 if sys.version_info >= (3, 13) else 5  # the first is the name
        _, bound, of_bound, constraints, of_constraints, *default = fields(obj, count, range(1, count))
        bound = _lazy(obj, bound, of_bound, "bound")
        constraints = _lazy(obj, constraints, of_constraints, "constraints")
        value = _lazy(obj, default[0], default[1], "default") if default else MISSING
        if value is not MISSING and value is not getattr(typing, "NoDefault", MISSING):
            options["default"] = value
    if bound is not MISSING and bound is not None:
        options["bound"] = bound
    return _by_parts(obj, "TypeVar", () if constraints is MISSING else constraints, options)


def _reduce_other(obj: Any) -> Any:
    if _has_name(obj):
        return NotImplemented
    if sys.version_info >= (3, 13) and obj.has_default():
        raise refuse(obj, "it has a default", "declare it at the level of a module")
    options = _options(obj)
    if getattr(obj, "__bound__", None) is not None:
        options["bound"] = obj.__bound__
    return _by_parts(obj, type(obj).__name__, (), options)


def _has_name(obj: Any) -> bool:
    return obj.__module__ != "__main__" and names.is_importable(obj, obj.__module__, obj.__name__)


def _by_parts(obj: Any, kind: str, constraints: tuple[Any, ...], options: dict[str, Any]) -> Any:
    main = names.main_name() if obj.__module__ == "__main__" else None
    if main is not None and names.is_importable(obj, "__main__", obj.__name__):
        return names.by_name, (main, obj.__name__)
    return type_parameter, (kind, obj.__name__, obj.__module__, constraints, options)


REDUCERS: dict[type, Callable[[Any], Any]] = {
    typing.TypeVar: _reduce_type_var,
    typing.ParamSpec: _reduce_other,
    typing.TypeVarTuple: _reduce_other,
}
