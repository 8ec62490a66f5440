"""Limits of time and patience: retries, rates, caches, breakers, schedules, machines of states."""

from __future__ import annotations

import asyncio
import enum
import functools
import heapq
import random

from .kit import effect, people


class Unavailable(Exception):
    pass


def retried(attempts, first_delay):
    """A decorator: wait twice as long after each failure, and a little that is drawn by lot."""

    def decorate(fn):
        @functools.wraps(fn)
        async def wrapper(*args):
            chance, delay = random.Random(repr(args)), first_delay
            for attempt in range(1, attempts + 1):
                try:
                    return attempt, await fn(*args)
                except Unavailable:
                    if attempt == attempts:
                        raise
                    await asyncio.sleep(delay + chance.random())
                    delay *= 2

        return wrapper

    return decorate


@people
async def retries_with_backoff(out):
    failures = {"a": 2, "b": 0, "c": 9, "d": 4}

    @retried(5, 1)
    async def fetch(name):
        await asyncio.sleep(0.1)
        if failures[name]:
            failures[name] -= 1
            raise Unavailable(name)
        return await effect(f"fetched {name}", name.upper())

    start = asyncio.get_running_loop().time()
    results = await asyncio.gather(*map(fetch, failures), return_exceptions=True)
    out.append([repr(result) for result in results])
    return 15 < asyncio.get_running_loop().time() - start < 20


class Bucket:
    def __init__(self, rate, size):
        self.rate, self.size, self.level = rate, size, size
        self.loop = asyncio.get_running_loop()
        self.moment, self.turn = self.loop.time(), asyncio.Lock()

    async def take(self):
        async with self.turn:
            now = self.loop.time()
            self.level = min(self.size, self.level + (now - self.moment) * self.rate)
            self.moment = now
            if self.level < 1:
                await asyncio.sleep((1 - self.level) / self.rate)
                self.level, self.moment = 1, self.loop.time()
            self.level -= 1


@people
async def rate_limiter(out):
    bucket, moments = Bucket(2, 3), []
    start = bucket.moment

    async def call(n):
        await bucket.take()
        moments.append(round(bucket.loop.time() - start, 3))
        await effect(f"call {n}")

    await asyncio.gather(*(call(n) for n in range(8)))
    await asyncio.sleep(10)
    await asyncio.gather(*(call(n) for n in range(8, 10)))
    out.append(moments)
    return bucket.level


class Cache:
    """Values that expire; one call at a time for each key."""

    def __init__(self, fn, seconds):
        self.fn, self.seconds, self.running, self.values = fn, seconds, {}, {}

    async def get(self, key):
        if key in self.values:
            return self.values[key]
        if key not in self.running:
            self.running[key] = asyncio.create_task(self.fill(key))
        return await asyncio.shield(self.running[key])

    async def fill(self, key):
        try:
            value = self.values[key] = await self.fn(key)
            asyncio.get_running_loop().call_later(self.seconds, self.values.pop, key)
            return value
        finally:
            del self.running[key]


@people
async def cache_with_expiry(out):
    calls = []

    async def load(key):
        calls.append(key)
        await effect(f"load {key}, call {len(calls)}")
        await asyncio.sleep(1)
        return f"{key}{calls.count(key)}"

    cache = Cache(load, 10)
    out.append(await asyncio.gather(*(cache.get("x") for _ in range(4))))
    try:
        await asyncio.wait_for(cache.get("y"), 0.5)
    except TimeoutError:
        out.append("too slow, but it goes on")
    await asyncio.sleep(1)
    out.append(await cache.get("y"))
    await asyncio.sleep(9)
    out.append((await cache.get("x"), await cache.get("y")))
    await asyncio.sleep(20)
    return calls, cache.values, cache.running


class Breaker:
    def __init__(self, most, rest):
        self.most, self.rest, self.failures, self.opened = most, rest, 0, None

    async def call(self, fn, *args):
        now = asyncio.get_running_loop().time()
        if self.opened is not None and now < self.opened + self.rest:
            raise Unavailable("the circuit is open")
        try:
            async with asyncio.timeout(1):
                result = await fn(*args)
        except (Unavailable, TimeoutError):
            self.failures += 1
            if self.failures >= self.most:
                self.opened = now
            raise
        self.failures, self.opened = 0, None
        return result


@people
async def circuit_breaker(out):
    breaker, reached = Breaker(3, 10), 0

    async def service(n):
        nonlocal reached
        reached += 1
        await asyncio.sleep(5 if n == 3 else 0.1)
        if 2 <= n < 9:
            raise Unavailable(f"call {n}")
        return n

    for n in range(16):
        try:
            out.append(await breaker.call(service, n))
        except (Unavailable, TimeoutError) as error:
            out.append(repr(error))
        await asyncio.sleep(2)
    await effect(f"reached {reached}")
    return reached


class Schedule:
    """Jobs at intervals, soonest first, on one task."""

    def __init__(self):
        self.entries, self.changed, self.made = [], asyncio.Event(), 0
        self.loop = asyncio.get_running_loop()

    def every(self, seconds, fn, times):
        self.made += 1
        heapq.heappush(self.entries, (self.loop.time() + seconds, self.made, seconds, fn, times))
        self.changed.set()

    async def run(self):
        while self.entries:
            when = self.entries[0][0]
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), max(0, when - self.loop.time()))
                continue
            except TimeoutError:
                _, number, seconds, fn, times = heapq.heappop(self.entries)
            await fn(when)
            if times > 1:
                heapq.heappush(self.entries, (when + seconds, number, seconds, fn, times - 1))


@people
async def scheduler(out):
    schedule = Schedule()
    start = schedule.loop.time()

    def job(name):
        async def run(when):
            out.append(await effect(f"{name} at {when - start:g}", (name, when - start)))

        return run

    schedule.every(60, job("minute"), 5)
    schedule.every(86400, job("day"), 2)
    running = asyncio.create_task(schedule.run())
    await asyncio.sleep(90)
    schedule.every(25, job("soon"), 3)
    await running
    return schedule.loop.time() - start


@people
async def priority_scheduler(out):
    jobs, order = asyncio.PriorityQueue(), []

    async def executor():
        while True:
            priority, number, steps = await jobs.get()
            await asyncio.sleep(1)
            order.append(number)
            steps -= 1
            if steps:
                jobs.put_nowait((priority + 2, number, steps))  # what ran gets older
            else:
                await effect(f"job {number} is done")
            jobs.task_done()

    running = asyncio.create_task(executor())
    for number, (priority, steps, pause) in enumerate([(5, 3, 0.5), (1, 4, 2.6), (2, 2, 0.2), (9, 1, 1)]):
        jobs.put_nowait((priority, number, steps))
        await asyncio.sleep(pause)
    await jobs.join()
    running.cancel()
    await asyncio.wait([running])
    out.append(order)
    return jobs.empty()


@people
async def timeouts_with_retries(out):
    delays = {"a": [9, 0.5], "b": [0.2], "c": [9, 9, 9]}
    cancelled = []

    async def request(name):
        delay = delays[name].pop(0)
        try:
            await asyncio.sleep(delay)
        except asyncio.CancelledError:
            cancelled.append(name)
            raise
        return await effect(f"answer for {name}", f"{name} after {delay}")

    async def patiently(name):
        for patience in (1, 2, 4):
            try:
                async with asyncio.timeout(patience):
                    return await request(name)
            except TimeoutError as error:
                last = error
        raise last

    results = await asyncio.gather(*map(patiently, delays), return_exceptions=True)
    out.append([repr(result) for result in results])
    return sorted(cancelled)


@people
async def hedged_requests(out):
    async def server(name, delay):
        await asyncio.sleep(delay)
        return name

    async def hedged(question, *delays):
        running = []
        try:
            for n, delay in enumerate(delays):
                running.append(asyncio.create_task(server(f"server {n}", delay)))
                done, _ = await asyncio.wait(running, timeout=1, return_when=asyncio.FIRST_COMPLETED)
                if done:
                    break
            else:
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            return await effect(f"question {question}", done.pop().result())
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    for question, delays in enumerate([(0.5, 9), (9, 0.5), (9, 9, 0.25), (4.5, 4.25, 8)]):
        out.append(await hedged(question, *delays))
    return len(asyncio.all_tasks())


class Light(enum.Enum):
    RED = "red"
    GREEN = "green"
    AMBER = "amber"


@people
async def traffic_lights(out):
    following = {Light.RED: (Light.GREEN, 3), Light.GREEN: (Light.AMBER, 5), Light.AMBER: (Light.RED, 1)}
    button, state = asyncio.Event(), Light.RED

    async def machine(changes):
        nonlocal state
        for _ in range(changes):
            upcoming, seconds = following[state]
            try:
                async with asyncio.timeout(seconds):
                    if state is Light.GREEN:
                        await button.wait()
                        button.clear()
                        out.append("somebody wants to cross")
                        await asyncio.sleep(1)
                    else:
                        await asyncio.sleep(99)
            except TimeoutError:
                pass
            state = upcoming
            out.append(state.value)

    async def pedestrian(moment):
        await asyncio.sleep(moment)
        button.set()
        await effect(f"pressed at {moment}")

    await asyncio.gather(machine(8), pedestrian(4.5), pedestrian(12.25))
    return state


class Machine:
    """A vending machine: a coroutine for each state, which gives the next one."""

    def __init__(self, coins):
        self.coins, self.credit, self.sold = coins, 0, []

    async def idle(self):
        coin = await self.coins.get()
        if coin is None:
            return None
        self.credit += coin
        return self.paying

    async def paying(self):
        while self.credit < 5:
            try:
                coin = await asyncio.wait_for(self.coins.get(), 3)
            except TimeoutError:
                return self.refunding
            self.credit += coin
        return self.serving

    async def serving(self):
        self.credit -= 5
        self.sold.append(await effect(f"can {len(self.sold)}", len(self.sold)))
        return self.paying if self.credit else self.idle

    async def refunding(self):
        await effect(f"refund {self.credit} after {len(self.sold)} cans")
        self.credit = 0
        return self.idle


@people
async def vending_machine(out):
    coins = asyncio.Queue()
    machine = Machine(coins)

    async def customer():
        for coin, pause in ((2, 1), (2, 1), (2, 9), (1, 1), (1, 5), (5, 0.5), (5, 0.5), (None, 0)):
            await coins.put(coin)
            await asyncio.sleep(pause)

    buying, state = asyncio.create_task(customer()), machine.idle
    while state is not None:
        out.append(state.__name__)
        state = await state()
    await buying
    return machine.sold, machine.credit
