"""Asynchronous iteration, generators and their end, comprehensions, context managers."""

from __future__ import annotations

import asyncio
import contextlib

from .kit import kinds, nap, now, outcome, program


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


@program("async generators")
async def asynchronous_iteration(out):
    async with Ticker(2) as ticker:
        out.append([x async for x in ticker])
    async with contextlib.aclosing(counting(5, out)) as numbers:
        async for n in numbers:
            out.append((n, now()))
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


@program("async with")
async def context_managers(out):
    async with managed(out) as resource:
        await asyncio.sleep(1)
        raise ValueError(resource)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(managed(out))
        stack.push_async_callback(nap, 1)
        stack.callback(out.append, "callback")
        await asyncio.sleep(1)


@program("async generators")
async def generator_dropped(out):
    async for n in counting(5, out):
        out.append((n, now()))
        if n == 1:
            break
    await asyncio.sleep(5)
    out.append(now())

    async def first():
        async for n in counting(3, out):
            return n

    out.append((await first(), now()))
    await asyncio.sleep(5)


@program("async generators")
async def generator_closed(out):
    numbers = counting(5, out)
    out.append((await anext(numbers), await numbers.__anext__()))
    await asyncio.sleep(1)
    await numbers.aclose()
    out.append((await anext(numbers, "default"), now()))
    never_begun = counting(5, out)
    await never_begun.aclose()

    async def echo():
        received = []
        while True:
            try:
                received.append((yield len(received)))
                await asyncio.sleep(1)
            except ValueError as error:
                await asyncio.sleep(1)
                received.append(str(error))
            except GeneratorExit:
                await asyncio.sleep(1)
                out.append((received, now()))
                raise

    talk = echo()
    out.append(
        [await talk.asend(None), await talk.asend("a"), await talk.athrow(ValueError("b")), await talk.asend("c")]
    )
    await asyncio.sleep(1)
    await talk.aclose()
    out.append(await outcome(talk.asend("d")))


@program("async generators")
async def generator_cancelled(out):
    async def reader():
        async with contextlib.aclosing(counting(9, out)) as numbers:
            async for n in numbers:
                out.append((n, now()))

    reading = asyncio.create_task(reader())
    await asyncio.sleep(2.5)
    reading.cancel()
    out.append(await outcome(reading))

    async def careless():
        async for n in counting(9, out):
            out.append((n, now()))
            await asyncio.sleep(5)

    reading = asyncio.create_task(careless())
    await asyncio.sleep(2.5)
    reading.cancel()
    out.append((await outcome(reading)).partition("(")[0])
    del reading
    await asyncio.sleep(5)
    out.append(now())


@program("async generators")
async def generators_in_a_row(out):
    async def doubled(source):
        async for n in source:
            await asyncio.sleep(1)
            yield 2 * n

    async def merged(*sources):
        queue, ended = asyncio.Queue(), object()

        async def pump(source):
            async for item in source:
                await queue.put(item)
            await queue.put(ended)

        async with asyncio.TaskGroup() as group:
            for source in sources:
                group.create_task(pump(source))
            left = len(sources)
            while left:
                item = await queue.get()
                if item is ended:
                    left -= 1
                else:
                    yield item

    out.append([n async for n in doubled(doubled(counting(3, out)))])
    out.append(sorted([n async for n in merged(counting(2, out), doubled(counting(2, out)))]))


@program("async comprehensions")
async def comprehensions(out):
    out.append([[x * y async for x in Ticker(2)] async for y in Ticker(3)])
    out.append(sorted({x % 2 async for x in Ticker(3) if await nap(1, x)}))
    out.append({await nap(1, x): await nap(1, -x) async for x in Ticker(2)})
    lazily = (await nap(1, x) async for x in Ticker(3))
    out.append(await anext(lazily))
    await asyncio.sleep(1)
    out.append(([x async for x in lazily], now()))
    out.append([await nap(1, x) for x in [await nap(1, y) for y in range(2)]])
    out.append([(x, y) for x in range(2) for y in await nap(1, "ab")])


@contextlib.asynccontextmanager
async def suppressing(kind, out, name):
    try:
        await asyncio.sleep(1)
        yield name
    except kind as error:
        await asyncio.sleep(1)
        out.append((name, "suppressed", repr(error)))
    finally:
        out.append((name, "left", now()))


@program("async with")
async def exit_stacks(out):
    async with contextlib.AsyncExitStack() as stack:
        names = [await stack.enter_async_context(suppressing(ValueError, out, n)) for n in range(2)]
        stack.push_async_exit(Ticker(0))
        await asyncio.sleep(1)
        out.append(names)
        raise ValueError("in the body")
    async with contextlib.AsyncExitStack() as first:
        await first.enter_async_context(suppressing(KeyError, out, "moved"))
        kept = first.pop_all()
    out.append(("nothing left yet", now()))
    await asyncio.sleep(1)
    await kept.aclose()
    try:
        async with suppressing(KeyError, out, "outer"), suppressing(OSError, out, "inner"):
            await asyncio.sleep(1)
            raise LookupError("goes through")
    except LookupError as error:
        out.append(repr(error))

    @suppressing(TypeError, out, "decorator")
    async def decorated():
        await asyncio.sleep(1)
        raise TypeError("decorated")

    out.append(await decorated())
    async with contextlib.nullcontext("nothing") as value:
        out.append(await nap(1, value))
    with contextlib.suppress(ValueError), contextlib.ExitStack() as plain:
        plain.callback(out.append, "plain stack")
        await asyncio.sleep(1)
        raise ValueError


@program("async with")
async def exit_while_cancelled(out):
    async def worker():
        async with suppressing(ValueError, out, "scope"), Ticker(1) as ticker:
            async for n in ticker:
                await asyncio.sleep(9)

    task = asyncio.create_task(worker())
    await asyncio.sleep(3.5)
    task.cancel("leave")
    await asyncio.sleep(0.5)
    out.append(task.done())
    out.append(await outcome(task))


class Reader:
    def __init__(self, numbers):
        self.numbers = numbers

    async def next(self):
        return await anext(self.numbers)


@program("async generators")
async def generators_in_objects(out):
    reader = Reader(counting(5, out))
    out.append((await reader.next(), await reader.next()))
    await asyncio.sleep(1)
    reader = None
    await asyncio.sleep(5)
    out.append(now())
    several = [counting(5, out), [counting(5, out)], {"key": (counting(5, out),)}]
    out.append((await anext(several[0]), await anext(several[1][0]), await anext(several[2]["key"][0], None)))
    await asyncio.sleep(1)
    several.pop(1)
    await asyncio.sleep(2)
    out.append(now())
    several.clear()
    await asyncio.sleep(2)
    out.append(now())

    async def outer():
        async for n in counting(5, out):
            try:
                yield n
            finally:
                out.append(("outer closed", now()))

    async for n in outer():
        await asyncio.sleep(1)
        break
    await asyncio.sleep(5)
    out.append(now())


@program("async generators")
async def generator_kept(out):
    numbers, kept = counting(9, out), []
    kept.append(numbers)
    for _ in range(2):
        async for n in kept[0]:
            out.append((n, now()))
            await asyncio.sleep(1)
            if n % 2:
                break
        await asyncio.sleep(1)
    del numbers
    await asyncio.sleep(1)
    out.append(await anext(kept[0]))
    await asyncio.sleep(1)
    moved = {"here": kept.pop()}
    await asyncio.sleep(1)
    out.append((await anext(moved["here"]), now()))
    await moved["here"].aclose()
