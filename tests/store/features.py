"""What the tests of the store may expect of it: the one place that knows which store it is.

INCREMENTAL: only what changed is written, by record.  It brings: a persist after reopening writes nothing if nothing has
    changed; objects of users' own `Persistent` classes and BTrees within the graph; an instance's ``__dict__`` is an
    object like any other; keys that are hashed by value are filled in last.  The store before it (format 1) wrote the
    whole graph as one pickle.
"""

from __future__ import annotations

import pytest

from pstore import Store
from pstore._store.store import RECORD_FORMAT

INCREMENTAL = RECORD_FORMAT >= 2

needs_incremental = pytest.mark.skipif(not INCREMENTAL, reason="needs the incremental store")


def has(method: str) -> bool:
    """Whether stores can do that."""
    return hasattr(Store, method)


def needs(method: str) -> pytest.MarkDecorator:
    """Skip where stores cannot do that."""
    return pytest.mark.skipif(not has(method), reason=f"stores have no {method}() yet")
