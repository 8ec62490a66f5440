"""What of the many a run of the tests takes: of what is drawn, or done at every place, each Python takes another part.

PSTORE_TESTS=all has one Python take all of it, as the commands of the single suites do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")

TURN = sys.version_info.minor


def take_all() -> None:
    """From now on, in child processes too."""
    os.environ["PSTORE_TESTS"] = "all"


def all_of_it() -> bool:
    return os.environ.get("PSTORE_TESTS") == "all"


def part(items: Iterable[T], parts: int, turn: int = TURN) -> list[T]:
    """One in `parts` of them, the next Python's turn the next ones; or all."""
    found = list(items)
    return found if all_of_it() else found[turn % parts :: parts]


def fewer(number: int, parts: int) -> int:
    """That part of a number of examples, or all."""
    return number if all_of_it() else max(1, number // parts)
