"""Letting a graph go without running any of it (invariant I2).

Dropping the last reference to a suspended frame makes Python throw GeneratorExit into it, which runs ``finally`` and
``with`` blocks; dropping an object runs its ``__del__``.  What is in the store has not ended, so neither may happen
when the engine is closed.  Everything that is reachable and has a finaliser is marked as finalised.
"""

from __future__ import annotations

import gc
import sys
import types
from typing import Any

from pstore._frames.access import abandon_one

__all__ = ["abandon"]

# Code, not state: reached from functions and instances, never part of what is let go.
_NOT_ENTERED = (type, types.ModuleType, types.CodeType, types.BuiltinFunctionType)
_CHUNK = 1000


def abandon(*roots: Any) -> int:
    """Mark all that is reachable from `roots`; gives how many objects were marked."""
    seen = {id(module.__dict__) for module in list(sys.modules.values()) if isinstance(module, types.ModuleType)}
    seen.add(id(seen))
    todo: list[Any] = list(roots)
    marked = 0
    while todo:
        chunk, todo[-_CHUNK:] = todo[-_CHUNK:], []
        for obj in chunk:
            if hasattr(type(obj), "__del__"):
                abandon_one(obj)
                marked += 1
        for obj in gc.get_referents(*chunk):
            if id(obj) not in seen and gc.is_tracked(obj) and not isinstance(obj, _NOT_ENTERED):
                seen.add(id(obj))
                todo.append(obj)
    return marked
