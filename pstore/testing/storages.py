"""What every storage has to do for a store: a suite of tests, to be subclassed for each kind.

    from pstore.testing.storages import StorageContract

    class TestMine(StorageContract):
        @pytest.fixture
        def uri(self, tmp_path):
            return f"sqlite:{tmp_path}/store"       # a store that is not there yet

It goes through the public `Store` alone.  Owned here: what is asked of a storage.  A storage that cannot do a thing
says so with the attributes below; nothing is left out silently.  Needs pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pstore._store.store import Store
from pstore.errors import CaptureError, NoHistory, NoSuchState, StoreError, StoreLocked, StoreReadOnly

__all__ = ["Node", "StorageContract", "counting"]


class Node:
    """An object with others."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.others: list[Node] = []


def counting(log: list[str]) -> Generator[int, int, None]:
    """A generator with something to clean up."""
    total = 0
    try:
        while True:
            total += yield total
    finally:
        log.append("closed")


def crash(uri: str, where: str) -> None:
    """Persist one state, and die in the commit of the next: after the vote, or after the end."""
    store = Store(uri)
    store.root["n"] = 1
    store.persist()
    cls = type(store._db.storage)
    store.close()
    name = "tpc_vote" if where == "vote" else "tpc_finish"
    real = getattr(cls, name)

    def dying(self: Any, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        os._exit(9)

    setattr(cls, name, dying)  # before it is opened: ZODB looks it up then
    store = Store(uri)
    store.root["n"] = 2
    store.persist()


class StorageContract:
    """The suite.

    Attributes:
        survives: what is stored is there for another opening of the same URI.
        history: the past can be looked at.
        sharing: what a second opening meets: ``"locked"``, or ``"conflicts"`` when it persists what another changed.
    """

    survives = True
    history = True
    sharing = "locked"

    @pytest.fixture
    def uri(self) -> str:
        """Where a store is that is not there yet."""
        raise NotImplementedError

    def open_store(self, uri: str, **options: Any) -> Store:
        """Open it."""
        return Store(uri, **options)

    @contextmanager
    def reopened(self, store: Store, uri: str) -> Iterator[Store]:
        """The store with nothing in memory: opened again, or, if it does not survive, gone back to what is stored."""
        if self.survives:
            store.close()
            store = self.open_store(uri)
        else:
            store.abort()
        try:
            yield store
        finally:
            store.close()

    def _filled(self, uri: str, **names: Any) -> Store:
        store = self.open_store(uri)
        store.root.update(names)
        store.persist()
        return store

    # -- what is stored

    def test_what_was_persisted_is_there(self, uri: str) -> None:
        """And the same objects are the same."""
        shared = Node("shared")
        a, b = Node("a"), Node("b")
        a.others, b.others = [shared, b], [shared, a]
        with self.reopened(self._filled(uri, a=a, b=b, text="ä\0", numbers=[1, 2.5, None]), uri) as store:
            a, b = store.root["a"], store.root["b"]
            assert (a.name, b.name, store.root["text"], store.root["numbers"]) == ("a", "b", "ä\0", [1, 2.5, None])
            assert a.others[0] is b.others[0]
            assert a.others[1] is b
            assert b.others[1] is a

    def test_changes_anywhere_are_stored(self, uri: str) -> None:
        """Without being told of them."""
        store = self._filled(uri, deep={"list": [[1], [2]]}, node=Node("a"))
        store.root["deep"]["list"][1].append(3)
        store.root["node"].others.append(Node("b"))
        store.persist()
        with self.reopened(store, uri) as store:
            assert store.root["deep"] == {"list": [[1], [2, 3]]}
            assert store.root["node"].others[0].name == "b"

    def test_what_was_not_persisted_is_gone(self, uri: str) -> None:
        """Also after an abort."""
        store = self._filled(uri, n=[1])
        store.root["n"].append(2)
        store.abort()
        assert store.root["n"] == [1]
        store.root["n"].append(3)
        with self.reopened(store, uri) as store:
            assert store.root["n"] == [1]

    def test_nothing_is_written_when_nothing_changed(self, uri: str) -> None:
        """The transaction stays the same."""
        store = self._filled(uri, n=[1])
        tid = store.tid
        assert store.persist() == tid == store.tid
        store.root["n"].append(2)
        later = store.persist()
        assert later > tid
        with self.reopened(store, uri) as store:
            assert store.tid == later
            assert store.persist() == later

    def test_a_refused_value_stores_nothing(self, uri: str) -> None:
        """Neither it nor what changed with it; the store goes on."""
        store = self._filled(uri, n=1)
        tid = store.tid
        store.root["n"] = 2
        store.root["bad"] = sys._getframe()
        with pytest.raises(CaptureError):
            store.persist()
        assert store.tid == tid
        with self._beside(store, uri) as root:
            assert root is None or root == {"n": 1}
        del store.root["bad"]
        store.persist()
        with self.reopened(store, uri) as store:
            assert store.root == {"n": 2}

    @contextmanager
    def _beside(self, store: Store, uri: str) -> Iterator[dict[str, Any] | None]:
        """What another opening sees, if there can be one."""
        if not self.survives:
            yield None
            return
        with self.open_store(uri, read_only=True) as other:
            yield dict(other.root)

    def test_large_records(self, uri: str) -> None:
        """10 MB in one value."""
        data = os.urandom(10 << 20)
        with self.reopened(self._filled(uri, data=data, n=1), uri) as store:
            assert store.root["data"] == data
            store.root["n"] = 2
            store.persist()
        if self.survives:
            with self.open_store(uri) as store:
                assert (store.root["data"] == data, store.root["n"]) == (True, 2)

    def test_many_objects(self, uri: str) -> None:
        """In one commit, and then some of them in many."""
        nodes = [Node(str(number)) for number in range(5_000)]
        for number, node in enumerate(nodes):
            node.others = [nodes[number * 7 % len(nodes)]]
        store = self._filled(uri, nodes=nodes)
        for number in range(0, 5_000, 500):
            store.root["nodes"][number].name = f"changed {number}"
            store.persist()
        with self.reopened(store, uri) as store:
            nodes = store.root["nodes"]
            assert [node.name for node in nodes[:501:250]] == ["changed 0", "250", "changed 500"]
            assert all(node.others[0] is nodes[number * 7 % len(nodes)] for number, node in enumerate(nodes))

    def test_many_commits(self, uri: str) -> None:
        """One after the other, each with a new id."""
        store = self._filled(uri, n=0, log=[])
        tids = [store.tid]
        for number in range(1, 50):
            store.root["n"] = number
            store.root["log"].append(number)
            tids.append(store.persist(f"commit {number}"))
        assert tids == sorted(set(tids))
        with self.reopened(store, uri) as store:
            assert (store.root["n"], len(store.root["log"])) == (49, 49)

    def test_suspended_frames(self, uri: str) -> None:
        """Go on where they stood, and are not closed by closing the store."""
        log: list[str] = []
        generator = counting(log)
        next(generator)
        generator.send(5)
        store = self._filled(uri, generator=generator, log=log)
        del generator
        with self.reopened(store, uri) as store:
            assert log == []
            generator = store.root["generator"]
            assert generator.send(3) == 8
            store.persist()
            generator.close()
            assert store.root["log"] == ["closed"]

    # -- the past

    def test_notes_and_times(self, uri: str) -> None:
        """As they were given, the newest first."""
        if not self.history:
            pytest.skip("this storage keeps only the present")
        begin = datetime.now(UTC) - timedelta(seconds=2)
        store = self._filled(uri, n=0)
        for number in (1, 2):
            store.root["n"] = number
            store.persist(f"Änderung {number}")
        with self.reopened(store, uri) as store:
            found = store.history()
            assert [entry.note for entry in found] == ["Änderung 2", "Änderung 1", ""]
            assert found[0].tid == store.tid
            assert [entry.tid for entry in found] == sorted((entry.tid for entry in found), reverse=True)
            assert all(begin <= entry.time <= datetime.now(UTC) + timedelta(seconds=2) for entry in found)

    def test_the_state_at_a_transaction(self, uri: str) -> None:
        """And at a time; it can be looked at only."""
        if not self.history:
            pytest.skip("this storage keeps only the present")
        with self._filled(uri, n=[0]) as store:
            tids = [store.tid]
            for number in (1, 2):
                store.root["n"].append(number)
                tids.append(store.persist())
            for number, tid in enumerate(tids):
                with store.at(tid) as past:
                    assert past.root["n"] == list(range(number + 1))
            middle = store.history()[1]
            with store.at(middle.time) as past:
                assert past.root["n"] == [0, 1]
                past.root["n"].append("changed")
                with pytest.raises(StoreReadOnly):
                    past.persist()
            assert store.root["n"] == [0, 1, 2]
            with pytest.raises(NoSuchState):
                store.at(bytes(7) + b"\1")
            with pytest.raises(NoSuchState):
                store.at(datetime(2001, 1, 1, tzinfo=UTC))

    def test_no_past(self, uri: str) -> None:
        """Is said by a storage that has none."""
        if self.history:
            pytest.skip("this storage has a past")
        with self._filled(uri, n=1) as store:
            with pytest.raises(NoHistory):
                store.history()
            with pytest.raises(NoHistory):
                store.at(store.tid)
            with pytest.raises(NoHistory):
                store.pack(keep=timedelta(days=1))

    def test_packing(self, uri: str) -> None:
        """Forgets the past, not the present; the store goes on."""
        store = self._filled(uri, n=0, nodes=[Node(str(number)) for number in range(200)])
        for number in range(1, 5):
            store.root["n"] = number
            store.root["nodes"][number].others.append(store.root["nodes"].pop())
            store.persist()
        store.pack()
        if self.history:
            assert len(store.history()) <= 1
        store.root["n"] = 5
        store.persist()
        store.pack()
        with self.reopened(store, uri) as store:
            assert store.root["n"] == 5
            assert len(store.root["nodes"]) == 196
            assert [node.others[0].name for node in store.root["nodes"][1:5]] == ["199", "198", "197", "196"]

    def test_packing_up_to_a_transaction(self, uri: str) -> None:
        """Keeps what is younger."""
        if not self.history:
            pytest.skip("this storage keeps only the present")
        with self._filled(uri, n=[0]) as store:
            tids = [store.tid]
            for number in range(1, 5):
                store.root["n"].append(number)
                tids.append(store.persist())
            store.pack(keep=tids[2])
            for number in (2, 3, 4):
                with store.at(tids[number]) as past:
                    assert past.root["n"] == list(range(number + 1))
            store.pack(keep=timedelta(days=1))
            assert store.history()[0].tid == tids[4]

    # -- several openings

    def test_reading_only(self, uri: str) -> None:
        """Changes nothing."""
        if not self.survives:
            pytest.skip("this storage has nothing to open again")
        self._filled(uri, n=1).close()
        with self.open_store(uri, read_only=True) as store:
            assert store.root == {"n": 1}
            store.root["n"] = 2
            with pytest.raises(StoreReadOnly):
                store.persist()
        with self.open_store(uri) as store:
            assert store.root == {"n": 1}

    def test_reading_only_what_is_not_there(self, uri: str) -> None:
        """Is refused, and makes nothing."""
        if not self.survives:
            pytest.skip("this storage has nothing to open again")
        with pytest.raises(StoreError):
            self.open_store(uri, read_only=True)

    def test_two_openings(self, uri: str) -> None:
        """The second is refused, or its commit is; no update is lost."""
        if not self.survives:
            pytest.skip("this storage has nothing to open again")
        with self._filled(uri, n=[0]) as first:
            if self.sharing == "locked":
                with pytest.raises(StoreLocked):
                    self.open_store(uri)
                return
            with self.open_store(uri) as second:
                first.root["n"].append("first")
                first.persist()
                second.root["n"].append("second")
                with pytest.raises(StoreError):
                    second.persist()
            with self.open_store(uri) as third:
                assert third.root["n"] == [0, "first"]
                third.root["n"].append("third")
                third.persist()
        with self.open_store(uri) as store:
            assert store.root["n"] == [0, "first", "third"]

    @pytest.mark.parametrize(("where", "left"), [("vote", 1), ("finish", 2)])
    def test_a_crash_in_a_commit(self, uri: str, where: str, left: int) -> None:
        """Leaves the state before or after it."""
        if not self.survives:
            pytest.skip("this storage has nothing to open again")
        code = "import sys; from pstore.testing.storages import crash; crash(*sys.argv[1:])"
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code, uri, where], env=env, capture_output=True, check=False)
        assert done.returncode == 9, done.stderr.decode()
        with self.open_store(uri) as store:
            assert store.root == {"n": left}
            store.root["n"] = 3
            store.persist()
        with self.open_store(uri) as store:
            assert store.root == {"n": 3}
