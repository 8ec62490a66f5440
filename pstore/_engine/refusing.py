"""`RefusingLoop`: what an event loop has that the durable one cannot have: each call says why, and what to do instead.

Rule: a method that asyncio's interface gets in a newer Python is refused until the durable loop defines it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn

from pstore.errors import NotOnThisLoop

__all__ = ["RefusingLoop"]

_GONE = "what it makes cannot outlive the process"
_EXCHANGE = _GONE, "connect, talk and close in a coroutine function and await pstore.step(function, ...)"
_SERVE = _GONE, "serve on the loop that hosts the engine, and hand what comes in to engine.call_soon_threadsafe"
_WATCH = (
    "what it watches belongs to the process",
    "watch it in a pstore.step, or on the loop that hosts the engine, which calls engine.call_soon_threadsafe",
)
_SIGNAL = (
    "signals come to the process",
    "call signal.signal where the program starts, with a handler that calls engine.call_soon_threadsafe",
)
_CHILD = _GONE, "run the program inside a step: await pstore.step(subprocess.run, [...])"
_RUN = "the engine runs it", "await it, or start it with asyncio.create_task; outside of tasks: engine.run(task)"
_OTHER = _GONE, "do the input and output in a function and await pstore.step(function, ...)"
_REFUSALS = {
    **dict.fromkeys(("create_server", "create_unix_server", "connect_accepted_socket", "sock_accept"), _SERVE),
    **dict.fromkeys(
        ("create_connection", "create_unix_connection", "create_datagram_endpoint", "start_tls"), _EXCHANGE
    ),
    **dict.fromkeys(("sock_connect", "sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into"), _EXCHANGE),
    **dict.fromkeys(("sock_sendall", "sock_sendto", "sock_sendfile", "sendfile"), _EXCHANGE),
    **dict.fromkeys(("connect_read_pipe", "connect_write_pipe"), _EXCHANGE),
    **dict.fromkeys(("add_reader", "remove_reader", "add_writer", "remove_writer"), _WATCH),
    **dict.fromkeys(("add_signal_handler", "remove_signal_handler"), _SIGNAL),
    **dict.fromkeys(("subprocess_exec", "subprocess_shell"), _CHILD),
    **dict.fromkeys(("run_forever", "run_until_complete"), _RUN),
    "stop": ("the engine runs it", "return from the task; whoever has the engine calls engine.stop()"),
    "getaddrinfo": ("it asks the network", "await pstore.step(socket.getaddrinfo, host, port)"),
    "getnameinfo": ("it asks the network", "await pstore.step(socket.getnameinfo, address, flags)"),
    "set_default_executor": ("an executor cannot be stored", "leave it: run_in_executor(None, ...) becomes a step"),
}


def _refuse(name: str) -> Callable[..., NoReturn]:
    def refused(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        reason, remedy = _REFUSALS.get(name, _OTHER)
        raise NotOnThisLoop(name, remedy, reason)

    refused.__name__, refused.__qualname__ = name, f"DurableLoop.{name}"
    refused.__doc__ = "Refuse: see `_REFUSALS`."
    return refused


# Whatever asyncio's interface has, or will have in a newer Python; what the durable loop can do it defines.
_INTERFACE = [name for name, member in vars(asyncio.AbstractEventLoop).items() if callable(member) and name[0] != "_"]
RefusingLoop: Any = type("RefusingLoop", (asyncio.AbstractEventLoop,), {name: _refuse(name) for name in _INTERFACE})
