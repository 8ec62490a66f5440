"""`pstore ps` and `pstore show`: what `pstore.tools.inspect` tells, as text."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from pstore import _engine as engine
from pstore._store.store import Store
from pstore.tools import inspect
from pstore.tools.inspect import FrameInfo, TaskInfo
from pstore.tools.looking import opened
from pstore.tools.terminal import Terminal, clip, columns, tidy

__all__ = ["place", "ps", "short_path", "show"]

_ASYNCIO = os.path.dirname(asyncio.__file__) + os.sep
_ENGINE = os.path.dirname(engine.__file__) + os.sep  # on top of the traceback of every task that failed
_KEY = re.compile(r" \[[0-9a-f]{16}\.\d+\]")
_PLACE = re.compile(r"(?P<function>.*\(\)) at (?P<filename>.*):(?P<line>\d+)", re.DOTALL)


def ps(terminal: Terminal, uri: str) -> int:
    """List the tasks of a store.  Raises: see `opened`."""
    with opened(uri) as store:
        found = inspect.tasks(store)
        rows = [(task.id, task.state, _stands(task), _KEY.sub("", _waits(store, task))) for task in found]
    if not rows:
        terminal.line("no tasks")
        return 0
    head, *lines = columns([("TASK", "STATE", "WHERE", "WAITS FOR"), *rows])
    terminal.line(terminal.bold(head))
    for line in lines:
        terminal.line(terminal.fit(line))
    return 0


def show(terminal: Terminal, uri: str, task_id: str) -> int:
    """Show the await stack of a task.

    Raises:
        UnknownTask: there is no such task.
        Other errors: see `opened`.
    """
    with opened(uri) as store:
        frames = [frame for frame in inspect.stack(store, task_id) if not frame.filename.startswith(_ENGINE)]
        task = next(task for task in inspect.tasks(store) if task.id == task_id)
        waits_for = _waits(store, task)
    waits = f" for {tidy(waits_for)}" if waits_for else ""
    outcome = f": {tidy(task.where)}" if task.state in ("finished", "failed") else ""
    terminal.line(terminal.fit(f"task {task.id}, {task.function}(): {task.state}{waits}{outcome}"))
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
