"""The contract of `pstore.testing.storages`, over every storage that this machine can have."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

import pytest

from pstore._store.storages import open_storage
from pstore.testing.storages import StorageContract
from tests.store import servers

numbers = itertools.count(1)


@pytest.fixture(scope="module")
def short():
    """A folder with a name that is short enough for a socket, and open to the server's user."""
    folder = Path(tempfile.mkdtemp(prefix="ps"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def postgresql(short):
    (short / "pg").mkdir()
    with servers.postgresql(short / "pg") as uri:
        # No power is cut here; to end, with all these databases, took 15 s of fsync.
        _tell_postgresql(uri, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        yield uri


def _tell_postgresql(uri, *statements):
    import psycopg2

    connection = psycopg2.connect(uri)
    connection.autocommit = True
    for statement in statements:
        connection.cursor().execute(statement)
    connection.close()


@pytest.fixture(scope="module")
def mysql(short):
    (short / "my").mkdir()
    with servers.mysql(short / "my") as server:
        yield server


class TestMemory(StorageContract):
    survives = False

    @pytest.fixture
    def uri(self):
        return "memory:"


class TestFile(StorageContract):
    @pytest.fixture
    def uri(self, tmp_path):
        return str(tmp_path / "graph.fs")


class TestFileWithoutFsync(TestFile):
    def open_store(self, uri, **options):
        from pstore import Store

        return Store(uri, durability="os", **options)


class TestSQLite(StorageContract):
    sharing = "conflicts"

    @pytest.fixture
    def uri(self, tmp_path):
        servers.need("relstorage")
        return f"sqlite:{tmp_path}/store"


class TestSQLiteWithoutHistory(TestSQLite):
    history = False

    @pytest.fixture
    def uri(self, tmp_path):
        servers.need("relstorage")
        return f"sqlite:{tmp_path}/store?keep_history=false"


class TestPostgreSQL(StorageContract):
    sharing = "conflicts"
    options = ""

    @pytest.fixture
    def uri(self, postgresql):
        name = f"db{next(numbers)}"
        _tell_postgresql(postgresql, f"CREATE DATABASE {name}")
        return postgresql.replace("/postgres?", f"/{name}?") + self.options


class TestPostgreSQLWithoutHistory(TestPostgreSQL):
    history = False
    options = "&keep_history=false"


class TestMySQL(StorageContract):
    sharing = "conflicts"

    @pytest.fixture
    def uri(self, mysql):
        name = f"db{next(numbers)}"
        servers.tell_mysql(mysql.place, f"CREATE DATABASE {name}")
        return f"mysql://root@localhost/{name}?unix_socket={mysql.place}"


class TestMySQLWithoutHistory(StorageContract):
    """Through the network, with a password."""

    sharing = "conflicts"
    history = False

    @pytest.fixture
    def uri(self, mysql):
        name = f"db{next(numbers)}"
        servers.tell_mysql(
            mysql.place,
            f"CREATE DATABASE {name}",
            "CREATE USER IF NOT EXISTS 'me'@'%' IDENTIFIED BY 'a:b@c/d'",
            f"GRANT ALL ON {name}.* TO 'me'@'%'",
        )
        return f"mysql://me:a%3Ab%40c%2Fd@127.0.0.1:{mysql.port}/{name}?keep_history=false"

    def test_the_password_is_not_shown(self, uri):
        """RelStorage names what it connects with in what it logs."""
        storage = open_storage(uri)
        try:
            assert "a:b@c/d" not in f"{storage._adapter} {storage._adapter.connmanager._params}"
        finally:
            storage.close()


class TestZEO(StorageContract):
    sharing = "conflicts"

    @pytest.fixture
    def uri(self, short):
        with servers.zeo(short, f"z{next(numbers)}") as place:
            yield f"zeo:{place}"
