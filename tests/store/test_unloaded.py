"""What only an object that is not loaded leads to stays, whatever goes of what is loaded."""

from __future__ import annotations

import pytest
from BTrees.OOBTree import OOBTree
from persistent import Persistent

from pstore import Store


class Owner(Persistent):
    """Loaded when it is first used."""


def filled(tmp_path, make):
    """A store with a list that the root and an owner have, among others in the same record."""
    with Store(tmp_path / "a.fs") as store:
        kept = ["kept"]
        store.root.update(owner=make(kept), kept=kept, **{f"other{n}": [n] for n in range(5)})
        store.persist()


def directly(kept):
    owner = Owner()
    owner.kept = kept
    return owner


def in_a_tree(kept):
    return OOBTree({n: kept if n == 77 else n for n in range(100)})


def behind_another(kept):
    owner = Owner()
    owner.next = directly(kept)
    return owner


def behind_a_list(kept):
    owner = Owner()
    owner.kept = [{"inner": kept}]
    return owner


FOUND = {
    directly: lambda owner: owner.kept,
    in_a_tree: lambda owner: owner[77],
    behind_another: lambda owner: owner.next.kept,
    behind_a_list: lambda owner: owner.kept[0]["inner"],
}


@pytest.mark.parametrize("make", FOUND)
@pytest.mark.parametrize("collect", [False, True])
def test_what_is_not_loaded_keeps_what_it_leads_to(tmp_path, make, collect):
    filled(tmp_path, make)
    with Store(tmp_path / "a.fs") as store:
        del store.root["kept"]
        for n in range(3):
            store.root["other1"].append(n)
            store.persist()
            if collect:
                store.collect()
    with Store(tmp_path / "a.fs") as store:
        assert FOUND[make](store.root["owner"]) == ["kept"]
        assert store.root["other1"] == [1, 0, 1, 2]


@pytest.mark.parametrize("make", FOUND)
def test_it_is_the_same_object_when_it_is_loaded_later(tmp_path, make):
    filled(tmp_path, make)
    with Store(tmp_path / "a.fs") as store:
        kept = store.root.pop("kept")
        store.persist()
        kept.append("more")
        store.persist()
        assert FOUND[make](store.root["owner"]) is kept
    with Store(tmp_path / "a.fs") as store:
        assert FOUND[make](store.root["owner"]) == ["kept", "more"]


def test_what_nothing_leads_to_goes(tmp_path):
    filled(tmp_path, directly)
    with Store(tmp_path / "a.fs") as store:
        store.root["owner"].kept = None
        store.persist()
        del store.root["kept"]
        store.persist()
        clusters = store._keeper.live.heap.clusters.values()
        assert not any(node == ["kept"] for cluster in clusters for node in cluster.living())


def test_what_was_made_since_goes_though_not_all_is_loaded(tmp_path):
    filled(tmp_path, directly)
    with Store(tmp_path / "a.fs") as store:
        store.root["new"] = ["new"]
        store.persist()
        del store.root["new"]
        store.persist()
        clusters = store._keeper.live.heap.clusters.values()
        assert not any(node == ["new"] for cluster in clusters for node in cluster.living())
