"""`pstore run`: a script that knows asyncio alone, killed again and again, ends as it does without pstore."""

from __future__ import annotations

import json
import random
import signal
import subprocess

import pytest

from tests.tools.kit import assert_one_line, command, environment, pstore, python, started

# Nothing of pstore in it.  What it has done is in the file that it writes at its end.
BANK = """
import asyncio, contextlib, contextvars, json, sys

user = contextvars.ContextVar("user")

class Account:
    def __init__(self, name):
        self.name, self.balance = name, 100

async def move(source, target, lock, amount, log):
    async with lock:
        source.balance -= amount
        await asyncio.sleep(0.001)
        target.balance += amount
        log.append([source.name, amount, user.get()])

async def numbers(log):
    try:
        n = 0
        while True:
            yield n
            n += 1
    finally:
        await asyncio.sleep(0)
        log.append("numbers closed")

async def background(log):
    try:
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(0.001)
        log.append("background ended")

async def main(rounds, log):
    here, there, lock = Account("here"), Account("there"), asyncio.Lock()
    task = asyncio.create_task(background(log), name="background")
    held = numbers(log)
    await anext(held)
    async with contextlib.aclosing(numbers(log)) as counted:
        async for n in counted:
            if n == rounds:
                break
            async with asyncio.TaskGroup() as group:
                for amount in range(3):
                    group.create_task(move(here, there, lock, amount, log))
            here, there = there, here
    return [here.balance + there.balance, here.balance], log, held, task

async def again(log):
    log.append("second run")
    return len(log)

user.set("somebody")
if __name__ == "__main__":
    result, log, held, task = asyncio.run(main(int(sys.argv[1]), []))
    second = asyncio.run(again(["of its own"]))
    with open(sys.argv[2], "w") as file:
        json.dump([result, second, task.get_name(), log], file)
"""


@pytest.fixture
def bank(tmp_path):
    (tmp_path / "bank.py").write_text(BANK)
    return tmp_path


def usual(folder, rounds):
    done = python("bank.py", str(rounds), "usual.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "usual.json").read_text())


def test_a_script_gives_what_it_gives_without(bank):
    done = pstore("run", "bank.fs", "bank.py", "5", "durable.json", cwd=bank)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads((bank / "durable.json").read_text()) == usual(bank, 5)
    assert "numbers closed" in usual(bank, 5)[-1]
    assert "background ended" in usual(bank, 5)[-1]


@pytest.mark.parametrize("seed", [0])
def test_killed_at_random_instants_it_ends_as_without(bank, seed):
    draw, kills = random.Random(seed), 0
    while True:
        process = started("run", "bank.fs", "bank.py", "600", "durable.json", cwd=bank)
        try:
            process.communicate(timeout=draw.uniform(0.3, 1.0) if kills < 6 else 60)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            continue
        assert process.returncode == 0, process.stderr
        break
    assert kills, "it was never killed"
    assert json.loads((bank / "durable.json").read_text()) == usual(bank, 600)


def test_what_is_done_is_not_done_again_and_that_is_said(bank):
    first, second = (pstore("run", "bank.fs", "bank.py", "3", name, cwd=bank) for name in ("a.json", "b.json"))
    assert (first.returncode, second.returncode) == (0, 0)
    assert (bank / "a.json").read_bytes() == (bank / "b.json").read_bytes()
    assert first.stderr == ""
    said = second.stderr.splitlines()
    assert said[0] == "pstore: going on as bank.py 3 a.json; the arguments given now are not used"
    assert "pstore: main() ended in another process, at 2" in said[1]
    assert "nothing of it runs again" in said[1]


OTHERS = {
    "another script": ("other.py", BANK, "main() in bank.py, this one is of main() in other.py"),
    "another function": ("bank.py", BANK.replace("asyncio.run(main(", "asyncio.run(again("), "this one is of again()"),
}


@pytest.mark.parametrize("which", OTHERS)
def test_a_run_of_something_else_is_refused(bank, which):
    assert pstore("run", "bank.fs", "bank.py", "3", "a.json", cwd=bank).returncode == 0
    name, text, said = OTHERS[which]
    (bank / name).write_text(text.replace("(int(sys.argv[1]), [])", "([])") if "again(int" in text else text)
    assert_one_line(
        pstore("run", "bank.fs", name, "3", "a.json", cwd=bank), "asyncio.run number 1 of its program", said
    )


RUNS_BY_THE_WAY = """
import asyncio, pathlib

async def create_tables():
    pathlib.Path("tables").touch()

async def main():
    await asyncio.sleep(0)
    return "result"

if not pathlib.Path("tables").exists():
    asyncio.run(create_tables())
print(asyncio.run(main()))
"""


def test_a_run_that_comes_at_another_place_is_not_taken_for_another(tmp_path):
    (tmp_path / "way.py").write_text(RUNS_BY_THE_WAY)
    assert pstore("run", "way.fs", "way.py", cwd=tmp_path).stdout == "result\n"
    done = pstore("run", "way.fs", "way.py", cwd=tmp_path)
    assert_one_line(done, "number 1 of its program is that of create_tables()", "this one is of main()")


OWN_LOOP = """
import asyncio, pathlib

async def main():
    pathlib.Path("ran").touch()

loop = asyncio.new_event_loop()
coroutine = main()
try:
    loop.run_until_complete(coroutine)
finally:
    loop.close()
    coroutine.close()
"""


def test_a_loop_of_ones_own_is_refused_and_does_not_run_without_being_stored(tmp_path):
    (tmp_path / "own.py").write_text(OWN_LOOP)
    done = pstore("run", "own.fs", "own.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "runs an event loop of its own, which is not durable; call asyncio.run" in done.stderr
    assert not (tmp_path / "ran").exists()


REFUSED = """
import asyncio

async def fetch():
    await asyncio.open_connection("localhost", 1)

async def main():
    await fetch()

asyncio.run(main())
"""


def test_what_the_loop_refuses_shows_where(tmp_path):
    (tmp_path / "refused.py").write_text(REFUSED)
    done = pstore("run", "refused.fs", "refused.py", cwd=tmp_path)
    assert done.returncode == 1
    assert 'refused.py", line 5, in fetch' in done.stderr
    assert "pstore.step" in done.stderr.splitlines()[-1]


def test_what_cannot_be_opened_is_one_line(bank):
    (bank / "bank.fs").write_text("no database")
    assert_one_line(pstore("run", "bank.fs", "bank.py", "3", "a.json", cwd=bank), "bank.fs")


def test_changed_code_says_how_to_begin_anew(tmp_path):
    (tmp_path / "hangs.py").write_text(HANGS.replace("asyncio.Event().wait()", "asyncio.sleep(0.1); 1 / 0"))
    pstore("run", "hangs.fs", "hangs.py", cwd=tmp_path)
    (tmp_path / "hangs.py").write_text(HANGS.replace("asyncio.Event().wait()", "asyncio.sleep(0.1); print(1)"))
    done = pstore("run", "hangs.fs", "hangs.py", cwd=tmp_path)
    assert "ZeroDivisionError" in done.stderr
    assert "main() failed in another process" in done.stderr


def test_a_module(bank):
    (bank / "shop").mkdir()
    (bank / "shop" / "__init__.py").write_text("")
    (bank / "shop" / "__main__.py").write_text(BANK)
    done = pstore("run", "bank.fs", "-m", "shop", "3", "durable.json", cwd=bank)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((bank / "durable.json").read_text()) == usual(bank, 3)


FAILS = """
import asyncio

async def main():
    await asyncio.sleep(0)
    raise LookupError("of the script")

asyncio.run(main())
"""


def test_an_exception_of_the_script_is_shown_as_python_does(tmp_path):
    (tmp_path / "fails.py").write_text(FAILS)
    tracebacks = []
    for again in range(3):  # it has failed, and stays failed
        done = pstore("run", "fails.fs", "fails.py", cwd=tmp_path)
        assert done.returncode == 1
        lines = done.stderr.splitlines()
        if again:
            assert lines.pop(0).startswith("pstore: main() failed in another process")
        tracebacks.append(lines)
        assert lines[0] == "Traceback (most recent call last):"
        assert lines[1].endswith('fails.py", line 8, in <module>')
        assert lines[-1] == "LookupError: of the script"
    assert len(tracebacks[1]) == len(tracebacks[2])


HANGS = """
import asyncio, pathlib, sys

async def main():
    try:
        pathlib.Path("begun").touch()
        await asyncio.Event().wait()
    finally:
        print("CLEANED UP", flush=True)

asyncio.run(main())
"""


def test_ctrl_c_cancels_nothing_and_it_can_be_looked_at(tmp_path):
    (tmp_path / "hangs.py").write_text(HANGS)
    with subprocess.Popen(
        command("run", "hangs.fs", "hangs.py"), cwd=tmp_path, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        while "asyncio Event.wait()" not in pstore("ps", "hangs.fs", cwd=tmp_path).stdout:
            assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
    assert (process.returncode, out, errors) == (130, "", "pstore: interrupted\n")
    listed = pstore("ps", "hangs.fs", cwd=tmp_path).stdout  # imports hangs.py, which calls asyncio.run
    assert "hangs.py:7 main()" in listed
    assert "CLEANED UP" not in listed


def test_what_cannot_be_run_is_one_line(tmp_path):
    assert_one_line(pstore("run", "x.fs", "missing.py", cwd=tmp_path), "there is no script missing.py")
    (tmp_path / "plain.py").write_text("print('plain')")
    done = pstore("run", "x.fs", "plain.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "plain\n")
    assert "never called asyncio.run()" in done.stderr
    assert not (tmp_path / "x.fs").exists()


NESTED = """
import asyncio

async def inner():
    await asyncio.sleep(0)
    return "of a loop of its own"

def work():
    return asyncio.run(inner())

async def main():
    return await asyncio.to_thread(work)

print(asyncio.run(main()))
with asyncio.Runner() as runner:
    print(runner.run(inner()), runner.get_loop().is_closed())
    try:
        asyncio.run(inner())
    except Exception as error:
        print(error)
"""


def test_a_step_that_calls_asyncio_run_and_runners(tmp_path):
    (tmp_path / "nested.py").write_text(NESTED)
    done = pstore("run", "nested.fs", "nested.py", cwd=tmp_path, PYTHONWARNINGS="default")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "of a loop of its own",
        "of a loop of its own False",
        "one asyncio.Runner is open already, and both would use the same store",
    ]
