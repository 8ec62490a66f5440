"""CPython's tests of asyncio's primitives pass on the durable loop, task and future."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import conformance

HERE = Path(__file__).parent


@pytest.mark.parametrize("modules", [conformance.PRIMITIVES, conformance.OWN_LOOPS], ids=["primitives", "tasks"])
def test_the_tests_of_cpython_pass(modules: list[str]) -> None:
    pytest.importorskip("test.test_asyncio", reason="this Python was installed without its tests")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(HERE / "conformance.py"), *modules]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-4000:]
    assert [line.split()[0] for line in done.stdout.splitlines()] == modules
