"""Tasks that wait for a step, from every commit on: stored without the objects of the wait, or with them where it matters."""

from __future__ import annotations

import asyncio

import pytest

import pstore
from pstore._engine import waits
from pstore.testing import VirtualClock
from tests.engine.crash import after_commits
from tests.engine.restarts import Gone, outcomes, record_of


@pytest.fixture
def kept(monkeypatch):
    """How many waits were stored without their objects."""
    found, keep = [], waits.kept_wait

    def noted(task, parts):
        found.append(task.id)
        return keep(task, parts)

    monkeypatch.setattr("pstore._engine.taskstate.kept_wait", noted)
    return found


def add(number, more=0):
    return number + more


def failing(number):
    raise ValueError(number)


async def in_a_row():
    return [await pstore.step(add, number) for number in range(4)]


async def fails():
    try:
        await pstore.step(failing, 3)
    except ValueError as error:
        return error.args


async def tried_again():
    try:
        await pstore.step(failing, 3, retry=pstore.Retry(attempts=3))
    except ValueError as error:
        return error.args


async def with_options():
    return [await pstore.step(add, 1, timeout=100), await pstore.step(add, 2, key="two"), await pstore.step(add, 3)]


async def within_a_time():
    async with asyncio.timeout(60):
        return await pstore.step(add, 1)


async def shielded():
    return await asyncio.shield(pstore.step(add, 1))


async def several():
    return await asyncio.gather(*(pstore.step(add, number) for number in range(3)), inner(5))


async def inner(number):
    try:
        return await pstore.step(add, number, 1)
    finally:
        await pstore.step(add, number)


async def call_is_kept():
    call = pstore.step(add, 1)
    others = [call]
    result = await call
    return result, call is others[0], call._over


async def call_is_shared():
    box, call = [], pstore.step(add, 1)
    other = asyncio.create_task(holds(box, call))
    await asyncio.sleep(0)
    box.append(await call)
    return await other


async def holds(box, call):
    for _ in range(3):
        await pstore.step(add, 1)
    return box, call._over, call._future.done()


async def cancelled():
    task = asyncio.create_task(in_a_row())
    await asyncio.sleep(0)
    await pstore.step(add, 1)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return "cancelled"


PROGRAMS = {
    in_a_row: [0, 1, 2, 3],
    fails: (3,),
    tried_again: (3,),
    with_options: [1, 2, 3],
    within_a_time: 1,
    shielded: 1,
    several: [0, 1, 2, 6],
    call_is_kept: (1, True, True),
    call_is_shared: ([1], True, True),
    cancelled: "cancelled",
}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_goes_on_from_every_commit(tmp_path, program):
    found = [result for result, _ in outcomes(tmp_path / "stores", program)]
    assert len(found) > 2
    assert found == [PROGRAMS[program]] * len(found)


@pytest.mark.parametrize("program", [in_a_row, fails, several], ids=lambda program: program.__name__)
def test_objects_of_a_plain_wait_are_not_stored(tmp_path, kept, program):
    with pstore.open(tmp_path / "s.fs", clock=VirtualClock()) as engine:
        engine.run(engine.spawn(program))
    assert kept


@pytest.mark.parametrize("program", [tried_again, within_a_time, shielded], ids=lambda program: program.__name__)
def test_objects_of_other_waits_are(tmp_path, kept, program):
    with pstore.open(tmp_path / "s.fs", clock=VirtualClock()) as engine:
        engine.run(engine.spawn(program))
    assert not kept or program is within_a_time


def opened(path):
    return pstore.open(path, clock=VirtualClock())


class Finds:
    """A local that leads to a part of the wait, as what a debugger or a library keeps may."""

    def __init__(self):
        self.found = None


async def keeps_its_wait(part):
    finds, box = Finds(), {}
    call = pstore.step(add, 1)

    def look():
        box["part"] = {"future": call._future, "iterator": call._wait, "call": call}[part]

    asyncio.get_running_loop().call_soon(look)
    finds.found = box
    result = await call
    return result, box["part"] is {"future": call._future, "iterator": call._wait, "call": call}[part]


async def keeps_its_future():
    return await keeps_its_wait("future")


async def keeps_its_iterator():
    return await keeps_its_wait("iterator")


async def keeps_its_call():
    return await keeps_its_wait("call")


@pytest.mark.parametrize("program", [keeps_its_future, keeps_its_iterator, keeps_its_call], ids=lambda p: p.__name__)
def test_a_local_may_lead_to_any_part(tmp_path, program):
    found = [result for result, _ in outcomes(tmp_path / "stores", program)]
    assert len(found) > 2
    assert found == [(1, True)] * len(found)


async def waits_once():
    return await pstore.step(add, 1), await pstore.step(add, 2)


def waiting(path):
    """A store in which the task waits for its first step, which has not begun; gives the size of its record."""

    def end(store):
        if engine.tasks["task"].steps:
            raise Gone

    with opened(path) as engine, after_commits(end):
        engine.spawn(waits_once, id="task")
        with pytest.raises(Gone):
            engine.run()
        return len(record_of(engine))


@pytest.mark.parametrize("what", ["_fut_waiter", "call", "iterator", "step"])
def test_who_else_leads_to_a_part_has_the_very_part(tmp_path, what):
    path = tmp_path / "s.fs"
    small = waiting(path)
    part = {
        "_fut_waiter": lambda task: task._fut_waiter,
        "call": lambda task: task.get_coro().cr_await,
        "iterator": lambda task: task.get_coro().cr_await._wait,
        "step": lambda task: next(iter(task.steps.values())).future,
    }[what]
    with opened(path) as engine:
        engine.root["part"] = part(engine.tasks["task"])
        engine.commit()
    with opened(path) as engine:
        task = engine.tasks["task"]
        assert engine.root["part"] is part(task)
        assert len(record_of(engine)) != small
        assert task._fut_waiter is task.get_coro().cr_await._future is next(iter(task.steps.values())).future
        assert engine.run(task) == (1, 2)
        del engine.root["part"]


def test_a_callback_of_another_is_kept(tmp_path):
    path = tmp_path / "s.fs"
    waiting(path)
    with opened(path) as engine:
        engine.tasks["task"]._fut_waiter.add_done_callback(engine.root.setdefault("seen", []).append)
        engine.root["seen"].append("first")
        engine.commit()
    with opened(path) as engine:
        assert engine.run(engine.tasks["task"]) == (1, 2)
        engine.run()
        assert len(engine.root["seen"]) == 2


def test_an_attribute_of_the_programs_is_kept(tmp_path):
    path = tmp_path / "s.fs"
    waiting(path)
    with opened(path) as engine:
        engine.tasks["task"].get_coro().cr_await.mine = "note"
        engine.commit()
    with opened(path) as engine:
        assert engine.tasks["task"].get_coro().cr_await.mine == "note"
        assert engine.run(engine.tasks["task"]) == (1, 2)


def test_the_record_of_a_small_step_is_small(tmp_path):
    assert waiting(tmp_path / "s.fs") < 150
