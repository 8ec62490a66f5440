"""Parts that random durable programs are made of, and what has to hold of each.

Owned here: `PARTS`, and the ledger, the world outside: a file to which steps append a line and fsync it.

A part has `draw(chance)`, which gives its plan, a dict of plain values; `state(plan)`, what is in the root; a coroutine
function `run(name, plan, state)`, which asserts what holds while it runs and gives a result; and

- `check(plan, state)`: what holds in every state that was ever committed;
- `over(plan, state, result)`: what holds in the end;
- `chains(name, plan)`: lists of entries that are in the ledger in the end, each after the ones before it in its list;
- `perhaps(name, plan)`: further entries that may be there.

Rules: all that is random is in the plan, which is a function of the seed; what a program does depends on it, and on
which of two things comes first, a timer or the end of a step, for instance.  Delays are in seconds; the harness may
shrink them, see `pace`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
import time

import pstore

ledger_path: str | None = None  # of this process; set by the harness
pace = 1.0  # seconds of the clock for a second of a plan; set by the harness


# ---------------------------------------------------------------- the world outside


def before_entry():
    """Replaced by the harness, to end the process here."""


def after_entry():
    """The same."""


def enter(entry):
    """Append a line: the key and what was done."""
    before_entry()
    file = os.open(ledger_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{pstore.step_key()} {entry}\n".encode())
        os.fsync(file)
    finally:
        os.close(file)
    after_entry()
    return entry


async def enter_later(entry):
    await asyncio.sleep(0.001)
    return enter(entry)


def enter_slowly(entry, seconds):
    time.sleep(seconds)
    return enter(entry)


class Refused(Exception):
    pass


def enter_failing(entry, times):
    """Append, and raise unless there are more than so many lines of it already."""
    enter(entry)
    if entries(ledger_path).count((pstore.step_key(), entry)) <= times:
        raise Refused(entry)
    return entry


def entries(path):
    """Give the lines of a ledger: (key, entry)."""
    if not os.path.exists(path):
        return []
    with open(path, "rb") as file:
        return [tuple(line.split(" ", 1)) for line in file.read().decode().splitlines()]


def nap(seconds):
    return asyncio.sleep(seconds * pace)


def act(entry, way):
    """Give the step for an entry, made in one of several ways."""
    if way == 0:
        return pstore.step(enter, entry)
    if way == 1:
        return pstore.step(enter_later, entry)
    if way == 2:
        return pstore.step(lambda: enter(entry))
    if way == 3:
        return asyncio.to_thread(enter, entry)
    return pstore.step(functools.partial(enter, entry), retry=pstore.Retry(attempts=2))


PARTS = {}


def part(cls):
    PARTS[cls.__name__.lower()] = cls
    return cls


class Part:
    """What parts have if they do not say otherwise."""

    @staticmethod
    def check(plan, state):
        pass

    @staticmethod
    def chains(name, plan):
        return []

    @staticmethod
    def perhaps(name, plan):
        return []


# ---------------------------------------------------------------- the parts


@part
class Bank(Part):
    """Clerks move money between accounts; on the way it is nowhere but with the clerk."""

    @staticmethod
    def draw(chance):
        accounts, clerks, transfers = chance.randint(2, 6), chance.randint(1, 4), chance.randint(2, 8)
        return {
            "accounts": accounts,
            "locked": chance.random() < 0.5,
            "clerks": [
                [
                    (*chance.sample(range(accounts), 2), chance.randint(1, 99), chance.random(), chance.randrange(5))
                    for _ in range(transfers)
                ]
                for _ in range(clerks)
            ],
        }

    @staticmethod
    def state(plan):
        return {"accounts": [1000] * plan["accounts"], "moving": {}, "locks": [asyncio.Lock() for _ in range(plan["accounts"])]}

    @staticmethod
    async def run(name, plan, state):
        accounts, moving = state["accounts"], state["moving"]

        async def clerk(number, transfers):
            for n, (source, target, amount, pause, way) in enumerate(transfers):
                async with contextlib.AsyncExitStack() as stack:
                    if plan["locked"]:
                        for account in sorted((source, target)):
                            await stack.enter_async_context(state["locks"][account])
                    accounts[source] -= amount
                    moving[number] = amount
                    await nap(pause)
                    await act(f"{name} clerk {number} {n}", way)
                    accounts[target] += moving.pop(number)
            return len(transfers)

        async def audit():
            while True:
                Bank.check(plan, state)
                await nap(0.3)

        audits = asyncio.create_task(audit())
        counts = await asyncio.gather(*(clerk(*entry) for entry in enumerate(plan["clerks"])))
        audits.cancel()
        await asyncio.wait([audits])
        assert audits.cancelled(), audits
        return counts

    @staticmethod
    def check(plan, state):
        total = sum(state["accounts"]) + sum(state["moving"].values())
        assert total == 1000 * plan["accounts"], f"the sum is {total}: {state['accounts']}, {state['moving']}"

    @staticmethod
    def over(plan, state, result):
        wanted = [1000] * plan["accounts"]
        for source, target, amount, *_ in [transfer for transfers in plan["clerks"] for transfer in transfers]:
            wanted[source] -= amount
            wanted[target] += amount
        assert state["accounts"] == wanted, f"{state['accounts']}, not {wanted}"
        assert result == [len(transfers) for transfers in plan["clerks"]]
        assert not state["moving"]
        assert not any(lock.locked() for lock in state["locks"])

    @staticmethod
    def chains(name, plan):
        return [
            [f"{name} clerk {number} {n}" for n in range(len(transfers))]
            for number, transfers in enumerate(plan["clerks"])
        ]


@part
class Ring(Part):
    """Tasks pass tokens round."""

    @staticmethod
    def draw(chance):
        return {
            "nodes": chance.randint(2, 6),
            "hops": [chance.randint(3, 25) for _ in range(chance.randint(1, 5))],
            "acts": chance.randint(2, 7),
            "way": chance.randrange(5),
            "pause": chance.choice([None, 0, 0.1]),
        }

    @staticmethod
    def state(plan):
        return {
            "queues": [asyncio.Queue() for _ in range(plan["nodes"])],
            "held": {},
            "home": [],
            "begun": False,
            "passed": 0,
        }

    @staticmethod
    async def run(name, plan, state):
        queues, held, home, all_home = state["queues"], state["held"], state["home"], asyncio.Event()

        async def node(number):
            while True:
                token, hops = await queues[number].get()
                assert token not in held
                held[token] = hops
                if hops % plan["acts"] == 0:
                    await act(f"{name} token {token} {hops}", plan["way"])
                if plan["pause"] is not None:
                    await nap(plan["pause"])
                assert held.pop(token) == hops
                state["passed"] += 1
                if hops:
                    queues[(number + 1) % len(queues)].put_nowait((token, hops - 1))
                else:
                    home.append(token)
                    if len(home) == len(plan["hops"]):
                        all_home.set()

        for token, hops in enumerate(plan["hops"]):
            queues[token % len(queues)].put_nowait((token, hops))
        state["begun"] = True
        nodes = [asyncio.create_task(node(number)) for number in range(len(queues))]
        await all_home.wait()
        for task in nodes:
            task.cancel()
        return [type(outcome).__name__ for outcome in await asyncio.gather(*nodes, return_exceptions=True)]

    @staticmethod
    def check(plan, state):
        waiting = [token for queue in state["queues"] for token, _ in queue._queue]
        tokens = sorted([*waiting, *state["held"], *state["home"]])
        wanted = list(range(len(plan["hops"]))) if state["begun"] else []
        assert tokens == wanted, f"the tokens are {tokens}: {waiting}, {state['held']}, {state['home']}"

    @staticmethod
    def over(plan, state, result):
        assert result == ["CancelledError"] * plan["nodes"]
        assert sorted(state["home"]) == list(range(len(plan["hops"])))
        assert state["passed"] == sum(hops + 1 for hops in plan["hops"])

    @staticmethod
    def chains(name, plan):
        return [
            [f"{name} token {token} {left}" for left in range(hops, -1, -1) if left % plan["acts"] == 0]
            for token, hops in enumerate(plan["hops"])
        ]


@part
class Orders(Part):
    """Orders of several steps, which fail and are tried again; what cannot be done is undone, the last first."""

    @staticmethod
    def draw(chance):
        return {
            "orders": [
                {
                    "stages": [
                        (chance.choice([0, 0, 0, 1, 2]), chance.choice([None, 0.5])) for _ in range(chance.randint(1, 5))
                    ],
                    "fails": chance.random() < 0.4,
                    "way": chance.randrange(5),
                }
                for _ in range(chance.randint(1, 4))
            ]
        }

    @staticmethod
    def state(plan):
        return {"open": [], "outcomes": {}}

    @staticmethod
    async def run(name, plan, state):
        async def order(number, stages, fails, way):
            undo, mine = [], []
            state["open"].append(mine)
            try:
                for stage, (times, pause) in enumerate(stages):
                    entry = f"{name} order {number} stage {stage}"
                    retry = pstore.Retry(attempts=times + 1, delay=0.2 * pace)
                    given = await pstore.step(enter_failing, entry, times, retry=retry)
                    assert given == entry
                    mine.append(entry)

                    def release(stage=stage):
                        mine.pop()
                        return act(f"{name} order {number} undo {stage}", way)

                    undo.append(release)
                    if pause is not None:
                        await nap(pause)
                if fails:
                    await pstore.step(enter_failing, f"{name} order {number} last", 10**9)
                    raise AssertionError("a step that raised gave a result")
            except Refused as error:
                assert str(error) == f"{name} order {number} last"
                for action in reversed(undo):
                    await action()
                assert not mine
                outcome = "undone"
            else:
                outcome = "done"
            assert any(known is mine for known in state["open"])
            state["open"] = [known for known in state["open"] if known is not mine]
            state["outcomes"][number] = outcome
            return mine

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(order(number, **spec)) for number, spec in enumerate(plan["orders"])]
        return [len(task.result()) for task in tasks]

    @staticmethod
    def over(plan, state, result):
        assert result == [0 if order["fails"] else len(order["stages"]) for order in plan["orders"]]
        wanted = {n: "undone" if order["fails"] else "done" for n, order in enumerate(plan["orders"])}
        assert state["outcomes"] == wanted
        assert not state["open"]

    @staticmethod
    def chains(name, plan):
        return [
            [f"{name} order {number} stage {stage}" for stage in range(len(order["stages"]))]
            + [f"{name} order {number} last"] * order["fails"]
            + [f"{name} order {number} undo {n}" for n in reversed(range(len(order["stages"]))) if order["fails"]]
            for number, order in enumerate(plan["orders"])
        ]


@part
class Market(Part):
    """Producers fill a bounded queue; consumers lose patience again and again."""

    @staticmethod
    def draw(chance):
        return {
            "room": chance.randint(1, 4),
            "producers": [
                [chance.choice([0, 0.05, 0.2]) for _ in range(chance.randint(1, 10))] for _ in range(chance.randint(1, 3))
            ],
            "patience": [chance.choice([0.03, 0.07, 1]) for _ in range(chance.randint(1, 3))],
            "acts": chance.randint(2, 6),
        }

    @staticmethod
    def state(plan):
        return {"queue": asyncio.Queue(plan["room"]), "sold": [], "held": {}, "timeouts": 0}

    @staticmethod
    async def run(name, plan, state):
        queue, sold, held = state["queue"], state["sold"], state["held"]

        async def produce(number, pauses):
            for n, pause in enumerate(pauses):
                await nap(pause)
                await queue.put((number, n))

        async def consume(number, patience):
            while True:
                try:
                    async with asyncio.timeout(patience * pace):
                        item = await queue.get()
                except TimeoutError:
                    state["timeouts"] += 1
                    continue
                held[number] = item
                if item[1] % plan["acts"] == 0:
                    await pstore.step(enter, f"{name} item {item}")
                sold.append(held.pop(number))
                queue.task_done()

        consumers = [asyncio.create_task(consume(*entry)) for entry in enumerate(plan["patience"])]
        async with asyncio.TaskGroup() as group:
            for entry in enumerate(plan["producers"]):
                group.create_task(produce(*entry))
        await queue.join()
        for task in consumers:
            task.cancel()
        done, pending = await asyncio.wait(consumers)
        assert not pending
        return len(done)

    @staticmethod
    def check(plan, state):
        items = [*state["sold"], *state["held"].values(), *state["queue"]._queue]
        assert len(set(items)) == len(items), f"an item is there twice: {items}"
        for number in range(len(plan["producers"])):
            mine = sorted(n for producer, n in items if producer == number)
            assert mine == list(range(len(mine))), f"an item is lost: {items}"

    @staticmethod
    def over(plan, state, result):
        wanted = [(number, n) for number, pauses in enumerate(plan["producers"]) for n in range(len(pauses))]
        assert sorted(state["sold"]) == wanted
        assert result == len(plan["patience"])

    @staticmethod
    def chains(name, plan):
        return [
            [f"{name} item {(number, n)}"]
            for number, pauses in enumerate(plan["producers"])
            for n in range(0, len(pauses), plan["acts"])
        ]


@part
class Family(Part):
    """Children, some of which are cancelled, and clean up."""

    @staticmethod
    def draw(chance):
        return {
            "children": [
                {"steps": chance.randint(1, 5), "pause": chance.random(), "way": chance.randrange(5)}
                for _ in range(chance.randint(1, 5))
            ],
            "cancels": [(chance.random() * 3, chance.randrange(5)) for _ in range(chance.randint(0, 4))],
            "shielded": chance.random() < 0.3,
        }

    @staticmethod
    def state(plan):
        return {"ended": [], "cancelled": [], "cleaned": []}

    @staticmethod
    async def run(name, plan, state):
        async def child(number, steps, pause, way):
            try:
                for n in range(steps):
                    await nap(pause)
                    await act(f"{name} child {number} {n}", way)
                state["ended"].append(number)
            except asyncio.CancelledError:
                state["cancelled"].append(number)
                raise
            finally:
                cleaning = act(f"{name} clean {number}", 0)
                await (asyncio.shield(cleaning) if plan["shielded"] else cleaning)
                state["cleaned"].append(number)
            return number

        children = [asyncio.create_task(child(number, **spec)) for number, spec in enumerate(plan["children"])]
        await nap(0)
        asked = set()
        for moment, number in sorted(plan["cancels"]):
            await nap(moment / 3)
            if number < len(children) and number not in asked:  # a second one would end the cleaning
                asked.add(number)
                if number not in state["ended"]:
                    children[number].cancel("enough")
        outcomes = await asyncio.gather(*children, return_exceptions=True)
        return [outcome if isinstance(outcome, int) else type(outcome).__name__ for outcome in outcomes]

    @staticmethod
    def over(plan, state, result):
        numbers = list(range(len(plan["children"])))
        assert sorted(state["ended"] + state["cancelled"]) == numbers, state
        assert sorted(state["cleaned"]) == numbers, state
        for number, outcome in enumerate(result):
            assert outcome == ("CancelledError" if number in state["cancelled"] else number), (result, state)

    @staticmethod
    def chains(name, plan):
        return [[f"{name} clean {number}"] for number in range(len(plan["children"]))]

    @staticmethod
    def perhaps(name, plan):
        return [f"{name} child {number} {n}" for number, spec in enumerate(plan["children"]) for n in range(spec["steps"])]


@part
class Sleepers(Part):
    """Many timers: each is due once, and no sooner than it should."""

    @staticmethod
    def draw(chance):
        return {"delays": [round(chance.uniform(0, 3), 2) for _ in range(chance.randint(1, 40))], "longest": 5}

    @staticmethod
    def state(plan):
        return {"woken": [], "called": []}

    @staticmethod
    async def run(name, plan, state):
        loop = asyncio.get_running_loop()
        begin = loop.time()

        async def sleeper(number, delay):
            await nap(delay)
            assert loop.time() >= begin + delay * pace
            state["woken"].append(number)
            return number

        for number, delay in enumerate(plan["delays"]):
            loop.call_at(begin + delay * pace, state["called"].append, number)
        tasks = {asyncio.create_task(sleeper(*entry)) for entry in enumerate(plan["delays"])}
        numbers = []
        while tasks:
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            numbers += sorted(task.result() for task in done)
        await nap(plan["longest"])
        await act(f"{name} all awake", 0)
        return numbers

    @staticmethod
    def over(plan, state, result):
        order = sorted(range(len(plan["delays"])), key=lambda number: plan["delays"][number])
        assert state["called"] == order, (state["called"], order)
        assert sorted(state["woken"]) == sorted(result) == sorted(order)

    @staticmethod
    def chains(name, plan):
        return [[f"{name} all awake"]]


@part
class Hedges(Part):
    """Steps that are given up when they take long."""

    @staticmethod
    def draw(chance):
        return {
            "rounds": [(chance.choice([0, 0.01, 0.03]), chance.choice([0.01, 5])) for _ in range(chance.randint(1, 5))]
        }

    @staticmethod
    def state(plan):
        return {"late": [], "in time": []}

    @staticmethod
    async def run(name, plan, state):
        for n, (takes, patience) in enumerate(plan["rounds"]):
            entry = f"{name} slow {n}"
            try:
                given = await asyncio.wait_for(pstore.step(enter_slowly, entry, takes), patience * pace)
            except TimeoutError:
                state["late"].append(n)
            else:
                assert given == entry, f"{given} is the result of another step than {entry}"
                state["in time"].append(n)
            given = await act(f"{name} after {n}", n % 5)
            assert given == f"{name} after {n}"
        return len(state["late"])

    @staticmethod
    def check(plan, state):
        numbers = sorted(state["late"] + state["in time"])
        assert numbers == list(range(len(numbers)))

    @staticmethod
    def over(plan, state, result):
        assert sorted(state["late"] + state["in time"]) == list(range(len(plan["rounds"])))

    @staticmethod
    def chains(name, plan):
        return [[f"{name} after {n}" for n in range(len(plan["rounds"]))]]

    @staticmethod
    def perhaps(name, plan):
        return [f"{name} slow {n}" for n in range(len(plan["rounds"]))]


class Walker:
    """An object that tasks share."""

    def __init__(self, seed):
        self.chance, self.path, self.seen = random.Random(seed), [], 0

    async def steps(self, count, pause):
        try:
            for n in range(count):
                await nap(pause)
                self.path.append(self.chance.random())
                yield n, self.path[-1]
        finally:
            await nap(pause)
            self.seen = len(self.path)


@part
class Walks(Part):
    """Async generators, closures, a random generator and an object that two tasks share."""

    @staticmethod
    def draw(chance):
        return {
            "seed": chance.randrange(10**6),
            "count": chance.randint(1, 10),
            "leave": chance.choice([None, 2]),
            "pause": chance.choice([0, 0.2]),
            "acts": chance.randint(2, 5),
        }

    @staticmethod
    def state(plan):
        walker = Walker(plan["seed"])
        return {"walker": walker, "the same": walker, "path": walker.path}

    @staticmethod
    async def run(name, plan, state):
        walker, total, more = state["walker"], 0.0, asyncio.Condition()
        watched = []

        async def watch(witness):
            while True:
                async with more:
                    await more.wait()
                    assert witness is state["walker"]
                    watched.append(len(witness.path))

        def add(value):
            nonlocal total
            total += value

        watching = asyncio.create_task(watch(walker))
        await nap(0)
        async with contextlib.aclosing(walker.steps(plan["count"], plan["pause"])) as walk:
            async for n, value in walk:
                add(value)
                assert state["path"] is walker.path
                if n % plan["acts"] == 0:
                    await act(f"{name} walk {n}", n % 5)
                async with more:
                    more.notify_all()
                if n == plan["leave"]:
                    break
        assert walker.seen == len(walker.path)
        watching.cancel()
        await asyncio.wait([watching])
        assert sorted(watched) == watched, watched
        return total

    @staticmethod
    def check(plan, state):
        assert state["walker"] is state["the same"]
        assert state["walker"].path is state["path"]
        chance = random.Random(plan["seed"])
        assert state["path"] == [chance.random() for _ in state["path"]]
        rest = random.Random()
        rest.setstate(state["walker"].chance.getstate())
        assert rest.random() == chance.random()

    @staticmethod
    def steps_made(plan):
        return plan["count"] if plan["leave"] is None else min(plan["count"], plan["leave"] + 1)

    @staticmethod
    def over(plan, state, result):
        chance, total = random.Random(plan["seed"]), 0.0
        wanted = [chance.random() for _ in range(Walks.steps_made(plan))]
        assert state["path"] == wanted
        for value in wanted:  # sum() rounds in another way since 3.12
            total += value
        assert result == total

    @staticmethod
    def chains(name, plan):
        return [[f"{name} walk {n}" for n in range(0, Walks.steps_made(plan), plan["acts"])]]


@part
class Mail(Part):
    """Messages from outside, each handled once; the harness sends them, see `receive`."""

    @staticmethod
    def draw(chance):
        return {"messages": chance.randint(1, 8), "workers": chance.randint(1, 3), "way": chance.randrange(5)}

    @staticmethod
    def state(plan):
        return {"came": set(), "queue": asyncio.Queue(), "handled": [], "held": {}}

    @staticmethod
    def receive(state, message):
        """Take a message in, unless it came before."""
        if message not in state["came"]:
            state["came"].add(message)
            state["queue"].put_nowait(message)

    @staticmethod
    async def run(name, plan, state):
        left = asyncio.Semaphore(plan["messages"])

        async def worker(number):
            while True:
                if left.locked():
                    return
                await left.acquire()
                message = await state["queue"].get()
                state["held"][number] = message
                await act(f"{name} message {message}", plan["way"])
                state["handled"].append(message)
                del state["held"][number]

        await asyncio.gather(*(worker(number) for number in range(plan["workers"])))
        return len(state["handled"])

    @staticmethod
    def check(plan, state):
        messages = sorted([*state["queue"]._queue, *state["handled"], *state["held"].values()])
        assert messages == sorted(state["came"]), f"{messages}, not {state['came']}"

    @staticmethod
    def over(plan, state, result):
        assert sorted(state["handled"]) == list(range(plan["messages"]))
        assert state["came"] == set(range(plan["messages"]))
        assert result == plan["messages"]

    @staticmethod
    def chains(name, plan):
        return [[f"{name} message {message}"] for message in range(plan["messages"])]
