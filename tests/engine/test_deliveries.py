"""Letters: after the commit, at least once under one id, in order for each destination, dead when nothing helps."""

from __future__ import annotations

import asyncio
import math
import threading
import time

import pytest

import pstore
from pstore.errors import CaptureError, NotInEngine
from pstore.testing import VirtualClock
from tests.engine.restarts import run_to_the_second_commit

SENT = []
FAILING = []


@pytest.fixture(autouse=True)
def _nothing_sent():
    SENT.clear()
    FAILING.clear()


def deliver(payload):
    SENT.append((payload, pstore.step_key()))
    if FAILING:
        raise FAILING.pop(0)
    return threading.Lock()  # of no interest


async def deliver_later(payload):
    await asyncio.sleep(0.001)
    return deliver(payload)


class Client:
    def publish(self, payload):
        deliver(("client", payload))


async def post(*payloads, to=deliver, **options):
    return [pstore.post(to, payload, **options) for payload in payloads]


async def post_to(to, *payloads):
    return [pstore.post(to, payload) for payload in payloads]


def payloads():
    return [payload for payload, _ in SENT]


@pytest.mark.parametrize("to", [deliver, deliver_later])
def test_letters_leave_in_order_each_under_an_id(reopen, to):
    engine = reopen()
    ids = engine.run(engine.spawn(post_to, to, *range(5)))
    assert engine.run() == []
    assert [(n, id) for n, id in enumerate(ids)] == SENT
    assert len(set(ids)) == 5
    assert not engine._loop.services.deliveries.lanes
    assert not engine.dead_letters


def test_a_letter_leaves_after_the_commit(reopen, monkeypatch):
    engine, persist, seen = reopen(), pstore.Store.persist, []

    def slow_persist(store, note=None):
        time.sleep(0.005)
        seen.append((len(store.parts["loop"].services.deliveries.lanes), len(SENT)))
        return persist(store, note)

    monkeypatch.setattr(pstore.Store, "persist", slow_persist)
    engine.spawn(post, 1)
    engine.run()
    assert (1, 0) in seen
    assert (0, 1) in seen


def test_what_was_not_committed_does_not_leave(reopen):
    async def work():
        pstore.post(deliver, 1)
        raise KeyboardInterrupt

    engine = reopen()
    engine.spawn(work)
    with pytest.raises(KeyboardInterrupt):
        engine.run()
    engine = reopen()
    assert SENT == []


def test_an_id_of_ones_own_is_what_the_function_is_told(reopen):
    async def work():
        return pstore.post(deliver, 1, id="order-17")

    engine = reopen()
    assert engine.run(engine.spawn(work)) == "order-17"
    engine.run()
    assert SENT == [(1, "order-17")]


def test_a_payload_is_what_it_was_when_it_was_posted(reopen):
    async def work():
        items = [1]
        pstore.post(deliver, items)
        items.append(2)

    engine = reopen()
    engine.spawn(work)
    engine.run()
    assert payloads() == [[1]]


def test_a_name_has_a_function_of_the_process(reopen):
    engine = reopen()
    engine.spawn(post_to, "hooks", 1, 2)
    assert engine.run() == []  # nobody delivers, and so they wait
    assert len(engine._loop.services.deliveries.lanes["hooks"].letters) == 2
    engine = reopen()
    engine.run()
    assert SENT == []
    engine.deliver("hooks", Client().publish)
    engine.run()
    assert payloads() == [("client", 1), ("client", 2)]
    engine.spawn(post_to, "hooks", 3)
    engine.run()
    assert payloads()[2:] == [("client", 3)]


def test_a_letter_under_way_waits_when_the_next_process_does_not_deliver(reopen):
    gate = threading.Event()
    engine = reopen()

    def block(payload):
        engine.stop()
        gate.wait(10)

    engine.deliver("hooks", block)
    engine.spawn(post_to, "hooks", 1)
    engine.run()
    engine = reopen()
    gate.set()
    assert engine.run() == []
    lane = engine._loop.services.deliveries.lanes["hooks"]
    assert not lane.busy
    assert lane.letters[0].failed == 0
    assert lane.letters[0].began is None
    engine.deliver("hooks", deliver)
    engine.run()
    assert payloads() == [1]


@pytest.mark.parametrize("to", [lambda payload: None, Client().publish, 5])
def test_what_another_process_would_not_find_is_no_destination(reopen, to):
    async def work():
        with pytest.raises(TypeError, match="a letter goes to"):
            pstore.post(to, 1)
        return 1

    engine = reopen()
    assert engine.run(engine.spawn(work)) == 1


def test_nonsense_is_refused(reopen):
    async def work():
        with pytest.raises(CaptureError, match=r" at payload\['lock'\]: "):
            pstore.post(deliver, {"lock": threading.Lock()})
        with pytest.raises(TypeError, match="got 5"):
            pstore.post(deliver, 1, id=5)
        with pytest.raises(ValueError, match="no colon"):
            pstore.post("a:b", 1)
        return 1

    engine = reopen()
    assert engine.run(engine.spawn(work)) == 1
    with pytest.raises(TypeError, match="needs a function"):
        engine.deliver("name", 5)
    with pytest.raises(ValueError, match="no colon"):
        engine.deliver("a:b", deliver)
    with pytest.raises(NotInEngine):
        pstore.post(deliver, 1)
    engine.run()
    assert SENT == []


# -- failures


def test_a_letter_is_tried_again_and_those_behind_it_wait(reopen, clock):
    FAILING.extend(OSError("not yet") for _ in range(3))
    engine = reopen()
    engine.spawn(post, "a", "b")
    engine.run()
    assert payloads() == ["a", "a", "a", "a", "b"]
    assert len({key for _, key in SENT}) == 2
    assert clock.now() == 1000 + 1 + 2 + 4
    assert not engine.dead_letters


def test_a_deadline_counts_from_the_first_attempt(reopen, clock):
    FAILING.extend(OSError("not yet") for _ in range(100))
    engine = reopen()

    async def work():
        retry = pstore.Retry(attempts=None, delay=4.0, factor=1.0, deadline=10.0)
        await post("a", "b", retry=retry)

    engine.spawn(work)
    engine.run()
    assert payloads() == ["a", "a", "a", "b", "b", "b"]
    assert clock.now() == 1000 + 8 + 8
    engine = reopen()
    assert [letter.payload for letter in engine.dead_letters] == ["a", "b"]
    SENT.clear()
    engine.dead_letters.repost()
    engine.run()
    assert payloads() == ["a", "a", "a", "b", "b", "b"]


def test_destinations_do_not_wait_for_each_other(reopen):
    FAILING.append(OSError("not yet"))
    engine = reopen()
    engine.deliver("hooks", Client().publish)

    async def work():
        pstore.post(deliver, 1)
        await asyncio.sleep(0.5)
        pstore.post("hooks", 2)

    engine.spawn(work)
    engine.run()
    assert payloads() == [1, ("client", 2), 1]


def test_a_rest_between_attempts_survives_a_restart(reopen, clock, monkeypatch):
    FAILING.append(OSError("not yet"))
    engine = reopen()

    async def work():
        pstore.post(deliver, 1, retry=pstore.Retry(attempts=2, delay=50))

    pause = clock.pause

    def stop_when_resting(deadline, wait, *, busy):
        engine.stop() if deadline == 1050 else pause(deadline, wait, busy=busy)

    engine.spawn(work)
    with monkeypatch.context() as patch:
        patch.setattr(clock, "pause", stop_when_resting)
        engine.run()
    assert payloads() == [1]
    reopen().run()
    assert payloads() == [1, 1]
    assert clock.now() == 1050


HUNG = pstore.volatile([])  # what has become of those that hung


def hang(payload):
    SENT.append((payload, pstore.step_key()))
    if payload == "hangs":
        HUNG.append("given up" if pstore.step_cancelled(wait=10) else "ended")


async def hang_later(payload):
    SENT.append((payload, pstore.step_key()))
    try:
        if payload == "hangs":
            await asyncio.sleep(10)
    except asyncio.CancelledError:
        HUNG.append("given up")
        raise


@pytest.mark.parametrize("to", [hang, hang_later, "name"])
@pytest.mark.parametrize(
    ("deliverer", "letter", "seconds"), [({}, {}, 60), ({"timeout": 5}, {}, 5), ({"timeout": 500}, {"timeout": 2}, 2)]
)
def test_a_destination_that_hangs_does_not_block_those_behind_it(tmp_path, to, deliverer, letter, seconds):
    HUNG.clear()
    if not isinstance(to, str):
        deliverer, seconds = {}, letter.get("timeout", 60)
    clock = VirtualClock(1000.0, patience=0.05)
    with pstore.open(tmp_path / "x.fs", clock=clock) as engine:
        engine.deliver("name", hang, **deliverer)

        async def work():
            retry = pstore.Retry(attempts=2, delay=1.0)
            pstore.post(to, "hangs", retry=retry, **letter)
            pstore.post(to, "behind")

        engine.spawn(work)
        engine.run()
        assert payloads() == ["hangs", "hangs", "behind"]
        assert clock.now() == 1000 + 2 * seconds + 1
        (dead,) = engine.dead_letters
        assert f"StepTimeout: step hand_over [{dead.id.partition('.')[0]}." in dead.error
        assert f"more than timeout={seconds} s" in dead.error
        for _ in range(1000):
            if len(HUNG) == 2:
                break
            time.sleep(0.005)
    assert HUNG == ["given up"] * 2


def test_a_letter_may_take_as_long_as_it_takes(reopen):
    async def work():
        pstore.post(deliver, 1, timeout=math.inf)
        pstore.post("name", 2)
        pstore.post("name", 3, timeout=4)

    engine = reopen()
    engine.deliver("name", deliver, timeout=math.inf)
    engine.spawn(work)
    engine.call_soon_threadsafe(engine.stop)
    engine.run()
    asked = {step.args[-1]: step.options for step in engine._loop.outbox.pending.values()}
    assert asked == {1: None, 2: None}
    engine.run()
    assert sorted(payloads()) == [1, 2, 3]


@pytest.mark.parametrize("timeout", [0, -1, math.nan, "5", True])
def test_a_timeout_is_a_span(reopen, timeout):
    async def work():
        with pytest.raises(ValueError, match="timeout must be more than 0 seconds"):
            pstore.post(deliver, 1, timeout=timeout)
        return 1

    engine = reopen()
    assert engine.run(engine.spawn(work)) == 1
    with pytest.raises(ValueError, match=r"engine.deliver\(\): timeout must be more than 0 seconds, math.inf"):
        engine.deliver("name", deliver, timeout=timeout)


def test_what_cannot_be_delivered_is_dead_and_can_be_posted_again(reopen):
    FAILING.extend([OSError("gone")] * 3)
    engine = reopen()

    async def work():
        for n in range(2):
            pstore.post(deliver, n, retry=pstore.Retry(attempts=3, on=(OSError,)))

    engine.spawn(work)
    engine.run()
    assert payloads() == [0, 0, 0, 1]
    engine = reopen()
    (letter,) = engine.dead_letters
    assert (letter.payload, letter.failed, letter.error) == (0, 3, "OSError: gone")
    assert letter.destination.endswith("test_deliveries:deliver")
    assert "OSError" in repr(engine.dead_letters)
    assert engine.dead_letters[0] is letter
    assert engine.dead_letters.repost(letter) == 1
    assert len(engine.dead_letters) == 0
    engine.run()
    assert payloads()[4:] == [0]
    assert len({key for payload, key in SENT if payload == 0}) == 1


def test_dead_letters_are_discarded(reopen):
    FAILING.extend([ValueError("wrong")] * 2)
    engine = reopen()
    engine.deliver("hooks", deliver, retry=pstore.Retry(attempts=1))
    engine.spawn(post_to, "hooks", 1, 2, 3)
    engine.run()
    assert payloads() == [1, 2, 3]
    assert [letter.payload for letter in engine.dead_letters] == [1, 2]
    assert engine.dead_letters.discard(engine.dead_letters[0].id) == 1
    with pytest.raises(pstore.errors.EngineError, match="no dead letter 'x'"):
        engine.dead_letters.repost("x")
    assert engine.dead_letters.discard() == 1
    engine.run()
    assert reopen().dead_letters.repost() == 0


def test_each_letter_arrives_with_a_new_process_at_every_commit(tmp_path):
    """The process is gone at each commit in turn: no letter is lost, and order is kept."""
    path, clock = tmp_path / "x.fs", VirtualClock(1000.0)

    async def work():
        for n in range(4):
            pstore.post(deliver, n)
            await asyncio.sleep(1)

    with pstore.open(path, clock=clock) as engine:
        engine.spawn(work, id="work")
        engine.commit()
    for _ in range(100):
        if run_to_the_second_commit(path, clock):
            break
    assert list(dict.fromkeys(payloads())) == [0, 1, 2, 3]
    assert sorted(payloads()) == payloads()
    assert len({key for _, key in SENT}) == 4
