"""Words for where a frame stands and what its slots are called (layer 1).

Owns: the labels that error messages and tools show for frames and functions.
"""

from __future__ import annotations

import os
from types import FunctionType
from typing import Any

from pstore._frames import twins
from pstore._frames.reading import code_of, frame_of, has_ended, read
from pstore._frames.suspension import PREVIOUS, VALUE, localsplus_names

__all__ = ["cell_labels", "state_labels", "where"]


def where(obj: Any) -> str:
    """``ship() at shop.py:41`` for a suspended frame (the line where it stands) or a function (its first line)."""
    if isinstance(obj, FunctionType):
        code, line = obj.__code__, obj.__code__.co_firstlineno
    else:
        code = code_of(obj)
        line = code.co_firstlineno if has_ended(obj) else frame_of(obj).f_lineno or code.co_firstlineno
    return f"{code.co_qualname}() at {os.path.basename(code.co_filename)}:{line}"


def state_labels(gen: Any) -> list[str]:
    """A label for each item of a frame's state, in order."""
    if has_ended(gen):
        return []
    shape = read(gen)[0].shape
    code = code_of(gen)
    names = localsplus_names(twins.original_code(code))
    labels = []
    for slot, kind in enumerate(shape.kinds):
        if kind in (VALUE, PREVIOUS):
            labels.append(f", local {names[slot]!r}" if slot < len(names) else ", value on its stack")
    if shape.handling:
        labels.append(", the exception being handled")
    return labels


def cell_labels(function: FunctionType) -> list[str]:
    """A label for each cell of a function's closure."""
    return [f", closure variable {name!r}" for name in function.__code__.co_freevars]
