"""What the tests of the store may expect of it: the one place to switch them on when it can more.

INCREMENTAL: only what changed is written, by record.  It brings: a persist after reopening writes nothing if nothing has
    changed; objects of users' own `Persistent` classes and BTrees within the graph; `attach`, `resolve`, `pack`, `at`;
    an instance's ``__dict__`` is an object like any other.  The store before it wrote the whole graph as one pickle.
"""

from __future__ import annotations

import pytest

INCREMENTAL = False

needs_incremental = pytest.mark.skipif(not INCREMENTAL, reason="needs the incremental store")
