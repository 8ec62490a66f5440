"""What a corpus program sees of the harness: the log, the registry of cases and the exceptions used on both sides.

A case is a generator function or a coroutine function without arguments.  Driven with ``send(100 + i)`` at its
i-th suspension it has to give the same yields, emits and result wherever it was carried to another process.
No case may depend on hash order, time, ids or addresses.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Case:
    """One program: where it belongs and how to make a fresh root of it."""

    name: str
    group: str
    make: Callable[[], Any]


LOG: list[list[Any]] = []
"""What happened in this process, in order, as [kind, what]."""

CASES: dict[str, Case] = {}
NO_SENDS: set[str] = set()

_state = {"group": "", "muted": False}


class Ping(Exception):
    """Thrown in from outside, by the harness only."""


class Fault(Exception):
    """Raised by the programs themselves."""


def log(kind: str, what: Any) -> None:
    """Add an event, unless a replay is going on."""
    if not _state["muted"]:
        LOG.append([kind, what])


def mute(on: bool) -> None:
    """Switch logging off while a replay repeats what was logged before."""
    _state["muted"] = on


def emit(*what: Any) -> None:
    """A side effect visible from outside; it belongs to the process and is never restored."""
    log("e", repr(what[0] if len(what) == 1 else what))


def group(name: str) -> None:
    """Put the cases that follow into a group."""
    _state["group"] = name


def case(fn: F) -> F:
    """Register a program under its function's name."""
    name = fn.__name__
    if name in CASES:
        raise ValueError(f"two cases are called {name}")
    CASES[name] = Case(name, str(_state["group"]), fn)
    return fn


def unsent(fn: F) -> F:
    """Mark a program that is resumed with send(None) throughout: what it waits for is a plain iterator."""
    NO_SENDS.add(fn.__name__)
    return fn


def durable(fn: F) -> F:
    """Kept for corpora written for libraries that need a decorator: pstore needs none."""
    return fn


durable_method = durable


def load_corpus(path: str | None = None) -> None:
    """Fill the registry, from the package's own corpus or from one file written for a module called ``kit``."""
    if path is not None:
        file = Path(path)
        sys.modules["kit"] = sys.modules[__name__]
        sys.path.insert(0, str(file.parent))
        importlib.import_module(file.stem)
        return
    package = importlib.import_module("tests.frames.corpus")
    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
        # a name ending in _py312 holds syntax or library that older versions lack
        gate = re.search(r"_py(\d)(\d+)$", module)
        if gate is None or sys.version_info >= (int(gate[1]), int(gate[2])):
            importlib.import_module(f"tests.frames.corpus.{module}")
