"""`pstore ps` and `pstore show`: what `pstore.tools.inspect` tells, as text."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from dataclasses import asdict
from pathlib import Path

from pstore import _engine as engine
from pstore._store.store import Store
from pstore.tools import inspect
from pstore.tools.inspect import FrameInfo, TaskInfo
from pstore.tools.looking import opened
from pstore.tools.terminal import Terminal, clip, columns, tidy

__all__ = ["age", "place", "ps", "short_path", "show"]

_ASYNCIO = os.path.dirname(asyncio.__file__) + os.sep
_ENGINE = os.path.dirname(engine.__file__) + os.sep  # on top of the traceback of every task that failed
_KEY = re.compile(r" \[[0-9a-f]{16}(\.\d+)+\]")
_PLACE = re.compile(r"(?P<function>.*\(\)) at (?P<filename>.*):(?P<line>\d+)", re.DOTALL)


def ps(terminal: Terminal, uri: str, *, as_json: bool = False) -> int:
    """List the tasks of a store: id, state, since when, where suspended, what for, and the line of source.

    Args:
        terminal: where to.
        uri: the store.
        as_json: one JSON object a line, for programs: the fields of `pstore.tools.inspect.TaskInfo`, nothing clipped.

    Raises: see `opened`.
    """
    with opened(uri) as store:
        found = inspect.tasks(store)
        if as_json:
            for task in found:
                terminal.line(json.dumps(asdict(task)))
            return 0
        now = time.time()
        rows = [
            (task.id, task.state, age(now, task.since), _stands(task), _KEY.sub("", _waits(store, task)))
            for task in found
        ]
    if not rows:
        terminal.line("no tasks")
        return 0
    head, *lines = columns([("TASK", "STATE", "AGE", "WHERE", "WAITS FOR"), *rows])
    terminal.line(terminal.bold(head))
    for line, task in zip(lines, found, strict=True):
        terminal.line(terminal.fit(line))
        if task.source:
            terminal.line(terminal.dim(terminal.fit(f"    {task.source}")))
    return 0


_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def age(now: float, since: float) -> str:
    """Tell how long ago a moment was, in its two largest units: ``3 d 4 h``; empty if it is not known.

    >>> age(100_000.0, 10_000.0), age(100.0, 99.5), age(100.0, 0.0), age(3700.0, 40.0)
    ('1 d 1 h', '0 s', '', '1 h 1 min')
    """
    if not since:
        return ""
    left = max(0, int(now - since))
    parts: list[str] = []
    for seconds, unit in _UNITS:
        count, left = divmod(left, seconds)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 ")) or "0 s"


def show(terminal: Terminal, uri: str, task_id: str) -> int:
    """Show the await stack of a task.

    Raises:
        UnknownTask: there is no such task.
        Other errors: see `opened`.
    """
    with opened(uri) as store:
        frames = [frame for frame in inspect.stack(store, task_id) if not frame.filename.startswith(_ENGINE)]
        task = inspect.task(store, task_id)
        waits_for = _waits(store, task)
    waits = f" for {tidy(waits_for)}" if waits_for else ""
    outcome = f": {tidy(task.where)}" if task.state in ("finished", "failed") else ""
    passed = f" {age(time.time(), task.since)}" if task.state in ("waiting", "ready") and task.since else ""
    terminal.line(terminal.fit(f"task {task.id}, {task.function}(): {task.state}{passed}{waits}{outcome}"))
    for depth, frame in enumerate(frames):
        _show_frame(terminal, depth, frame)
    return 0


def place(frame: FrameInfo) -> str:
    """Name the place of a frame: ``shop.py:12``."""
    return f"{short_path(frame.filename)}:{frame.line}"


def short_path(filename: str) -> str:
    """Give a path relative to the current folder if it is in there, else as it is."""
    path = Path(filename)
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return filename


def _show_frame(terminal: Terminal, depth: int, frame: FrameInfo) -> None:
    terminal.line(f"\n{depth:>3}  {terminal.bold(place(frame))} in {frame.function}()")
    if frame.source:
        terminal.line(f"       {clip(frame.source, terminal.width - 7)}")
    width = max((len(name) for name in frame.locals), default=0)
    for name, value in frame.locals.items():
        terminal.line(terminal.dim(clip(f"         {name:<{width}} = {tidy(value)}", terminal.width)))


def _stands(task: TaskInfo) -> str:
    """Give ``shop.py:12 order()``; for a task that is done what it gave."""
    match = _PLACE.fullmatch(task.where)
    if task.state not in ("waiting", "ready") or match is None:
        return tidy(task.where)
    return f"{short_path(match['filename'])}:{match['line']} {match['function']}"


def _waits(store: Store, task: TaskInfo) -> str:
    """Tell what a task waits for; where it awaits something of asyncio's, which function of it that is."""
    text = task.waits_for
    if not text or text.startswith(("step ", "task ")):
        return tidy(text)
    theirs = [frame for frame in inspect.stack(store, task.id) if frame.filename.startswith(_ASYNCIO)]
    if not theirs:
        return text
    delay = theirs[0].locals.get("delay", "") if theirs[0].function == "sleep" else ""
    return f"asyncio {theirs[0].function}({delay})"
