"""What a URI means, and what is said of one that cannot be opened: one line, the right class, nothing made."""

from __future__ import annotations

import importlib
import sqlite3

import pytest

from pstore import Store
from pstore._store.storages import open_storage, shown
from pstore.errors import MissingExtra, NotAStore, StoreError, StoreUnavailable, UnsupportedStorage
from tests.store import servers


def refused(uri, error, match, **options):
    with pytest.raises(error, match=match) as caught:
        open_storage(uri, **options)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("uri", ["memory:", "x.fs", "sqlite:x", "postgresql://h/d", "mysql://h/d", "zeo:h:1"])
def test_durability_is_full_or_os(uri):
    with pytest.raises(ValueError, match="durability is 'full' or 'os', not 'none'"):
        open_storage(uri, durability="none")


def test_a_file_by_two_names(tmp_path):
    with Store(f"file:{tmp_path}/graph.fs") as store:
        store.root["n"] = 1
        store.persist()
    with Store(str(tmp_path / "graph.fs")) as store:
        assert store.root == {"n": 1}


@pytest.mark.parametrize(
    ("uri", "module", "package"),
    [
        ("sqlite:{}/s", "relstorage", "RelStorage"),
        ("postgresql://h/d", "relstorage", "RelStorage"),
        ("postgresql://h/d", "psycopg2", "psycopg2"),
        ("mysql://h/d", "pymysql", "PyMySQL"),
        ("zeo:h:1", "ZEO", "ZEO"),
    ],
)
def test_what_is_not_installed(uri, module, package, tmp_path, monkeypatch):
    real = importlib.import_module

    def without(name, *rest):
        if name.partition(".")[0] == module:
            raise ModuleNotFoundError(name)
        if name in ("relstorage", "psycopg2"):
            return None
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    uri = uri.format(tmp_path)
    error = refused(uri, MissingExtra, f"needs {package}, which is not installed; run: pip install 'pstore")
    assert f"pstore[{uri.partition(':')[0]}]" in str(error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("uri", "match"),
    [
        ("gopher://x", "no kind of storage that is known"),
        ("sqlite:{}/s?keephistory=false", "no option 'keephistory'"),
        ("sqlite:{}/s?keep_history=maybe", "keep_history is true or false"),
        ("zeo:", "names no address"),
        ("zeo:localhost", "names no address"),
        ("zeo:localhost:1?timeout=soon", "a number of seconds"),
        ("mysql://localhost", "names no database"),
        ("mysql://localhost:port/x", "the port is no number"),
    ],
)
def test_what_makes_no_sense(uri, match, tmp_path):
    servers.need("relstorage")
    servers.need("pymysql")
    refused(uri.format(tmp_path), UnsupportedStorage, match)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("uri", ["mysql://localhost/x", "zeo:localhost:1"])
def test_where_the_server_decides_on_durability(uri):
    refused(uri, UnsupportedStorage, "cannot be asked for here: it is up to", durability="os")


@pytest.mark.parametrize("uri", ["postgresql://me:secret@127.0.0.1:{}/x", "mysql://me:secret@127.0.0.1:{}/x"])
def test_servers_that_are_not_there(uri):
    for module in ("relstorage", "psycopg2", "pymysql"):
        servers.need(module)
    error = refused(uri.format(servers.free_port()), StoreUnavailable, "cannot be reached")
    assert error.retryable
    assert "secret" not in str(error)


def test_mariadb_is_refused(monkeypatch):
    for module in ("relstorage", "pymysql"):
        servers.need(module)
    monkeypatch.setattr("pstore._store.servers._column", lambda *_, **__: {"10.11.11-MariaDB"})
    refused("mysql://h/d", UnsupportedStorage, "it is 10.11.11-MariaDB, but only MySQL can be used")


@pytest.mark.parametrize("uri", ["zeo:127.0.0.1:{}?timeout=0.3", "zeo:{}/socket?timeout=0.3"])
def test_zeo_servers_that_are_not_there(uri, tmp_path):
    servers.need("ZEO")
    refused(uri.format(servers.free_port() if "127" in uri else tmp_path), StoreUnavailable, "cannot be reached")


def test_passwords_are_not_shown():
    assert shown("postgresql://me:secret@host/db?x=1") == "postgresql://me:***@host/db?x=1"
    assert shown("postgresql://host/db?user=me&password=secret") == "postgresql://host/db?user=me&password=***"
    assert shown("mysql://host/db") == "mysql://host/db"
    assert shown("/a:b@c/x.fs") == "/a:b@c/x.fs"


# -- SQLite


@pytest.fixture
def folder(tmp_path):
    servers.need("relstorage")
    return tmp_path / "store"


def test_sqlite_where_something_else_is(folder):
    folder.write_text("notes")
    refused(f"sqlite:{folder}", NotAStore, "it is not a folder")
    refused(f"sqlite:{folder}/no/where", NotAStore, "does not exist")
    folder.unlink()
    folder.mkdir()
    (folder / "notes").write_text("notes")
    refused(f"sqlite:{folder}", NotAStore, "something else in that folder")
    refused(f"sqlite:{folder}", NotAStore, "no store in that folder", read_only=True)
    assert [path.name for path in folder.iterdir()] == ["notes"]


def test_sqlite_that_is_damaged(folder):
    with Store(f"sqlite:{folder}") as store:
        store.root["n"] = 1
        store.persist()
    (folder / "main.sqlite3").write_bytes(b"no database " * 1000)
    for wal in folder.glob("main.sqlite3-*"):
        wal.unlink()
    refused(f"sqlite:{folder}", StoreError, "not a database")


def test_sqlite_keeps_its_history_or_not(folder):
    Store(f"sqlite:{folder}?keep_history=false").close()
    refused(f"sqlite:{folder}?keep_history=true", StoreError, "was made with keep_history=false")
    with Store(f"sqlite:{folder}") as store:
        assert store._db.storage.keep_history is False
        store.root["n"] = 1
        store.persist()


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("os", 1)])
def test_sqlite_is_durable(folder, durability, level, monkeypatch):
    """Its settings, in every database that it opens."""
    from relstorage.adapters.sqlite import drivers

    opened, real = {}, drivers.Sqlite3Driver._connect_to_file_or_uri

    def connect(self, name, **options):
        connection = real(self, name, **options)
        (now,) = sqlite3.Connection.execute(connection, "PRAGMA synchronous").fetchone()
        opened.setdefault(str(name).rpartition("/")[2], set()).add(now)
        return connection

    monkeypatch.setattr(drivers.Sqlite3Driver, "_connect_to_file_or_uri", connect)
    storage = open_storage(f"sqlite:{folder}", durability=durability)
    with Store(storage) as store:
        store.root["n"] = 1
        store.persist()
    assert opened["main.sqlite3"] == {level}
    assert opened["oids.sqlite3"] == {level}
