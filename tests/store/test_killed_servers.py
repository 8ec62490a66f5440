"""A server that is killed while a store commits: after its restart, what was acknowledged is there."""

from __future__ import annotations

import random
import threading

import pytest

from pstore import Store
from pstore.errors import StoreUnavailable
from tests.store import servers

KILLS = 4


@pytest.mark.slow
def test_a_mysql_server_that_is_killed(tmp_path_factory):
    """At random instants: the last acknowledged state, or the one in flight after it."""
    pick = random.Random(1)
    folder = tmp_path_factory.mktemp("my")
    with servers.mysql(folder) as server:
        user = ["CREATE USER me@'%' IDENTIFIED BY 'secret'", "GRANT ALL ON graph.* TO me@'%'"]
        servers.tell_mysql(server.place, "CREATE DATABASE graph", *user)
        uri = f"mysql://me:secret@127.0.0.1:{server.port}/graph"
        acknowledged = 0
        for _ in range(KILLS):
            store = Store(uri)
            killer = threading.Timer(pick.random() * 0.3, server.kill)
            killer.start()
            with pytest.raises(Exception):  # noqa: B017, PT011  # the driver's, where no connection is left
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
