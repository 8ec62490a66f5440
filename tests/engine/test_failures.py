"""What fails: callbacks, tasks nobody awaits, cancelled scopes, exits, commits; each as asyncio does, the store whole."""

from __future__ import annotations

import asyncio
import collections
import gc
import itertools
import os
import signal

import pytest

import pstore
from pstore.errors import EngineInterrupted, StoreError, StoreInDoubt, StoreNotWritten
from pstore.testing import VirtualClock
from pstore.testing.faults import Faults


async def fail_after(seconds, text):
    await asyncio.sleep(seconds)
    raise ValueError(text)


# -- callbacks


class Broken:
    def __init__(self, calls):
        self.calls = calls

    def __call__(self, *_):
        self.calls.append("called")
        raise LookupError("out of a callback")


async def with_failing_callbacks(calls):
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    future.add_done_callback(Broken(calls))
    future.add_done_callback(lambda future: calls.append(future.result()))
    loop.call_later(5, Broken(calls))
    loop.call_later(6, future.set_result, "result")
    await asyncio.sleep(10)
    return await future


@pytest.mark.parametrize("stop_after", range(1, 12))
def test_an_exception_out_of_a_callback_is_logged_once_and_the_rest_goes_on(reopen, clock, caplog, stop_after) -> None:
    engine = reopen()
    calls = engine.root["calls"] = []
    engine.spawn(with_failing_callbacks, calls, id="main")
    for _ in range(stop_after):
        clock.advance(1)
        engine.call_soon_threadsafe(engine.stop)
        engine.run()
    engine = reopen()
    assert engine.run(engine.tasks["main"]) == "result"
    assert engine.root["calls"] == ["called", "called", "result"]
    assert caplog.text.count("LookupError: out of a callback") == 2


# -- failures that nobody has looked at


async def parent(keep):
    child = asyncio.create_task(fail_after(1, "of a child"))
    if keep:
        await asyncio.sleep(5)
        await asyncio.sleep(5)
    del child
    gc.collect()


@pytest.mark.parametrize("restart", [False, True])
def test_a_child_whose_failure_nobody_saw_is_reported_when_it_is_dropped(reopen, clock, caplog, restart) -> None:
    engine = reopen()
    engine.spawn(parent, True, id="parent")
    for _ in range(4):
        clock.advance(1)
        engine.call_soon_threadsafe(engine.stop)
        engine.run()
    assert "of a child" not in caplog.text  # the parent may still await it
    if restart:
        engine = reopen()
        assert "of a child" not in caplog.text
    engine.run()
    gc.collect()
    assert "Task exception was never retrieved" in caplog.text
    assert "ValueError: of a child" in caplog.text


async def future_never_seen():
    future = asyncio.get_running_loop().create_future()
    future.set_exception(ValueError("of a future"))
    await asyncio.sleep(5)
    del future
    gc.collect()


@pytest.mark.parametrize("restart", [False, True])
def test_a_future_whose_exception_nobody_saw_is_reported_when_it_is_dropped(reopen, clock, caplog, restart) -> None:
    engine = reopen()
    engine.spawn(future_never_seen)
    engine.call_soon_threadsafe(engine.stop)
    engine.run()
    if restart:
        engine = reopen()
    assert "of a future" not in caplog.text
    engine.run()
    assert "Future exception was never retrieved" in caplog.text


async def gather_with(*coroutines, **options):
    return await asyncio.gather(*coroutines, **options)


def test_a_failure_that_was_seen_is_not_reported_after_a_restart(reopen, caplog) -> None:
    engine = reopen()
    engine.spawn(seen, id="seen")
    engine.call_soon_threadsafe(engine.stop)
    engine.run()
    engine = reopen()
    assert engine.run(engine.tasks["seen"]) == "seen: inner"
    del engine
    reopen()
    gc.collect()
    assert not caplog.records


async def seen():
    child = asyncio.create_task(fail_after(1, "inner"))
    await asyncio.sleep(2)
    try:
        await child
    except ValueError as error:
        await asyncio.sleep(1)
        return f"seen: {error}"


# -- cancelled scopes


async def cleans_up(log, name):
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        log.append(f"{name} cancelled")
        await asyncio.sleep(1)
        log.append(f"{name} cleaned up")
        raise
    finally:
        await asyncio.sleep(1)
        log.append(f"{name} left")


async def scopes(log):
    try:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(cleans_up(log, "first"))
            group.create_task(fail_after(3, "of the group"))
            await cleans_up(log, "body")
    except* ValueError as failed:
        log.append([str(error) for error in failed.exceptions])
    try:
        async with asyncio.timeout(2):
            await asyncio.shield(cleans_up(log, "shielded"))
    except TimeoutError:
        log.append("timeout")
    await asyncio.sleep(40)
    return log


def run_through(reopen, clock, fn, *, restart_at=None):
    """Run step by step, a second each; with a restart after so many of them."""
    engine = reopen()
    engine.spawn_once("main", fn, engine.root.setdefault("log", []))
    for second in itertools.count():
        if second == restart_at:
            engine = reopen()
        task = engine.tasks["main"]
        if task.done():
            return task.result(), second
        engine.call_soon_threadsafe(engine.stop)
        engine.run()
        clock.advance(1)


def test_cancelled_scopes_go_on_wherever_they_were_interrupted(tmp_path) -> None:
    def reopener(folder, clock):
        engines = []

        def reopen():
            while engines:
                engines.pop().close()
            folder.mkdir(exist_ok=True)
            engines.append(pstore.open(folder / "store.fs", clock=clock))
            return engines[-1]

        return reopen, engines

    wanted = None
    for restart_at in [None, *range(1, 16)]:
        clock = VirtualClock(1000.0)
        reopen, engines = reopener(tmp_path / str(restart_at), clock)
        log, seconds = run_through(reopen, clock, scopes, restart_at=restart_at)
        engines[0].close()
        wanted = wanted or log
        assert seconds > 40
        assert log == wanted
    assert wanted[:3] == ["first cancelled", "body cancelled", "first cleaned up"]
    assert ["of the group"] in wanted
    assert wanted[-2:] == ["timeout", "shielded left"]


# -- SystemExit, KeyboardInterrupt


async def leave_with(error, items):
    items.append("before")
    await asyncio.sleep(1)
    items.append("half done")
    raise error


def leave(error):
    raise error


async def leave_in_a_callback(error, items):
    items.append("before")
    await asyncio.sleep(1)
    items.append("half done")
    asyncio.get_running_loop().call_soon(leave, error)
    await asyncio.sleep(1)
    items.append("never")


async def terminated(_, items):
    items.append("before")
    await asyncio.sleep(1)
    items.append("half done")
    os.kill(os.getpid(), signal.SIGTERM)  # its handler calls sys.exit(), as servers do
    for _ in range(1000):
        pass
    items.append("never")
    await asyncio.sleep(1)


@pytest.mark.parametrize("fn", [leave_with, leave_in_a_callback, terminated])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_leaving_the_process_in_a_task_is_no_end_of_the_task(reopen, fn, error) -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: leave(error))
    try:
        engine = reopen()
        items = engine.root["items"] = []
        engine.spawn(fn, error, items, id="leaver")
        engine.spawn(asyncio.sleep, 5, "slept", id="other")
        with pytest.raises(type(error)) as left:
            engine.run()
        assert left.value.args == error.args
        with pytest.raises(EngineInterrupted, match="last commit is intact"):
            engine.run()
        engine = reopen()
        assert engine.root["items"] == ["before"]
        assert not engine.tasks["leaver"].done()
        assert engine.tasks["other"].get_coro() is not None
        engine.tasks["leaver"].cancel()
        assert engine.run(engine.tasks["other"]) == "slept"
        assert engine.root["items"] == ["before"]
    finally:
        signal.signal(signal.SIGTERM, before)


# -- the commit fails


async def transfers(accounts, ledger):
    for n in range(4):
        accounts["a"] -= n
        await asyncio.sleep(1)
        accounts["b"] += await pstore.step(add_to, ledger, n)
        await asyncio.sleep(1)
    return dict(accounts)


def add_to(ledger, n):
    with open(ledger, "a") as file:
        file.write(f"{pstore.step_key()} {n}\n")
    return n


def start(path, ledger):
    engine = pstore.open(path, clock=VirtualClock(1000.0))
    engine.spawn_once("transfers", transfers, engine.root.setdefault("accounts", {"a": 0, "b": 0}), ledger)
    return engine


@pytest.mark.parametrize("for_ever", [False, True])
def test_a_commit_that_fails_loses_nothing_and_the_engine_can_go_on_or_be_restarted(tmp_path, for_ever) -> None:
    kinds = collections.Counter()
    for at in itertools.count(1):
        folder = tmp_path / f"{at}"
        folder.mkdir()
        ledger = str(tmp_path / f"{at}.ledger")
        engine = start(folder / "store.fs", ledger)
        engine.commit()
        with Faults(folder, at, for_ever=for_ever) as faults:
            in_doubt = False
            try:
                engine.run()
            except (StoreNotWritten, StoreInDoubt) as error:
                assert str(folder) in str(error)
                in_doubt = isinstance(error, StoreInDoubt)
            if in_doubt:  # nothing more is done by this engine
                with pytest.raises(StoreError, match="close the store and open it again"):
                    engine.run()
            if in_doubt or for_ever:
                engine.close()
        if not faults.hit:
            engine.close()
            break
        kinds[faults.hit.split()[0]] += 1
        if engine.closed:
            engine = start(folder / "store.fs", ledger)  # restarted, on a disk that works again
        assert engine.run(engine.tasks["transfers"]) == {"a": -6, "b": 6}, faults.hit
        engine.close()
        with open(ledger) as file:
            steps = file.read().split("\n")[:-1]
        assert [line.split()[1] for line in dict.fromkeys(steps)] == ["0", "1", "2", "3"]
    assert kinds.total() > 20
    assert {"pwrite", "fsync"} <= kinds.keys()


# -- async generators


async def counting(log, name):
    try:
        n = 0
        while True:
            yield n
            n += 1
    finally:
        await asyncio.sleep(1)
        log.append(f"{name} closed")
        if name == "bad":
            raise ValueError("while it was closed")


async def holds_generators(log):
    begun, bad, never = counting(log, "begun"), counting(log, "bad"), counting(log, "never begun")
    assert [await anext(begun), await anext(begun), await anext(bad)] == [0, 1, 0]
    await asyncio.sleep(5)
    await asyncio.get_running_loop().shutdown_asyncgens()
    log.append("shut down")
    await asyncio.sleep(1)
    return [[n async for n in gen] for gen in (begun, bad)], never.__name__


@pytest.mark.parametrize("restart_at", [None, 0, 1, 3, 5, 6, 7])
def test_async_generators_are_shut_down_also_those_that_a_restart_brought_back(
    reopen, clock, caplog, restart_at
) -> None:
    result, _ = run_through(reopen, clock, holds_generators, restart_at=restart_at or None)
    assert result == ([[], []], "counting")
    assert caplog.text.count("an error occurred during closing of asynchronous generator") == 1
    assert "ValueError: while it was closed" in caplog.text
    log = reopen().root["log"]
    assert sorted(log[:2]) == ["bad closed", "begun closed"]
    assert log[2:] == ["shut down"]
