"""`Backlog` is a deque, in parts."""

from __future__ import annotations

import random
from collections import deque

import pytest

import pstore
from pstore._engine.backlog import Backlog


@pytest.mark.parametrize("seed", range(8))
def test_it_is_a_deque(seed):
    drawn = random.Random(seed)
    given, wanted = Backlog(), deque()
    for n in range(1000):
        if wanted and drawn.random() < (0.3 if n < 500 else 0.7):
            assert given.popleft() == wanted.popleft()
        else:
            given.append(n)
            wanted.append(n)
        assert (len(given), bool(given)) == (len(wanted), bool(wanted))
        assert not wanted or (given[0], given[-1]) == (wanted[0], wanted[-1])
        assert list(given) == list(wanted)


def test_there_is_none():
    with pytest.raises(IndexError):
        Backlog().popleft()
    with pytest.raises(IndexError):
        Backlog()[0]


def test_stores_from_before_it_have_deques(reopen):
    engine = reopen()
    inbox = engine.root["inbox"] = pstore.Inbox()
    inbox._messages = deque([1])
    engine.commit()
    engine = reopen()
    engine.send("inbox", 2)
    engine.run()
    inbox = engine.root["inbox"]
    assert [engine.run(engine.spawn(_one, inbox)) for _ in "12"] == [1, 2]


async def _one(inbox):
    return await inbox.receive()
