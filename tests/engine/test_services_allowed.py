"""What a store has of messages, letters, questions, tags and schedules needs no entry in its allow-list."""

from __future__ import annotations

import asyncio

import pstore


def publish(payload):
    raise OSError("away")


async def work(inbox):
    pstore.tag(kind="work")
    pstore.query("len", lambda: len(inbox))
    pstore.post("nobody", {"a": 1})
    pstore.post(publish, {"b": 2}, retry=pstore.Retry(attempts=1))
    got = [await pstore.receive()]
    try:
        got.append(await pstore.receive(timeout=1000))
    except TimeoutError:
        await pstore.committed()
    return got


async def tick():
    await asyncio.sleep(5)


def test_all_of_it_comes_back(tmp_path, clock):
    def opened():
        return pstore.open(tmp_path / "x.fs", clock=clock, allow=[__name__])

    with opened() as engine:
        inbox = engine.root["inbox"] = pstore.Inbox()
        engine.spawn(work, inbox, id="work")
        engine.schedule("tick", 700, tick)
        engine.send("inbox", 1, id="a")
        engine.send("work", [1], id="a")
        engine.run(engine.spawn(asyncio.sleep, 703))
    with opened() as engine:
        assert engine.query("work", "len") == 1
        assert [task.id for task in engine.find(tag={"kind": "work"})] == ["work"]
        assert len(engine.dead_letters) == 1
        assert len(engine.find(tag={"schedule": "tick"})) == 1
        assert not engine.send("work", [1], id="a").done()
        assert engine.run(engine.tasks["work"]) == [[1]]
