"""The three verbs, attach, persist and load, on the current store.

Owns: what a program of one store writes.  The current store is that of the innermost ``with`` block, or the one that
`load` has opened last; each thread and each asyncio task has its own (a `contextvars` variable).
"""

from __future__ import annotations

import os
from typing import Any, TypeVar

from pstore._store.store import Store, current
from pstore.errors import NoCurrentStore

__all__ = ["attach", "load", "persist"]

T = TypeVar("T")


def load(uri_or_storage: str | os.PathLike[str] | Any, **options: Any) -> Store:
    """Open a store, and make it the current one; the one before it stays open.

    Args:
        uri_or_storage: see `Store`.
        **options: see `Store`.
    """
    store = Store(uri_or_storage, **options)
    current.set(store)
    return store


def attach(obj: T, name: str | None = None) -> T:
    """Make an object a root of the current store; see `Store.attach`.

    Raises:
        NoCurrentStore.
    """
    return _current("attach").attach(obj, name)


def persist(note: str | None = None) -> bytes:
    """Commit the graph of the current store; see `Store.persist`.

    Raises:
        NoCurrentStore.
    """
    return _current("persist").persist(note)


def _current(verb: str) -> Store:
    store = current.get()
    if store is None or store.closed:
        raise NoCurrentStore(verb)
    return store
