"""Running the command line as a user does, in a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

from pstore.tools import cli

ROOT = Path(__file__).parents[2]


def environment(**more: str) -> dict[str, str]:
    """Give an environment in which a child finds this pstore, without colour and without tricks."""
    env = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "PYTHONHASHSEED")}
    path = os.pathsep.join(entry for entry in (str(ROOT), os.environ.get("PYTHONPATH", "")) if entry)
    return {**env, "PYTHONPATH": path, "PYTHONWARNINGS": "error", "PYTHONDONTWRITEBYTECODE": "1", **more}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "pstore", *map(str, arguments)]


def here(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in this process, where that makes no difference: it takes a tenth of the time."""
    out, errors = io.StringIO(), io.StringIO()
    words = list(map(str, arguments))
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            code = cli.main(words)
        except SystemExit as left:
            code = int(left.code or 0)
    return subprocess.CompletedProcess(words, code, out.getvalue(), errors.getvalue())


def started(*arguments: str | Path, cwd: Path, **more: str) -> subprocess.Popen[str]:
    """Start the command line; the demos mostly rest, so several at a time take little longer than one."""
    return subprocess.Popen(
        command(*arguments), cwd=cwd, env=environment(**more),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def pstore(*arguments: str | Path, cwd: Path, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment(**more), input=stdin,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def python(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, env=environment(),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def fingerprint(folder: Path) -> dict[str, tuple[str, int]]:
    """Give name, contents and time of change of all files below a folder."""
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def assert_one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """The command failed as it should: one line on stderr, exit code 1, nothing else."""
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert done.stderr.startswith("pstore: ")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("\n")
    for part in parts:
        assert part in done.stderr
