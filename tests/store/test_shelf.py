"""Trees beside the graph: written with it, also after a commit that failed, and in memory only as far as they are used."""

from __future__ import annotations

import pytest
from ZODB.utils import z64

from pstore import Store
from pstore._store import shelf
from pstore._store.records import RECORD_FORMAT, decode, encode
from pstore.errors import StoreCorrupt, StoreError, StoreNotWritten
from pstore.testing.faults import Faults


@pytest.fixture
def path(tmp_path):
    return tmp_path / "graph.fs"


def put(store, numbers):
    tree = store.shelf.tree("tree")
    for number in numbers:
        tree[number] = f"value {number}"


def items(store):
    return dict(store.shelf.find("tree").items())


def expected(numbers):
    return {number: f"value {number}" for number in numbers}


@pytest.mark.parametrize("changes_more", [False, True])
def test_what_a_failed_commit_has_not_written_the_next_one_writes(tmp_path, path, changes_more):
    with Store(path) as store:
        put(store, range(100))
        store.persist()
        put(store, range(100, 250))
        with Faults(tmp_path, 1), pytest.raises(StoreNotWritten):
            store.persist()
        if changes_more:
            del store.shelf.tree("tree")[249]
            store.root["n"] = 1
        store.persist()
    with Store(path) as store:
        assert items(store) == expected(range(249 if changes_more else 250))


def test_pages_that_are_not_used_are_let_go_of(path, monkeypatch):
    monkeypatch.setattr(shelf, "_PAGES", 10)
    with Store(path) as store:
        for start in range(0, 2000, 100):
            put(store, range(start, start + 100))
            store.persist()
        assert store.shelf._cache.ringlen() < 30
        put(store, range(0, 2000, 7))
        store.persist()
        assert items(store) == expected(range(2000))
    with Store(path) as store:
        assert items(store) == expected(range(2000))


def test_what_is_made_anew_is_one_page_with_what_is_read(path):
    with Store(path) as store:
        put(store, range(200))
        store.persist()
        store.shelf._cache.minimize()
        assert store.shelf.find("tree")._p_changed is None
        put(store, range(200, 210))
        store.persist()
        assert items(store) == expected(range(210))


def test_the_root_of_the_database_is_written_once(path):
    with Store(path) as store:
        store.root["n"] = 0
        store.persist()
        put(store, [1])
        store.persist()
        named = store._jar.read(z64)[1]
        put(store, [2])
        store.persist()
        assert store._jar.read(z64)[1] == named


@pytest.mark.parametrize("damage", ["format", "class", "error"])
def test_a_page_that_cannot_be_read(path, monkeypatch, damage):
    with Store(path) as store:
        put(store, range(100))
        store.persist()
        store.shelf._cache.minimize()
        read = store._jar.read

        def other(oid):
            data, serial = read(oid)
            if damage == "error":
                raise OSError(5, "Input/output error")
            _, body, references = decode(data)
            if damage == "class":
                return encode(b"cbuiltins\nlist\n.", references, version=shelf.PAGE_FORMAT), serial
            return encode(body, references, version=RECORD_FORMAT), serial

        told = []
        store.shelf.could_not_read = told.append
        monkeypatch.setattr(store._jar, "read", other)
        with pytest.raises(StoreError, match="page .* of its index cannot be read") as caught:
            items(store)
        assert isinstance(caught.value, StoreCorrupt) == (damage != "error")
        assert told == [caught.value]
        monkeypatch.undo()
        assert items(store) == expected(range(100))
