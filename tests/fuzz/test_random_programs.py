"""Random programs: uninterrupted and suspended everywhere they must do the same."""
import os

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from .programs import programs
from .session import Session, run_one

EXAMPLES = int(os.environ.get("PSTORE_FUZZ_EXAMPLES", "300"))
STEADY = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("programs"))


def explain(program, result):
    return "\n".join([f"home {program.home}, sends {program.sends}", *map(str, result["mismatches"]), program.text])


@settings(STEADY, max_examples=EXAMPLES)
@given(program=programs(), seed=st.integers(0, 99))
def test_suspended_everywhere(folder, program, seed):
    result = run_one(program, "pstore", folder, seed, throws=1)
    note(explain(program, result))
    assert not result["mismatches"]


def test_fresh_process(folder):
    """Dumped at a random point, resumed under another hash seed: a batch to a process."""
    session = Session("pstore", folder, seed=20, modes=["every"], minimising=False, fresh_share=1)
    session.run(range(60))
    assert not session.wrong, "\n".join(explain(w["program"], {"mismatches": [w["shown"]]}) for w in session.wrong[:3])
