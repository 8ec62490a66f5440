"""What the seed decides: the trips, what the services refuse, and when the agent is killed."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass

from pstore.tools.demo.children import Event
from pstore.tools.demo.services import Airline, Bank, Hotel, Trip

__all__ = ["UNDOING", "Instant", "draw_instants", "draw_trips", "make_services"]

NAMES = ("ava", "ben", "cleo", "dan", "eva", "finn")
CITIES = ("Athens", "Kyoto", "Lima", "Lisbon", "Oslo", "Rome")
REFUSALS = {
    "bank reserve": "insufficient funds",
    "hotel book": "no room left",
    "airline book": "no seat left",
    "bank deduct": "card was blocked meanwhile",
}
UNDOING = {"release", "cancel"}
MOST_AT_REQUESTS = 12


def draw_trips(seed: int) -> list[Trip]:
    """Draw what the customers want."""
    chance = random.Random(f"{seed} trips")
    cities = chance.sample(CITIES, len(NAMES))
    return [
        Trip(name, city, chance.randrange(400, 2000, 10), round(chance.uniform(0.05, 0.5), 2))
        for name, city in zip(NAMES, cities, strict=True)
    ]


def make_services(seed: int, folder: str) -> tuple[Bank, Hotel, Airline]:
    """Make the three companies, and draw whom they will refuse, and when they are busy.

    Of six bookings two or three fail; one at least after a room was booked, so that there is something to undo.
    """
    chance = random.Random(f"{seed} services")
    first, second, third = chance.sample(NAMES, 3)
    refused = {first: "airline book", second: chance.choice(list(REFUSALS))}
    if chance.random() < 0.5:
        refused[third] = chance.choice(list(REFUSALS))
    refusals: dict[str, dict[str, str]] = {"bank": {}, "hotel": {}, "airline": {}}
    for name, where in refused.items():
        service, action = where.split()
        refusals[service][f"{action} {name}"] = REFUSALS[where]
    rushes = {
        "bank": {f"deduct {chance.choice(NAMES)}": 1},
        "hotel": {f"book {chance.choice(NAMES)}": 2, f"cancel {first}": 1},
        "airline": {f"book {chance.choice(NAMES)}": 1},
    }
    bank = Bank(folder, seed, refusals["bank"], rushes["bank"])
    hotel = Hotel(folder, seed, refusals["hotel"], rushes["hotel"])
    return bank, hotel, Airline(folder, seed, refusals["airline"], rushes["airline"])


@dataclass(frozen=True)
class Instant:
    """When a run of the agent is killed: `delay` seconds after the `nth` event of a kind in that run.

    Attributes:
        event: ``call``: a request goes out that no run before has sent; ``entry``: a service has a request in its
            ledger, the answer is on its way; ``undo``: a request goes out that undoes something; ``start``: the
            process was started.
    """

    event: str
    nth: int
    delay: float

    def is_counted(self, event: Event) -> bool:
        """Tell whether an event of the agent is of the kind that is counted."""
        if self.event == "undo":
            return event["event"] == "call" and event["action"] in UNDOING
        return bool(event["event"] == self.event)

    def __str__(self) -> str:
        what = {
            "call": f"new request {self.nth} went out",
            "entry": f"ledger entry {self.nth} was made",
            "undo": "the first undoing began",
            "start": "the process was started",
        }
        return f"{self.delay * 1000:.0f} ms after {what[self.event]}"


def draw_instants(seed: int, kills: int) -> tuple[deque[Instant], Instant | None]:
    """Draw the instants of the kills: those that follow each other, and one for when something is being undone.

    The latter is kept for the first opportunity, whenever that comes; None if there are no kills.
    """
    chance = random.Random(f"{seed} kills")
    # There are about thirty requests in all: most kills wait for one of them, when there are many kills some don't.
    deck = ["entry", "entry", "call", "call", "start"]
    kinds = [kind for _ in range(kills // len(deck) + 1) for kind in chance.sample(deck, len(deck))]
    kinds = ["start" if place >= MOST_AT_REQUESTS else kind for place, kind in enumerate(kinds)]
    farthest = max(1, min(5, 24 // max(1, kills)))
    instants = deque(_draw_instant(chance, kind, farthest) for kind in kinds[: max(0, kills - 1)])
    return instants, Instant("undo", 1, round(chance.uniform(0, 0.2), 3)) if kills else None


def _draw_instant(chance: random.Random, kind: str, farthest: int) -> Instant:
    if kind == "start":
        return Instant(kind, 1, round(chance.uniform(0.05, 1.2), 3))
    return Instant(kind, chance.randint(1, farthest), round(chance.uniform(0, 0.1 if kind == "call" else 0.02), 3))
