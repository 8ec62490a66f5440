"""The awaitables, managers and iterators that the cases are built from; no case lives here."""

from __future__ import annotations

import types
from typing import Any

from tests.frames.kit import Fault, emit


@types.coroutine
def pause(value):
    """Suspend once; what is sent in is the result."""
    return (yield value)


async def get(value):
    """Suspend once, then give the value back."""
    await pause(("get", value))
    return value


async def quiet(value):
    """The same without showing the value, for values whose repr holds an address."""
    await pause("quiet")
    return value


async def sent(value):
    """Suspend once, then give back what was sent in."""
    return await pause(("sent", value))


async def fail(value):
    """Suspend once, then raise."""
    await pause(("fail", value))
    raise Fault(value)


def call(*args, **kwargs):
    """The arguments in the order they came in."""
    return args, tuple(kwargs.items())


class Box:
    """A mutable value with identity."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Box({self.value!r})"

    def add(self, n):
        """Add in place."""
        self.value += n
        return self.value


class Countdown:
    """A plain iterator."""

    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return self

    def __next__(self):
        if self.n <= 0:
            raise StopIteration
        self.n -= 1
        return self.n


class Guard:
    """A context manager that tells what it sees."""

    def __init__(self, name, swallow=False, raises=None):
        self.name, self.swallow, self.raises = name, swallow, raises

    def __enter__(self):
        emit("enter", self.name)
        return self.name.upper()

    def __exit__(self, kind, value, tb):
        emit("exit", self.name, kind and kind.__name__, value and value.args, tb and tb.tb_frame.f_code.co_name)
        if self.raises is not None:
            raise self.raises
        return self.swallow


class AsyncGuard:
    """The same, suspending on both ends."""

    def __init__(self, name, swallow=False, raises=None):
        self.name, self.swallow, self.raises = name, swallow, raises

    async def __aenter__(self):
        await pause(("aenter", self.name))
        return self.name.upper()

    async def __aexit__(self, kind, value, tb):
        got = await pause(("aexit", self.name, kind and kind.__name__))
        emit("aexit", self.name, got, value and value.args)
        if self.raises is not None:
            raise self.raises
        return self.swallow


class AsyncCount:
    """An async iterator written by hand."""

    def __init__(self, n):
        self.i, self.n = 0, n

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.i >= self.n:
            raise StopAsyncIteration
        self.i += 1
        return self.i, await sent(self.i)


async def counter(n, step=1):
    """An async generator that tells what is sent into it and when it ends."""
    try:
        for i in range(0, n * step, step):
            got = yield await sent(i)
            emit("sent to counter", got)
    finally:
        emit("counter ends")


def ticker(n):
    """A generator that tells when it runs."""
    for i in range(n):
        emit("tick", i)
        yield i
    return "ticked"
