"""CPython's own suites pass while each suspended frame is captured and rebuilt in place."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from tests.suites.build import CannotBuild, build
from tests.suites.runner import SUITES, NoSuites, module_of, run_suite


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled hook; without a compiler or headers the suites can't be run."""
    try:
        return build(tmp_path_factory.mktemp("suites"))
    except CannotBuild as error:
        pytest.skip(f"SUITES UNDER RECAPTURE NOT RUN: {error}")


@pytest.mark.parametrize("suite", SUITES)
def test_suite_passes_under_recapture(suite: str, extension: Path) -> None:
    """All tests which pass without pstore, save the excluded ones, pass with it."""
    try:
        module_of(suite)
    except NoSuites as error:
        pytest.skip(f"SUITES UNDER RECAPTURE NOT RUN: {error}")
    outcome = run_suite(suite, extension)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        for test in outcome.stale:
            warnings.warn(f"stale exclusion, the test passes: {test}", stacklevel=1)
    assert not outcome.failed, "\n\n".join(f"{test}: {why}" for test, why in outcome.failed.items())
    assert outcome.passed and outcome.suspended + outcome.unstarted
