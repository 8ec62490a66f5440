"""The harness itself: it finds nothing wrong with a faithful carrier and the right thing wrong with bad ones."""

from __future__ import annotations

import os
import signal

import pytest

from tests.frames import harness, kit
from tests.frames.adapters import Recorder, Replay
from tests.frames.driving import describe

if not kit.CASES:
    kit.load_corpus()

SOME = (
    "while_else_and_break",
    "with_return_inside_three",
    "except_then_bare_raise",
    "aiter_generator",
    "yield_as_operand",
)


class Forgetful(Replay):
    """Loses the last value sent in."""

    def load(self, data: bytes) -> Recorder:
        """As if the last resumption had been by next()."""
        root = super().load(data)
        if len(root.sent) < 2:
            return root
        short = Recorder(root.name, kit.CASES[root.name].make())
        kit.mute(True)
        for value in [*root.sent[:-1], None]:
            short.send(value)
        kit.mute(False)
        return short


class Crashing(Replay):
    """Dies while it loads."""

    def load(self, data: bytes) -> Recorder:
        """No Python exception reports this."""
        os.kill(os.getpid(), signal.SIGSEGV)
        return super().load(data)


class Refusing(Replay):
    """Cannot dump."""

    def dump(self, root: Recorder) -> bytes:
        """Some message."""
        raise TypeError("cannot keep this")


def run(adapter: str) -> dict[str, harness.Result]:
    """A few cases with one worker."""
    return harness.run([kit.CASES[n] for n in SOME], adapter=adapter, jobs=1)


def test_faithful_carrier_passes() -> None:
    """Replay agrees everywhere."""
    for result in run("replay").values():
        assert harness.verdict_of(result) == "pass"
        assert all(len(by_point) == result["points"] for by_point in result["modes"].values())


def test_lost_value_is_seen() -> None:
    """A value lost on the way makes sums differ."""
    found = run("tests.frames.test_harness:Forgetful")["yield_as_operand"]
    assert found["modes"]["send"]["0"] == "ok"
    assert found["modes"]["send"]["1"].startswith("differs")


@pytest.mark.parametrize(
    ("name", "mode", "start"), [("Crashing", "send", "crash: SIGSEGV"), ("Refusing", "dump", "dump")]
)
def test_failures_are_named(name: str, mode: str, start: str) -> None:
    """Crashes and refusals become verdicts of their points."""
    for result in run(f"tests.frames.test_harness:{name}").values():
        assert all(verdict.startswith(start) for verdict in result["modes"][mode].values())
        assert harness.verdict_of(result) == "fail"


def error(cause: BaseException | None) -> dict[str, object] | None:
    """The description of a raised exception."""
    try:
        raise kit.Fault("x") from cause
    except kit.Fault as found:
        return describe(found)


def test_degrees_of_difference() -> None:
    """Only the traceback, only the chain, more than that."""
    one = error(None)
    moved = {**(one or {}), "tb": []}
    assert harness.compare([["x", one]], [["x", one]]) == "ok"
    assert harness.compare([["x", moved]], [["x", one]]) == "tb"
    assert harness.compare([["x", error(KeyError(1))]], [["x", one]]) == "chain"
    assert harness.compare([["y", "1"]], [["y", "2"]]).startswith("differs")
