"""``@pstore.step``: what it makes of a function, in tasks and elsewhere, stored and typed."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import pickle
import subprocess
import sys
import textwrap
import warnings

import pytest

import pstore
from pstore._engine.effects import StepCall, StepFunction
from tests.processes import ROOT

CALLS = []


@pytest.fixture(autouse=True)
def _no_calls():
    CALLS.clear()


@pstore.step
def double(n, *, plus=0):
    """Double a number."""
    CALLS.append((n, plus))
    return 2 * n + plus


@pstore.step(retry=pstore.Retry(attempts=3, delay=5), priority=2)
async def flaky(n):
    CALLS.append(n)
    if len(CALLS) < 3:
        raise OSError("not yet")
    return -n


@pstore.step
def key():
    return pstore.step_key()


@pstore.step
def nested(n):
    return double(n) + 1


class Bank:
    def __init__(self, name):
        self.name = name

    @pstore.step
    def reserve(self, amount):
        return f"{self.name}: {amount}"

    @staticmethod
    @pstore.step
    def rate():
        return 7

    @classmethod
    @pstore.step
    def kind(cls):
        return cls.__name__


def run(engine, fn, *args):
    return engine.run(engine.spawn(fn, *args))


def test_a_call_in_a_task_is_a_step_and_elsewhere_a_call(reopen):
    async def work():
        call = double(3, plus=1)
        assert type(call) is StepCall
        return await call, await double(4)

    assert double(5) == 10
    assert double.fn(5, plus=1) == 11
    assert asyncio.run(flaky.fn(1) if CALLS.append(0) else flaky(1)) == -1  # asyncio's own loop: a plain coroutine
    assert run(reopen(), work) == (7, 8)


def test_a_step_may_call_another_as_a_function(reopen):
    async def work():
        return await nested(4)

    assert run(reopen(), work) == 9


def test_it_looks_like_the_function():
    assert (double.__name__, double.__doc__, double.__module__) == ("double", "Double a number.", __name__)
    assert list(inspect.signature(double).parameters) == ["n", "plus"]
    assert double.__wrapped__ is double.fn
    assert repr(double) == "<step function double>"


def test_options_of_the_decorator_hold_for_every_call(reopen, clock):
    async def work():
        return await flaky(4)

    assert run(reopen(), work) == -4
    assert clock.now() == 1000 + 5 + 10


def test_options_of_one_call(reopen):
    async def work():
        once = key.with_options(key="order-17")
        return await once(), await key.with_options(timeout=3)(), await key()

    named, *made = run(reopen(), work)
    assert named == "order-17"
    assert all(other.count(".") == 2 for other in made)
    assert len(set(made)) == 2
    assert flaky.with_options(timeout=3)._retry is flaky._retry
    assert flaky.with_options(timeout=3)._options.priority == 2
    limiter = pstore.Limiter("of one call", concurrency=1)
    assert double.with_options(limit=limiter).with_options(key="x")._options.limit is limiter


def test_options_that_there_are_not():
    with pytest.raises(TypeError, match="not tries"):
        double.with_options(tries=3)
    with pytest.raises(TypeError, match=r"use \.with_options\(key"):
        pstore.step(key="all")
    with pytest.raises(TypeError, match=r"pstore\.Retry, not 3"):
        pstore.step(double, retry=3)


def test_methods(reopen):
    async def work(bank):
        return await bank.reserve(3), await Bank.rate(), await bank.kind(), await bank.reserve.with_options(key="k")(4)

    bank = Bank("A")
    assert bank.reserve(2) == "A: 2"
    assert Bank.reserve(bank, 2) == "A: 2"
    assert run(reopen(), work, bank) == ("A: 3", 7, "Bank", "A: 4")


def test_it_is_given_to_step_like_any_function(reopen):
    async def work():
        return await pstore.step(double, 4), await pstore.step(functools.partial(double, plus=1), 4), await pstore.step(flaky, 1)

    assert run(reopen(), work)[:2] == (8, 9)


def test_local_functions_and_lambdas(reopen):
    async def work(base):
        @pstore.step
        def add(n):
            return base + n

        async def later(n):
            return base - n

        await asyncio.sleep(1)  # stored with the frame, and its own by value
        return await add(1), await pstore.step(later)(2), await pstore.step(lambda: base)

    engine = reopen()
    task = engine.spawn(work, 5, id="work")
    engine.call_soon_threadsafe(engine.stop)
    engine.run()
    engine = reopen()
    assert engine.run(engine.tasks["work"]) == (6, 3, 5)
    assert task is not engine.tasks["work"]


@pytest.mark.parametrize("store", [pickle.dumps, pstore.dumps], ids=["pickle", "pstore"])
def test_it_is_stored_by_name(store):
    load = pickle.loads if store is pickle.dumps else pstore.loads
    for function in (double, flaky, Bank.reserve):
        data = store(function)
        assert load(data) is function
        assert len(data) < 150


def test_one_of_the_main_module_is_found_by_the_next_process(tmp_path):
    (tmp_path / "shop.py").write_text(
        textwrap.dedent("""
            import sys
            import pstore

            @pstore.step
            def charge(amount):
                if sys.argv[1] == "1":
                    engine.stop()
                    pstore.step_cancelled(wait=10)
                return amount

            async def work():
                return await charge(5)

            if __name__ == "__main__":
                with pstore.open("shop.fs") as engine:
                    task = engine.spawn_once("work", work)
                    print(engine.run() if sys.argv[1] == "1" else engine.run(task))
        """)
    )
    for turn, said in (("1", "[]"), ("2", "5")):
        command = [sys.executable, "shop.py", turn]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env={"PYTHONPATH": str(ROOT)}
        )
        assert done.returncode == 0, done.stderr
        assert (turn == "1") == ("Task" in done.stdout or "work" in done.stdout), (turn, done.stdout, said)
    assert done.stdout.strip() == "5"


def test_a_pending_call_goes_on_in_the_next_engine(reopen, monkeypatch):
    async def work():
        return await double(21)

    engine = reopen()
    monkeypatch.setattr(double, "fn", lambda n: engine.stop())
    engine.spawn(work, id="work")
    engine.run()
    monkeypatch.undo()
    engine = reopen()
    (step,) = engine._loop.outbox.pending.values()
    assert step.fn is double
    assert engine.run(engine.tasks["work"]) == 42


def test_awaiting_the_function_itself_is_refused(reopen):
    async def work():
        await double

    with pytest.raises(TypeError, match=r"write: await double\(\.\.\.\)"):
        run(reopen(), work)


def test_a_step_without_arguments_is_a_coroutine_too(reopen):
    async def work():
        task = asyncio.create_task(pstore.step(lambda: 3))
        key = await asyncio.gather(pstore.step(pstore.step_key), pstore.step(pstore.step_key))
        return await task, len(set(key))

    engine = reopen()
    assert run(engine, work) == (3, 2)
    first = engine.run(engine.spawn(pstore.step, pstore.step_key))
    assert engine.run(engine.spawn(pstore.step, pstore.step_key)) != first


def test_one_that_is_the_coroutine_of_a_task_goes_on_after_a_restart(reopen):
    engine = reopen()
    engine.spawn(pstore.step, hang_once, id="work")
    global hook
    hook = engine.stop
    engine.run()
    hook = bool
    engine = reopen()
    assert engine.run(engine.tasks["work"]) is False


hook = bool


def hang_once():
    return hook()


def test_a_step_that_was_forgotten_in_a_task_is_told(reopen):
    async def work():
        pstore.step(pstore.step_key)
        gc.collect()

    engine = reopen()
    with pytest.warns(RuntimeWarning, match="step step_key> was never awaited"):
        run(engine, work)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pstore.step(lambda: 3)  # a decorator in a module
        gc.collect()


def test_decorating_twice_keeps_what_was_given():
    twice = pstore.step(timeout=5)(flaky)
    assert (twice._retry, twice._options.timeout, twice.fn) == (flaky._retry, 5, flaky.fn)
    assert type(twice) is StepFunction


@pytest.mark.slow
def test_types(monkeypatch):
    """What a type checker makes of it; needs mypy."""
    api = pytest.importorskip("mypy.api")
    program = textwrap.dedent("""
        import asyncio
        from typing import Any, assert_type
        import pstore

        @pstore.step
        def plain(n: int, s: str = "") -> bytes:
            return b""

        @pstore.step(retry=pstore.Retry(), timeout=3)
        async def later(n: int) -> list[str]:
            return []

        def bare(n: int, s: str = "") -> bytes:
            return b""

        async def main() -> None:
            assert_type(await plain(1), bytes)
            assert_type(await later(1), list[str])
            assert_type(await later.with_options(key="a")(1), list[str])
            assert_type(await pstore.step(bare, 1), bytes)
            assert_type(await pstore.step(bare, 1, "x", timeout=3), bytes)
            assert_type(await pstore.step(pstore.step_key), str)
            assert_type(await pstore.step(print, "a", "b"), None)
            both = await asyncio.gather(plain(1), pstore.step(bare, 2))
            assert_type(both, tuple[bytes, bytes])
            plain("x")  # type: ignore
            pstore.step(bare, "x")  # type: ignore
            pstore.step(bare, 1, retries=3)  # type: ignore

        async def host(engine: pstore.Engine) -> int:
            task = engine.spawn_once("main", main)
            await engine.wait(task)
            assert_type(await engine.wait("main"), Any)
            assert_type(await engine.future("main"), Any)
            return "is still looked at"  # type: ignore[return-value]
    """)
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    options = ["--config-file=", "--strict", "--follow-imports=silent", "--ignore-missing-imports"]
    out, errors, status = api.run([*options, "--cache-dir=/dev/null", "-c", program])
    assert status == 0, out + errors
