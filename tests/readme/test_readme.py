"""The README says what is so: its example runs, its tables are the tests' own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.report import RESULTS, VERSIONS, engine_short, loop_apart, loop_section, section, store_section
from tests.processes import ROOT, python
from tests.readme.limits import LIMITS, table

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.S | re.M)


@pytest.mark.parametrize("row", LIMITS, ids=[row.check.__name__ for row in LIMITS])
def test_limit(row):
    row.check()


def test_the_table_of_limits_is_that_of_the_tests():
    assert table() in README, "run: python -m tests.readme.limits"


def test_the_numbers_are_those_of_the_committed_results():
    assert section() in README, "run: python -m benchmarks.report"


def test_the_numbers_of_the_store_are_those_of_the_committed_results():
    if not any((RESULTS / f"store-{version}.json").exists() for version in VERSIONS):
        pytest.skip("there are none yet")
    assert store_section() in README, "run: python -m benchmarks.report store"
    assert engine_short() in README, "run: python -m benchmarks.report engine write"


def test_the_numbers_of_the_loop_are_those_of_the_committed_results():
    assert loop_section() in README, "run: python -m benchmarks.report loop"
    assert loop_apart() in README, "run: python -m benchmarks.report loop"


def test_every_path_in_the_map_exists():
    the_map = README.partition("\n## How it works\n")[2].partition("\n## ")[0]
    paths = re.findall(r"^\| `([\w./]+)` \|", the_map, re.M)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.slow
def test_the_example_goes_on_after_a_kill(tmp_path):
    """The first block of Python, killed by SIGKILL while it waits; the second process says the rest."""
    source = blocks("python")[0].replace("asyncio.sleep(1)", "asyncio.sleep(0.05)")
    (tmp_path / "order.py").write_text(source)
    command = [sys.executable, "-u", "order.py"]
    env = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    first = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
    lines = []
    for line in first.stdout:
        lines.append(line.rstrip())
        if "3 s left" in line:
            first.send_signal(signal.SIGKILL)
            break
    first.stdout.close()
    assert first.wait() == -signal.SIGKILL
    second = python("order.py", cwd=tmp_path)
    assert (second.returncode, second.stderr) == (0, "")
    rest = second.stdout.splitlines()
    assert lines[0].strip() == "bank: reserve 1000 on 1234-5678"
    assert not any("reserve" in line for line in rest)
    # the line of the last second may be said again: printing is no step, and the last commit may be the one before
    said = [line for line in lines + rest if "s left" in line]
    assert list(dict.fromkeys(said)) == [f"waiting for approval, {n} s left" for n in (5, 4, 3, 2, 1)]
    assert rest[-2:] == ["  bank: deduct reservation-1", "shipped"]


def test_the_script_for_asyncio_alone_runs_with_and_without(tmp_path):
    source = next(block for block in blocks("python") if "relay.py" in block)
    (tmp_path / "relay.py").write_text(source.replace("sleep(0.5)", "sleep(0.01)"))
    alone = python("relay.py", cwd=tmp_path)
    durable = python("-m", "pstore", "run", "relay.fs", "relay.py", cwd=tmp_path)
    assert alone.stdout == durable.stdout != ""
    assert alone.stdout in README
    assert (durable.returncode, durable.stderr) == (0, "")


@pytest.mark.parametrize("number", range(1, len(blocks("python"))))
def test_other_blocks_run(number, tmp_path):
    script = tmp_path / "block.py"
    script.write_text(blocks("python")[number].replace("sleep(0.5)", "sleep(0.01)"))
    done = python("block.py", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_path_of_a_machine():
    assert not re.search(r"/(work|root|home)/", README)
    assert Path(ROOT / "LICENSE").exists()
