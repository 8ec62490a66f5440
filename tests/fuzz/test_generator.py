"""The fuzzer itself: its programs are legal, deterministic and varied; it finds what is wrong, and only that."""

import os
import pickle
import random
import signal

import pytest

from . import runner
from .choices import Seeded
from .features import EXPECTED
from .isolation import Crash, isolated
from .minimise import minimise
from .programs import Builder, seeded_program
from .session import Session


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path)


def test_same_seed_same_program():
    assert [seeded_program(1, n) for n in range(20)] == [seeded_program(1, n) for n in range(20)]


@pytest.mark.filterwarnings("ignore:'(return|break|continue)' in a 'finally' block:SyntaxWarning")  # legal, from 3.14 on
@pytest.mark.parametrize("version", [(3, 11)])
def test_programs_of_older_pythons_stay_legal(version):
    for n in range(100):
        compile(Builder(Seeded(n), version=version).program(n).source, "program", "exec", dont_inherit=True)


@pytest.mark.filterwarnings("ignore")
def test_replay_agrees(folder):
    """An adapter that only runs a program again finds nothing: programs depend on nothing but their inputs."""
    session = Session("replay", folder, seed=1, fresh_share=4, minimise_seconds=0)
    session.run(range(120))
    assert session.wrong == []
    assert session.points > 500


@pytest.mark.filterwarnings("ignore")
def test_every_kind_of_place_is_suspended_in(folder):
    session = Session("identity", folder, seed=2, modes=["every"], minimise_seconds=0, fresh_share=0)
    session.run(range(400))
    shares = session.shares()
    assert {name: shares[name] for name in EXPECTED if shares[name] < 1.5} == {}


class Forgetful(runner.Replay):
    """Loses the last suspension."""

    def loads(self, data):
        program, k, at, action = pickle.loads(data)
        return super().loads(pickle.dumps((program, max(k - 1, -1), at, action)))


@pytest.mark.filterwarnings("ignore")
def test_a_wrong_adapter_is_found_and_the_program_minimised(folder, monkeypatch):
    monkeypatch.setitem(runner.ADAPTERS, "forgetful", Forgetful)
    session = Session("forgetful", folder, seed=3, modes=["every"], minimise_seconds=0, fresh_share=0)
    session.run(range(5))
    assert session.wrong
    wrong = session.wrong[0]
    small = minimise(wrong["program"], lambda p: session.shown(p, "every", wrong["signature"]) is not None, seconds=5)
    assert len(small.text) < len(wrong["program"].text) / 2


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def test_crashes_stay_in_the_child():
    with pytest.raises(Crash, match="SIGKILL"):
        isolated(die)
    with pytest.raises(Crash, match="ValueError"):
        isolated(int, "x")
    assert isolated(random.Random(1).randint, 3, 3) == 3
