"""`pstore demo`: the travel agent is killed again and again; every booking comes out right.

This is the process that starts the agent (`agent.main`), kills it, and has the story told (`telling.Narrator`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pstore.tools.demo import DemoFailed, agent
from pstore.tools.demo.audit import audit
from pstore.tools.demo.children import PATIENCE, Child, Event
from pstore.tools.demo.plan import Instant, draw_instants
from pstore.tools.demo.telling import Narrator
from pstore.tools.terminal import Terminal

__all__ = ["SUMMARY", "demo"]

SUMMARY = (
    "A travel agent books six trips with a bank, a hotel and an airline; a trip is booked completely or not at all. "
    "The agent's process is killed with SIGKILL at random instants and started again, until all trips are done; then "
    "the ledgers of the three are checked."
)


def demo(terminal: Terminal, seed: int | None, kills: int, folder: str | None, keep: bool) -> int:
    """Run the demo; gives the exit code.

    Args:
        terminal: where the story goes.
        seed: decides trips, refusals and instants; None: drawn.
        kills: how often to kill at most.
        folder: where to keep store and ledgers, new or empty; None: a temporary folder.
        keep: whether to leave a temporary folder there.

    Raises:
        DemoFailed: the folder is in use for something else, or the agent failed by itself.
    """
    seed = random.randrange(10_000) if seed is None else seed
    with _folder(folder, keep) as path:
        narrator = Narrator(terminal, path, seed, kills)
        narrator.introduce()
        outcomes = _Hunt(narrator, path, seed, kills).run()
        good = narrator.conclude(audit(path, outcomes))
        if folder is not None or keep:
            terminal.line(f"store and ledgers are kept; look with: pstore ps {os.path.join(path, agent.STORE)}")
    return 0 if good else 1


@contextlib.contextmanager
def _folder(asked: str | None, keep: bool) -> Iterator[str]:
    if asked is not None:
        path = Path(asked)
        if path.exists() and not path.is_dir():
            raise DemoFailed(f"{asked} is not a folder")
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise DemoFailed(f"{asked} is not empty; name a new or an empty folder")
        yield asked
        return
    made = tempfile.mkdtemp(prefix="pstore-demo-")
    try:
        yield made
    finally:
        if not keep:
            shutil.rmtree(made, ignore_errors=True)


class _Hunt:
    """Starts the agent, and kills it at the instants that the seed says."""

    def __init__(self, narrator: Narrator, folder: str, seed: int, kills: int) -> None:
        self._narrator, self._folder, self._seed = narrator, folder, seed
        self._instants, self._while_undoing = draw_instants(seed, kills)
        self._sent: set[str] = set()
        self._outcomes: dict[str, str] | None = None

    def run(self) -> dict[str, str]:
        """Start the agent until it comes to its end; gives what each booking gave."""
        while self._outcomes is None:
            with Child("agent", self._folder, str(self._seed)) as child:
                instant = self._watch(child)
                if instant is None:
                    child.check()
                    continue
                child.kill()
                lasted = time.monotonic() - child.started
                for event in child.events():
                    self._take(child, event)
            if self._outcomes is None:
                self._narrator.tell_kill(instant, lasted)
        return self._outcomes

    def _watch(self, child: Child) -> Instant | None:
        """Follow a run until the moment to kill it, give the instant that asks for it; None: it came to its end."""
        instant = self._instants[0] if self._instants else None
        due = child.started + instant.delay if instant is not None and instant.event == "start" else None
        counted = 0
        while (event := self._next(child, due)) is not None:
            if not event:
                return self._used(instant)
            is_new = event.get("key") not in self._sent or event["event"] != "call"
            self._take(child, event)
            if event["event"] == "end":
                instant = due = None
            elif event["event"] == "open" and instant is not None and event["standing"]:
                # Where few bookings are left there are few requests.
                instant = dataclasses.replace(instant, nth=min(instant.nth, len(event["standing"])))
            elif self._while_undoing is not None and self._while_undoing.is_counted(event):
                # An opportunity that may not come again goes before the others.
                if instant is not self._while_undoing:
                    instant = self._while_undoing
                    due = time.monotonic() + instant.delay
            elif due is None and is_new and instant is not None and instant.is_counted(event):
                counted += 1
                due = time.monotonic() + instant.delay if counted == instant.nth else None
        return None

    def _next(self, child: Child, due: float | None) -> Event | None:
        """Give the next event; an empty one when `due` has come; None when the child has ended."""
        try:
            return child.event(PATIENCE if due is None else due - time.monotonic())
        except TimeoutError:
            if due is None:
                raise DemoFailed(f"the agent told nothing for {PATIENCE:.0f} seconds") from None
            return {}

    def _used(self, instant: Instant | None) -> Instant | None:
        if instant is self._while_undoing:
            self._while_undoing = None
        else:
            self._instants.popleft()
        return instant

    def _take(self, child: Child, event: Event) -> None:
        if event["event"] == "end":
            self._outcomes = event["outcomes"]
        elif event["event"] == "call":
            self._sent.add(event["key"])
        self._narrator.tell_event(event, time.monotonic() - child.started)
