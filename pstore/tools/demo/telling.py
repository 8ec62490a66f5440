"""The story of `pstore demo`, as it goes on.

Rule: what is said about where a function stood is read from the store while no agent lives; what is said about where it
goes on is what the next agent tells.
"""

from __future__ import annotations

import inspect
import platform
import re
import textwrap

from pstore.errors import EngineError, NotAStore
from pstore.tools.demo import agent
from pstore.tools.demo.audit import Finding
from pstore.tools.demo.children import Event
from pstore.tools.demo.plan import UNDOING, Instant
from pstore.tools.demo.saga import book_trip
from pstore.tools.demo.services import read_ledger
from pstore.tools.inspect import look, tasks
from pstore.tools.terminal import Terminal, clip, columns

__all__ = ["Narrator"]

SERVICES = ("bank", "hotel", "airline")
_KEY = re.compile(r"\[([0-9a-f]+\.\d+)\]")
_HIDDEN = tuple(f"{service}=" for service in SERVICES)
_PHRASES = {
    ("bank", "reserve"): "reserves {amount:,} euros",
    ("bank", "deduct"): "deducts what {of} reserved",
    ("bank", "release"): "releases {of}",
    ("hotel", "book"): "books a room in {city}",
    ("hotel", "cancel"): "cancels {of}",
    ("airline", "book"): "books a seat to {city}",
    ("airline", "cancel"): "cancels {of}",
}


class Narrator:
    """Tells what happens, and keeps count of it."""

    def __init__(self, terminal: Terminal, folder: str, seed: int, kills: int) -> None:
        self._terminal, self._folder, self._seed, self._planned = terminal, folder, seed, kills
        self._store = f"{folder}/{agent.STORE}"
        self._runs = self._kills = self._repeats = 0
        self._stood: dict[str, list[str]] = {}
        self._sent: set[str] = set()
        self._strays: list[str] = []

    # -- the beginning

    def introduce(self) -> None:
        """Say what is going to happen, and show the program."""
        line = self._terminal.line
        line(self._terminal.bold(f"A travel agent, to be killed {_count(self._planned, 'time')} with SIGKILL"))
        line(f"seed {self._seed}, Python {platform.python_version()}; the program, saga.py:")
        line()
        source, first = inspect.getsourcelines(book_trip)
        for number, text in enumerate(source, first):
            line(self._terminal.dim(clip(f"{number:>5}  {text.rstrip()}", self._terminal.width)))

    # -- the runs

    def tell_event(self, event: Event, seconds: float) -> None:
        """Tell what the agent tells, `seconds` after its start."""
        if event["event"] == "open":
            self._tell_start(event["standing"])
        elif event["event"] == "call":
            self._sent.add(event["key"])
        elif event["event"] == "entry":
            self._repeats += event["repeated"]
            text = f"  {seconds:5.2f} s  {event['booking']:<5} {event['service']:<8} {_phrase(event)}"
            self._terminal.line(self._paint(event, clip(text, self._terminal.width)))
        elif event["event"] == "end":
            self._terminal.line(f"  {seconds:5.2f} s  all bookings are done")

    def _tell_start(self, standing: dict[str, list[str]]) -> None:
        self._runs += 1
        self._sent.clear()
        strays = [name for name in sorted({*standing, *self._stood}) if standing.get(name) != self._stood.get(name)]
        self._strays += strays
        if not standing:
            text = "nothing is left to do" if self._stood else "nothing is stored, so it begins"
        elif strays:
            text = f"NOT where they stood: {', '.join(strays)}"
        else:
            places = ", ".join(f"{name} at {place.partition(':')[2]}" for name, (place, *_) in standing.items())
            text = f"they resume, with the locals above: {places}"
        self._terminal.line()
        head = f"run {self._runs}"
        first, *others = textwrap.wrap(text, self._terminal.width - len(head) - 2)
        self._terminal.line(f"{self._terminal.bold(head)}  {first}")
        for more in others:
            self._terminal.line(f"{'':<{len(head)}}  {more}")
        for name in strays:
            self._tell_place(name, standing.get(name, ["done", ""]), "", lost=False)

    def tell_kill(self, instant: Instant, lasted: float) -> None:
        """Tell of a kill, and where each function stands now, of which only the store knows."""
        self._kills += 1
        head = f"KILL {self._kills} of {self._planned}"
        self._terminal.line()
        self._terminal.line(f"{self._terminal.red(head)}  {lasted:.2f} s after its start, {instant}")
        before = self._stood
        self._stood, waits = self._look()
        if not self._stood:
            self._terminal.line("        nothing was committed yet")
        served = self._served()
        same = []
        for name, standing in self._stood.items():
            note, lost = self._in_the_air(waits[name], served)
            if standing == before.get(name) and not lost:
                same.append(f"{name} at {standing[0].partition(':')[2]}")
            else:
                self._tell_place(name, standing, note, lost=lost)
        if same:
            for text in textwrap.wrap(f"as before the last kill: {', '.join(same)}", self._terminal.width - 2):
                self._terminal.line(f"  {text}")

    def _look(self) -> tuple[dict[str, list[str]], dict[str, str]]:
        """Read from the store where each function stands, and what it waits for."""
        try:
            with look(self._store) as store:
                return agent.standing(store), {task.id: task.waits_for for task in tasks(store)}
        except (NotAStore, EngineError):  # killed before the first commit
            return {}, {}

    def _served(self) -> dict[str, str]:
        """Give the keys of the requests that are in a ledger, and what was answered."""
        return {
            entry["key"]: entry.get("id") or entry["reason"]
            for service in SERVICES
            for entry in read_ledger(self._folder, service)
            if entry["outcome"] != "busy"
        }

    def _tell_place(self, name: str, standing: list[str], note: str, *, lost: bool) -> None:
        place, source, *values = standing
        width = self._terminal.width
        self._terminal.line(clip(f"  {name:<5} {place:<11} {source}", width))
        shown = "  ".join(value.replace(" ", "\0") for value in values if not value.startswith(_HIDDEN))
        for text in textwrap.wrap(shown, width - 20, break_on_hyphens=False):
            self._terminal.line(self._terminal.dim(clip(f"{'':<20}{text}".replace("\0", " "), width)))
        if note:
            text = clip(f"{'':<20}{note}", width)
            self._terminal.line(self._terminal.yellow(text) if lost else text)

    def _in_the_air(self, waits_for: str, served: dict[str, str]) -> tuple[str, bool]:
        """Tell what became of the request that a function waits for; also whether it was served but not answered."""
        match = _KEY.search(waits_for)
        if match is None:
            return "", False
        if match[1] in served:
            return f"-> this was served ({served[match[1]]}); the answer died with the process", True
        return ("-> this request never arrived" if match[1] in self._sent else ""), False

    def _paint(self, event: Event, text: str) -> str:
        if event["repeated"]:
            return self._terminal.green(text)
        if event["outcome"] == "declined" or event["action"] in UNDOING:
            return self._terminal.yellow(text)
        return text

    # -- the end

    def conclude(self, findings: list[Finding]) -> bool:
        """Show what the ledgers say, and the verdict; tells whether all is well."""
        line = self._terminal.line
        line()
        rows = [("BOOKING", "FUNCTION RETURNED", *(service.upper() for service in SERVICES), "")]
        rows += [
            (finding.booking, finding.outcome, *finding.services, "; ".join(finding.faults) or "ok")
            for finding in findings
        ]
        head, *lines = columns(rows, widest=max(24, self._terminal.width - 56))
        line(self._terminal.bold(head))
        for text, finding in zip(lines, findings, strict=True):
            line(self._terminal.red(text) if finding.faults else text)
        line()
        return self._judge(findings)

    def _judge(self, findings: list[Finding]) -> bool:
        booked = sum(finding.outcome == "booked" for finding in findings)
        good = not self._strays and not any(finding.faults for finding in findings)
        survived = f"{_count(self._kills, 'kill')}, {_count(self._runs, 'run')}"
        if self._kills < self._planned:
            survived += f" (all was done before the other {self._planned - self._kills})"
        repeats = _count(self._repeats, "repeated request")
        result = f"{booked} booked, {len(findings) - booked} released, {repeats} absorbed"
        self._terminal.line(f"{survived}; {result}")
        if good:
            text = "OK: every booking is complete or fully released; nothing was done twice, nothing is left over"
            self._terminal.line(self._terminal.green(text))
        else:
            self._terminal.line(self._terminal.red("WRONG: the ledgers or the functions are not as they should be"))
        return good


def _phrase(event: Event) -> str:
    service, outcome = event["service"], event["outcome"]
    if event["repeated"]:
        answer = event.get("id") or event.get("reason")
        return f"knows the key of this, does nothing, answers again: {answer}"
    if outcome == "busy":
        return "is busy; to be asked again"
    if outcome == "declined":
        return f"declines: {event['reason']}"
    made = "" if event["action"] in UNDOING or event["action"] == "deduct" else f": {event['id']}"
    return _PHRASES[service, event["action"]].format(**event) + made


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
