"""Random programs: uninterrupted and suspended everywhere they must do the same.

A program that goes wrong is minimised by statements (see minimise), which takes seconds where shrinking takes minutes.
"""

import functools
import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from tests.turns import TURN, fewer

from .programs import programs
from .session import Session

EXAMPLES = int(os.environ.get("PSTORE_FUZZ_EXAMPLES", fewer(300, 2)))
STEADY = settings(
    derandomize=True, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("programs"))


@functools.lru_cache(maxsize=20)
def wrong_with(program, folder, seed):
    session = Session("pstore", folder, seed, fresh_share=0, throws=1, minimise_seconds=20)
    session.one(program)
    return explain(session)


def explain(session):
    """All that a session has found."""
    lines = []
    for wrong in session.wrong:
        lines += [f"{name}: {value}" for name, value in wrong["shown"].items()]
        lines += [f"home {wrong['program'].home}, sends {wrong['program'].sends}", wrong["program"].text]
    return "\n".join(lines)


@seeded(TURN)
@settings(STEADY, max_examples=EXAMPLES // 3)
@given(program=programs(), seed=st.integers(0, 99))
def test_drawn_programs_suspended_everywhere(folder, program, seed):
    wrong = wrong_with(program, folder, seed)
    assert not wrong, wrong


@pytest.mark.parametrize("seed", range(3 * TURN, 3 * TURN + 3))
def test_seeded_programs_suspended_everywhere(folder, seed):
    """Larger programs; some of them are resumed in a fresh process, under another hash seed."""
    session = Session("pstore", folder, seed, fresh_share=3, throws=1, minimise_seconds=20)
    session.run(range(EXAMPLES * 2 // 9))
    wrong = explain(session)
    assert not wrong, wrong
