"""Every asyncio primitive, killed at every commit: what comes of it is what asyncio's own loop makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.turns import part

from .every_commit import crash_all, outcome_of
from .programs import PROGRAMS


@pytest.fixture(scope="session")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the traces of all programs: on asyncio, uninterrupted, continued from each of their commits."""
    folder = tmp_path_factory.mktemp("crashed")
    crash_all(folder, list(PROGRAMS))
    return folder


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_continues_from_every_commit_and_ends_as_on_asyncio(crashed: Path, name: str) -> None:
    outcome = outcome_of(crashed, name)
    assert not outcome.differences, "\n".join(outcome.differences)
    assert outcome.commits > 2
    assert outcome.processes > len(part(range(outcome.commits), 3)) > 0
