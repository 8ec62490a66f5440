"""`Persistent` objects and BTrees in a store: records of their own, loaded when they are first used, and part of the graph."""

from __future__ import annotations

import gc

import pytest
from BTrees.LOBTree import LOBTree
from BTrees.OOBTree import OOBTree, OOTreeSet

from pstore import Store
from tests import processes
from tests.store import zoo
from tests.store.features import needs, needs_incremental
from tests.store.persistents import Account, PersistentList, PersistentMapping, Slotted

pytestmark = needs_incremental


@pytest.fixture
def path(tmp_path):
    return tmp_path / "graph.fs"


def test_they_are_there_again_and_shared(path):
    with Store(path) as store:
        account, plain = Account("a"), zoo.Plain()
        plain.account, account.plain = account, plain
        account.lines.append(plain)
        store.root.update(one=account, two=[account], plain=plain, lines=account.lines)
        store.persist()
        assert store.persist() == store.tid
    with Store(path) as store:
        root = store.root
        assert root["one"] is root["two"][0] is root["plain"].account
        assert root["one"].name == "a"
        assert root["one"].plain is root["plain"]
        assert root["one"].lines is root["lines"]
        assert root["one"].lines[0] is root["plain"]


def test_untouched_ones_are_not_loaded(path):
    with Store(path) as store:
        store.root["accounts"] = [Account(str(n)) for n in range(100)]
        store.persist()
    with Store(path) as store:
        accounts = store.root["accounts"]
        assert [one._p_changed for one in accounts] == [None] * 100
        assert accounts[5].name == "5"
        assert accounts[5]._p_changed is False
        accounts[6].name = "six"
        assert accounts[6]._p_changed is True
        store.persist()
        assert accounts[6]._p_changed is False
        assert sum(one._p_changed is None for one in accounts) == 98
        assert store.persist() == store.tid
        gc.collect()
        accounts[7].lines.append(1)
        store.persist()
    with Store(path) as store:
        accounts = store.root["accounts"]
        assert [accounts[n].name for n in (5, 6, 7)] == ["5", "six", "7"]
        assert accounts[7].lines == [1]


def test_changes_past_their_setattr_are_seen(path):
    """Also what `Persistent` itself does not see: inner lists, ``vars``."""
    with Store(path) as store:
        store.root["x"] = account = Account("a")
        store.persist()
        account.lines.append(1)
        store.persist()
        vars(account)["name"] = "b"
        store.persist()
        account.table = {"k": account.lines}
        store.persist()
        account.table["l"] = store.root
        tid = store.persist()
        assert store.persist() == tid
    with Store(path) as store:
        x = store.root["x"]
        assert (x.name, x.lines) == ("b", [1])
        assert x.table["k"] is x.lines
        assert x.table["l"] is store.root


def test_inner_objects_of_a_lazy_one_are_the_same_as_elsewhere(path):
    """Whichever is looked at first."""
    with Store(path) as store:
        shared = [1]
        one, other = Account("one"), Account("other")
        one.shared = other.shared = shared
        frame = zoo.started(zoo.holder(1))
        frame.send(shared)
        store.root.update(one=one, other=other, frame=frame, closure=zoo.returns(shared, 1))
        store.persist()
    for order in (("one", "other"), ("other", "one"), ()):
        with Store(path) as store:
            found = [store.root[name].shared for name in order]
            held = store.root["closure"]()[0]
            assert all(one is held for one in found)
            assert store.root["frame"].gi_frame.f_locals["x"] is held
            assert store.root["one"].shared is held


def test_deactivation_does_not_part_what_is_shared(path):
    """ZODB's cache may make a clean object a ghost again; its inner objects stay those that the program holds."""
    with Store(path) as store:
        store.root["x"] = account = Account("a")
        store.root["lines"] = account.lines
        store.persist()
        account._p_deactivate()
        assert account.lines is store.root["lines"]
        account.lines.append(1)
        store.persist()
        account._p_deactivate()
        assert account.lines == [1]
        assert account.lines is store.root["lines"]


def test_a_commit_while_one_is_deactivated_is_no_conflict(path):
    """The commit looks at it, and so loads it, under the record that it has."""
    with Store(path) as store:
        store.root["x"], store.root["y"] = account, other = Account("a"), Account("b")
        store.root["lines"] = account.lines
        store.persist()
        for number in range(3):
            account._p_deactivate()
            other.lines.append(number)
            store.persist()
            assert account.lines is store.root["lines"]
            account._p_deactivate()
            store.collect()
            account.name = number
            account.lines.append(number)
            store.persist()
    with Store(path) as store:
        assert (store.root["x"].name, store.root["x"].lines) == (2, [0, 1, 2])
        assert store.root["x"].lines is store.root["lines"]


def test_abort_takes_changes_back(path):
    with Store(path) as store:
        store.root["x"] = Account("a")
        store.root["tree"] = OOBTree({"k": [1]})
        store.persist()
        store.root["x"].name = "b"
        store.root["x"].lines.append(1)
        store.root["tree"]["k"].append(2)
        store.root["tree"]["l"] = 1
        store.root["new"] = Account("new")
        store.abort()
        assert store.root["x"].name == "a"
        assert store.root["x"].lines == []
        assert dict(store.root["tree"]) == {"k": [1]}
        assert "new" not in store.root
        store.root["x"].name = "c"
        store.persist()
    with Store(path) as store:
        assert store.root["x"].name == "c"


def test_btrees_with_plain_values_shared_with_the_root(path):
    with Store(path) as store:
        shared = [0]
        tree, numbers = OOBTree(), LOBTree()
        for n in range(1000):
            tree[f"k{n:04}"] = [n]
            numbers[n] = zoo.Plain()
            numbers[n].tag = n
        tree["k0500"] = numbers[500].shared = shared
        store.root.update(tree=tree, numbers=numbers, shared=shared, some=numbers[7])
        store.persist()
        shared.append("persisted")
        tree["k0001"].append("changed")
        tid = store.persist()
        assert store.persist() == tid
        size = path.stat().st_size
        tree["k0002"].append("changed")
        store.persist()
        assert path.stat().st_size - size < 20_000
    with Store(path) as store:
        root = store.root
        assert root["tree"]._p_changed is None
        assert root["shared"] == [0, "persisted"]
        assert root["tree"]["k0500"] is root["shared"] is root["numbers"][500].shared
        assert root["numbers"][7] is root["some"]
        assert root["tree"]["k0001"] == [1, "changed"]
        assert root["tree"]["k0002"] == [2, "changed"]
        assert root["tree"]["k0999"] == [999]
        assert len(root["tree"]) == 1000
        root["tree"]["k0500"].append("again")
        del root["tree"]["k0003"]
        root["tree"]["new"] = root["tree"]
        store.persist()
    with Store(path) as store:
        assert store.root["shared"] == [0, "persisted", "again"]
        assert "k0003" not in store.root["tree"]
        assert store.root["tree"]["new"] is store.root["tree"]


def test_parts_of_btrees_are_loaded_when_needed(path):
    with Store(path) as store:
        store.root["x"] = tree = OOBTree()
        for n in range(2000):
            tree[f"k{n:04}"] = Account(str(n))
        store.persist()
    code = f"""
        from pstore import Store
        with Store({str(path)!r}) as store:
            tree = store.root["x"]
            assert tree["k0700"]._p_changed is None
            assert tree["k0700"].name == "700"
            tree["k0700"].lines.append(tree)
            store.persist()
            loaded = [one for one in tree.values() if one._p_changed is not None]
            assert [one.name for one in loaded] == ["700"], loaded
        """
    processes.run(code, path.parent)
    with Store(path) as store:
        assert store.root["x"]["k0700"].lines[0] is store.root["x"]


def test_other_persistent_containers(path):
    with Store(path) as store:
        slotted = Slotted()
        slotted.a = [1]
        items, table, names = PersistentList([slotted]), PersistentMapping(a=slotted.a), OOTreeSet(["a", "b"])
        store.root.update(items=items, table=table, names=names)
        store.persist()
        items.append(table)
        slotted.a.append(2)
        slotted.b = items
        names.add("c")
        tid = store.persist()
        assert store.persist() == tid
    with Store(path) as store:
        slotted = store.root["items"][0]
        assert slotted.a == [1, 2]
        assert slotted.a is store.root["table"]["a"]
        assert slotted.b is store.root["items"]
        assert store.root["items"][1] is store.root["table"]
        assert list(store.root["names"]) == ["a", "b", "c"]


def test_frames_and_closures_hold_them(path):
    with Store(path) as store:
        account = Account("a")
        frame = zoo.started(zoo.holder(1))
        frame.send(account)
        store.root.update(frame=frame, closure=zoo.returns(account, 1))
        store.persist()
    with Store(path) as store:
        account = store.root["closure"]()[0]
        assert account._p_changed is None
        assert store.root["frame"].gi_frame.f_locals["x"] is account
        assert account.name == "a"


def test_as_keys_and_elements(path):
    with Store(path) as store:
        account = Account("a")
        store.root.update(d={account: 1}, s={account}, t=(account,), f=frozenset({account}))
        store.persist()
    with Store(path) as store:
        (account,) = store.root["s"]
        assert store.root["d"] == {account: 1}
        assert store.root["t"][0] is account
        assert account in store.root["f"]
        assert account._p_changed is None


@needs("pack")
def test_packing_keeps_what_plain_objects_lead_to(path):
    with Store(path) as store:
        deep = zoo.Plain()
        deep.inner = [{"tree": OOBTree({n: Account(str(n)) for n in range(200)})}]
        store.root["x"] = deep
        store.root["gone"] = OOBTree({n: Account(str(n)) for n in range(200)})
        store.persist()
        del store.root["gone"]
        store.persist()
        size = path.stat().st_size
        store.pack()
        assert path.stat().st_size < size
    with Store(path) as store:
        tree = store.root["x"].inner[0]["tree"]
        assert [tree[n].name for n in range(200)] == [str(n) for n in range(200)]


# -- attach, resolve, detach


@needs("attach")
def test_attach_and_resolve_by_name_and_type(path):
    with Store(path) as store:
        order = zoo.Order(1)
        store.attach(order)
        store.attach([1], "numbers")
        store.persist()
    with Store(path) as store:
        assert store.resolve(zoo.Order).tag == 1
        assert store.resolve("numbers") == [1]
        store.detach("numbers")
        store.persist()
    with Store(path) as store:
        with pytest.raises(LookupError):
            store.resolve("numbers")
        assert store.resolve(zoo.Order).tag == 1


# -- the past


@needs("at")
def test_the_past_is_as_it_was(path):
    with Store(path) as store:
        shared = [0]
        store.root.update(a=shared, b={"s": shared})
        tids = []
        for n in range(1, 5):
            shared.append(n)
            tids.append(store.persist(f"commit {n}"))
        for n, tid in enumerate(tids, 1):
            past = store.at(tid)
            root = past.root
            assert root["a"] == list(range(n + 1))
            assert root["a"] is root["b"]["s"]
            assert root["a"] is not shared
            if hasattr(past, "close"):
                past.close()
        shared.append("still alive")
        store.persist()
        assert store.root["a"][-1] == "still alive"
