"""Money: transfers, sagas, two-phase commit, auctions, books that are rebuilt from events."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field

from .kit import effect, people


@dataclass
class Account:
    owner: str
    balance: int
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@people
async def bank_transfers(out):
    accounts = [Account(name, 100) for name in "abcd"]
    moving = dict.fromkeys(range(3), 0)

    async def clerk(number):
        chance = random.Random(number)
        for n in range(6):
            source, target = chance.sample(accounts, 2)
            amount = chance.randint(1, 30)
            async with source.lock:
                source.balance -= amount
                moving[number] = amount
            await asyncio.sleep(chance.random())
            await effect(f"transfer {number}-{n} {source.owner}>{target.owner} {amount}")
            async with target.lock:
                target.balance += amount
                moving[number] = 0

    async def auditor():
        while True:
            total = sum(account.balance for account in accounts) + sum(moving.values())
            assert total == 400, total
            await asyncio.sleep(0.3)

    audit = asyncio.create_task(auditor())
    await asyncio.gather(*(clerk(number) for number in range(3)))
    audit.cancel()
    await asyncio.wait([audit])
    out.append([(account.owner, account.balance) for account in accounts])
    return audit.cancelled()


class SoldOut(Exception):
    pass


@people
async def booking_saga(out):
    seats = {"flight": 2, "hotel": 3, "car": 1}

    async def reserve(who, what):
        await asyncio.sleep(1)
        if not seats[what]:
            raise SoldOut(what)
        seats[what] -= 1
        await effect(f"reserve {what} for {who}")

    async def journey(who):
        undo = []
        try:
            for what in ("flight", "hotel", "car"):
                await reserve(who, what)

                async def release(what=what):
                    seats[what] += 1
                    await effect(f"release {what} of {who}")

                undo.append(release)
            return f"{who} travels"
        except SoldOut as error:
            while undo:
                await undo.pop()()
                await asyncio.sleep(0.1)
            return f"{who} stays at home: no {error}"

    for who in ("ann", "bob", "eve"):
        out.append(await journey(who))
    return seats


@people
async def nested_compensations(out):
    done = []

    async def compensated(stack, name):
        await effect(f"do {name}")
        done.append(name)

        async def undo():
            await asyncio.sleep(1)
            await effect(f"undo {name}")
            done.remove(name)

        stack.push_async_callback(undo)

    async def order(number):
        async with contextlib.AsyncExitStack() as stack:
            await compensated(stack, f"{number}: reserve")
            async with contextlib.AsyncExitStack() as inner:
                await compensated(inner, f"{number}: pack")
                await asyncio.sleep(number)
                if number % 3 == 1:
                    raise LookupError(f"{number}: out of paper")
                stack.push_async_exit(inner.pop_all())
            await compensated(stack, f"{number}: ship")
            if number % 3 == 2:
                raise OSError(f"{number}: lost by the carrier")
            stack.pop_all()

    results = await asyncio.gather(*(order(number) for number in range(5)), return_exceptions=True)
    out.append([repr(result) for result in results])
    return sorted(done)


class Participant:
    def __init__(self, name, refuses):
        self.name, self.refuses = name, refuses
        self.inbox, self.state, self.prepared = asyncio.Queue(), {}, None

    async def run(self):
        while (message := await self.inbox.get()) is not None:
            kind, number, value, reply = message
            await asyncio.sleep(0.1)
            match kind:
                case "prepare":
                    self.prepared = value
                    reply.set_result(number not in self.refuses)
                case "commit":
                    await effect(f"{self.name} commits {number}")
                    self.state[number], self.prepared = self.prepared, None
                    reply.set_result(True)
                case "abort":
                    self.prepared = None
                    reply.set_result(True)


@people
async def two_phase_commit(out):
    loop = asyncio.get_running_loop()
    parts = [Participant("north", {3}), Participant("east", set()), Participant("south", {1, 3})]
    running = [asyncio.create_task(part.run()) for part in parts]

    async def ask_all(kind, number, value):
        replies = []
        for part in parts:
            replies.append(loop.create_future())
            await part.inbox.put((kind, number, value, replies[-1]))
        return all(await asyncio.gather(*replies))

    for number in range(5):
        decision = "commit" if await ask_all("prepare", number, f"value {number}") else "abort"
        await effect(f"decided to {decision} {number}")
        await ask_all(decision, number, None)
        out.append((number, decision))
    for part in parts:
        await part.inbox.put(None)
    await asyncio.gather(*running)
    assert parts[0].state == parts[1].state == parts[2].state
    return parts[0].state


@people
async def auction(out):
    changed = asyncio.Condition()
    best = [("nobody", 10)]

    async def bidder(name, limit, pace):
        while True:
            await asyncio.sleep(pace)
            async with changed:
                leader, price = best[-1]
                if leader == name:
                    continue
                if price + 5 > limit:
                    return name
                best.append((name, price + 5))
                changed.notify_all()

    tasks = [asyncio.create_task(bidder(*who)) for who in (("ann", 62, 1.01), ("bob", 48, 1.37), ("eve", 91, 2.003))]
    async with changed:
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(7):
                    await changed.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    winner, price = best[-1]
    await effect(f"sold to {winner} for {price}")
    out.append(len(best))
    return winner, price


@dataclass(frozen=True)
class Event:
    kind: str
    amount: int


class Book:
    def __init__(self):
        self.events, self.balance, self.watchers = [], 0, []

    def apply(self, event):
        self.balance += event.amount if event.kind == "deposited" else -event.amount

    def record(self, event):
        self.events.append(event)
        self.apply(event)
        for watcher in self.watchers:
            watcher(event)

    @classmethod
    def replayed(cls, events):
        book = cls()
        for event in events:
            book.record(event)
        return book


@people
async def event_sourcing(out):
    book, per_kind = Book(), {}
    book.watchers.append(lambda event: per_kind.update({event.kind: per_kind.get(event.kind, 0) + 1}))
    snapshots = []
    for n in range(12):
        kind = "withdrew" if n % 3 == 2 and book.balance > n else "deposited"
        book.record(Event(kind, n))
        await effect(f"{kind} {n}")
        if n % 4 == 3:
            snapshots.append((len(book.events), book.balance))
        await asyncio.sleep(60)
    for length, balance in snapshots:
        assert Book.replayed(book.events[:length]).balance == balance
    out.append(snapshots)
    return book.balance, sorted(per_kind.items())


@people
async def payroll(out):
    staff = {"ann": 3000, "bob": 2500}
    paid = {name: [] for name in staff}

    def months():
        year, month = 2031, 11
        while True:
            yield f"{year}-{month:02}"
            year, month = (year + 1, 1) if month == 12 else (year, month + 1)

    async def pay(name, month):
        await asyncio.sleep(3600)
        bonus = staff[name] // 10 if month.endswith("-12") else 0
        paid[name].append(await effect(f"{month}: pay {name}", staff[name] + bonus))

    calendar = months()
    for _ in range(5):
        month = next(calendar)
        async with asyncio.TaskGroup() as group:
            for name in staff:
                group.create_task(pay(name, month), name=f"{name} {month}")
        staff["bob"] += 10
        await asyncio.sleep(30 * 86400)
    out.append(next(calendar))
    return paid
