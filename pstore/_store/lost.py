"""A server that goes away while a store is open (layer 2).

Owned here: by which exceptions the drivers say so.  They are known by name, as the drivers are optional, and RelStorage
lets them through.  The same classes tell of a server that is there and cannot do it, for want of room for instance:
either way the bytes are as they were, and trying again may help.  RelStorage and ZEO connect again by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pstore.errors import StoreError, StoreUnavailable

__all__ = ["is_lost", "raise_lost", "reaching", "text_of"]

_SAID_BY = {
    "psycopg2": ("OperationalError", "InterfaceError"),
    "pymysql": ("OperationalError", "InterfaceError"),
    "sqlite3": ("OperationalError",),
    "ZEO": ("ClientDisconnected",),
}


def is_lost(error: BaseException) -> bool:
    """Whether a driver says that it cannot reach its server, or that the server cannot do what was asked."""
    return any(cls.__name__ in _SAID_BY.get(cls.__module__.partition(".")[0], ()) for cls in type(error).__mro__)


@contextmanager
def reaching(storage: Any) -> Iterator[None]:
    """Let what a driver raises when its server is gone be StoreUnavailable."""
    try:
        yield
    except Exception as error:
        raise_lost(error, storage, StoreUnavailable)
        raise


def raise_lost(error: Exception, storage: Any, kind: type[StoreError]) -> None:
    """Raise an error of the store's in the place of a driver's; nothing is done about other errors."""
    if is_lost(error):
        raise kind(str(storage.getName()), text_of(error)) from error


def text_of(error: BaseException) -> str:
    """What it is and says, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
