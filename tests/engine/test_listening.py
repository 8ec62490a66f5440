"""Messages from other processes, through a socket: acknowledged after the commit, JSON, of this user, limited."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

import pstore
from pstore._engine import listening
from pstore.errors import CaptureError, EngineError, NotAcknowledged, TaskDone, UnknownTask
from tests.processes import ROOT
from tests.tools.kit import here

SEED = int(os.environ.get("PSTORE_SEED", "20261122"))


async def collect(out, count):
    async for message in pstore.inbox():
        out.append(message)
        if len(out) == count:
            return out


@contextmanager
def program(folder, count=2):
    """A program that runs in a thread, and listens."""
    with pstore.open(folder / "x.fs") as engine:
        path = engine.listen()
        engine.spawn_once("task", collect, engine.root.setdefault("out", []), count)
        engine.root.setdefault("inbox", pstore.Inbox())
        thread = threading.Thread(target=engine.run, kwargs={"forever": True})
        thread.start()
        try:
            yield engine, path
        finally:
            engine.stop()
            thread.join()


def test_a_message_comes_through(tmp_path):
    with program(tmp_path) as (engine, path):
        assert path == str(tmp_path / "x.fs.sock")
        assert pstore.client.send(tmp_path / "x.fs", "task", {"n": [1, None]}, id="a") is True
        assert pstore.client.send(path, "task", "again", id="a") is False
        assert pstore.client.send(f"file:{tmp_path}/x.fs", "inbox", "x")
        assert pstore.client.send(path, "task", 2)
        assert engine.wait("task").result(10) == [{"n": [1, None]}, 2]
        with pytest.raises(TaskDone):
            pstore.client.send(path, "task", 3)
    assert not os.path.exists(path)
    with pytest.raises(NotAcknowledged, match="nobody listens"):
        pstore.client.send(path, "task", 1)


@pytest.mark.parametrize(("to", "id"), [("task", 5), (5, None)])
def test_what_is_no_text_is_not_sent(tmp_path, to, id):
    with pytest.raises(TypeError, match="is a text, got 5"):  # and not that nobody listens
        pstore.client.send(tmp_path / "x.fs", to, 1, id=id)


def test_errors_come_back(tmp_path):
    with program(tmp_path) as (_, path):
        with pytest.raises(UnknownTask, match="no task 'nobody'; there are: task"):
            pstore.client.send(path, "nobody", 1)
        with pytest.raises(ValueError, match="at most"):
            pstore.client.send(path, "task", "x" * (1 << 20))
        with pytest.raises(TypeError):
            pstore.client.send(path, "task", object())
        with pytest.raises(ValueError, match="JSON"):
            pstore.client.send(path, "task", float("nan"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [(b"no json\n", "Expecting value"), (b'{"to": 1, "message": 2}\n', "are texts"), (b"[]\n", "indices"),
     (b'{"to": "task"}\n', "message"), (b"x" * (1 << 21), "at most"), (b"{\n", "")],
    ids=["no json", "no text", "a list", "no message", "too long", "half"],
)  # fmt: skip
def test_nonsense_is_answered_and_harms_nobody(tmp_path, line, reason):
    with program(tmp_path) as (_, path):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            try:
                connection.sendall(line)
                answer = connection.makefile("rb").readline()
            except (BrokenPipeError, ConnectionResetError):
                answer = b'{"error": "at most"}'  # it was too long for even that
        assert reason in json.loads(answer)["error"]
        assert pstore.client.send(path, "task", 1)


def test_who_says_nothing_is_let_go(tmp_path, monkeypatch):
    monkeypatch.setattr(listening, "PATIENCE", 0.01)
    with program(tmp_path) as (_, path):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            assert json.loads(connection.makefile("rb").readline())["kind"] == "TimeoutError"


def test_only_the_user_may_connect(tmp_path):
    before = os.umask(0)
    try:
        with program(tmp_path) as (_, path):
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    finally:
        os.umask(before)


def test_what_a_killed_process_left_is_replaced(tmp_path):
    path = str(tmp_path / "x.fs.sock")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    with program(tmp_path):
        assert pstore.client.send(path, "task", 1)


def test_where_it_cannot_listen(tmp_path):
    with program(tmp_path) as (engine, path):
        with pytest.raises(EngineError, match="another process listens"):
            engine.listen(path)
        (tmp_path / "file").write_text("")
        with pytest.raises(EngineError, match="no socket"):
            engine.listen(tmp_path / "file")
        with pytest.raises(EngineError, match="too long"):
            engine.listen(tmp_path / ("x" * 200))
    with pstore.open("memory:") as engine:
        with pytest.raises(EngineError, match=r"say engine.listen\(path\)"):
            engine.listen()


def test_a_program_that_does_not_run_acknowledges_nothing(tmp_path):
    with pstore.open(tmp_path / "x.fs") as engine:
        engine.listen()
        with pytest.raises(NotAcknowledged, match="in time"):
            pstore.client.send(tmp_path / "x.fs", "task", 1, timeout=0.05)


def test_a_program_whose_run_fails_acknowledges_nothing(tmp_path):
    with pstore.open(tmp_path / "x.fs") as engine:
        path = engine.listen()
        engine.root["lock"] = threading.Lock()
        answers = []

        def send():
            with pytest.raises(NotAcknowledged, match="ended with UnsupportedValue") as caught:
                pstore.client.send(path, "inbox", 1)
            answers.append(caught.value)

        thread = threading.Thread(target=send)
        thread.start()
        while engine._loop.inbox.empty():
            time.sleep(0.001)
        with pytest.raises(CaptureError):
            engine.run()
        thread.join()
        assert len(answers) == 1


@pytest.mark.parametrize("turns", range(8))
def test_a_client_may_end_at_any_moment_of_the_close(turns):
    listener, loop, ended = listening.Listener.__new__(listening.Listener), asyncio.new_event_loop(), []

    async def client():
        for _ in range(turns):
            await asyncio.sleep(0)
        listener._clients.discard(asyncio.current_task())
        ended.append(turns)

    listener._loop, listener._socket, listener._accepting = loop, socket.socket(), loop.create_future()
    listener._accepting.set_result(None)
    listener._clients = {loop.create_task(client())}
    listener._serve()
    assert ended == [turns] and loop.is_closed()


def test_the_command(tmp_path):
    with program(tmp_path) as (engine, _):
        done = here("send", "x.fs", "task", '{"n": 1}', "--id", "a", cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        done = here("send", "x.fs", "task", "2", "--id", "a", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "known\n")
        done = here("send", "x.fs", "task", "two", cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith("pstore: the message is not JSON")
        done = here("send", "x.fs", "nobody", "2", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (1, "pstore: there is no task 'nobody'; there are: task\n")
        assert here("send", "x.fs", "task", "2", cwd=tmp_path).returncode == 0
        assert engine.wait("task").result(10) == [{"n": 1}, 2]


PROGRAM = """
import sys, pstore

async def work(out, count):
    async for n in pstore.inbox():
        out.append(n)                      # what is done with the message
        if len(out) == count:
            return "complete"

if __name__ == "__main__":
    with pstore.open(sys.argv[1]) as engine:
        task = engine.spawn_once("work", work, engine.root.setdefault("out", []), int(sys.argv[2]))
        engine.listen()
        print("listening", flush=True)
        engine.run(task, forever=True)
        with open(sys.argv[1] + ".result", "w") as file:
            print(*engine.root["out"], file=file)
"""


@pytest.mark.slow
def test_killed_at_random_moments_each_message_is_handled_once(tmp_path):
    """The sender repeats what was not acknowledged, under the same id."""
    chance, count = random.Random(SEED), 300
    (tmp_path / "program.py").write_text(PROGRAM)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "program.py", "x.fs", str(count)]
    kills, known, n = 0, 0, 0
    while n < count:
        child = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
        with child:
            child.stdout.readline()
            fatal = threading.Timer(chance.uniform(0.0, 0.05), child.send_signal, [signal.SIGKILL])
            if kills < 20:
                fatal.start()
            try:
                while n < count:
                    known += not pstore.client.send(tmp_path / "x.fs", "work", n, id=str(n))
                    n += 1
            except (NotAcknowledged, TaskDone):
                pass  # killed; or the last message was taken, and the program has ended
            if kills >= 20:
                child.wait(30)
                break
            fatal.join()
            child.wait(30)
            kills += 1
    if not (tmp_path / "x.fs.result").exists():
        subprocess.run(command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, timeout=60, check=True)
    print(f"seed {SEED}: {kills} kills, {known} messages repeated that were known")
    assert kills > 2
    assert (tmp_path / "x.fs.result").read_text().split() == [str(n) for n in range(count)]
