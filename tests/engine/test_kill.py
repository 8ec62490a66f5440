"""kill -9 at random moments: whatever the moment, what is in the store is a state that the program was in."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.turns import fewer

ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("PSTORE_SEED", "20240607"))
ACCOUNTS, TRANSFERS = 4, fewer(250, 2)

PROGRAM = """
import asyncio, os, sys, pstore

PATH, LEDGER = sys.argv[1:]

def book(n):
    # The world outside: one line per call. The key tells repeated calls from different ones.
    with open(LEDGER, "a") as ledger:
        ledger.write(f"{pstore.step_key()} {n}\\n")
    return n

async def transfer(accounts, name, done):
    for n in range(%(transfers)d):
        source, target = (n + name) %% %(accounts)d, (n * 3 + name + 1) %% %(accounts)d
        accounts[source] -= n
        moving = n                       # in flight: only in this frame
        await asyncio.sleep(0.0005)
        await pstore.step(book, f"{name}-{n}")
        accounts[target] += moving
        moving = 0
        done.append((name, n))

async def main(accounts, done):
    async with asyncio.TaskGroup() as group:
        for name in range(2):
            group.create_task(transfer(accounts, name, done))
    return "complete"

def check(engine):
    # The sum of what is in the accounts and in flight is what there was, in each state that was ever committed.
    flying = 0
    for task in engine.tasks.values():
        frame = getattr(task.get_coro(), "cr_frame", None)
        if frame is not None and frame.f_code.co_name == "transfer":
            flying += frame.f_locals.get("moving", 0) if "n" in frame.f_locals else 0
    total = sum(engine.root["accounts"]) + flying
    assert total == 0, total

if __name__ == "__main__":
    with pstore.open(PATH) as engine:
        print("open", flush=True)
        accounts = engine.root.setdefault("accounts", [0] * %(accounts)d)
        done = engine.root.setdefault("done", [])
        check(engine)
        task = engine.spawn_once("main", main, accounts, done)
        result = engine.run(task)
        with open(LEDGER + ".result", "w") as file:
            print(result, sum(accounts), len(done), file=file)
""" % {"transfers": TRANSFERS, "accounts": ACCOUNTS}


def wait_for_growth(child, path, lines):
    """Until the file has so many lines more than now, or the child has ended."""

    def count():
        return path.read_bytes().count(b"\n") if path.exists() else 0

    start = count()
    while child.poll() is None and count() < start + lines:
        time.sleep(0.001)


def test_killed_at_random_moments_the_program_completes(tmp_path):
    chance = random.Random(SEED)
    program, store, ledger = tmp_path / "transfers.py", tmp_path / "store.fs", tmp_path / "ledger.txt"
    program.write_text(PROGRAM)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(program), str(store), str(ledger)]
    for kills in range(200):
        child = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if chance.random() < 0.75:  # else it dies while it starts and loads
            child.stdout.readline()
            # by progress, not by time: however fast the machine, it dies some way on
            wait_for_growth(child, ledger, chance.randint(0, 60))
        time.sleep(chance.uniform(0.0, 0.004))
        child.send_signal(signal.SIGKILL)
        _, err = child.communicate()
        if child.returncode != -signal.SIGKILL:
            break
    print(f"seed {SEED}: {kills} kills")
    assert kills > 2
    assert child.returncode == 0, err
    assert Path(f"{ledger}.result").read_text() == f"complete 0 {2 * TRANSFERS}\n"
    entries = [line.split() for line in ledger.read_text().splitlines()]
    names = {name for _, name in entries}
    assert names == {f"{task}-{n}" for task in range(2) for n in range(TRANSFERS)}  # at least once
    assert len({key for key, _ in entries}) == len(names)  # each under one key
    assert len({tuple(entry) for entry in entries}) == len(names)


def test_the_interpreter_ends_without_running_any_of_it(tmp_path):
    code = """
import asyncio, sys, pstore
async def hold():
    try:
        await asyncio.sleep(3600)
    finally:
        print("finally", flush=True)
engine = pstore.open(sys.argv[1])
engine.spawn(hold, id="hold")
engine.spawn(hold, id="not started")
engine.call_soon_threadsafe(engine.stop)
engine.run()
engine.spawn(hold)
"""
    path = tmp_path / "hold.py"
    path.write_text(code)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    for _ in range(2):
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", str(path), str(tmp_path / f"{begin}.fs")],
            env=env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_the_interpreter_ends_while_an_engine_runs_in_a_thread(tmp_path):
    code = """
import asyncio, sys, threading, time, pstore
async def hold():
    try:
        started.set()
        await asyncio.sleep(3600)
    finally:
        print("finally", flush=True)
started = pstore.volatile(threading.Event())
def serve():
    with pstore.open(sys.argv[1]) as engine:
        engine.spawn(hold, id="hold")
        engine.run(forever=True)
threading.Thread(target=serve, daemon=True).start()
started.wait(10)
time.sleep(0.1)
"""
    path = tmp_path / "hold.py"
    path.write_text(code)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, str(path), str(tmp_path / "x.fs")],
        env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
