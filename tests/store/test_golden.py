"""Stores that every older version and every Python wrote: data is read by all, frames by the Python that wrote them."""

from __future__ import annotations

import shutil
import sys

import pytest

from pstore import Store
from pstore.errors import FormatError
from tests import processes
from tests.store import golden
from tests.store.features import INCREMENTAL
from tests.store.golden import __main__ as writer
from tests.store.golden import program
from tests.store.portrait import Portrait, assert_same

PYTHON = "{}.{}".format(*sys.version_info)
MAGIC = {"3.11": 3495, "3.12": 3531, "3.13": 3571, "3.14": 3627, "3.15": 3666}  # of the bytecode

each = pytest.mark.parametrize("path", golden.files(frames=False), ids=lambda path: path.stem)
each_with_frames = pytest.mark.parametrize("path", golden.files(frames=True), ids=lambda path: path.stem)


def expected(make, go_on):
    root = dict(make())  # a copy, as the root of a store is: `data` refers to its own
    go_on(root)
    return root


def test_there_are_files_of_all_pythons_in_pairs():
    assert {golden.python_of(path) for path in golden.files(frames=False)} >= set(MAGIC)
    pairs = [{(golden.format_of(p), golden.python_of(p)) for p in golden.files(frames=f)} for f in (False, True)]
    assert pairs[0] == pairs[1]


@each
def test_data_is_read_by_all(path):
    before = path.read_bytes()
    with Store(path, read_only=True) as store:
        assert_same(expected(program.data, program.go_on), store.root)
    assert path.read_bytes() == before


@each
def test_an_old_store_can_be_gone_on_with(path, tmp_path):
    copy = shutil.copy(path, tmp_path / "copy.fs")
    with Store(copy) as store:
        tid = store.tid
        store.root["shared"].append("now")
        store.root["new"] = [store.root["ring"], store.root["shared"]]
        del store.root["error"]
        assert store.persist("now") > tid
        live = Portrait(store.root)
    with Store(copy) as store:
        assert_same(live, store.root)
        assert store.root["shared"][-1] == "now"
        if INCREMENTAL:
            tid = store.tid
            assert store.persist() == tid
        assert store.root["new"][1] is store.root["shared"] is store.root["ring"].shared
        store.root["again"] = store.root["new"]
        store.persist()
    with Store(copy) as store:
        assert store.root["again"] is store.root["new"]


@each_with_frames
def test_frames_are_read_by_the_python_that_wrote_them(path):
    before = path.read_bytes()
    wrote = golden.python_of(path)
    if wrote != PYTHON:
        with pytest.raises(FormatError, match=rf"\b({wrote}|bytecode {MAGIC[wrote]})\b"), Store(path) as store:
            program.resumed(store.root)  # a store that loads lazily may refuse as late as here
    else:
        with Store(path, read_only=True) as store:
            root = expected(program.frames, program.frames_go_on)
            assert_same(root, store.root)
            assert_same([program.resumed(root), root], [program.resumed(store.root), store.root])
    assert path.read_bytes() == before
    for beside in path.parent.glob(path.name + ".*"):
        beside.unlink()


@each_with_frames
def test_old_frames_can_be_gone_on_with(path, tmp_path):
    if golden.python_of(path) != PYTHON:
        pytest.skip("of another Python")
    copy = shutil.copy(path, tmp_path / "copy.fs")
    with Store(copy) as store:
        store.root["shared"].append("now")
        store.root["look"], store.root["up"] = store.root["up"], store.root["look"]
        next(store.root["fresh"])
        store.persist()
        live = Portrait(store.root)
    with Store(copy) as store:
        assert_same(live, store.root)


def test_the_writer_writes_what_is_read_in_another_process(tmp_path):
    """Also with another hash seed; and it does not replace a file."""
    plain, with_frames = writer.write(tmp_path)
    code = f"""
        from pstore import Store
        from tests.store.golden import program
        from tests.store.portrait import assert_same
        for path, make, go_on in (({str(plain)!r}, program.data, program.go_on),
                                  ({str(with_frames)!r}, program.frames, program.frames_go_on)):
            root = dict(make())
            go_on(root)
            with Store(path) as store:
                assert_same(root, store.root)
        """
    processes.run(code, tmp_path, hash_seed=3)
    with pytest.raises(SystemExit, match="is there already"):
        writer.write(tmp_path)
