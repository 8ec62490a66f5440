"""What is not counted under recapture, each with the reason. It is run nevertheless: an excluded test that passes is
reported as stale, so that the tables stay as short as they can be.

A doctest is one test with many examples. Of it not the whole is excluded but single examples: these are expected to
print what they print under recapture, and if one prints what the suite says it fails, so it can't become stale.

Versions: ``None`` is every version, else a set of (major, minor).
"""

from __future__ import annotations

import sys
from typing import NamedTuple


class Exclusion(NamedTuple):
    """One test that cannot pass although pstore does what it promises."""

    test: str
    versions: frozenset[tuple[int, int]] | None
    reason: str


class ExcludedExample(NamedTuple):
    """One example of a doctest that prints something else although pstore does what it promises."""

    test: str
    source: str
    nth: int        # which of the examples with this source, counted from 0
    prints: str
    versions: frozenset[tuple[int, int]] | None
    reason: str


def on(*minors: int) -> frozenset[tuple[int, int]]:
    """The Python 3 versions with these minor numbers."""
    return frozenset((3, minor) for minor in minors)


ANOTHER_CODE = "compares gi_code with the code of the function: a resume twin is another code object"
CODE_REUSED = "makes a function of gi_code and calls it: a resume twin's code takes no arguments"

SYNTAX = "test.test_generators.__test__.syntax"
MODIFY = "test.test_generators.ModifyUnderlyingIterableTest"

EXCLUSIONS: list[Exclusion] = [
    Exclusion(f"{MODIFY}.test_new_gen_from_gi_code", on(14, 15), CODE_REUSED),
]

EXAMPLES: list[ExcludedExample] = [
    ExcludedExample(SYNTAX, "g.gi_code is f.__code__\n", 0, "False\n", None, ANOTHER_CODE),
    ExcludedExample(SYNTAX, "g.gi_code is f.__code__\n", 1, "False\n", None, ANOTHER_CODE),
]


def _here(versions: frozenset[tuple[int, int]] | None) -> bool:
    return versions is None or sys.version_info[:2] in versions


def excluded_here() -> dict[str, str]:
    """Test id -> reason, for the running version."""
    return {e.test: e.reason for e in EXCLUSIONS if _here(e.versions)}


def examples_here() -> dict[tuple[str, str, int], ExcludedExample]:
    """(test id, source of the example, which of them) -> exclusion, for the running version."""
    return {(e.test, e.source, e.nth): e for e in EXAMPLES if _here(e.versions)}
