"""Programs that older versions left off go on in this one, from every commit on: to what they came to in theirs."""

from __future__ import annotations

import gc
import itertools
import re
import shutil
import sys

import pytest

import pstore
from pstore import Store
from pstore.errors import StoreReadOnly
from pstore.testing import VirtualClock
from tests.engine import golden
from tests.engine.crash import after_commits
from tests.engine.golden import __main__ as writer
from tests.engine.golden import basis, program
from tests.turns import part

PYTHON = "{}.{}".format(*sys.version_info)
PYTHONS = {"3.11", "3.12", "3.13", "3.14", "3.15"}
MOST_HOPS = 300

own = pytest.mark.parametrize("engine", (0, 1, 2, 3))


class Killed(BaseException):
    pass


@pytest.fixture
def left_off(engine, tmp_path):
    """A copy of the file of this Python."""
    path = golden.HERE / f"engine-{engine}-{PYTHON}.fs.xz"
    return golden.unpacked(path, tmp_path / "left_off.fs")


def go_on(path, engine, start=basis.LEFT_OFF):
    return writer.go_on(path, writer.program_of(engine), start)


def assert_same(text, engine):
    assert text.splitlines() == golden.end_of(engine).read_text().splitlines()


def assert_same_but_for_ends(text, engine):
    """But for what an object in a cluster of an old store does when the program lets go of it: that may be lost."""
    found, wanted = (
        [
            re.sub(r", \(1\d\d\d\.0, 'closed'\)", "", line) if line.startswith("out generators:") else line
            for line in lines.splitlines()
            if not line.startswith("out handler:")
        ]
        for lines in (text, golden.end_of(engine).read_text())
    )
    assert found == wanted


def test_there_are_files_of_all_pythons():
    found = {(golden.engine_of(path), golden.python_of(path)) for path in golden.files()}
    assert found >= {(engine, python) for engine in (0, 1, 2, 3) for python in PYTHONS}


@own
def test_goes_on_to_its_end(left_off, engine):
    assert_same(go_on(left_off, engine), engine)
    assert_same(go_on(left_off, engine, start=3020.0 if engine else 1120.0), engine)  # there is nothing more to do


@own
def test_goes_on_from_every_further_commit(left_off, engine, tmp_path):
    points, times = [], []

    def copy(store):
        points.append(shutil.copy(left_off, tmp_path / f"{len(points)}.fs"))
        times.append(store.parts["loop"].time())

    with after_commits(copy):
        assert_same(go_on(left_off, engine), engine)
    assert len(points) > 20  # how many depends on how many answers come together
    for path, time in part(list(zip(points, times)), 6):
        assert_same_but_for_ends(go_on(path, engine, time), engine)


@pytest.mark.parametrize("engine", part((0, 1, 2, 3), 3))
def test_is_killed_at_every_second_commit(left_off, engine):
    time = basis.LEFT_OFF

    def kill(store):
        nonlocal time
        if next(commits) == 1:
            time = store.parts["loop"].time()
            raise Killed

    for _ in range(MOST_HOPS):
        commits = itertools.count()
        try:
            with after_commits(kill):
                text = go_on(left_off, engine, time)
        except Killed:
            continue
        break
    assert_same_but_for_ends(text, engine)


@own
def test_packed_after_the_first_commit(left_off, engine):
    """What the old version has written is not needed any more."""
    with pstore.open(left_off, clock=VirtualClock(basis.LEFT_OFF)) as opened:
        opened.commit()
        opened.commit()
        opened.store.pack()
    assert_same(go_on(left_off, engine), engine)


@own
def test_a_store_without_an_engine_keeps_the_program(left_off, engine):
    with Store(left_off) as store:
        store.root["new"] = "thing"
        store.persist()
    with Store(left_off) as store:
        assert store.root["new"] == "thing"
        store.root["new"] = "other thing"
        store.persist()
    assert_same(go_on(left_off, engine), engine)


@own
def test_can_be_looked_at(left_off, engine):
    before = left_off.read_bytes()
    with Store(left_off, read_only=True) as store:
        assert sorted(store.root["outs"]["in_order"]) == []
        assert store.parts["loop"].tasks["sleeping"].done() is False
        with pytest.raises(StoreReadOnly):
            store.persist()
    assert left_off.read_bytes() == before


@own
def test_old_objects_go_when_the_program_lets_go_of_them(left_off, engine):
    """Futures, frames and timers that were nodes of clusters do not stay for ever."""
    go_on(left_off, engine)
    with pstore.open(left_off, clock=VirtualClock(5000.0)) as opened:
        for task_id, task in list(opened.tasks.items()):
            if task.done():
                opened.forget(task_id)
        del task
        opened.root.clear()
        opened.commit()
        opened.store.pack()
        gc.collect()
    # What stays from engine 2 on are the codes of frames.
    assert left_off.stat().st_size < (4000, 9000, 80_000, 80_000)[engine]


def test_letters_of_an_old_store_are_delivered(tmp_path):
    program.delivered.clear()
    path = golden.unpacked(golden.HERE / f"engine-1-{PYTHON}.fs.xz", tmp_path / "copy.fs")
    go_on(path, 1)
    assert program.delivered.count(("late", "free")) == 1
    golden_letters = [id for id, _ in program.delivered if not id.startswith("held")]
    assert golden_letters == ["failing", "behind", "late"]
    assert [id for id, _ in program.delivered if id.startswith("held")] == ["held 0", "held 1"]


def test_steps_of_an_old_store_are_begun_again_under_their_keys(tmp_path):
    path = golden.unpacked(golden.HERE / f"engine-1-{PYTHON}.fs.xz", tmp_path / "copy.fs")
    with pstore.open(path, clock=VirtualClock(basis.LEFT_OFF)) as opened:
        steps = opened._loop.outbox.pending
        assert "key of keyed" in steps
        assert {step.key for step in steps.values()} == set(steps)
        assert {step.due for step in steps.values()} >= {None, 1050.0}
        assert all(step.owner is not None for step in steps.values())


def test_what_an_old_engine_did_not_have_is_there(tmp_path):
    path = golden.unpacked(golden.HERE / f"engine-0-{PYTHON}.fs.xz", tmp_path / "copy.fs")

    async def work():
        message = await pstore.receive()
        return await pstore.step(abs, message, limit=program.limiter)

    with pstore.open(path, clock=VirtualClock(basis.LEFT_OFF)) as opened:
        assert len(opened.find(state="active")) == len([task for task in opened.tasks.values() if not task.done()])
        task = opened.spawn(work, id="work", tags={"new": True})
        opened.send(task, -5)
        assert opened.run(task) == 5
        assert opened.find(tag={"new": True}) == [task]
    with pstore.open(path, clock=VirtualClock(basis.LEFT_OFF)) as opened:
        assert program.limiter.name in opened._loop.state.limits


def test_nothing_is_written_over(tmp_path):
    (tmp_path / f"engine-1-{PYTHON}.fs.xz").write_bytes(b"")
    with pytest.raises(SystemExit, match="is there already"):
        writer.write(1, tmp_path)
