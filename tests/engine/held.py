"""What may be held across an await, kind by kind.  ``python -m tests.engine.held`` prints the README's table.

Owns: the cases.  Each makes a value, holds it in the local `held` while its task is suspended in `hop`, and then uses
it.  `tests.engine.holding` runs each case up to there, kills the process, and has a fresh one go on; what came of it
is compared with what is said here, and what the case returns with what it returns on asyncio's own loop.
"""

from __future__ import annotations

import array
import asyncio
import collections
import concurrent.futures
import contextlib
import contextvars
import csv
import ctypes
import dataclasses
import datetime
import decimal
import enum
import functools
import hashlib
import http.client
import io
import itertools
import json
import logging
import mmap
import multiprocessing
import multiprocessing.shared_memory
import os
import pathlib
import queue
import random
import re
import selectors
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import weakref
import zipfile
import zlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pstore

VERSION = sys.version_info[:2]

KEPT, STEP, ANEW, REFUSED, NOT_HERE, NO_RESULT, NOT_KEPT = (
    "kept",
    "a step",
    "made anew",
    "refused",
    "refused when called",
    "refused as a result",
    "not kept",
)


@dataclass(frozen=True)
class Row:
    """One row of the table; `what`: the values, `outcome`: what becomes of them, `how`: how, or what instead."""

    what: str
    outcome: str
    how: str


@dataclass(frozen=True)
class Case:
    """One value of a row.

    Attributes:
        run: a coroutine function.
        words: what the message of a refusal has to have: the type or method first, then parts of the remedy.
    """

    row: Row
    run: Callable[[], Coroutine[Any, Any, Any]]
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.run.__name__


ROWS: list[Row] = []
CASES: dict[str, Case] = {}


def row(what: str, outcome: str, how: str) -> Callable[..., Any]:
    """Start a row; what it gives is the decorator of its cases."""
    made = Row(what, outcome, how)
    ROWS.append(made)

    def case(*words: str, since: tuple[int, int] = (3, 11)) -> Callable[[Any], Any]:
        def add(run: Any) -> Any:
            if since <= VERSION:
                assert run.__name__ not in CASES, run.__name__
                CASES[run.__name__] = Case(made, run, words)
            return run

        return add

    return case


async def hop() -> None:
    """Where the process is killed."""
    await asyncio.sleep(0.01)


async def nap(seconds: float, value: Any = None) -> Any:
    await asyncio.sleep(seconds)
    return value


async def fail(seconds: float, error: BaseException) -> None:
    await asyncio.sleep(seconds)
    raise error


# ---------------------------------------------------------------------------------------------- kept: asyncio

case = row("`Lock`, `Condition`, `Semaphore`, `Event`, `Barrier` of asyncio", KEPT, "with who holds them and who waits")


@case()
async def lock():
    held, got = asyncio.Lock(), []

    async def taker(name):
        async with held:
            got.append(name)

    await held.acquire()
    takers = [asyncio.create_task(taker(name)) for name in "ab"]
    await hop()
    before = held.locked(), list(got)
    held.release()
    await asyncio.gather(*takers)
    return before, got, held.locked()


@case()
async def lock_in_a_with_block():
    held, got = asyncio.Lock(), []

    async def taker():
        async with held:
            got.append(1)

    async with held:
        task = asyncio.create_task(taker())
        await hop()
        before = list(got)
    await task
    return before, got


@case()
async def condition():
    held, got = asyncio.Condition(), []

    async def waiter(name):
        async with held:
            await held.wait_for(lambda: len(got) >= 1)
            got.append(name)

    waiters = [asyncio.create_task(waiter(name)) for name in "ab"]
    await hop()
    async with held:
        got.append("go")
        held.notify_all()
    await asyncio.gather(*waiters)
    return got


@case()
async def semaphore():
    held, got = asyncio.Semaphore(2), []

    async def taker(name):
        async with held:
            got.append(name)

    await held.acquire()
    await held.acquire()
    takers = [asyncio.create_task(taker(name)) for name in "ab"]
    await hop()
    before = list(got)
    held.release()
    await asyncio.gather(*takers)
    return before, got, held.locked()


@case()
async def bounded_semaphore():
    held = asyncio.BoundedSemaphore(1)
    await held.acquire()
    await hop()
    held.release()
    with contextlib.suppress(ValueError):
        held.release()
        return "released twice"
    return held.locked()


@case()
async def event():
    held = asyncio.Event()
    waiters = [asyncio.create_task(held.wait()) for _ in range(2)]
    await hop()
    before = held.is_set(), [task.done() for task in waiters]
    held.set()
    return before, await asyncio.gather(*waiters)


@case()
async def barrier():
    held = asyncio.Barrier(3)
    waiters = [asyncio.create_task(held.wait()) for _ in range(2)]
    await hop()
    before = held.n_waiting
    return before, sorted([await held.wait(), *await asyncio.gather(*waiters)])


case = row("`Queue`, `LifoQueue`, `PriorityQueue`", KEPT, "with their items, and who waits at either end or in `join`")


@case()
async def queue_that_is_full():
    held = asyncio.Queue(1)
    held.put_nowait(1)
    putter = asyncio.create_task(held.put(2))
    joiner = asyncio.create_task(held.join())
    await hop()
    before = held.full(), putter.done(), joiner.done()
    got = [await held.get(), await held.get()]
    held.task_done()
    held.task_done()
    await joiner
    return before, got, putter.done()


@case()
async def queue_that_is_empty():
    held = asyncio.Queue()
    getters = [asyncio.create_task(held.get()) for _ in range(2)]
    await hop()
    for n in range(2):
        held.put_nowait(n)
    return await asyncio.gather(*getters)


@case()
async def other_queues():
    held = asyncio.LifoQueue(), asyncio.PriorityQueue()
    for each in held:
        for n in (2, 3, 1):
            each.put_nowait(n)
    await hop()
    return [[each.get_nowait() for _ in range(3)] for each in held]


@case(since=(3, 13))
async def queue_that_is_shut_down():
    held = asyncio.Queue()
    held.put_nowait(1)
    held.shutdown()
    await hop()
    got = [await held.get()]
    try:
        await held.get()
    except asyncio.QueueShutDown:
        got.append("shut down")
    return got


case = row("`pstore.Inbox`; who waits for a message, with a `timeout` or without", KEPT, "with its messages, and the ids that it knows")


@case()
async def inbox():
    held, other, loop = pstore.Inbox(), pstore.Inbox(), asyncio.get_running_loop()
    held.put(loop, "first", "1")  # as pstore.send does, which asyncio's own loop does not have
    receiver = asyncio.create_task(other.receive(timeout=5))
    await hop()
    again = held.put(loop, "first", "1")
    other.put(loop, "second", None)
    return again, await held.receive(), await receiver


case = row("`TaskGroup`, `timeout`, `timeout_at`, inside their `async with`", KEPT, "deadlines are points in time")


@case()
async def task_group():
    async with asyncio.TaskGroup() as held:
        first = held.create_task(nap(0.02, 1))
        await hop()
        second = held.create_task(nap(0.01, 2))
    return first.result(), second.result()


@case()
async def task_group_that_fails():
    try:
        async with asyncio.TaskGroup() as held:
            held.create_task(fail(0.03, ValueError("child")))
            await hop()
            await asyncio.sleep(5)
    except* ValueError as group:
        failed = [str(error) for error in group.exceptions]
    return failed


@case()
async def timeout():
    try:
        async with asyncio.timeout(0.03) as held:
            await hop()
            await asyncio.sleep(5)
    except TimeoutError:
        return held.expired()


@case()
async def timeout_at():
    held = asyncio.timeout_at(asyncio.get_running_loop().time() + 5)
    async with held:
        await hop()
        held.reschedule(asyncio.get_running_loop().time() + 0.01)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(5)
    return held.expired()


case = row("Tasks: pending, done, failed, cancelled; `current_task()`", KEPT, "the same object everywhere")


@case()
async def task():
    held = asyncio.create_task(nap(0.02, "slept"), name="sleeper")
    done = []
    held.add_done_callback(lambda future: done.append(future.result()))
    await hop()
    before = held.done(), held.get_name(), held in asyncio.all_tasks()
    return before, await held, done


@case()
async def task_that_was_cancelled():
    held = asyncio.create_task(nap(5))
    await asyncio.sleep(0)
    held.cancel("stop")
    await hop()
    try:
        await held
    except asyncio.CancelledError as error:
        return held.cancelled(), error.args


@case()
async def task_that_failed():
    held = asyncio.create_task(fail(0, ValueError("why")))
    await hop()
    return repr(held.exception())


@case()
async def current_task():
    held = asyncio.current_task()
    await hop()
    return held is asyncio.current_task(), held.get_coro().__name__, held.cancelling()


@case()
async def weak_set_of_tasks():
    task = asyncio.create_task(nap(0.02))
    held = weakref.WeakSet([task, asyncio.current_task()]), weakref.ref(task)
    await hop()
    before = len(held[0]), held[1]() is task
    await task
    return before


case = row("`loop.create_future()`, `asyncio.Future()`, with callbacks", KEPT, "a result set after the restart arrives")


@case()
async def future_of_the_loop():
    held, seen = asyncio.get_running_loop().create_future(), []
    held.add_done_callback(lambda future: seen.append(future.result()))
    waiter = asyncio.ensure_future(held)
    await hop()
    held.set_result("set")
    return await held, waiter is held, seen


@case()
async def future():
    held = asyncio.Future()

    async def wait():
        return await held

    waiter = asyncio.create_task(wait())
    await hop()
    held.set_exception(KeyError("set"))
    try:
        await waiter
    except KeyError as error:
        return error.args


@case()
async def future_that_is_done():
    held = asyncio.Future()
    held.set_result([1])
    await hop()
    return await held


case = row(
    "What `gather`, `shield`, `wait_for`, `wait`, `as_completed` give, also half way", KEPT, "with what they wait for"
)


@case()
async def gather():
    held = asyncio.gather(nap(0.02, 1), nap(0.03, 2), fail(0.02, ValueError("x")), return_exceptions=True)
    await hop()
    return repr(await held)


@case()
async def shield():
    inner = asyncio.create_task(nap(0.03, "inner"))
    held = asyncio.shield(inner)
    await hop()
    held.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await held
    return await inner


@case()
async def wait_for():
    held = asyncio.create_task(asyncio.wait_for(nap(5), 0.03)), asyncio.wait_for(nap(0, 1), 5)
    await hop()
    with contextlib.suppress(TimeoutError):
        await held[0]
        return "in time"
    return await held[1]


@case()
async def wait():
    tasks = [asyncio.create_task(nap(delay, delay)) for delay in (0.02, 5)]
    held = asyncio.create_task(asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))
    await hop()
    done, pending = await held
    tasks[1].cancel()
    return [task.result() for task in done], len(pending)


@case()
async def as_completed():
    held = asyncio.as_completed([nap(0.03, "c"), nap(0, "a"), nap(0.02, "b")])
    got = [await next(held)]
    await hop()
    got += [await coming for coming in held]
    return got


@case(since=(3, 13))
async def as_completed_async():
    got = []
    async for held in asyncio.as_completed([asyncio.create_task(nap(delay, delay)) for delay in (0.03, 0, 0.02)]):
        got.append(await held)
        await hop()
    return got


case = row(
    "`Handle` and `TimerHandle`: `call_soon`, `call_later`, `call_at`",
    KEPT,
    "called once, at their time; can be cancelled",
)


@case()
async def handle():
    called, done = [], asyncio.Event()
    held = asyncio.get_running_loop().call_soon(called.append, 1)
    await hop()
    asyncio.get_running_loop().call_soon(done.set)
    await done.wait()
    return called, held.cancelled()


@case()
async def timer_handle():
    loop, called = asyncio.get_running_loop(), []
    held = loop.call_later(0.02, called.append, 1), loop.call_at(loop.time() + 0.02, called.append, 2)
    await hop()
    before = list(called)
    held[0].cancel()
    await asyncio.sleep(0.03)
    return before, called, held[0].cancelled(), held[1].when() < loop.time()


@case()
async def handle_from_call_soon_threadsafe():
    called = []
    held = asyncio.get_running_loop().call_soon_threadsafe(called.append, 1)
    await hop()
    return called, held.cancelled()


LABEL = contextvars.ContextVar("label", default="unset")
case = row("`Context`, `ContextVar`, `Token`", KEPT, "a variable of a module by its name, others with their identity")


@case()
async def context():
    LABEL.set("outer")
    held = contextvars.copy_context()
    LABEL.set("inner")
    await hop()
    return held[LABEL], LABEL.get(), held.run(LABEL.get)


@case()
async def context_variable():
    held = contextvars.ContextVar("own")
    token = held.set(1)
    await hop()
    before = held.get()
    held.reset(token)
    return before, held.get("none")


@case()
async def token():
    held = LABEL.set("changed")
    await hop()
    before = LABEL.get(), held.old_value is contextvars.Token.MISSING
    LABEL.reset(held)
    return before, LABEL.get()


@case()
async def decimal_context():
    held = decimal.Context(prec=3)
    decimal.setcontext(held)
    await hop()
    return decimal.Decimal(1) / 3, held is decimal.getcontext()


case = row("The loop: `get_running_loop()`; its task factory and exception handler", KEPT, "it is part of the store")


@case()
async def running_loop():
    held = asyncio.get_running_loop()
    await hop()
    return held is asyncio.get_running_loop(), held.is_running(), await held.create_task(nap(0, 1))


@case(since=(3, 12))
async def eager_tasks():
    held = asyncio.get_running_loop()
    held.set_task_factory(asyncio.eager_task_factory)
    await hop()
    eager, started = held.get_task_factory() is asyncio.eager_task_factory, []

    async def start():
        started.append(1)

    await asyncio.create_task(start()) if not started else None
    return eager, started


@case()
async def exception_handler():
    held, seen = asyncio.get_running_loop(), []
    held.set_exception_handler(lambda loop, details: seen.append(details["message"]))
    await hop()
    held.call_exception_handler({"message": "wrong"})
    return seen


case = row(
    "Coroutines, async generators, `asend`/`athrow`/`anext`: not started, half way, exhausted",
    KEPT,
    "go on where they are",
)


async def count(log):
    try:
        for n in range(4):
            log.append((yield n))
    except KeyError:
        yield "caught"
    finally:
        log.append("closed")


@case()
async def coroutine():
    held = nap(0, "run")
    await hop()
    return await held


@case()
async def async_generators():
    log, fresh = [], []
    held = count(log), count(fresh), count([])
    await anext(held[0])
    await held[0].asend("sent")
    async for _ in held[2]:
        pass
    await hop()
    got = [await held[0].asend("later"), [n async for n in held[1]], [n async for n in held[2]]]
    await held[0].aclose()
    return got, log, fresh


@case()
async def async_generator_in_a_loop():
    got, log = [], []
    held = count(log)
    async for n in held:
        got.append(n)
        await hop()
    return got, log


@case()
async def asend_and_others():
    gens = count([]), count([]), count([]), count([])
    for gen in gens[:3]:
        await anext(gen)
    held = gens[0].asend("x"), gens[1].athrow(KeyError()), gens[2].aclose(), anext(gens[3], "none")
    await hop()
    return [await each for each in held]


async def slowly(log):
    for n in range(3):
        await hop()
        log.append((yield n))


@case()
async def asend_half_way():
    log = []
    held = slowly(log)
    got = [await anext(held), await held.asend("x"), await anext(held, "none"), await anext(held, "none")]
    return got, log


@case()
async def async_comprehension():
    held = [1, 2]
    return [n + m async for n in slowly([]) for m in held]


case = row("`AsyncExitStack`, `ExitStack`, `@asynccontextmanager`, `aclosing`, inside their blocks", KEPT, "left once")


@contextlib.asynccontextmanager
async def opened(log):
    log.append("enter")
    try:
        yield log
    finally:
        await hop()
        log.append("exit")


@case()
async def async_exit_stack():
    log = []
    async with contextlib.AsyncExitStack() as held:
        await held.enter_async_context(opened(log))
        held.push_async_callback(nap, 0)
        held.callback(log.append, "called")
        await hop()
        log.append("inside")
    return log


@case()
async def exit_stack():
    log = []
    with contextlib.ExitStack() as held:
        held.enter_context(contextlib.suppress(KeyError))
        held.callback(log.append, "called")
        await hop()
        raise KeyError
    return log


@case()
async def async_context_manager():
    held = opened([])
    async with held as log:
        await hop()
    async with contextlib.aclosing(count(log)) as held:
        await anext(held)
        await hop()
    return log


case = row("An exception being handled, groups, tracebacks, `finally` and `return` under way", KEPT, "with their lines")


@case()
async def exception_in_flight():
    try:
        try:
            raise ValueError("first")
        except ValueError as held:
            held.add_note("noted")
            await hop()
            raise KeyError("second") from held
    except KeyError as error:
        return repr(error.__cause__), error.__cause__.__notes__, error.__context__ is error.__cause__


@case()
async def return_under_way():
    log = []

    async def inner():
        try:
            return log.append("returning") or "value"
        finally:
            held = log
            await hop()
            held.append("left")

    held = inner()
    return await held, log


@case()
async def exception_group():
    try:
        raise ExceptionGroup("both", [ValueError(1), KeyError(2)])
    except* ValueError as held:
        await hop()
        return_value = repr(held.exceptions)
    except* KeyError:
        pass
    return return_value


@case()
async def traceback():
    try:
        fail_now()
    except ZeroDivisionError as error:
        held = error.__traceback__
    await hop()
    return held.tb_lineno - fail_now.__code__.co_firstlineno, held.tb_next.tb_frame.f_code.co_name


def fail_now():
    return 1 / 0


case = row("`StreamReader` and `StreamWriter` without a connection, protocols", KEPT, "what was fed, and who reads")


@case()
async def stream_reader():
    held = asyncio.StreamReader()
    held.feed_data(b"one\nt")
    reader = asyncio.create_task(held.readexactly(7))
    await hop()
    held.feed_data(b"wo\n")
    held.feed_eof()
    return await reader, await held.read()


class Collector(asyncio.Transport):
    def __init__(self):
        super().__init__()
        self.data = []

    def write(self, data):
        self.data.append(data)

    def is_closing(self):
        return False


@case()
async def stream_writer():
    loop, transport = asyncio.get_running_loop(), Collector()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    held = asyncio.StreamWriter(transport, protocol, reader, loop)
    held.write(b"one")
    await hop()
    held.write(b"two")
    await held.drain()
    return transport.data


# ---------------------------------------------------------------------------------------------- kept: the rest of Python

case = row("Generators, iterators of containers, `itertools`", KEPT, "at their position")


@case()
async def generators():
    def squares():
        try:
            for n in range(4):
                yield n * n
        finally:
            log.append("closed")

    log = []
    items = [1, 2, 3]
    held = squares(), iter(items), enumerate("abc", 5), itertools.count(7), (c for c in "xyz"), zip(items, items)
    first = [next(each) for each in held]
    await hop()
    items.append(4)
    return first, [list(itertools.islice(each, 5)) for each in held], log


@case()
async def paths_of_a_glob():
    held = pathlib.Path(pstore.__file__).parent.glob("*.py")  # not begun: it has no directory open
    await hop()
    return sorted(path.name for path in held)


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Point:
    x: int
    y: list

    def move(self):
        self.x += 1
        return self.x


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: int


Pair = collections.namedtuple("Pair", "a b")
case = row("Instances, dataclasses, named tuples, enumerations, containers of all kinds", KEPT, "with what is shared")


@case()
async def instances():
    shared = [1]
    held = Point(1, shared), Frozen(2), Pair(shared, shared), Colour.RED, collections.deque([shared], 3), {"s": shared}
    await hop()
    shared.append(2)
    return held, held[3] is Colour.RED, held[0].y is shared is held[2].a, held[4][0] is held[5]["s"]


@case()
async def containers():
    held = (
        collections.Counter("aab"),
        collections.ChainMap({1: 2}),
        {3, 4},
        frozenset("x"),
        array.array("i", [1]),
        {}.keys(),
    )
    await hop()
    return repr(held)


case = row(
    "Functions, closures, lambdas, `partial`, bound methods, classes, modules", KEPT, "by name where there is one"
)


@case()
async def functions():
    total = 0

    def add(n):
        nonlocal total
        total += n
        return total

    class Local(Point):
        pass

    point = Point(1, [])
    held = add, lambda: total, functools.partial(add, 2), point.move, Local, json, asyncio.sleep, len, "a,b".split
    await hop()
    called = [held[0](1), held[2](), held[1](), held[3](), held[7]([1]), held[8](",")]
    return called, total, point.x, held[4](5, []).move(), held[5] is json, held[6] is asyncio.sleep


case = row(
    "`datetime`, `Decimal`, paths, `Random`, `re.Match`, `StringIO`, `BytesIO`, `memoryview`",
    KEPT,
    "at their position, in their state",
)


@case()
async def values():
    data, chance = bytearray(b"abcdef"), random.Random(7)
    chance.random()
    same = random.Random(7)
    held = (
        datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
        decimal.Decimal("1.10"),
        re.match(r"(\w)(?P<n>\d)", "a1"),
        io.StringIO("one\ntwo\n"),
        io.BytesIO(b"xyz"),
        memoryview(data)[2:],
        chance,
    )
    held[3].readline(), held[4].read(1)
    await hop()
    data[2] = 0x2A
    rest = held[3].read(), held[4].read(), bytes(held[5])
    same.random()
    return held[:2], held[2]["n"], rest, held[6].random() == same.random()


case = row("Loggers, `sys.stdout`, `os.environ`", KEPT, "by name: each process has its own")


@case()
async def by_name():
    held = logging.getLogger("held"), sys.stdout, os.environ
    await hop()
    return held[0] is logging.getLogger("held"), held[1] is sys.stdout, held[2] is os.environ


# ---------------------------------------------------------------------------------------------- steps

case = row(
    "`to_thread(f, ...)`, `run_in_executor(None, f, ...)`, `pstore.step(f, ...)`, their tasks and futures",
    STEP,
    "its result is kept; without one yet it is run again",
)


def work(n):
    time.sleep(0.03)
    return n * 2


@case()
async def to_thread():
    held = asyncio.create_task(asyncio.to_thread(work, 4))
    await hop()
    return await held


@case()
async def run_in_executor():
    held = asyncio.get_running_loop().run_in_executor(None, work, 5)
    await hop()
    return await held


@case()
async def a_step_that_is_waited_for():
    held = 6
    return await asyncio.wait_for(asyncio.to_thread(work, held), 5)


# ---------------------------------------------------------------------------------------------- made anew

case = row(
    "`pstore.ephemeral(factory, ...)`: a lock, a pool, a database, a client",
    ANEW,
    "the factory is called again on load",
)


@case()
async def ephemeral_lock():
    held = pstore.ephemeral(threading.Lock)
    await hop()
    with held:
        return held.locked()


@case()
async def ephemeral_executor():
    held = pstore.ephemeral(concurrent.futures.ThreadPoolExecutor, 1)
    await hop()
    return held.submit(work, 2).result()


@case()
async def ephemeral_database():
    held = pstore.ephemeral(sqlite3.connect, ":memory:")
    await hop()
    row = held.execute("select 1 + 1").fetchone()
    held.close()
    return row


@case()
async def ephemeral_tls():
    held = pstore.ephemeral(ssl.create_default_context)
    await hop()
    return held.verify_mode.name


@case()
async def ephemeral_library():
    held = pstore.ephemeral(ctypes.CDLL, None)
    await hop()
    return held.getpid() == os.getpid()


# ---------------------------------------------------------------------------------------------- refused

case = row(
    "Sockets, TLS objects, transports, writers on a connection, servers",
    REFUSED,
    "open, use and close them in a `pstore.step`",
)


@case("socket.socket", "open it, use it and close it inside a pstore.step")
async def a_socket():
    held = socket.socket()
    with contextlib.closing(held):
        await hop()


@case("socket.socket", "inside a pstore.step")
async def a_pair_of_sockets():
    held = socket.socketpair()
    await hop()
    for each in held:
        each.close()


@case("ssl.SSLObject", "inside a pstore.step")
async def a_tls_object():
    held = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="x")
    await hop()


@case("ssl.SSLContext", "pstore.ephemeral(ssl.create_default_context)")
async def a_tls_context():
    held = ssl.create_default_context()
    await hop()


def connection():
    """What a helper makes on a loop of its own; gives a writer on a socket."""
    made = []

    async def connect():
        one, other = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=one)
        made.append((writer, other))

    thread = threading.Thread(
        target=lambda: made.append(asyncio.new_event_loop()) or made[0].run_until_complete(connect())
    )
    thread.start()
    thread.join()
    return made[1][0]


@case("_SelectorSocketTransport", "connect, talk and close inside a pstore.step")
async def a_stream_writer():
    held = connection()
    await hop()
    held = None


@case("_SelectorSocketTransport", "connect, talk and close inside a pstore.step")
async def a_transport():
    held = connection().transport
    await hop()
    held = None


@case("socket.socket", "inside a pstore.step")
async def an_http_connection():
    held = http.client.HTTPConnection("localhost")
    held.sock = socket.socket()
    await hop()
    held.close()


def server():
    """What a helper makes on a loop of its own."""
    loop, made = asyncio.new_event_loop(), []
    serving = asyncio.start_server(print, "127.0.0.1", 0)
    thread = threading.Thread(target=lambda: made.append(loop.run_until_complete(serving)))
    thread.start()
    thread.join()
    return made[0]


@case("asyncio.base_events.Server", "the loop that hosts the engine", "engine.call_soon_threadsafe")
async def a_server():
    held = server()
    await hop()
    held = None


case = row("Open files, directories, pipes, `tempfile`, `mmap`, archives", REFUSED, "keep the path and the position")


@case("_io.TextIOWrapper", "keep its path and position and open it again after the await", "pstore.step")
async def a_text_file():
    with open(__file__) as held:
        await hop()


@case("_io.BufferedReader", "keep its path and position and open it again after the await", "pstore.step")
async def a_binary_file():
    with open(__file__, "rb") as held:
        await hop()


@case("_io.FileIO", "keep its path and position and open it again after the await", "pstore.step")
async def a_raw_file():
    with open(__file__, "rb", buffering=0) as held:
        await hop()


@case("_io.BufferedWriter", "open it again after the await")
async def a_pipe():
    reading, writing = os.pipe()
    held = os.fdopen(writing, "wb")
    await hop()
    held.close()
    os.close(reading)


@case("_io.BufferedRandom", "open it again after the await")
async def a_temporary_file():
    with tempfile.TemporaryFile() as held:
        await hop()


@case("tempfile._TemporaryFileWrapper", "make it, use it and close it inside a pstore.step")
async def a_named_temporary_file():
    with tempfile.NamedTemporaryFile() as held:
        await hop()


@case("tempfile.SpooledTemporaryFile", "io.BytesIO")
async def a_spooled_temporary_file():
    with tempfile.SpooledTemporaryFile() as held:
        await hop()


@case("tempfile.TemporaryDirectory", "tempfile.mkdtemp()")
async def a_temporary_directory():
    with tempfile.TemporaryDirectory():
        held = tempfile.TemporaryDirectory()
        await hop()
        held.cleanup()


@case("mmap.mmap", "open it again after the await")
async def a_map():
    with mmap.mmap(-1, 10) as held:
        await hop()


@case("zipfile.ZipFile", "open it again after the await")
async def an_archive():
    with zipfile.ZipFile(io.BytesIO(), "w") as held:
        await hop()


@case("posix.ScandirIterator", "os.listdir(path)")
async def a_directory():
    with os.scandir() as held:
        await hop()


@case("posix.", "list(path.glob(...))")
async def a_glob_that_has_begun():
    held = pathlib.Path(pstore.__file__).parent.glob("*")
    next(held)
    await hop()


case = row(
    "Locks, events, conditions, `local`, threads of `threading`; `queue.Queue`",
    REFUSED,
    "their namesakes in asyncio; `ContextVar`; `to_thread`",
)


@case("_thread.lock", "asyncio.Lock", "pstore.ephemeral(threading.Lock)")
async def a_lock():
    held = threading.Lock()
    with held:
        await hop()


@case("RLock", "asyncio.Lock", "pstore.ephemeral(threading.RLock)")
async def a_reentrant_lock():
    held = threading.RLock()
    await hop()


@case("threading.Event", "asyncio.Event")
async def an_event():
    held = threading.Event()
    await hop()


@case("threading.Condition", "asyncio.Condition")
async def a_condition():
    held = threading.Condition()
    await hop()


@case("threading.Semaphore", "asyncio.Semaphore")
async def a_semaphore():
    held = threading.Semaphore()
    await hop()


@case("threading.Barrier", "asyncio.Barrier")
async def a_barrier():
    held = threading.Barrier(2)
    await hop()


@case("_thread._local", "contextvars.ContextVar")
async def a_thread_local():
    held = threading.local()
    await hop()


@case("threading.Thread", "asyncio.create_task", "asyncio.to_thread(function, ...)")
async def a_thread():
    held = threading.Thread(target=print)
    await hop()


@case("threading.Timer", "loop.call_later")
async def a_timer():
    held = threading.Timer(1, print)
    await hop()


@case("queue.Queue", "asyncio.Queue", "engine.call_soon_threadsafe(queue.put_nowait, item)")
async def a_queue():
    held = queue.Queue()
    await hop()


@case("queue.PriorityQueue", "asyncio.Queue")
async def a_priority_queue():
    held = queue.PriorityQueue()
    await hop()


@case("_queue.SimpleQueue", "asyncio.Queue")
async def a_simple_queue():
    held = queue.SimpleQueue()
    await hop()


case = row("Executors, and the futures of `concurrent.futures`", REFUSED, "`to_thread`, `run_in_executor(None, ...)`")


@case("ThreadPoolExecutor", "asyncio.to_thread(function, ...)", "loop.run_in_executor(None, function, ...)")
async def a_thread_pool():
    with concurrent.futures.ThreadPoolExecutor() as held:
        await hop()


@case("ProcessPoolExecutor", "asyncio.to_thread(function, ...)")
async def a_process_pool():
    held = concurrent.futures.ProcessPoolExecutor()
    await hop()
    held.shutdown()


@case("concurrent.futures._base.Future", "in place of submit", "asyncio.to_thread(function, ...)")
async def a_concurrent_future():
    held = concurrent.futures.Future()
    await hop()


@case("concurrent.futures._base.Future", "asyncio.to_thread(function, ...)")
async def a_wrapped_future():
    held = asyncio.wrap_future(concurrent.futures.Future())
    await hop()


@case("concurrent.futures._base.Future", "asyncio.to_thread(function, ...)")
async def a_future_of_run_coroutine_threadsafe():
    held = asyncio.run_coroutine_threadsafe(nap(0), asyncio.get_running_loop())
    await hop()


case = row(
    "`subprocess.Popen`, `multiprocessing`, interpreters",
    REFUSED,
    "start, wait and take the output in one `pstore.step`",
)


@case("subprocess.Popen", "await pstore.step(subprocess.run, [...])")
async def a_child():
    held = subprocess.Popen([sys.executable, "-c", ""])
    await hop()
    held.wait()


@case("multiprocessing.context.Process", "inside a pstore.step")
async def a_process():
    held = multiprocessing.Process(target=print)
    await hop()


@case("multiprocessing.connection.Connection", "inside a pstore.step")
async def a_connection():
    held, other = multiprocessing.Pipe()
    del other
    await hop()


@case("multiprocessing.queues.Queue", "asyncio.Queue")
async def a_queue_of_processes():
    held = multiprocessing.Queue()
    await hop()


@case("multiprocessing.synchronize.Lock", "asyncio.Lock")
async def a_lock_of_processes():
    held = multiprocessing.Lock()
    await hop()


@case("multiprocessing.synchronize.Event", "inside a pstore.step")
async def an_event_of_processes():
    held = multiprocessing.Event()
    await hop()


@case("multiprocessing.sharedctypes.Synchronized", "inside a pstore.step")
async def a_shared_value():
    held = multiprocessing.Value("i")
    await hop()


@case("multiprocessing.shared_memory.SharedMemory", "keep bytes or a bytearray")
async def shared_memory():
    held = multiprocessing.shared_memory.SharedMemory(create=True, size=10)
    await hop()
    held.close()
    held.unlink()


@case("Interpreter", "inside a pstore.step", since=(3, 14))
async def an_interpreter():
    from concurrent import interpreters

    held = interpreters.create()
    interpreters = None
    await hop()
    held.close()


@case("Queue", "asyncio.Queue", since=(3, 14))
async def a_queue_of_interpreters():
    from concurrent import interpreters

    held = interpreters.create_queue()
    interpreters = None
    await hop()


case = row(
    "Database connections, cursors and rows", REFUSED, "`pstore.ephemeral(sqlite3.connect, path)`, or a `pstore.step`"
)


@case("sqlite3.Connection", "pstore.ephemeral(sqlite3.connect, path)")
async def a_database():
    held = sqlite3.connect(":memory:")
    await hop()
    held.close()


@case("sqlite3.Row", "tuple(row)")
async def a_row():
    base = sqlite3.connect(":memory:")
    base.row_factory = sqlite3.Row
    held = base.execute("select 1 as one").fetchone()
    base.close()
    base = None
    await hop()


@case("sqlite3.Cursor", "fetchall()")
async def a_cursor():
    with contextlib.closing(sqlite3.connect(":memory:")) as base:
        held = base.execute("select 1")
        base = None
        await hop()


case = row("Other event loops, `asyncio.Runner` with one, selectors", REFUSED, "the running loop; a `pstore.step`")


@case("_UnixSelectorEventLoop", "asyncio.get_running_loop() is the durable loop", "inside a pstore.step")
async def another_loop():
    held = asyncio.new_event_loop()
    await hop()
    held.close()


@case("_UnixSelectorEventLoop", "asyncio.get_running_loop() is the durable loop")
async def a_runner():
    held = asyncio.Runner()
    held.get_loop()
    await hop()
    held._loop.close()
    held = None


@case("selectors.", "wait for it inside a pstore.step")
async def a_selector():
    with selectors.DefaultSelector() as held:
        await hop()


case = row("`asyncio.Task(...)` made directly", REFUSED, "`asyncio.create_task`")


@case("asyncio.Task", "asyncio.create_task")
async def a_task_made_directly():
    held = asyncio.Task(nap(0))
    await hop()


case = row(
    "`redirect_stdout`, `catch_warnings`, `chdir`, `localcontext`, inside their `with`",
    REFUSED,
    "leave the block before the `await`",
)


@case("contextlib.redirect_stdout", "leave the with block before the await")
async def redirected_output():
    held = contextlib.redirect_stdout(io.StringIO())
    with held:
        await hop()


@case("catch_warnings", "leave the with block before the await")
async def caught_warnings():
    held = warnings.catch_warnings()
    with held:
        await hop()


@case("decimal.ContextManager", "decimal.setcontext")
async def decimal_block():
    held = decimal.localcontext()
    with held:
        await hop()


@case("contextlib.chdir", "leave the with block before the await")
async def another_folder():
    held = contextlib.chdir("/")
    with held:
        await hop()


case = row(
    "Hashes, compressors, `csv` readers, what `ctypes` makes, log handlers",
    REFUSED,
    "keep the data and use them at once; load at module level; set logging up at the start",
)


@case("HASH", "keep the data and hash it at once")
async def a_hash():
    held = hashlib.sha256(b"x")
    await hop()


@case("zlib.Compress", "zlib.compress")
async def a_compressor():
    held = zlib.compressobj()
    await hop()


@case("ctypes.CDLL", "pstore.ephemeral(ctypes.CDLL, name)")
async def a_library():
    held = ctypes.CDLL(None)
    await hop()


@case("c_char_Array_3", "keep bytes(value) or list(value)")
async def a_buffer():
    held = ctypes.create_string_buffer(3)
    await hop()


@case("_csv.reader", "list(reader)")
async def a_csv_reader():
    held = csv.reader(["a,b"])
    await hop()


@case("_FuncPtr", "get it from its library again")
async def a_function_of_a_library():
    held = ctypes.CDLL(None).getpid
    await hop()


@case("logging.StreamHandler", "set logging up where the program starts")
async def a_log_handler():
    held = logging.StreamHandler()
    await hop()


case = row("The engine and its store", REFUSED, "hand tasks what is in `engine.root`")


@case("Engine", "engine.root['name']", "asyncio.create_task")
async def the_engine():
    held = next(iter(sys.modules["pstore._engine.engine"]._open_engines))
    await hop()


# ---------------------------------------------------------------------------------------------- refused when called

case = row(
    "`open_connection`, `start_server`, datagrams, `sock_*`, pipes, `getaddrinfo` on the loop",
    NOT_HERE,
    "a `pstore.step`; servers: the loop that hosts the engine",
)


@case("create_connection", "connect, talk and close in a coroutine function", "pstore.step")
async def open_connection():
    await asyncio.open_connection("127.0.0.1", 1)


@case("create_server", "the loop that hosts the engine", "engine.call_soon_threadsafe")
async def start_server():
    await asyncio.start_server(print, "127.0.0.1", 0)


@case("create_unix_connection", "pstore.step")
async def open_unix_connection():
    await asyncio.open_unix_connection("nowhere")


@case("create_datagram_endpoint", "pstore.step")
async def datagrams():
    await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol)


@case("sock_recv", "pstore.step")
async def receive():
    await asyncio.get_running_loop().sock_recv(None, 1)


@case("connect_read_pipe", "pstore.step")
async def read_pipe():
    await asyncio.get_running_loop().connect_read_pipe(asyncio.Protocol, None)


@case("getaddrinfo", "await pstore.step(socket.getaddrinfo, host, port)")
async def addresses():
    await asyncio.get_running_loop().getaddrinfo("localhost", 80)


case = row(
    "`create_subprocess_exec`, `create_subprocess_shell`", NOT_HERE, "`await pstore.step(subprocess.run, [...])`"
)


@case("subprocess_exec", "await pstore.step(subprocess.run, [...])")
async def create_subprocess():
    await asyncio.create_subprocess_exec("true")


@case("subprocess_shell", "await pstore.step(subprocess.run, [...])")
async def create_shell():
    await asyncio.create_subprocess_shell("true")


case = row(
    "`add_signal_handler`, `add_reader`, `add_writer`",
    NOT_HERE,
    "`signal.signal` where the program starts, or the loop that hosts the engine; `engine.call_soon_threadsafe`",
)


@case("add_signal_handler", "signal.signal where the program starts", "engine.call_soon_threadsafe")
async def signal_handler():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print)


@case("add_reader", "pstore.step", "engine.call_soon_threadsafe")
async def reader():
    asyncio.get_running_loop().add_reader(0, print)


@case("add_writer", "pstore.step", "engine.call_soon_threadsafe")
async def writer():
    asyncio.get_running_loop().add_writer(1, print)


case = row(
    "`run_in_executor(pool, ...)`, `set_default_executor`, task factories of one's own, `loop.stop()`",
    NOT_HERE,
    "`run_in_executor(None, ...)`; `asyncio.eager_task_factory`; `engine.stop()`",
)


@case("run_in_executor", "pass None", "pstore.step")
async def executor_of_its_own():
    with concurrent.futures.ThreadPoolExecutor() as pool:
        await asyncio.get_running_loop().run_in_executor(pool, work, 1)


@case("set_default_executor", "run_in_executor(None, ...) becomes a step")
async def default_executor():
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asyncio.get_running_loop().set_default_executor(pool)


@case("makes its own tasks", "asyncio.eager_task_factory")
async def task_factory():
    asyncio.get_running_loop().set_task_factory(asyncio.Task)


@case("stop", "engine.stop()")
async def stop():
    asyncio.get_running_loop().stop()


@case("run_until_complete", "await it")
async def run_until_complete():
    coro = nap(0)
    try:
        asyncio.get_running_loop().run_until_complete(coro)
    finally:
        coro.close()


case = row("A socket, file or process that a step gives back", NO_RESULT, "plain data; the step is not run again")


@case("socket.socket", "return plain data from the step")
async def socket_of_a_step():
    await pstore.step(socket.socket)


@case("TextIOWrapper", "return plain data from the step")
async def file_of_a_step():
    await pstore.step(open, __file__)


@case("Popen", "return plain data from the step")
async def process_of_a_step():
    await pstore.step(subprocess.Popen, [sys.executable, "-c", ""])


# ---------------------------------------------------------------------------------------------- not kept

case = row(
    "File descriptors, ids of processes and threads",
    NOT_KEPT,
    "the numbers come back and mean nothing: ask again after the `await`",
)


@case()
async def ids():
    held = os.getpid(), threading.get_native_id()
    await hop()
    return held == (os.getpid(), threading.get_native_id())


@case()
async def descriptor():
    held = os.open(__file__, os.O_RDONLY)
    await hop()
    try:
        return os.path.samestat(os.fstat(held), os.stat(__file__))
    except OSError:
        return "bad descriptor"


case = row(
    "What a task does to its process: `os.environ`, `signal.signal`, attributes of modules and classes",
    NOT_KEPT,
    "do it where the program starts",
)


@case()
async def environment():
    held = os.environ
    held["PSTORE_HELD"] = "set"
    await hop()
    return held.get("PSTORE_HELD")


@case()
async def signals():
    held = signal.SIGUSR1
    signal.signal(held, signal.SIG_IGN)
    await hop()
    return signal.getsignal(held) is signal.SIG_IGN


@case()
async def class_attribute():
    held = Point
    held.unit = "cm"
    await hop()
    return getattr(held, "unit", None)


# ----------------------------------------------------------------------------------------------


def table() -> str:
    """The rows as Markdown."""
    rows = ["| value | across an await and a restart | how, or what instead |", "|---|---|---|"]
    rows += [f"| {row.what} | {row.outcome} | {row.how} |" for row in ROWS]
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
