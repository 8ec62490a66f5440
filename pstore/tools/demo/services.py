"""A bank, a hotel and an airline, each with a ledger in a file.

They stand for three companies: nothing binds them together, a call takes a while, is refused or has to wait for
better times, and the caller may die at any moment of it.

A call, as the caller's process sees it::

    call        the request is on its way     killed here: nothing is in the ledger
    entry       it is in the ledger
    answer      the answer is on its way      killed here: it is done, but the caller does not know

Rules: a ledger is replaced as a whole (written beside, fsync, rename, fsync of the folder), so it is never torn; a call
with a key (`pstore.step_key`) that is in the ledger gets the answer that it got then, and nothing is done; calls with
different keys are all done, however absurd: it is for the audit to find that out.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pstore
from pstore.tools.demo.children import tell

__all__ = ["Airline", "Bank", "Busy", "Declined", "Entry", "Hotel", "Service", "Trip", "read_ledger"]

Entry = dict[str, Any]

# How long a request and its answer are on their way, in seconds: drawn from this range.
REQUEST = (0.02, 0.3)
ANSWER = (0.02, 0.1)


class Declined(Exception):
    """The service says no.  Nothing was done."""


class Busy(Exception):
    """The service cannot answer now.  Nothing was done; ask again."""


@dataclass(repr=False)
class Trip:
    """What a customer wants.

    Attributes:
        name: of the customer, and so of the booking.
        price: in whole euros.
        doubts: seconds that the customer thinks about it when there is a room.
    """

    name: str
    city: str
    price: int
    doubts: float

    def __repr__(self) -> str:
        return f"<{self.name} to {self.city}>"


class Service:
    """A company; its object is a part of the program, and is stored with it.

    Args:
        folder: where its ledger is.
        seed: of the times that calls take.
        refusals: ``"action booking"`` -> why it is declined.
        rushes: ``"action booking"`` -> how often it is busy first.
    """

    name = "service"

    def __init__(self, folder: str, seed: int, refusals: dict[str, str], rushes: dict[str, int]) -> None:
        self.folder, self.seed = folder, seed
        self.refusals, self.rushes = refusals, rushes

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def _serve(self, action: str, booking: str, **details: Any) -> str:
        """Answer the call of the running step: its id in the ledger, Declined or Busy."""
        key = pstore.step_key()
        told = {"service": self.name, "action": action, "booking": booking, "key": key}
        pace = random.Random(f"{self.seed} {self.name} {action} {booking}")
        tell("call", **told)
        time.sleep(pace.uniform(*REQUEST))
        with self._locked():
            entry = self._answer_of(key)
            repeated = entry is not None
            if entry is None:
                entry = self._decide(key, action, booking, details)
        tell("entry", **told, **_answer(entry), repeated=repeated)
        time.sleep(pace.uniform(*ANSWER))
        if entry["outcome"] == "busy":
            raise Busy(f"{self.name} is busy")
        if entry["outcome"] == "declined":
            raise Declined(f"{self.name}: {entry['reason']}")
        return str(entry["id"])

    def _answer_of(self, key: str) -> Entry | None:
        """Give the entry of a call that was answered before; to be busy is no answer."""
        entries = read_ledger(self.folder, self.name)
        return next((entry for entry in entries if entry["key"] == key and entry["outcome"] != "busy"), None)

    def _decide(self, key: str, action: str, booking: str, details: Entry) -> Entry:
        entries = read_ledger(self.folder, self.name)
        entry: Entry = {"key": key, "at": time.time(), "action": action, "booking": booking, **details}
        fate = f"{action} {booking}"
        rushes = sum(1 for other in entries if other["key"] == key)
        if rushes < self.rushes.get(fate, 0):
            entry["outcome"] = "busy"
        elif fate in self.refusals:
            entry |= {"outcome": "declined", "reason": self.refusals[fate]}
        else:
            entry |= {"outcome": "done", "id": f"{self.name[0].upper()}{len(entries) + 1}"}
        _write(_path(self.folder, self.name), [*entries, entry])
        return entry

    def _booking_of(self, made: str) -> str:
        """Tell which booking something belongs to that was made here before."""
        entries = read_ledger(self.folder, self.name)
        return next((str(entry["booking"]) for entry in entries if entry.get("id") == made), "unknown")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other threads and processes out; the system takes the lock back from a process that is killed."""
        with open(_path(self.folder, self.name).with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class Bank(Service):
    """Reserves and deducts funds."""

    name = "bank"

    def reserve(self, trip: Trip) -> str:
        """Set the price aside; gives the id of the reservation."""
        return self._serve("reserve", trip.name, amount=trip.price)

    def deduct(self, reservation: str) -> str:
        """Take what was reserved; the reservation ends."""
        return self._serve("deduct", self._booking_of(reservation), of=reservation)

    def release(self, reservation: str) -> str:
        """Give back what was reserved."""
        return self._serve("release", self._booking_of(reservation), of=reservation)


class _Seller(Service):
    def book(self, trip: Trip) -> str:
        """Book; gives an id."""
        return self._serve("book", trip.name, city=trip.city)

    def cancel(self, booked: str) -> str:
        """Give up what was booked."""
        return self._serve("cancel", self._booking_of(booked), of=booked)


class Hotel(_Seller):
    """Books rooms."""

    name = "hotel"


class Airline(_Seller):
    """Books seats."""

    name = "airline"


def read_ledger(folder: str | Path, name: str) -> list[Entry]:
    """Give the entries of a ledger, in the order in which they were made."""
    try:
        entries: list[Entry] = json.loads(_path(folder, name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return entries


def _path(folder: str | Path, name: str) -> Path:
    return Path(folder, f"{name}.json")


def _write(path: Path, entries: list[Entry]) -> None:
    beside = path.with_suffix(".new")
    with beside.open("w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n")
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _answer(entry: Entry) -> Entry:
    return {name: entry[name] for name in ("outcome", "id", "reason", "amount", "city", "of") if name in entry}
