"""Objects that every process has, under numbers (layer 2).

Owns: the table of classes and functions that stand in records by a number instead of by their names, which would take
more room than all else in the record of a small task.

Rule: a number means the same for ever (invariant I9): numbers are given out here and by the modules that register
them, and are not used again.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "CODES",
    "OWNER",
    "by_number",
    "empty",
    "fresh",
    "known",
    "reference_to",
    "register",
    "register_fresh",
]

OWNER = 100
"""Stands for the part of the top that all heads belong to, which is another object in every store."""
CODES = 1000
"""From here on: the codes of a store."""

by_number: dict[int, Any] = {}
"""Number -> object."""
known: dict[int, int] = {}
"""Id of an object -> what stands for it in a record: see `capsulebody`."""
fresh: dict[int, type] = {}
"""Number -> class of an object that a record names and does not have."""


def register(number: int, obj: Any) -> Any:
    """Give an object that lives as long as the process a number; gives it back."""
    if by_number.setdefault(number, obj) is not obj:
        raise ValueError(f"number {number} is {by_number[number]!r}")
    known[id(obj)] = reference_to(number)
    return obj


def register_fresh(number: int, cls: type) -> None:
    """Give an object of a class that records name and do not have a number."""
    if number in by_number or number in fresh:
        raise ValueError(f"number {number} is taken")
    fresh[number] = cls


def empty(number: int) -> Any:
    """A new object, without anything, for one that a record names and does not have."""
    cls: Any = fresh[number]
    return cls.__new__(cls)


def reference_to(number: int) -> int:
    """What stands for the object of a number in a record."""
    return 2 * number + 1
