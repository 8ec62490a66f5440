"""Random programs, killed at random instants; ``python -m tests.engine.soak`` does it for as long as one likes.

PSTORE_SEED sets the seed.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import pstore
from tests.engine import soak, soak_programs
from tests.processes import ROOT

SEED = int(os.environ.get("PSTORE_SEED", "4"))
SECONDS = 24


@pytest.mark.slow
def test_whatever_is_killed_and_fails_nothing_is_lost_or_done_twice() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "tests.engine.soak", "--seconds", str(SECONDS), "--seed", str(SEED)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=290, check=False)
    print(done.stdout)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert "killed at" in done.stdout


def test_a_seed_gives_the_same_programs() -> None:
    shapes = [soak.shape_of(SEED, number) for number in range(50)]
    assert shapes == [soak.shape_of(SEED, number) for number in range(50)]
    assert {name for shape in shapes for _, name, _ in shape["parts"]} == set(soak.PARTS)
    for shape in shapes:
        for name, kind, plan in shape["parts"]:
            chains = soak.PARTS[kind].chains(name, plan)
            entries = [entry for chain in chains for entry in chain]
            assert len(entries) == len(set(entries))
            assert not set(entries) & set(soak.PARTS[kind].perhaps(name, plan))


def lose_commits(monkeypatch) -> None:
    """A store that says now and then that it has committed."""
    persist, calls = pstore.Store.persist, []

    def lying(store, note=None):
        calls.append(store)
        return store.tid if len(calls) % 3 == 0 else persist(store, note)

    monkeypatch.setattr(pstore.Store, "persist", lying)


def take_twice(monkeypatch) -> None:
    """An inbox that does not look whether a message came before."""

    def receive(state, message):
        state["came"].add(message)
        state["queue"].put_nowait(message)

    monkeypatch.setattr(soak_programs.Mail, "receive", receive)


def forget_keys(monkeypatch) -> None:
    """Steps whose key is another one in each process."""
    key = pstore.step_key
    monkeypatch.setattr(pstore, "step_key", lambda: f"{os.getpid()}.{key()}")


@pytest.mark.parametrize("sabotage", [lose_commits, take_twice, forget_keys])
def test_it_finds_what_is_broken(monkeypatch, sabotage) -> None:
    monkeypatch.setattr(soak, "FRESH", 0.0)  # new interpreters would not be broken
    sabotage(monkeypatch)
    for number in range(40):
        _, wrong = soak.soak(SEED, count=1, first=number, tell=lambda text: None)
        if wrong:
            print(f"program {number}: {wrong[0]}")
            return
    pytest.fail("nothing was found")
