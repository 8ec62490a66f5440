"""Clusters: rings, elections, heartbeats, gossip, quorums, actors, rooms."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field

from .kit import effect, people


@people
async def token_ring(out):
    nodes, rounds = 5, 4
    ring = [asyncio.Queue(1) for _ in range(nodes)]
    worked = [0] * nodes

    async def node(n):
        while (token := await ring[n].get()) < nodes * rounds:
            worked[n] += token
            await asyncio.sleep(0.1)
            if n == 0:
                await effect(f"round {token // nodes}")
            await ring[(n + 1) % nodes].put(token + 1)
        await ring[(n + 1) % nodes].put(token)
        return n

    await ring[0].put(0)
    tasks = [asyncio.create_task(node(n)) for n in range(nodes)]
    out.append(await asyncio.gather(*tasks))
    return worked


@people
async def ring_election(out):
    ids = [3, 17, 8, 25, 11, 2]
    links = [asyncio.Queue() for _ in ids]
    leaders = [None] * len(ids)

    async def member(position):
        mine, onwards = ids[position], links[(position + 1) % len(ids)]
        await asyncio.sleep(position / 10)
        await onwards.put(("candidate", mine))
        while leaders[position] is None:
            kind, who = await links[position].get()
            await asyncio.sleep(0.01)
            if kind == "leader":
                leaders[position] = who
                if who != mine:
                    await onwards.put((kind, who))
            elif who == mine:
                await effect(f"{mine} leads")
                await onwards.put(("leader", mine))
            elif who > mine:
                await onwards.put((kind, who))

    async with asyncio.TaskGroup() as group:
        for position in range(len(ids)):
            group.create_task(member(position))
    out.append(set(leaders))
    return leaders


@people
async def heartbeats(out):
    loop = asyncio.get_running_loop()
    last_seen, suspected = {}, {}

    async def node(name, pace, beats):
        for _ in range(beats):
            last_seen[name] = loop.time()
            await asyncio.sleep(pace)

    async def detector(patience):
        while len(suspected) < 3:
            await asyncio.sleep(0.23)
            for name, moment in last_seen.items():
                if name not in suspected and loop.time() - moment > patience:
                    suspected[name] = int(loop.time() - start)
                    await effect(f"{name} is suspected")

    start = loop.time()
    async with asyncio.TaskGroup() as group:
        for name, pace, beats in (("a", 0.4, 20), ("b", 0.7, 5), ("c", 1.1, 4)):
            group.create_task(node(name, pace, beats))
        group.create_task(detector(2))
    out.append(list(suspected))
    return suspected


@people
async def gossip(out):
    members = {n: {n} for n in range(7)}
    complete = asyncio.Event()

    async def member(n):
        chance = random.Random(n)
        while True:
            await asyncio.sleep(chance.uniform(0.5, 1.5))
            other = chance.choice([m for m in members if m != n])
            members[n] |= members[other]
            members[other] |= members[n]
            if all(len(known) == len(members) for known in members.values()):
                complete.set()

    tasks = [asyncio.create_task(member(n)) for n in members]
    await complete.wait()
    for task in tasks:
        task.cancel("everybody knows")
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await effect("everybody knows")
    out.append({type(result).__name__ for result in results})
    return [sorted(known) for known in members.values()]


@dataclass
class Room:
    members: dict[str, asyncio.Queue] = field(default_factory=dict)

    def say(self, name, text):
        for other, inbox in self.members.items():
            if other != name:
                inbox.put_nowait((name, text))

    @contextlib.asynccontextmanager
    async def entered(self, name):
        inbox = self.members[name] = asyncio.Queue()
        self.say(name, "enters")
        try:
            yield inbox
        finally:
            del self.members[name]
            self.say(name, "leaves")


@people
async def chat_room(out):
    room, heard = Room(), {}

    async def guest(name, arrives, lines):
        await asyncio.sleep(arrives)
        heard[name] = []
        async with room.entered(name) as inbox:

            async def listen():
                while True:
                    heard[name].append(await inbox.get())

            listening = asyncio.create_task(listen())
            for line in lines:
                await asyncio.sleep(1)
                room.say(name, line)
                await effect(f"{name}: {line}")
            listening.cancel()
            await asyncio.wait([listening])

    await asyncio.gather(
        guest("ann", 0, ["hello?", "anybody?", "ah"]),
        guest("bob", 1.5, ["hi ann", "bye ann"]),
        guest("eve", 3.25, ["late"]),
    )
    out.append(room.members)
    return heard


class Cell:
    """An actor that owns one number of a product of matrices."""

    def __init__(self):
        self.inbox, self.total = asyncio.Queue(), 0

    async def run(self, terms):
        for _ in range(terms):
            left, right = await self.inbox.get()
            await asyncio.sleep(0)
            self.total += left * right
        return self.total


@people
async def matrix_actors(out):
    size = 3
    a = [[i + j for j in range(size)] for i in range(size)]
    b = [[i * j + 1 for j in range(size)] for i in range(size)]
    cells = [[Cell() for _ in range(size)] for _ in range(size)]
    tasks = [[asyncio.create_task(cell.run(size)) for cell in row] for row in cells]
    for k in range(size):
        for i in range(size):
            for j in range(size):
                await cells[i][j].inbox.put((a[i][k], b[k][j]))
        await effect(f"sent {k}")
        await asyncio.sleep(1)
    product = [[await task for task in row] for row in tasks]
    assert product == [[sum(a[i][k] * b[k][j] for k in range(size)) for j in range(size)] for i in range(size)]
    out.append(product)
    return sum(map(sum, product))


class Counter:
    """A counter of replicas that merge: the largest that is known of each."""

    def __init__(self, name):
        self.name, self.counts = name, {}

    def add(self, amount):
        self.counts[self.name] = self.counts.get(self.name, 0) + amount

    def merge(self, other):
        for name, count in other.counts.items():
            self.counts[name] = max(count, self.counts.get(name, 0))

    @property
    def value(self):
        return sum(self.counts.values())


@people
async def replicated_counter(out):
    replicas = [Counter(name) for name in "xyz"]

    async def edit(replica, pace):
        for amount in range(1, 6):
            replica.add(amount)
            await asyncio.sleep(pace)

    async def synchronise():
        while True:
            for left, right in zip(replicas, replicas[1:] + replicas[:1]):
                await asyncio.sleep(0.35)
                right.merge(left)

    syncing = asyncio.create_task(synchronise())
    await asyncio.gather(*(edit(replica, pace) for replica, pace in zip(replicas, (0.5, 0.9, 1.2))))
    await asyncio.sleep(3)
    syncing.cancel()
    await asyncio.gather(syncing, return_exceptions=True)
    out.append([replica.value for replica in replicas])
    await effect(f"agreed on {replicas[0].value}")
    return sorted(replicas[0].counts.items())


@people
async def quorum_writes(out):
    class Replica:
        def __init__(self, delay, broken=()):
            self.delay, self.broken, self.data = delay, broken, {}

        async def write(self, version, value):
            await asyncio.sleep(self.delay)
            if version in self.broken:
                raise ConnectionError(version)
            self.data[version] = value

    replicas = [Replica(1), Replica(2.5, {2}), Replica(4, {2, 3})]
    stragglers = set()
    for version in range(5):
        acknowledged, failures = 0, 0
        writes = {asyncio.create_task(replica.write(version, f"v{version}")) for replica in replicas}
        while acknowledged < 2 and failures < 2:
            done, writes = await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
            failures += sum(write.exception() is not None for write in done)
            acknowledged += sum(write.exception() is None for write in done)
        stragglers |= writes
        await effect(f"version {version} {'written' if acknowledged == 2 else 'failed'}")
        out.append((version, acknowledged, failures))
    await asyncio.gather(*stragglers, return_exceptions=True)
    return [sorted(replica.data) for replica in replicas]
