"""Event, Lock, Condition, Semaphore, Barrier."""

from __future__ import annotations

import asyncio

from .kit import kinds, nap, now, outcome, program


@program("Event")
async def event(out):
    event = asyncio.Event()

    async def waiter(name):
        await event.wait()
        out.append((name, now()))

    tasks = [asyncio.create_task(waiter(n)) for n in range(2)]
    await asyncio.sleep(2)
    event.set()
    await asyncio.sleep(0)
    event.clear()
    await asyncio.gather(*tasks)
    out.append(event.is_set())


@program("Lock")
async def lock(out):
    lock = asyncio.Lock()

    async def worker(name, seconds):
        async with lock:
            out.append((name, "has it", now()))
            await asyncio.sleep(seconds)
        await asyncio.sleep(0)
        out.append((name, "done", lock.locked()))

    tasks = [asyncio.create_task(worker(name, n)) for n, name in enumerate("abc", 1)]
    await asyncio.sleep(0.5)
    tasks[1].cancel()
    out.append([repr(r) for r in await asyncio.gather(*tasks, return_exceptions=True)])


@program("Condition")
async def condition(out):
    condition, items = asyncio.Condition(), []

    async def taker(name):
        async with condition:
            await condition.wait_for(lambda: items)
            out.append((name, items.pop(), now()))

    tasks = [asyncio.create_task(taker(n)) for n in range(3)]
    for n in range(3):
        await asyncio.sleep(1)
        async with condition:
            items.append(n)
            condition.notify(1) if n else condition.notify_all()
    await asyncio.gather(*tasks)


@program("Semaphore")
async def semaphore(out):
    semaphore, bounded = asyncio.Semaphore(2), asyncio.BoundedSemaphore(1)

    async def worker(n):
        async with semaphore:
            await asyncio.sleep(1)
            async with bounded:
                await asyncio.sleep(1)
                out.append((n, now()))

    await asyncio.gather(*(worker(n) for n in range(4)))
    try:
        bounded.release()
    except ValueError as error:
        out.append(str(error))


@program("Barrier")
async def barrier(out):
    barrier = asyncio.Barrier(3)

    async def worker(n):
        await asyncio.sleep(n)
        async with barrier as position:
            out.append((n, position, now()))
        await asyncio.sleep(n)
        try:
            await barrier.wait()
        except asyncio.BrokenBarrierError:
            out.append((n, "broken"))

    tasks = [asyncio.create_task(worker(n)) for n in range(3)]
    await asyncio.sleep(3.5)
    await barrier.abort()
    await asyncio.gather(*tasks)


@program("Event")
async def event_again(out):
    event = asyncio.Event()

    async def waiter(name, rounds):
        for n in range(rounds):
            await event.wait()
            out.append((name, n, now()))
            await asyncio.sleep(1)

    event.set()
    tasks = [asyncio.create_task(waiter("a", 2)), asyncio.create_task(waiter("b", 1))]
    await asyncio.sleep(0.5)
    event.clear()
    late = asyncio.create_task(event.wait())
    await asyncio.sleep(2)
    out.append((event.is_set(), [task.done() for task in tasks]))
    late.cancel()
    event.set()
    out.append(await outcome(late))
    await asyncio.gather(*tasks)
    out.append(await event.wait())


@program("Lock")
async def lock_forms(out):
    lock = asyncio.Lock()
    await lock.acquire()

    async def taker(name):
        try:
            async with asyncio.timeout(1.5 if name == "hasty" else None):
                await lock.acquire()
        except TimeoutError:
            out.append((name, "gave up", now()))
            return
        try:
            out.append((name, now()))
            await asyncio.sleep(1)
            if name == "broken":
                raise ValueError(name)
        finally:
            lock.release()

    tasks = [asyncio.create_task(taker(name)) for name in ("first", "hasty", "broken", "last")]
    await asyncio.sleep(2)
    out.append(lock.locked())
    lock.release()
    out.append(kinds(await asyncio.gather(*tasks, return_exceptions=True)))
    try:
        lock.release()
    except RuntimeError as error:
        out.append(str(error))


@program("Condition")
async def condition_notify(out):
    lock = asyncio.Lock()
    condition, level = asyncio.Condition(lock), 0

    async def waiter(name):
        async with condition:
            out.append((name, await condition.wait(), lock.locked(), now()))

    async def patient(wanted):
        async with condition:
            out.append(("level", await condition.wait_for(lambda: level >= wanted and level), now()))

    waiters = [asyncio.create_task(waiter(n)) for n in range(5)]
    await asyncio.sleep(1)
    async with condition:
        condition.notify(2)
    await asyncio.sleep(1)
    waiters[2].cancel()
    await asyncio.sleep(1)
    async with condition:
        condition.notify_all()
    out.append(kinds(await asyncio.gather(*waiters, return_exceptions=True)))
    patients = [asyncio.create_task(patient(n)) for n in (3, 1, 2)]
    for _ in range(3):
        await asyncio.sleep(1)
        async with lock:
            level += 1
            condition.notify_all()
    await asyncio.gather(*patients)
    out.append(await outcome(asyncio.wait_for(patient(9), 1)))
    try:
        condition.notify()
    except RuntimeError as error:
        out.append(str(error))


@program("Semaphore")
async def semaphore_forms(out):
    semaphore = asyncio.Semaphore(0)
    out.append(semaphore.locked())

    async def taker(name):
        async with semaphore:
            out.append((name, now()))
            await asyncio.sleep(1)

    tasks = [asyncio.create_task(taker(n)) for n in range(4)]
    await asyncio.sleep(1)
    tasks[0].cancel()
    semaphore.release()
    semaphore.release()
    await asyncio.sleep(0.5)
    tasks[2].cancel("inside")
    out.append(kinds(await asyncio.gather(*tasks, return_exceptions=True)))
    out.append((semaphore.locked(), await semaphore.acquire(), await semaphore.acquire(), semaphore.locked()))
    out.append((await outcome(asyncio.wait_for(semaphore.acquire(), 1))).partition("(")[0])
    bounded = asyncio.BoundedSemaphore(2)
    async with bounded, bounded:
        await asyncio.sleep(1)
        out.append(bounded.locked())
    try:
        bounded.release()
    except ValueError as error:
        out.append(str(error))


@program("Barrier")
async def barrier_reset(out):
    barrier = asyncio.Barrier(3)
    out.append((barrier.parties, barrier.n_waiting, barrier.broken))

    async def worker(n, rounds):
        for _ in range(rounds):
            await asyncio.sleep(n)
            try:
                out.append((n, await barrier.wait(), now()))
            except asyncio.BrokenBarrierError:
                out.append((n, "broken", now()))

    tasks = [asyncio.create_task(worker(n, 2)) for n in (1, 2, 3)]
    await asyncio.sleep(4.5)
    out.append((barrier.n_waiting, barrier.broken))
    await barrier.reset()
    await tasks[0]
    await asyncio.sleep(2)
    out.append((barrier.n_waiting, barrier.broken))
    for task in tasks[1:]:
        task.cancel()
    out.append((kinds(await asyncio.gather(*tasks, return_exceptions=True)), barrier.n_waiting, barrier.broken))
    waiting = [asyncio.create_task(worker(n, 1)) for n in (1, 2)]
    await asyncio.sleep(2.5)
    await barrier.abort()
    await asyncio.gather(*waiting)
    out.append((await outcome(barrier.wait()), barrier.broken))
    await barrier.reset()
    await asyncio.gather(*(worker(n, 1) for n in (1, 2, 1.5)))
