"""Durable programs that older versions of pstore left off in the middle: small stores, one for each Python and engine.

Owns the files and how they are made.  ``engine-<E>-<X.Y>.fs.xz`` was written by the Python X.Y, which alone reads it, and

    engine 0    the first: loop, tasks, timers and steps are nodes of clusters; no services, no options of steps
    engine 1    with services (messages, letters, tags, schedules) and options; tasks and all are still in clusters
    engine 2    each task has a record of its own, in format 3
    engine 3    in format 5: the objects of a wait are not in it

``engine-<E>.txt`` is what the program has to come to: what the version came to that wrote the files.  They are written
once, by the last version that has such an engine, and never again; nothing is replaced:

    python -m tests.engine.golden write 1       # with each Python, in a work tree of that version

``basis`` and ``program`` are what is stored; nothing in them may ever be renamed or changed, since the files refer to it.
"""

from __future__ import annotations

import lzma
import re
from pathlib import Path

HERE = Path(__file__).parent
NAME = re.compile(r"engine-(?P<engine>\d+)-(?P<python>\d\.\d+)\.fs\.xz")


def files() -> list[Path]:
    """The golden files."""
    return [path for path in sorted(HERE.glob("*.fs.xz")) if NAME.fullmatch(path.name)]


def engine_of(path: Path) -> int:
    """The engine that wrote the file."""
    return int(NAME.fullmatch(path.name)["engine"])


def python_of(path: Path) -> str:
    """The minor version of the Python that wrote the file."""
    return NAME.fullmatch(path.name)["python"]


def end_of(engine: int, folder: Path = HERE) -> Path:
    """What the program of that engine comes to."""
    return folder / f"engine-{engine}.txt"


def unpacked(path: Path, to: Path) -> Path:
    """A copy of a file that can be opened."""
    to.write_bytes(lzma.decompress(path.read_bytes()))
    return to
