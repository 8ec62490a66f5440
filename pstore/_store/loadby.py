"""One load: what it begins and ends with, and what is raised when it fails (layer 2).

Owns: :func:`load_by`, which every load of the package goes by, from bytes or from a store.
"""

from __future__ import annotations

import pickle
import re
import types
from collections.abc import Callable
from typing import TypeVar

from pstore._frames import Parts, end_of_load, start_of_load
from pstore.errors import CodeNotFound, FormatError, PstoreError, RebuildError

__all__ = ["IN_STORE", "load_by"]

IN_STORE = (PstoreError, MemoryError)
"""What is raised as it is where a store is loaded; bytes that are damaged may ask for more memory than there is."""

_Argument = TypeVar("_Argument")
_Loaded = TypeVar("_Loaded")


def load_by(
    function: Callable[[_Argument], _Loaded],
    argument: _Argument,
    parts: Parts | None = None,
    passing: type[Exception] | tuple[type[Exception], ...] = PstoreError,
) -> _Loaded:
    """What a function loads.

    If it fails, the frames that it has made are let go without running any of them.  Whatever comes out of an unpickler
    is raised as a :exc:`RebuildError` that names why.

    Args:
        function: makes frames, and calls what stored bytes name.
        argument: of the function.
        parts: see `start_of_load`.
        passing: errors that are raised as they are, besides those that are no :exc:`Exception`.
    """
    start_of_load(parts)
    failed = True
    try:
        loaded = function(argument)
        failed = False
        return loaded
    except passing:
        raise
    except Exception as error:
        raise _translated(error) from error
    finally:
        end_of_load(failed)


_DAMAGED = (pickle.UnpicklingError, EOFError, IndexError, KeyError, UnicodeDecodeError, OverflowError)


def _translated(error: Exception) -> RebuildError:
    """What to raise for what came out of an unpickler."""
    if isinstance(error, ModuleNotFoundError):
        return CodeNotFound(f"module {error.name}", str(error))
    if isinstance(error, AttributeError):
        return _missing(error)
    if isinstance(error, _DAMAGED):
        return FormatError(f"damaged or cut short: {error or type(error).__name__}")
    return RebuildError(f"{type(error).__name__}: {error}")


_NAMED = re.compile(r"Can't (?:get|resolve path) (?:attribute )?'([^']+)' on <module '([^']+)'")


def _missing(error: AttributeError) -> RebuildError:
    """What to raise when a name was not found, by pickle or by the user's own code."""
    found = _NAMED.match(str(error))
    if found is not None:
        return CodeNotFound(f"{found[2]}:{found[1]}", f"module {found[2]} has no {found[1]} any more")
    if isinstance(error.obj, types.ModuleType):
        name = error.obj.__name__
        return CodeNotFound(f"{name}:{error.name}", f"module {name} has no {error.name} any more")
    if str(error).startswith("Can't"):
        return CodeNotFound("what the bytes name", str(error))
    return RebuildError(f"AttributeError: {error}")
