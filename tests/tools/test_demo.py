"""The demos: the story they tell, their verdicts, and the ledgers, counted here once more."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

import pstore as library
from pstore.tools import terminal
from pstore.tools.demo import sets
from pstore.tools.demo.audit import audit
from pstore.tools.demo.plan import draw_instants, draw_trips, make_services
from pstore.tools.demo.services import Bank, Declined, Trip, read_ledger
from tests.tools.kit import assert_one_line, command, environment, here, pstore, started

OUTCOME = re.compile(r"^(ava|ben|cleo|dan|eva|finn) +(booked|released \(.*?\)) ", re.MULTILINE)


# -- the travel agent


KILLED = [(1, 5), (4, 4), (23, 3)]
DEMOS = {
    **{run: ("--seed", str(run[0]), "--kills", str(run[1]), "--dir", "kept") for run in [*KILLED, (1, 0)]},
    "nothing kept": ("--seed", "1", "--kills", "2"),
    "temporary folder": ("--seed", "1", "--kills", "0", "--keep"),
    "set": ("set",),
    "ping-pong": ("ping-pong", "--auto", "1", "game.fs"),
}


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    """All of `DEMOS`, at the same time: name -> (its folder, what it told)."""
    began = time.monotonic()
    running = {}
    for name, arguments in DEMOS.items():
        folder = tmp_path_factory.mktemp("demo")
        running[name] = folder, started("demo", *arguments, cwd=folder, TMPDIR=str(folder))
    told = {}
    for name, (folder, child) in running.items():
        story, errors = child.communicate(timeout=60)
        assert (child.returncode, errors) == (0, ""), story + errors
        told[name] = folder, story
    assert time.monotonic() - began < 60
    return told


@pytest.mark.parametrize(("seed", "kills"), KILLED)
def test_killed_again_and_again_every_booking_comes_out_right(demos, seed, kills):
    folder, story = demos[seed, kills]
    assert story.startswith(f"A travel agent, to be killed {kills} times with SIGKILL\nseed {seed}, Python 3.")
    assert "\x1b" not in story
    killed = [int(number) for number in re.findall(rf"^KILL (\d+) of {kills}  ", story, re.MULTILINE)]
    assert killed == list(range(1, len(killed) + 1))
    assert len(killed) >= 2
    assert "undoing began" in story
    assert "NOT where they stood" not in story
    assert "OK: every booking is complete or fully released" in story
    outcomes = dict(OUTCOME.findall(story))
    assert len(outcomes) == 6
    check_ledgers(folder / "kept", outcomes)
    listed = here("ps", "kept/agent.fs", cwd=folder).stdout
    assert listed.count(" finished ") == 6


def check_ledgers(folder: Path, outcomes: dict[str, str]) -> None:
    """Count once more, without the demo's own audit."""
    entries = []
    for service in ("bank", "hotel", "airline"):
        path = folder / f"{service}.json"
        entries += [{**entry, "service": service} for entry in json.loads(path.read_text())] if path.exists() else []
    done = [entry for entry in entries if entry["outcome"] == "done"]
    assert set(Counter(entry["key"] for entry in done).values()) == {1}
    for name, outcome in outcomes.items():
        acts = Counter(f"{entry['service']} {entry['action']}" for entry in done if entry["booking"] == name)
        if outcome == "booked":
            assert acts == {"bank reserve": 1, "hotel book": 1, "airline book": 1, "bank deduct": 1}
        else:
            assert acts["bank deduct"] == 0
            assert acts["bank reserve"] == acts["bank release"] <= 1
            assert acts["hotel book"] == acts["hotel cancel"] <= 1
            assert acts["airline book"] == acts["airline cancel"] <= 1


def test_where_functions_stand_is_told_with_line_source_and_locals(demos):
    folder, story = demos["nothing kept"]
    assert os.listdir(folder) == []
    source = dict(re.findall(r"^ +(\d+)  +(.*)$", story, re.MULTILINE))
    places = re.findall(r"^  (\w+) +saga\.py:(\d+)  (.*)$", story, re.MULTILINE)
    assert places
    for _, line, text in places:
        assert source[line].strip() == text
    assert re.search(r"trip=<\w+ to \w+>  undo=\[(<lambda>(, )?)*\]", story)
    resumed = re.findall(r"^run \d+  they resume, with the locals above: (.*)", story, re.MULTILINE)
    assert len(resumed) == 2
    assert {name for name, *_ in places} >= set(re.findall(r"(\w+) at \d+", resumed[0]))


def test_no_kills(demos):
    folder, story = demos[1, 0]
    assert "0 kills, 1 run; " in story
    check_ledgers(folder / "kept", dict(OUTCOME.findall(story)))


def test_the_temporary_folder(demos):
    folder, story = demos["temporary folder"]
    (kept,) = folder.iterdir()
    assert f"pstore ps {kept}/agent.fs" in story


def test_folders_that_it_refuses(tmp_path):
    (tmp_path / "file").write_text("mine")
    assert_one_line(here("demo", "--dir", "file", cwd=tmp_path), "file is not a folder")
    assert_one_line(here("demo", "--dir", ".", cwd=tmp_path), ". is not empty")
    assert_one_line(here("demo", "--dir", "file/below", cwd=tmp_path), "Not a directory")
    assert (tmp_path / "file").read_text() == "mine"


def test_the_seed_decides_trips_refusals_and_instants():
    def drawn(seed: int) -> str:
        services = make_services(seed, "folder")
        moods = [(service.refusals, service.rushes) for service in services]
        return repr((draw_trips(seed), [trip.price for trip in draw_trips(seed)], moods, draw_instants(seed, 9)))

    assert drawn(5) == drawn(5)
    assert len({drawn(seed) for seed in range(20)}) == 20
    for seed in range(200):
        bank, hotel, airline = make_services(seed, "folder")
        assert 2 <= len({*bank.refusals, *hotel.refusals, *airline.refusals}) <= 3
        assert any(text.startswith("book") for text in airline.refusals)
        instants, last = draw_instants(seed, 6)
        assert (len(instants), last.event) == (5, "undo")
        assert {instant.event for instant in instants} == {"call", "entry", "start"}


# -- services and audit


@pytest.fixture
def bank(tmp_path, monkeypatch):
    monkeypatch.setattr("pstore.tools.demo.services.REQUEST", (0.0, 0.0))
    monkeypatch.setattr("pstore.tools.demo.services.ANSWER", (0.0, 0.0))
    monkeypatch.setattr("pstore.tools.demo.services.tell", lambda *_, **__: None)
    return Bank(str(tmp_path), 1, {"reserve ben": "insufficient funds"}, {})


def test_a_key_gets_its_answer_again_and_nothing_is_done(bank, tmp_path, monkeypatch):
    monkeypatch.setattr(library, "step_key", lambda: "k1")
    trip = Trip("ava", "Rome", 100, 0.0)
    assert bank.reserve(trip) == bank.reserve(trip) == "B1"
    assert len(read_ledger(tmp_path, "bank")) == 1
    monkeypatch.setattr(library, "step_key", lambda: "k2")
    assert bank.reserve(trip) == "B2"  # another key is another request, however absurd
    monkeypatch.setattr(library, "step_key", lambda: "k3")
    for _ in range(2):
        with pytest.raises(Declined, match="insufficient funds"):
            bank.reserve(Trip("ben", "Oslo", 100, 0.0))
    assert len(read_ledger(tmp_path, "bank")) == 3


def entry(at, action, booking, number, **more):
    return {"key": f"k{at}", "at": at, "action": action, "booking": booking, "outcome": "done", "id": number, **more}


def ledgers(folder, **entries):
    for service in ("bank", "hotel", "airline"):
        (folder / f"{service}.json").write_text(json.dumps(entries.get(service, [])))


BOOKED = {
    "bank": [entry(1, "reserve", "ava", "B1", amount=700), entry(4, "deduct", "ava", "B2", of="B1")],
    "hotel": [entry(2, "book", "ava", "H1")],
    "airline": [entry(3, "book", "ava", "A1")],
}
RELEASED = {
    "bank": [entry(1, "reserve", "ava", "B1", amount=700), entry(4, "release", "ava", "B2", of="B1")],
    "hotel": [entry(2, "book", "ava", "H1"), entry(3, "cancel", "ava", "H2", of="H1")],
}


@pytest.mark.parametrize(
    ("outcome", "entries", "faults"),
    [
        ("booked", BOOKED, ()),
        ("released (no)", RELEASED, ()),
        ("released (no)", {}, ()),
        ("booked", {**BOOKED, "bank": BOOKED["bank"] + [entry(5, "deduct", "ava", "B3", of="B1")]},
         ("bank: deduct 2 times",)),
        ("booked", {**BOOKED, "hotel": []}, ("hotel: no book",)),
        ("booked", RELEASED, ("airline: no book", "bank: no deduct", "bank: release though it is booked",
                              "hotel: cancel though it is booked")),
        ("released (no)", {**RELEASED, "hotel": RELEASED["hotel"][:1]},
         ("hotel: H1 is left over", "not undone in reverse order")),
        ("released (no)", {**RELEASED, "bank": [RELEASED["bank"][0], entry(2.5, "release", "ava", "B2", of="B1")]},
         ("not undone in reverse order",)),
        ("released (no)", BOOKED, ("bank: deducted though it is released", "bank: B1 is left over",
                                   "hotel: H1 is left over", "airline: A1 is left over",
                                   "not undone in reverse order")),
    ],
)  # fmt: skip
def test_the_audit_finds_what_is_wrong(tmp_path, outcome, entries, faults):
    ledgers(tmp_path, **entries)
    (finding,) = audit(tmp_path, {"ava": outcome})
    assert finding.faults == faults


def test_the_audit_finds_what_nobody_speaks_of(tmp_path):
    ledgers(tmp_path, **BOOKED)
    (finding,) = audit(tmp_path, {})
    assert finding.faults == ("no outcome",)


# -- ping-pong


def numbers(text: str, player: str) -> list[int]:
    return [int(number) for number in re.findall(rf"^{player} (\d+)$", text, re.MULTILINE)]


def test_ping_pong_goes_on_across_processes_and_calls(demos):
    folder, first = demos["ping-pong"]
    done = pstore("demo", "ping-pong", "--auto", "1", "game.fs", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    for story in (first, done.stdout):
        assert story.count("STOPPED PING PONG APP") == 2
        assert story.endswith("no number is missing\n")
    heard = first + done.stdout
    for player in ("PONGER: PING", "PINGER: PONG"):
        heard_of = sorted(set(numbers(heard, player)))
        assert heard_of == list(range(len(heard_of)))
        assert len(heard_of) >= 8


def test_ping_pong_with_enter(tmp_path):
    with subprocess.Popen(
        command("demo", "ping-pong", "game.fs"), cwd=tmp_path, env=environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as game:  # fmt: skip
        told = ""
        for awaited in ("PONGER: PING 0", "TO START", "PINGER: PONG 0", "TO START"):
            while awaited not in told:
                line = game.stdout.readline()
                assert line
                told += line
            told = ""
            game.stdin.write("\n")
            game.stdin.flush()
        rest, errors = game.communicate(timeout=30)
    assert (game.returncode, errors) == (0, "")
    assert rest.startswith("PRESS ENTER TO STOP PING PONG APP\n")
    assert "go on with: pstore demo ping-pong game.fs" in rest


def test_ping_pong_refuses_the_program_of_somebody_else(demos):
    folder, _ = demos[1, 0]
    done = pstore("demo", "ping-pong", "--auto", "1", "kept/agent.fs", cwd=folder)
    assert_one_line(done, "kept/agent.fs holds another program")
    assert_one_line(here("demo", "ping-pong", "memory:", cwd=folder), "name a file")
    assert_one_line(here("demo", "ping-pong", "no/game.fs", cwd=folder), "folder", "does not exist")


def test_ping_pong_on_a_store_in_use(demos):
    folder, _ = demos["ping-pong"]
    with library.open(folder / "game.fs"):
        done = pstore("demo", "ping-pong", "--auto", "1", "game.fs", cwd=folder)
    assert_one_line(done, "game.fs: another process has it open")


# -- sets


def test_the_set_is_right_with_pstore_and_wrong_with_replay(demos):
    _, story = demos["set"]
    rows = re.findall(r"^  (\w+) +(\d+) +(\d+) +(\d+)(  <- wrong)?$", story, re.MULTILINE)
    assert {row[0]: int(row[1]) for row in rows} == sets.PRICES
    assert all(row[1] == row[2] for row in rows)
    wrong = [row for row in rows if row[1] != row[3]]
    assert wrong
    assert all(bool(row[4]) == (row in wrong) for row in rows)
    assert f"pstore: 0 of 8 values wrong; replay: {len(wrong)}, and no error" in story
    assert story.count("KILLED") == 2


def test_wrong_values_from_pstore_would_be_told(capsys):
    told = terminal.Terminal()
    assert sets._compare(told, sets.PRICES, sets.PRICES)
    assert not sets._compare(told, {**sets.PRICES, "Faro": 1}, sets.PRICES)
    assert not sets._compare(told, {}, sets.PRICES)
    assert "pstore: 8 of 8 values wrong" in capsys.readouterr().out


# -- text


def test_text_is_tidied_and_clipped():
    assert terminal.tidy("[<function a.<locals>.<lambda> at 0x7f1>, <X at 0x12>]") == "[<lambda>, <X>]"
    assert terminal.tidy("<function f at 0x7f1>") == "f"
    assert terminal.clip("a\nb" * 50, 10) == "a ba ba..."
    assert terminal.columns([("a", "b"), ("long", "c")]) == ["a     b", "long  c"]
