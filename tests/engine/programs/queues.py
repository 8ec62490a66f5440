"""Queues of every order."""

from __future__ import annotations

import asyncio

from .kit import kinds, now, outcome, program


async def producer(queue, items, pause):
    for item in items:
        await queue.put(item)
        await asyncio.sleep(pause)


async def consumer(queue, name, pause, out):
    while True:
        item = await queue.get()
        await asyncio.sleep(pause)
        out.append((name, item, now()))
        queue.task_done()


@program("TaskGroup", "Queue")
async def task_group_and_queue(out):
    queue = asyncio.Queue(2)
    consumers = [
        asyncio.create_task(consumer(queue, name, pause, out), name=name) for name, pause in (("a", 1), ("b", 1.3))
    ]
    async with asyncio.TaskGroup() as group:
        group.create_task(producer(queue, range(4), 0.5))
        group.create_task(producer(queue, "xy", 0.7))
    await queue.join()
    for task in consumers:
        task.cancel("enough")
    results = await asyncio.gather(*consumers, return_exceptions=True)
    out.append([repr(result) for result in results])


@program("Queue")
async def queues(out):
    priority, last = asyncio.PriorityQueue(), asyncio.LifoQueue(3)
    getter = asyncio.create_task(priority.get())
    await asyncio.sleep(1)
    for n in (3, 1, 2):
        priority.put_nowait(n)
        await last.put(n)
    putter = asyncio.create_task(last.put(4))
    await asyncio.sleep(1)
    out.append(("first", await getter))
    while not priority.empty() or not last.empty():
        if not priority.empty():
            out.append(("priority", await priority.get()))
        out.append(("lifo", await last.get()))
        await asyncio.sleep(1)
    await putter
    if hasattr(last, "shutdown"):
        getter = asyncio.create_task(last.get())
        await asyncio.sleep(1)
        last.shutdown()
        out.append([type(r).__name__ for r in await asyncio.gather(getter, return_exceptions=True)])


@program("Queue")
async def queue_join(out):
    queue = asyncio.Queue()
    await queue.join()

    async def worker():
        while True:
            item = await queue.get()
            try:
                await asyncio.sleep(item)
                out.append((item, queue.qsize(), now()))
            finally:
                queue.task_done()

    for item in (1, 2, 1, 3):
        queue.put_nowait(item)
    workers = [asyncio.create_task(worker()) for _ in range(2)]
    joined = asyncio.create_task(queue.join())
    await asyncio.sleep(1.5)
    queue.put_nowait(1)
    out.append(joined.done())
    await joined
    out.append((now(), queue.empty()))
    try:
        queue.task_done()
    except ValueError as error:
        out.append(str(error))
    for task in workers:
        task.cancel()
    out.append(kinds(await asyncio.gather(*workers, return_exceptions=True)))


@program("Queue")
async def queue_limits(out):
    queue = asyncio.Queue(maxsize=2)
    for n in range(3):
        try:
            queue.put_nowait(n)
        except asyncio.QueueFull:
            out.append(("full", n, queue.full(), queue.maxsize))
    putters = [asyncio.create_task(queue.put(n)) for n in "abc"]
    await asyncio.sleep(1)
    putters[1].cancel()
    got = []
    while len(got) < 4:
        got.append(await queue.get())
        await asyncio.sleep(1)
    out.append((got, kinds(await asyncio.gather(*putters, return_exceptions=True))))
    try:
        queue.get_nowait()
    except asyncio.QueueEmpty:
        out.append("empty")
    getters = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(1)
    getters[0].cancel()
    await queue.put("x")
    await queue.put("y")
    out.append(kinds(await asyncio.gather(*getters, return_exceptions=True)))
    out.append((await outcome(asyncio.wait_for(queue.get(), 1))).partition("(")[0])


@program("PriorityQueue, LifoQueue")
async def priorities(out):
    queue, stack = asyncio.PriorityQueue(3), asyncio.LifoQueue()

    async def feed():
        for n in (5, 1, 4, 2, 3):
            await queue.put((n, f"job {n}"))
            await stack.put(n)
            await asyncio.sleep(0.25)

    feeding = asyncio.create_task(feed())
    await asyncio.sleep(1)
    for _ in range(5):
        out.append((await queue.get(), queue.qsize()))
        await asyncio.sleep(1)
    await feeding
    out.append([await stack.get() for _ in range(stack.qsize())])
    queue.put_nowait((1, "last"))
    joined = asyncio.create_task(queue.join())
    await asyncio.sleep(1)
    for _ in range(6):
        queue.task_done()
    await joined
    out.append(now())


@program("Queue.shutdown", since=(3, 13))
async def queue_shutdown(out):
    queue = asyncio.Queue(2)

    async def worker(name):
        try:
            while True:
                item = await queue.get()
                await asyncio.sleep(1)
                out.append((name, item, now()))
                queue.task_done()
        except asyncio.QueueShutDown:
            out.append((name, "shut down", now()))

    workers = [asyncio.create_task(worker(name)) for name in "ab"]
    for n in range(5):
        await queue.put(n)
    queue.shutdown()
    out.append(await outcome(queue.put(9)))
    await asyncio.gather(*workers)
    await queue.join()
    for kind in (asyncio.PriorityQueue, asyncio.LifoQueue):
        queue = kind(1)
        queue.put_nowait(1)
        putting, joined = asyncio.create_task(queue.put(2)), asyncio.create_task(queue.join())
        await asyncio.sleep(1)
        queue.shutdown(immediate=True)
        out.append((await outcome(putting), await outcome(joined), await outcome(queue.get())))
