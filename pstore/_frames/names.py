"""Finding modules, functions and classes by name, so that another process finds the same (layer 1).

Owns: the name under which a module is stored and the walk from a module to an object of it.

The program's main module is stored under the name by which another process can find it: the name given to ``-m``, or
the stem of the script's file.  Whoever asks for that name gets the running main module if it is that very program, and
the import of that name otherwise.  An interactive main module (a prompt, ``-c``, a notebook) has no such name; what it
defines is stored by value.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import types
from collections.abc import Iterator
from typing import Any

from pstore._frames.stored import stored
from pstore.errors import CodeNotFound

__all__ = [
    "MISSING",
    "attribute_path",
    "by_name",
    "callables_of",
    "find_module",
    "is_importable",
    "main_name",
    "module_name",
    "not_found",
]

MISSING = object()


def main_name() -> str | None:
    """The name by which another process finds this program's main module; None for an interactive one."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    path = getattr(main, "__file__", None)
    if not path or not os.path.exists(path) or not path.endswith((".py", ".pyw", ".pyc")):
        return None
    return str(os.path.splitext(os.path.basename(path))[0])


def module_name(name: str) -> str | None:
    """The stored form of the name of a loaded module; None when there is none."""
    return main_name() if name == "__main__" else name


@stored
def find_module(name: str) -> types.ModuleType:
    """The module stored under `name`, imported if need be.

    Raises:
        CodeNotFound: it cannot be imported.
    """
    if name in sys.modules:
        return sys.modules[name]
    if name == "__main__" or name == main_name():
        return sys.modules["__main__"]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CodeNotFound(f"module {name}", str(error)) from error


def not_found(module: types.ModuleType, qualname: str, reason: str, present: str = "") -> CodeNotFound:
    """The error for a name that a module does not have; `present`: where the same thing is under another name.

    Any folder that is named like a missing module can be imported, as a namespace package: then it is the module that
    is missing.
    """
    folders = getattr(module, "__path__", None)
    if folders is None or getattr(module, "__file__", None) is not None:
        return CodeNotFound(f"{module_name(module.__name__) or '__main__'}:{qualname}", reason, present)
    found = f"only a folder of that name was found ({', '.join(folders)}), which is an empty namespace package"
    return CodeNotFound(f"module {module.__name__}", found)


# What ``lazy import`` leaves in a module until the name is first used (3.15).
_LAZY: type | None = getattr(types, "LazyImportType", None)


def attribute_path(module: types.ModuleType, path: list[str], *, importing: bool = False) -> Any:
    """Follow attribute names from a module without running descriptors of classes on the way; `MISSING` if none.

    `importing`: do the imports that are still to be done on the way (3.15: ``lazy import``); else they lead nowhere.
    """
    found: Any = module
    for name in path:
        if isinstance(found, type):
            found = _class_attribute(found, name)
        else:
            holder, found = found, getattr(found, "__dict__", {}).get(name, MISSING)
            if importing and _LAZY is not None and type(found) is _LAZY:
                found = getattr(holder, name)
        if found is MISSING:
            return MISSING
    return found


def _class_attribute(cls: type, name: str) -> Any:
    for base in cls.__mro__:
        if name in base.__dict__:
            return base.__dict__[name]
    return MISSING


def is_importable(obj: Any, module: str | None, qualname: str) -> bool:
    """Whether `module`, then the attributes of `qualname`, lead to this very object."""
    loaded = sys.modules.get(module) if module else None
    return loaded is not None and "<" not in qualname and attribute_path(loaded, qualname.split(".")) is obj


def reference(obj: Any, module: str | None, qualname: str) -> Any:
    """The reduce value that stores `obj` by name; None where no name leads to it.

    NotImplemented leaves it to pickle, whose own way is by name as well; but an object of the main module is stored
    under the name by which another process finds that.
    """
    if not is_importable(obj, module, qualname):
        return None
    if module != "__main__":
        return NotImplemented
    main = main_name()
    return None if main is None else (by_name, (main, qualname))


@stored
def by_name(module: str, qualname: str) -> Any:
    """The object of that name in a module; the stored form of functions and classes of the main module.

    Raises:
        CodeNotFound: the module or the name is not there.
    """
    loaded = find_module(module)
    found = attribute_path(loaded, qualname.split("."), importing=True)
    if found is MISSING:
        raise not_found(loaded, qualname, f"module {module} has no {qualname}")
    return found


def callables_of(obj: Any, depth: int = 4) -> Iterator[types.FunctionType]:
    """The plain functions behind a decorated one: wrapped functions, methods, properties, partials, closures."""
    if isinstance(obj, types.FunctionType):
        yield obj
    if depth == 0 or isinstance(obj, type | types.ModuleType):
        return
    for inner in _behind(obj):
        yield from callables_of(inner, depth - 1)


_SLOTS: dict[type, tuple[str, ...]] = {
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    types.MethodType: ("__func__",),
    property: ("fget", "fset", "fdel"),
    functools.partial: ("func",),
    functools.partialmethod: ("func",),
    functools.cached_property: ("func",),
}


def _behind(obj: Any) -> Iterator[Any]:
    for name in _SLOTS.get(type(obj), ()):
        yield getattr(obj, name)
    own = getattr(obj, "__dict__", None)
    if isinstance(own, dict):
        yield from (value for value in own.values() if _is_callable_part(value))
    if isinstance(obj, types.FunctionType):
        for cell in obj.__closure__ or ():
            content = _content(cell)
            if _is_callable_part(content):
                yield content


def _is_callable_part(value: Any) -> bool:
    return (callable(value) or isinstance(value, property)) and not isinstance(value, type)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None
