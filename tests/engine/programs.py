"""Small asyncio programs, each `async def name(out)`: what they append to `out` must not depend on restarts.

Between them they use every primitive of asyncio that the durable loop serves.  Results that come in the order of a
`set` (of futures, so of addresses) are sorted.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import sys

import pstore

PROGRAMS = {}
label: contextvars.ContextVar[str] = contextvars.ContextVar("label", default="none")


def program(fn):
    PROGRAMS[fn.__name__] = fn
    return fn


async def nap(seconds, value=None):
    await asyncio.sleep(seconds)
    return value


async def fail(seconds, text):
    await asyncio.sleep(seconds)
    raise ValueError(text)


@program
async def sleep(out):
    for i in range(3):
        out.append((i, pstore.now(), await asyncio.sleep(i, f"slept {i}")))
    for _ in range(3):
        await asyncio.sleep(0)
    out.append(asyncio.current_task().get_name())


@program
async def sleep_in_expressions(out):
    total = [1, await nap(1, 2), await nap(1, 3)] + [await nap(1, n) for n in range(3)]
    out.append(total)
    out.append({await nap(1, "k"): await nap(1, "v")}["k"] + f"{await nap(1, 'x')!r}")


@program
async def gather(out):
    out.append(await asyncio.gather(nap(3, "c"), nap(1, "a"), nap(2, "b")))
    out.append(await asyncio.gather())
    results = await asyncio.gather(nap(1, 1), fail(2, "bad"), nap(3, 3), return_exceptions=True)
    out.append([repr(result) for result in results])


@program
async def gather_failing(out):
    late = asyncio.create_task(nap(5, "late"))
    try:
        await asyncio.gather(late, fail(1, "first"))
    except ValueError as error:
        out.append((repr(error), late.done(), pstore.now()))
        await asyncio.sleep(1)
        out.append(repr(sys.exc_info()[1]))
    out.append(await late)


@program
async def gather_cancelled(out):
    both = asyncio.gather(nap(9), nap(9))
    await asyncio.sleep(1)
    both.cancel()
    try:
        await both
    except asyncio.CancelledError:
        out.append(("cancelled", pstore.now()))


@program
async def wait(out):
    tasks = [asyncio.create_task(nap(n, n)) for n in (1, 2, 3)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    out.append((sorted(t.result() for t in done), len(pending), pstore.now()))
    done, pending = await asyncio.wait(tasks, timeout=1.5)
    out.append((sorted(t.result() for t in done), len(pending), pstore.now()))
    done, pending = await asyncio.wait([*tasks, asyncio.create_task(fail(1, "x"))], return_when=asyncio.FIRST_EXCEPTION)
    out.append((len(done), len(pending), [str(t.exception()) for t in done if t.exception()]))
    await asyncio.wait(tasks)
    out.append([t.result() for t in tasks])


@program
async def wait_for(out):
    out.append(await asyncio.wait_for(nap(1, "in time"), 5))
    try:
        await asyncio.wait_for(nap(9), 2)
    except TimeoutError as error:
        out.append(("late", repr(error.__cause__), pstore.now()))
        await asyncio.sleep(1)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.sleep(1), 0)
    out.append(pstore.now())


@program
async def timeout(out):
    try:
        async with asyncio.timeout(2) as scope:
            async with asyncio.timeout(10):
                await asyncio.sleep(5)
    except TimeoutError:
        out.append((scope.expired(), pstore.now()))
    async with asyncio.timeout(1) as scope:
        scope.reschedule(pstore.now() + 4)
        await asyncio.sleep(3)
    out.append((scope.expired(), pstore.now(), asyncio.current_task().cancelling()))
    try:
        async with asyncio.timeout_at(pstore.now() + 1):
            try:
                await asyncio.sleep(5)
            finally:
                await asyncio.sleep(1)
                out.append("cleaned up")
    except TimeoutError:
        out.append(pstore.now())


async def producer(queue, items):
    for item in items:
        await queue.put(item)
        await asyncio.sleep(0.5)


async def consumer(queue, name, out):
    while True:
        item = await queue.get()
        await asyncio.sleep(1)
        out.append((name, item, pstore.now()))
        queue.task_done()


@program
async def task_group_and_queue(out):
    queue = asyncio.Queue(2)
    consumers = [asyncio.create_task(consumer(queue, name, out), name=name) for name in "ab"]
    async with asyncio.TaskGroup() as group:
        group.create_task(producer(queue, range(4)))
        group.create_task(producer(queue, "xy"))
    await queue.join()
    for task in consumers:
        task.cancel("enough")
    results = await asyncio.gather(*consumers, return_exceptions=True)
    out.append([repr(result) for result in results])


@program
async def task_group_failing(out):
    async def guarded(name):
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
            out.append(f"{name} cancelled")
            raise

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(guarded("one"))
            group.create_task(fail(1, "a"))
            group.create_task(fail(1, "b"))
            await asyncio.sleep(5)
    except* ValueError as errors:
        out.append(sorted(str(error) for error in errors.exceptions))
        await asyncio.sleep(1)
        out.append(len(errors.exceptions))
    out.append(pstore.now())


@program
async def create_task(out):
    label.set("outer")

    async def child(n):
        label.set(f"{label.get()} {n}")
        await asyncio.sleep(n)
        out.append((n, label.get(), asyncio.current_task().get_name()))
        return n

    tasks = [asyncio.create_task(child(n), name=f"child {n}") for n in (2, 1)]
    own = contextvars.copy_context()
    tasks.append(asyncio.create_task(child(3), context=own))
    tasks[0].add_done_callback(functools.partial(lambda where, task: where.append(("done", task.result())), out))
    out.append(sorted(task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("child")))
    for task in tasks:
        out.append(await task)
    out.append((label.get(), own[label], own is tasks[2].get_context()))


@program
async def eager_tasks(out):
    loop = asyncio.get_running_loop()

    async def child(n):
        out.append(("begins", n, asyncio.current_task().get_name()))
        if n:
            await asyncio.sleep(n)
        return n

    tasks = [loop.create_task(child(n), name=f"t{n}", eager_start=True) for n in (0, 1)]
    out.append((tasks[0].done(), tasks[1].done(), asyncio.current_task().get_name()))
    await asyncio.sleep(0.5)
    out.append([await task for task in tasks])


@program
async def cancellation(out):
    async def stubborn():
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError as error:
            out.append(("asked to go", error.args, asyncio.current_task().cancelling()))
            asyncio.current_task().uncancel()
            await asyncio.sleep(1)
        try:
            await asyncio.sleep(9)
        finally:
            await asyncio.sleep(1)
            out.append(("gone", pstore.now()))

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(1)
    task.cancel("please")
    await asyncio.sleep(2)
    out.append(task.done())
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        out.append((task.cancelled(), pstore.now()))
    early = asyncio.create_task(stubborn())
    early.cancel()
    out.append([repr(r) for r in await asyncio.gather(early, return_exceptions=True)])


@program
async def shield(out):
    inner = asyncio.create_task(nap(4, "done all the same"))
    try:
        async with asyncio.timeout(1):
            await asyncio.shield(inner)
    except TimeoutError:
        out.append((inner.done(), pstore.now()))
    out.append(await asyncio.shield(inner))
    out.append(await asyncio.shield(nap(1, "shielded")))


@program
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


@program
async def event(out):
    event = asyncio.Event()

    async def waiter(name):
        await event.wait()
        out.append((name, pstore.now()))

    tasks = [asyncio.create_task(waiter(n)) for n in range(2)]
    await asyncio.sleep(2)
    event.set()
    await asyncio.sleep(0)
    event.clear()
    await asyncio.gather(*tasks)
    out.append(event.is_set())


@program
async def lock(out):
    lock = asyncio.Lock()

    async def worker(name, seconds):
        async with lock:
            out.append((name, "has it", pstore.now()))
            await asyncio.sleep(seconds)
        await asyncio.sleep(0)
        out.append((name, "done", lock.locked()))

    tasks = [asyncio.create_task(worker(name, n)) for n, name in enumerate("abc", 1)]
    await asyncio.sleep(0.5)
    tasks[1].cancel()
    out.append([repr(r) for r in await asyncio.gather(*tasks, return_exceptions=True)])


@program
async def condition(out):
    condition, items = asyncio.Condition(), []

    async def taker(name):
        async with condition:
            await condition.wait_for(lambda: items)
            out.append((name, items.pop(), pstore.now()))

    tasks = [asyncio.create_task(taker(n)) for n in range(3)]
    for n in range(3):
        await asyncio.sleep(1)
        async with condition:
            items.append(n)
            condition.notify(1) if n else condition.notify_all()
    await asyncio.gather(*tasks)


@program
async def semaphore(out):
    semaphore, bounded = asyncio.Semaphore(2), asyncio.BoundedSemaphore(1)

    async def worker(n):
        async with semaphore:
            await asyncio.sleep(1)
            async with bounded:
                await asyncio.sleep(1)
                out.append((n, pstore.now()))

    await asyncio.gather(*(worker(n) for n in range(4)))
    try:
        bounded.release()
    except ValueError as error:
        out.append(str(error))


@program
async def barrier(out):
    barrier = asyncio.Barrier(3)

    async def worker(n):
        await asyncio.sleep(n)
        async with barrier as position:
            out.append((n, position, pstore.now()))
        await asyncio.sleep(n)
        try:
            await barrier.wait()
        except asyncio.BrokenBarrierError:
            out.append((n, "broken"))

    tasks = [asyncio.create_task(worker(n)) for n in range(3)]
    await asyncio.sleep(3.5)
    await barrier.abort()
    await asyncio.gather(*tasks)


@program
async def as_completed(out):
    for earliest in asyncio.as_completed([nap(3, "c"), nap(1, "a"), nap(2, "b")]):
        out.append((await earliest, pstore.now()))
    try:
        for earliest in asyncio.as_completed([nap(1, "a"), nap(9, "b")], timeout=2):
            out.append(await earliest)
    except TimeoutError:
        out.append(("timeout", pstore.now()))
    if sys.version_info >= (3, 13):
        tasks = [asyncio.create_task(nap(n, n)) for n in (2, 1)]
        async for task in asyncio.as_completed(tasks):
            out.append((task in tasks, task.result()))


@program
async def futures(out):
    loop = asyncio.get_running_loop()
    mine, own, failed = asyncio.Future(), loop.create_future(), asyncio.Future()
    mine.add_done_callback(functools.partial(lambda log, f: log.append(("callback", f.result())), out))

    async def reader(name, future):
        try:
            out.append((name, await future, pstore.now()))
        except ValueError as error:
            out.append((name, str(error)))

    tasks = [asyncio.create_task(reader(n, f)) for n, f in enumerate((mine, own, failed, mine))]
    await asyncio.sleep(1)
    loop.call_later(1, mine.set_result, "by timer")
    loop.call_soon(own.set_result, "soon")
    failed.set_exception(ValueError("set"))
    cancelled = asyncio.Future()
    cancelled.cancel("why")
    await asyncio.sleep(0.5)
    try:
        await cancelled
    except asyncio.CancelledError as error:
        out.append(error.args)
    await asyncio.gather(*tasks)
    out.append((mine.result(), own.done(), mine.done()))


@program
async def timers(out):
    loop = asyncio.get_running_loop()
    handles = [loop.call_later(n, out.append, f"timer {n}") for n in (3, 1, 2, 2)]
    handles[2].cancel()
    start = loop.time()
    loop.call_at(start + 4, out.append, "at")
    await asyncio.sleep(5)
    out.append([handle.cancelled() for handle in handles])


class Ticker:
    def __init__(self, n):
        self.n = n

    async def __aenter__(self):
        await asyncio.sleep(1)
        return self

    async def __aexit__(self, *exc):
        await asyncio.sleep(1)

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.n:
            raise StopAsyncIteration
        self.n -= 1
        return await nap(1, self.n)


async def counting(n, out):
    try:
        for i in range(n):
            await asyncio.sleep(1)
            yield i
    finally:
        await asyncio.sleep(1)
        out.append("generator closed")


@program
async def asynchronous_iteration(out):
    async with Ticker(2) as ticker:
        out.append([x async for x in ticker])
    async with contextlib.aclosing(counting(5, out)) as numbers:
        async for n in numbers:
            out.append((n, pstore.now()))
            if n == 2:
                break
    out.append([n async for n in counting(2, out) if await nap(1, True)])


@contextlib.asynccontextmanager
async def managed(out):
    await asyncio.sleep(1)
    try:
        yield "resource"
    except ValueError as error:
        await asyncio.sleep(1)
        out.append(f"handled {error}")
    finally:
        await asyncio.sleep(1)
        out.append("released")


@program
async def context_managers(out):
    async with managed(out) as resource:
        await asyncio.sleep(1)
        raise ValueError(resource)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(managed(out))
        stack.push_async_callback(nap, 1)
        stack.callback(out.append, "callback")
        await asyncio.sleep(1)


@program
async def exceptions(out):
    try:
        try:
            await fail(1, "inner")
        except ValueError as error:
            await asyncio.sleep(1)
            raise KeyError("outer") from error
    except KeyError as error:
        await asyncio.sleep(1)
        out.append((repr(error), repr(error.__cause__), repr(sys.exc_info()[1])))
        try:
            await asyncio.sleep(1)
            raise
        except KeyError as again:
            out.append(again is error)
    else:
        out.append("never")


@program
async def shared_state(out):
    shared, total = [], 0

    async def add(n):
        nonlocal total
        await asyncio.sleep(n)
        shared.append(n)
        total += n
        return shared

    lists = await asyncio.gather(*(add(n) for n in range(3)))
    out.append((all(item is shared for item in lists), shared, total))


def double(n):
    return 2 * n


async def slow_double(n):
    await asyncio.sleep(0)
    return 2 * n


def broken(n):
    raise LookupError(f"no {n}")


@program
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


@program
async def threads(out):
    loop = asyncio.get_running_loop()
    out.append(await asyncio.to_thread(double, 4))
    out.append(await asyncio.to_thread(sorted, [1, 3, 2], reverse=True))
    out.append(await loop.run_in_executor(None, double, 5))


@program
async def retried_steps(out):
    try:
        await pstore.step(broken, 1, retry=pstore.Retry(attempts=3, delay=10, factor=3))
    except LookupError as error:
        out.append((repr(error), pstore.now()))


@program
async def set_order(out):
    items = {"flight", "hotel", "car", "train", "ferry", "bike"}
    seen = []
    for item in items:
        await asyncio.sleep(1)
        seen.append(item)
    out.append((sorted(seen), len(seen) == len(items)))
