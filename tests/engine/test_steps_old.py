"""Steps in stores of versions that had no options, limiters, heartbeats and deadlines: as they were, they are read."""

from __future__ import annotations

import asyncio
import functools

import pytest

import pstore
from pstore._engine.effects import StepCall
from pstore._engine.outbox import Outbox, Step

OF_STEP = {"key", "fn", "args", "retry", "context", "future", "failed", "due"}
OF_CALL = {"fn", "args", "retry", "__qualname__", "_future", "_wait", "_over"}
OF_OUTBOX = {"store_id", "asked", "pending"}
hook = None


def call_hook(*args):
    return hook(*args)


def as_it_was(obj, names):
    """Take the attributes away that an older version did not have."""
    for name in obj.__dict__.keys() - names:
        delattr(obj, name)


async def work(calls):
    unasked = pstore.step(call_hook, 3)
    calls.append(unasked)
    pending = pstore.step(call_hook, 1)
    calls.append(pending)
    first = await asyncio.gather(pending, call_with_retry(calls))
    return [*first, await unasked]


async def call_with_retry(calls):
    calls.append(pstore.step(call_hook, 2, retry=pstore.Retry(attempts=2, delay=50)))
    return await calls[-1]


@pytest.fixture
def old(reopen):
    """A store in which one step is pending, one rests, and one has not been asked for."""
    global hook

    def first(n):
        if n == 2:
            raise OSError("no")
        pstore.step_cancelled(wait=10)

    hook = first
    engine = reopen()
    calls = []
    engine.spawn(work, calls, id="work")
    outbox = engine._loop.outbox

    def stop_when_resting(deadline, wait, *, busy):
        if any(step.due for step in outbox.pending.values()):
            engine.stop()
        else:
            wait(1)

    engine.clock.pause, usual = stop_when_resting, engine.clock.pause
    engine.run()
    del engine.clock.pause
    assert usual == engine.clock.pause
    for step in outbox.pending.values():
        as_it_was(step, OF_STEP)
    for call in calls:
        as_it_was(call, OF_CALL)
    as_it_was(outbox, OF_OUTBOX)
    engine.commit()
    return reopen


def test_pending_resting_and_unasked_steps_go_on(old, clock):
    global hook
    hook = functools.partial(pow, 2)
    engine = old()
    steps = list(engine._loop.outbox.pending.values())
    assert [set(vars(step)) for step in steps] == [OF_STEP] * 2
    assert [bool(step.due) for step in steps] == [False, True]
    assert engine.run(engine.tasks["work"]) == [2, 4, 8]
    assert clock.now() == 1050
    assert engine._loop.outbox.pending == {}


def test_limiters_can_be_used_in_it(old):
    global hook
    hook = abs
    limiter = pstore.Limiter("old", concurrency=1)

    async def more():
        return await pstore.step(abs, -5, limit=limiter)

    engine = old()
    assert engine.run(engine.spawn(more)) == 5
    assert "old" in old()._loop.outbox.limits


def test_the_classes_have_what_old_ones_lack():
    for cls, names in ((Step, OF_STEP), (StepCall, OF_CALL), (Outbox, OF_OUTBOX)):
        bare = object.__new__(cls)
        bare._over = True
        made = {"asker", "options"} if cls is StepCall else {"begun", "options", "details", "last", "until", "timers", "asker"}
        for name in {"limits"} if cls is Outbox else made:
            getattr(bare, name)
