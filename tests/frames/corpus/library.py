# ruff: noqa
"""What programs of an event-loop kind hold: loggers, queues, streams, schedulers written as generators, deep chains."""

import asyncio
import heapq
import inspect
import itertools
import json
import logging
import operator
import sys
import types

from tests.frames.kit import Fault, Ping, case, emit, group
from tests.frames.parts import Box, call, counter, get, pause, sent, ticker

group("programs")


@case
def streams_and_loggers():
    """The process's own streams, a logger and a module's function held by name."""
    out, log, dumps = sys.stdout, logging.getLogger("tests.some.logger"), json.dumps
    yield log.name, dumps({"a": 1})
    return out is sys.stdout, log is logging.getLogger("tests.some.logger"), dumps is json.dumps


@case
async def asyncio_queue_as_buffer():
    """An asyncio queue, event and lock used without waiting."""
    q, e, lock = asyncio.Queue(), asyncio.Event(), asyncio.Lock()
    q.put_nowait(await get(1))
    await lock.acquire()
    q.put_nowait(await get(2))
    e.set()
    await pause((q.qsize(), e.is_set(), lock.locked()))
    lock.release()
    return q.get_nowait(), q.get_nowait(), q.empty(), await e.wait(), lock.locked()


@case
async def small_scheduler():
    """Coroutines in a heap by wake-up time, driven by hand, one failing."""

    async def job(name, times):
        for t in times:
            await pause((name, t))
        if name == "b":
            raise Fault(name)
        return name

    order = itertools.count()
    heap = [(0, next(order), job(n, ts)) for n, ts in (("a", [3, 1]), ("b", [2]), ("c", []))]
    heapq.heapify(heap)
    results = {}
    while heap:
        now, _, j = heapq.heappop(heap)
        try:
            name, delay = j.send(None)
        except StopIteration as e:
            results[e.value] = now
        except Fault as e:
            results[e.args] = now
        else:
            heapq.heappush(heap, (now + delay, next(order), j))
            await sent((name, now))
    return results


@case
async def saga_with_compensations():
    """Steps done, one fails, the done ones undone in reverse order."""
    undo = []

    async def reserve(what):
        ref = await sent(("reserve", what))
        undo.append(lambda: sent(("cancel", what, ref)))
        return ref

    try:
        refs = [await reserve(w) for w in ("hotel", "car")]
        if await sent("charge") > 0:
            raise Fault("card")
        return refs
    except Fault as e:
        while undo:
            emit(await undo.pop()())
        return "compensated", e.args


@case
def pipeline_of_generators():
    """Coroutine-style generators primed with next and fed with send."""

    def sink(out):
        try:
            while True:
                out.append((yield len(out)))
        except GeneratorExit:
            out.append("closed")

    def twice(target):
        next(target)
        got = yield
        while True:
            target.send(got)
            got = yield target.send(got * 2)

    out = []
    p = twice(sink(out))
    next(p)
    for i in (1, 2):
        p.send((yield i))
    p.close()
    yield out
    return out


@case
def state_machine_as_generators():
    """States are generators that return the next state."""

    def idle(ctx):
        ctx["log"].append((yield "idle"))
        return busy

    def busy(ctx):
        while len(ctx["log"]) < 3:
            ctx["log"].append((yield "busy"))
        return None

    ctx, state = {"log": []}, idle
    while state:
        state = yield from state(ctx)
    return ctx


@case
def parser_with_lookahead():
    """A recursive descent parser over a half consumed token stream."""
    tokens = itertools.chain(iter("2*(3+4)"), [None])
    look = next(tokens)

    def advance():
        nonlocal look
        seen, look = look, next(tokens, None)
        return seen

    def factor():
        if look == "(":
            advance()
            v = yield from expr()
            advance()
            return v
        yield "digit", look
        return int(advance())

    def binary(below, ops):
        v = yield from below()
        while look in ops:
            op = ops[advance()]
            v = op(v, (yield from below()))
        return v

    def term():
        return (yield from binary(factor, {"*": operator.mul}))

    def expr():
        return (yield from binary(term, {"+": operator.add}))

    return (yield from expr())


@case
async def chain_two_hundred_deep():
    """An await chain of two hundred frames."""

    async def down(n):
        return await down(n - 1) + 1 if n else await sent("bottom")

    return await down(200)


@case
def chain_of_generators_in_locals():
    """Generators that hold generators without running them, a hundred and fifty deep."""

    def holder(inner, n):
        yield n
        if inner is not None:
            yield from inner

    g = None
    for n in range(150):
        new = holder(g, n)
        next(new)
        g = new
    yield "built"
    return next(g, "nothing"), inspect.getgeneratorstate(g)


@case
def many_generators_at_once():
    """Three hundred suspended generators over one shared list."""
    log = []

    def worker(n):
        log.append((yield n))
        log.append(n)
        yield log

    gens = [worker(n) for n in range(300)]
    for g in gens:
        next(g)
    yield len(gens)
    got = [g.send(i) for i, g in enumerate(gens)]
    return len(log), all(x is log for x in got), log[-1]


@case
async def timeouts_by_throw():
    """A coroutine that survives a Ping by retrying with a saved traceback count."""
    tries = []
    for attempt in range(3):
        try:
            got = await sent(("attempt", attempt))
            async for x in counter(1):
                tries.append((attempt, got, x))
        except Ping as e:
            tries.append(("ping", attempt, e.__context__ is None))
    return tries


@case
async def gather_by_hand():
    """Several coroutines advanced round robin until all are done."""

    async def part(n):
        total = 0
        for i in range(n):
            total += await pause((n, i))
        return total

    parts = {n: part(n) for n in (1, 3, 2)}
    values, results = dict.fromkeys(parts), {}
    while parts:
        for n in list(parts):
            try:
                values[n] = await pause(parts[n].send(values[n]))
            except StopIteration as e:
                results[n] = e.value
                del parts[n]
    return results


@case
def undo_with_closures_and_bound_methods():
    """A stack of undo actions of every callable kind."""
    b, xs, d = Box(1), [1, 2], {"k": 1}
    undo = [lambda: setattr(b, "value", 1), xs.pop, d.clear, types.MethodType(call, b), operator.methodcaller("add", 5)]
    b.value, d["z"] = 2, 3
    yield len(undo)
    out = []
    while undo:
        f = undo.pop()
        out.append(f(b) if isinstance(f, operator.methodcaller) else f())
        yield out[-1]
    return b, xs, d


@case
def memo_of_generators():
    """A cache of half consumed generators, keyed by arguments, with replayed prefixes."""
    cache = {}

    def numbers(n):
        if n not in cache:
            cache[n] = [], ticker(n)
        seen, rest = cache[n]
        i = 0
        while True:
            if i == len(seen):
                try:
                    seen.append(next(rest))
                except StopIteration:
                    return
            yield seen[i]
            i += 1

    a, b = numbers(3), numbers(3)
    yield next(a), next(a)
    yield next(b)
    return list(b), list(a), cache[3][0]
