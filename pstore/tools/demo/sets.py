"""`pstore demo set`: a loop over a set, where replaying a history of steps gives wrong values and no error.

One function, `price_all`, is run twice: by pstore, and by `Replay`, a small engine of the kind that most durable
execution is today.  Both are killed in the middle and go on in a process with another hash seed, in which a set of the
same strings has another order.  A replaying engine runs the function again from the top and hands out the recorded
results by position, so what was recorded for one city goes to another.  pstore resumes the loop where it stood.

DBOS 3.4, Restate 1.7 and Temporal's SDK 1.35 were measured to do so.  Their rules forbid such a loop; nothing notices
one.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pstore
from pstore.tools.demo import DemoFailed
from pstore.tools.demo.children import Child, tell
from pstore.tools.terminal import Terminal, columns

__all__ = ["PRICES", "SUMMARY", "Replay", "demo", "price_all", "run_durably", "run_replaying"]

SUMMARY = (
    "A function that loops over a set of strings is killed midway and recovered in a process with another hash seed, "
    "by pstore and, beside it, by a little engine that replays recorded results by position."
)

PRICES = {
    "Aarhus": 310, "Bergen": 420, "Cadiz": 190, "Dublin": 260,
    "Evora": 150, "Faro": 170, "Ghent": 280, "Haarlem": 330,
}  # fmt: skip
# Under these hash seeds the set of the cities has different orders.
SEEDS = ("1", "2")
KILLED_AT = 6


async def price_all(step: Callable[..., Awaitable[int]], cities: set[str]) -> dict[str, int]:
    """Ask for the price of each city."""
    prices = {}
    for city in cities:
        prices[city] = await step(ask_price, city)
    return prices


def ask_price(city: str) -> int:
    """Ask a service; it takes a while."""
    tell("ask", city=city)
    time.sleep(0.03)
    return PRICES[city]


class Replay:
    """Durable execution by replay, in its simplest honest form.

    The result of each step is recorded, in the order in which they are asked for, with the name of its function.
    After a crash the function runs again from the top; its first steps are not run but get the recorded results, by
    position.  As in the real engines the name is checked; arguments are not.
    """

    def __init__(self, path: str) -> None:
        self._path, self._position = Path(path), 0
        self._recorded = [json.loads(line) for line in self._lines()]

    def _lines(self) -> list[str]:
        return self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []

    async def step(self, fn: Callable[..., int], *args: Any) -> int:
        """Run a step, or give its recorded result."""
        position = self._position
        self._position += 1
        if position < len(self._recorded):
            record = self._recorded[position]
            if record["name"] != fn.__qualname__:
                raise RuntimeError(f"{record['name']} was recorded where {fn.__qualname__} is asked for")
            return int(record["result"])
        result = fn(*args)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"name": fn.__qualname__, "result": result}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        return result


def run_durably(path: str) -> None:
    """Run `price_all` on pstore; in a child process."""
    with pstore.open(path) as engine:
        task = engine.spawn_once("prices", price_all, pstore.step, set(PRICES))
        tell("end", prices=engine.run(task))


def run_replaying(path: str) -> None:
    """Run `price_all` on `Replay`; in a child process."""
    tell("end", prices=asyncio.run(price_all(Replay(path).step, set(PRICES))))


def demo(terminal: Terminal) -> int:
    """Run the demo; gives the exit code: 0 if pstore's values are right."""
    terminal.line(terminal.bold("A loop over a set, killed midway, recovered under another hash seed"))
    terminal.line()
    for text in inspect.getsource(price_all).splitlines():
        terminal.line(terminal.dim(f"    {text}"))
    terminal.line()
    with tempfile.TemporaryDirectory(prefix="pstore-demo-") as folder:
        ours = _killed_and_recovered(terminal, "pstore", "set-pstore", os.path.join(folder, "prices.fs"))
        theirs = _killed_and_recovered(terminal, "replay", "set-replay", os.path.join(folder, "history.jsonl"))
    return 0 if _compare(terminal, ours, theirs) else 1


def _killed_and_recovered(terminal: Terminal, name: str, role: str, path: str) -> dict[str, int]:
    before, _ = _run(role, path, SEEDS[0], KILLED_AT)
    terminal.line(f"  {name:<8}PYTHONHASHSEED={SEEDS[0]}  asks for {' '.join(before)}  {terminal.red('KILLED')}")
    after, prices = _run(role, path, SEEDS[1], None)
    terminal.line(f"  {'':<8}PYTHONHASHSEED={SEEDS[1]}  asks for {' '.join(after)}")
    if prices is None:
        raise DemoFailed(f"{name}: the process ended without a result")
    return prices


def _run(role: str, path: str, seed: str, killed_at: int | None) -> tuple[list[str], dict[str, int] | None]:
    """Run a child, kill it as it asks for the given number of cities; gives what it asked for, and its result."""
    asked: list[str] = []
    prices = None
    with Child(role, path, env={"PYTHONHASHSEED": seed}) as child:
        for event in child.events():
            if event["event"] == "end":
                prices = event["prices"]
            else:
                asked.append(event["city"])
            if len(asked) == killed_at:
                child.kill()
                return asked, None
        child.check()
    return asked, prices


def _compare(terminal: Terminal, ours: dict[str, int], theirs: dict[str, int]) -> bool:
    """Print the results side by side; tells whether ours are right."""
    rows = [("CITY", "PRICE", "PSTORE", "REPLAY BY POSITION")]
    for city, price in PRICES.items():
        rows.append((city, str(price), _cell(ours, city), _cell(theirs, city)))
    head, *lines = columns(rows)
    terminal.line()
    terminal.line(f"  {terminal.bold(head)}")
    for text in lines:
        terminal.line(f"  {text}")
    wrong, replay_wrong = _count_wrong(ours), _count_wrong(theirs)
    terminal.line()
    terminal.line(f"  pstore: {wrong} of {len(PRICES)} values wrong; replay: {replay_wrong}, and no error")
    good = wrong == 0
    right, not_right = terminal.green("OK: the loop went on where it stood"), terminal.red("WRONG values from pstore")
    terminal.line(f"  {right if good else not_right}")
    return good


def _cell(prices: dict[str, int], city: str) -> str:
    if city not in prices:
        return "missing  <- wrong"
    return f"{prices[city]}" if prices[city] == PRICES[city] else f"{prices[city]}  <- wrong"


def _count_wrong(prices: dict[str, int]) -> int:
    return sum(prices.get(city) != price for city, price in PRICES.items()) + len(prices.keys() - PRICES.keys())
