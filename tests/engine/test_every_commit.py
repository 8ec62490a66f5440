"""Every asyncio primitive, killed at every commit: what is left of the trace is as if nothing had happened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import programs

HERE = Path(__file__).parent


def _start(mode: str, folder: Path, seed: str, *names: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONHASHSEED": seed}
    env["PYTHONPATH"] = os.pathsep.join([str(HERE.parents[1]), str(HERE), env.get("PYTHONPATH", "")])
    command = [sys.executable, "-X", "faulthandler", str(HERE / "crash.py"), mode, str(folder), *names]
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _finish(*running: subprocess.Popen[str]) -> None:
    for process in running:
        _, errors = process.communicate(timeout=300)
        assert (process.returncode, errors) == (0, "")


@pytest.fixture(scope="session")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the traces of all programs: uninterrupted, and continued from each of their commits."""
    folder = tmp_path_factory.mktemp("crashed")
    names = list(programs.PROGRAMS)
    _finish(*(_start("record", folder, "1", *part) for part in (names[::2], names[1::2])))
    # another hash seed: the order of sets must come from the store
    _finish(_start("resume", folder, "2", *names[::2]), _start("resume", folder, "2", *names[1::2]))
    _finish(*(_start("hop", folder, "3", *part) for part in (names[::2], names[1::2])))
    return folder


@pytest.mark.parametrize("name", sorted(programs.PROGRAMS))
def test_continues_from_every_commit_as_if_never_killed(crashed: Path, name: str) -> None:
    folder = crashed / name
    errors = {path.name: path.read_text() for path in sorted(folder.glob("*.error"))}
    assert not errors, "\n".join(f"{name}:\n{text}" for name, text in errors.items())
    wanted = (folder / "trace").read_text()
    points = sorted(folder.glob("[0-9]*.fs"))
    assert len(points) > 2
    traces = {point.stem: point.with_suffix(".trace").read_text() for point in points}
    assert traces == dict.fromkeys(traces, wanted)


@pytest.mark.parametrize("name", sorted(programs.PROGRAMS))
def test_a_new_process_after_each_commit_makes_no_difference(crashed: Path, name: str) -> None:
    folder = crashed / name
    error = folder / "hop.error"
    assert not error.exists(), error.read_text()
    assert (folder / "hop.trace").read_text() == (folder / "trace").read_text()
