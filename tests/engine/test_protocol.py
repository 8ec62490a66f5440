"""The protocol of commits and effects holds in every state that it can come to; broken in any one rule, it does not.

``python -m tests.engine.protocol --tasks 3 --steps 2`` does the same with more to do.
"""

from __future__ import annotations

import re

import pytest

from tests.engine.protocol import Protocol, Scenario, scenarios
from tests.engine.protocol_mutants import MUTANTS
from tests.engine.protocol_search import search

MOST = 200_000


@pytest.mark.parametrize("scenario", scenarios(), ids=str)
def test_holds_in_every_state(scenario: Scenario) -> None:
    found = search(Protocol(scenario), MOST)
    assert not found.broken, str(found)
    print(found)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_is_refuted(mutant: type[Protocol]) -> None:
    correct = search(Protocol(mutant.scenario), MOST)
    assert not correct.broken, str(correct)
    found = search(mutant(mutant.scenario), MOST)
    assert re.search(mutant.says, found.broken), f"{mutant.__doc__}\n{found}"
    assert len(found.trace) > 1
    print(f"{mutant.__doc__}\n{found}")


def test_there_is_something_to_search() -> None:
    """No scenario is over before it begins, and each has its faults."""
    for scenario in scenarios():
        protocol, start = Protocol(scenario), scenario.start()
        assert not protocol.is_over(start)
        assert list(protocol.moves(start))
        assert list(protocol.faults(start))
