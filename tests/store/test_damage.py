"""A damaged store is refused with a StoreError, or gives exactly what was committed last; never anything else."""

from __future__ import annotations

import asyncio
import random

import pytest
from ZODB import Connection
from ZODB.FileStorage import FileStorage

import pstore
from pstore import Store
from pstore._store import filecheckpoint, filestorage
from pstore.errors import StoreCorrupt, StoreError
from pstore.testing import VirtualClock

COMMITS = 3
HEADER, STATUS = 23, 16  # of a transaction: its length, and where the status is in it


@pytest.fixture
def path(tmp_path):
    return tmp_path / "graph.fs"


@pytest.fixture(params=["walked over", "checkpoint"])
def ends(path, request, monkeypatch):
    """Where the file ended after each transaction: ZODB's own first one, then `COMMITS` of ours."""
    if request.param == "checkpoint":
        monkeypatch.setattr(filecheckpoint, "GROWN", -(1 << 30))  # one at every commit
    found = []
    for number in range(COMMITS):
        with Store(path) as store:
            if not number:
                found.append(path.stat().st_size)
            store.root["number"] = number
            store.persist(f"commit {number}")
        found.append(path.stat().st_size)
    return found


def index_of(path):
    return path.with_name(path.name + ".index")


def indexed(path):
    """What ZODB's own storage puts beside the file."""
    FileStorage(str(path)).close()
    return index_of(path).read_bytes()


def state(path, read_only):
    """What is in the store, or "refused"; any exception but a StoreError goes through."""
    try:
        with Store(path, read_only=read_only) as store:
            return dict(store.root), dict(store.parts)
    except StoreError:
        return "refused"


def check(path, content, expected, read_only=True):
    path.write_bytes(content)
    assert state(path, read_only) in (expected, "refused")
    if not read_only:
        index_of(path).unlink(missing_ok=True)


def flipped(content, at, bit):
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


LAST = ({"number": COMMITS - 1}, {})


@pytest.mark.parametrize("what", ["deleted", "moved", "replaced"])
def test_a_file_that_goes_while_it_is_open_takes_no_commit(tmp_path, what):
    path = tmp_path / "a.fs"
    with pstore.Store(path) as store:
        store.root["x"] = 1
        store.persist()
        if what == "deleted":
            path.unlink()
        else:
            path.rename(tmp_path / "b.fs")
            if what == "replaced":
                path.write_bytes((tmp_path / "b.fs").read_bytes())
        store.root["x"] = 2
        for _ in range(2):
            with pytest.raises(StoreError, match="deleted, moved or replaced|close the store and open it again"):
                store.persist()
    if what != "deleted":
        with pstore.Store(tmp_path / "b.fs") as store:
            assert store.root["x"] == 1


def test_any_bit_may_flip(path, ends):
    content, pick = path.read_bytes(), random.Random(1)
    for at in range(len(content)):
        check(path, flipped(content, at, pick.randrange(8)), LAST)


def test_any_bit_of_the_last_headers_may_flip(path, ends):
    content = path.read_bytes()
    for at in range(ends[-2], ends[-2] + HEADER + len("commit 2") + 42):
        for bit in range(8):
            check(path, flipped(content, at, bit), LAST)


@pytest.mark.parametrize("with_index", [True, False])
def test_any_byte_may_change_before_a_program_goes_on(path, ends, with_index):
    content, index, pick = path.read_bytes(), indexed(path), random.Random(2)
    for at in range(0, len(content), 3):
        if with_index:
            index_of(path).write_bytes(index)
        if at != ends[-2] + STATUS:  # "c" there is how a transaction looks that its process did not live to finish
            check(path, content[:at] + pick.randbytes(1) + content[at + 1 :], LAST, read_only=False)


def test_a_damaged_index_does_not_matter(path, ends):
    index, pick = indexed(path), random.Random(3)
    for at in range(len(index)):
        index_of(path).write_bytes(flipped(index, at, pick.randrange(8)))
        assert state(path, True) == LAST
    for other in (b"", index[: len(index) // 2], bytes(100)):
        index_of(path).write_bytes(other)
        assert state(path, False) == LAST


def test_the_index_of_an_older_file_does_not_matter(path, ends):
    index = indexed(path)
    with Store(path) as store:
        store.root["number"] = 99
        store.persist()
    index_of(path).write_bytes(index)
    assert state(path, False) == ({"number": 99}, {})


def test_no_index_is_written(path, ends):
    """Nobody here reads it."""
    assert not index_of(path).exists()


def test_an_index_does_not_outlive_what_it_is_of(path, ends):
    """After a pack ZODB's own storage would take places from it where something else is now."""
    indexed(path)
    with Store(path) as store:
        store.pack()
        assert not index_of(path).exists()


def test_a_file_may_be_cut_anywhere(path, ends):
    """It was acknowledged, so nothing that was cut off may be missing silently."""
    content = path.read_bytes()
    for length in range(4, len(content)):
        path.write_bytes(content[:length])
        assert state(path, True) == "refused", length
    path.write_bytes(content)
    assert state(path, True) == LAST


def test_a_copy_of_a_file_may_be_cut_anywhere(path, ends):
    """Nothing says that its last transaction was acknowledged: it is as after a power cut."""
    content, copy = path.read_bytes(), path.with_name("copy.fs")
    after = dict(zip(ends, [({}, {}), *(({"number": number}, {}) for number in range(COMMITS))], strict=True))
    for length in range(ends[0], len(content)):
        copy.write_bytes(content[:length])
        whole = max(end for end in ends if end <= length)
        assert state(copy, True) == after[whole]
        assert copy.read_bytes() == content[:length]


def test_a_part_may_be_missing_doubled_or_swapped(path, ends):
    content = path.read_bytes()
    first, second, third = (content[start:end] for start, end in zip(ends, ends[1:]))
    head = content[: ends[0]]
    for parts in [(second, third), (first, third), (first, third, second), (first, second, second), (third, first)]:
        check(path, head + b"".join(parts), LAST)
        assert state(path, True) == "refused"


@pytest.mark.parametrize("ends", ["walked over"], indirect=True)
def test_a_refused_store_is_neither_changed_nor_locked(path, ends):
    wrong = flipped(path.read_bytes(), ends[0] + HEADER + len("commit 0") + 7, 0)
    path.write_bytes(wrong)
    for _ in range(2):
        with pytest.raises(StoreCorrupt, match="bring back a backup"):
            Store(path)
    assert path.read_bytes() == wrong


async def work():
    await asyncio.sleep(10)


@pytest.mark.parametrize("bit", range(8))
def test_a_damaged_program_is_not_begun_anew(path, bit):
    with pstore.open(path, clock=VirtualClock()) as engine:
        size = path.stat().st_size
        engine.spawn_once("a", work)
        engine.commit("first")
        engine.spawn_once("b", work)
        engine.commit()
    content = path.read_bytes()
    for at in range(size, size + HEADER + len("first") + 42):
        path.write_bytes(flipped(content, at, bit))
        index_of(path).unlink(missing_ok=True)
        try:
            engine = pstore.open(path, clock=VirtualClock())
        except StoreError:
            continue
        with engine:
            assert list(engine.tasks) == ["a", "b"]


def test_a_damaged_record_is_not_unpickled(path, ends, monkeypatch):
    """Unpickling damaged bytes could import, call or allocate anything."""
    content = path.read_bytes()
    at = content.rindex(b"number")
    path.write_bytes(flipped(content, at, 0))
    read, setstate = [], Connection.ObjectReader.setGhostState
    spy = lambda self, obj, data: read.append(bytes(data)) or setstate(self, obj, data)
    monkeypatch.setattr(Connection.ObjectReader, "setGhostState", spy)
    with pytest.raises(StoreCorrupt, match="checksum"):
        Store(path)
    assert not any(b"ecord" in data and b"number" in data for data in read)


# -- what is no damage


def test_a_packed_store_is_whole(path, ends):
    with Store(path) as store:
        store._db.pack()
        store.root["number"] = 99
        store.persist()
    assert state(path, False) == ({"number": 99}, {})
    content = path.read_bytes()
    for at in range(len(content)):
        check(path, flipped(content, at, at % 8), ({"number": 99}, {}))


def test_what_was_written_through_a_storage_of_the_users_is_read(path):
    with Store(FileStorage(str(path))) as store:
        store.root["number"] = 1
        store.persist()
    assert state(path, False) == ({"number": 1}, {})
    with Store(path) as store:
        store.root["number"] = 2
        store.persist()
    assert state(path, False) == ({"number": 2}, {})
    with Store(FileStorage(str(path))) as store:
        assert store.root == {"number": 2}


def test_damage_that_only_the_unpickler_sees_is_damage(path):
    """A file without seals, as one that was written through a storage of the user's is."""
    with Store(FileStorage(str(path))) as store:
        store.root["number"] = 1
        store.persist()
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(flipped(content, at, at % 8))
        try:
            Store(path, read_only=True).close()
        except (StoreError, pstore.errors.FormatError):
            pass


# -- the checkpoint beside a file


@pytest.fixture
def checkpoints(monkeypatch):
    monkeypatch.setattr(filecheckpoint, "GROWN", -(1 << 30))


def checkpoint_of(path):
    return path.with_name(path.name + ".checkpoint")


@pytest.fixture
def walks(monkeypatch):
    """From where each walk went on."""
    found, walk = [], filestorage.walk

    def noted(*args):
        result = walk(*args)
        found.append(result.walked)
        return result

    monkeypatch.setattr(filestorage, "walk", noted)
    return found


def commits(path, numbers, **given):
    with Store(path, **given) as store:
        for number in numbers:
            store.root["number"] = number
            store.root.setdefault("all", []).append(number)
            store.persist(f"commit {number}")
        return path.stat().st_size


def test_an_opening_goes_on_where_the_checkpoint_ends(path, checkpoints, walks, monkeypatch):
    end = commits(path, range(3))
    monkeypatch.setattr(filecheckpoint, "GROWN", 1 << 30)
    later = commits(path, range(3, 5))
    assert commits(path, ()) == later
    assert walks == [end, end]
    assert state(path, True) == ({"number": 4, "all": [0, 1, 2, 3, 4]}, {})


def test_checkpoints_are_few_and_an_opening_walks_over_little(path, walks):
    written, write = [], filestorage.write_checkpoint

    def noted(name, descriptor, checkpoint):
        written.append(checkpoint.end)
        return write(name, descriptor, checkpoint)

    filestorage.write_checkpoint = noted
    try:
        end = commits(path, range(1500))
    finally:
        filestorage.write_checkpoint = write
    assert end > 4 * filecheckpoint.GROWN
    assert all(two - one >= filecheckpoint.GROWN for one, two in zip(written, written[1:]))
    commits(path, ())
    assert walks == [written[-1]] and end - written[-1] < 2 * filecheckpoint.GROWN


def test_a_small_file_has_no_checkpoint(path):
    commits(path, range(3))
    assert not checkpoint_of(path).exists()


def test_without_fsync_there_is_one_only_when_the_file_is_closed(path, checkpoints):
    with Store(path, durability="os") as store:
        store.root["number"] = 1
        store.persist()
        assert not checkpoint_of(path).exists()
    assert checkpoint_of(path).exists()


def test_a_damaged_checkpoint_is_not_used(path, checkpoints, walks):
    commits(path, range(3))
    good, place, pick = checkpoint_of(path).read_bytes(), checkpoint_of(path), random.Random(4)
    expected = ({"number": 2, "all": [0, 1, 2]}, {})
    wrong = [flipped(good, at, pick.randrange(8)) for at in range(len(good))]
    wrong += [good[:length] for length in range(len(good))] + [good + b"x", bytes(len(good))]
    for content in wrong:
        place.write_bytes(content)
        assert state(path, True) == expected
    assert set(walks) == {4}
    place.write_bytes(good)
    assert state(path, True) == expected
    assert walks[-1] > 4


def test_a_checkpoint_of_another_file_is_not_used(path, checkpoints, walks):
    commits(path, range(3))
    copy = path.with_name("copy.fs")
    copy.write_bytes(path.read_bytes())
    checkpoint_of(copy).write_bytes(checkpoint_of(path).read_bytes())
    walks.clear()
    assert state(copy, True) == state(path, True)
    assert walks[0] == 4 and walks[1] > 4


def test_a_checkpoint_of_a_file_that_was_packed_is_not_used(path, checkpoints, walks):
    commits(path, range(5))
    old = checkpoint_of(path).read_bytes()
    with Store(path) as store:
        store.pack()
    new = checkpoint_of(path).read_bytes()
    assert new != old
    checkpoint_of(path).write_bytes(old)
    expected = ({"number": 4, "all": [0, 1, 2, 3, 4]}, {})
    walks.clear()
    assert state(path, True) == expected
    checkpoint_of(path).unlink()
    assert state(path, True) == expected
    checkpoint_of(path).write_bytes(new)
    assert state(path, True) == expected
    assert walks[:2] == [4, 4] and walks[2] > 4


def test_a_checkpoint_that_cannot_be_written_is_left_out(path, checkpoints):
    checkpoint_of(path).mkdir(parents=True)
    commits(path, range(3))
    assert state(path, False) == ({"number": 2, "all": [0, 1, 2]}, {})


def test_the_past_is_walked_over_before_it_is_read(path, checkpoints):
    tids, content = [], b""
    with Store(path) as store:
        for number in range(4):
            store.root["number"] = number
            tids.append(store.persist())
    content, pick = path.read_bytes(), random.Random(5)
    for at in range(0, len(content), 2):
        path.write_bytes(flipped(content, at, pick.randrange(8)))
        try:
            with Store(path, read_only=True) as store:
                assert store.root["number"] == 3
                for number, tid in enumerate(tids):
                    with store.at(tid) as past:
                        assert past.root["number"] == number, at
        except StoreError:
            pass


def test_what_is_damaged_before_the_checkpoint_is_not_packed(path, checkpoints):
    commits(path, range(3))
    content = path.read_bytes()
    header = content.index(b"commit 1") - HEADER
    path.write_bytes(flipped(content, header + STATUS, 1))
    with Store(path) as store:
        assert store.root["number"] == 2
        with pytest.raises(StoreCorrupt):
            store.pack()
    assert path.read_bytes() == flipped(content, header + STATUS, 1)
