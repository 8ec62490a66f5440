"""CPython's tests of asyncio pass on the durable loop, task and future, as they are and with recapture."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from tests.engine import conformance
from tests.processes import ROOT
from tests.suites.build import CannotBuild, build
from tests.suites.runner import NoSuites, module_of


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The compiled hook; without a compiler or headers nothing is recaptured."""
    try:
        return build(tmp_path_factory.mktemp("conformance"))
    except CannotBuild as error:
        warnings.warn(f"RUN WITHOUT RECAPTURE: {error}", stacklevel=1)
        return None


@pytest.mark.parametrize("module", conformance.CASES)
def test_the_tests_of_cpython_pass(module: str, extension: Path | None) -> None:
    try:
        module_of(conformance.PACKAGE + module)
    except NoSuites as error:
        pytest.skip(f"TESTS OF ASYNCIO NOT RUN: {error}")
    outcome = conformance.run_tests(module, extension, ["recaptured"])  # what passes so passes as it is
    run = outcome.plain if extension is None else outcome.recaptured
    print("\n".join(conformance.details(outcome)))
    assert not run.failed
    assert run.passed == run.run > 0
    assert not outcome.stale


def test_the_readme_says_what_the_committed_results_say() -> None:
    readme = (ROOT / "README.md").read_text()
    assert conformance.readme() in readme, "run: python -m tests.engine.conformance --readme"
