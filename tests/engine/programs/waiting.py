"""sleep, gather, wait, wait_for, shield, as_completed."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys

from .kit import fail, kinds, nap, now, outcome, program


@program("sleep")
async def sleep(out):
    for i in range(3):
        out.append((i, now(), await asyncio.sleep(i, f"slept {i}")))
    for _ in range(3):
        await asyncio.sleep(0)
    out.append(asyncio.current_task().get_name())


@program("sleep")
async def sleep_in_expressions(out):
    total = [1, await nap(1, 2), await nap(1, 3)] + [await nap(1, n) for n in range(3)]
    out.append(total)
    out.append({await nap(1, "k"): await nap(1, "v")}["k"] + f"{await nap(1, 'x')!r}")


@program("gather")
async def gather(out):
    out.append(await asyncio.gather(nap(3, "c"), nap(1, "a"), nap(2, "b")))
    out.append(await asyncio.gather())
    results = await asyncio.gather(nap(1, 1), fail(2, "bad"), nap(3, 3), return_exceptions=True)
    out.append([repr(result) for result in results])


@program("gather")
async def gather_failing(out):
    late = asyncio.create_task(nap(5, "late"))
    try:
        await asyncio.gather(late, fail(1, "first"))
    except ValueError as error:
        out.append((repr(error), late.done(), now()))
        await asyncio.sleep(1)
        out.append(repr(sys.exc_info()[1]))
    out.append(await late)


@program("gather")
async def gather_cancelled(out):
    both = asyncio.gather(nap(9), nap(9))
    await asyncio.sleep(1)
    both.cancel()
    try:
        await both
    except asyncio.CancelledError:
        out.append(("cancelled", now()))


@program("wait")
async def wait(out):
    tasks = [asyncio.create_task(nap(n, n)) for n in (1, 2, 3)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    out.append((sorted(t.result() for t in done), len(pending), now()))
    done, pending = await asyncio.wait(tasks, timeout=1.5)
    out.append((sorted(t.result() for t in done), len(pending), now()))
    done, pending = await asyncio.wait([*tasks, asyncio.create_task(fail(1, "x"))], return_when=asyncio.FIRST_EXCEPTION)
    out.append((len(done), len(pending), [str(t.exception()) for t in done if t.exception()]))
    await asyncio.wait(tasks)
    out.append([t.result() for t in tasks])


@program("wait_for")
async def wait_for(out):
    out.append(await asyncio.wait_for(nap(1, "in time"), 5))
    try:
        await asyncio.wait_for(nap(9), 2)
    except TimeoutError as error:
        out.append(("late", repr(error.__cause__), now()))
        await asyncio.sleep(1)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.sleep(1), 0)
    out.append(now())


@program("shield")
async def shield(out):
    inner = asyncio.create_task(nap(4, "done all the same"))
    try:
        async with asyncio.timeout(1):
            await asyncio.shield(inner)
    except TimeoutError:
        out.append((inner.done(), now()))
    out.append(await asyncio.shield(inner))
    out.append(await asyncio.shield(nap(1, "shielded")))


@program("as_completed")
async def as_completed(out):
    for earliest in asyncio.as_completed([nap(3, "c"), nap(1, "a"), nap(2, "b")]):
        out.append((await earliest, now()))
    try:
        for earliest in asyncio.as_completed([nap(1, "a"), nap(9, "b")], timeout=2):
            out.append(await earliest)
    except TimeoutError:
        out.append(("timeout", now()))
    if sys.version_info >= (3, 13):
        tasks = [asyncio.create_task(nap(n, n)) for n in (2, 1)]
        async for task in asyncio.as_completed(tasks):
            out.append((task in tasks, task.result()))


@program("sleep")
async def sleep_edges(out):
    for delay in (0, -1, 0.25, 1e-9):
        out.append((await asyncio.sleep(delay, delay), now()))
    napping = asyncio.create_task(asyncio.sleep(10, "never"))
    await asyncio.sleep(1)
    napping.cancel("woken")
    out.append(await outcome(napping))


@program("gather")
async def gather_nested(out):
    inner = asyncio.gather(nap(1, "a"), asyncio.gather(nap(2, "b"), fail(3, "c"), return_exceptions=True))
    out.append(repr(await asyncio.gather(inner, nap(2, "d"))))
    same = asyncio.create_task(nap(1, "same"))
    out.append(await asyncio.gather(same, same, nap(1)))
    broken = asyncio.gather(nap(5), asyncio.gather(nap(5), fail(1, "deep")))
    out.append(await outcome(broken))
    await asyncio.sleep(5)


@program("gather")
async def gather_child_cancelled(out):
    victim, other = asyncio.create_task(nap(5)), asyncio.create_task(nap(3, "other"))
    asyncio.get_running_loop().call_later(1, victim.cancel, "picked")
    out.append(kinds(await asyncio.gather(victim, other, return_exceptions=True)))
    victim = asyncio.create_task(nap(5))
    asyncio.get_running_loop().call_later(1, victim.cancel, "again")
    out.append(await outcome(asyncio.gather(victim, nap(2, "late"))))
    await asyncio.sleep(2)
    whole = asyncio.gather(nap(4), nap(4), return_exceptions=True)
    asyncio.get_running_loop().call_later(1, whole.cancel)
    out.append(await outcome(whole))


@program("wait")
async def wait_forms(out):
    slow = [asyncio.create_task(nap(n, n)) for n in (5, 6)]
    done, pending = await asyncio.wait(slow, timeout=1)
    out.append((len(done), len(pending), now()))
    done, pending = await asyncio.wait(slow, timeout=0)
    out.append((len(done), len(pending), now()))
    gone = asyncio.create_task(nap(9))
    asyncio.get_running_loop().call_later(1, gone.cancel)
    done, pending = await asyncio.wait([*slow, gone], return_when=asyncio.FIRST_EXCEPTION)
    out.append((sorted(t.cancelled() for t in done), len(pending), now()))
    late = [asyncio.create_task(nap(1, "a")), asyncio.create_task(fail(2, "b")), asyncio.create_task(nap(3, "c"))]
    done, pending = await asyncio.wait(late, return_when=asyncio.FIRST_EXCEPTION, timeout=9)
    out.append((len(done), len(pending), now()))
    done, pending = await asyncio.wait(late, return_when=asyncio.ALL_COMPLETED)
    out.append((sorted(str(t.exception() or t.result()) for t in done), len(pending), now()))
    waiting = asyncio.create_task(asyncio.wait([asyncio.create_task(nap(3, "kept"))]))
    await asyncio.sleep(1)
    waiting.cancel()
    out.append(await outcome(waiting))
    out.append(await outcome(asyncio.wait([])))
    await asyncio.sleep(3)


@program("wait_for")
async def wait_for_forms(out):
    loop = asyncio.get_running_loop()
    out.append(await asyncio.wait_for(nap(1, "no limit"), None))
    future = loop.create_future()
    loop.call_later(1, future.set_result, "set")
    out.append(await asyncio.wait_for(future, 3))
    out.append(await outcome(asyncio.wait_for(fail(1, "its own"), 3)))

    async def slow_to_go():
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            await asyncio.sleep(2)
            out.append(("cleaned up", now()))
            raise

    out.append(await outcome(asyncio.wait_for(slow_to_go(), 1)))
    outer = asyncio.create_task(asyncio.wait_for(slow_to_go(), 5))
    await asyncio.sleep(1)
    outer.cancel("from outside")
    out.append(await outcome(outer))
    done = asyncio.create_task(nap(0, "done"))
    await asyncio.sleep(1)
    out.append(await asyncio.wait_for(done, 0))
    queue = asyncio.Queue()
    out.append((await outcome(asyncio.wait_for(queue.get(), 1))).partition("(")[0])


@program("shield")
async def shield_forms(out):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(functools.partial(told, out))

    async def save(item):
        await asyncio.sleep(3)
        out.append(("saved", item, now()))
        if item == "bad":
            raise ValueError(item)

    async def waiter(inner):
        try:
            await asyncio.shield(inner)
        finally:
            out.append(("left", now()))

    inner = asyncio.create_task(save("good"))
    outer = asyncio.create_task(waiter(inner))
    await asyncio.sleep(1)
    outer.cancel()
    out.append((await outcome(outer), inner.cancelled()))
    await inner
    inner = asyncio.create_task(save("lost"))
    outer = asyncio.create_task(waiter(inner))
    await asyncio.sleep(1)
    inner.cancel("the inner one")
    out.append(await outcome(outer))
    bad = asyncio.create_task(save("bad"))
    outer = asyncio.create_task(waiter(bad))
    await asyncio.sleep(1)
    outer.cancel()
    out.append(await outcome(outer))
    out.append(await outcome(bad))


def told(out, loop, context):
    out.append(("told", repr(context.get("exception"))))


@program("as_completed")
async def as_completed_left(out):
    tasks = [asyncio.create_task(nap(n, n)) for n in (3, 1, 2)]
    for earliest in asyncio.as_completed(tasks):
        out.append(await earliest)
        break
    out.append((await asyncio.gather(*tasks), now()))
    for earliest in asyncio.as_completed([fail(1, "early"), nap(2, "late")], timeout=9):
        out.append(await outcome(earliest))

    async def reader():
        for earliest in asyncio.as_completed([nap(5, "a"), nap(6, "b")]):
            out.append(await earliest)

    reading = asyncio.create_task(reader())
    await asyncio.sleep(1)
    reading.cancel()
    out.append(await outcome(reading))
    await asyncio.sleep(9)


@program("as_completed", since=(3, 13))
async def as_completed_async(out):
    async for task in asyncio.as_completed([nap(3, "c"), fail(1, "a"), nap(2, "b")]):
        out.append((await outcome(task), now()))
    try:
        async for task in asyncio.as_completed([nap(1, "x"), nap(9, "y")], timeout=4):
            out.append(await task)
    except TimeoutError:
        out.append(("timeout", now()))
    names = {asyncio.create_task(nap(n, n)): f"task {n}" for n in (2, 1)}
    async for task in asyncio.as_completed(names):
        out.append((names[task], task.result()))
