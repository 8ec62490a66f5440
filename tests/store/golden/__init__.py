"""Stores that older versions of pstore wrote: small files, one pair for each format and minor version of Python.

Owns the files and how they are made.  ``format<F>-<X.Y>.fs`` holds data that every Python reads; ``format<F>-<X.Y>-frames.fs``
holds suspended frames and code stored by value, which only the minor version that wrote them reads.  Both have three
transactions.  They are written once, by the first version of pstore that writes the format, and never again:

    python -m tests.store.golden write          # with each Python; refuses to replace a file

``program`` is what is stored; nothing in it may ever be renamed or changed, since the files refer to it.
"""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
NAME = re.compile(r"format(?P<format>\d+)-(?P<python>\d\.\d+)(?P<frames>-frames)?\.fs")


def files(*, frames: bool) -> list[Path]:
    """The golden files, with frames or without."""
    found = [path for path in sorted(HERE.glob("*.fs")) if NAME.fullmatch(path.name)]
    return [path for path in found if bool(NAME.fullmatch(path.name)["frames"]) == frames]


def python_of(path: Path) -> str:
    """The minor version of the Python that wrote the file."""
    return NAME.fullmatch(path.name)["python"]


def format_of(path: Path) -> int:
    """The format of its records."""
    return int(NAME.fullmatch(path.name)["format"])
