"""Whatever fails on the way to the disk: the last acknowledged state is there, and the store goes on or says that it cannot."""

from __future__ import annotations

import logging

import pytest

from pstore import Store
from pstore._store import filecheckpoint
from pstore.testing.faults import Faults
from tests.store.faulty import SCENARIOS, loop, prepared


@pytest.mark.parametrize("partial", [False, True], ids=["nothing", "half"])
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for-ever"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_whatever_fails(name, for_ever, partial, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    hits = loop(name, tmp_path, for_ever=for_ever, partial=partial)
    kinds = {hit.split()[0] for hit in hits}
    needed = {
        "commit": {"pwrite", "fsync"},
        "pack": {"write", "fsync", "replace"},
        "create": {"pwrite", "fsync", "replace"},
        "recover": {"pwrite", "fsync", "ftruncate"},
    }
    assert needed.get(name, {"pwrite"}) <= kinds, hits


@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for-ever"])
@pytest.mark.parametrize("name", ["commit", "pack", "recover"])
def test_whatever_fails_while_there_are_checkpoints(name, for_ever, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(filecheckpoint, "GROWN", -(1 << 30))  # one at every commit
    caplog.set_level(logging.CRITICAL)
    hits = loop(name, tmp_path, for_ever=for_ever, partial=True)
    assert any("checkpoint" in hit for hit in hits), hits


def test_nothing_fails_where_nothing_is_to_fail(tmp_path):
    with Faults(tmp_path) as faults:
        path = prepared(tmp_path)
    assert not faults.hit
    assert "fsync graph.fs" in faults.seen
    with Faults(path.parent / "elsewhere", 1, for_ever=True) as faults:
        prepared(tmp_path)
    assert not faults.seen


def test_a_full_disk_is_no_news_when_a_store_is_closed(tmp_path, caplog):
    path = prepared(tmp_path)
    store = Store(path)
    with Faults(tmp_path, 1, for_ever=True):
        store.close()
    assert [record.getMessage() for record in caplog.records] == []
