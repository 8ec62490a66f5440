"""Lines and windows by themselves: against the plainest model of each, and what they cost."""

from __future__ import annotations

import copy
import gc
import time
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pstore._engine import limits as limits_module
from pstore._engine.limits import Limiter, Limits, Window
from pstore._engine.lines import Line
from pstore._engine.options import Options


@pytest.fixture(autouse=True)
def _nothing_declared(monkeypatch):
    monkeypatch.setattr(limits_module, "_declared", {})


def line(**bounds):
    limits_module._declared.clear()
    return Line(Limits(Limiter("bank", **bounds)))


def step(name, key=None, priority=0, asker=("", "")):
    done = []
    return SimpleNamespace(
        name=name,
        options=Options(limit="bank", limit_key=key, priority=priority),
        asker=asker,
        cancel=lambda: done.append(1),
        future=SimpleNamespace(done=lambda: bool(done)),
    )


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 200), st.floats(0.5, 100), st.lists(st.floats(0, 3), max_size=300))
def test_a_window_never_lets_more_go_than_the_rate(most, seconds, pauses):
    window, now, starts = Window(), 0.0, []
    for pause in pauses:
        now += pause
        if window.free_at((most, seconds), now) <= now:
            window.add((most, seconds), now)
            starts.append(now)
    for first in starts:
        assert sum(first <= start < first + seconds for start in starts) <= most
    assert len(window.starts) <= window.PARTS + 1


@settings(deadline=None, max_examples=60)
@given(st.integers(1, Window.PARTS), st.floats(0.5, 100), st.lists(st.floats(0, 3), max_size=200))
def test_a_window_of_few_is_exact(most, seconds, pauses):
    window, now, starts = Window(), 0.0, []
    for pause in pauses:
        now += pause
        may = sum(now < start + seconds for start in starts) < most
        free = window.free_at((most, seconds), now)
        assert (free <= now) == may
        if may:
            window.add((most, seconds), now)
            starts.append(now)
        else:
            assert copy.deepcopy(window).free_at((most, seconds), free) <= free


def test_windows_of_quiet_keys_are_dropped():
    limits_module._declared.clear()
    limits = Limits(Limiter("bank", key_rate=(1, 10)))
    for n in range(10_000):
        limits.add(str(n), n)
    assert len(limits.keys) < 200


_steps = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([0, 1]), st.sampled_from("xy"), st.booleans()), max_size=60
)


@settings(deadline=None, max_examples=60)
@given(_steps, st.integers(1, 4), st.integers(1, 2), st.randoms(use_true_random=False))
def test_everybody_comes_once_and_bounds_hold(asked, most, of_key, random):
    waiting = line(concurrency=most, key_concurrency=of_key)
    steps = [step(n, key, priority, (task, "")) for n, (key, priority, task, _) in enumerate(asked)]
    out, running = [], []
    todo = list(steps)
    while todo or running or any(waiting):
        if todo and random.random() < 0.5:
            waiting.push(todo.pop(0))
            continue
        taken = waiting.take(0.0)
        if taken is not None:
            out.append(taken.name)
            running.append(taken)
        elif running:
            waiting.release(running.pop(random.randrange(len(running))))
        assert len(running) == waiting.running <= most
        keys = [each.options.limit_key for each in running]
        assert all(keys.count(key) <= of_key for key in keys)
    assert sorted(out) == list(range(len(steps)))


@settings(deadline=None, max_examples=60)
@given(_steps)
def test_the_order_is_by_priority_and_for_each_asker_that_of_asking(asked):
    waiting, out = line(), []
    for n, (key, priority, task, cancelled) in enumerate(asked):
        each = step((priority, key, task, n), key, priority, (task, ""))
        waiting.push(each)
        if cancelled:
            each.cancel()
            waiting.note_dropped()
    while (taken := waiting.take(0.0)) is not None:
        out.append(taken.name)
    assert len(waiting) == 0
    assert len(out) == sum(not cancelled for *_, cancelled in asked)
    assert [priority for priority, *_ in out] == sorted(priority for priority, *_ in out)
    for who in {name[:3] for name in out}:
        assert [name[3] for name in out if name[:3] == who] == sorted(name[3] for name in out if name[:3] == who)


def test_turns_are_taken_however_many_there_are():
    waiting = line()
    for n in range(1000):
        waiting.push(step(("a", n), "a"))
    for n in range(3):
        waiting.push(step(("b", n), "b"))
    out = [waiting.take(0.0).name[0] for _ in range(8)]
    assert "".join(out) == "abababaa"


def test_many_that_were_cancelled_are_let_go_of():
    waiting = line(concurrency=1)
    first = step("first")
    waiting.push(first)
    assert waiting.take(0.0) is first
    for n in range(10_000):
        each = step(n, str(n))
        waiting.push(each)
        each.cancel()
        waiting.note_dropped()
        assert len(waiting) <= 2 * Line.COMPACT_AT


@pytest.mark.parametrize("bounds", [{}, {"key_concurrency": 1}, {"rate": (10**6, 1)}, {"key_rate": (100, 1)}])
def test_one_of_many_costs_what_one_of_few_does(bounds):
    def cost(count):
        waiting = line(concurrency=5, **bounds)
        for n in range(count):
            waiting.push(step(n, str(n % 100), n % 3))
        begin = time.perf_counter()
        for _ in range(300):
            waiting.release(waiting.take(0.0))
        return time.perf_counter() - begin

    gc.disable()
    try:
        few, many = (min(cost(count) for _ in range(2)) for count in (500, 20_000))
    finally:
        gc.enable()
    assert many < 12 * few + 0.001


def test_a_key_that_waits_for_its_rate_wakes_the_line():
    waiting = line(key_rate=(1, 10), rate=(5, 100))
    for n in range(3):
        waiting.push(step(n, "a"))
    assert waiting.take(0.0).name == 0
    assert (waiting.take(0.0), waiting.wake) == (None, 10.0)
    assert waiting.take(10.0).name == 1
    assert (waiting.take(15.0), waiting.wake) == (None, 20.0)
