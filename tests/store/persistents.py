"""Classes that derive from `persistent.Persistent`, for `test_first_class`."""

from __future__ import annotations

import persistent
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping

__all__ = ["Account", "PersistentList", "PersistentMapping", "Slotted"]


class Account(persistent.Persistent):
    def __init__(self, name):
        self.name = name
        self.lines = []

    def __repr__(self):
        return f"<Account {self.name}>"


class Slotted(persistent.Persistent):
    __slots__ = ("a", "b")
