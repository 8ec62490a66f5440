"""Fresh processes for tests: a snippet of Python run by the Python that runs the tests, with the package importable."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def python(*arguments: str, cwd: Path, hash_seed: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``python -W error -B ARGUMENTS`` in `cwd`."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "random" if hash_seed is None else str(hash_seed)}
    return subprocess.run(
        [sys.executable, "-B", "-W", "error", *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=120
    )


def run(code: str, cwd: Path, hash_seed: int | None = None) -> str:
    """Run a snippet in a fresh process; it has to end well and to say nothing on stderr.  Gives its output, stripped."""
    done = python("-c", textwrap.dedent(code), cwd=cwd, hash_seed=hash_seed)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", done.stderr
    return done.stdout.strip()
