"""Programs and their hosts: `committed`, results that leave after the commit, an engine inside a loop of the host."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

import pstore
from pstore.errors import (
    CaptureError,
    EngineClosed,
    EngineError,
    EngineInterrupted,
    RunFailed,
    TaskCancelled,
    UnknownTask,
)
from pstore.testing import VirtualClock


async def nap(seconds, value=None):
    await asyncio.sleep(seconds)
    return value


async def fail(text):
    await asyncio.sleep(1)
    raise ValueError(text)


async def echo(out):
    async for message in pstore.inbox():
        out.append(message)


def hosted(main, clock=None, uri="memory:"):
    """Run ``main(engine)`` beside ``engine.serve()`` on a loop of asyncio's."""

    async def host():
        with pstore.open(uri, clock=clock or VirtualClock(1000.0)) as engine:
            serving = asyncio.create_task(engine.serve())
            try:
                return await asyncio.wait_for(main(engine), 20)
            finally:
                engine.stop()
                await serving

    return asyncio.run(host())


# -- committed


def test_committed_returns_when_all_before_is_durable(reopen, monkeypatch):
    persist, committed = pstore.Store.persist, []

    def noted(store, note=None):
        tid = persist(store, note)
        committed.append(list(store.root["out"]))
        return tid

    async def work(out):
        for n in range(3):
            out.append(n)
            await pstore.committed()
            assert committed[-1] == out

    monkeypatch.setattr(pstore.Store, "persist", noted)
    engine = reopen()
    engine.run(engine.spawn(work, engine.root.setdefault("out", [])))
    assert [0, 1, 2] in committed


def test_who_waits_for_a_commit_goes_on_after_a_restart(reopen, monkeypatch):
    async def work(out):
        await pstore.committed()
        out.append("went on")
        return "done"

    engine = reopen()
    engine.spawn(work, engine.root.setdefault("out", []), id="work")
    monkeypatch.setattr(type(engine._loop.services), "committed", lambda services: engine.stop())  # killed before it
    engine.run()
    monkeypatch.undo()
    engine = reopen()
    assert engine.root["out"] == []
    assert engine.run(engine.tasks["work"]) == "done"
    assert engine._loop.services.committing == []


def test_who_gives_up_waiting_for_a_commit_is_left_alone(reopen):
    async def work():
        waiting = asyncio.create_task(pstore.committed())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(pstore.committed(), pstore.committed())
        return waiting.cancelled()

    engine = reopen()
    assert engine.run(engine.spawn(work)) is True


# -- results for the host


def test_a_result_leaves_after_the_commit_as_a_copy(reopen, monkeypatch):
    engine, persist, seen = reopen(), pstore.Store.persist, []
    task = engine.spawn(nap, 1, [1, 2], id="nap")
    receipt = engine.future(task)

    def noted(store, note=None):
        seen.append((task.done(), receipt.done()))
        return persist(store, note)

    monkeypatch.setattr(pstore.Store, "persist", noted)
    engine.run()
    assert (True, False) in seen
    assert (True, True) not in seen
    assert receipt.result(0) == [1, 2]
    assert receipt.result(0) is not task.result()
    assert engine.wait("nap").result(0) == [1, 2]
    assert reopen().wait("nap").result(0) == [1, 2]


def test_a_failure_that_is_waited_for_is_not_reported(reopen, caplog):
    engine = reopen()
    receipt = engine.future(engine.spawn(fail, "why", id="fail"))
    engine.run()
    with pytest.raises(ValueError, match="why"):
        receipt.result(0)
    assert not caplog.records
    with pytest.raises(ValueError, match="why"):
        reopen().future("fail").result(0)


def test_a_cancelled_task_is_no_cancellation_of_who_waits(reopen):
    engine = reopen()
    task = engine.spawn(nap, 5, id="nap")
    receipt = engine.future("nap")
    engine.call_soon_threadsafe(task.cancel)
    engine.run()
    with pytest.raises(TaskCancelled, match="'nap' was cancelled"):
        receipt.result(0)


def test_there_is_no_future_of_nothing(reopen):
    engine = reopen()
    with pytest.raises(UnknownTask):
        engine.future("nobody").result(0)
    with pstore.open("memory:") as other:
        with pytest.raises(EngineError, match="does not belong"):
            engine.future(other.spawn(nap, 1)).result(0)


def test_a_result_that_cannot_be_copied_is_an_error_for_the_host(reopen):
    async def give_task():
        return asyncio.current_task()

    engine = reopen()
    task = engine.spawn(give_task)
    receipt = engine.future(task)
    assert engine.run(task) is task
    with pytest.raises(EngineError, match="cannot be copied for the host"):
        receipt.result(0)


def test_a_task_that_is_done_in_an_uncommitted_state_is_waited_for(reopen):
    engine = reopen()
    task = engine.spawn(nap, 0, 1)
    engine.root["lock"] = threading.Lock()
    engine._refused = True  # so that tasks go first
    with pytest.raises(CaptureError):
        engine.run()
    assert task.done()
    receipt = engine.future(task)
    assert not receipt.done()
    del engine.root["lock"]
    engine.run()
    assert receipt.result(0) == 1


# -- serve


def test_a_host_spawns_sends_and_waits():
    async def main(engine):
        out = engine.root.setdefault("out", [])
        engine.spawn(echo, out, id="echo")
        assert await engine.wait(engine.spawn(nap, 3600, "slept")) == "slept"
        assert await engine.send("echo", 1)
        assert await asyncio.gather(*(engine.send("echo", n) for n in range(2, 5))) == [True] * 3
        with pytest.raises(ValueError, match="why"):
            await engine.wait(engine.spawn(fail, "why"))
        assert asyncio.get_running_loop() is not engine._loop
        return list(out)

    assert hosted(main) == [1, 2, 3, 4]


def test_what_a_host_does_to_shared_objects_wakes_the_program():
    async def take(queue, out):
        while True:
            out.append(await queue.get())
            await pstore.committed()

    async def main(engine):
        queue, out = engine.root.setdefault("queue", asyncio.Queue()), engine.root.setdefault("out", [])
        engine.spawn(take, queue, out)
        for n in range(3):
            queue.put_nowait(n)
            await asyncio.sleep(0.005)
        return list(out)

    assert hosted(main) == [0, 1, 2]


def test_the_loop_of_the_host_runs_between_turns():
    ticks = []

    async def tick():
        while True:
            ticks.append(1)
            assert asyncio.current_task() is ticking
            await asyncio.sleep(0)

    async def busy():
        for _ in range(50):
            await pstore.committed()

    async def main(engine):
        global ticking
        ticking = asyncio.create_task(tick())
        await engine.wait(engine.spawn(busy))
        assert asyncio.current_task() is not None
        ticking.cancel()

    hosted(main)
    assert len(ticks) >= 50


ticking = None


def test_threads_of_a_host():
    async def main(engine):
        out = engine.root.setdefault("out", [])
        engine.spawn(echo, out, id="echo")

        def work(n):
            return engine.send("echo", n, id=str(n)).result(10), engine.call(len, out).result(10)

        answers = await asyncio.gather(*(asyncio.to_thread(work, n) for n in range(8)))
        assert all(new and length for new, length in answers)
        return sorted(out)

    assert hosted(main) == list(range(8))


steps_ran_on = []


async def remote(n):
    steps_ran_on.append(asyncio.get_running_loop())
    await asyncio.sleep(0.001)
    return n + 1


def test_coroutine_steps_run_on_the_loop_of_the_host():
    async def work():
        return await asyncio.gather(*(pstore.step(remote, n) for n in range(3))), await pstore.step(len, "abc")

    async def main(engine):
        steps_ran_on.clear()
        assert await engine.wait(engine.spawn(work)) == ([1, 2, 3], 3)
        assert set(steps_ran_on) == {asyncio.get_running_loop()}

    hosted(main)


async def stuck():
    steps_ran_on.append("stuck")
    await asyncio.sleep(3600 if steps_ran_on == ["stuck"] else 0)
    return "answer"


async def ask_stuck():
    return await pstore.step(stuck)


def test_a_step_that_the_host_cancels_is_begun_again(tmp_path):
    async def main(engine):
        engine.spawn(ask_stuck, id="work")
        while not steps_ran_on:
            await asyncio.sleep(0.001)

    steps_ran_on.clear()
    hosted(main, uri=tmp_path / "x.fs")
    with pstore.open(tmp_path / "x.fs", clock=VirtualClock(1000.0)) as engine:
        assert engine.run(engine.tasks["work"]) == "answer"
    assert steps_ran_on == ["stuck", "stuck"]


def test_serving_goes_on_where_another_process_was(tmp_path):
    async def first(engine):
        engine.spawn(echo, engine.root.setdefault("out", []), id="echo")
        await engine.send("echo", 1)

    async def second(engine):
        await engine.send("echo", 2)
        return list(engine.root["out"])

    hosted(first, uri=tmp_path / "x.fs")
    assert hosted(second, uri=tmp_path / "x.fs") == [1, 2]


def test_timers_fire_on_the_clock_of_the_machine():
    async def main():
        with pstore.open("memory:") as engine:
            serving = asyncio.create_task(engine.serve())
            begin = time.monotonic()
            assert await engine.wait(engine.spawn(nap, 0.03, 1)) == 1
            assert 0.03 <= time.monotonic() - begin < 5
            engine.stop()
            await serving

    asyncio.run(main())


def test_a_virtual_clock_waits_for_steps_as_long_as_it_is_told():
    gate = threading.Event()

    async def work():
        try:
            async with asyncio.timeout(5):
                await pstore.step(wait_at_gate)
        except TimeoutError:
            return "timeout"

    global at_gate
    at_gate = gate.wait

    async def main(engine):
        return await engine.wait(engine.spawn(work))

    try:
        assert hosted(main, VirtualClock(1000.0, patience=0.02)) == "timeout"
    finally:
        gate.set()


at_gate = None


def wait_at_gate():
    return at_gate(20)


def test_cancelling_serve_ends_it_after_a_turn(tmp_path):
    async def main():
        with pstore.open(tmp_path / "x.fs", clock=VirtualClock()) as engine:
            serving = asyncio.create_task(engine.serve())
            engine.spawn(echo, engine.root.setdefault("out", []), id="echo")
            await engine.send("echo", 1)
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
        return None

    asyncio.run(main())
    with pstore.open(tmp_path / "x.fs", clock=VirtualClock()) as engine:
        assert engine.root["out"] == [1]
        assert engine.run() == [engine.tasks["echo"]]


def test_what_cannot_be_stored_ends_serve_with_the_error():
    async def main():
        with pstore.open("memory:", clock=VirtualClock()) as engine:
            serving = asyncio.create_task(engine.serve())
            await engine.wait(engine.spawn(nap, 1))
            engine.root["lock"] = threading.Lock()
            engine.spawn(nap, 1)
            with pytest.raises(CaptureError):
                await serving
            del engine.root["lock"]
            serving = asyncio.create_task(engine.serve())
            assert await engine.wait(engine.spawn(nap, 1, 2)) == 2
            engine.stop()
            await serving

    asyncio.run(main())


def test_what_leaves_the_program_leaves_the_host():
    async def leave():
        raise SystemExit(3)

    async def main():
        with pstore.open("memory:", clock=VirtualClock()) as engine:
            engine.spawn(leave)
            try:
                await engine.serve()
            finally:
                with pytest.raises(EngineInterrupted):
                    engine._check_usable()

    with pytest.raises(SystemExit):
        asyncio.run(main())


def test_who_awaits_something_learns_that_serving_has_failed():
    async def main():
        with pstore.open("memory:", clock=VirtualClock()) as engine:
            task = engine.spawn(echo, [])
            serving = asyncio.create_task(engine.serve())
            assert await engine.send(task, 1) is True
            engine.root["lock"] = threading.Lock()
            waiting = asyncio.create_task(asyncio.wait_for(engine.wait(task), 20))
            with pytest.raises(RunFailed) as told:
                await asyncio.wait_for(engine.send(task, 2, id="two"), 20)
            with pytest.raises(RunFailed):
                await waiting
            with pytest.raises(CaptureError) as refused:
                await serving
            assert told.value.__cause__ is refused.value
            del engine.root["lock"]
            serving = asyncio.create_task(engine.serve())
            assert await engine.send(task, 2, id="two") is False
            later = engine.wait(task)
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
            assert not later.done()

    asyncio.run(main())


def test_what_a_host_must_not_do():
    async def main(engine):
        await engine.wait(engine.spawn(nap, 0))
        with pytest.raises(EngineError, match="while engine.serve"):
            engine.run()
        with pytest.raises(EngineError, match="while engine.serve"):
            engine.close()
        with pytest.raises(EngineError, match="one engine.serve"):
            await engine.serve()
        with pstore.open("memory:") as other:
            with pytest.raises(EngineError, match="would block"):
                other.run()

    hosted(main)


def test_closing_after_serving_answers_what_is_open():
    async def main():
        with pstore.open("memory:", clock=VirtualClock()) as engine:
            serving = asyncio.create_task(engine.serve())
            engine.spawn(echo, [], id="echo")
            receipt = engine.wait("echo")
            await asyncio.sleep(0.005)
            engine.stop()
            await serving
        with pytest.raises(EngineClosed):
            await receipt

    asyncio.run(main())
