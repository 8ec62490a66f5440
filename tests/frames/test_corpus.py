"""Every corpus program, at every suspension point; one test for each program.

The modes take turns from point to point and from Python to Python (`servers.modes_at`): PSTORE_TESTS=all, and
``python -m tests.frames.harness run``, have every mode at every point.
"""

from __future__ import annotations

import os

import pytest

from tests.frames import harness, kit
from tests.turns import TURN, all_of_it

if not kit.CASES:
    kit.load_corpus()

ADAPTER = os.environ.get("FRAMES_ADAPTER", "pstore")


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest) -> dict[str, harness.Result]:
    """The verdicts on all selected programs, computed at once."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    wanted = [item.callspec.params["name"] for item in items if item.originalname == "test_program"]
    cases = [kit.CASES[name] for name in dict.fromkeys(wanted)]
    return harness.run(cases, adapter=ADAPTER, turn=None if all_of_it() else TURN)


@pytest.mark.parametrize("name", list(kit.CASES))
def test_program(name: str, results: dict[str, harness.Result]) -> None:
    """The program does the same whether it is carried to another process or not."""
    found = results[name]
    assert harness.verdict_of(found) == "pass", "\n".join(harness.troubles(found)[:10])
