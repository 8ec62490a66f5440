"""Copies: what passes between the program and its host passes by value.

A host's thread must never hold an object that a task may change meanwhile, nor a task one of the host's: then a commit
could keep what nobody meant to do.  So messages that come in, results that are waited for, answers to queries, locals
that are looked at and letters that go out are copies, made with what stores them.

Rule: what belongs to the program itself, a task, a future, the loop, does not pass: it raises UnsupportedValue.
"""

from __future__ import annotations

import contextvars
from typing import Any, TypeVar

from pstore._store import graph
from pstore.errors import UnsupportedValue

__all__ = ["copied", "packed", "stay", "unpacked"]

T = TypeVar("T")

_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})
_leaving: contextvars.ContextVar[bool] = contextvars.ContextVar("pstore_leaving", default=False)


def packed(value: Any, name: str = "value") -> bytes:
    """Give bytes that `unpacked` makes a copy of.

    Args:
        value: what is to be copied.
        name: what it is to the user; the path in an error begins with it.

    Raises:
        UnsupportedValue: something that it leads to cannot be stored, or belongs to the program.
    """
    token = _leaving.set(True)
    try:
        return graph.dumps(value)
    except UnsupportedValue as found:
        path = name + found.path.removeprefix("root")
        raise type(found)(found.type_name, found.reason, found.remedy, path) from found.__cause__
    finally:
        _leaving.reset(token)


def unpacked(data: bytes) -> Any:
    """Give the copy.  Only in the thread that runs the engine."""
    return graph.loads(data)


def copied(value: T, name: str = "value") -> T:
    """Give a copy, which shares with the original what cannot be changed at the most.

    Args and Raises: see `packed`.
    """
    if type(value) in _ATOMS:
        return value
    copy: T = unpacked(packed(value, name))
    return copy


def stay(kind: str) -> None:
    """Refuse to be copied out of the program, while somebody tries to; called by what belongs to it."""
    if _leaving.get():
        reason = "it belongs to the program that runs it, and what passes between the program and its host is copied"
        raise UnsupportedValue(kind, reason, "pass an id, or the data that is asked for")
