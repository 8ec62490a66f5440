"""What engine 1 had besides `basis`: options of steps, messages, letters, tags, queries, schedules.  NEVER CHANGE
anything that is here, as there.
"""

import asyncio

import pstore

from . import basis
from .basis import note, outside

limiter = pstore.Limiter("tests.engine.golden", concurrency=1, rate=(3, 100))
PARTS = []


def part(fn):
    PARTS.append(fn)
    return fn


@pstore.step(retry=pstore.Retry(attempts=4, delay=60, jitter=0, deadline=5000), timeout=3600)
def decorated(what, *args):
    return outside(what, *args)


def beating(what):
    told = pstore.heartbeat_details("nothing")
    pstore.heartbeat("details")
    return outside(what, told)


def fail(what):
    raise OSError(what)


def keyed(what):
    return outside(what, pstore.step_key())


def letter(payload):
    outside(payload)
    delivered.append((pstore.step_key(), payload))


def named(payload):
    outside(payload)
    delivered.append((pstore.step_key(), payload))


delivered = []  # of this process


# -- options of steps


@part
async def limited(out):  # when they start depends on how often the program is killed
    async def one(n):
        out.append(await pstore.step(outside, "held", n, limit=limiter))

    await asyncio.gather(*[one(n) for n in range(5)])


@part
async def limited_by_name(out):
    out.append(await pstore.step(outside, "free", limit="tests.engine.golden", limit_key="key", priority=1))


@part
async def decorated_step(out):
    note(out, await asyncio.gather(decorated("held", 1), decorated("failing", 2), decorated("free", 3)))
    note(out, await decorated.with_options(key="key of decorated")("free", 4))


@part
async def decorated_unasked(out):
    later = decorated("free", 1)
    await asyncio.sleep(20)
    note(out, await later)


@part
async def heartbeats(out):
    note(out, await pstore.step(beating, "held", heartbeat=3600))


@part
async def keys(out):
    note(out, await pstore.step(keyed, "held", key="key of keyed"))


@part
async def past_the_deadline(out):
    retry = pstore.Retry(attempts=None, delay=30, deadline=80)
    steps = [
        pstore.step(outside, "free", limit=limiter, priority=9, retry=retry),
        pstore.step(fail, "again and again", retry=retry),
    ]
    note(out, [repr(error).partition(" [")[0] for error in await asyncio.gather(*steps, return_exceptions=True)])


# -- messages


@part
async def receiving(out):
    await asyncio.sleep(20)
    for _ in range(3):
        note(out, await pstore.receive())
    try:
        await pstore.receive(timeout=30)
    except TimeoutError:
        note(out, "nothing")


@part
async def receiving_in_time(out):
    note(out, await pstore.receive(timeout=100))
    try:
        await pstore.receive(timeout=100)
    except TimeoutError:
        note(out, "nothing")


@part
async def too_late_to_receive(out):
    try:
        await pstore.receive(timeout=30)
    except TimeoutError:
        note(out, "nothing")


async def from_inbox(inbox, out):
    async for message in inbox:
        note(out, message)
        if message == "end":
            return


@part
async def sending(out):
    await asyncio.sleep(30)
    note(out, pstore.send("receiving_in_time", "late"))
    note(out, pstore.send("receiving", "first", id="first"), pstore.send("receiving", "second", id="second"))
    note(out, pstore.send("receiving", "third"))


# -- letters


@part
async def posting(out):
    for n in range(2):
        note(out, pstore.post(letter, "held", id=f"held {n}"))
    note(out, pstore.post("golden", "failing", id="failing", retry=pstore.Retry(attempts=3, delay=40)))
    note(out, pstore.post("golden", "free", id="behind"))
    note(out, pstore.post("nobody", "free", id="parked"))
    await asyncio.sleep(20)
    note(out, pstore.post("golden", "free", id="late"))


# -- tags, queries, schedules


@part
async def tagged(out):
    pstore.tag(colour="red", number=1)
    count = 7
    pstore.query("count", lambda more: count + more)
    await asyncio.sleep(20)
    count = 8
    pstore.tag(colour=None, number=2)
    await asyncio.sleep(2000)
    note(out, count)


async def scheduled(out):
    note(out, pstore.scheduled_at())
    await asyncio.sleep(5)


async def end_schedules(schedules):
    await asyncio.sleep(200)
    for schedule in schedules:
        schedule.delete()


async def resume(schedule):
    await asyncio.sleep(100)
    schedule.resume()


@part
async def committing(out):
    for n in range(3):
        await asyncio.sleep(6)
        note(out, n, await pstore.committed())


def begin(engine, outs):
    basis.begin(engine, outs)
    for fn in PARTS:
        engine.spawn(fn, outs.setdefault(fn.__name__, []), id=fn.__name__, tags={"part": True})
    inbox = engine.root["inbox"] = pstore.Inbox(count=100)
    engine.spawn(from_inbox, inbox, outs.setdefault("from_inbox", []), id="from_inbox")
    at = outs["scheduled"] = []
    every = engine.schedule("every", 30, scheduled, at, catch_up="all")
    paused = engine.schedule("paused", 45, scheduled, outs.setdefault("paused", []))
    paused.pause()
    engine.spawn(end_schedules, [every, paused], id="end_schedules")
    engine.spawn(resume, paused, id="resume")
    serve(engine)


def leave_off(engine, outs):
    basis.leave_off(engine, outs)
    deliver = engine._loop.services.mail.deliver
    for message in ("first", "second"):
        deliver(engine._loop, "receiving", message, message, engine.root)
    for message in ("hello", "end"):
        deliver(engine._loop, "inbox", message, None, engine.root)


def serve(engine):
    """What the host has to do in each process."""
    engine.deliver("golden", named)


def found(engine, outs):
    found = basis.found(engine, outs)
    found["dead"] = [(each.id, each.failed, each.error) for each in engine.dead_letters]
    found["lanes"] = {name: len(lane.letters) for name, lane in engine._loop.services.deliveries.lanes.items()}
    found["schedules"] = sorted(engine.schedules)
    found["tagged"] = sorted(task.id for task in engine.find(tag={"number": 2}))
    found["found"] = sorted(task.id for task in engine.find(state="finished"))
    found["limits"] = sorted(engine._loop.outbox.limits or () if hasattr(engine._loop.outbox, "limits") else engine._loop.state.limits)
    return found
