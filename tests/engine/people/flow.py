"""Flows: pipelines, fan-out and fan-in, parsers, batches, crawls."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import heapq
import re

from .kit import effect, people

END = "end of the stream"


@people
async def pipeline(out):
    async def stage(fn, source, sink):
        while (item := await source.get()) != END:
            await asyncio.sleep(0.1)
            for result in fn(item):
                await sink.put(result)
        await sink.put(END)

    queues = [asyncio.Queue(2) for _ in range(4)]
    stages = [lambda n: [n, n + 100], lambda n: [n] if n % 3 else [], lambda n: [n * n]]
    async with asyncio.TaskGroup() as group:
        for fn, source, sink in zip(stages, queues, queues[1:]):
            group.create_task(stage(fn, source, sink))

        async def feed():
            for n in range(8):
                await queues[0].put(n)
            await queues[0].put(END)

        group.create_task(feed())
        while (item := await queues[-1].get()) != END:
            out.append(await effect(f"made {item}", item))
    return sum(out)


@people
async def generators_as_stages(out):
    async def lines(text):
        for line in text.splitlines():
            await asyncio.sleep(1)
            yield line

    async def grep(pattern, source):
        async for line in source:
            if re.search(pattern, line):
                yield line

    async def fields(source):
        async for line in source:
            name, _, number = line.partition(":")
            yield name.strip(), int(number)

    async def running_total(source):
        total = 0
        try:
            async for name, number in source:
                total += number
                yield name, total
        finally:
            await effect(f"total {total}")

    text = "a: 1\n# b: 2\nc: 3\n\nd: 40\n# e\nf: 5"
    async with contextlib.aclosing(running_total(fields(grep(r"^\w", lines(text))))) as totals:
        async for item in totals:
            out.append(item)
    return len(out)


@people
async def parser(out):
    """A recursive parser of arithmetic that pulls its characters out of an asynchronous stream."""

    async def characters(text):
        for character in text:
            await asyncio.sleep(0.01)
            yield character

    async def tokens(stream):
        number = ""
        async for character in stream:
            if character.isdigit():
                number += character
                continue
            if number:
                yield int(number)
                number = ""
            if character != " ":
                yield character
        if number:
            yield int(number)

    class Parser:
        def __init__(self, stream):
            self.stream, self.token = stream, None

        async def step(self):
            token, self.token = self.token, await anext(self.stream, None)
            return token

        async def expression(self):
            value = await self.term()
            while self.token in ("+", "-"):
                value = value + await self.term() if await self.step() == "+" else value - await self.term()
            return value

        async def term(self):
            value = await self.factor()
            while self.token == "*":
                await self.step()
                value *= await self.factor()
            return value

        async def factor(self):
            if (token := await self.step()) != "(":
                return token
            value = await self.expression()
            await self.step()
            return value

    for text in ("1 + 2 * 3", "(1+2)*(3+4) - 5", "((12))*2-(3-(4-5))"):
        parsing = Parser(tokens(characters(text)))
        await parsing.step()
        out.append(await parsing.expression())
        await effect(f"parsed {text}")
    return out[-1] - out[0]


class Broker:
    def __init__(self):
        self.topics = collections.defaultdict(list)

    @contextlib.contextmanager
    def subscription(self, *topics):
        queue = asyncio.Queue()
        for topic in topics:
            self.topics[topic].append(queue)
        try:
            yield queue
        finally:
            for topic in topics:
                self.topics[topic].remove(queue)

    def publish(self, topic, message):
        for queue in self.topics[topic]:
            queue.put_nowait((topic, message))
        return len(self.topics[topic])


@people
async def publish_subscribe(out):
    broker = Broker()

    async def subscriber(name, count, *topics):
        with broker.subscription(*topics) as messages:
            seen = [await messages.get() for _ in range(count)]
            await effect(f"{name} has {len(seen)}")
        return name, seen

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(subscriber("ann", 3, "news")),
            group.create_task(subscriber("bob", 4, "news", "sport")),
            group.create_task(subscriber("eve", 1, "sport")),
        ]
        await asyncio.sleep(1)
        for n in range(6):
            out.append(broker.publish("sport" if n % 3 == 2 else "news", n))
            await asyncio.sleep(1)
    return [task.result() for task in tasks], {topic: len(queues) for topic, queues in broker.topics.items()}


@people
async def worker_pool(out):
    jobs, results, dead = asyncio.Queue(), {}, []
    attempts = collections.Counter()

    async def worker(pace):
        while True:
            job = await jobs.get()
            try:
                await asyncio.sleep(pace)
                attempts[job] += 1
                if job % 4 == 1 and attempts[job] < 3 or job == 6:
                    raise RuntimeError(f"job {job}")
                results[job] = await effect(f"finished {job}", job * job)
            except RuntimeError:
                if attempts[job] == 4:
                    dead.append(job)
                else:
                    await jobs.put(job)
            finally:
                jobs.task_done()

    for job in range(10):
        jobs.put_nowait(job)
    workers = [asyncio.create_task(worker(pace)) for pace in (1.0, 1.1, 1.23)]
    await jobs.join()
    for task in workers:
        task.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    out.append(sorted(attempts.items()))
    return sorted(results.items()), dead


@people
async def map_reduce(out):
    texts = {f"page {n}": " ".join("the cat and the dog and a bird".split()[n:] * (n % 3 + 1)) for n in range(6)}
    limit, shuffled = asyncio.Semaphore(2), collections.defaultdict(list)

    async def mapper(name, text):
        async with limit:
            await asyncio.sleep(len(text) / 100)
            await effect(f"mapped {name}")
            for word, count in collections.Counter(text.split()).items():
                shuffled[word].append(count)

    async def reducer(word):
        await asyncio.sleep(0)
        return word, sum(shuffled[word])

    await asyncio.gather(*(mapper(*item) for item in texts.items()))
    counts = dict(await asyncio.gather(*(reducer(word) for word in sorted(shuffled))))
    out.append(max(counts, key=counts.get))
    return counts


@people
async def batcher(out):
    source, batches = asyncio.Queue(), []

    async def collect(most, patience):
        over = False
        while not over:
            batch = [await source.get()]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    while len(batch) < most and batch[-1] is not None:
                        batch.append(await source.get())
            if batch[-1] is None:
                over = True
                batch.pop()
            if batch:
                batches.append(batch)
                await effect(f"batch {len(batches)}: {batch}")

    collecting = asyncio.create_task(collect(3, 1.5))
    for n, pause in enumerate([0.1, 0.1, 0.1, 0.4, 2, 1, 1, 3, 0.1]):
        await source.put(n)
        await asyncio.sleep(pause)
    await source.put(None)
    await collecting
    out.append([len(batch) for batch in batches])
    return batches


class Debounced:
    def __init__(self, quiet, fn):
        self.quiet, self.fn, self.handle = quiet, fn, None

    def __call__(self, *args):
        if self.handle is not None:
            self.handle.cancel()
        self.handle = asyncio.get_running_loop().call_later(self.quiet, self.fn, *args)


@people
async def debounce(out):
    saved = asyncio.Queue()
    save = Debounced(1, saved.put_nowait)
    for text, pause in (("h", 0.2), ("he", 0.5), ("hel", 2), ("hell", 0.9), ("hello", 5), ("hello!", 0.1)):
        save(text)
        await asyncio.sleep(pause)
    await asyncio.sleep(2)
    while not saved.empty():
        out.append(await effect(f"saved {saved.get_nowait()}", saved.qsize()))
    return len(out)


@people
async def merged_streams(out):
    async def stream(name, items, pace):
        for item in items:
            await asyncio.sleep(pace)
            yield item, name
        await effect(f"{name} is over")

    async def merged(*streams):
        heap = []
        for n, one in enumerate(streams):
            async for item in one:
                heap.append((item, n, one))
                break
        heapq.heapify(heap)
        while heap:
            item, n, one = heap[0]
            yield item
            try:
                heapq.heapreplace(heap, (await anext(one), n, one))
            except StopAsyncIteration:
                heapq.heappop(heap)

    streams = [stream("a", range(0, 12, 3), 1), stream("b", range(1, 9, 2), 0.7), stream("c", (4, 4, 20), 1.9)]
    async for item, name in merged(*streams):
        out.append((item, name))
    return out == sorted(out)


@people
async def crawler(out):
    links = {n: [(n * 2) % 23, (n * 3 + 1) % 23, (n + 7) % 23] for n in range(23)}
    seen, depth, free = {0}, {0: 0}, asyncio.Semaphore(3)

    async def fetch(page):
        async with free:
            await asyncio.sleep(0.5 + page / 100)
            if page == 13:
                raise OSError(f"page {page} is gone")
            return links[page]

    frontier, broken = [0], []
    while frontier:
        pages = await asyncio.gather(*(fetch(page) for page in frontier), return_exceptions=True)
        following = []
        for page, found in zip(frontier, pages):
            if isinstance(found, OSError):
                broken.append(str(found))
                continue
            for link in found:
                if link not in seen:
                    seen.add(link)
                    depth[link] = depth[page] + 1
                    following.append(link)
        await effect(f"level {max(depth.values())}: {len(following)}")
        frontier = following
    out.append(broken)
    return sorted(depth.items())


@people
async def windows(out):
    events = [(0.2, "a"), (0.3, "b"), (1.0, "a"), (2.6, "a"), (0.3, "c"), (3.1, "b"), (0.1, "b")]
    counts, finished = collections.Counter(), asyncio.Event()

    async def tumbling(seconds):
        start = asyncio.get_running_loop().time()
        number = 0
        while not finished.is_set() or counts:
            number += 1
            await asyncio.sleep(start + number * seconds - asyncio.get_running_loop().time())
            window = sorted(counts.items())
            counts.clear()
            out.append(await effect(f"window {number}: {window}", window))

    closing = asyncio.create_task(tumbling(2))
    for pause, name in events:
        await asyncio.sleep(pause)
        counts[name] += 1
    finished.set()
    await closing
    return len(out)
