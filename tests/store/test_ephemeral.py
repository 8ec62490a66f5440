"""Values that are declared ephemeral: the call that made them is stored, and made again by each process."""

from __future__ import annotations

import gc
import threading

import pytest

import pstore
from pstore import Store
from pstore.errors import CaptureError

MADE: list[tuple] = []
pstore.volatile(MADE)


class Client:
    def __init__(self, host, port=80):
        self.host, self.port, self.calls = host, port, 0
        self.lock = threading.Lock()


class Pool:
    """Made with objects of the graph."""

    def __init__(self, settings):
        self.size = dict(settings)["size"]
        self.socket = threading.Lock()


def client(host, port=80):
    MADE.append((host, port))
    return Client(host, port)


def cache():
    return {}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "graph.fs"


def again(path, **root):
    """Store it, open it, give the root."""
    with Store(path) as store:
        store.root.update(root)
        store.persist()
        tid = store.tid
        assert store.persist() == tid
    store = Store(path)
    assert store.persist() == tid
    return store


def test_without_a_declaration_it_is_refused(path):
    with Store(path) as store, pytest.raises(CaptureError, match="lock"):
        store.root["client"] = Client("a")
        store.persist()


def test_the_call_is_made_again_once(path):
    made = pstore.ephemeral(client, "example.org", port=8080)
    made.calls = 5
    MADE.clear()
    with again(path, one=made, two=[made]) as store:
        one = store.root["one"]
        assert one is store.root["two"][0]
        assert (one.host, one.port, one.calls) == ("example.org", 8080, 0)
        assert MADE == [("example.org", 8080)]


def test_it_is_ephemeral_still_in_the_next_process(path):
    with again(path, client=pstore.ephemeral(client, "a")) as store:
        store.root["more"] = 1
        store.persist()
    with Store(path) as store:
        assert store.root["client"].host == "a"


def test_arguments_that_are_objects_of_the_graph_are_refused(path):
    settings = {"size": 7}
    with Store(path) as store:
        store.root.update(settings=settings, pool=pstore.ephemeral(Pool, settings))
        with pytest.raises(CaptureError, match="declared ephemeral.*pstore.Ephemeral"):
            store.persist()
        store.root["pool"] = pstore.ephemeral(Pool, (("size", 7),))
        with pytest.raises(CaptureError):
            size = [3]
            store.root["pool"] = pstore.ephemeral(lambda: Pool({"size": size[0]}))
            store.persist()
        del store.root["pool"]
        store.persist()


def test_a_lambda_is_an_object_of_the_graph_too(path):
    with Store(path) as store, pytest.raises(CaptureError, match="declared ephemeral.*function of a module"):
        store.root["pool"] = pstore.ephemeral(lambda: Pool({"size": 3}))
        store.persist()


def test_containers_and_locks(path):
    made = pstore.ephemeral(cache)
    made["x"] = threading.Lock()  # what is in it is nobody's business
    with again(path, cache=made, lock=pstore.ephemeral(threading.Lock)) as store:
        assert store.root["cache"] == {}
        assert store.root["lock"].acquire(blocking=False)


def test_in_the_local_of_a_frame(path):
    def worker(held):
        count = 0
        while True:
            with held.lock:
                count += 1
            yield count, held

    gen = worker(pstore.ephemeral(client, "frame"))
    next(gen)
    with again(path, gen=gen) as store:
        count, held = next(store.root["gen"])
        assert (count, held.host) == (2, "frame")


def test_a_million_would_not_stay(path):
    before = len(__import__("pstore._store.ephemeral", fromlist=["recipes"]).recipes)
    for _ in range(100):
        pstore.ephemeral(client, "gone")
    gc.collect()
    assert len(__import__("pstore._store.ephemeral", fromlist=["recipes"]).recipes) <= before + 1


@pytest.mark.parametrize("factory", [lambda: None, lambda: 5, lambda: "text", lambda: int, lambda: ()])
def test_what_everybody_has_cannot_be_declared(factory):
    with pytest.raises(TypeError, match="cannot be told from"):
        pstore.ephemeral(factory)


class Shop:
    connection = pstore.Ephemeral(lambda shop: Client(shop.host))

    def __init__(self, host):
        self.host = host


def test_an_attribute_of_a_class(path):
    shop = Shop("b")
    assert shop.connection is shop.connection
    assert shop.connection.host == "b"
    with again(path, shop=shop) as store:
        found = store.root["shop"]
        assert vars(found) == {"host": "b"}
        assert found.connection is found.connection is not shop.connection
        found.connection = "another"
        assert (found.connection, shop.connection.host) == ("another", "b")
