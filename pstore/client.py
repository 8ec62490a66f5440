"""Messages to a program that another process of this machine runs: through the socket that its engine listens at.

    pstore.client.send("orders.fs", "order-17", {"approved": True}, id="mail-4711")

The exchange: the client connects and sends one line of JSON, ``{"to": ..., "message": ..., "id": ...}``; the program
answers, when the message is committed, with one line, ``{"new": true}`` or ``{"error": "...", "kind": "UnknownTask"}``.

Rules: imports nothing of the engine's, so that it starts quickly; what goes through is JSON, so that nothing that
comes in can name code; a line has a limit on both sides.
"""

from __future__ import annotations

import json
import os
import socket
import stat
from typing import Any

from pstore.errors import EngineError, NotAcknowledged, TaskDone, UnknownTask

__all__ = ["LONGEST", "send", "socket_beside"]

# Bytes of a line.
LONGEST = 1 << 20


def send(
    uri: str | os.PathLike[str], to: str, message: Any, *, id: str | None = None, timeout: float | None = 30.0
) -> bool:
    """Send a message to a program that runs; returns when it is durable there.

    Args:
        uri: the file of the store, beside which the program listens (``engine.listen()``), or the path of the socket.
        to: the id of a task, or the name under which the root has an inbox.
        message: what JSON can say.
        id: a message that comes again under the same id is dropped; with one, sending again does no harm.
        timeout: seconds to wait for the acknowledgement; None: as long as it takes.

    Returns:
        Whether the message is new.

    Raises:
        UnknownTask, TaskDone: nobody can receive it.
        NotAcknowledged: nobody listens, the program went away, its run failed, or it took too long.
        ValueError, TypeError: JSON cannot say the message, it is too long, or an id is no text.  Nothing was sent.
    """
    for what, text in (("id of the receiver", to), ("id of a message", "" if id is None else id)):
        if not isinstance(text, str):
            raise TypeError(f"the {what} is a text, got {text!r}")
    line = json.dumps({"to": to, "message": message, "id": id}, allow_nan=False).encode() + b"\n"
    if len(line) > LONGEST:
        raise ValueError(
            f"the message is {len(line)} bytes long, and at most {LONGEST} go through; pass a path or a key"
        )
    path = _socket_of(os.fspath(uri))
    try:
        answer = json.loads(_exchange(path, line, timeout))
    except (OSError, ValueError) as error:
        raise NotAcknowledged(path, _explained(error)) from error
    return _understood(answer, to, path)


def socket_beside(path: str) -> str:
    """Give the path of the socket that belongs to the file of a store."""
    return f"{path.removeprefix('file:')}.sock"


def _socket_of(uri: str) -> str:
    path = uri.removeprefix("file:")
    try:
        return path if stat.S_ISSOCK(os.stat(path).st_mode) else socket_beside(path)
    except OSError:
        return path if path.endswith(".sock") else socket_beside(path)


def _exchange(path: str, line: bytes, timeout: float | None) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(path)
        connection.sendall(line)
        with connection.makefile("rb") as answers:
            answer = answers.readline(LONGEST)
    if not answer.endswith(b"\n"):
        raise ConnectionError("the program ended before it answered")
    return answer


def _explained(error: Exception) -> str:
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return "nobody listens there; the program calls engine.listen() while it runs"
    if isinstance(error, TimeoutError):
        return "the program did not answer in time"
    return str(error) or type(error).__name__


def _understood(answer: dict[str, Any], to: str, path: str) -> bool:
    kind = answer.get("kind")
    if kind == "UnknownTask":
        raise UnknownTask(to, tuple(answer.get("known", ())))
    if kind == "TaskDone":
        raise TaskDone(to)
    if kind in ("RunFailed", "EngineClosed"):
        raise NotAcknowledged(path, str(answer["error"]))
    if "error" in answer:
        raise EngineError(str(answer["error"]))
    return bool(answer["new"])
