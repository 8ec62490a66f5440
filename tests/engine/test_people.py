"""Programs of the kind people write, killed at random instants: the result is that of asyncio's own loop.

`python -m tests.engine.people --kills N --seed S` does the same with more kills; PSTORE_SEED sets the seed here.
Each Python takes half of the programs, the next one the others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.engine.people import PROGRAMS
from tests.processes import ROOT
from tests.turns import part

KILLS = 2  # of each program
NAMES = part(sorted(PROGRAMS), 2)


@pytest.fixture(scope="session")
def reports() -> dict[str, dict[str, object]]:
    """What came of each program, by name."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "tests.engine.people", "--quiet", "--kills", str(KILLS), *NAMES]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=290, check=False)
    assert done.stdout, done.stderr
    figures = json.loads(done.stdout)
    print(f"seed {figures['seed']}: {figures['kills']} kills, {figures['processes']} processes")
    return {name: {**report, "seed": figures["seed"]} for name, report in figures["by_program"].items()}


@pytest.mark.parametrize("name", NAMES)
def test_killed_at_random_instants_it_gives_what_asyncio_gives(reports: dict[str, dict], name: str) -> None:
    report = reports[name]
    assert not report["wrong"], "\n".join([f"seed {report['seed']}", *report["wrong"]])
    assert report["kills"] >= KILLS
    assert report["processes"] > report["kills"]


def test_there_are_forty() -> None:
    assert len(PROGRAMS) >= 40
