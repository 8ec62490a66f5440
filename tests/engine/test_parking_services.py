"""Parking beside what else a program has: letters out, `Persistent` objects, and a storage that fails."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import shutil
from collections import Counter
from itertools import count

import pytest
from BTrees.OOBTree import OOBTree
from persistent import Persistent

import pstore
from pstore._store.filestorage import SealedFileStorage
from pstore.errors import EngineInterrupted, StoreError, StoreInDoubt, StoreNotWritten, StoreUnavailable
from pstore.testing import VirtualClock
from pstore.testing.faults import Faults
from tests.engine.crash import after_commits
from tests.engine.restarts import Gone
from tests.processes import python


@pytest.fixture
def path(tmp_path):
    return tmp_path / "program.fs"


def opened(uri, resident=0, start=1000.0):
    options = {} if isinstance(uri, SealedFileStorage) else {"durability": "os"}
    return pstore.open(uri, clock=VirtualClock(start), resident=resident, **options)


def parked(engine):
    return engine._loop.state.parked


async def nap(seconds):
    await asyncio.sleep(seconds)


def settle(engine, times=2):
    """Run until all wait, and those that may have been parked."""
    for _ in range(times):
        engine.run(engine.spawn(nap, 0.25))


# -- a storage that cannot be read for a while


class Lost(Exception):
    """As a driver says that its server is gone: it is known by name and module."""


Lost.__name__, Lost.__module__ = "OperationalError", "psycopg2"
ERRORS = {"server": Lost("gone"), "disk": OSError(5, "Input/output error")}


class Flaky(SealedFileStorage):
    """The reading number `at` fails, and all after it if it is `for_ever`."""

    def __init__(self, path):
        super().__init__(str(path), sync=False)
        self.at = self.seen = 0
        self.error, self.for_ever, self.hit = None, False, False

    def loadBefore(self, *arguments):
        self.seen += 1
        if self.at and (self.seen == self.at or (self.for_ever and self.seen > self.at)):
            self.hit = True
            raise self.error
        return super().loadBefore(*arguments)

    def fail(self, error, at=1, for_ever=True):
        self.seen, self.at, self.error, self.for_ever = 0, at, error, for_ever

    def mend(self):
        self.at = 0


async def takes(queue, log, number):
    got = await queue.get()
    try:
        log.append(("took", number, got))
        await asyncio.sleep(5)
    finally:
        log.append(("end", number))


async def puts(queue, log, times):
    for number in range(times):
        await asyncio.sleep(1)
        try:
            queue.put_nowait(number)
        except Exception as error:  # what it makes of that is not to be kept
            log.append(("putter", type(error).__name__))


async def sleeps(number, log, seconds):
    own = [number]
    for turn in range(2):
        await asyncio.sleep(seconds)
        own.append(turn)
    log.append(("slept", own))


async def receives(number, log):
    log.append(("got", number, await pstore.receive()))


async def sends(times, log):
    await asyncio.sleep(3.5)
    for number in range(times):
        try:
            pstore.send(f"r{number}", number)
        except Exception as error:
            log.append(("sender", type(error).__name__))


MANY = 12


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A store of tasks that are parked, whose index has several pages."""
    path = tmp_path_factory.mktemp("many") / "program.fs"
    with opened(path) as engine:
        log, queue = engine.root.setdefault("log", []), engine.root.setdefault("queue", asyncio.Queue())
        for number in range(MANY):
            engine.spawn(takes, queue, log, number, id=f"t{number}")
            engine.spawn(sleeps, number, log, 2 + number % 7, id=f"s{number}")
            engine.spawn(receives, number, log, id=f"r{number}")
        engine.spawn(puts, queue, log, MANY, id="puts")
        engine.spawn(sends, MANY, log, id="sends")
        settle(engine)
        assert parked(engine) == 3 * MANY + 2
    return path


def end_of(engine):
    assert engine.run() == []
    tasks = list(engine.tasks.values())
    assert len(tasks) == len(engine.tasks) == 3 * MANY + 2
    assert all(task.done() for task in tasks)
    return sorted(engine.root["log"], key=str)


def to_the_end(path, fail=lambda storage: storage.fail(None, 0), resident=2):
    """Run what is in a store to its end, opening it again when the engine asks for that; gives what came of it, the
    errors, and the storage that was to fail.
    """
    raised, first = [], None
    for _ in range(3):
        storage = Flaky(path)
        with opened(storage, resident, 1001.0) as engine:
            if first is None:
                first = storage
                fail(storage)
            for _ in range(3):
                try:
                    return end_of(engine), raised, first
                except EngineInterrupted as error:
                    raised.append(error)
                    break
                except StoreError as error:
                    raised.append(error)
                    storage.mend()
    raise AssertionError(f"it did not end: {raised}")


@pytest.mark.parametrize("first", [0, 11])
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for-ever"])
@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_whatever_cannot_be_read(many, tmp_path, error, for_ever, first):
    """Each reading fails in turn: nothing is lost, and it is said what it was."""
    wanted, raised, storage = to_the_end(shutil.copy(many, tmp_path / "wanted.fs"))
    assert not raised
    assert len(wanted) == 4 * MANY
    kinds = Counter()
    for at in range(1 + first, storage.seen, 22):
        copy = shutil.copy(many, tmp_path / f"{at}.fs")
        found, raised, failed = to_the_end(copy, lambda storage: storage.fail(error, at, for_ever))  # noqa: B023
        assert failed.hit
        assert found == wanted, at
        for place, said in enumerate(raised):
            kinds[type(said).__name__] += 1
            assert ("cannot be" in str(said)) if place == 0 else isinstance(said, EngineInterrupted)
    assert kinds["StoreUnavailable" if type(error) is Lost else "StoreError"] > 2


def test_a_page_that_cannot_be_read_ends_no_task(many, path):
    """Its record was read, and what stands in the index was not: then its ``finally`` must not run."""
    storage = Flaky(shutil.copy(many, path))
    with opened(storage, start=1001.0) as engine:
        task, read = engine.tasks["t0"], storage.loadBefore

        def fails_after_its_record(*arguments):
            storage.loadBefore = lambda *arguments: storage.fail(OSError(5, "gone")) or Flaky.loadBefore(storage, *arguments)
            return read(*arguments)

        storage.loadBefore = fails_after_its_record
        task.done()
        before = len(engine.root["log"])
        with pytest.raises(EngineInterrupted) as caught:
            engine.run()
        assert "the last commit is intact" in "".join(caught.value.__cause__.__notes__)
        with pytest.raises(EngineInterrupted):
            engine.commit()
        log = engine.root["log"]
        del task
    assert log[before:] == []
    found, raised, _ = to_the_end(path)
    assert not raised
    assert ("end", 0) in found


def nothing_is_due(engine, monkeypatch):
    """Have parked tasks not be looked for when their time comes; and what is known of them be read again."""
    monkeypatch.setattr(engine._loop.parking, "bring_due", lambda now: (now, math.inf))
    monkeypatch.setattr(engine._loop.parking, "next_deadline", lambda: None)
    engine.store.shelf._cache.minimize()


@pytest.mark.parametrize("at", range(1, 7))
def test_who_is_to_be_parked_stays_when_the_index_cannot_be_read(many, path, at, monkeypatch):
    storage = Flaky(shutil.copy(many, path))
    with opened(storage, start=1001.0) as engine:
        log = engine.root["log"]
        for number in range(9):
            engine.spawn(sleeps, 100 + number, log, 0.5, id=f"k{7 * number}")
        nap_of = engine.spawn(nap, 0.1)
        engine.commit()
        for _ in range(2):
            with monkeypatch.context() as patch:
                nothing_is_due(engine, patch)
                storage.fail(Lost("gone"), at)
                with pytest.raises(StoreUnavailable):
                    engine.run(nap_of)
                assert storage.hit
            assert parked(engine) == 3 * MANY + 2
            assert {f"k{7 * number}" for number in range(9)} <= set(engine._loop.state.tasks)
            storage.mend()
        engine.run(nap_of)
        assert parked(engine) > 3 * MANY + 8
        engine.run(engine.spawn(nap, 1))
        assert [entry[1][0] for entry in log if entry[0] == "slept"] == list(range(100, 109))
        ids = list(engine.tasks)
        assert len(ids) == len(set(ids)) == len(engine.tasks) == 3 * MANY + 11


def asks_for_tasks(log):
    try:
        asyncio.create_task(nap(1))
    except Exception as error:
        log.append(type(error).__name__)
    else:
        log.append("made")


async def makes(log):
    await asyncio.sleep(0.1)
    asks_for_tasks(log)


def test_what_a_program_makes_of_an_index_that_cannot_be_read_is_not_kept(many, path, monkeypatch):
    storage = Flaky(shutil.copy(many, path))
    with opened(storage, resident=None, start=1001.0) as engine:
        made = engine.root["made"] = []
        engine.spawn(makes, made, id="makes")
        engine.commit()
        engine.run(engine.spawn(nap, 0.01))
        nothing_is_due(engine, monkeypatch)
        storage.fail(Lost("gone"))
        with pytest.raises(StoreUnavailable) as caught:
            engine.run()
        assert "which tasks there are" in "".join(caught.value.__notes__)
        with pytest.raises(EngineInterrupted):
            engine.commit()
    with opened(path, start=1001.0) as engine:
        engine.run(engine.tasks["makes"])
        assert engine.root["made"] == ["made"]


def test_who_only_looks_hears_that_the_storage_is_away(many, path):
    storage = Flaky(shutil.copy(many, path))
    with opened(storage, start=1001.0) as engine:
        storage.fail(Lost("gone"))
        for look in (
            lambda: engine.tasks["t0"].done(),
            lambda: engine.locals("t1"),
            lambda: list(engine.tasks),
            lambda: engine.find(state="active"),
        ):
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                look()
        storage.mend()
        assert len(list(engine.tasks)) == 3 * MANY + 2
        assert len(end_of(engine)) == 4 * MANY


@pytest.mark.parametrize("partial", [False, True], ids=["nothing", "half"])
def test_whatever_cannot_be_written(many, tmp_path, partial, caplog):
    """Each write, and each fsync, fails in turn, while tasks are parked and brought back by each commit."""
    caplog.set_level("CRITICAL")
    wanted, *_ = to_the_end(shutil.copy(many, tmp_path / "wanted.fs"))
    hits = Counter()
    for at in (1, 2, 3, 4, 5, 8, 12, 17, 23):
        folder = tmp_path / str(at)
        folder.mkdir()
        path, found, faults = shutil.copy(many, folder), None, Faults(folder, at, partial=partial)
        for _ in range(2):
            with pstore.open(path, clock=VirtualClock(1001.0), resident=2) as engine, faults:
                for _ in range(2):
                    try:
                        found = end_of(engine)
                        break
                    except StoreInDoubt:
                        break
                    except StoreError as error:
                        assert error.retryable
            hits[faults.hit] += 1
            faults = Faults(folder)
            if found is not None:
                break
        assert found == wanted, at
    assert {"pwrite program.fs", "fsync program.fs"} <= set(hits), hits


def test_an_index_that_was_not_written_is_written_by_the_next_commit(tmp_path, path, monkeypatch):
    persist, failed = pstore.Store.persist, []

    def failing(store, note=None):
        if not store.parts["loop"].parking._leaving or len(failed) > 2:
            return persist(store, note)
        failed.append(1)
        with Faults(tmp_path, 1):
            return persist(store, note)

    with opened(path) as engine:
        log = engine.root.setdefault("log", [])
        for number in range(40):
            engine.spawn(sleeps, number, log, 5 + number % 3, id=f"s{number}")
        with monkeypatch.context() as patch:
            patch.setattr(pstore.Store, "persist", failing)
            for _ in range(5):
                with contextlib.suppress(StoreNotWritten):
                    settle(engine, 1)
        assert len(failed) == 3
        settle(engine)
        assert parked(engine) == 40
    with opened(path, start=1001.0) as engine:
        assert sorted(engine.tasks) == sorted(f"s{number}" for number in range(40))
        assert engine.run() == []
        assert sorted(own[0] for _, own in engine.root["log"]) == list(range(40))
        assert all(task.done() for task in engine.tasks.values())


# -- letters out


WORLD = pstore.volatile([])  # (destination, id, whether it was taken), of all attempts
FAILS = {"hooks-4": 1, "hooks-9": 2, "hooks-13": 99, "deliver-2": 2, "deliver-7": 99, "deliver-15": 1}
LETTERS = 18


def attempt(destination):
    letter = pstore.step_key()
    is_taken = [entry[1] for entry in WORLD].count(letter) >= FAILS.get(letter, 0)
    WORLD.append((destination, letter, is_taken))
    if not is_taken:
        raise ConnectionError("not yet")


def deliver(payload):
    attempt("deliver")


def hook(payload):
    attempt("hooks")


async def posts(number, log):
    own = [number]
    await asyncio.sleep(1 + 0.75 * number)
    retry = pstore.Retry(attempts=3, delay=1.5)
    pstore.post("hooks", own, id=f"hooks-{number}", retry=retry)
    await asyncio.sleep(0.5)
    pstore.post(deliver, own, id=f"deliver-{number}", retry=retry)
    try:
        own.append(await pstore.receive(timeout=4))
    except TimeoutError:
        own.append("no answer")
    log.append(own)


def begin_posting(engine):
    engine.deliver("hooks", hook)
    if "log" not in engine.root:
        log = engine.root["log"] = []
        for number in range(LETTERS):
            engine.spawn(posts, number, log, id=f"p{number}")
        engine.commit()


def posting(path, resident, start=1000.0):
    """Go on with the program in a store; gives what it has logged, the ids of dead letters and what arrived."""
    with opened(path, resident, start) as engine:
        begin_posting(engine)
        assert engine.run() == []
        assert all(task.done() for task in engine.tasks.values())
        assert not engine._loop.services.deliveries.lanes
        return engine.root["log"], sorted(letter.id for letter in engine.dead_letters), arrived()


def arrived():
    """What each destination has taken, in the order of the first time."""
    taken = [entry[:2] for entry in WORLD if entry[2]]
    return {name: list(dict.fromkeys(letter for to, letter in taken if to == name)) for name in ("hooks", "deliver")}


def expected():
    order = {name: [f"{name}-{number}" for number in range(LETTERS)] for name in ("hooks", "deliver")}
    dead = sorted(letter for letter, times in FAILS.items() if times > 3)
    return dead, {name: [letter for letter in letters if letter not in dead] for name, letters in order.items()}


@pytest.fixture
def world():
    WORLD.clear()
    yield
    WORLD.clear()


@pytest.mark.parametrize("every", [0, 1, 2])
def test_letters_of_tasks_that_are_parked_from_every_commit_on(world, tmp_path, every):
    points, busy = [], 0

    def copy(store):
        nonlocal busy
        loop = store.parts["loop"]
        busy += loop.state.parked >= 10 and bool(loop.services.deliveries.lanes)
        points.append((shutil.copy(tmp_path / "p.fs", tmp_path / f"{len(points)}.fs"), loop.time(), list(WORLD)))

    with after_commits(copy):
        log, *letters = posting(tmp_path / "p.fs", 2)
    assert len(log) == LETTERS
    assert letters == list(expected())
    assert busy > 10
    for path, moment, before in points[1 + every :: 9]:
        WORLD[:] = before
        again, *letters = posting(path, 2, moment)
        assert sorted(own[0] for own in again) == list(range(LETTERS))
        assert letters == list(expected())


@pytest.mark.parametrize("seed", range(3))
def test_letters_of_tasks_that_are_parked_when_processes_go_on_and_on(world, path, seed):
    """Each engine is gone after some commits; the last that hears of a letter hears of it under the same id."""
    draw, clock, ended = random.Random(seed), VirtualClock(1000.0), False
    for _ in range(200):
        commits = count(-draw.randrange(1, 7))

        def gone(store):
            if not next(commits):  # noqa: B023
                raise Gone

        with pstore.open(path, clock=clock, resident=draw.choice([0, 2, 6]), durability="os") as engine:
            begin_posting(engine)
            try:
                with after_commits(gone):
                    ended = engine.run() == []
            except Gone:
                continue
            assert sorted(own[0] for own in engine.root["log"]) == list(range(LETTERS))
            dead, letters = sorted(letter.id for letter in engine.dead_letters), arrived()
            break
    assert ended
    assert (dead, letters) == expected()


# -- Persistent objects and BTrees


class Account(Persistent):
    def __init__(self, number):
        self.number, self.balance, self.lines = number, 100, []


class Bank:
    """Plain, shared by all; leads to all accounts."""

    def __init__(self, size):
        self.accounts = OOBTree({number: Account(number) for number in range(size)})
        self.total = 100 * size


async def moves(seed, bank, log):
    """Moves money between accounts; what it leads to is shared with those that wait."""
    draw = random.Random(seed)
    for turn in range(3):
        await asyncio.sleep(1 + draw.randrange(30) / 10)
        one, other = draw.sample(range(8), 2)
        bank.accounts[one].balance -= turn + 1
        bank.accounts[one].lines.append((seed, turn))
        bank.accounts[other].balance += turn + 1
        if turn == 1:
            bank.accounts[100 + seed] = Account(100 + seed)
            bank.accounts[100 + seed].balance = 0
    log.append(("moved", seed))


async def holds(number, account, log):
    """Has an account in a local, over an await, and one of its own, which nobody else leads to."""
    own, tree = Account(1000 + number), OOBTree()
    for turn in range(3):
        await asyncio.sleep(2)
        own.balance += turn
        own.lines.append(account.lines)
        tree[turn] = own
    log.append(("held", number, own.balance, all(lines is account.lines for lines in own.lines), tree[0] is tree[2] is own))


async def watches(number, lines, boxes, log):
    """Leads to what an account has, and through what is plain and shared to accounts; parked meanwhile."""
    await asyncio.sleep(7 + number / 10)
    box = boxes[number % 2]
    log.append(("watched", number, lines is box[0].lines, sorted(lines), box[0] is boxes[2].accounts[box[0].number]))


def banking(path, resident, start=1000.0):
    with opened(path, resident, start) as engine:
        if "bank" not in engine.root:
            bank, log = Bank(8), engine.root.setdefault("log", [])
            engine.root["bank"] = bank
            boxes = [[bank.accounts[0]], [bank.accounts[1]], bank]
            for number in range(6):
                engine.spawn(moves, number, bank, log, id=f"m{number}")
                engine.spawn(holds, number, bank.accounts[number], log, id=f"h{number}")
                engine.spawn(watches, number, bank.accounts[number % 2].lines, boxes, log, id=f"w{number}")
            del bank, boxes
            engine.commit()
        assert engine.run() == []
        bank = engine.root["bank"]
        balances = [(number, account.balance, sorted(account.lines)) for number, account in bank.accounts.items()]
        assert sum(balance for _, balance, _ in balances) == bank.total
        return sorted(engine.root["log"]), balances


def test_persistent_objects_from_every_commit_on(tmp_path):
    wanted, points, most = banking(tmp_path / "all.fs", None), [], 0
    assert all(entry[2] is True for entry in wanted[0] if entry[0] == "watched")

    def copy(store):
        nonlocal most
        loop = store.parts["loop"]
        most = max(most, loop.state.parked)
        points.append((shutil.copy(tmp_path / "p.fs", tmp_path / f"{len(points)}.fs"), loop.time()))

    with after_commits(copy):
        assert banking(tmp_path / "p.fs", 0) == wanted
    assert most > 8
    for path, moment in points[1::3]:
        assert banking(path, 0, moment) == wanted


def test_persistent_objects_when_they_are_let_go_of_meanwhile(tmp_path):
    """ZODB's cache lets go of objects at any time; a parked task leads to a part of one."""
    wanted, turns = banking(tmp_path / "all.fs", None), count()

    def let_go(store):
        if next(turns) % 2:
            for account in store.root["bank"].accounts.values():
                account._p_deactivate()

    with after_commits(let_go):
        assert banking(tmp_path / "p.fs", 0) == wanted


KILLED = """
import os, random, signal, sys, pstore
from pathlib import Path
from itertools import count
from tests.engine import test_parking_services as program
from tests.engine.crash import after_commits

path, draw = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
moment, said = Path("moment"), Path("said")
moment.write_text("1000.0")
wanted = program.banking(Path("all.fs"), None)
for turn in range(200):
    last, resident = draw.randrange(2, 6), draw.choice([0, 1, 4])
    pid = os.fork()
    if not pid:
        commits = count(1)

        def die(store):
            if next(commits) == last:
                moment.write_text(repr(store.parts["loop"].time()))
                os.kill(os.getpid(), signal.SIGKILL)

        with after_commits(die):
            said.write_text(repr(program.banking(path, resident, float(moment.read_text()))))
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status != signal.SIGKILL:
        print(turn, status, said.read_text() == repr(wanted))
        break
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_persistent_objects_of_processes_that_are_killed(tmp_path, seed):
    (tmp_path / "killed.py").write_text(KILLED)
    done = python("killed.py", "p.fs", str(seed), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    turns, status, is_equal = done.stdout.split()
    assert (int(turns) > 5, status, is_equal) == (True, "0", "True")
