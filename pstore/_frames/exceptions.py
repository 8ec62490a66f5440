"""Exceptions and tracebacks <-> records (layer 1).

Owns: what is stored of an exception: its class, args, attributes (notes among them), the fields that built-in classes
keep in C, group members, ``__cause__``, ``__context__``, ``__suppress_context__`` and its traceback.  pickle keeps the
first three alone.  Rebuilding calls neither ``__init__`` nor a ``__new__`` of the user's.

A traceback comes back as one that prints the same lines: its frames have the file, function, line and columns of the
original ones, and the globals of the module, but no locals.

Sources: ``Objects/exceptions.c``, ``Python/traceback.c`` (``TracebackType`` can be called).
"""

from __future__ import annotations

import copyreg
import os
import sys
import types
from typing import Any

from pstore._frames import locations, twins
from pstore._frames.locations import Position
from pstore._frames.stored import stored

__all__ = ["REDUCERS", "reduce_exception"]

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE
_EVERY = frozenset(vars(BaseException)) | {"args"}
_GIVEN_TO_NEW = {"message", "exceptions"}  # of exception groups: read-only, set by __new__
_PICKLE_HOOKS = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__")


# ---------------------------------------------------------------- exceptions


class _Kind:
    """What there is to know of an exception class."""

    def __init__(self, cls: type[BaseException]) -> None:
        own = [base for base in cls.__mro__ if base.__flags__ & _HEAP_TYPE]
        built_in = [base for base in cls.__mro__ if not base.__flags__ & _HEAP_TYPE and issubclass(base, BaseException)]
        self.base: Any = built_in[0]
        self.custom = any(hook in vars(base) for base in own for hook in _PICKLE_HOOKS)
        self.group = issubclass(cls, BaseExceptionGroup)
        self.fields = [
            name
            for base in built_in
            for name, value in vars(base).items()
            if isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType)
            and name not in _EVERY
            and not (self.group and name in _GIVEN_TO_NEW)
        ]
        self.slots = list(copyreg._slotnames(cls))  # type: ignore[attr-defined]


_kinds: dict[type, _Kind] = {}


def _kind(cls: type) -> _Kind:
    kind = _kinds.get(cls)
    if kind is None:
        if len(_kinds) > 1000:
            _kinds.clear()
        kind = _kinds[cls] = _Kind(cls)
    return kind


def reduce_exception(error: BaseException) -> tuple[Any, ...]:
    """Reduce an exception of any class."""
    kind = _kind(type(error))
    fields = {name: value for name in kind.fields if (value := _get(error, name)) is not _UNSET}
    slots = {name: value for name in kind.slots if (value := _get(error, name)) is not _UNSET}
    links = (error.__cause__, error.__context__, error.__suppress_context__, error.__traceback__)
    own = vars(error)
    if kind.custom:
        reduced = error.__reduce_ex__(5)
        if isinstance(reduced, tuple):
            make, arguments, state, *_ = (*reduced, None)
            return exception_by, (make, arguments), (state, links), None, None, set_exception_by
    arguments, args = _arguments(error)
    state = (dict(own) if own else None, fields or None, slots or None, *links, args)
    return exception, (type(error), arguments), state, None, None, set_exception


def _arguments(error: BaseException) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
    """What to call the built-in ``__new__`` with, and the args where that does not set them."""
    if not isinstance(error, BaseExceptionGroup):
        # never with its args: they may lead back to it; and the __new__ of an OSError picks a subclass by errno, takes
        # the filename out of args, and sets none if __init__ is the user's
        return (), error.args or None
    arguments = (error.message, list(error.exceptions))
    return arguments, error.args if error.args != arguments else None


_UNSET = object()


def _get(error: BaseException, name: str) -> Any:
    try:
        return getattr(error, name)
    except (AttributeError, TypeError, ValueError):
        return _UNSET


@stored
def exception(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """An exception with its args, made by the built-in class that it derives from."""
    made: BaseException = _kind(cls).base.__new__(cls, *args)
    return made


@stored
def set_exception(error: BaseException, state: tuple[Any, ...]) -> None:
    """Second phase of an exception."""
    own, fields, slots, cause, context, suppress, trace, args = state
    if args is not None:
        error.args = args
    for name, value in (*(fields or {}).items(), *(slots or {}).items()):
        if _get(error, name) is not value:  # setting None where nothing was changes how an OSError prints
            setattr(error, name, value)
    if own:
        vars(error).update(own)
    _link(error, (cause, context, suppress, trace))


@stored
def exception_by(make: Any, arguments: tuple[Any, ...]) -> Any:
    """An exception of a class that says itself how it is pickled."""
    return make(*arguments)


@stored
def set_exception_by(error: Any, state: tuple[Any, ...]) -> None:
    """Second phase of an exception of a class that says itself how it is pickled."""
    own, links = state
    if own is not None:
        if hasattr(error, "__setstate__"):
            error.__setstate__(own)
        else:
            vars(error).update(own)
    _link(error, links)


def _link(error: BaseException, links: tuple[Any, ...]) -> None:
    error.__cause__, error.__context__, error.__suppress_context__, error.__traceback__ = links


# ---------------------------------------------------------------- tracebacks


def _reduce_traceback(trace: types.TracebackType) -> tuple[Any, ...]:
    frame = trace.tb_frame
    code = twins.original_code(frame.f_code)
    module = frame.f_globals.get("__name__")
    where = (code.co_filename, code.co_name, code.co_qualname, code.co_firstlineno, module)
    position = _position(frame.f_code, trace.tb_lasti, trace.tb_lineno)
    return traceback, (trace.tb_next, where, trace.tb_lineno, position)


def _position(code: types.CodeType, lasti: int, line: int) -> Position:
    positions = list(code.co_positions()) if lasti >= 0 else []
    found = positions[lasti // 2] if lasti // 2 < len(positions) else None
    return found if found is not None and found[0] == line else (line, line, None, None)


@stored
def traceback(
    following: types.TracebackType | None, where: tuple[Any, ...], line: int, position: Position
) -> types.TracebackType:
    """One entry of a traceback, with the rest of it."""
    return types.TracebackType(following, _frame(where, position), 0, line)


_frames: dict[Any, types.FrameType] = {}
_FRAMES = 1000


def _frame(where: tuple[Any, ...], position: Position) -> types.FrameType:
    """A frame that is nowhere but in tracebacks."""
    key = (where, position)
    frame = _frames.get(key)
    if frame is None:
        if len(_frames) >= _FRAMES:
            _frames.clear()
        frame = _frames[key] = _new_frame(where, position)
    return frame


def _stub() -> Any:
    yield


def _new_frame(where: tuple[Any, ...], position: Position) -> types.FrameType:
    filename, name, qualname, first_line, module = where
    loaded = sys.modules.get(module) if isinstance(module, str) else None
    code = _stub.__code__
    units, table, line = len(code.co_code) // 2, b"", first_line
    while units > 0:
        table += locations.at_position(position, line, min(units, 8))
        units, line = units - 8, position[0] or line
    code = code.replace(
        co_filename=_present_filename(filename, loaded),
        co_name=name,
        co_qualname=qualname,
        co_firstlineno=first_line,
        co_linetable=table,
    )
    space = vars(loaded) if loaded is not None else {"__name__": module}
    # the frame object of a generator that was not started outlives the generator
    frame: types.FrameType = types.FunctionType(code, space)().gi_frame
    return frame


def _present_filename(filename: str, module: types.ModuleType | None) -> str:
    """The module's file as it is called here, when it is the same file in another checkout."""
    here = getattr(module, "__file__", None)
    if isinstance(here, str) and os.path.basename(here) == os.path.basename(filename):
        return here
    return filename


REDUCERS = {types.TracebackType: _reduce_traceback}
