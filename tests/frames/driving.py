# ruff: noqa: BLE001 - whatever a program raises is an outcome to compare
"""How a root is driven and what is written down of it: the only rules both sides of a transfer share.

Everything here runs inside the process that owns the root; results are plain lists, dicts and strings.
"""

from __future__ import annotations

import gc
import os
from typing import Any

from tests.frames import kit

LIMIT = 200  # suspension points at most
DEPTH = 6  # how far cause and context are followed
_own_folder = os.path.dirname(os.path.abspath(__file__))
_own_files = {os.path.join(_own_folder, name) for name in ("driving.py", "servers.py", "adapters.py", "harness.py")}


def traceback_of(error: BaseException) -> list[list[Any]]:
    """(function, line) of every frame but the harness's own."""
    lines, tb = [], error.__traceback__
    while tb is not None:
        code = tb.tb_frame.f_code
        if code.co_filename not in _own_files:
            lines.append([code.co_name, tb.tb_lineno])
        tb = tb.tb_next
    return lines


def describe(error: BaseException | None, depth: int = 0) -> dict[str, Any] | None:
    """An exception as comparable data, with its notes, members, chain and tracebacks."""
    if error is None:
        return None
    out: dict[str, Any] = {"type": type(error).__name__, "args": repr(error.args)}
    if getattr(error, "__notes__", None):
        out["notes"] = list(error.__notes__)
    if isinstance(error, BaseExceptionGroup):
        out["args"] = repr(error.message)
        out["group"] = [describe(member, depth + 1) for member in error.exceptions]
    out["tb"] = traceback_of(error)
    if depth < DEPTH:
        chain = describe(error.__cause__, depth + 1), describe(error.__context__, depth + 1)
        out["chain"] = [*chain, error.__suppress_context__]
    return out


def step(root: Any, how: str, argument: Any = None) -> bool:
    """Resume once and log the outcome; True while the root is suspended.

    At the end, what the frames left behind in cycles is collected, so that a finaliser's emits have a fixed place.
    """
    alive = _resume(root, how, argument)
    if not alive:
        gc.collect()
    return alive


def _resume(root: Any, how: str, argument: Any) -> bool:
    try:
        value = root.throw(argument) if how == "throw" else root.send(argument)
    except StopIteration as stop:
        kit.log("r", repr(stop.value))
        return False
    except BaseException as error:
        kit.log("x", describe(error))
        error.__traceback__ = None
        return False
    kit.log("y", repr(value))
    return True


def value_for(k: int, unsent: bool) -> int | None:
    """What is sent into a root suspended at point k."""
    return None if k < 0 or unsent else 100 + k


def finish(root: Any, k: int, unsent: bool) -> None:
    """Drive from point k to the end."""
    while step(root, "send", value_for(k, unsent)):
        k += 1
        if k > LIMIT:
            kit.log("!", "too many steps")
            return


def go_on(root: Any, mode: str, k: int, unsent: bool) -> None:
    """Leave point k in one of the ways that end the run."""
    if mode == "throw":
        if step(root, "throw", kit.Ping(f"at {k}")):
            finish(root, k + 1, unsent)
        gc.collect()  # the exception thrown in is free only now
    elif mode == "close":
        try:
            root.close()
        except BaseException as error:
            kit.log("x", describe(error))
        else:
            kit.log("c", "closed")
        gc.collect()
    else:
        finish(root, k, unsent)
