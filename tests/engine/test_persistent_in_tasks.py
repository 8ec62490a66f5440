"""`Persistent` objects and BTrees that tasks lead to: in locals, arguments, results, shared or not."""

from __future__ import annotations

import asyncio

import pytest
from BTrees.OOBTree import OOBTree
from persistent import Persistent
from persistent.list import PersistentList

import pstore
from pstore.testing import VirtualClock


class Account(Persistent):
    def __init__(self, balance):
        self.balance = balance
        self.plain = [balance]


async def own(log):
    account, tree, listed = Account(1), OOBTree({1: "one"}), PersistentList([1])
    for turn in range(3):
        await asyncio.sleep(10)
        account.balance += 1
        account.plain.append(turn)
        tree[turn + 2] = [turn]
        listed.append(turn)
    log.append((account.balance, account.plain, list(tree.items()), list(listed)))
    return account


async def given(account, log):
    for _ in range(3):
        await asyncio.sleep(10)
        account.balance += 1
    log.append(account.balance)
    return account


@pytest.mark.parametrize("resident", [None, 0])
@pytest.mark.parametrize("restarts", [0, 1, 5])
def test_they_go_on(tmp_path, restarts, resident):
    path = tmp_path / "program.fs"
    moments = [1000.0 + 35.0 * turn / (restarts + 1) for turn in range(restarts + 1)]
    for turn, start in enumerate(moments):
        with pstore.open(path, clock=VirtualClock(start), resident=resident) as engine:
            if not turn:
                log, account = engine.root.setdefault("log", []), Account(100)
                engine.root["account"] = account
                engine.spawn(own, log, id="own")
                engine.spawn(given, account, log, id="one")
                engine.spawn(given, account, log, id="other")
            end = moments[turn + 1] if turn < restarts else 1040.0
            engine.run(engine.spawn(asyncio.sleep, end - start))
    with pstore.open(path, clock=VirtualClock(1041.0)) as engine:
        assert engine.run() == []
        log = engine.root["log"]
        assert (4, [1, 0, 1, 2], [(1, "one"), (2, [0]), (3, [1]), (4, [2])], [1, 0, 1, 2]) in log
        assert engine.root["account"].balance == 106
        assert engine.tasks["one"].result() is engine.tasks["other"].result() is engine.root["account"]
        assert engine.tasks["own"].result().balance == 4
