"""The classics: philosophers, barbers, readers and writers, lifts, cells, sieves."""

from __future__ import annotations

import asyncio
import collections
from dataclasses import dataclass, field

from .kit import effect, people


@people
async def philosophers(out):
    count, meals = 5, collections.Counter()
    forks = [asyncio.Lock() for _ in range(count)]
    eating = set()

    async def philosopher(n):
        left, right = sorted((n, (n + 1) % count))
        for _ in range(3):
            await asyncio.sleep(0.1 * (n + 1))
            async with forks[left], forks[right]:
                assert not eating & {(n - 1) % count, (n + 1) % count}
                eating.add(n)
                await asyncio.sleep(0.5)
                eating.discard(n)
                meals[n] += 1
        await effect(f"philosopher {n} is full")

    async with asyncio.TaskGroup() as group:
        for n in range(count):
            group.create_task(philosopher(n))
    out.append(sorted(eating))
    return sorted(meals.items())


@people
async def sleeping_barber(out):
    chairs, served, sent_away = asyncio.Queue(2), [], []

    async def barber():
        while True:
            customer, shorn = await chairs.get()
            await asyncio.sleep(2)
            served.append(customer)
            shorn.set()

    async def customer(n):
        shorn = asyncio.Event()
        try:
            chairs.put_nowait((n, shorn))
        except asyncio.QueueFull:
            sent_away.append(n)
            return
        await shorn.wait()
        await effect(f"customer {n} pays")

    working = asyncio.create_task(barber())
    customers = []
    for n, pause in enumerate([0.5, 0.5, 0.5, 0.5, 3.3, 0.2, 0.2]):
        customers.append(asyncio.create_task(customer(n)))
        await asyncio.sleep(pause)
    await asyncio.gather(*customers)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    out.append(served)
    return sent_away


class SharedLock:
    """Many readers or one writer; writers first."""

    def __init__(self):
        self.changed, self.readers, self.writing, self.waiting = asyncio.Condition(), 0, False, 0

    async def read(self):
        async with self.changed:
            await self.changed.wait_for(lambda: not self.writing and not self.waiting)
            self.readers += 1

    async def write(self):
        async with self.changed:
            self.waiting += 1
            await self.changed.wait_for(lambda: not self.writing and not self.readers)
            self.waiting -= 1
            self.writing = True

    async def done(self):
        async with self.changed:
            if self.writing:
                self.writing = False
            else:
                self.readers -= 1
            self.changed.notify_all()


@people
async def readers_writers(out):
    lock, page, most = SharedLock(), [0, 0], 0

    async def reader(n):
        nonlocal most
        for _ in range(4):
            await asyncio.sleep(0.3 + n / 10)
            await lock.read()
            most = max(most, lock.readers)
            assert page[0] == page[1]
            await asyncio.sleep(0.5)
            await lock.done()

    async def writer(n):
        for version in range(3):
            await asyncio.sleep(1 + n / 3)
            await lock.write()
            assert lock.readers == 0
            page[0] += 1
            await asyncio.sleep(0.2)
            page[1] += 1
            await lock.done()
            await effect(f"writer {n} wrote {version}")

    await asyncio.gather(*(reader(n) for n in range(3)), *(writer(n) for n in range(2)))
    out.append(most > 1)
    return page, lock.readers, lock.writing


@dataclass
class Lift:
    floor: int = 0
    calls: list[int] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    doors: dict[int, asyncio.Event] = field(default_factory=dict)

    def call(self, floor):
        self.calls.append(floor)
        self.called.set()
        return self.doors.setdefault(floor, asyncio.Event())

    async def run(self, trace):
        while True:
            if not self.calls:
                self.called.clear()
                await self.called.wait()
            target = min(self.calls, key=lambda floor: (abs(floor - self.floor), floor))
            while self.floor != target:
                self.floor += 1 if target > self.floor else -1
                await asyncio.sleep(1)
                if self.floor in self.calls:
                    target = self.floor
            self.calls = [floor for floor in self.calls if floor != target]
            trace.append(target)
            self.doors.pop(target).set()
            await asyncio.sleep(0.5)


@people
async def elevator(out):
    lift = Lift()
    running = asyncio.create_task(lift.run(out))

    async def passenger(n, moment, start, target):
        await asyncio.sleep(moment)
        await lift.call(start).wait()
        await lift.call(target).wait()
        await effect(f"passenger {n} arrived at {target}")
        return n

    plans = [(0.1, 3, 0), (1.15, 5, 2), (2.2, 1, 6), (9.25, 4, 5)]
    arrived = await asyncio.gather(*(passenger(n, *plan) for n, plan in enumerate(plans)))
    running.cancel()
    await asyncio.wait([running])
    return arrived, lift.calls, lift.floor


@people
async def game_of_life(out):
    size, generations = 4, 3
    alive = {(1, 0), (2, 1), (0, 2), (1, 2), (2, 2)}
    world = {(x, y): (x, y) in alive for x in range(size) for y in range(size)}
    barrier = asyncio.Barrier(len(world))

    async def cell(x, y):
        around = [((x + i) % size, (y + j) % size) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
        for generation in range(generations):
            count = sum(world[other] for other in around)
            await barrier.wait()
            world[x, y] = count == 3 or (world[x, y] and count == 2)
            if not x and not y:
                await effect(f"generation {generation}")
            await barrier.wait()

    await asyncio.gather(*(cell(x, y) for x, y in world))
    out.append(["".join(".#"[world[x, y]] for x in range(size)) for y in range(size)])
    return sum(world.values())


@people
async def bounded_buffer(out):
    buffer, changed = collections.deque(maxlen=3), asyncio.Condition()

    async def put(name, count):
        for n in range(count):
            async with changed:
                await changed.wait_for(lambda: len(buffer) < buffer.maxlen)
                buffer.append((name, n))
                changed.notify_all()
            await asyncio.sleep(0.1)

    async def take(count):
        taken = []
        for _ in range(count):
            async with changed:
                await changed.wait_for(lambda: buffer)
                taken.append(buffer.popleft())
                changed.notify_all()
            await asyncio.sleep(0.25)
        await effect(f"took {count}")
        return taken

    *_, first, second = await asyncio.gather(put("a", 6), put("b", 5), put("c", 4), take(8), take(7))
    for name in "abc":
        mine = [n for who, n in first if who == name]
        assert mine == sorted(mine)
    out.append(sorted(first + second))
    return len(buffer)


@people
async def prime_sieve(out):
    async def numbers(last, sink):
        for n in range(2, last):
            await sink.put(n)
        await sink.put(0)

    async def without_multiples(prime, source, sink):
        while n := await source.get():
            if n % prime:
                await sink.put(n)
        await sink.put(0)

    async with asyncio.TaskGroup() as group:
        source = asyncio.Queue(1)
        group.create_task(numbers(30, source))
        while prime := await source.get():
            out.append(await effect(f"prime {prime}", prime))
            sink = asyncio.Queue(1)
            group.create_task(without_multiples(prime, source, sink))
            source = sink
            await asyncio.sleep(1)
    return len(out)


@people
async def smokers(out):
    table, smoked = asyncio.Condition(), collections.Counter()
    supplies, things = [], ("tobacco", "paper", "matches")

    async def smoker(mine):
        needed = sorted(set(things) - {mine})
        while True:
            async with table:
                await table.wait_for(lambda: sorted(supplies) == needed or supplies == ["nothing more"])
                if supplies == ["nothing more"]:
                    return
                supplies.clear()
                smoked[mine] += 1
                table.notify_all()
            await asyncio.sleep(1)

    tasks = [asyncio.create_task(smoker(thing)) for thing in things]
    for n in range(7):
        async with table:
            await table.wait_for(lambda: not supplies)
            supplies.extend(thing for thing in things if thing != things[n * n % 3])
            table.notify_all()
        await effect(f"round {n}")
    async with table:
        await table.wait_for(lambda: not supplies)
        supplies.append("nothing more")
        table.notify_all()
    await asyncio.gather(*tasks)
    out.append(supplies)
    return sorted(smoked.items())
