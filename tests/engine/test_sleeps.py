"""Tasks that sleep, from every commit on: stored without the objects of the wait, or with them where it matters."""

from __future__ import annotations

import asyncio
import contextvars
import functools

import pytest

import pstore
from pstore.testing import VirtualClock
from tests.engine.restarts import outcomes, record_of

variable = contextvars.ContextVar("variable")


def opened(path, **options):
    return pstore.open(path, clock=VirtualClock(), **options)


def now():
    return asyncio.get_running_loop().time()


async def in_a_row():
    begin, found = now(), []
    for seconds in (1, 2.5, 0, 4):
        found.append(await asyncio.sleep(seconds, [seconds]))
        found.append(now() - begin)
    return found


async def at_one_moment():
    """Those that are to wake at the same moment wake in the order in which they were set."""
    order = []

    async def nap(number):
        await asyncio.sleep(5)
        order.append(number)

    tasks = [asyncio.create_task(nap(number)) for number in range(5)]
    await asyncio.sleep(1)
    tasks += [asyncio.create_task(nap(number)) for number in range(5, 8)]
    await asyncio.gather(*tasks)
    return order


async def with_a_timer_of_its_own():
    begin, heard = now(), []
    asyncio.get_running_loop().call_later(3, heard.append, "timer")
    await asyncio.sleep(1)
    heard.append(await asyncio.sleep(1, "second"))
    await asyncio.sleep(5)
    return heard, now() - begin


async def result_is_shared():
    box = []
    found = await asyncio.sleep(2, box)
    box.append(1)
    return found is box, found


async def is_cancelled():
    async def nap():
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            return now()

    task, begin = asyncio.create_task(nap()), now()
    await asyncio.sleep(2)
    task.cancel()
    return await task - begin


async def in_time():
    begin = now()
    try:
        async with asyncio.timeout(2):
            await asyncio.sleep(10)
    except TimeoutError:
        return now() - begin


async def in_a_context():
    variable.set("mine")
    await asyncio.sleep(1)
    return variable.get()


async def handle_is_held():
    held, loop = [], asyncio.get_running_loop()
    future = loop.create_future()
    handle = loop.call_later(2, asyncio.futures._set_result_unless_cancelled, future, 7)
    held.append(handle)
    begin = now()
    result = await future
    return result, held[0] is handle, handle.when() - begin, handle.cancelled()


async def future_is_done_earlier():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(20, asyncio.futures._set_result_unless_cancelled, future, "late")
    other = asyncio.create_task(sets(future))
    begin = now()
    return await future, now() - begin, await other


def set_twice(future, value):
    future.set_result(value * 2)


async def another_callback():
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(2, set_twice, future, "ab")
    return await future


async def timer_of_another_future():
    loop = asyncio.get_running_loop()
    awaited, other = loop.create_future(), loop.create_future()
    other.add_done_callback(functools.partial(pass_on, awaited))
    loop.call_later(2, asyncio.futures._set_result_unless_cancelled, other, "ab")
    return await awaited, other.result()


def pass_on(future, done):
    set_twice(future, done.result())


async def timer_in_another_context():
    context = contextvars.copy_context()
    context.run(variable.set, "other")
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    handle = loop.call_later(2, asyncio.futures._set_result_unless_cancelled, future, 7, context=context)
    return await future, handle._context.get(variable)


async def sets(future):
    await asyncio.sleep(3)
    future.set_result("early")
    await asyncio.sleep(30)
    return future.result()


PROGRAMS = {
    in_a_row: [[1], 1, [2.5], 3.5, [0], 3.5, [4], 7.5],
    at_one_moment: list(range(8)),
    with_a_timer_of_its_own: (["second", "timer"], 7),
    result_is_shared: (True, [1]),
    is_cancelled: 2,
    in_time: 2,
    in_a_context: "mine",
    handle_is_held: (7, True, 2, False),
    future_is_done_earlier: ("early", 3, "early"),
    another_callback: "abab",
    timer_of_another_future: ("abab", "ab"),
    timer_in_another_context: (7, "other"),
}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_goes_on_from_every_commit(tmp_path, program):
    found = [result for result, _ in outcomes(tmp_path / "stores", program)]
    assert len(found) > 2
    assert found == [PROGRAMS[program]] * len(found)


async def sleeps():
    return await asyncio.sleep(50, "first"), await asyncio.sleep(50, "second")


def asleep(engine):
    engine.spawn(sleeps, id="task")
    engine.run(engine.spawn(asyncio.sleep, 1))
    return len(record_of(engine))


@pytest.mark.parametrize("resident", [None, 0])
def test_the_objects_of_the_wait_are_not_stored(tmp_path, resident):
    with opened(tmp_path / "s.fs", resident=resident) as engine:
        assert asleep(engine) < 100
    with opened(tmp_path / "s.fs", resident=resident) as engine:
        assert engine.run(engine.tasks["task"]) == ("first", "second")


PARTS = {
    "future": lambda task: task._fut_waiter,
    "timer": lambda task: next(iter(task.timers.values())),
    "iterator": lambda task: task.get_coro().cr_await.cr_await,
}


@pytest.mark.parametrize("what", PARTS)
@pytest.mark.parametrize("later", [False, True])
def test_who_else_leads_to_a_part_has_the_very_part(tmp_path, what, later):
    part = PARTS[what]
    with opened(tmp_path / "s.fs") as engine:
        small = asleep(engine)
        held = part(engine.tasks["task"])
        if later:
            engine.tasks["task"].touch()
            engine.commit()
        engine.root["part"] = held
        del held
        engine.commit()
        assert len(record_of(engine)) != small
    with opened(tmp_path / "s.fs") as engine:
        task = engine.tasks["task"]
        assert engine.root["part"] is part(task)
        assert next(iter(task.timers.values()))._args[0] is task._fut_waiter is task.get_coro().cr_await.cr_await._future
        assert engine.run(task) == ("first", "second")


def test_a_timer_that_is_cancelled_by_the_host_is_cancelled(tmp_path):
    with opened(tmp_path / "s.fs") as engine:
        asleep(engine)
        engine.tasks["task"].cancel()
        engine.commit()
    with opened(tmp_path / "s.fs") as engine:
        engine.run()
        task = engine.tasks["task"]
        assert task.cancelled() and not task.timers
