"""The runner tells what became of each test, also when the process dies under it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.suites.build import CannotBuild, build
from tests.suites.runner import Log, NoSuites, compare, module_of, run_module

SUITE = '''
import ctypes, unittest

def counting():
    yield 1
    yield 2

class A(unittest.TestCase):
    def test_1_passes(self): self.assertEqual(list(counting()), [1, 2])
    def test_2_crashes(self): ctypes.string_at(0)
    def test_3_fails(self): self.fail("as it should")
    def test_4_skipped(self): self.skipTest("not here")
    def test_5_sub(self):
        for i in counting():
            with self.subTest(i=i): self.assertEqual(i, 1)
    def test_6_passes(self): pass

class B(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise OSError("no class")
    def test_1(self): pass
'''


@pytest.fixture
def extension(tmp_path: Path) -> Path:
    """The compiled hook."""
    try:
        return build(tmp_path)
    except CannotBuild as error:
        pytest.skip(f"SUITES UNDER RECAPTURE NOT RUN: {error}")


@pytest.mark.parametrize("flags", [(), ("--recapture",)])
def test_each_outcome_is_told(flags: tuple[str, ...], extension: Path, tmp_path: Path,
                              monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_suite.py").write_text(SUITE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    log = run_module("a_suite", extension, *flags)
    status = {test.removeprefix("a_suite.A."): row["status"] for test, row in log.ended.items()}
    assert status == {"test_1_passes": "passed", "test_2_crashes": "crashed", "test_3_fails": "failed",
                      "test_4_skipped": "skipped", "test_5_sub": "failed", "test_6_passes": "passed",
                      "setUpClass (a_suite.B)": "failed"}
    crash = log.ended["a_suite.A.test_2_crashes"]["message"]
    assert "Segmentation fault" in crash and "string_at" in crash
    assert "as it should" in log.ended["a_suite.A.test_3_fails"]["message"]
    if flags:
        row = log.ended["a_suite.A.test_1_passes"]
        assert (row["problems"], row["suspended"] >= 2, row["unstarted"] >= 1) == ([], True, True)


def ended(**status: str) -> Log:
    """A log in which these tests have ended so."""
    return Log({test: {"status": how, "message": how} for test, how in status.items()})


def test_what_differs_is_a_failure() -> None:
    plain = ended(a="passed", b="passed", c="passed", d="failed", e="skipped", f="passed")
    recaptured = ended(a="passed", b="failed", c="crashed", d="passed", e="skipped", g="failed")
    outcome = compare("s", "test.s", plain, recaptured)
    assert (outcome.in_baseline, outcome.passed) == (4, 1)
    assert set(outcome.failed) == {"b", "c", "f", "g"}
    assert set(outcome.fails_without_pstore) == {"d"}
    assert set(outcome.skipped_by_python) == {"e"}


def test_a_problem_fails_a_test_that_passes_otherwise() -> None:
    recaptured = ended(a="passed")
    recaptured.ended["a"]["problems"] = [{"stage": "rebuild", "kind": "generator", "frame": "f", "error": "E", "times": 3}]
    outcome = compare("s", "test.s", ended(a="passed"), recaptured)
    assert outcome.failed == {"a": "recapture failed: rebuild of generator f: E (3x)"}


def test_a_python_without_its_tests_is_told_what_to_install() -> None:
    with pytest.raises(NoSuites, match=r"libpython3\.\d+-testsuite"):
        module_of("test_no_such_suite")
