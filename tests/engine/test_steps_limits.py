"""Limiters: how many run, how many start in what time, who is next; over restarts."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections import Counter

import pytest

import pstore
from pstore._engine import limits as limits_module
from pstore._engine.dispatch import THREADS
from pstore.errors import EngineError, UnknownLimiter
from pstore.testing import VirtualClock
from tests.engine.restarts import outcomes

LOG = pstore.volatile([])
hook = None


@pytest.fixture(autouse=True)
def _nothing_declared(monkeypatch):
    monkeypatch.setattr(limits_module, "_declared", {})
    monkeypatch.setattr(limits_module, "_modules", {})
    LOG.clear()


def use(fn):
    global hook
    hook = fn
    return call_hook


def call_hook(*args):
    return hook(*args)


async def do(*args, **options):
    return await pstore.step(*args, **options)


class Gauge:
    """A step that counts how many of it run, and ends when so many have begun that `most` cannot be more."""

    def __init__(self):
        self.now = self.most = 0
        self.lock = threading.Lock()

    def __call__(self, *args):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.002)
        with self.lock:
            self.now -= 1
        return args


def log_with(clock):
    def log(name="", *rest):
        LOG.append((name, clock.now()))
        return name

    return use(log)


def run(engine, fn, *args):
    return engine.run(engine.spawn(fn, *args))


# -- concurrency


@pytest.mark.parametrize("most", [1, 3])
def test_so_many_at_a_time(reopen, most):
    pstore.Limiter("bank", concurrency=most)
    gauge = Gauge()

    async def work():
        return await asyncio.gather(*(pstore.step(call_hook, n, limit="bank") for n in range(20)))

    use(gauge)
    assert run(reopen(), work) == [(n,) for n in range(20)]
    assert gauge.most <= most


def test_more_than_threads_if_the_limiter_says_so(reopen):
    barrier, bank = threading.Barrier(50, timeout=10), pstore.Limiter("bank", concurrency=50)

    async def work():
        await asyncio.gather(*(pstore.step(call_hook, limit=bank) for _ in range(50)))

    use(lambda: barrier.wait() * 0)
    run(reopen(), work)


def test_coroutines_without_a_limit_all_run(reopen):
    async def meet():
        LOG.append(1)
        while len(LOG) < 100:
            await asyncio.sleep(0.001)

    async def work():
        await asyncio.gather(*(pstore.step(call_hook) for _ in range(100)))

    use(meet)  # a function that gives a coroutine: each leaves its thread at once
    run(reopen(), work)


def test_each_key_for_itself(reopen):
    bank = pstore.Limiter("bank", concurrency=10, key_concurrency=1)
    gauges = {"a": Gauge(), "b": Gauge()}

    async def work():
        await asyncio.gather(*(pstore.step(call_hook, key, limit=bank, limit_key=key) for key in "aabbaabb"))

    use(lambda key: gauges[key](key))
    run(reopen(), work)
    assert [gauge.most for gauge in gauges.values()] == [1, 1]


def test_concurrency_holds_over_a_restart(reopen):
    """The two that ran start again, first, and the third waits for them."""
    bank, started, gate = pstore.Limiter("bank", concurrency=2), threading.Barrier(3, timeout=10), threading.Event()

    def first(n):
        LOG.append(n)
        if len(LOG) == 2:
            engine.stop()
        gate.wait(10)

    async def work():
        return await asyncio.gather(*(pstore.step(call_hook, n, limit=bank) for n in range(6)))

    use(first)
    engine = reopen()
    engine.spawn(work, id="work")
    engine.run()
    assert sorted(LOG) == [0, 1]
    engine = reopen()
    gauge = Gauge()
    use(lambda n: (LOG.append(n), gauge())[0])
    gate.set()
    engine.run(engine.tasks["work"])
    assert sorted(LOG[2:4]) == [0, 1]
    assert Counter(LOG) == {0: 2, 1: 2, 2: 1, 3: 1, 4: 1, 5: 1}
    assert gauge.most <= 2


def test_one_that_rests_holds_no_place(reopen, clock):
    bank = pstore.Limiter("bank", concurrency=1)

    def flaky():
        LOG.append(("flaky", clock.now()))
        if len(LOG) < 4:
            raise OSError("no")

    async def work():
        flaking = pstore.step(call_hook, limit=bank, retry=pstore.Retry(delay=10))
        await asyncio.gather(flaking, *(pstore.step(LOG.append, n, limit=bank) for n in range(2)))

    use(flaky)
    run(reopen(), work)
    assert LOG == [("flaky", 1000), 0, 1, ("flaky", 1010)]


def test_one_that_was_given_up_holds_no_place(tmp_path):
    gate, bank = threading.Event(), pstore.Limiter("bank", concurrency=1)
    use(lambda: gate.wait(10))

    async def work():
        first = pstore.step(call_hook, limit=bank, timeout=5)
        return await asyncio.gather(first, pstore.step(abs, -1, limit=bank), return_exceptions=True)

    with pstore.open(tmp_path / "store.fs", clock=VirtualClock(patience=0.15)) as engine:
        error, one = engine.run(engine.spawn(work))
    assert (type(error), one) == (pstore.errors.StepTimeout, 1)
    gate.set()


def test_cancelled_ones_leave_the_line(reopen, clock):
    """Ten thousand that wait in vain, one after another, do not pile up."""
    bank, gate = pstore.Limiter("bank", concurrency=1, rate=(1, 10**6)), threading.Event()

    async def work():
        await pstore.step(abs, -1, limit=bank)
        for _ in range(500):
            try:
                await asyncio.wait_for(pstore.step(abs, -2, limit=bank), 1)
            except TimeoutError:
                pass

    engine = reopen()
    run(engine, work)
    assert len(engine._steps._lines["bank"]) < 200
    gate.set()


# -- rates


def test_so_many_in_what_time(reopen, clock):
    bank = pstore.Limiter("bank", rate=(3, 60))

    async def work():
        await asyncio.gather(*(pstore.step(call_hook, n, limit=bank) for n in range(8)))

    log_with(clock)
    run(reopen(), work)
    assert Counter(when - 1000 for _, when in LOG) == {0: 3, 60: 3, 120: 2}


def test_a_rate_is_one_of_any_span(reopen, clock):
    bank = pstore.Limiter("bank", rate=(2, 10))

    async def work():
        for pause in (0, 6, 0, 0, 0):
            await asyncio.sleep(pause)
            await pstore.step(call_hook, limit=bank)

    log_with(clock)
    run(reopen(), work)
    assert [when - 1000 for _, when in LOG] == [0, 6, 10, 16, 20]


def test_each_key_has_a_rate(reopen, clock):
    bank = pstore.Limiter("bank", rate=(3, 10), key_rate=(1, 20))

    async def work():
        await asyncio.gather(*(pstore.step(call_hook, key, limit=bank, limit_key=key) for key in "aaabbcc"))

    log_with(clock)
    run(reopen(), work)
    when = {key: [at - 1000 for name, at in LOG if name == key] for key in "abc"}
    assert when == {"a": [0, 20, 40], "b": [0, 20], "c": [0, 20]}


def test_attempts_are_counted(reopen, clock):
    bank = pstore.Limiter("bank", rate=(2, 100))

    def flaky():
        LOG.append(clock.now() - 1000)
        if len(LOG) < 4:
            raise OSError("no")

    use(flaky)
    run(reopen(), functools.partial(do, call_hook, limit=bank, retry=pstore.Retry(attempts=9, delay=10, factor=1)))
    assert LOG == [0, 10, 100, 110]


def test_a_crash_loop_does_not_exceed_a_rate(reopen, clock):
    """Each process starts the step and dies; the rate is that of all of them together."""
    bank = pstore.Limiter("bank", rate=(3, 100))

    def crash():
        LOG.append(clock.now() - 1000)
        engine.stop()
        if len(LOG) < 7:
            pstore.step_cancelled(wait=10)

    use(crash)
    engine = reopen()
    engine.spawn(functools.partial(do, call_hook, limit=bank), id="work")
    for _ in range(7):
        engine.run()
        engine = reopen()
    assert LOG == [0, 0, 0, 100, 100, 100, 200]


def test_a_commit_is_counted_whose_step_did_not_start(reopen, clock, monkeypatch):
    bank = pstore.Limiter("bank", rate=(1, 100))
    engine = reopen()
    engine.spawn(functools.partial(do, log_with(clock), "x", limit=bank), id="work")

    class Killed(Exception):
        pass

    def die(self):
        if engine._steps._chosen:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("pstore._engine.dispatch.Dispatcher.after_commit", die)
        engine.run()
    engine = reopen()
    engine.run(engine.tasks["work"])
    assert LOG == [("x", 1100)]


def test_a_restart_while_the_limiter_is_full(reopen, clock, monkeypatch):
    bank = pstore.Limiter("bank", rate=(2, 60))

    async def work():
        return await asyncio.gather(*(pstore.step(call_hook, n, limit=bank) for n in range(5)))

    log_with(clock)
    engine = reopen()
    engine.spawn(work, id="work")
    pause = clock.pause
    with monkeypatch.context() as patch:

        def stop_when_full(deadline, wait, *, busy):
            engine.stop() if not busy and deadline == 1060 else pause(deadline, wait, busy=busy)

        patch.setattr(clock, "pause", stop_when_full)
        engine.run()
    clock.advance(20)
    engine = reopen()
    assert engine.run(engine.tasks["work"]) == list(range(5))
    assert [when - 1000 for _, when in LOG] == [0, 0, 60, 60, 120]


def test_a_deadline_ends_the_wait_for_a_limiter(reopen, clock):
    bank = pstore.Limiter("bank", rate=(1, 1000))

    async def work():
        await pstore.step(abs, -1, limit=bank)
        await pstore.step(abs, -1, limit=bank, retry=pstore.Retry(deadline=30))

    engine = reopen()
    with pytest.raises(pstore.errors.StepTimeout, match="deadline=30"):
        run(engine, work)
    assert clock.now() == 1030
    assert engine._steps.next_deadline() is None or len(engine._steps._lines["bank"])


# -- who is next


def in_turn(reopen, work, *others, **bounds):
    """Run tasks whose steps log their argument, one at a time; gives the order."""
    pstore.Limiter("bank", **{"concurrency": 1, **bounds})
    engine = reopen()
    tasks = [engine.spawn(task) for task in (work, *others)]
    for task in tasks:
        engine.run(task)
    return LOG


def log(name):
    LOG.append(name)


async def ask(names, **options):
    await asyncio.gather(*(pstore.step(log, name, limit="bank", **options) for name in names))


def test_one_task_waits_in_order(reopen):
    assert in_turn(reopen, functools.partial(ask, "abcdefg")) == list("abcdefg")


def test_the_lower_priority_first(reopen):
    async def work():
        calls = [pstore.step(log, p, limit="bank", priority=p) for p in (3, 1, 2, 0.5, 1, -1)]
        await asyncio.gather(*calls)

    assert in_turn(reopen, work) == [-1, 0.5, 1, 1, 2, 3]


def test_started_tasks_take_turns(reopen):
    many, few = functools.partial(ask, range(100)), functools.partial(ask, "xyz")
    assert in_turn(reopen, many, few)[:7] == [0, "x", 1, "y", 2, "z", 3]


def test_a_task_and_those_that_it_made_are_one(reopen):
    async def many():
        async def one(n):
            await pstore.step(log, n, limit="bank")

        async with asyncio.TaskGroup() as group:
            for n in range(100):
                group.create_task(one(n))

    assert in_turn(reopen, many, functools.partial(ask, "xyz"))[:5] == [0, "x", 1, "y", 2]


def test_tasks_of_one_task_take_turns(reopen):
    """A server that makes a task for each client: one that asks for much delays the others by one."""

    async def server():
        await asyncio.gather(ask(range(100)), ask("xyz"))

    assert in_turn(reopen, server)[:6] == [0, "x", 1, "y", 2, "z"]


def test_keys_take_turns(reopen):
    async def work():
        keys = "aaaaaabc"
        await asyncio.gather(*(pstore.step(log, key, limit="bank", limit_key=key) for key in keys))

    assert in_turn(reopen, work) == list("abcaaaaa")


def test_a_key_at_its_bound_does_not_keep_others(reopen, clock):
    async def work():
        keys = "aaab"
        await asyncio.gather(*(pstore.step(log, key, limit="bank", limit_key=key) for key in keys))

    assert in_turn(reopen, work, key_rate=(1, 10)) == list("abaa")
    assert clock.now() == 1020


def test_functions_without_a_limiter_take_turns_at_the_threads(reopen):
    gate = threading.Event()

    def slow(name):
        LOG.append(name)
        gate.wait(10)

    async def many():
        await asyncio.gather(*(pstore.step(call_hook, n) for n in range(1000)))

    async def few():
        await pstore.step(call_hook, "x")

    use(slow)
    engine = reopen()
    first, second = engine.spawn(many), engine.spawn(few)
    threading.Timer(0.05, gate.set).start()
    engine.run(second)
    assert LOG.index("x") <= 32
    engine.run(first)


def test_run_in_executor_takes_turns_as_well(reopen):
    gate = threading.Event()

    def slow(name):
        LOG.append(name)
        gate.wait(10)

    async def client(names):
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(None, call_hook, name) for name in names))

    async def server():
        many = asyncio.create_task(client(range(1000)))
        await client("x")
        many.cancel()

    use(slow)
    engine = reopen()
    task = engine.spawn(server)
    threading.Timer(0.05, gate.set).start()
    engine.run(task)
    assert LOG.index("x") <= 32


def test_turns_go_on_after_a_restart(reopen):
    pstore.Limiter("bank", concurrency=1)

    def first(name):
        engine.stop()
        pstore.step_cancelled(wait=10)

    async def many(names):
        await asyncio.gather(*(pstore.step(call_hook, name, limit="bank") for name in names))

    use(first)
    engine = reopen()
    engine.spawn(many, range(50), id="many")
    engine.spawn(many, "xyz", id="few")
    engine.run()
    engine = reopen()
    use(log)
    engine.run(engine.tasks["few"])
    assert LOG[:6] == [0, "x", 1, "y", 2, "z"]


# -- declaring


def test_a_limiter_goes_by_its_name(reopen, clock):
    async def work():
        held = pstore.Limiter("bank", rate=(1, 10))
        await asyncio.sleep(1)  # in the frame over a restart
        await pstore.step(call_hook, limit=held)
        await pstore.step(call_hook, limit="bank")

    log_with(clock)
    run(reopen(), work)
    assert [when - 1000 for _, when in LOG] == [1, 11]


def test_one_that_nobody_declares(reopen):
    pstore.Limiter("bank", concurrency=1)
    with pytest.raises(UnknownLimiter, match=r"no limiter 'bnak'; there are: 'bank'; write pstore\.Limiter\('bnak'"):
        run(reopen(), functools.partial(do, abs, -1, limit="bnak"))
    limits_module._declared.clear()
    limits_module._declared[THREADS.name] = THREADS  # as in a process of nobody's test
    with pytest.raises(UnknownLimiter, match="there are: none"):
        run(reopen(), functools.partial(do, abs, -1, limit="bank"))


def test_the_store_knows_one_that_this_process_does_not_declare(reopen, clock):
    pstore.Limiter("bank", rate=(1, 10))
    log_with(clock)
    run(reopen(), functools.partial(do, call_hook, limit="bank"))
    limits_module._declared.clear()
    run(reopen(), functools.partial(do, call_hook, limit="bank"))
    assert [when - 1000 for _, when in LOG] == [0, 10]


def test_what_this_process_declares_holds(reopen, clock):
    pstore.Limiter("bank", rate=(1, 1000))
    log_with(clock)
    run(reopen(), functools.partial(do, call_hook, limit="bank"))
    engine = reopen()
    engine.spawn(functools.partial(do, call_hook, limit="bank"), id="work")
    engine.call_soon_threadsafe(engine.stop)
    engine.run()  # it waits, and is stored so
    pstore.Limiter("bank", rate=(1, 10))
    engine = reopen()
    engine.run(engine.tasks["work"])
    assert [when - 1000 for _, when in LOG] == [0, 10]


def test_two_modules_with_other_bounds_are_refused():
    declare = "import pstore; pstore.Limiter('bank', concurrency={})"
    exec(declare.format(1), {"__name__": "shop.bank"})
    exec(declare.format(1), {"__name__": "shop.other"})  # the same: well
    with pytest.raises(EngineError, match=r"'bank' of module shop\.third is declared with other bounds in module shop"):
        exec(declare.format(2), {"__name__": "shop.third"})
    exec(declare.format(2), {"__name__": "shop.other"})  # anew, as after a reload


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"concurrency": 0}, ValueError),
        ({"concurrency": 1.5}, ValueError),
        ({"key_concurrency": -1}, ValueError),
        ({"rate": 5}, ValueError),
        ({"rate": (0, 1)}, ValueError),
        ({"rate": (1, 0)}, ValueError),
        ({"key_rate": (1, "s")}, ValueError),
        ({"name": ""}, TypeError),
        ({"name": 3}, TypeError),
    ],
)
def test_nonsense_is_refused(wrong, kind):
    with pytest.raises(kind, match=r"pstore\.Limiter"):
        pstore.Limiter(**{"name": "bank", **wrong})


@pytest.mark.parametrize(
    "wrong", [{"limit": 3}, {"limit": ""}, {"limit_key": "a"}, {"limit": "b", "limit_key": 3}, {"priority": "high"}, {"priority": float("nan")}]
)  # fmt: skip
def test_nonsense_options_are_refused(wrong):
    with pytest.raises(TypeError, match=r"pstore\.step\(\): (limit|limit_key|priority) "):
        pstore.step(abs, -1, **wrong)


# -- killed at every commit


async def everything():
    async def some(names, **options):
        return await asyncio.gather(*(pstore.step(str.upper, n, limit="shop", **options) for n in names))

    return await asyncio.gather(some("abcd"), some("xyz", limit_key="k", priority=-1))


def test_killed_at_every_commit(tmp_path):
    pstore.Limiter("shop", concurrency=2, rate=(3, 10), key_concurrency=1, key_rate=(2, 20))
    done = list(outcomes(tmp_path / "stores", everything))
    assert len(done) > 6
    assert {repr(result) for result, _ in done} == {repr([list("ABCD"), list("XYZ")])}
    times = [end for _, end in done]
    assert times[0] == 1030
    assert all(1030 <= end <= 1090 for end in times)  # what ran when it was killed is counted again
