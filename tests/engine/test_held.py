"""What may be held across an await, and what becomes of it: each case of `held`, in fresh processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engine import held
from tests.processes import ROOT

pytestmark = pytest.mark.slow


def _start(mode: str, folder: Path, seed: str) -> None:
    env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.engine.holding", mode, str(folder)]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr  # what is written there by processes that are killed does not matter


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("held")
    _start("make", made, "1")
    _start("resume", made, "2")
    _start("plain", made, "3")
    return made


def _said(folder: Path, name: str, mode: str) -> dict[str, Any]:
    path = folder / f"{name}.{mode}"
    return json.loads(path.read_text()) if path.exists() else {}


@pytest.mark.parametrize("name", held.CASES)
def test_held(folder: Path, name: str) -> None:
    case = held.CASES[name]
    errors = [json.loads(path.read_text())["error"] for path in sorted(folder.glob(f"{name}.*-error"))]
    assert not errors, "\n".join(errors)
    made, resumed, plain = (_said(folder, name, mode) for mode in ("made", "resumed", "plain"))
    outcome = made["outcome"]
    if outcome == held.KEPT:
        outcome = resumed["outcome"]
        if plain and plain["value"] != resumed["value"]:
            outcome = held.NOT_KEPT
    assert outcome == case.row.outcome, (made, resumed, plain)
    message = made.get("message", "")
    assert all(word in message for word in case.words), message
    assert bool(case.words) == (outcome in (held.REFUSED, held.NOT_HERE, held.NO_RESULT))
    if outcome == held.REFUSED:
        assert re.search(rf"at task 'case' -> {name}\(\) at \S*held\.py:\d+, local 'held'", message), message
        assert made["unchanged"], "something was written"
        assert made["went_on"], "the program did not go on after letting go"
        assert resumed["value"] == "None", "nor in the next process"
    if outcome == held.NOT_HERE:
        assert made["went_on"]


def test_the_cases_cover_the_rows() -> None:
    assert {case.row.what for case in held.CASES.values()} == {row.what for row in held.ROWS}


def test_the_readme_has_the_table() -> None:
    assert held.table() in (ROOT / "README.md").read_text(), "run: python -m tests.engine.held"
