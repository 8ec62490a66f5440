"""Tasks that wait for a message, from every commit on: stored without the objects of the wait, or with them where it matters."""

from __future__ import annotations

import asyncio

import pytest

import pstore
from pstore._engine import waits
from pstore.testing import VirtualClock
from tests.engine.restarts import outcomes, record_of


def opened(path, **options):
    return pstore.open(path, clock=VirtualClock(), **options)


def add(number, more=0):
    return number + more


async def teller(to, messages):
    """Tells a task, with commits in between."""
    for message in messages:
        await pstore.step(add, 0)
        pstore.send(to, message)


async def with_teller(program, *messages):
    task = asyncio.current_task()
    telling = asyncio.create_task(teller(task, messages))
    try:
        return await program()
    finally:
        await telling


async def one_after_the_other():
    async def program():
        return [await pstore.receive() for _ in range(3)]

    return await with_teller(program, 1, 2, 3)


async def with_ids():
    async def program():
        task = asyncio.current_task()
        found = []
        for number in range(3):
            pstore.send(task, number, id="same")
            pstore.send(task, number, id=f"other {number}")
            found.append(await pstore.receive())
            found.append(await pstore.receive(timeout=1) if number == 0 else None)
        return found

    return await with_teller(program)


async def in_time():
    async def program():
        found = []
        for _ in range(2):
            try:
                found.append(await pstore.receive(timeout=5))
            except TimeoutError:
                found.append("late")
        return found

    return await with_teller(program, "in time")


async def inbox_is_held():
    async def program():
        inbox = pstore.inbox()
        holder = {"inbox": inbox}
        first = await inbox.receive()
        return first, holder["inbox"] is pstore.inbox(), await pstore.receive()

    return await with_teller(program, 1, 2)


async def parts_are_held():
    async def program():
        inbox = pstore.inbox()
        known, messages, waiters, parts = inbox.known, inbox._messages, inbox._waiters, inbox._messages._parts
        receive = inbox.receive()
        first = await receive
        again = await pstore.receive()
        mine = pstore.inbox()
        same = (known, messages, waiters, parts) == (mine.known, mine._messages, mine._waiters, mine._messages._parts)
        is_same = known is mine.known and messages is mine._messages and parts is messages._parts
        return first, again, same, is_same and waiters is mine._waiters, receive._over

    return await with_teller(program, 1, 2)


async def other_holds_the_inbox():
    async def program():
        inbox = pstore.inbox()
        box = []
        other = asyncio.create_task(sends_to(inbox, box))
        found = [await pstore.receive() for _ in range(3)]
        return found, await other is inbox, box

    return await with_teller(program)


async def sends_to(inbox, box):
    for number in range(3):
        await pstore.step(add, number)
        pstore.send(inbox, number)
        box.append(len(inbox))
    return inbox


async def other_receives():
    """Two tasks wait at the inbox of one of them."""

    async def program():
        inbox = pstore.inbox()
        other = asyncio.create_task(receives_from(inbox))
        mine = await pstore.receive()
        return sorted([mine, await other])

    return await with_teller(program, "first", "second")


async def receives_from(inbox):
    return await inbox.receive()


async def deeper():
    async def program():
        return await outer()

    async def outer():
        return await inner() + await inner()

    async def inner():
        try:
            return await pstore.receive()
        finally:
            await pstore.step(add, 1)

    return await with_teller(program, 1, 2)


async def beside_a_timer():
    async def program():
        async with asyncio.timeout(60):
            return await pstore.receive()

    return await with_teller(program, 1)


async def is_cancelled():
    async def program():
        task = asyncio.create_task(waits_for_ever())
        await asyncio.sleep(1)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return "cancelled"

    return await with_teller(program)


async def waits_for_ever():
    await pstore.receive()


async def is_iterated():
    async def program():
        found = []
        async for message in pstore.inbox():
            found.append(message)
            if message == 3:
                return found

    return await with_teller(program, 1, 2, 3)


async def inbox_has_an_attribute():
    async def program():
        pstore.inbox().mine = "mine"
        return await pstore.receive(), pstore.inbox().mine

    return await with_teller(program, 1)


async def window_has_an_attribute():
    async def program():
        pstore.inbox().known.mine = "mine"
        return await pstore.receive(), pstore.inbox().known.mine

    return await with_teller(program, 1)


async def backlog_has_an_attribute():
    async def program():
        pstore.inbox()._messages.mine = "mine"
        return await pstore.receive(), pstore.inbox()._messages.mine

    return await with_teller(program, 1)


async def receive_has_an_attribute():
    async def program():
        receive = pstore.receive()
        receive.mine = "mine"
        return await receive, receive.mine

    return await with_teller(program, 1)


async def window_is_another():
    async def program():
        known = pstore.inbox().known
        known.count, known.seconds = 5, 60.0
        return await pstore.receive(), pstore.inbox().known.count, pstore.inbox().known.seconds

    return await with_teller(program, 1)


async def window_has_no_end():
    async def program():
        known = pstore.inbox().known
        known.count, known.seconds = None, 1e9
        return await pstore.receive(), pstore.inbox().known.count, pstore.inbox().known.seconds

    return await with_teller(program, 1)


PROGRAMS = {
    one_after_the_other: [1, 2, 3],
    with_ids: [0, 0, 1, None, 2, None],
    in_time: ["in time", "late"],
    inbox_is_held: (1, True, 2),
    parts_are_held: (1, 2, True, True, True),
    other_holds_the_inbox: ([0, 1, 2], True, [0, 0, 0]),
    other_receives: ["first", "second"],
    deeper: 3,
    beside_a_timer: 1,
    is_cancelled: "cancelled",
    is_iterated: [1, 2, 3],
    inbox_has_an_attribute: (1, "mine"),
    window_has_an_attribute: (1, "mine"),
    backlog_has_an_attribute: (1, "mine"),
    receive_has_an_attribute: (1, "mine"),
    window_is_another: (1, 5, 60.0),
    window_has_no_end: (1, None, 1e9),
}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_goes_on_from_every_commit(tmp_path, program):
    found = [result for result, _ in outcomes(tmp_path / "stores", program)]
    assert len(found) > 2
    wanted = PROGRAMS[program]
    if program is other_holds_the_inbox:  # how many messages wait there depends on who runs first
        found, wanted = [each[:2] for each in found], wanted[:2]
    assert found == [wanted] * len(found)


async def receives_two():
    first = await pstore.receive()
    return first, await pstore.receive()


@pytest.mark.parametrize("resident", [None, 0])
def test_the_objects_of_the_wait_are_not_stored(tmp_path, resident):
    with opened(tmp_path / "s.fs", resident=resident) as engine:
        task = engine.spawn(receives_two, id="task")
        engine.run()
        assert len(record_of(engine)) < 70
    with opened(tmp_path / "s.fs", resident=resident) as engine:
        task = engine.tasks["task"]
        engine.send(task, 1)
        engine.run()
        assert len(record_of(engine)) < 70
        engine.send(task, 2)
        assert engine.run(task) == (1, 2)


PARTS = {
    "inbox": lambda task: task.inbox,
    "future": lambda task: task._fut_waiter,
    "receive": lambda task: task.get_coro().cr_await,
    "iterator": lambda task: task.get_coro().cr_await._wait,
    "known": lambda task: task.inbox.known,
    "messages": lambda task: task.inbox._messages,
    "parts": lambda task: task.inbox._messages._parts,
    "waiters": lambda task: task.inbox._waiters,
}


@pytest.mark.parametrize("what", PARTS)
def test_who_else_leads_to_a_part_has_the_very_part(tmp_path, what):
    part = PARTS[what]
    with opened(tmp_path / "s.fs") as engine:
        engine.spawn(receives_two, id="task")
        engine.run()
        small = len(record_of(engine))
        engine.root["part"] = part(engine.tasks["task"])
        engine.commit()
        assert len(record_of(engine)) != small
    with opened(tmp_path / "s.fs") as engine:
        task = engine.tasks["task"]
        assert engine.root["part"] is part(task)
        receive = task.get_coro().cr_await
        assert receive.inbox is task.inbox and receive._future is task._fut_waiter is task.inbox._waiters[0]
        engine.send(task, 1)
        engine.send(task, 2)
        assert engine.run(task) == (1, 2)


@pytest.mark.parametrize("what", PARTS)
def test_who_holds_a_part_while_it_is_stored_can_lead_to_it_later(tmp_path, what):
    part = PARTS[what]
    with opened(tmp_path / "s.fs") as engine:
        engine.spawn(receives_two, id="task")
        engine.run()
        held = part(engine.tasks["task"])
        engine.tasks["task"].touch()
        engine.commit()
        engine.root["part"] = held
        engine.commit()
    with opened(tmp_path / "s.fs") as engine:
        assert engine.root["part"] is part(engine.tasks["task"])
        engine.send("task", 1)
        engine.send("task", 2)
        assert engine.run(engine.tasks["task"]) == (1, 2)


def test_a_callback_of_another_is_kept(tmp_path):
    with opened(tmp_path / "s.fs") as engine:
        engine.spawn(receives_two, id="task")
        engine.run()
        engine.tasks["task"]._fut_waiter.add_done_callback(engine.root.setdefault("seen", []).append)
        engine.root["seen"].append("first")
        engine.tasks["task"].touch()
        engine.commit()
    with opened(tmp_path / "s.fs") as engine:
        engine.send("task", 1)
        engine.send("task", 2)
        assert engine.run(engine.tasks["task"]) == (1, 2)
        engine.run()
        assert len(engine.root["seen"]) == 2


def test_what_was_sent_by_id_is_remembered(tmp_path):
    with opened(tmp_path / "s.fs") as engine:
        engine.spawn(receives_two, id="task")
        engine.send("task", 1, id="one")
        engine.run()
        assert len(record_of(engine)) > 100
    with opened(tmp_path / "s.fs", resident=0) as engine:
        engine.send("task", "again", id="one")
        engine.run()
        engine.send("task", 2, id="two")
        assert engine.run(engine.tasks["task"]) == (1, 2)


def test_what_stands_for_the_objects(tmp_path):
    assert [type(each).__name__ for each in waits_parts(tmp_path)] == [
        "Future", "Receive", "FutureAwait", "Inbox", "Window", "Backlog", "deque", "deque",
    ]  # fmt: skip


def waits_parts(tmp_path):
    with opened(tmp_path / "s.fs") as engine:
        engine.spawn(receives_two, id="task")
        engine.run()
        parts, references = waits.wait_of(engine.tasks["task"])
        assert len(set(references)) == len(parts)
        return parts

