"""After a persist that was refused, the next is as if the refused one had never been tried."""

from __future__ import annotations

import collections
import random
import threading

import pytest

from pstore import Store
from pstore.errors import CaptureError
from tests.store import zoo
from tests.store.portrait import Portrait, assert_same

MAKERS = {
    "list": lambda: [1, [2]],
    "instance": zoo.Plain,
    "frame and function": lambda: dict(zip("ab", zoo.sharing(1), strict=True)),
    "random": lambda: random.Random(1),
    "keys": lambda: collections.OrderedDict([((1, "a"), zoo.Valued(1)), (zoo.Frozen(1, frozenset({zoo.Frozen(2)})), 2)]),
    "set of the hashed": lambda: {zoo.Frozen(1), zoo.Account(2)},
    "many": lambda: [zoo.Order(n, [n]) for n in range(200)],
}


@pytest.mark.parametrize("after", [None, *MAKERS])
@pytest.mark.parametrize("before", [None, *MAKERS])
@pytest.mark.parametrize("earlier", [False, True])
def test_what_is_persisted_after_a_refusal(tmp_path, before, after, earlier):
    """What was new when it was refused, and what is new since; with and without a persist before."""
    path = tmp_path / "graph.fs"
    with Store(path) as store:
        store.root["bad"] = bad = []
        if earlier:
            store.root["earlier"] = [zoo.Plain(), {"k": bad}]
            store.persist()
        if before:
            store.root["before"] = MAKERS[before]()
        bad.append(threading.Lock())
        for _ in range(2):
            with pytest.raises(CaptureError):
                store.persist()
        bad.pop()
        if after:
            store.root["after"] = MAKERS[after]()
        tid = store.persist()
        assert store.persist() == tid
        live = Portrait(store.root)
    with Store(path) as store:
        assert_same(live, store.root)


def test_what_was_new_when_it_was_refused_and_is_gone_since(tmp_path):
    path = tmp_path / "graph.fs"
    with Store(path) as store:
        store.root["kept"] = kept = zoo.Plain()
        store.persist()
        kept.new = [zoo.Plain(), threading.Lock()]
        store.root["other"] = kept.new
        with pytest.raises(CaptureError):
            store.persist()
        first = kept.new[0]
        del kept.new, store.root["other"]
        store.persist()
        kept.again = first
        store.persist()
        live = Portrait(store.root)
    with Store(path) as store:
        assert_same(live, store.root)


def test_abort_after_a_refusal(tmp_path):
    with Store(tmp_path / "graph.fs") as store:
        store.root["kept"] = [1]
        store.persist()
        store.root["kept"].append(threading.Lock())
        with pytest.raises(CaptureError):
            store.persist()
        store.abort()
        assert store.root == {"kept": [1]}
        store.root["kept"].append(2)
        store.persist()
        store.abort()
        assert store.root == {"kept": [1, 2]}
