"""A server that is killed while a store commits: after its restart, what was acknowledged is there."""

from __future__ import annotations

import random
import threading

import pytest

from pstore import Store
from pstore.errors import StoreError, StoreNotWritten, StoreUnavailable
from tests import turns
from tests.store import servers

KILLS = 4
pytestmark = pytest.mark.skipif(not turns.part([True], 5, turns.TURN - 13), reason="another Python's turn")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with servers.mysql(tmp_path_factory.mktemp("my")) as server:
        servers.tell_mysql(server.place, "CREATE USER me@'%' IDENTIFIED BY 'secret'")
        yield server


def database(server, name):
    servers.tell_mysql(server.place, f"CREATE DATABASE {name}", f"GRANT ALL ON {name}.* TO me@'%'")
    return f"mysql://me:secret@127.0.0.1:{server.port}/{name}"


@pytest.mark.slow
def test_a_mysql_server_that_is_killed(server):
    """At random instants: the last acknowledged state, or the one in flight after it."""
    pick = random.Random(1)
    uri = database(server, "graph")
    acknowledged = 0
    for _ in range(KILLS):
        store = Store(uri)
        killer = threading.Timer(pick.random() * 0.3, server.kill)
        killer.start()
        with pytest.raises(StoreError):
            while True:
                store.root.update(step=acknowledged + 1, data=pick.randbytes(pick.choice([10, 100_000])))
                store.persist()
                acknowledged += 1
        killer.join()
        with pytest.raises(StoreUnavailable):
            Store(uri)
        server.start()
        store.close()
        store = Store(uri)
        got = store.root.get("step", 0)
        assert got in (acknowledged, acknowledged + 1)
        acknowledged = got + 1
        store.root["step"] = acknowledged
        store.persist()
        store.close()
    assert acknowledged > KILLS  # more than the one after each restart


@pytest.mark.slow
def test_a_mysql_server_that_is_away_for_a_while(server):
    """The store goes on with it."""
    uri = database(server, "away")
    with Store(uri) as store:
        store.root["n"] = 0
        store.persist()
        server.kill()
        for more in ([], [[number] for number in range(500)]):
            store.root.update(n=1, more=more)
            with pytest.raises(StoreNotWritten, match=r"me:\*\*\*@127.* could not be written") as caught:
                store.persist()
            assert caught.value.retryable
        server.start()
        store.persist()
        server.kill()
        store.root["n"] = 2
        with pytest.raises(StoreUnavailable) as caught:
            store.abort()
        assert caught.value.retryable
        server.start()
        store.abort()
        assert (store.root["n"], len(store.root["more"])) == (1, 500)
