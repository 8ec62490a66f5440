"""Loops over a disk that fails: the n-th write, fsync, rename ... of one scenario, for n = 1, 2, 3, ... until none is hit.

Each scenario works on a store whose root has "n".  What it tells `Ledger` is checked after the disk works again: the
store opened anew has the last acknowledged value, or one that was tried after it, and never less.
"""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

from pstore import Store
from pstore._store import history
from pstore.errors import StoreError, StoreInDoubt
from pstore.testing.faults import Faults

LARGE = bytes(range(256)) * 8192  # 2 MiB: more than one write


class Ledger:
    """What was acknowledged last, and what was tried since."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store
        self.acknowledged, self.tried = 0, []
        self.reopen = False

    def persist(self, number: int, **more: object) -> bool:
        """Persist a state; whether it was acknowledged.  Nothing but a StoreError may come of it."""
        root = self.store.root
        root["n"] = number
        root.update(more)
        self.tried.append(number)
        try:
            self.store.persist(f"n = {number}")
        except StoreInDoubt:
            self.reopen = True
            return False
        except StoreError:
            return False
        assert not self.reopen, "it said that it has to be reopened, and took a commit all the same"
        self.acknowledged, self.tried = number, []
        return True

    def allowed(self) -> set[int]:
        return {self.acknowledged, *self.tried}


def prepared(folder: Path) -> Path:
    """A store of some transactions."""
    path = folder / "graph.fs"
    with Store(path) as store:
        store.root["n"], store.root["list"] = 0, [[number] for number in range(50)]
        store.persist()
    return path


def commit(path: Path, faults: Faults) -> Ledger:
    """Persists; the store goes on, or says clearly that it has to be reopened."""
    with Store(path) as store:
        ledger = Ledger(store)
        with faults:
            ledger.persist(1)
            ledger.persist(2)
        went_on = ledger.persist(3)
        assert went_on or ledger.reopen, "neither went on nor said that it has to be reopened"
    return ledger


def commit_large(path: Path, faults: Faults) -> Ledger:
    """The same with transactions of more than one write."""
    with Store(path) as store:
        ledger = Ledger(store)
        with faults:
            ledger.persist(1, large=LARGE)
            ledger.persist(2, large=LARGE + b"2")
        went_on = ledger.persist(3)
        assert went_on or ledger.reopen
    return ledger


def pack(path: Path, faults: Faults) -> Ledger:
    """A pack between two persists."""
    with Store(path) as store:
        ledger = Ledger(store)
        assert ledger.persist(1) and ledger.persist(2)
        with faults:
            try:
                history.pack(store._db)
            except StoreInDoubt:
                ledger.reopen = True
            except StoreError:
                pass
        went_on = ledger.persist(3)
        assert went_on or ledger.reopen
    return ledger


def close(path: Path, faults: Faults) -> Ledger:
    """Closing, with the failure still there."""
    store = Store(path)
    ledger = Ledger(store)
    with faults:
        ledger.persist(1)
        store.close()
    return ledger


def create(path: Path, faults: Faults) -> Ledger:
    """A store that was not there before: it is made, or it can be made when the disk works again."""
    path.unlink()
    path.with_name("graph.fs.mark").unlink()
    ledger = Ledger()
    with faults:
        try:
            ledger.store = Store(path)
        except StoreError:
            return ledger
        ledger.persist(1)
        ledger.store.close()
    return ledger


def recover(path: Path, faults: Faults) -> Ledger:
    """An opening that has a torn transaction to cut off."""
    before = path.read_bytes()
    with Store(path) as store:
        store.root["n"] = 1
        store.persist()
    torn = path.read_bytes()[:-20]
    path.with_name("graph.fs.mark").unlink()
    path.write_bytes(torn)
    ledger = Ledger()
    with faults:
        try:
            ledger.store = Store(path)
        except StoreError:
            assert path.read_bytes() in (before, torn)
            return ledger
        assert ledger.store.root["n"] == 0
        ledger.persist(2)
        ledger.store.close()
    return ledger


SCENARIOS = {function.__name__: function for function in (commit, commit_large, pack, close, create, recover)}


def loop(name: str, folder: Path, *, for_ever: bool, partial: bool) -> list[str]:
    """Run one scenario until no failure is hit; gives what failed, one by one."""
    hits: list[str] = []
    (folder / "first").mkdir(parents=True)
    first = prepared(folder / "first")
    for at in count(1):
        path = folder / str(at) / "graph.fs"
        shutil.copytree(first.parent, path.parent)
        faults = Faults(path.parent, at, for_ever=for_ever, partial=partial)
        ledger = SCENARIOS[name](path, faults)
        with Store(path) as store:  # the disk works again
            got = store.root.get("n", 0)
            assert got in ledger.allowed(), f"{faults.hit}: {got}, not one of {ledger.allowed()}"
            store.root["n"] = got + 100
            store.persist()
        with Store(path) as store:
            assert store.root["n"] == got + 100
        shutil.rmtree(path.parent)
        if not faults.hit:
            return hits
        hits.append(faults.hit)
    raise AssertionError
