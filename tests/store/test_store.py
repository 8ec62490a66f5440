"""`Store`: one graph in one database; what it says of files that are not its own or are damaged."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import ZODB
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage

from pstore import Store
from pstore._store import records
from pstore._store.filestorage import is_locked_here
from pstore.errors import (
    CaptureError,
    FormatError,
    NotAStore,
    StoreClosed,
    StoreCorrupt,
    StoreLocked,
    StoreTruncated,
    UnsupportedStorage,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "graph.fs"


def filled(path, **names):
    with Store(path) as store:
        store.root.update(names)
        store.persist()
    return path


def test_what_was_persisted_is_there_again(path):
    shared = [1]
    filled(path, a=shared, b={"inner": shared})
    with Store(path) as store:
        assert store.root == {"a": [1], "b": {"inner": [1]}}
        assert store.root["a"] is store.root["b"]["inner"]


def test_what_was_not_persisted_is_not(path):
    filled(path, a=1)
    with Store(path) as store:
        store.root["a"] = 2
    with Store(path) as store:
        assert store.root == {"a": 1}


def test_abort_goes_back(path):
    with Store(filled(path, a=[1])) as store:
        store.root["a"].append(2)
        store.abort()
        assert store.root == {"a": [1]}


def test_persisting_what_did_not_change_writes_nothing(path):
    with Store(filled(path, a=1)) as store:
        tid, size = store.tid, path.stat().st_size
        assert store.persist() == tid
        assert path.stat().st_size == size
        store.root["a"] = 2
        assert store.persist("changed") > tid


def test_a_large_graph_is_stored_without_a_warning(path):
    """ZODB would warn of a large record; the graph is one record."""
    filled(path, data=bytes(17 << 20))


def test_a_refused_persist_changes_nothing(path):
    with Store(filled(path, a=1)) as store:
        tid = store.tid
        store.root["bad"] = sys._getframe()
        with pytest.raises(CaptureError):
            store.persist()
        assert store.tid == tid
        del store.root["bad"]
        store.root["a"] = 2
        store.persist()
    with Store(path) as store:
        assert store.root == {"a": 2}


def test_closing_runs_no_finally(path):
    log = []

    def generate():
        try:
            yield 1
        finally:
            log.append("finally")

    with Store(path) as store:
        store.root["g"] = generate()
        next(store.root["g"])
    del store
    assert log == []


def test_an_open_storage_and_memory():
    with Store("memory:") as store:
        store.root["a"] = 1
        store.persist()
    storage = MappingStorage()
    with Store(storage) as store:
        store.root["a"] = 1
        store.persist()


def test_a_closed_store_says_so(path):
    store = Store(path)
    store.close()
    store.close()
    with pytest.raises(StoreClosed):
        store.persist()


# -- files that are not stores: one clear error each, and not one byte changed


def untouched(path, error, match):
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(error, match=match):
        Store(path)
    with pytest.raises(error, match=match):
        Store(path, read_only=True)
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.parametrize("content", [b"hello, this is text", b"SQLite format 3\0" + bytes(100), b"x"])
def test_other_files_are_refused(path, content):
    path.write_bytes(content)
    untouched(path, NotAStore, "does not begin as a ZODB FileStorage does")


def test_a_folder_is_refused(tmp_path):
    untouched(tmp_path, NotAStore, "it is a folder")


def test_a_path_in_no_folder_is_refused(tmp_path):
    with pytest.raises(NotAStore, match="folder that it should be in"):
        Store(tmp_path / "nowhere" / "x.fs")


def test_someone_elses_zodb_is_refused(path):
    db = ZODB.DB(FileStorage(str(path)))
    with db.transaction() as connection:
        connection.root()["theirs"] = 1
    db.close()
    untouched(path, NotAStore, "not one of pstore's")


def test_a_file_cut_in_the_last_transaction_is_refused(path):
    size = filled(path, a=list(range(1000))).stat().st_size
    whole = path.read_bytes()
    for cut in (1, 9, 100, 1000, size - 400):
        path.write_bytes(whole[: size - cut])
        untouched(path, StoreTruncated, r"is truncated.*backup")
    path.write_bytes(whole[:2])
    untouched(path, StoreTruncated, "truncated")


def test_a_write_that_was_cut_off_by_a_crash_is_dropped(path):
    filled(path, a=1)
    whole = path.read_bytes()
    filled(path, a=2)
    later = path.read_bytes()[len(whole) :]
    torn = later[:16] + b"c" + later[17:]  # the status of a transaction that is not finished
    for length in (5, 23, len(torn) // 2, len(torn)):
        path.write_bytes(whole + torn[:length])
        path.with_name("graph.fs.mark").unlink(missing_ok=True)  # the process died before it was told
        with Store(path, read_only=True) as store:
            assert store.root == {"a": 1}
        with Store(path) as store:
            assert store.root == {"a": 1}


def test_changed_bytes_are_refused(path):
    filled(path, text="some text that is easily found")
    content = path.read_bytes()
    for old, new in ((b"easily", b"hardly"), (b"pstore\n_Record", b"pstore\n_Recard")):
        wrong = content.replace(old, new)
        assert wrong != content
        path.write_bytes(wrong)
        untouched(path, StoreCorrupt, "is damaged.*backup")


def test_garbage_after_the_last_transaction_is_refused(path):
    filled(path, a=1)
    path.write_bytes(path.read_bytes() + b"garbage" * 20)
    untouched(path, StoreCorrupt, "where one should begin")


def test_a_format_of_the_future_is_refused(path, monkeypatch):
    monkeypatch.setattr("pstore._store.keeper.encode", partial(records.encode, version=99))
    filled(path, a=1)
    monkeypatch.undo()
    untouched(path, FormatError, "has format 99")


def test_a_store_in_use_is_refused_and_may_be_tried_again(path):
    filled(path, a=1)
    code = f"import pstore, sys; s = pstore.Store({str(path)!r}); print('open', flush=True); sys.stdin.read()"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    ) as other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StoreLocked, match="another process") as caught:
            Store(path)
        assert caught.value.retryable
        with Store(path, read_only=True) as store:
            assert store.root == {"a": 1}
        other.stdin.close()
    with Store(path) as store:
        assert store.root == {"a": 1}


def test_a_store_that_this_process_has_open_is_refused_as_such(path):
    with Store(path) as store:
        store.persist()
        for again in (path, f"file:{path}", os.path.relpath(path)):
            with pytest.raises(StoreLocked, match="this process has it open; close that") as caught:
                Store(again)
            assert not caught.value.retryable
            copy = pickle.loads(pickle.dumps(caught.value))
            assert (str(copy), copy.own, copy.retryable) == (str(caught.value), True, False)
    with Store(path):
        pass


def test_a_store_that_was_closed_is_not_open_here(path):
    with Store(path) as store:
        store.persist()
        assert is_locked_here(str(path))
        assert not is_locked_here(str(path.with_name("other.fs")))
    assert not is_locked_here(str(path))
    with Store(path, read_only=True):
        assert not is_locked_here(str(path))  # it takes no lock, and is in nobody's way


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_what_the_parent_has_open_a_child_has_not(path):
    with Store(path):
        child = os.fork()
        if not child:
            os._exit(is_locked_here(str(path)))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_other_storages_are_refused():
    with pytest.raises(UnsupportedStorage, match="use the path of a file"):
        Store("ftp://example/x")
