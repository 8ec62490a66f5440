"""Messages into a program: durable when they are acknowledged, received once, in order, refused where nobody is."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref

import pytest

import pstore
from pstore.errors import (
    CaptureError,
    EngineClosed,
    EngineError,
    EngineInterrupted,
    EngineStopped,
    NotInEngine,
    RunFailed,
    Stalled,
    TaskDone,
    UnknownTask,
    UnsupportedValue,
)
from pstore.testing import VirtualClock


async def receive(out, count=1, timeout=None):
    for _ in range(count):
        out.append(await pstore.receive(timeout))
    return out


async def receive_from(inbox, out, count=1):
    for _ in range(count):
        out.append(await inbox.receive())


async def hold():
    await asyncio.Event().wait()


def start(engine, *args, id="receiver", fn=receive):
    return engine.spawn(fn, engine.root.setdefault("out", []), *args, id=id)


# -- sending from the host


def test_a_message_is_received(reopen):
    engine = reopen()
    task = start(engine)
    receipt = engine.send("receiver", {"n": 1})
    assert not receipt.done()
    assert engine.run(task) == [{"n": 1}]
    assert receipt.result(0) is True


def test_messages_are_received_in_the_order_in_which_they_were_sent(reopen):
    engine = reopen()
    task = start(engine, 100)
    for n in range(100):
        engine.send(task, n)
    assert engine.run(task) == list(range(100))


def test_a_message_that_was_acknowledged_is_there_after_a_restart(reopen):
    engine = reopen()
    engine.spawn(hold, id="other")
    start(engine, fn=_late)
    receipt = engine.send("receiver", "word")
    engine.call_soon_threadsafe(engine.stop)
    engine.run()
    assert receipt.result(0) is True
    engine = reopen()
    assert engine.run(engine.tasks["receiver"]) == ["word"]
    assert len(engine.tasks["receiver"].inbox) == 0


async def _late(out):
    await asyncio.sleep(10)
    out.append(await pstore.receive())
    return out


def test_a_receiver_that_waits_goes_on_after_a_restart(reopen):
    engine = reopen()
    start(engine, 3)
    for n in range(3):
        assert engine.run() == [engine.tasks["receiver"]]
        engine = reopen()
        engine.send("receiver", n)
    engine.run()
    assert engine.tasks["receiver"].result() == [0, 1, 2]


def test_a_message_from_outside_is_a_copy(reopen):
    engine = reopen()
    task, message = start(engine), {"items": [1]}
    engine.send(task, message)
    message["items"].append(2)
    assert engine.run(task) == [{"items": [1]}]
    assert engine.run(task)[0] is not message


def test_what_belongs_to_the_program_is_no_message(reopen):
    engine = reopen()
    task = start(engine)
    for message in (task, [engine._loop], {"inbox": engine.root.setdefault("used", pstore.Inbox())}, threading.Lock()):
        if isinstance(message, dict):
            engine.send("used", 1)
            engine.run()
        with pytest.raises(CaptureError):
            engine.send(task, message)


@pytest.mark.parametrize("shape", ["message", "message['a'][1]"])
def test_a_refusal_has_the_path_in_the_message(reopen, shape):
    lock = threading.Lock()
    with pytest.raises(UnsupportedValue) as caught:
        reopen().send("receiver", lock if shape == "message" else {"a": [1, lock]})
    assert caught.value.path == shape
    assert f"cannot store _thread.lock at {shape}: " in str(caught.value)


def test_a_message_to_nobody_is_an_error(reopen):
    engine = reopen()
    task = start(engine, 0)
    receipts = [engine.send("nobody", 1)]
    engine.run(task)
    receipts.append(engine.send("receiver", 1))
    receipts.append(engine.send(task, 1))
    receipts.append(engine.send(17, 1))
    engine.run()
    with pytest.raises(UnknownTask, match="no task 'nobody'"):
        receipts[0].result(0)
    for receipt in receipts[1:3]:
        with pytest.raises(TaskDone, match="'receiver' is done"):
            receipt.result(0)
    with pytest.raises(TypeError, match="not to 17"):
        receipts[3].result(0)


def test_a_task_of_another_engine_is_refused(reopen):
    engine = reopen()
    with pstore.open("memory:") as other:
        receipt = engine.send(other.spawn(hold), 1)
    engine.run()
    with pytest.raises(EngineError, match="does not belong"):
        receipt.result(0)


def test_closing_answers_what_is_open(reopen):
    engine = reopen()
    start(engine)
    receipt, future = engine.send("receiver", 1), engine.future("receiver")
    reopen()
    with pytest.raises(EngineClosed):
        receipt.result(0)
    with pytest.raises(EngineClosed):
        future.result(0)
    with pytest.raises(EngineClosed):
        engine.send("receiver", 1)


def test_messages_from_threads_while_the_engine_runs():
    with pstore.open("memory:") as engine:
        task = engine.spawn(receive, [], 200)
        news = []

        def send(first):
            news.extend(engine.send(task, first + n, id=str(first + n)).result(30) for n in range(50))

        threads = [threading.Thread(target=send, args=(first,)) for first in range(0, 200, 50)]
        for thread in threads:
            thread.start()
        received = engine.run(task, forever=True)
        engine.call_soon_threadsafe(lambda: None)
        engine.run()
        for thread in threads:
            thread.join()
    assert news == [True] * 200
    assert sorted(received) == list(range(200))
    for first in range(0, 200, 50):
        assert [n for n in received if first <= n < first + 50] == list(range(first, first + 50))


def test_the_receipt_comes_after_the_commit(reopen, monkeypatch):
    engine, persist, seen = reopen(), pstore.Store.persist, []
    start(engine)
    receipt = engine.send("receiver", 1)

    def slow_persist(store, note=None):
        done = receipt.done()
        time.sleep(0.005)
        seen.append((len(engine.root["out"]), done, receipt.done()))
        return persist(store, note)

    monkeypatch.setattr(pstore.Store, "persist", slow_persist)
    engine.run()
    assert (1, False, False) in seen
    assert receipt.done()


def test_a_refused_commit_acknowledges_nothing(reopen):
    engine = reopen()
    start(engine)
    engine.root["lock"] = threading.Lock()
    receipt = engine.send("receiver", 1, id="a")
    with pytest.raises(CaptureError) as refused:
        engine.run()
    with pytest.raises(RunFailed, match="not known to be committed, as .* ended with UnsupportedValue: cannot") as told:
        receipt.result(0)
    assert told.value.__cause__ is refused.value
    del engine.root["lock"]
    again = engine.send("receiver", 1, id="a")
    engine.run()
    assert again.result(0) is False  # the next run did what it was asked, once
    assert engine.root["out"] == [1]


def test_a_run_that_fails_answers_all_that_is_open(reopen):
    """Also who waits for a task, and whose request was not even begun."""
    engine = reopen()
    start(engine)

    def break_and_send():
        engine.root["lock"] = threading.Lock()
        receipts.append(engine.send("receiver", "late", id="late"))

    receipts = [engine.call(break_and_send), engine.wait("receiver"), engine.future(engine.tasks["receiver"])]
    with pytest.raises(CaptureError):
        engine.run()
    for receipt in receipts:
        with pytest.raises(RunFailed):
            receipt.result(0)
    assert len(receipts) == 4
    assert not engine._open
    del engine.root["lock"]
    asked_while_nobody_runs = engine.wait("receiver")
    assert engine.run(engine.tasks["receiver"]) == ["late"]
    assert asked_while_nobody_runs.result(0) == ["late"]


def test_a_run_that_ends_as_it_should_answers_nothing(reopen):
    engine = reopen()
    task = start(engine)
    receipt, nested = engine.wait(task), engine.call(engine.run)
    assert engine.run() == [task]
    with pytest.raises(EngineError, match="running already"):
        nested.result(0)
    with pytest.raises(Stalled):
        engine.run(task)
    with pytest.raises(ZeroDivisionError):
        engine.run(engine.spawn(divide))
    engine.call_soon_threadsafe(engine.stop)
    with pytest.raises(EngineStopped):
        engine.run(engine.tasks["receiver"])
    assert not receipt.done()
    engine.send(task, 1)
    engine.run()
    assert receipt.result(0) == [1]


async def divide():
    1 / 0


def test_a_thread_that_waits_learns_that_the_run_has_failed(reopen):
    engine = reopen()
    start(engine)
    errors = []

    def run():
        try:
            engine.run(forever=True)
        except CaptureError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    waiting = engine.wait("receiver")
    broken = engine.call(lambda: engine.root.update(lock=threading.Lock()))
    for receipt in (broken, waiting):
        with pytest.raises(RunFailed):
            receipt.result(30)
    thread.join()
    assert len(errors) == 1
    assert [task.id for task in engine.find()] == ["receiver"]


def test_an_engine_that_commits_no_more_takes_no_requests(reopen):
    async def leave():
        raise SystemExit(3)

    engine = reopen()
    start(engine)
    receipt = engine.send("receiver", 1)
    engine.spawn(leave)
    with pytest.raises(SystemExit):
        engine.run()
    with pytest.raises(RunFailed, match="SystemExit: 3"):
        receipt.result(0)
    for ask in (lambda: engine.send("receiver", 1), lambda: engine.wait("receiver"), lambda: engine.call(len, "a")):
        with pytest.raises(EngineInterrupted):
            ask()
    assert [task.id for task in engine.find(state="active")] == ["receiver"]


# -- once


def test_a_message_under_the_same_id_is_taken_once(reopen):
    engine = reopen()
    start(engine, 2)
    first, again = engine.send("receiver", 1, id="a"), engine.send("receiver", 1, id="a")
    engine.run()
    assert (first.result(0), again.result(0)) == (True, False)
    engine = reopen()
    again, other = engine.send("receiver", 1, id="a"), engine.send("receiver", 2, id="b")
    engine.run()
    assert (again.result(0), other.result(0)) == (False, True)
    assert engine.tasks["receiver"].result() == [1, 2]
    late = engine.send("receiver", 2, id="b")  # the task is done, and had it
    engine.run()
    assert late.result(0) is False


def test_an_id_is_a_text(reopen):
    engine = reopen()
    start(engine)
    with pytest.raises(TypeError, match="the id of a message is a text, got 7"):
        engine.send("receiver", 1, id=7)
    assert engine._loop.inbox.empty()


def test_ids_are_known_for_a_count(reopen, clock):
    engine = reopen()
    inbox = engine.root["inbox"] = pstore.Inbox(count=2)
    receipts = [engine.send(inbox, n, id=id) for n, id in enumerate("abab" + "c" + "bca")]
    engine.run()
    assert [receipt.result(0) for receipt in receipts] == [True, True, False, False, True, False, False, True]
    assert len(inbox) == 4


def test_ids_are_known_for_some_seconds(reopen, clock):
    engine = reopen()
    inbox = engine.root["inbox"] = pstore.Inbox(count=None, seconds=60)
    new = []
    for _ in range(4):
        receipt = engine.send(inbox, 1, id="a")
        engine.run()
        new.append(receipt.result(0))
        clock.advance(40)
        if len(new) == 2:
            engine = reopen()
            inbox = engine.root["inbox"]
    assert new == [True, False, True, False]


def test_a_window_has_an_end():
    with pytest.raises(ValueError, match="without an end"):
        pstore.Inbox(count=None)


def test_a_window_stays_near_its_count():
    with pstore.open("memory:", clock=VirtualClock()) as engine:
        inbox = engine.root["inbox"] = pstore.Inbox(count=100)
        for n in range(1000):
            engine.send(inbox, n, id=str(n))
        engine.run()
        assert 100 <= len(inbox.known) <= 113


# -- inboxes


def test_an_inbox_is_shared_by_name(reopen):
    engine = reopen()
    inbox = engine.root["approvals"] = pstore.Inbox()
    out = engine.root["out"] = []
    engine.spawn(receive_from, inbox, out, 3)
    engine.send("approvals", 1)
    engine.send(inbox, 2)
    engine.run()
    engine = reopen()
    engine.send("approvals", 3)
    engine.run()
    assert engine.root["out"] == [1, 2, 3]
    assert repr(engine.root["approvals"]) == "<pstore.Inbox messages=0 receivers=0>"


def test_an_inbox_is_iterated_over(reopen):
    async def follow(inbox, out):
        async for message in inbox:
            out.append(message)
            if message == "end":
                return

    engine = reopen()
    inbox = engine.root["inbox"] = pstore.Inbox()
    engine.spawn(follow, inbox, engine.root.setdefault("out", []), id="follow")
    for message in ("one", "two", "end", "more"):
        engine.send("inbox", message)
        engine.run()
        engine = reopen()
    assert engine.root["out"] == ["one", "two", "end"]
    assert len(engine.root["inbox"]) == 1
    assert engine.root["inbox"]


def test_many_receivers_share_the_messages(reopen):
    engine = reopen()
    inbox = engine.root["inbox"] = pstore.Inbox()
    outs = engine.root["outs"] = [[] for _ in range(3)]
    for out in outs:
        engine.spawn(receive_from, inbox, out, 4)
    engine.run()
    for n in range(12):
        engine.send("inbox", n)
    assert engine.run() == []
    assert sorted(sum(outs, [])) == list(range(12))


@pytest.mark.parametrize("after", [0, 5])
def test_who_gives_up_takes_no_message_along(reopen, after):
    async def impatient(inbox):
        try:
            async with asyncio.timeout(5):
                return await inbox.receive()
        except TimeoutError:
            return "gave up"

    async def send_later(inbox, seconds):
        await asyncio.sleep(seconds)
        pstore.send(inbox, "word")

    engine = reopen()
    inbox = engine.root["inbox"] = pstore.Inbox()
    first, second = engine.spawn(impatient, inbox), engine.spawn(receive_from, inbox, engine.root.setdefault("out", []))
    engine.spawn(send_later, inbox, after)
    engine.run()
    got = first.result()
    assert (got, engine.root["out"]) in (("word", []), ("gave up", ["word"]))
    assert second.done() == (got == "gave up")


def test_a_cancelled_receiver_passes_the_message_on(reopen):
    engine = reopen()
    inbox = engine.root["inbox"] = pstore.Inbox()
    out = engine.root["out"] = []
    first, second = (engine.spawn(receive_from, inbox, out) for _ in range(2))
    engine.run()

    def send_and_cancel():
        pstore.send(inbox, "word")
        first.cancel()

    engine.call_soon_threadsafe(send_and_cancel)
    engine.run()
    assert first.cancelled()
    assert second.done()
    assert out == ["word"]


@pytest.mark.parametrize("restart", [False, True])
def test_a_timeout(reopen, clock, restart):
    async def patient(out):
        try:
            await pstore.receive(timeout=60)
        except TimeoutError as error:
            out.append((str(error), pstore.now()))

    engine = reopen()
    task = start(engine, fn=patient)
    if restart:
        engine.call_soon_threadsafe(engine.stop)
        engine.run()
        engine = reopen()
        task = engine.tasks["receiver"]
    engine.run(task)
    assert engine.root["out"] == [("no message came in 60 s", 1060.0)]


def test_a_message_that_comes_in_time_ends_the_timeout(reopen, clock):
    engine = reopen()
    task = start(engine, 2, 60)
    engine.send(task, 1)
    engine.send(task, 2)
    assert engine.run(task) == [1, 2]
    assert clock.now() == 1000
    assert engine._loop.next_deadline() is None


def test_a_timeout_of_nothing_asks_once(reopen):
    async def poll():
        with pytest.raises(TimeoutError):
            await pstore.receive(timeout=0)
        pstore.send(asyncio.current_task(), "now")
        return await pstore.receive(timeout=0)

    engine = reopen()
    assert engine.run(engine.spawn(poll)) == "now"


def test_receiving_within_what_asyncio_has(reopen):
    async def work():
        one = await asyncio.wait_for(pstore.receive(), 5)
        two, three = await asyncio.gather(asyncio.create_task(pstore.receive()), pstore.receive())
        return one, two, three

    engine = reopen()
    task = engine.spawn(work, id="work")
    for n in range(3):
        engine.call_soon_threadsafe(engine.stop)  # before the clock jumps to the timeout
        engine.run()
        engine = reopen()
        engine.send("work", n)
    assert engine.run(engine.tasks["work"]) == (0, 1, 2)


def test_a_receive_is_awaited_once(reopen):
    async def work():
        call = pstore.receive()
        pstore.send("work", 1)
        assert await call == 1
        await call

    engine = reopen()
    with pytest.raises(RuntimeError, match="awaited already"):
        engine.run(engine.spawn(work, id="work"))


# -- sending from tasks


def test_tasks_send_to_tasks(reopen):
    async def ping(count):
        for n in range(count):
            pstore.send("pong", n, id=str(n))
            assert not pstore.send("pong", n, id=str(n))
            assert await pstore.receive() == n * n
        pstore.send("pong", None)

    async def pong():
        async for n in pstore.inbox():
            if n is None:
                return
            pstore.send("ping", n * n)

    engine = reopen()
    engine.spawn(ping, 5, id="ping")
    engine.spawn(pong, id="pong")
    assert engine.run() == []


def test_a_message_of_a_task_is_in_the_commit_of_what_it_does(reopen):
    async def work(out):
        out.append("sent")
        pstore.send("receiver", out)
        raise KeyboardInterrupt

    engine = reopen()
    start(engine)
    engine.spawn(work, engine.root["out"], id="work")
    with pytest.raises(KeyboardInterrupt):
        engine.run()
    engine = reopen()
    assert engine.root["out"] == []
    assert engine.tasks["receiver"].get_coro().cr_frame is not None


def test_tasks_share_what_they_send(reopen):
    async def work(shared):
        pstore.send("receiver", shared)

    engine = reopen()
    start(engine)
    shared = engine.root["shared"] = [1]
    engine.spawn(work, shared)
    engine.run()
    engine = reopen()
    assert engine.root["out"][0] is engine.root["shared"]


def test_nor_does_a_task_send_under_a_number():
    async def work():
        with pytest.raises(TypeError, match="the id of a message is a text, got 7"):
            pstore.send("work", 1, id=7)
        return 1

    with pstore.open("memory:") as engine:
        assert engine.run(engine.spawn(work, id="work")) == 1


def test_a_task_that_sends_to_nobody_gets_the_error(reopen):
    async def work():
        with pytest.raises(UnknownTask):
            pstore.send("nobody", 1)
        return "went on"

    engine = reopen()
    assert engine.run(engine.spawn(work)) == "went on"


@pytest.mark.parametrize("call", [pstore.receive, pstore.inbox, lambda: pstore.send("x", 1)])
def test_outside_of_tasks(reopen, call):
    with pytest.raises(NotInEngine, match="outside the tasks"):
        call()


def test_in_a_callback_there_is_no_inbox(reopen):
    engine, caught = reopen(), []

    def callback():
        with pytest.raises(NotInEngine) as error:
            pstore.receive()
        caught.append(str(error.value))

    engine.call_soon_threadsafe(callback)
    engine.run()
    assert caught == ["pstore.receive() was called in a callback of the loop; call it in a task"]


def test_the_inbox_of_a_task_goes_with_it(reopen):
    engine = reopen()
    engine.spawn(receive, [])
    kept = start(engine, fn=receive)
    engine.send("Task-1", 1)
    engine.send(kept, 1, id="a")
    engine.run()
    inbox = weakref.ref(engine.tasks["receiver"].inbox)
    del kept
    engine.forget("receiver")
    engine.commit()
    assert inbox() is None
    start(engine, fn=receive)
    again = engine.send("receiver", 1, id="a")
    engine.run()
    assert again.result(0) is True  # another task, to which it is new


async def take(inbox, count):
    for _ in range(count):
        await inbox.receive()
        await pstore.committed()


def test_to_take_one_of_many_messages_does_not_write_them_all(tmp_path):
    path = tmp_path / "many.fs"
    with pstore.open(path, durability="os") as engine:
        inbox = engine.root["inbox"] = pstore.Inbox()
        for n in range(4000):
            engine.send("inbox", {"n": n, "text": f"message {n} " * 10})
        engine.run()
        before = path.stat().st_size
        engine.run(engine.spawn(take, inbox, 50))
        written = (path.stat().st_size - before) / 50
    with pstore.open(path) as engine:
        inbox = engine.root["inbox"]
        assert len(inbox) == 3950
        assert engine.run(engine.spawn(receive_from, inbox, out := [], 3950)) is None
        assert [message["n"] for message in out] == list(range(50, 4000))
    assert written < 25_000


# -- receipts


def test_a_receipt_in_a_coroutine_of_the_host():
    with pstore.open("memory:") as engine:
        task = engine.spawn(receive, [], 2)
        thread = threading.Thread(target=engine.run, kwargs={"forever": True})

        async def main():
            thread.start()
            assert await engine.send(task, 1) is True
            with pytest.raises(UnknownTask):
                await engine.send("nobody", 1)
            assert await engine.send(task, 2) is True
            return await engine.wait(task)

        assert asyncio.run(main()) == [1, 2]
        engine.stop()
        thread.join()


def test_a_receipt_is_not_for_tasks(reopen):
    engine = reopen()
    receipt = engine.send("x", 1)

    async def work():
        with pytest.raises(NotInEngine):
            await receipt

    engine.call_soon_threadsafe(engine._loop.create_task, work())
    engine.run()
    with pytest.raises(UnknownTask):
        receipt.result(0)


def test_cancelling_a_receipt_takes_nothing_back(reopen):
    engine = reopen()
    task = start(engine)
    engine.send(task, 1).cancel()
    assert engine.run(task) == [1]


def test_calls_are_made_in_the_thread_of_the_engine():
    with pstore.open("memory:") as engine:
        items = engine.root["items"] = [1]
        threads = []
        items_and_lock = engine.call(lambda: [items, threading.Lock()])

        def look(n):
            threads.append(threading.get_ident())
            items.append(n)
            return items

        receipt, wrong = engine.call(look, 2), engine.call(len, 5)
        engine.run()
        assert receipt.result(0) == [1, 2]
        assert receipt.result(0) is not items
        assert threads == [threading.get_ident()]
        with pytest.raises(TypeError):
            wrong.result(0)
        with pytest.raises(UnsupportedValue, match=r" at result\[1\]: "):
            items_and_lock.result(0)
