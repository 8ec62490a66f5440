"""The check of the three ledgers against each other and against what the bookings gave.

For each booking exactly one of two is true:

    booked      funds were reserved, a room and a seat booked, the funds deducted, each once, and nothing undone
    released    everything that was done was undone, once, last things first, and nothing was deducted

Rule: only the ledgers count, and what the functions returned; nothing that the processes told on their way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pstore.tools.demo.services import Entry, read_ledger

__all__ = ["Finding", "audit"]

MAKING = (("bank", "reserve"), ("hotel", "book"), ("airline", "book"))
UNDO = {"bank": "release", "hotel": "cancel", "airline": "cancel"}


@dataclass(frozen=True)
class Finding:
    """What the ledgers say of one booking.

    Attributes:
        outcome: what its function returned.
        services: for bank, hotel and airline what there is in the end.
        faults: what is wrong; empty if all is well.
    """

    booking: str
    outcome: str
    services: tuple[str, str, str]
    faults: tuple[str, ...]


def audit(folder: str | Path, outcomes: Mapping[str, str]) -> list[Finding]:
    """Check every booking, those that are in a ledger but gave no outcome too."""
    ledgers = {service: read_ledger(folder, service) for service, _ in MAKING}
    done = [
        {**entry, "service": service}
        for service, entries in ledgers.items()
        for entry in entries
        if entry["outcome"] == "done"
    ]
    known = [*outcomes, *sorted({entry["booking"] for entry in done} - outcomes.keys())]
    return [_examine(name, outcomes.get(name, "no outcome"), _of(done, name)) for name in known]


def _of(done: list[Entry], booking: str) -> list[Entry]:
    return sorted((entry for entry in done if entry["booking"] == booking), key=lambda entry: float(entry["at"]))


def _examine(booking: str, outcome: str, done: list[Entry]) -> Finding:
    if outcome == "booked":
        faults = _faults_of_booked(done)
    elif outcome.startswith("released"):
        faults = _faults_of_released(done)
    else:
        faults = [outcome]
    faults += _repetitions(done)
    bank, hotel, airline = (_summary(service, done) for service, _ in MAKING)
    return Finding(booking, outcome, (bank, hotel, airline), tuple(faults))


def _repetitions(done: list[Entry]) -> list[str]:
    counts = Counter((entry["service"], entry["action"]) for entry in done)
    return [f"{service}: {action} {count} times" for (service, action), count in counts.items() if count > 1]


def _faults_of_booked(done: list[Entry]) -> list[str]:
    acts = {(entry["service"], entry["action"]) for entry in done}
    wanted = {*MAKING, ("bank", "deduct")}
    missing = [f"{service}: no {action}" for service, action in sorted(wanted - acts)]
    return missing + [f"{service}: {action} though it is booked" for service, action in sorted(acts - wanted)]


def _faults_of_released(done: list[Entry]) -> list[str]:
    faults = ["bank: deducted though it is released"] if _pick(done, "bank", "deduct") else []
    made = [entry for entry in done if (entry["service"], entry["action"]) in MAKING]
    undone = [entry for entry in done if entry["action"] == UNDO[entry["service"]]]
    ended = {(entry["service"], entry["of"]) for entry in undone}
    left = [entry for entry in made if (entry["service"], entry["id"]) not in ended]
    faults += [f"{entry['service']}: {entry['id']} is left over" for entry in left]
    if [entry["service"] for entry in undone] != [entry["service"] for entry in reversed(made)]:
        faults.append("not undone in reverse order")
    return faults


def _pick(done: list[Entry], service: str, action: str) -> list[Entry]:
    return [entry for entry in done if (entry["service"], entry["action"]) == (service, action)]


def _summary(service: str, done: list[Entry]) -> str:
    """Tell in a word or two what there is at a service in the end."""
    undone = _pick(done, service, UNDO[service])
    if service == "bank":
        reserved, deducted = _pick(done, "bank", "reserve"), _pick(done, "bank", "deduct")
        if deducted:
            return " + ".join(f"{_amount(reserved, entry)} deducted" for entry in deducted)
        return "released" if undone else "reserved" if reserved else "-"
    booked = _pick(done, service, "book")
    word = "cancelled" if undone else "booked"
    return f"{' + '.join(entry['id'] for entry in booked)} {word}" if booked else "-"


def _amount(reserved: list[Entry], deducted: Entry) -> str:
    amounts = [int(entry["amount"]) for entry in reserved if entry["id"] == deducted["of"]]
    return f"{sum(amounts):,}"
