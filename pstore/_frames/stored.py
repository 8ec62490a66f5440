"""Names that stored bytes call: never renamed, never removed.

Owns: the namespace under which every function that rebuilds a value is named in stored bytes.  A function that is
decorated with :func:`stored` can move between modules freely; its stored name is ``pstore._frames.stored:NAME`` for
ever (invariant I9).  What such a function accepts may only grow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["stored"]

_F = TypeVar("_F", bound=Callable[..., object])


def stored(function: _F) -> _F:
    """Give `function` its stored name: its own name in this module."""
    name = function.__name__
    if name in globals():
        raise ValueError(f"two functions would be stored under the name {name!r}")
    function.__module__ = __name__
    function.__qualname__ = name
    globals()[name] = function
    return function
