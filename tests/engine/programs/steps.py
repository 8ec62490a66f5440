"""What leaves the process: steps, and the threads of asyncio, which are steps."""

from __future__ import annotations

import asyncio

import pstore

from .kit import now, outcome, program


def double(n):
    return 2 * n


async def slow_double(n):
    await asyncio.sleep(0)
    return 2 * n


def broken(n):
    raise LookupError(f"no {n}")


@program("pstore.step", apart="steps are pstore's")
async def steps(out):
    keys = [await pstore.step(pstore.step_key) for _ in range(2)]
    out.append((await pstore.step(double, 2), await pstore.step(slow_double, 3), len(set(keys))))
    try:
        await pstore.step(broken, 4)
    except LookupError as error:
        out.append(repr(error))
        await asyncio.sleep(1)
    out.append(await asyncio.gather(*(pstore.step(double, n) for n in range(3))))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(pstore.step(slow_double, n)) for n in range(2)]
    out.append([task.result() for task in tasks])


@program("to_thread, run_in_executor")
async def threads(out):
    loop = asyncio.get_running_loop()
    out.append(await asyncio.to_thread(double, 4))
    out.append(await asyncio.to_thread(sorted, [1, 3, 2], reverse=True))
    out.append(await loop.run_in_executor(None, double, 5))


@program("pstore.step", apart="steps are pstore's")
async def retried_steps(out):
    try:
        await pstore.step(broken, 1, retry=pstore.Retry(attempts=3, delay=10, factor=3))
    except LookupError as error:
        out.append((repr(error), now()))


@program("to_thread, run_in_executor")
async def threads_in_scopes(out):
    loop = asyncio.get_running_loop()
    out.append(await outcome(asyncio.to_thread(broken, 4)))
    out.append(await asyncio.gather(*(asyncio.to_thread(double, n) for n in range(3))))
    async with asyncio.timeout(9), asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.to_thread(double, n)) for n in (1, 2)]
    out.append([task.result() for task in tasks])
    future = loop.run_in_executor(None, sum, (1, 2, 3))
    await asyncio.sleep(0)
    out.append((await asyncio.wait_for(future, 5), asyncio.isfuture(future)))
    numbers = [await asyncio.to_thread(double, n) for n in range(3)]
    await asyncio.sleep(1)
    out.append((numbers, now()))
