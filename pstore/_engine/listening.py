"""`Listener`: a Unix domain socket at which other processes hand in messages; never stored.

See `pstore.client` for the exchange.  Rules: only the user that runs the program can connect (the socket has the mode
0600 from the moment it is there); what comes in is JSON and nothing else, in lines with a limit; a client that says
nothing is let go; an answer is given when the message is committed; the engine's thread is never waited for here.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import errno
import json
import os
import socket
import stat
import threading
from collections.abc import Callable
from typing import Any

from pstore.client import LONGEST
from pstore.errors import EngineError, UnknownTask

__all__ = ["Listener"]

PATIENCE = 30.0  # seconds for a client to say what it wants
MOST_CLIENTS = 64


class Listener:
    """Serves one socket, in a daemon thread.

    Attributes:
        path: of the socket.
    """

    def __init__(self, path: str, send: Callable[..., concurrent.futures.Future[bool]]) -> None:
        self.path = path
        self._send = send
        self._socket = _bound(path)
        self._inode = os.stat(path).st_ino
        self._loop = asyncio.new_event_loop()
        self._clients: set[asyncio.Task[None]] = set()
        self._accepting = self._loop.create_task(self._accept())
        threading.Thread(target=self._serve, name="pstore-listen", daemon=True).start()

    def close(self) -> None:
        """Listen no longer; who waits for an answer gets it if it is there."""
        with contextlib.suppress(OSError):
            if os.stat(self.path).st_ino == self._inode:  # else somebody else has made one there
                os.unlink(self.path)
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        for client in self._clients:
            client.get_loop().call_later(1.0, client.cancel)
        self._accepting.cancel()

    def _serve(self) -> None:
        try:
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._accepting)
            self._loop.run_until_complete(self._wait_for_clients())
        finally:
            self._socket.close()
            self._loop.close()

    async def _wait_for_clients(self) -> None:
        while self._clients:
            await asyncio.wait(list(self._clients))

    async def _accept(self) -> None:
        server = await asyncio.start_unix_server(self._connected, sock=self._socket, limit=LONGEST)
        try:
            await self._loop.create_future()
        finally:
            server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client: asyncio.Task[None] = asyncio.current_task()  # type: ignore[assignment]  # this is in one
        self._clients.add(client)
        try:
            if len(self._clients) <= MOST_CLIENTS:
                writer.write(json.dumps(await self._answer(reader)).encode() + b"\n")
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass  # the client has gone, or has to
        finally:
            self._clients.discard(client)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> dict[str, Any]:
        try:
            async with asyncio.timeout(PATIENCE):
                asked = json.loads(await reader.readuntil(b"\n"))
            to, message, id = asked["to"], asked["message"], asked.get("id")
            if not isinstance(to, str) or not isinstance(id, str | None):
                raise TypeError("'to' and 'id' are texts")
            return {"new": await asyncio.wrap_future(self._send(to, message, id=id))}
        except asyncio.LimitOverrunError:
            return {"error": f"a message is at most {LONGEST} bytes long", "kind": "ValueError"}
        except UnknownTask as error:
            return {"error": str(error), "kind": "UnknownTask", "known": error.known[:10]}
        except Exception as error:  # of any kind: it is the client's
            return {"error": str(error) or type(error).__name__, "kind": type(error).__name__}


def _bound(path: str) -> socket.socket:
    """Give a listening socket at `path`, which nobody else can use."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listening.fileno(), 0o600)  # on Linux what bind makes has this mode: it is never open to others
        _make_room(path)
        listening.bind(path)
        os.chmod(path, 0o600)
        listening.listen(MOST_CLIENTS)
    except OSError as error:
        listening.close()
        too_long = error.errno is None  # the message is Python's own: AF_UNIX path too long
        reason = f"{error}; choose a shorter path" if too_long else str(error.strerror)
        raise EngineError(f"cannot listen at {path}: {reason}") from error
    return listening


def _make_room(path: str) -> None:
    """Remove what a process that was killed has left there."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(errno.EEXIST, "there is a file that is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise OSError(errno.EADDRINUSE, "another process listens there")
