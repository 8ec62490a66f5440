"""Parking is not to be seen: what a program, and its host, do with few tasks in memory is what they do with all."""

from __future__ import annotations

import asyncio
import random
import shutil
import threading
from enum import StrEnum

import pytest

import pstore
from pstore._engine import parking
from pstore.errors import CodeNotFound, EngineInterrupted, UnknownTask
from pstore.testing import VirtualClock
from tests.engine import golden
from tests.engine.crash import after_commits
from tests.engine.golden import __main__ as writer


@pytest.fixture
def path(tmp_path):
    return tmp_path / "program.fs"


def opened(path, resident=0, start=1000.0):
    return pstore.open(path, clock=VirtualClock(start), resident=resident)


def parked(engine):
    return engine._loop.state.parked


async def nap(seconds):
    await asyncio.sleep(seconds)


def settle(engine, times=4):
    """Run until all wait, and those that may have been parked."""
    for _ in range(times):
        engine.run(engine.spawn(nap, 0.25))


# -- tasks that cannot be brought back


async def takes(queue, log):
    log.append(await queue.get())


async def puts(queue, log):
    await asyncio.sleep(10)
    try:
        queue.put_nowait("put")
    except Exception as error:
        log.append(type(error).__name__)
    await asyncio.sleep(10)
    log.append("done")


def cannot_be_loaded(engine, task_id, monkeypatch):
    """Have a task that is parked not be loaded, as if its code were gone."""
    capsules, record = engine.store.capsules, engine._loop.parking.entry(task_id).record
    activate = capsules._activate

    def failing(head, capsule):
        if capsule.oid == record:
            raise CodeNotFound("program:takes", "it is not there any more")
        activate(head, capsule)

    monkeypatch.setattr(capsules, "_activate", failing)


def with_a_taker(engine):
    queue, log = engine.root.setdefault("queue", asyncio.Queue()), engine.root.setdefault("log", [])
    engine.spawn(takes, queue, log, id="taker")
    return queue, log


def test_a_wake_up_of_who_cannot_be_brought_back_is_not_lost(path, monkeypatch):
    with opened(path) as engine:
        engine.spawn(puts, *with_a_taker(engine), id="putter")
        settle(engine)
        assert parked(engine) == 2
        cannot_be_loaded(engine, "taker", monkeypatch)
        with pytest.raises(CodeNotFound) as caught:
            engine.run()
        assert "'taker'" in "".join(caught.value.__notes__)
        last = engine.store.tid
        with pytest.raises(EngineInterrupted):
            engine.run()
        with pytest.raises(EngineInterrupted):
            engine.commit()
        assert engine.store.tid == last
    with opened(path, start=1004.0) as engine:
        assert engine.run() == []
        assert engine.root["log"] == ["put", "done"]


def test_nor_one_by_the_host(path, monkeypatch):
    with opened(path) as engine:
        queue, log = with_a_taker(engine)
        settle(engine)
        cannot_be_loaded(engine, "taker", monkeypatch)
        with pytest.raises(CodeNotFound):
            queue.put_nowait("put")
        with pytest.raises(EngineInterrupted):
            engine.run()
    with opened(path, start=1004.0) as engine:
        engine.root["queue"].put_nowait("put")
        assert engine.run() == []
        assert engine.root["log"] == ["put"]


def test_who_only_asks_for_it_hears_of_it_alone(path, monkeypatch):
    with opened(path) as engine:
        with_a_taker(engine)
        settle(engine)
        cannot_be_loaded(engine, "taker", monkeypatch)
        sent, awaited = engine.send("taker", 1), engine.wait("taker")
        asked = engine.call(lambda: engine.locals("taker"))
        settle(engine)
        for receipt in (sent, awaited, asked):
            with pytest.raises(CodeNotFound):
                receipt.result(0)
        with pytest.raises(CodeNotFound):
            engine.locals("taker")
        monkeypatch.undo()
        engine.root["queue"].put_nowait("put")
        assert engine.run() == []
        assert engine.root["log"] == ["put"]


# -- what others do to the parts of a task


async def gives(box):
    await asyncio.sleep(10)
    return box


@pytest.mark.parametrize("resident", [None, 0])
def test_what_the_host_changed_before_it_let_go_of_it_stays_changed(path, resident):
    with opened(path, resident) as engine:
        boxes, seen = [[] for _ in range(3)], engine.root.setdefault("seen", [])
        for number, box in enumerate(boxes):
            engine.spawn(gives, box, id=f"t{number}")
        settle(engine)
        boxes[0].append("host")
        boxes[1].append(seen)
        del boxes, box
        settle(engine)
        assert parked(engine) == (0 if resident is None else 3)
        assert engine.run() == []
        assert [engine.tasks[f"t{number}"].result() for number in range(3)] == [["host"], [[]], []]
        assert engine.tasks["t1"].result()[0] is seen


# -- asyncio's own functions


def test_all_tasks_is_as_it_was_when_several_engines_have_ended(tmp_path):
    usual, engines = asyncio.all_tasks, [opened(tmp_path / f"{number}.fs") for number in range(3)]
    for number, engine in enumerate(engines):
        for _ in range(number + 1):
            engine.spawn(nap, 100)
        settle(engine)
        assert parked(engine) == number + 1
    for number, engine in enumerate(engines):
        assert len(asyncio.all_tasks(engine._loop)) == number + 1
        engine.close()
        engine.close()
        assert (asyncio.all_tasks is usual) == (number == 2)
    assert asyncio.tasks.all_tasks is usual


async def counts(log):
    await asyncio.sleep(10)
    loop = asyncio.get_running_loop()
    log.append([len(asyncio.all_tasks()), len(asyncio.all_tasks(loop)), len(asyncio.all_tasks(loop=loop))])


@pytest.mark.parametrize("resident", [None, 0])
def test_all_tasks_is_called_as_asyncios_is(path, resident):
    with opened(path, resident) as engine:
        log = engine.root["log"] = []
        for _ in range(3):
            engine.spawn(nap, 100)
        engine.run(engine.spawn(counts, log))
    assert log == [[4, 4, 4]]


def test_others_who_ask_asyncio_for_their_tasks_load_none(path):
    """All loops of a process share one register of tasks."""
    with opened(path) as engine:
        tasks = [engine.spawn(nap, 100) for _ in range(3)]
        settle(engine)
        assert parked(engine) == 3

        async def host():
            return len(asyncio.all_tasks())

        assert asyncio.run(host()) == 1
        assert not any(task.is_loaded() for task in tasks)


# -- in which order tasks are given, and by which ids they are found


async def gets(queue):
    return await queue.get()


@pytest.mark.parametrize("resident", [None, 0, 2])
def test_tasks_are_given_in_the_order_in_which_they_were_started(path, resident):
    ids = [f"t{number}" for number in (5, 3, 8, 1, 9, 2)]
    for turn in range(2):
        with opened(path, resident, 1000.0 + 10 * turn) as engine:
            if not turn:
                queue = engine.root["queue"] = asyncio.Queue()
                for task_id in ids:
                    engine.spawn(gets, queue, id=task_id)
                settle(engine)
                repr(engine.tasks["t8"])  # which brings it back
            assert list(engine.tasks) == ids
            assert [task.id for task in engine.run()] == ids
            assert [task.id for task in engine.find()] == [task.id for task in engine.find(state="active")] == ids
            settle(engine)
            assert [task.id for task in engine.find(since=1000.0)] == ids
            repr(engine.tasks["t2"])
            assert [task.id for task in engine.run()] == ids
            with pytest.raises(UnknownTask) as caught:
                engine.locals("other")
            assert ", ".join(ids) in str(caught.value)


@pytest.mark.parametrize("since", [0, -1, -0.0, float("-inf"), float("inf"), float("nan"), 1000.0, 1001])
def test_tasks_are_found_since_any_moment(tmp_path, since):
    found = []
    for resident in (None, 0):
        with opened(tmp_path / f"{resident}.fs", resident) as engine:
            for number in range(4):
                engine.spawn(nap, 100, id=f"t{number}")
                settle(engine)
            found.append([task.id for task in engine.find(since=since)])
    assert found[0] == found[1]


class Name(StrEnum):
    TWO = "two"


@pytest.mark.parametrize("resident", [None, 0])
def test_ids_are_looked_for_by_whatever_equals_them(path, resident):
    with opened(path, resident) as engine:
        for task_id in ("one", "two"):
            engine.spawn(nap, 100, id=task_id)
        settle(engine)
        assert [other in engine.tasks for other in (8, None, ("a",), b"two", "two", Name.TWO)] == [0, 0, 0, 0, 1, 1]
        assert engine.tasks.get(8) is engine.tasks.get(b"two") is None
        assert engine.tasks["two"] is engine.tasks[Name.TWO]


# -- stores of older versions


@pytest.mark.parametrize("engine", [0, 1])
def test_programs_that_older_versions_left_off(tmp_path, engine):
    store = golden.unpacked(golden.HERE / f"engine-{engine}-{writer.PYTHON}.fs.xz", tmp_path / "left_off.fs")
    wanted, program, points = golden.end_of(engine).read_text(), writer.program_of(engine), []

    def copy(opened):
        if len(points) < 40:
            path = shutil.copy(store, tmp_path / f"{len(points)}.fs")
            points.append((path, opened.parts["loop"].time()))

    with after_commits(copy):
        assert writer.go_on(store, program, resident=1) == wanted
    for path, moment in points[::8]:
        found = writer.go_on(path, program, moment, resident=1)
        changed = [line for line in found.splitlines() if line not in wanted.splitlines()]
        # what objects in clusters of old stores do when they are let go of may be lost
        assert [line for line in changed if not line.startswith(("out generators:", "out handler:"))] == []


# -- while a commit is made


class Asks:
    """Looks at tasks when it is stored."""

    asked = pstore.volatile([])

    def __getstate__(self):
        for engine in self.asked:
            for task in engine.tasks.values():
                task.done()
        return self.__dict__


async def holds(asks):
    await asyncio.sleep(50)


@pytest.mark.parametrize("held_by", ["task", "root"])
def test_who_is_used_by_what_is_stored_is_there(tmp_path, held_by):
    path = tmp_path / "program.fs"
    with opened(path) as engine:
        for number in range(6):
            engine.spawn(nap, 50, id=f"t{number}")
        settle(engine)
        assert parked(engine) == 6
        Asks.asked.append(engine)
        try:
            if held_by == "task":
                engine.spawn(holds, Asks(), id="holds")
            else:
                engine.root["asks"] = Asks()
            engine.commit()
        finally:
            Asks.asked.clear()
        shutil.copy(path, tmp_path / "copy.fs")
        wanted = list(engine.tasks)
        assert parked(engine) == 0
    for copy in (path, tmp_path / "copy.fs"):
        with opened(copy, start=1010.0) as engine:
            assert list(engine.tasks) == wanted
            assert engine.run() == []
            assert all(task.done() for task in engine.tasks.values())


# -- several threads


def test_tasks_are_loaded_in_the_thread_that_runs_the_engine(path, monkeypatch):
    ids = [f"t{number}" for number in range(8)]
    with opened(path) as engine:
        queue = engine.root["queue"] = asyncio.Queue()
        for task_id in ids:
            engine.spawn(gets, queue, id=task_id)
        settle(engine)
    with pstore.open(path, resident=0) as engine:
        capsules, threads = engine.store.capsules, []
        activate = capsules._activate

        def noted(head, capsule):
            threads.append(threading.get_ident())
            activate(head, capsule)

        monkeypatch.setattr(capsules, "_activate", noted)
        held = [engine.tasks[task_id] for task_id in ids]
        thread = threading.Thread(target=engine.run, kwargs={"forever": True})
        thread.start()
        try:
            engine.call(len, []).result(20)
            for _ in range(20):
                assert [task.id for task in held] == [task.id for task in engine.find()] == ids
                assert not any(task.done() for task in held)
                engine.send("t0", "to have a commit").result(20)
            assert set(threads) == {thread.ident}
        finally:
            engine.stop()
            thread.join()
        assert len(threads) > len(ids)
        assert [task.id for task in engine.run()] == ids


async def answers():
    got = []
    pstore.query("got", lambda: list(got))
    while (message := await pstore.receive()) is not None:
        got.append(message)
        await asyncio.sleep(0)
    return got


def test_hosts_in_threads(path):
    """Messages, questions, waits and cancellations of several threads, to tasks that come and go."""
    count, failed, sent = 12, [], {}
    with pstore.open(path, resident=0, durability="os") as engine:
        for number in range(count):
            engine.spawn(answers, id=f"a{number}", tags={"odd": bool(number % 2)})
            engine.spawn(nap, 1e6, id=f"n{number}")

        def host(seed):
            draw = random.Random(seed)
            try:
                for turn in range(20):
                    to = f"a{draw.randrange(count)}"
                    assert engine.send(to, (seed, turn), id=f"{seed}-{turn}").result(20)
                    sent.setdefault(to, set()).add((seed, turn))
                    assert not engine.send(to, (seed, turn), id=f"{seed}-{turn}").result(20)
                    assert len(engine.query(to, "got")) <= 160
                    assert sorted(task.id for task in engine.find(tag={"odd": True})) == odd
                    engine.call(lambda: engine.tasks[f"n{draw.randrange(count)}"].cancel()).result(20)
            except BaseException as error:
                failed.append(error)

        odd = sorted(f"a{number}" for number in range(1, count, 2))
        runs = threading.Thread(target=engine.run, kwargs={"forever": True})
        hosts = [threading.Thread(target=host, args=(seed,)) for seed in range(4)]
        for thread in (runs, *hosts):
            thread.start()
        for thread in hosts:
            thread.join()
        try:
            assert not failed
            for number in range(count):
                engine.send(f"a{number}", None).result(20)
                assert set(engine.wait(f"a{number}").result(20)) == sent.get(f"a{number}", set())
        finally:
            engine.stop()
            runs.join()
        assert {task.id for task in engine.find(state="cancelled")} | {task.id for task in engine.run()} == {
            f"n{number}" for number in range(count)
        }


# -- many that are due at once


async def by_turns(number, first, end, log):
    loop = asyncio.get_running_loop()
    await asyncio.sleep(first)
    await asyncio.sleep(end - loop.time())
    log.append(number)


@pytest.mark.parametrize("at_once", [1, 3, 10_000])
def test_equal_deadlines_in_order_however_few_are_brought_back_at_once(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(parking, "_BROUGHT_AT_ONCE", at_once)
    logs = []
    for resident in (None, 0, 8):
        with opened(tmp_path / f"{resident}.fs", resident) as engine:
            log, draw = engine.root.setdefault("log", []), random.Random(7)
            for number in range(30):
                engine.spawn(by_turns, number, draw.randrange(1, 20), 1100.0, log)
            engine.run()
            logs.append(list(log))
    assert logs[0] == logs[1] == logs[2]
