"""The watch over module globals: data that looks as if it were kept, and is not (layer 2).

Owns: which value of a global is state, :func:`volatile`, and the report.

Module globals are code, not state: frames refer to their module by name, and the next process makes its globals anew by
importing it.  A task that puts its results into a global dict loses them at the first restart, without an error.  So
whenever a frame is suspended in code that was not seen before, the globals that the code uses (`globals_used`) are
looked at, and one that holds mutable data is reported: once per process as a ModuleStateWarning, every time as a
ModuleStateError in strict mode.

State is a container that can be changed, an iterator, a lock, an instance with attributes; and a number, text or the
like that the code binds anew (``global count``).  Left alone:

* constants: numbers, texts, dates, paths, patterns, members of enumerations, frozen dataclasses and tuples of those;
* code: modules, classes, functions, partials and caches of them, whatever has ``__wrapped__``, types and their aliases;
  a container that has nothing but functions and classes in it, as a registry that decorators fill, is code as well;
* what belongs to the process: loggers, context variables, open files, the environment; the engine and the store;
* a container under a NAME_IN_CAPITALS of constants, unless a function of its module changes it: appends to it, sets an
  item, binds the name anew.  A module that builds a table while it is imported does so in every process;
* names with two underscores at both ends, and what was declared with :func:`volatile`.

The standard library, installed packages and pstore are not looked at: their state is their own affair.
"""

from __future__ import annotations

import collections
import contextvars
import datetime
import decimal
import enum
import fractions
import functools
import io
import json
import logging
import os
import pathlib
import random
import re
import string
import struct
import sys
import textwrap
import types
import uuid
import warnings
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from pstore._frames.globals_used import Use, changed_names, uses
from pstore._frames.reading import code_of, frame_of
from pstore._frames.twins import original_code
from pstore.errors import ModuleStateError, ModuleStateWarning

__all__ = ["is_state", "volatile", "watch"]

T = TypeVar("T")
_CACHE_LIMIT = 20_000
_DEPTH = 8  # of tuples and containers within each other

_volatile: dict[int, Any] = {}


def volatile(value: T) -> T:
    """Declare that a module global may be made anew by every process: a client, a lock, a cache.  Gives it back.

    ``client = pstore.volatile(Client())``: the watch over module globals leaves it alone.
    """
    _volatile[id(value)] = value
    return value


# ---------------------------------------------------------------- what is state

_CONSTANTS = (
    int, float, complex, str, bytes, type(None), type(...), type(NotImplemented), range, slice, enum.Enum, re.Pattern,
    re.Match, datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo, decimal.Decimal, decimal.Context,
    fractions.Fraction, uuid.UUID, pathlib.PurePath, struct.Struct, types.MappingProxyType, BaseException,
    string.Template, string.Formatter, textwrap.TextWrapper, json.JSONEncoder, json.JSONDecoder,
    contextvars.ContextVar, weakref.ReferenceType,
)  # fmt: skip
_CODE = (
    type, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, types.CodeType,
    types.WrapperDescriptorType, types.MethodDescriptorType, types.MethodWrapperType, types.GenericAlias,
    types.UnionType, types.ClassMethodDescriptorType, types.GetSetDescriptorType, types.MemberDescriptorType,
    staticmethod, classmethod, property, functools.partial, functools.partialmethod, functools.cached_property,
    functools.singledispatchmethod, type(functools.lru_cache(lambda: None)),
)  # fmt: skip
_OF_PROCESS = (logging.Logger, logging.LoggerAdapter, logging.Handler, logging.Filter, logging.Formatter,
               type(os.environ))  # fmt: skip
_TYPING = ("typing", "typing_extensions", "annotationlib")
_CONTAINERS = (list, dict, set, bytearray, collections.deque)
_FIXED = (tuple, frozenset)
_CHANGING = ("__setitem__", "append", "add", "insert", "put", "__next__")
_LOCKS = ("_thread", "_asyncio")
_LOG_METHODS = ("debug", "info", "warning", "error", "exception")
_HEAP_TYPE, _IMMUTABLE_TYPE = 1 << 9, 1 << 8


def is_state(value: Any, depth: int = _DEPTH) -> bool:
    """Whether a value is data that can change.  Runs no code of its class."""
    cls = type(value)  # isinstance would ask the value for its __class__
    if id(value) in _volatile or issubclass(cls, _CONSTANTS + _OF_PROCESS):
        return False
    if issubclass(cls, _CODE):
        return _code_has_state(value, depth)
    if issubclass(cls, _FIXED):
        return _has_state((tuple if issubclass(cls, tuple) else frozenset).__iter__(value), depth)
    if issubclass(cls, _CONTAINERS):
        return cls not in _CONTAINERS or not value or not _is_registry(value)
    if issubclass(cls, io.IOBase):
        return issubclass(cls, io.BytesIO | io.StringIO)
    if cls is memoryview:
        return not value.readonly
    if cls.__module__ in _TYPING or _is_own(cls):
        return False
    if (
        cls is types.SimpleNamespace
        or cls.__module__ in _LOCKS
        or any(_is_built_in(base) and _can_change(base) for base in cls.__mro__)
    ):
        return True
    return bool(cls.__flags__ & _HEAP_TYPE) and _instance_is_state(value, cls, depth)


def _is_built_in(cls: type) -> bool:
    return not cls.__flags__ & _HEAP_TYPE or bool(cls.__flags__ & _IMMUTABLE_TYPE)


def _can_change(cls: type) -> bool:
    return any(name in vars(cls) for name in _CHANGING)


def _has_state(values: Iterable[Any], depth: int) -> bool:
    return depth > 0 and any(is_state(item, depth - 1) for item in values)


def _code_has_state(value: Any, depth: int) -> bool:
    cls = type(value)
    if issubclass(cls, functools.partial):
        return _has_state((value.func, *value.args, *value.keywords.values()), depth)
    if cls in (types.MethodType, types.BuiltinFunctionType, types.MethodWrapperType):
        owner = value.__self__
        return depth > 0 and owner is not None and owner is not _RANDOM and is_state(owner, depth - 1)
    return False


_RANDOM = random.random.__self__  # type: ignore[attr-defined]  # ``from random import choice``: it is the process's


def _is_registry(container: Any) -> bool:
    """Whether a container has nothing but code in it."""
    items = container.values() if isinstance(container, dict) else container
    return all(issubclass(type(item), _CODE) and not _code_has_state(item, _DEPTH) for item in items)


def _is_own(cls: type) -> bool:
    """The engine and the store are where state belongs."""
    return cls.__module__.startswith("pstore.") and cls.__name__ in ("Engine", "Store")


def _instance_is_state(value: Any, cls: type, depth: int) -> bool:
    own = _attributes(value, cls)
    if callable(own.get("__wrapped__")) or all(callable(getattr(cls, name, None)) for name in _LOG_METHODS):
        return False
    if _is_frozen(cls):
        return _has_state(own.values(), depth)
    return bool(own)


def _is_frozen(cls: type) -> bool:
    parameters = getattr(cls, "__dataclass_params__", None)
    if parameters is not None:
        return bool(parameters.frozen)
    if "__attrs_attrs__" in vars(cls):
        return getattr(cls.__setattr__, "__name__", "") == "_frozen_setattrs"
    config = getattr(cls, "model_config", None)  # pydantic
    return isinstance(config, dict) and bool(config.get("frozen"))


def _attributes(value: Any, cls: type) -> dict[str, Any]:
    """The attributes of an instance, past its class's own ways of getting them."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        for name, member in vars(base).items():
            if isinstance(member, types.MemberDescriptorType) and base.__flags__ & _HEAP_TYPE:
                try:
                    found.setdefault(name, member.__get__(value))
                except AttributeError:
                    continue
            elif name == "__dict__" and isinstance(member, types.GetSetDescriptorType):
                found.update(member.__get__(value) or {})
    return found


# ---------------------------------------------------------------- constants in capitals


def _is_table(name: str, value: Any, space: dict[str, Any]) -> bool:
    """Whether a container is a constant by its name, its contents and what its modules do with it."""
    if not name.isupper() or type(value) not in _TABLES or not _is_plain(value, _DEPTH):
        return False
    package = str(space.get("__name__")).partition(".")[0]
    for other, module in list(sys.modules.items()):
        own = getattr(module, "__dict__", None)
        if own is space or (other.partition(".")[0] == package and isinstance(own, dict) and own.get(name) is value):
            if name in changed_names(module):
                return False
    return True


_TABLES = (list, dict, set, bytearray, collections.deque, collections.OrderedDict, collections.Counter)


def _is_plain(value: Any, depth: int) -> bool:
    if depth == 0:
        return False
    cls = type(value)
    if cls in _TABLES or cls in _FIXED:
        return all(_is_plain(item, depth - 1) for item in (value.values() if issubclass(cls, dict) else value))
    return not is_state(value)


# ---------------------------------------------------------------- the watch

_KINDS = (types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)
_clean: dict[int, types.CodeType] = {}
_suspects: dict[int, tuple[types.CodeType, list[tuple[Use, dict[str, Any]]]]] = {}
_reported: set[tuple[str, str]] = set()


def watch(frames: Iterable[Any], *, strict: bool = False) -> None:
    """Look at the globals that suspended frames use, if their code was not seen before.

    Args:
        frames: coroutines, generators, async generators; anything else among them is passed over.
        strict: raise instead of warning.

    Raises:
        ModuleStateError: only if strict.
        ModuleStateWarning: if the program has made it an error.
    """
    for gen in frames:
        if type(gen) in _KINDS:
            code = code_of(gen)
            if _clean.get(id(code)) is not code:
                _look(gen, code, strict)


def _look(gen: Any, code: types.CodeType, strict: bool) -> None:
    known = _suspects.get(id(code))
    if known is None or known[0] is not code:
        if len(_suspects) + len(_clean) >= _CACHE_LIMIT:
            _suspects.clear()
            _clean.clear()
        frame = frame_of(gen)
        known = _suspects[id(code)] = (code, list(_candidates(code, frame.f_globals)) if frame is not None else [])
    if not known[1]:
        del _suspects[id(code)]
        _clean[id(code)] = code
    for use, space in known[1]:
        value = _value(use, space)
        if value is not None and _is_lost(use, value, space):
            _report(use, space, value, strict)


def _is_lost(use: Use, value: Any, space: dict[str, Any]) -> bool:
    """Whether what the code uses is state, and so gone after a restart."""
    if use.bound and id(value) not in _volatile and issubclass(type(value), _CONSTANTS):
        return True
    return is_state(value) and not _is_table(use.attribute or use.name, value, space)


def _candidates(code: types.CodeType, space: dict[str, Any]) -> Iterator[tuple[Use, dict[str, Any]]]:
    """What code uses that is state, or nothing yet: a None may become a dict."""
    code = original_code(code)
    if _is_foreign(space, code):
        return
    for use in uses(code, space):
        inner = space
        value = space[use.name]
        if issubclass(type(value), types.ModuleType):
            if use.attribute is None or not _is_beside(value, space):
                continue
            inner = vars(value)
            value = inner.get(use.attribute)
        else:
            use = replace(use, attribute=None)
        name = use.attribute or use.name
        if name[:2] == name[-2:] == "__":
            continue
        if value is None or use.bound or _is_lost(use, value, inner):
            yield use, inner


def _value(use: Use, space: dict[str, Any]) -> Any:
    return space.get(use.attribute or use.name)


def _is_foreign(space: dict[str, Any], code: types.CodeType) -> bool:
    top = str(space.get("__name__")).partition(".")[0]
    if top in sys.stdlib_module_names or top == "pstore":
        return True
    return any(f"{os.sep}{folder}{os.sep}" in code.co_filename for folder in ("site-packages", "dist-packages"))


def _is_beside(module: types.ModuleType, space: dict[str, Any]) -> bool:
    """Whether a module is one of the program's own: of the same package, or a file in the same folder."""
    name, own = module.__name__, str(space.get("__name__"))
    if name.partition(".")[0] == own.partition(".")[0]:
        return True
    files = getattr(module, "__file__", None), space.get("__file__")
    folders = {os.path.dirname(os.path.abspath(str(file))) for file in files}
    return all(files) and "." not in name + own and len(folders) == 1


def _report(use: Use, space: dict[str, Any], value: Any, strict: bool) -> None:
    module, name = str(space.get("__name__")), use.attribute or use.name
    cls = type(value)
    kind = cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    kind = f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    place = f"{use.code.co_qualname}() at {os.path.basename(use.code.co_filename)}:{use.line}"
    remedy = (
        f"keep it in engine.root, or pass it as an argument; if every process may make it anew: "
        f"{name} = pstore.volatile(...)"
    )
    if strict:
        raise ModuleStateError(module, name, kind, place, remedy)
    if (module, name) not in _reported:
        _reported.add((module, name))
        warning = ModuleStateWarning(module, name, kind, place, remedy)
        warnings.warn_explicit(warning, None, use.code.co_filename, use.line, module)
