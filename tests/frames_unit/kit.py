"""What the unit tests of reducers share: a pickler that asks the tables, and comparing two iterators to their ends."""

from __future__ import annotations

import importlib
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TABLES: dict[type, Callable[[Any], Any]] = {}
for _module in ("iterators", "itertool", "views"):
    try:
        TABLES.update(importlib.import_module(f"pstore._frames.{_module}").REDUCERS)
    except ModuleNotFoundError as error:
        if error.name != f"pstore._frames.{_module}":
            raise


class Pickler(pickle.Pickler):
    """Plain pickle, protocol 5, with the tables."""

    def reducer_override(self, obj: Any) -> Any:
        reduce = TABLES.get(type(obj))
        return NotImplemented if reduce is None else reduce(obj)


def dumps(obj: Any) -> bytes:
    buffer = io.BytesIO()
    Pickler(buffer, 5).dump(obj)
    return buffer.getvalue()


def copied(obj: Any) -> Any:
    return pickle.loads(dumps(obj))


def drain(iterator: Iterator[Any], limit: int = 60) -> list[Any]:
    """Items up to the end or `limit`; an error ends it and is the last item, and what comes after it is looked at."""
    items: list[Any] = []
    for _ in range(limit):
        try:
            items.append(next(iterator))
        except StopIteration:
            items.append("end")
            break
        except Exception as error:
            items.append((type(error), error.args))
            if len(items) > 1 and items[-1] == items[-2]:
                break
    return items


def advanced(iterator: Any, steps: int) -> Any:
    for _ in range(steps):
        try:
            next(iterator)
        except Exception:
            pass
    return iterator


def check(make: Callable[[], Any], steps: int, show: Callable[[Any], Any] = lambda item: item) -> None:
    """The copy, the copy's copy and the original go on alike, each on its own, and as one that was never stored."""
    expected = show(drain(advanced(make(), steps)))
    original = advanced(make(), steps)
    data = dumps(original)
    copy = pickle.loads(data)
    again = copied(copy)
    third = copied(advanced(pickle.loads(data), 1))
    assert show(drain(copy)) == expected
    assert show(drain(again)) == expected
    assert show(drain(third)) == show(drain(advanced(make(), steps + 1)))
    assert show(drain(original)) == expected


def fresh(data: bytes, expression: str, seed: int) -> str:
    """Load `data` as `it` in a new process under another hash seed; what `expression` prints there."""
    root = Path(__file__).parents[2]
    program = (
        "import sys, pickle; sys.path.insert(0, sys.argv[1])\n"
        "from tests.frames_unit.kit import *\n"
        "it = pickle.loads(sys.stdin.buffer.read())\n"
        f"print({expression})"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(root)],
        input=data,
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
    )
    return result.stdout.decode().strip()
