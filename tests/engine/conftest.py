"""Fixtures: a store on disk that may be opened again and again, a virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pstore
from pstore.testing import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1000.0)


@pytest.fixture
def reopen(tmp_path: Path, clock: VirtualClock) -> Iterator[Callable[[], pstore.Engine]]:
    """Close the engine that is open, if any, and open the store again."""
    engines: list[pstore.Engine] = []

    def opened() -> pstore.Engine:
        while engines:
            engines.pop().close()
        engines.append(pstore.open(tmp_path / "store.fs", clock=clock))
        return engines[-1]

    yield opened
    for engine in engines:
        engine.close()
