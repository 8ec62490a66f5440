"""What the programs share: the decorator that lists them, and small coroutines to wait for."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from dataclasses import dataclass

label: contextvars.ContextVar[str] = contextvars.ContextVar("label", default="none")


@dataclass(frozen=True)
class Program:
    """`main(out)` is run; `primitives` are the rows of the table that it counts for.

    `apart` says why there is no run on asyncio's own loop to compare with; None: there is one.
    """

    main: object
    primitives: tuple[str, ...]
    apart: str | None = None


PROGRAMS: dict[str, Program] = {}


def program(*primitives, since=(3, 11), apart=None):
    """List the program, unless this Python is older than what it uses."""

    def add(fn):
        if sys.version_info >= since:
            PROGRAMS[fn.__name__] = Program(fn, primitives, apart)
        return fn

    return add


def now():
    return asyncio.get_running_loop().time()


async def nap(seconds, value=None):
    await asyncio.sleep(seconds)
    return value


async def fail(seconds, text):
    await asyncio.sleep(seconds)
    raise ValueError(text)


async def outcome(awaitable):
    """What became of it, as a text."""
    try:
        return f"{await awaitable!r} at {now():g}"
    except (Exception, asyncio.CancelledError) as error:
        return f"{error!r} at {now():g}"


def kinds(results):
    return [repr(result) for result in results]
