"""Tasks that wait are parked: in the store, and not in memory; nobody can see a difference."""

from __future__ import annotations

import asyncio
import gc
import random
import shutil
import weakref

import pytest

import pstore
from pstore._engine.task import Task
from pstore.errors import StoreNotWritten, UnknownTask
from pstore.testing import VirtualClock
from pstore.tools import inspect as tool
from tests.engine.crash import after_commits
from tests.processes import python

RAN = pstore.volatile([])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "program.fs"


def opened(path, resident=2, start=1000.0):
    return pstore.open(path, clock=VirtualClock(start), resident=resident)


def parked(engine):
    return engine._loop.state.parked


class Loud:
    """Tells when it ends."""

    def __del__(self):
        RAN.append("__del__")


async def sleeper(number, log, seconds):
    loud, own = Loud(), [number]
    try:
        await asyncio.sleep(seconds)
        log.append((number, own[0], type(loud).__name__))
    finally:
        RAN.append("finally")
    return own


async def nap(seconds):
    await asyncio.sleep(seconds)


def settle(engine):
    """Run until all wait, and those that may have been parked."""
    engine.run(engine.spawn(nap, 0.5))


def test_who_waits_is_parked_and_none_of_it_runs(path):
    with opened(path) as engine:
        log = engine.root["log"] = []
        for number in range(20):
            engine.spawn(sleeper, number, log, 100 + number)
        RAN.clear()
        settle(engine)
        gc.collect()
        assert parked(engine) >= 18
        assert RAN == []
        assert len(engine.tasks) == 20
        assert engine.run() == []
    assert log == [(number, number, "Loud") for number in range(20)]
    assert RAN.count("finally") == RAN.count("__del__") == 20


def test_after_a_restart_only_the_index_is_loaded(path):
    with opened(path) as engine:
        log = engine.root["log"] = []
        for number in range(50):
            engine.spawn(sleeper, number, log, 100 + 10 * number, id=f"n{number}")
        settle(engine)
    with opened(path, start=1001.0) as engine:
        assert len(engine._loop.state.tasks) < 5
        assert sorted(engine.tasks) == sorted(f"n{number}" for number in range(50))
        engine.run(engine.spawn(nap, 205))
        assert [number for number, *_ in engine.root["log"]] == list(range(11))
        assert len(engine._loop.state.tasks) < 20
        assert engine.run() == []
        assert [number for number, *_ in engine.root["log"]] == list(range(50))
        assert engine.tasks["n7"].result() == [7]


async def waits_for(task):
    return [await task]


async def receives(log):
    log.append(await pstore.receive())


async def both(shared, name):
    shared.append(name)
    await asyncio.sleep(50)
    shared.append(name)
    return shared


@pytest.mark.parametrize("again", [False, True])
def test_it_is_woken_by_whatever_wakes_tasks(path, again):
    with opened(path, resident=1) as engine:
        log = engine.root["log"] = []
        first = engine.spawn(sleeper, 1, log, 30, id="first")
        engine.spawn(waits_for, first, id="second")
        engine.spawn(receives, log, id="third")
        engine.spawn(sleeper, 4, log, 1000, id="fourth")
        shared = []
        engine.spawn(both, shared, "a", id="a")
        engine.spawn(both, shared, "b", id="b")
        del first, shared
        settle(engine)
        assert parked(engine) >= 3  # not who waits for another, or is waited for
        if not again:
            finish(engine)
    if again:
        with opened(path, resident=1, start=1001.0) as engine:
            engine.store.pack()
            finish(engine)


def finish(engine):
    engine.send("third", "hello")
    engine.tasks["fourth"].cancel()
    assert engine.run() == []
    assert engine.tasks["second"].result() == [[1]]
    assert engine.tasks["fourth"].cancelled()
    assert sorted(engine.root["log"], key=str) == sorted([(1, 1, "Loud"), "hello"], key=str)
    both_of = engine.tasks["a"].result(), engine.tasks["b"].result()
    assert both_of[0] is both_of[1] == ["a", "b", "a", "b"]


def test_what_the_host_holds_stays_the_same_object(path):
    async def fills(box):
        await asyncio.sleep(10)
        box.append(1)

    with opened(path, resident=0) as engine:
        box = []
        for _ in range(3):
            engine.spawn(fills, box)
            engine.spawn(fills, [])
        settle(engine)
        assert parked(engine)
        engine.run()
    assert box == [1, 1, 1]


def test_who_has_the_task_sees_it_come_back(path):
    with opened(path, resident=0) as engine:
        log = engine.root["log"] = []
        tasks = [engine.spawn(sleeper, number, log, 10, id=str(number)) for number in range(3)]
        settle(engine)
        assert parked(engine) == 3
        assert engine.tasks["1"] is tasks[1]
        assert not tasks[1].is_loaded()
        assert "sleeper() running" in repr(tasks[1])
        assert tasks[1].is_loaded()
        engine.run()
        assert [task.result() for task in tasks] == [[0], [1], [2]]


def test_tasks_that_are_not_held_take_no_memory(path):
    with opened(path, resident=0) as engine:
        log = engine.root["log"] = []
        for number in range(5):
            engine.spawn(sleeper, number, log, 10)
        settle(engine)
        gc.collect()
        assert sum(type(obj) is Task for obj in gc.get_objects()) <= 1


def test_who_is_held_weakly_stays(path):
    with opened(path, resident=0) as engine:
        log = engine.root["log"] = []
        refs = [weakref.ref(engine.spawn(sleeper, number, log, 10)) for number in range(5)]
        settle(engine)
        gc.collect()
        assert None not in [ref() for ref in refs]


async def ran(log):
    await asyncio.sleep(10)
    log.append("ran")
    return 42


async def has_a_child(log):
    child = asyncio.create_task(ran(log))
    await asyncio.sleep(50)
    log.append(await child)


class Thing:
    """Something that is led to."""


async def gives(thing):
    return thing


async def has_a_result(thing, log):
    task = asyncio.create_task(gives(thing))
    del thing
    await asyncio.sleep(0.01)
    await asyncio.sleep(100)
    log.append(type(task.result()).__name__)


@pytest.mark.parametrize("again", [False, True])
def test_what_only_other_tasks_of_a_task_have_is_there(path, again):
    with opened(path, resident=0) as engine:
        log, thing = engine.root.setdefault("log", []), Thing()
        engine.root["thing"] = thing
        engine.spawn(has_a_child, log)
        engine.spawn(has_a_result, thing, log)
        del thing
        settle(engine)
        settle(engine)
        del engine.root["thing"]
        settle(engine)
        engine.store.collect()
        if not again:
            assert engine.run() == []
            assert log == ["ran", 42, "Thing"]
    if again:
        with opened(path, resident=0, start=1002.0) as engine:
            engine.store.pack()
            assert engine.run() == []
            assert engine.root["log"] == ["ran", 42, "Thing"]


@pytest.mark.parametrize("restarts", [0, 1, 3])
def test_equal_deadlines_in_the_order_in_which_they_were_set(path, restarts):
    async def until(moment, number, log):
        await asyncio.sleep(moment - asyncio.get_running_loop().time())
        log.append(number)

    for turn in range(restarts + 1):
        with opened(path, resident=1, start=1000.0 + turn) as engine:
            log = engine.root.setdefault("log", [])
            for number in range(5):
                engine.spawn(until, 2000.0, 5 * turn + number, log)
            settle(engine)
            if turn == restarts:
                assert engine.run() == []
                assert log == list(range(5 * restarts + 5))


def test_methods_of_what_the_host_holds(path):
    async def calls(method):
        await asyncio.sleep(10)
        method(1)

    with opened(path, resident=0) as engine:
        held = []
        engine.spawn(calls, held.append)
        engine.spawn(calls, [].append)
        settle(engine)
        engine.run()
    assert held == [1]


def test_all_are_seen_while_some_come_back(path):
    with opened(path, resident=0) as engine:
        log = engine.root["log"] = []
        for number in range(40):
            engine.spawn(sleeper, number, log, 100)
        settle(engine)
        assert parked(engine) == 40
        assert len([task for task in engine.tasks.values() if not task.done()]) == 40


async def counts_tasks(log):
    await asyncio.sleep(5)
    log.append(len(asyncio.all_tasks()))


def test_all_tasks_of_asyncio(path):
    usual = asyncio.all_tasks
    with opened(path, resident=0) as engine:
        log = engine.root["log"] = []
        for number in range(5):
            engine.spawn(sleeper, number, log, 100)
        settle(engine)
        engine.run(engine.spawn(counts_tasks, log))
    assert log == [6]
    assert asyncio.all_tasks is usual


def test_found_by_state_tag_and_moment(path):
    for again in (False, True):
        with opened(path, resident=0, start=1000.0) as engine:
            if not again:
                log = engine.root["log"] = []
                for number in range(6):
                    engine.spawn(sleeper, number, log, 100, id=f"n{number}", tags={"odd": bool(number % 2)})
                    settle(engine)
            ids = [task.id for task in engine.find(state="active")]
            assert ids == [f"n{number}" for number in range(6)]
            assert [task.id for task in engine.find(tag={"odd": True})] == ["n1", "n3", "n5"]
            assert [task.id for task in engine.find(since=1001.2)] == ["n3", "n4", "n5"]
            assert engine.find(state="finished") == []
            assert "n3" in engine.tasks
            assert "n9" not in engine.tasks
            with pytest.raises(UnknownTask):
                engine.forget("n9")


def test_the_tools_show_them(path):
    with opened(path, resident=0) as engine:
        log = engine.root["log"] = []
        for number in range(4):
            engine.spawn(sleeper, number, log, 100, id=f"n{number}")
        settle(engine)
        live = [(task.id, task.where) for task in tool.tasks(engine)]
    with tool.look(path) as store:
        found = tool.tasks(store)
        assert [task.id for task in found] == ["n0", "n1", "n2", "n3"]
        assert [(task.id, task.where) for task in found] == live
        assert {task.state for task in found} == {"waiting"}


def test_a_commit_that_fails_parks_nobody(path, monkeypatch):
    with opened(path, resident=0) as engine:
        log = engine.root["log"] = []
        for number in range(4):
            engine.spawn(sleeper, number, log, 10, id=f"n{number}")
        persist, fails = pstore.Store.persist, []

        def failing(store, note=None):
            if engine._loop.parking._leaving and not fails:
                fails.append(1)
                raise StoreNotWritten(store.name, "the disk is full")
            return persist(store, note)

        monkeypatch.setattr(pstore.Store, "persist", failing)
        with pytest.raises(StoreNotWritten):
            settle(engine)
        assert parked(engine) == 0
        assert len(engine._loop.state.tasks) >= 4
        engine.run()
        assert fails
        assert sorted(number for number, *_ in log) == [0, 1, 2, 3]


class Changes:
    """Changes a local of a task when it ends."""

    def __init__(self, task):
        self.task = task

    def __del__(self):
        self.task.get_coro().cr_frame.f_locals["own"].append("changed")


def test_who_is_touched_by_what_ends_with_the_commit_that_parks_it_stays(path):
    with opened(path, resident=0) as engine:
        log = engine.root["log"] = []
        task = engine.spawn(sleeper, 1, log, 100, id="task")
        engine.root["ends"] = Changes(task)
        engine.spawn(sleeper, 2, log, 100, id="other")
        engine.commit()
        before_commit = engine._loop.parking.before_commit

        def drop_it():
            if task.is_loaded() and id(task) not in engine._loop.touched and task._fut_waiter is not None:
                engine.root.pop("ends", None)
            return before_commit()

        engine._loop.parking.before_commit = drop_it
        settle(engine)
        assert "ends" not in engine.root
        engine.run()
        assert task.result() == [1, "changed"]
        assert engine.tasks["other"].result() == [2]


async def program(seed, log):
    """Sleeps, waits for others, shares objects with them, is cancelled."""
    draw, shared = random.Random(seed), []
    children = [asyncio.create_task(child(draw.randrange(40), shared, name)) for name in range(4)]
    children[draw.randrange(4)].cancel()
    for entry in await asyncio.gather(*children, return_exceptions=True):
        log.append((seed, repr(entry)))
    log.append((seed, sorted(shared), asyncio.get_running_loop().time() - 1000.0 < 100))


async def child(seconds, shared, name):
    async with asyncio.timeout(30):
        shared.append(name)
        await asyncio.sleep(seconds)
        shared.append(-name)
    return name


def outcome(path, resident, start=1000.0):
    with opened(path, resident, start) as engine:
        if "log" not in engine.root:
            log = engine.root["log"] = []
            for seed in range(6):
                engine.spawn(program, seed, log, id=f"p{seed}")
        assert engine.run() == []
        return sorted(engine.root["log"], key=str)


@pytest.mark.parametrize("resident", [0, 3])
def test_programs_end_as_without_parking(tmp_path, resident):
    assert outcome(tmp_path / "parked.fs", resident) == outcome(tmp_path / "all.fs", None)


def test_from_every_commit_on_it_ends_the_same(tmp_path):
    points, path = [], tmp_path / "program.fs"

    def copy(store):
        points.append((shutil.copy(path, tmp_path / f"{len(points)}.fs"), store.parts["loop"].time()))

    with after_commits(copy):
        wanted = outcome(path, 2)
    assert len(points) > 10
    for at, moment in points[1:]:
        assert outcome(at, 2, moment) == wanted


async def waits_for_mail(number, done):
    first = await pstore.receive()
    second = await pstore.receive()
    done.append((number, first, second))


def test_tasks_that_wait_for_messages_are_parked_and_receive_them(tmp_path):
    path, done = tmp_path / "s.fs", []
    with pstore.open(path, clock=VirtualClock(), resident=4) as engine:
        engine.root["done"] = []
        for number in range(40):
            engine.spawn(waits_for_mail, number, engine.root["done"], id=f"t{number}")
        engine.run()
        assert engine._loop.state.parked >= 36
        assert [engine.send(f"t{number}", number, id="a") for number in range(0, 40, 3)]
        engine.run()
    with pstore.open(path, clock=VirtualClock(), resident=4) as engine:
        assert engine._loop.state.parked >= 36
        receipts = [engine.send(f"t{number}", -number, id="a") for number in range(40)]
        receipts += [engine.send(f"t{number}", number, id="b") for number in range(40)]
        engine.run()
        assert [receipt.result(0) for receipt in receipts] == [number % 3 != 0 for number in range(40)] + [True] * 40
        done = sorted(engine.root["done"])
    assert done == [(number, number if number % 3 == 0 else -number, number) for number in range(40)]


class Held:
    pass


async def holds_an_instance(number):
    held = Held()
    held.number = number
    vars(held)
    message = await pstore.receive()
    held.message = message
    return held.number, held.message


SCRIPT = """
import sys
import pstore
from pstore.testing import VirtualClock


class Order:
    pass


async def holds(number):
    order = Order()
    order.number = number
    order.message = await pstore.receive()
    return order.number, order.message


with pstore.open(sys.argv[1], clock=VirtualClock(), resident=2) as engine:
    for number in range(20):
        engine.spawn_once(f"t{number}", holds, number)
    engine.run()
    print(engine._loop.state.parked)
    if len(sys.argv) > 2:
        for number in range(20):
            engine.send(f"t{number}", -number)
        engine.run()
        print(all(engine.tasks[f"t{number}"].result() == (number, -number) for number in range(20)))
"""


def test_tasks_that_hold_instances_are_parked(tmp_path):
    with pstore.open(tmp_path / "s.fs", clock=VirtualClock(), resident=2) as engine:
        tasks = [engine.spawn(holds_an_instance, number).id for number in range(20)]
        engine.run()
        assert engine._loop.state.parked >= 18
        for number, task_id in enumerate(tasks):
            engine.send(task_id, -number)
        found = [engine.tasks[task_id] for task_id in tasks]
        engine.run()
        assert [task.result() for task in found] == [(number, -number) for number in range(20)]


def test_tasks_of_a_script_that_hold_instances_of_its_classes_are_parked(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    first = python("script.py", "s.fs", cwd=tmp_path)
    assert int(first.stdout) >= 18
    second = python("script.py", "s.fs", "go", cwd=tmp_path)
    assert second.stdout.split()[1] == "True"
