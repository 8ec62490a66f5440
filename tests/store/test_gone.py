"""A server that goes away while a store is open: it is said what happened, and the store goes on when it is back."""

from __future__ import annotations

import sqlite3

import pytest
from persistent import Persistent
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import StorageError

from pstore import Store
from pstore._store.live import unreadable
from pstore.errors import StoreCorrupt, StoreError, StoreInDoubt, StoreNotWritten, StoreUnavailable


class Driver:
    """Exceptions as the drivers have them: known by name and module."""

    OperationalError = type("OperationalError", (Exception,), {"__module__": "psycopg2"})
    AdminShutdown = type("AdminShutdown", (OperationalError,), {"__module__": "psycopg2.errors"})
    InterfaceError = type("InterfaceError", (Exception,), {"__module__": "pymysql.err"})
    ClientDisconnected = type("ClientDisconnected", (Exception,), {"__module__": "ZEO.Exceptions"})


LOST = [
    Driver.OperationalError("server closed the connection\nunexpectedly"),
    Driver.AdminShutdown("terminating connection due to administrator command"),
    Driver.InterfaceError(0, ""),
    Driver.ClientDisconnected(),
    sqlite3.OperationalError("disk I/O error"),
]


class Gone(MappingStorage):
    """A storage one of whose methods fails."""

    def __init__(self, name):
        super().__init__(name)
        self.error, self.failing = None, ()

    def _goes(self, method):
        if method in self.failing:
            raise self.error

    def new_oid(self):
        self._goes("new_oid")
        return super().new_oid()

    def loadBefore(self, *arguments):
        self._goes("loadBefore")
        return super().loadBefore(*arguments)

    def sync(self, force=True):
        self._goes("sync")

    def iterator(self, *arguments):
        self._goes("iterator")
        return super().iterator(*arguments)

    def pack(self, *arguments):
        self._goes("pack")
        return super().pack(*arguments)

    def tpc_begin(self, *arguments):
        self._goes("tpc_begin")
        return super().tpc_begin(*arguments)

    def store(self, *arguments):
        self._goes("store")
        return super().store(*arguments)

    def tpc_vote(self, *arguments):
        self._goes("tpc_vote")
        return super().tpc_vote(*arguments)

    def tpc_abort(self, *arguments):
        super().tpc_abort(*arguments)
        self._goes("tpc_abort")

    def tpc_finish(self, *arguments):
        self._goes("tpc_finish")
        return super().tpc_finish(*arguments)


class Thing(Persistent):
    value = 0


@pytest.fixture
def storage():
    return Gone("graph of the shop")


@pytest.fixture
def store(storage):
    with Store(storage) as store:
        store.root["n"] = 0
        store.root["thing"] = Thing()
        store.persist()
        yield store


def change(store, number):
    store.root["n"] = number
    store.root[f"new {number}"] = [[i] for i in range(500)]  # needs records of its own


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["new_oid", "tpc_begin", "store", "tpc_vote", "store tpc_abort"])
def test_persist_says_that_nothing_was_written(store, storage, where, error):
    change(store, 1)
    storage.error, storage.failing = error, where.split()
    for _ in range(2):
        with pytest.raises(StoreNotWritten, match="graph of the shop could not be written .*persist again") as caught:
            store.persist()
        assert caught.value.retryable
        assert type(error).__name__ in str(caught.value)
        if where != "new_oid":
            assert caught.value.__cause__ is error
    storage.failing = ()
    store.persist()
    store.abort()
    assert store.root["n"] == 1
    assert store.root["new 1"][-1] == [499]


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_a_last_phase_that_fails_is_in_doubt(store, storage, error):
    change(store, 1)
    storage.error, storage.failing = error, ["tpc_finish"]
    with pytest.raises(StoreInDoubt):
        store.persist()


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["sync", "loadBefore"])
def test_a_server_that_is_gone_is_no_damage(store, storage, where, error):
    store.root["n"] = 1
    storage.error, storage.failing = error, [where]
    with pytest.raises(StoreUnavailable, match="graph of the shop cannot be reached") as caught:
        store.abort()
    assert caught.value.retryable
    storage.failing = ()
    store.abort()
    assert store.root["n"] == 0


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_nor_where_an_object_is_used_for_the_first_time(store, storage, error):
    store.abort()
    thing = store.root["thing"]
    assert thing._p_changed is None
    storage.error, storage.failing = error, ["loadBefore"]
    with pytest.raises(StoreUnavailable):
        thing.value
    storage.failing = ()
    assert thing.value == 0


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("where", "use"),
    [
        ("iterator", lambda store: store.history()),
        ("iterator", lambda store: store.at(store.tid).close()),
        ("loadBefore", lambda store: store.at(store.tid).close()),
        ("iterator", lambda store: store.pack()),
        ("iterator", lambda store: store.pack(store.tid)),
        ("pack", lambda store: store.pack()),
    ],
    ids=["history", "at", "load at", "pack", "pack to", "pack itself"],
)
def test_who_asks_for_the_past_is_told_so(store, storage, where, use, error):
    storage.error, storage.failing = error, [where]
    with pytest.raises(StoreUnavailable, match="graph of the shop cannot be reached") as caught:
        use(store)
    assert caught.value.__cause__ is error
    storage.failing = ()
    use(store)
    assert len(store.history()) == 1


def test_what_a_storage_does_not_know_how_to_pack_is_another_error(store, storage):
    storage.error, storage.failing = StorageError("not now"), ["pack"]
    with pytest.raises(StoreError, match=r"could not be packed \(not now\)") as caught:
        store.pack()
    assert type(caught.value) is StoreError


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_what_was_written_is_stored_though_nobody_can_look_at_it(store, storage, error):
    """The server went after the commit, when the connection was to go on to what it had written."""
    change(store, 1)
    store.root["new thing"] = thing = Thing()
    storage.error, storage.failing = error, ["sync"]
    tid = store.persist("the second")
    assert store.tid == tid == store.history(1)[0].tid
    assert store.persist() == tid  # there is nothing to write
    thing._p_deactivate()
    with pytest.raises(StoreUnavailable):
        thing.value
    change(store, 2)
    with pytest.raises(StoreNotWritten):
        store.persist()
    storage.failing = ()
    assert thing.value == 0  # is not in what the connection saw before
    store.persist()
    store.abort()
    assert store.root["n"] == 2
    assert store.root["new thing"].value == 0


def test_an_error_is_not_its_own_cause(store, storage):
    store.root["n"] = 1
    storage.error, storage.failing = KeyboardInterrupt(), ["tpc_begin"]
    with pytest.raises(KeyboardInterrupt) as caught:
        store.persist()
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_whatever_reads_says_so(error):
    said = unreadable("the store", error)
    assert type(said) is StoreUnavailable
    assert "\n" not in str(said)


def test_damage_is_damage():
    damaged = sqlite3.DatabaseError("database disk image is malformed")
    assert type(unreadable("the store", damaged)) is StoreCorrupt
