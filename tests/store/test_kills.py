"""A smaller number of the kills of `kills`, in each run of the tests."""

from __future__ import annotations

import pytest

from tests.store.kills import run


@pytest.mark.slow
def test_kill_9_at_random_instants(tmp_path):
    figures = run(str(tmp_path / "graph.fs"), runs=25, seed=7)
    assert figures["steps"] > 100
