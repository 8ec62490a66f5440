"""The process that is killed: it opens the store, starts the bookings that are not there yet, and runs them."""

from __future__ import annotations

import os
from typing import Any

import pstore
from pstore.tools import inspect
from pstore.tools.demo.children import tell
from pstore.tools.demo.plan import draw_trips, make_services
from pstore.tools.demo.saga import book_trip
from pstore.tools.terminal import tidy

__all__ = ["STORE", "main", "standing"]

STORE = "agent.fs"


def main(folder: str, seed: str) -> None:
    """Run all bookings to their end."""
    with pstore.open(os.path.join(folder, STORE)) as engine:
        tell("open", standing=standing(engine))
        if "services" not in engine.root:
            engine.root["services"] = make_services(int(seed), folder)
        for trip in draw_trips(int(seed)):
            engine.spawn_once(trip.name, book_trip, trip, *engine.root["services"])
        engine.run()
        tell("end", outcomes={name: task.result() for name, task in engine.tasks.items()})


def standing(source: Any) -> dict[str, list[str]]:
    """Tell where each function stands that is not done: by task, its place and its locals; of a store or engine."""
    found = {}
    for task in inspect.tasks(source):
        if task.state in ("ready", "waiting"):
            frame = inspect.stack(source, task.id)[0]
            values = [f"{name}={tidy(value)}" for name, value in frame.locals.items()]
            found[task.id] = [f"{os.path.basename(frame.filename)}:{frame.line}", frame.source, *values]
    return found
