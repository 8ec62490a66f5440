"""Functions, closures, cells, methods, modules and code objects <-> records (layer 1).

Owns: what is stored of a function.  One that its module leads to is stored by name.  Any other (a lambda, an inner
function, one made by `exec` or at a prompt) is stored by value: its code (by reference where the code can be found,
see `codes`), its cells, defaults and attributes.  Cells are objects of their own: what shared a cell shares it after.

Globals are code, not state: a function gets the namespace of its module.  Only a namespace that is no module's (as
given to `exec`) is part of the graph.  A function of an interactive main module brings the globals that its code names;
they are set in the main module of the loading process where it has nothing of that name.
"""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Iterator
from typing import Any

from pstore._frames import codes, names, twins
from pstore._frames.layout import SUSPENDABLE, VERSION
from pstore._frames.reading import frame_of
from pstore._frames.stored import stored
from pstore.errors import UnsupportedValue

__all__ = ["REDUCERS"]


# ---------------------------------------------------------------- functions


def _reduce_function(function: types.FunctionType) -> Any:
    found = names.reference(function, function.__module__, function.__qualname__)
    return _by_value(function) if found is None else found


def _by_value(function: types.FunctionType) -> tuple[Any, ...]:
    code = function.__code__
    identity = codes.identify(twins.original_code(code), function.__globals__)
    namespace = None if identity.module is not None else _namespace(function.__globals__)
    arguments = (identity.digest, identity.encoded, namespace, function.__closure__)
    return function_by_value, arguments, _state(function, namespace), None, None, set_function


def _namespace(space: dict[str, Any]) -> str | types.ModuleType | dict[str, Any]:
    """The stored form of a function's globals: the name of the module whose they are, a module made at run time, or
    the dict itself.
    """
    name = space.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is not None and vars(module) is space:
        return names.module_name(module.__name__) or "__main__"
    if "__spec__" in space and "__loader__" in space:  # looks like a module's: it is to stay that module's
        owners = (obj for obj in gc.get_referrers(space) if isinstance(obj, types.ModuleType) and vars(obj) is space)
        return next(owners, space)
    return space


def _state(function: types.FunctionType, namespace: Any) -> tuple[Any, ...]:
    """Defaults, keyword defaults, what differs from the code's own, and the globals that must travel along."""
    code = function.__code__
    other: dict[str, Any] = {}
    if function.__name__ != code.co_name:
        other["__name__"] = function.__name__
    if function.__qualname__ != code.co_qualname:
        other["__qualname__"] = function.__qualname__
    if function.__module__ != function.__globals__.get("__name__"):
        other["__module__"] = function.__module__
    if function.__doc__ != _doc(code):
        other["__doc__"] = function.__doc__
    _add_annotations(function, other)
    own = function.__dict__ or None
    needed = _needed(function) if namespace == "__main__" else None
    return function.__defaults__, function.__kwdefaults__, other or None, own, needed


def _doc(code: types.CodeType) -> Any:
    if VERSION >= (3, 13):
        has_doc = bool(code.co_flags & 0x4000000)  # CO_HAS_DOCSTRING
        return code.co_consts[0] if has_doc else None
    first = code.co_consts[0] if code.co_consts else None
    return first if isinstance(first, str) else None


def _add_annotations(function: types.FunctionType, other: dict[str, Any]) -> None:
    # from 3.14 on, asking for the annotations runs the code that makes them: that code is stored instead
    annotate = getattr(function, "__annotate__", None)
    if annotate is not None:
        other["__annotate__"] = annotate
    elif function.__annotations__:
        other["__annotations__"] = function.__annotations__
    parameters = getattr(function, "__type_params__", ())
    if parameters:
        other["__type_params__"] = parameters


def _needed(function: types.FunctionType) -> dict[str, Any]:
    space = function.__globals__
    return {name: space[name] for name in _global_names(function.__code__) if name in space}


def _global_names(code: types.CodeType) -> Iterator[str]:
    for inner in codes.nested(code):
        yield from inner.co_names


@stored
def function_by_value(digest: bytes, encoded: bytes, namespace: Any, closure: tuple[types.CellType, ...] | None) -> Any:
    """A function from its code, globals and cells.

    Raises:
        CodeNotFound, CodeChanged, FormatError: as `codes.find`.
    """
    identity = codes.find(digest, encoded)
    space = identity.namespace if namespace is None else namespace
    if isinstance(space, str):
        space = vars(names.find_module(space))
    elif isinstance(space, types.ModuleType):
        space = vars(space)
    assert space is not None  # code found by reference has its namespace with it
    return types.FunctionType(identity.code, space, None, None, closure)


@stored
def set_function(function: types.FunctionType, state: tuple[Any, ...]) -> None:
    """Second phase of a function."""
    defaults, keywords, other, own, needed = state
    function.__defaults__ = defaults
    function.__kwdefaults__ = keywords
    for name, value in (other or {}).items():
        setattr(function, name, value)
    if own:
        function.__dict__.update(own)
    for name, value in (needed or {}).items():
        function.__globals__.setdefault(name, value)


# ---------------------------------------------------------------- cells, methods


def _reduce_cell(cell: types.CellType) -> tuple[Any, ...]:
    try:
        contents = cell.cell_contents
    except ValueError:
        return empty_cell, ()
    if type(contents) is dict and "__module__" in contents:
        owner = _class_of_namespace(contents)
        if owner is not None:
            return empty_cell, (), (owner,), None, None, set_cell_to_namespace
    return empty_cell, (), (contents,), None, None, set_cell


def _class_of_namespace(space: dict[str, Any]) -> type | None:
    """The class whose own namespace a dict is: what ``__classdict__`` cells of class bodies hold (3.12+)."""
    owners = (obj for obj in gc.get_referrers(space) if isinstance(obj, type) and _namespace_of_class(obj) is space)
    return next(owners, None)


def _namespace_of_class(cls: type) -> Any:
    return gc.get_referents(cls.__dict__)[0]


@stored
def set_cell_to_namespace(cell: types.CellType, owner: tuple[type]) -> None:
    """Second phase of a cell that holds the namespace of a class."""
    cell.cell_contents = _namespace_of_class(owner[0])


@stored
def empty_cell() -> types.CellType:
    """A cell without contents."""
    return types.CellType()


@stored
def set_cell(cell: types.CellType, contents: tuple[Any]) -> None:
    """Second phase of a cell."""
    (cell.cell_contents,) = contents


def _reduce_method(method: types.MethodType) -> tuple[Any, ...]:
    return bound_method, (method.__func__, method.__self__)


@stored
def bound_method(function: Any, instance: Any) -> types.MethodType:
    """A method bound to an instance, without asking the instance for it."""
    return types.MethodType(function, instance)


# ---------------------------------------------------------------- modules, code


def _reduce_module(module: types.ModuleType) -> tuple[Any, ...]:
    if sys.modules.get(module.__name__) is module:
        return names.find_module, (names.module_name(module.__name__) or "__main__",)
    return made_module, (module.__name__,), vars(module), None, None, set_module


@stored
def made_module(name: str) -> types.ModuleType:
    """A module object that is no imported module."""
    return types.ModuleType(name)


@stored
def set_module(module: types.ModuleType, state: dict[str, Any]) -> None:
    """Second phase of a made module."""
    vars(module).update(state)


def _reduce_code(code: types.CodeType) -> tuple[Any, ...]:
    code = twins.original_code(code)
    module = next((m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == code.co_filename), None)
    identity = codes.identify(code, vars(module)) if module is not None else codes.identify_value(code)
    return code_object, (identity.digest, identity.encoded)


@stored
def code_object(digest: bytes, encoded: bytes) -> types.CodeType:
    """A code object, the module's own where it can be found."""
    return codes.find(digest, encoded).code


# ---------------------------------------------------------------- frame objects


def _reduce_frame(frame: types.FrameType) -> Any:
    """The frame object of a suspended generator, coroutine or async generator is that object's attribute."""
    for owner in gc.get_referrers(frame):
        if isinstance(owner, SUSPENDABLE) and frame_of(owner) is frame:
            return frame_object, (owner,)
    raise UnsupportedValue(
        "frame",
        f"the frame of {frame.f_code.co_name}() is the interpreter's, not a value",
        "keep what you need of it (line number, name, a traceback.StackSummary) instead of the frame",
    )


@stored
def frame_object(owner: Any) -> types.FrameType:
    """The frame object of a suspended generator, coroutine or async generator."""
    frame: types.FrameType = frame_of(owner)
    return frame


def _reduce_locals_proxy(proxy: Any) -> tuple[Any, ...]:
    (frame,) = gc.get_referents(proxy)
    return frame_locals, (frame,)


def _locals_type() -> type:
    return type(sys._getframe().f_locals)


@stored
def frame_locals(frame: types.FrameType) -> Any:
    """The live view of a frame's locals (3.13+)."""
    return frame.f_locals


REDUCERS = {
    types.FunctionType: _reduce_function,
    types.CellType: _reduce_cell,
    types.MethodType: _reduce_method,
    types.ModuleType: _reduce_module,
    types.CodeType: _reduce_code,
    types.FrameType: _reduce_frame,
}

if VERSION >= (3, 13):
    REDUCERS[_locals_type()] = _reduce_locals_proxy
