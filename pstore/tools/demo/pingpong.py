"""`pstore demo ping-pong`: two players whose program is stopped and started; they go on where they were.

Each run is a process of its own, and to stop it is to kill it: whatever the program knows, it knows from the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pstore
from pstore.errors import EngineError, NotAStore
from pstore.tools import inspect
from pstore.tools.demo import DemoFailed
from pstore.tools.demo.children import PATIENCE, Child, Event, tell
from pstore.tools.looking import opened
from pstore.tools.terminal import Terminal

__all__ = ["SUMMARY", "Pinger", "Ponger", "demo", "play"]

SUMMARY = (
    "Two players send each other numbered messages. ENTER stops their program (SIGKILL), ENTER starts it again in a "
    "new process: the numbers go on. With --auto it is stopped and started by itself, and the numbers are checked."
)
PLAYERS = {"pinger", "ponger"}

# Seconds that each player rests; with --auto; messages of a run then.
REST, SHORT_REST, MESSAGES = 1.0, 0.1, 5


class Pinger:
    """Rests, sends a PING, waits for the PONG, and so on."""

    def __init__(self, pings: asyncio.Queue[str], pongs: asyncio.Queue[str], rest: float) -> None:
        self.pings, self.pongs, self.rest, self.count = pings, pongs, rest, 0

    async def start(self) -> None:
        """Play for ever."""
        while True:
            await asyncio.sleep(self.rest)
            await self.pings.put(f"PING {self.count}")
            self.count += 1
            message = await self.pongs.get()
            await pstore.step(say, f"PINGER: {message}")


class Ponger:
    """Waits for a PING, rests, sends a PONG, and so on."""

    def __init__(self, pings: asyncio.Queue[str], pongs: asyncio.Queue[str], rest: float) -> None:
        self.pings, self.pongs, self.rest, self.count = pings, pongs, rest, 0

    async def start(self) -> None:
        """Play for ever."""
        while True:
            message = await self.pings.get()
            await pstore.step(say, f"PONGER: {message}")
            await asyncio.sleep(self.rest)
            await self.pongs.put(f"PONG {self.count}")
            self.count += 1


def say(text: str) -> None:
    """Print; the parent does it."""
    tell("say", text=text)


def play(path: str, rest: str) -> None:
    """Start the players, or let them go on; in a child process that runs until it is killed."""
    with pstore.open(path) as engine:
        if "pinger" not in engine.tasks:
            pings: asyncio.Queue[str] = asyncio.Queue()
            pongs: asyncio.Queue[str] = asyncio.Queue()
            engine.spawn_once("ponger", Ponger(pings, pongs, float(rest)).start)
            engine.spawn_once("pinger", Pinger(pings, pongs, float(rest)).start)
        engine.run()


def demo(terminal: Terminal, uri: str | None, auto: int | None) -> int:
    """Run the demo; gives the exit code.

    Args:
        terminal: where it is shown.
        uri: path of the store, new or of an earlier game; None: a temporary one.
        auto: how often to stop and start without being asked; None: with ENTER.

    Raises:
        DemoFailed: the store cannot be played on, or a player failed.
        PstoreError: it is not a store.
    """
    with _store(uri) as path:
        if auto is not None:
            return _play_by_itself(terminal, path, auto)
        with contextlib.suppress(KeyboardInterrupt):
            _play_with_enter(terminal, path)
        if uri is not None:
            terminal.line(f"the game is in {uri}; go on with: pstore demo ping-pong {uri}")
        return 0


@contextlib.contextmanager
def _store(uri: str | None) -> Iterator[str]:
    if uri is not None:
        _check(uri)
        yield uri
        return
    with tempfile.TemporaryDirectory(prefix="pstore-demo-") as folder:
        yield os.path.join(folder, "ping-pong.fs")


def _check(uri: str) -> None:
    """Refuse a store that is none, or that holds somebody's program, which would be run."""
    if uri.startswith("memory:"):
        raise DemoFailed("memory: does not outlive a process; name a file for ping-pong")
    path = Path(uri.removeprefix("file:"))
    if not path.exists() and not path.absolute().parent.is_dir():
        raise DemoFailed(f"{uri}: the folder that it should be in does not exist")
    try:
        with opened(uri) as store:
            tasks = {task.id for task in inspect.tasks(store)}
            others = [*sorted(tasks - PLAYERS), *store.root]
    except EngineError:
        raise DemoFailed(f"{uri} is a store without a game of ping-pong; name a new file") from None
    except NotAStore:
        if path.exists() and not (path.is_file() and path.stat().st_size == 0):  # an empty file is as good as none
            raise
        return
    if others or tasks != PLAYERS:
        raise DemoFailed(f"{uri} holds another program; name a new file for ping-pong")


# -- with ENTER


def _play_with_enter(terminal: Terminal, path: str) -> None:
    going_on = True
    while going_on:
        terminal.line(terminal.bold("PRESS ENTER TO STOP PING PONG APP"))
        with Child("ping-pong", path, str(REST)) as child:
            going_on = _show_until_enter(terminal, child)
        if going_on:
            terminal.line(terminal.bold("PRESS ENTER TO START PING PONG APP"))
            going_on = bool(_enter(None))


def _show_until_enter(terminal: Terminal, child: Child) -> bool:
    """Show what the players say until ENTER is pressed; False: there will be no more ENTER."""
    while True:
        with contextlib.suppress(TimeoutError):
            _show(terminal, child, child.event(0.05))
        pressed = _enter(0)
        if pressed is not None:
            return pressed


def _enter(timeout: float | None) -> bool | None:
    """Wait for ENTER, at most so many seconds: True; False: the input has ended; None: the time is over."""
    while select.select([0], [], [], timeout)[0]:
        typed = os.read(0, 1)
        if typed in (b"\n", b""):
            return bool(typed)
    return None


# -- by itself


def _play_by_itself(terminal: Terminal, path: str, stops: int) -> int:
    heard: list[str] = []
    for run in range(stops + 1):
        with Child("ping-pong", path, str(SHORT_REST)) as child:
            heard += [_show(terminal, child, _wait(child)) for _ in range(MESSAGES)]
            time.sleep(SHORT_REST / 2)  # mostly between two messages, so that few are said twice
        stopped = f"STOPPED PING PONG APP (SIGKILL){', STARTING IT AGAIN' if run < stops else ''}"
        terminal.line(terminal.bold(stopped))
    return _judge(terminal, heard, stops)


def _wait(child: Child) -> Event | None:
    try:
        return child.event()
    except TimeoutError:
        raise DemoFailed(f"the players said nothing for {PATIENCE:.0f} seconds") from None


def _show(terminal: Terminal, child: Child, event: Event | None) -> str:
    if event is None:
        child.check()
        raise DemoFailed("the players ended by themselves")
    terminal.line(event["text"])
    return str(event["text"])


def _judge(terminal: Terminal, heard: list[str], stops: int) -> int:
    """Check that no number is missing; one may come twice, as saying is a step, which is done at least once."""
    good, spans = True, []
    for player in ("PONGER: PING", "PINGER: PONG"):
        numbers = [int(text.removeprefix(player)) for text in heard if text.startswith(player)]
        good = good and all(after - before in (0, 1) for before, after in pairwise(numbers))
        if numbers:
            spans.append(f"{player.split()[1]} {numbers[0]} to {numbers[-1]}")
    result = "no number is missing" if good else "numbers are MISSING"
    times = "once" if stops == 1 else f"{stops} times"
    line = f"stopped and started {times}; {', '.join(spans)}: {result}"
    terminal.line(terminal.green(line) if good else terminal.red(line))
    return 0 if good else 1
