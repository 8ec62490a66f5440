"""Storages that are not one file: SQLite, PostgreSQL and MySQL through RelStorage, and ZEO.

Owned here: what their URIs mean, that their settings are durable, and that what they raise when they cannot be opened
becomes one clear error.  Each package is imported when a URI asks for it; the extras of pstore's have the same names.

Durable settings.  RelStorage opens SQLite with ``synchronous=NORMAL``, which may lose the last commits in a power cut,
and its database of object ids with none at all, which may hand an id out twice after one: here both are FULL, and
NORMAL with ``durability="os"``.  For PostgreSQL ``synchronous_commit`` is set for the connections of the store, on or
off, whatever the server's default.  MySQL and ZEO know no setting per connection: they are as the server is set up.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from pstore.errors import MissingExtra, NotAStore, StoreCorrupt, StoreError, StoreUnavailable, UnsupportedStorage

__all__ = ["open_mysql", "open_postgresql", "open_sqlite", "open_zeo"]

_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_PATIENCE = 10.0  # seconds for a server to answer
# megabytes of records that RelStorage keeps; on 3.15 the cache of its 4.3 crashes the interpreter
_CACHE = 64 if sys.version_info < (3, 15) else 0


def open_sqlite(uri: str, shown: str, *, read_only: bool, durability: str) -> Any:
    """Open the databases in a folder, made when it is not there."""
    place, _, query = uri.partition(":")[2].partition("?")
    options = _options(shown, query, {"keep_history"})
    folder = Path(place.removeprefix("//"))
    _check_folder(shown, folder, read_only)
    _need(shown, "relstorage", "RelStorage", "sqlite")
    adapters = importlib.import_module("relstorage.adapters.sqlite.adapter")
    level = "FULL" if durability == "full" else "NORMAL"
    folder.mkdir(exist_ok=True)
    _settle_history(shown, options, _sqlite_tables(shown, folder / "main.sqlite3"))
    relational = _relational(shown, options, read_only)
    adapter = adapters.Sqlite3Adapter(
        str(folder), pragmas={"synchronous": level}, options=relational, oidallocator=_oids(folder, level)
    )
    storage = _relstorage(shown, adapter, relational)
    if durability == "full" and not read_only:
        for where in (folder, folder.absolute().parent):
            _sync(where)
    return storage


def open_postgresql(uri: str, shown: str, *, read_only: bool, durability: str) -> Any:
    """Open a database of a PostgreSQL server.  What the URI has beside ours is for libpq."""
    parts = urlsplit(uri)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    options = _options(shown, urlencode({k: query.pop(k) for k in ("keep_history",) if k in query}), {"keep_history"})
    _need(shown, "relstorage", "RelStorage", "postgresql")
    _need(shown, "psycopg2", "psycopg2", "postgresql")
    wait = "on" if durability == "full" else "off"
    query["options"] = f"{query.get('options', '')} -c synchronous_commit={wait}".strip()
    query.setdefault("connect_timeout", str(int(_PATIENCE)))
    adapters = importlib.import_module("relstorage.adapters.postgresql")
    dsn = _dsn(shown, urlunsplit(("postgresql", parts.netloc, parts.path, "", "")), query)
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = ANY (current_schemas(false))"
    _settle_history(shown, options, _column(shown, tables, "psycopg2", dsn=dsn))
    relational = _relational(shown, options, read_only)
    return _relstorage(shown, adapters.PostgreSQLAdapter(dsn=dsn, options=relational), relational)


def open_mysql(uri: str, shown: str, *, read_only: bool, durability: str) -> Any:
    """Open a database of a MySQL server."""
    _only_full(shown, durability, "innodb_flush_log_at_trx_commit of the server")
    parts = urlsplit(uri)
    options = _options(shown, parts.query, {"keep_history", "unix_socket"})
    _need(shown, "relstorage", "RelStorage", "mysql")
    _need(shown, "pymysql", "PyMySQL", "mysql")
    given: dict[str, Any] = {
        "host": parts.hostname,
        "port": _port(shown, parts),
        "user": unquote(parts.username) if parts.username else None,
        "password": _Hidden(unquote(parts.password)) if parts.password else None,
        "database": unquote(parts.path.lstrip("/")),
        "unix_socket": options.pop("unix_socket", None),
        "connect_timeout": int(_PATIENCE),
    }
    if not given["database"]:
        raise UnsupportedStorage(shown, "it names no database: mysql://USER:PASSWORD@HOST/NAME")
    adapters = importlib.import_module("relstorage.adapters.mysql")
    known = {name: value for name, value in given.items() if value is not None}
    (version,) = _column(shown, "SELECT VERSION()", "pymysql", **known)
    if "mariadb" in version.lower():  # it takes RelStorage's first tables, but not all
        raise UnsupportedStorage(shown, f"it is {version}, but only MySQL can be used, from 8 on")
    _settle_history(shown, options, _column(shown, "SHOW TABLES", "pymysql", **known))
    relational = _relational(shown, options, read_only)
    relational.driver = "PyMySQL"
    adapter = adapters.MySQLAdapter(options=relational, **known)
    # To MySQL 8 its inline references mean nothing; 9 takes them for foreign keys, between columns of two types
    statement = adapter.schema.CREATE_OBJECT_STATE_TMPL
    adapter.schema.CREATE_OBJECT_STATE_TMPL = statement.replace('REFERENCES "transaction"', "")
    return _relstorage(shown, adapter, relational)


class _Hidden(str):
    """A password: RelStorage shows what it connects with, but for `passwd`, a name that PyMySQL gives up."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def open_zeo(uri: str, shown: str, *, read_only: bool, durability: str) -> Any:
    """Connect to a ZEO server, at ``HOST:PORT`` or a socket's path."""
    _only_full(shown, durability, "the storage of the server")
    place, _, query = uri.partition(":")[2].partition("?")
    options = _options(shown, query, {"storage", "timeout"})
    address = _address(shown, place.removeprefix("//"))
    _need(shown, "ZEO", "ZEO", "zeo")
    client = importlib.import_module("ZEO.ClientStorage")
    try:
        patience = float(options.get("timeout", _PATIENCE))
    except ValueError:
        raise UnsupportedStorage(shown, "timeout is a number of seconds") from None
    try:
        return client.ClientStorage(
            address, storage=options.get("storage", "1"), name=shown, read_only=read_only, wait_timeout=patience
        )
    except Exception as error:
        raise StoreUnavailable(shown, _line(error) or "no answer") from error


def _address(shown: str, place: str) -> Any:
    if "/" in place:
        return place
    host, _, port = place.rpartition(":")
    if not port.isdigit():
        raise UnsupportedStorage(shown, "it names no address: zeo:HOST:PORT or zeo:/PATH/OF/A/SOCKET")
    return (host.strip("[]") or "localhost", int(port))


def _port(shown: str, parts: Any) -> int | None:
    try:
        return parts.port  # type: ignore[no-any-return]
    except ValueError:
        raise UnsupportedStorage(shown, "the port is no number") from None


def _options(shown: str, query: str, known: set[str]) -> dict[str, Any]:
    """Read what follows the question mark."""
    options: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in known:
            raise UnsupportedStorage(shown, f"it has no option {name!r}, but {', '.join(sorted(known))}")
    if "keep_history" in options:
        answer = _TRUTH.get(options["keep_history"].lower())
        if answer is None:
            raise UnsupportedStorage(shown, "keep_history is true or false")
        options["keep_history"] = answer
    return options


def _only_full(shown: str, durability: str, instead: str) -> None:
    if durability != "full":
        raise UnsupportedStorage(shown, f"durability={durability!r} cannot be asked for here: it is up to {instead}")


def _need(shown: str, module: str, package: str, extra: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(shown, package, extra) from error


def _relational(shown: str, options: dict[str, Any], read_only: bool) -> Any:
    return importlib.import_module("relstorage.options").Options(
        name=shown,
        keep_history=options.get("keep_history", True),
        read_only=read_only,
        create_schema=not read_only,
        cache_local_mb=_CACHE,
        commit_lock_timeout=int(_PATIENCE),  # a whole number: MySQL refuses another
    )


def _relstorage(shown: str, adapter: Any, options: Any) -> Any:
    """Open it; whatever its many layers raise says that it cannot be reached, is something else, or is damaged."""
    try:
        return importlib.import_module("relstorage.storage").RelStorage(adapter, options=options)
    except Exception as error:
        text = _line(error)
        if options.read_only and type(error).__name__ == "StorageError":
            raise NotAStore(shown, text) from error
        if type(error).__module__.partition(".")[0] == "sqlite3" and type(error).__name__ == "DatabaseError":
            raise StoreCorrupt(shown, text) from error
        raise StoreUnavailable(shown, text) from error


def _oids(folder: Path, level: str) -> Any:
    """RelStorage's allocator of object ids, with a database that outlives a power cut: see the module."""
    drivers = importlib.import_module("relstorage.adapters.sqlite.drivers")
    allocators = importlib.import_module("relstorage.adapters.sqlite.oidallocator")

    class Durable(drivers.Sqlite3Driver):  # type: ignore[misc, name-defined]  # RelStorage has no types
        def connect_to_file(self, *args: Any, **options: Any) -> Any:
            options["override_pragmas"] = {"journal_mode": "wal", "synchronous": level}
            return super().connect_to_file(*args, **options)

    return allocators.Sqlite3OIDAllocator(str(folder / "oids.sqlite3"), driver=Durable())


def _check_folder(shown: str, folder: Path, read_only: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise NotAStore(shown, "it is not a folder, in which the SQLite databases of a store are")
    if not folder.absolute().parent.is_dir():
        raise NotAStore(shown, "the folder that it should be in does not exist")
    if not (folder / "main.sqlite3").exists():
        if read_only:
            raise NotAStore(shown, "there is no store in that folder" if folder.exists() else "there is no such folder")
        if folder.exists() and any(folder.iterdir()):
            raise NotAStore(shown, "there is something else in that folder")


def _dsn(shown: str, uri: str, more: dict[str, str]) -> str:
    """Make what RelStorage can add to: names and values instead of a URI."""
    extensions = importlib.import_module("psycopg2.extensions")
    try:
        return str(extensions.make_dsn(**{**extensions.parse_dsn(uri), **more}))
    except Exception as error:
        raise UnsupportedStorage(shown, _line(error)) from error


def _column(shown: str, query: str, module: str, **parameters: Any) -> set[str]:
    """Ask a server one thing, before RelStorage makes tables in it."""
    driver = importlib.import_module(module)
    try:
        connection = driver.connect(**parameters)
        try:
            with connection.cursor() as cursor:
                cursor.execute(query)
                return {str(row[0]) for row in cursor.fetchall()}
        finally:
            connection.close()
    except Exception as error:
        raise StoreUnavailable(shown, _line(error)) from error


def _sqlite_tables(shown: str, path: Path) -> set[str]:
    if not path.exists():
        return set()
    sqlite3 = importlib.import_module("sqlite3")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            return {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(shown, _line(error)) from error
    except sqlite3.DatabaseError as error:
        raise StoreCorrupt(shown, _line(error)) from error


def _settle_history(shown: str, options: dict[str, Any], tables: set[str]) -> None:
    """A store is made with a past or without, and stays so; RelStorage would add the tables of the other kind."""
    if "object_state" not in tables:
        return
    kept = "transaction" in tables
    if options.setdefault("keep_history", kept) != kept:
        raise StoreError(shown, f"it was made with keep_history={str(kept).lower()}, and that cannot be changed")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _line(error: BaseException) -> str:
    """What it says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:500] or type(error).__name__
