"""ps, show, bad input, what is not a command's own business: help, pipes, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pstore.tools import cli
from pstore.tools.listing import age
from tests.tools.kit import assert_one_line, command, environment, fingerprint, here, pstore, python

AGE = re.compile(r" \d+ (s|min)( \d+ s)?")
# A program as people write them: no `if __name__ == "__main__"`, it runs when it is imported.
SHOP = """
import asyncio, sys, threading
import pstore

async def order(queue, number):
    undo = [lambda: number]
    return await pay(queue, number)

async def pay(queue, number):
    total = number * 2
    return total + await queue.get()

async def fail():
    raise ValueError("no stock")

async def give():
    return ["done"]

async def rest():
    print("RESUMED")
    await asyncio.sleep(3600)
    print("RESUMED")

async def group():
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(rest())

async def ask():
    await pstore.step(wait, 1000)

def wait(seconds):
    threading.Event().wait(seconds)

print("IMPORTED")
with pstore.open("shop.fs") as engine:
    queue = engine.root.setdefault("queue", asyncio.Queue())
    engine.spawn_once("order-17", order, queue, 5)
    engine.spawn_once("failing", fail)
    engine.spawn_once("giving", give)
    engine.spawn_once("grouped", group)
    engine.spawn_once("asking", ask)
    if "hold" in sys.argv:
        print("held", flush=True)
    else:
        threading.Timer(0.3, engine.stop).start()
    engine.run()
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    (folder / "shop.py").write_text(SHOP)
    python("shop.py", cwd=folder)
    for name in ("shop.fs.lock", "shop.fs.tmp", "shop.fs.index"):
        (folder / name).unlink(missing_ok=True)
    return folder


@pytest.fixture
def shop(made, tmp_path):
    """A folder with a store and its program; beside it room for what should not be touched."""
    folder = tmp_path / "program"
    shutil.copytree(made, folder)
    return folder


# -- ps and show


def test_ps_lists_tasks_with_state_place_and_what_they_wait_for(shop):
    done = pstore("ps", "shop.fs", cwd=shop)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    listed = [line for line in lines if not line.startswith("    ")]
    rows = {line.split()[0]: AGE.sub(" ...", " ".join(line.split()[1:]), count=1) for line in listed}
    assert rows["TASK"] == "STATE AGE WHERE WAITS FOR"
    assert rows["order-17"] == "waiting ... shop.py:11 pay() asyncio Queue.get()"
    assert rows["failing"] == "failed ... raised ValueError('no stock')"
    assert rows["giving"] == "finished ... returned ['done']"
    assert rows["grouped"].startswith("waiting ... shop.py:25 group() asyncio TaskGroup")
    assert rows["asking"] == "waiting ... shop.py:29 ask() step wait (1000)"
    assert rows["Task-1"] == "waiting ... shop.py:21 rest() asyncio sleep(3600)"
    assert len(rows) == 7
    below = {line.split()[0]: lines[n + 1] for n, line in enumerate(lines[:-1]) if lines[n + 1].startswith("    ")}
    assert below["order-17"] == "    return total + await queue.get()"
    assert below["asking"] == "    await pstore.step(wait, 1000)"
    assert "giving" not in below


def test_ps_for_programs(shop):
    done = pstore("ps", "--json", "shop.fs", cwd=shop)
    tasks = {task["id"]: task for task in map(json.loads, done.stdout.splitlines())}
    assert tasks["order-17"]["state"] == "waiting"
    assert tasks["order-17"]["source"] == "return total + await queue.get()"
    assert tasks["order-17"]["where"].endswith("shop.py:11")
    assert 0 <= time.time() - tasks["order-17"]["since"] < 3600


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min 59 s"),
        (90_000, "1 d 1 h"),
        (86_460, "1 d"),
        (-5, "0 s"),
    ],
)
def test_since_when(seconds, text):
    assert age(1e9, 1e9 - seconds) == text


def test_show_gives_the_stack_outermost_first_with_source_and_locals(shop):
    done = pstore("show", "shop.fs", "order-17", cwd=shop)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert re.fullmatch(r"task order-17, order\(\): waiting \d+ .* for asyncio Queue.get\(\)", lines[0])
    assert lines[2:7] == [
        "0  shop.py:7 in order()",
        "return await pay(queue, number)",
        lines[4],
        "number = 5",
        "undo   = [<lambda>]",
    ]
    assert lines[4].startswith("queue  = <Queue")
    assert lines[8:10] == ["1  shop.py:11 in pay()", "return total + await queue.get()"]
    assert "total  = 10" in lines
    assert any(line.startswith("2  ") and line.endswith("in Queue.get()") for line in lines)


def test_show_of_tasks_that_are_done(shop):
    failed = pstore("show", "shop.fs", "failing", cwd=shop)
    assert failed.stdout.splitlines()[0] == "task failing, fail(): failed: raised ValueError('no stock')"
    place, source = (line.strip() for line in failed.stdout.splitlines()[2:])
    assert place.endswith("shop.py:14 in fail()")
    assert source == 'raise ValueError("no stock")'
    finished = pstore("show", "shop.fs", "giving", cwd=shop)
    assert finished.stdout == "task giving, give(): finished: returned ['done']\n"
    asking = pstore("show", "shop.fs", "asking", cwd=shop)
    assert " for step wait [" in asking.stdout


def test_looking_runs_nothing_and_leaves_every_byte(shop):
    before = fingerprint(shop)
    outputs = [pstore("ps", "shop.fs", cwd=shop).stdout]
    outputs += [pstore("show", "shop.fs", task, cwd=shop).stdout for task in ("Task-1", "asking", "giving")]
    assert fingerprint(shop) == before
    for output in outputs:
        assert output
        assert "IMPORTED" not in output
        assert "RESUMED" not in output


def test_looking_while_another_process_runs_the_program(shop):
    with subprocess.Popen(
        [sys.executable, "shop.py", "hold"], cwd=shop, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as running:  # fmt: skip
        try:
            while "held" not in running.stdout.readline():
                pass
            done = pstore("ps", "shop.fs", cwd=shop)
            assert "shop.py:11 pay()" in done.stdout
            assert running.poll() is None
        finally:
            running.kill()


def test_the_module_is_found_in_the_current_folder_or_beside_the_store(shop, tmp_path):
    assert "shop.py:11 pay()" in pstore("ps", shop / "shop.fs", cwd=tmp_path).stdout
    elsewhere = tmp_path / "stores"
    elsewhere.mkdir()
    shutil.move(shop / "shop.fs", elsewhere / "shop.fs")
    assert "shop.py:11 pay()" in pstore("ps", elsewhere / "shop.fs", cwd=shop).stdout
    before = fingerprint(tmp_path)
    assert_one_line(pstore("ps", elsewhere / "shop.fs", cwd=tmp_path), "module shop", "looked in the current folder")
    assert fingerprint(tmp_path) == before


def test_a_function_that_is_gone_is_named(shop):
    path = shop / "shop.py"
    path.write_text("raise IndexError('what is missing')\n" + SHOP)
    assert_one_line(pstore("ps", "shop.fs", cwd=shop), "shop:", "its import ended early", "what is missing")
    path.write_text(SHOP.replace("async def pay", "async def settle"))
    assert_one_line(pstore("ps", "shop.fs", cwd=shop), "pay")


def test_changed_code_is_one_line(shop):
    path = shop / "shop.py"
    path.write_text(SHOP.replace("total = number * 2", "total = number * 3; number += 1"))
    assert_one_line(pstore("show", "shop.fs", "order-17", cwd=shop), "the code of shop:pay has changed")


def test_a_program_that_fails_when_imported_can_be_looked_at(shop):
    path = shop / "shop.py"
    path.write_text(SHOP.replace('print("IMPORTED")', "sys.exit('not like this')"))
    assert "shop.py:11 pay()" in pstore("ps", "shop.fs", cwd=shop).stdout


def test_a_program_started_with_m(tmp_path):
    package = tmp_path / "trade"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "desk.py").write_text(SHOP)
    python("-m", "trade.desk", cwd=tmp_path)
    assert "trade/desk.py:11 pay()" in pstore("ps", "shop.fs", cwd=tmp_path).stdout


# -- bad input


def bad_stores(folder: Path) -> dict[str, tuple[str, str]]:
    """Make things that are no stores; gives name -> path, what is said of it."""
    whole = (folder / "shop.fs").read_bytes()
    (folder / "text").write_text("These are notes on the weather.\n")
    (folder / "empty").write_bytes(b"")
    (folder / "two-bytes").write_bytes(whole[:2])
    (folder / "half").write_bytes(whole[: len(whole) // 3] + whole[-len(whole) // 3 :])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    (folder / "flipped").write_bytes(flipped)
    os.mkfifo(folder / "pipe")
    return {
        "text": ("text", "is not a store"),
        "empty": ("empty", "is not a store: it is empty"),
        "two bytes": ("two-bytes", "is truncated"),
        "without its middle": ("half", "backup"),
        "a bit flipped": ("flipped", "is damaged"),
        "folder": (".", "is not a store: it is a folder"),
        "named pipe": ("pipe", "is not a store"),
        "not there": ("nowhere.fs", "there is no such file"),
        "folder not there": ("nowhere/shop.fs", "there is no such file"),
        "memory": ("memory:", "no program was ever run"),
        "unknown kind": ("gopher://shop", "no kind of storage"),
        "a database that is not there": ("sqlite:shop.db", "sqlite:shop.db"),
    }


def test_what_is_no_store_is_one_line_and_is_not_touched(shop):
    cases = bad_stores(shop)
    before, names = fingerprint(shop), sorted(os.listdir(shop))
    for path, said in cases.values():
        assert_one_line(here("ps", path, cwd=shop), said)
    for name in ("text", "without its middle", "not there"):
        path, said = cases[name]
        assert_one_line(here("show", path, "order-17", cwd=shop), said)
        if name != "not there":
            assert_one_line(here("demo", "ping-pong", "--auto", "1", path, cwd=shop), said)
    assert_one_line(pstore("ps", "half", cwd=shop), "backup")
    assert fingerprint(shop) == before
    assert sorted(os.listdir(shop)) == names


def test_a_zodb_database_of_somebody_else(tmp_path):
    code = "import ZODB, transaction; db = ZODB.DB('other.fs'); c = db.open(); c.root()['x'] = 1; transaction.commit()"
    python("-W", "ignore", "-c", code, cwd=tmp_path)
    assert_one_line(pstore("ps", "other.fs", cwd=tmp_path), "not one of pstore's")


def test_a_store_without_a_program(tmp_path):
    python("-c", "import pstore\nwith pstore.Store('s.fs') as s: s.root['x'] = 1; s.persist()", cwd=tmp_path)
    assert_one_line(pstore("ps", "s.fs", cwd=tmp_path), "no program was ever run")
    python("-c", "import pstore\nwith pstore.open('e.fs') as e: e.run()", cwd=tmp_path)
    assert pstore("ps", "e.fs", cwd=tmp_path).stdout == "no tasks\n"


def test_an_unknown_task(shop):
    assert_one_line(pstore("show", "shop.fs", "order-18", cwd=shop), "there is no task 'order-18'", "order-17")


def test_no_permission(shop, monkeypatch, capsys):
    path, opened = shop / "shop.fs", Path.open

    def refuse(self, *arguments, **more):
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *arguments, **more)

    # Root, as whom tests often run, may read everything.
    path.chmod(0o000)
    monkeypatch.setattr(Path, "open", refuse)
    code = cli.main(["ps", str(path)])
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "it cannot be opened (Permission denied)" in err


@pytest.mark.parametrize(
    "arguments",
    [
        (), ("sell",), ("ps",), ("ps", "a", "b"), ("show", "a"), ("demo", "chess"), ("demo", "--seed", "x"),
        ("demo", "--kills", "-1"), ("demo", "--dir"), ("demo", "ping-pong", "--auto", "some"), ("demo", "set", "x"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    out, err = capsys.readouterr()
    assert left.value.code == 2
    assert out == ""
    assert err.startswith("usage: pstore")
    assert "error: " in err


# -- the rest


def test_version_and_help(tmp_path):
    version = pstore("--version", cwd=tmp_path)
    assert version.returncode == 0
    assert version.stdout.startswith("pstore 0.")
    helped = here("--help", cwd=tmp_path)
    assert helped.returncode == 0
    for words in ("demo", "ps", "show", "examples:", "read-only"):
        assert words in helped.stdout
    for name in ("demo", "ps", "show"):
        assert len(here(name, "--help", cwd=tmp_path).stdout) > 100


def test_a_reader_that_goes_away(shop):
    with subprocess.Popen(
        command("ps", "shop.fs"), cwd=shop, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as looking:
        looking.stdout.close()
        assert looking.stderr.read() == ""
        assert looking.wait(30) == 141


def test_ctrl_c_ends_the_demo_and_its_child(tmp_path):
    with subprocess.Popen(
        command("demo", "--kills", "0", "--dir", "kept"), cwd=tmp_path, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as demo:  # fmt: skip
        while "reserves" not in demo.stdout.readline():
            pass
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=30)
    assert demo.returncode == 130
    assert errors == "pstore: interrupted\n"
    size = (tmp_path / "kept" / "agent.fs").stat().st_size
    time.sleep(0.3)
    assert (tmp_path / "kept" / "agent.fs").stat().st_size == size  # nobody goes on with it
