"""Modules, classes and functions that were renamed or moved since their frames and instances were stored."""

from __future__ import annotations

import pytest

from tests.processes import run

OLD = '''
import enum

class Order:
    def __init__(self, amount):
        self.amount = amount

    def work(self):
        yield self.amount
        yield "worked"

    class Line:
        pass


class Colour(enum.Enum):
    RED = 1


def plain(x):
    y = x + 1
    got = yield y
    yield "plain", y, got


def outer(rate):
    def inner(amount):
        yield 1
        yield amount * rate
    return inner


async def coro():
    async for item in agen():
        return item


async def agen():
    await wait()
    yield "agen"


class wait:
    def __await__(self):
        yield "waiting"


def local():
    class Local:
        def value(self):
            return 5
    return Local()
'''

DUMP = """
    import pathlib, shop, pstore
    def started(gen):
        gen.send(None)
        return gen
    order = shop.Order(7)
    graph = {"order": order, "work": started(order.work()), "line": shop.Order.Line(), "red": shop.Colour.RED,
             "plain": started(shop.plain(1)), "fresh": shop.plain(4), "function": shop.plain, "class": shop.Order,
             "inner": started(shop.outer(3)(5)), "closure": shop.outer(2), "coro": started(shop.coro()),
             "local": shop.local(), "module": shop}
    for name, value in graph.items():
        pathlib.Path(name + ".bin").write_bytes(pstore.dumps(value))
    pstore.abandon(graph)
"""

LOAD = """
    import pathlib, sys, pstore
    from pstore.errors import RebuildError
    try:
        it = pstore.loads(pathlib.Path("{name}.bin").read_bytes(), renames={renames!r}, allow={allow!r})
    except RebuildError as error:
        print(type(error).__name__, error)
    else:
        print({show})
        data = pstore.dumps(it) if "{name}" not in ("fresh", "closure") else b""
        print(not any(old.encode() in data for old in {gone!r}))
"""

SHOW = {
    "order": "(it.amount, type(it).__module__, type(it).__qualname__)",
    "work": "next(it)",
    "line": "type(it).__qualname__",
    "red": "it.name",
    "plain": "it.send(9)",
    "fresh": "(next(it), it.send(3))",
    "function": "it.__qualname__",
    "class": "it.__qualname__",
    "inner": "next(it)",
    "closure": "[*it(6)]",
    "coro": "it.cr_await is not None",
    "local": "it.value()",
    "module": "it.__name__",
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    (folder / "shop.py").write_text(OLD)
    run(DUMP, folder)
    return {path.name: path.read_bytes() for path in folder.glob("*.bin")}


@pytest.fixture
def folder(stored, tmp_path):
    for name, data in stored.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def load(folder, name, renames, allow=None, gone=()):
    code = LOAD.format(name=name, renames=renames, allow=allow, show=SHOW[name], gone=list(gone))
    return run(code, folder)


EXPECTED = {
    "order": "(7, 'new.place', 'Order')",
    "work": "worked",
    "line": "Order.Line",
    "red": "RED",
    "plain": "('plain', 2, 9)",
    "fresh": "(5, ('plain', 5, 3))",
    "function": "plain",
    "class": "Order",
    "inner": "15",
    "closure": "[1, 12]",
    "coro": "True",
    "local": "5",
    "module": "new.place",
}


@pytest.mark.parametrize("allow", [None, ["new.*"]], ids=["", "allow"])
@pytest.mark.parametrize("name", SHOW)
def test_a_module_that_moved(folder, name, allow):
    (folder / "new").mkdir()
    (folder / "new" / "__init__.py").touch()
    (folder / "new" / "place.py").write_text(OLD)
    told = load(folder, name, {"shop": "new.place"}, allow, gone=["shop"])
    assert told.splitlines() == [EXPECTED[name], "True"]


@pytest.mark.parametrize("colon", [True, False])
@pytest.mark.parametrize("allow", [None, ["shop", "model.*"]], ids=["", "allow"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("order", "(7, 'model.orders', 'Purchase')"),
        ("work", "worked"),
        ("line", "Purchase.Line"),
        ("class", "Purchase"),
        ("plain", "('plain', 2, 9)"),
        ("inner", "15"),
        ("closure", "[1, 12]"),
    ],
)
def test_things_that_moved(folder, name, expected, allow, colon):
    """A class to another module, a function to another name, one of a class, an enclosing function."""
    (folder / "model").mkdir()
    (folder / "model" / "__init__.py").touch()
    head, tail = OLD.split("class Colour")
    (folder / "model" / "orders.py").write_text(head.replace("class Order", "class Purchase"))
    tail = tail.replace("def plain", "def simple").replace("def outer", "def around")
    (folder / "shop.py").write_text("import enum\nclass Colour" + tail)
    renames = {"shop:Order": "model.orders:Purchase", "shop:plain": "shop:simple", "shop:outer": "shop:around"}
    if not colon:
        renames = {old.replace(":", "."): new.replace(":", ".") for old, new in renames.items()}
    told = load(folder, name, renames, allow)
    assert told.splitlines()[0] == expected


def test_changed_code_stays_changed_code_under_its_new_name(folder):
    (folder / "new.py").write_text(OLD.replace("x + 1", "x + 2"))
    assert load(folder, "plain", {"shop": "new"}).startswith("CodeChanged the code of new:plain has changed")


def test_the_error_says_what_to_write(folder):
    (folder / "shop.py").write_text(OLD.replace("def plain", "def simple").replace("class Order", "class Purchase"))
    told = load(folder, "plain", None)
    assert told.startswith("CodeNotFound cannot find shop:plain: ")
    assert "shop:simple has that very code" in told
    assert 'renames={"shop:plain": "shop:simple"}' in told
    assert load(folder, "plain", {"shop:plain": "shop:simple"}).startswith("('plain', 2, 9)")
    assert 'renames={"shop:Order": "new_module:NewName"}' in load(folder, "order", None)
    (folder / "shop.py").unlink()
    for name in ("plain", "order"):
        told = load(folder, name, None)
        assert told.startswith("CodeNotFound cannot find module shop: ")
        assert 'renames={"shop": "new_module"}' in told


def test_the_new_name_has_to_be_allowed(folder):
    (folder / "new.py").write_text(OLD)
    for name in ("plain", "order", "function", "module", "local"):
        assert load(folder, name, {"shop": "new"}, ["shop"]).startswith("NotAllowed ")
        assert not load(folder, name, {"shop": "new"}, ["new"]).startswith("NotAllowed ")


def test_the_longest_name_counts_and_only_whole_names_fit():
    from pstore._frames.policy import Policy

    policy = Policy(None, {"a": "b", "a.c": "d", "a:K": "e:L", "a.c:K.f": "g:h", "x": "y.z"})
    for old, new in {
        ("a", "F"): ("b", "F"),
        ("a", "K"): ("e", "L"),
        ("a", "K.m"): ("e", "L.m"),
        ("a", "Kay"): ("b", "Kay"),
        ("a.c", "F"): ("d", "F"),
        ("a.c", "K.f"): ("g", "h"),
        ("a.c", "K.f.<locals>.<lambda>"): ("g", "h.<locals>.<lambda>"),
        ("a.cc", "F"): ("b.cc", "F"),
        ("ab", "F"): ("ab", "F"),
        ("x.y.z", "F.g"): ("y.z.y.z", "F.g"),
        ("b", "F"): ("b", "F"),  # once: what a name has become is not renamed again
    }.items():
        assert policy.renamed(*old) == new


def test_names_that_make_no_sense():
    from pstore._frames.policy import Policy

    with pytest.raises(ValueError, match="a module cannot become"):
        Policy(None, {"a": "b:c"}).renamed("a", "x")
    with pytest.raises(ValueError, match="write it as 'module:name'"):
        Policy(None, {"a:x": "y"}).renamed("a", "x")


def test_two_loads_with_different_renames_in_one_process(folder):
    (folder / "one.py").write_text(OLD)
    (folder / "two.py").write_text(OLD)
    code = """
        import pathlib, pstore
        from pstore.errors import CodeNotFound
        data = pathlib.Path("plain.bin").read_bytes()
        for name in ("one", "two", "one"):
            it = pstore.loads(data, renames={"shop": name})
            print(it.gi_frame.f_globals["__name__"])
            try:
                pstore.loads(data)
            except CodeNotFound as error:
                print("not", error.name)
    """
    assert run(code, folder).split("\n") == ["one", "not module shop", "two", "not module shop", "one", "not module shop"]
