"""What somebody else has a part of is not parked: a task that comes back must have that very object, not another one."""

from __future__ import annotations

import asyncio
import contextvars
import weakref

import pytest

import pstore
from pstore.testing import VirtualClock

VARIABLE = contextvars.ContextVar("VARIABLE")


class Thing:
    """Something that can be held weakly."""


@pytest.fixture
def engine(tmp_path):
    with pstore.open(tmp_path / "program.fs", clock=VirtualClock(1000.0), resident=0, durability="os") as engine:
        yield engine


def settle(engine):
    """Run until all wait, and those that may have been parked."""
    for _ in range(3):
        engine.run(engine.spawn(asyncio.sleep, 0.25))


async def has_a_thing(told):
    thing = Thing()
    told(thing)
    del told
    await asyncio.sleep(10)
    return thing


async def has_a_function(told):
    calls = []

    def call():
        calls.append(len(calls))

    told(call)
    del told
    await asyncio.sleep(10)
    call()
    return calls


async def has_a_variable(told):
    VARIABLE.set([])
    told(VARIABLE.get())
    del told
    await asyncio.sleep(10)
    return VARIABLE.get()


TOLD = pstore.volatile([])


def hold(obj):
    TOLD.append(obj)


def hold_weakly(obj):
    TOLD.append(weakref.ref(obj))


def hold_nothing(obj):
    TOLD.append(None)


@pytest.fixture
def told():
    TOLD.clear()
    yield TOLD
    TOLD.clear()


def parked_of(engine, task):
    settle(engine)
    return not task.is_loaded()


@pytest.mark.parametrize("program", [has_a_thing, has_a_function])
def test_what_nobody_else_has_is_parked(engine, told, program):
    task = engine.spawn(program, hold_nothing)
    assert parked_of(engine, task)
    engine.run(task)


def test_what_is_held_weakly_is_still_there(engine, told):
    task = engine.spawn(has_a_thing, hold_weakly)
    settle(engine)
    (ref,) = told
    assert ref() is not None
    assert engine.run(task) is ref()


def test_what_is_held_is_the_same(engine, told):
    task = engine.spawn(has_a_thing, hold)
    settle(engine)
    assert engine.run(task) is told[0]


def test_a_function_that_is_held_has_the_cells_of_its_task(engine, told):
    task = engine.spawn(has_a_function, hold)
    settle(engine)
    told[0]()
    assert engine.run(task) == [0, 1]


def test_what_a_variable_of_its_context_has_is_the_same(engine, told):
    task = engine.spawn(has_a_variable, hold)
    settle(engine)
    told[0].append("host")
    assert engine.run(task) is told[0]


async def numbers(log):
    try:
        for number in range(3):
            await asyncio.sleep(1)
            yield number
    finally:
        log.append("closed")


async def iterates(log):
    found = []
    async for number in numbers(log):
        found.append(number)
        await asyncio.sleep(1)
    return found


async def asks(log):
    generator = numbers(log)
    return [await anext(generator), await generator.asend(None), await anext(generator, "end"), await anext(generator, "end")]


@pytest.mark.parametrize(("program", "wanted"), [(iterates, [0, 1, 2]), (asks, [0, 1, 2, "end"])])
def test_async_generators_of_tasks_that_wait_in_them(engine, program, wanted):
    log = engine.root["log"] = []
    task = engine.spawn(program, log)
    for _ in range(30):
        engine.run(engine.spawn(asyncio.sleep, 0.25))
        assert log == ([] if not task.done() else ["closed"])
    assert task.result() == wanted
