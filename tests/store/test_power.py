"""A power cut in the middle of a commit: any page of it may be missing.  And what looks nearly like one, but is damage."""

from __future__ import annotations

import logging
import random

import pytest

from pstore import Store
from pstore._store.filestorage import SealedFileStorage
from pstore._store.filetail import PAGE
from pstore.errors import StoreCorrupt, StoreError
from pstore.testing.faults import Faults

SIZES = {"small": 10, "a page": 5_000, "pages": 40_000}


class Cut:
    """A file before and after its last commit, and the marks that go with them."""

    def __init__(self, path, size):
        self.path, self.mark = path, path.with_name(path.name + ".mark")
        with Store(path) as store:
            for number in range(3):
                store.root["n"] = number
                store.persist()
        self.before, self.mark_before = path.read_bytes(), self.mark.read_bytes()
        with Store(path) as store:
            store.root["n"], store.root["data"] = 3, random.Random(1).randbytes(size)
            store.persist("the last")
        self.after, self.mark_after = path.read_bytes(), self.mark.read_bytes()
        self.start, self.size = len(self.before), len(self.after)

    def pages(self):
        """The parts of the last commit that are in one page each."""
        edges = [self.start, *range((self.start // PAGE + 1) * PAGE, self.size, PAGE), self.size]
        return list(zip(edges, edges[1:]))

    def put(self, content, mark):
        self.path.write_bytes(content)
        self.path.with_name(self.path.name + ".checkpoint").unlink(missing_ok=True)  # written later than the mark
        if mark is None:
            self.mark.unlink(missing_ok=True)
        else:
            self.mark.write_bytes(mark)

    def opened(self, **options):
        with Store(self.path, **options) as store:
            return store.root["n"], store._db.storage.repair


@pytest.fixture(params=SIZES)
def cut(request, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    return Cut(tmp_path / "graph.fs", SIZES[request.param])


def zeroed(content, parts):
    content = bytearray(content)
    for begin, end in parts:
        content[begin:end] = bytes(end - begin)
    return bytes(content)


def torn(cut, rounds=150):
    """What a power cut may leave of the last commit."""
    pick, pages = random.Random(2), cut.pages()
    yield from (zeroed(cut.after, [page]) for page in pages)
    yield zeroed(cut.after, pages)
    yield from (cut.after[:length] for length in {*range(cut.start + 1, cut.start + 70), cut.size - 1, cut.size - 9})
    for _ in range(rounds):
        lost = [page for page in pages if pick.random() < 0.4]
        yield zeroed(cut.after, lost)[: pick.choice([cut.size, pick.randrange(cut.start, cut.size)])]


@pytest.mark.parametrize("with_mark", [True, False], ids=["mark", "no mark"])
def test_a_commit_that_was_not_acknowledged_is_whole_or_gone(cut, with_mark):
    for content in torn(cut):
        cut.put(content, cut.mark_before if with_mark else None)
        n, repair = cut.opened()
        whole = content == cut.after
        assert n == (3 if whole else 2)
        assert cut.path.read_bytes() == (cut.after if whole else cut.before)
        if not whole and len(content) > cut.start + 16:
            assert repair.position == cut.start
            with open(repair.kept, "rb") as file:
                assert file.read() == content[cut.start :]
    assert cut.opened() == (3 if whole else 2, None)


def test_looking_at_it_repairs_nothing(cut):
    for content in torn(cut, rounds=10):
        cut.put(content, cut.mark_before)
        n, _ = cut.opened(read_only=True)
        assert n == (3 if content == cut.after else 2)
        assert cut.path.read_bytes() == content


def test_an_acknowledged_commit_is_never_dropped(cut):
    for content in torn(cut, rounds=50):
        if content != cut.after:
            cut.put(content, cut.mark_after)
            for options in ({}, {"read_only": True}):
                with pytest.raises(StoreError, match=r"is damaged|is truncated"):
                    cut.opened(**options)
            assert cut.path.read_bytes() == content


def test_pages_that_are_lost_before_the_last_commit_are_damage(cut):
    """Found at once, or when the record is read; never taken for an older state, though nothing says what was acknowledged."""
    with Store(cut.path) as store:
        store.root["n"] = 4
        store.persist()
    content = cut.path.read_bytes()
    for page in cut.pages():
        cut.put(zeroed(content, [page]), None)
        try:
            assert cut.opened() == (4, None)  # a record that is no longer the last of its object
        except StoreError:
            pass


def test_nor_is_it_dropped_with_a_last_one_that_is_torn(tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    cut = Cut(tmp_path / "graph.fs", SIZES["pages"])
    with Store(cut.path) as store:
        store.root["n"], store.root["data"] = 4, random.Random(4).randbytes(SIZES["pages"])
        store.persist()
    content = cut.path.read_bytes()
    last = range((cut.size // PAGE + 1) * PAGE, len(content), PAGE)
    for first in cut.pages():
        for begin in last:
            cut.put(zeroed(content, [first, (begin, begin + PAGE)])[: len(content)], None)
            try:
                assert cut.opened()[0] != 2
            except StoreError:
                pass


def test_a_flipped_bit_is_no_power_cut(cut):
    """Not even where nothing says that the commit was acknowledged."""
    pick = random.Random(3)
    header = range(cut.start, cut.start + 80)
    for at in {*header, *range(cut.size - 30, cut.size), *(pick.randrange(cut.start, cut.size) for _ in range(200))}:
        for bit in range(8) if at in header else [pick.randrange(8)]:
            content = bytearray(cut.after)
            content[at] ^= 1 << bit
            cut.put(bytes(content), None)
            try:
                n, repair = cut.opened(read_only=True)
            except StoreError:
                continue
            assert (n, repair) == (3, None), at  # in the note, or in the mark of a seal


def test_a_mark_of_another_file_says_nothing(cut):
    copy = cut.path.with_name("copy.fs")
    copy.write_bytes(cut.after[:-5])
    copy.with_name("copy.fs.mark").write_bytes(cut.mark_after)
    with Store(copy) as store:
        assert store.root["n"] == 2


def test_an_older_file_in_its_place_is_noticed(cut):
    cut.put(cut.before, cut.mark_after)
    with pytest.raises(StoreCorrupt, match="acknowledged up to byte .* remove .*mark"):
        cut.opened()
    cut.mark.unlink()
    assert cut.opened() == (2, None)


def test_it_is_said_and_kept(tmp_path, caplog):
    cut = Cut(tmp_path / "graph.fs", 10)
    cut.put(cut.after[:-5], cut.mark_before)
    n, repair = cut.opened()
    assert (n, repair.size) == (2, cut.size - 5 - cut.start)
    (said,) = [record for record in caplog.records if record.name == "pstore.store"]
    assert said.levelname == "WARNING"
    assert "not known to be acknowledged" in said.getMessage()
    assert "torn-0" in said.getMessage()


# -- the order in which things get to the disk


def test_a_new_file_is_on_disk_before_it_has_a_name(tmp_path):
    with Faults(tmp_path) as faults:
        SealedFileStorage(str(tmp_path / "graph.fs")).close()
    order = [seen for seen in faults.seen if seen.split()[0] in ("pwrite", "fsync", "replace")]
    assert order[:4] == ["pwrite graph.fs.new", "fsync graph.fs.new", "replace graph.fs.new", f"fsync {tmp_path}"]


def test_a_commit_is_two_writes_one_fsync_and_the_mark(tmp_path):
    with Store(tmp_path / "graph.fs") as store:
        store.root["n"] = 1
        store.persist()
        store.root["n"] = 2
        with Faults(tmp_path) as faults:
            store.persist()
    assert faults.seen == ["pwrite graph.fs", "pwrite graph.fs", "fsync graph.fs", "pwrite graph.fs.mark"]


def test_without_fsync_there_is_none_until_it_is_closed(tmp_path):
    storage = SealedFileStorage(str(tmp_path / "graph.fs"), sync=False)
    with Faults(tmp_path) as faults:
        store = Store(storage)
        for number in range(3):
            store.root["n"] = number
            store.persist()
        assert not any("fsync" in seen or "mark" in seen for seen in faults.seen)
        store.close()
    assert any("fsync" in seen for seen in faults.seen)
    with Store(tmp_path / "graph.fs") as store:
        assert store.root["n"] == 2


def test_a_packed_file_is_on_disk_before_it_takes_the_place(tmp_path):
    with Store(tmp_path / "graph.fs") as store:
        for number in range(3):
            store.root["n"] = number
            store.persist()
        with Faults(tmp_path) as faults:
            store._db.pack()
    order = [seen for seen in faults.seen if seen.split()[0] in ("fsync", "replace", "rename", "remove")]
    assert order == ["fsync graph.fs.pack", "remove graph.fs.checkpoint", "replace graph.fs.pack", f"fsync {tmp_path}"]
