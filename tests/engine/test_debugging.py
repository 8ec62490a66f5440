"""asyncio's means of debugging on durable tasks, before and after a restart: debug mode, reprs, stacks, call graphs, pdb."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import pytest

from tests.engine.every_commit import crash_all, outcome_of
from tests.turns import part
from tests.processes import ROOT

HERE = os.path.basename(__file__)


@pytest.fixture
def debug_mode(monkeypatch):
    """A process in which asyncio's debug mode is on."""
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")


def loop_of(engine):
    return engine.store.parts["loop"]


def places(stack):
    return [(os.path.basename(entry.filename), entry.name) for entry in stack]


# ---------------------------------------------------------------- whether it is on


async def is_debug():
    return asyncio.get_running_loop().get_debug(), sys.get_coroutine_origin_tracking_depth()


async def turn_on():
    asyncio.get_running_loop().set_debug(True)
    return await is_debug()


def test_debug_mode_is_off_unless_asked_for(reopen):
    engine = reopen()
    assert engine.run(engine.spawn(is_debug)) == (False, 0)
    assert engine.run(engine.spawn(turn_on)) == (True, 10)
    assert sys.get_coroutine_origin_tracking_depth() == 0
    engine = reopen()
    assert engine.run(engine.spawn(is_debug)) == (False, 0)  # it belongs to the process


@pytest.mark.usefixtures("debug_mode")
def test_debug_mode_by_the_environment(reopen):
    engine = reopen()
    assert engine.run(engine.spawn(is_debug)) == (True, 10)
    assert sys.get_coroutine_origin_tracking_depth() == 0


# ---------------------------------------------------------------- where things were made


async def makes(root):
    loop = asyncio.get_running_loop()
    root["future"] = loop.create_future()
    root["plain"] = asyncio.Future()
    root["timer"] = loop.call_later(1000, print, "late")
    root["child"] = asyncio.create_task(waits(root["future"]))
    await waits(root["future"])


async def waits(future):
    return await future


def run_a_while(engine):
    """Run until all that is ready has run; timers of a second and more have not."""
    engine.run(engine.spawn(asyncio.sleep, 0.5))


def made_in(root):
    return {name: places(root[name]._source_traceback or ()) for name in ("future", "plain", "timer", "child")}


@pytest.mark.usefixtures("debug_mode")
def test_where_things_were_made_is_stored_with_them(reopen, monkeypatch):
    engine = reopen()
    task = engine.spawn(makes, engine.root, id="maker")
    assert places(task._source_traceback)[-1] == (HERE, "test_where_things_were_made_is_stored_with_them")
    run_a_while(engine)
    made = made_in(engine.root)
    assert [made[name][-1] for name in ("future", "plain", "timer")] == [(HERE, "makes")] * 3
    assert made["child"][-2:] == [(HERE, "makes"), ("tasks.py", "create_task")]  # as asyncio has it
    assert f"created at {__file__}:" in repr(engine.root["future"])

    engine = reopen()  # in debug mode again: only asyncio's futures in C do not let theirs be set
    assert made_in(engine.root) == {**made, "plain": []}
    assert f"created at {__file__}:" in repr(engine.root["timer"])
    assert f"created at {__file__}:" in repr(engine.tasks["maker"])

    monkeypatch.delenv("PYTHONASYNCIODEBUG")
    engine = reopen()  # a process that is not in debug mode keeps them along
    engine.root["future"].set_result(7)
    assert engine.run(engine.root["child"]) == 7
    engine = reopen()
    assert made_in(engine.root)["timer"] == made["timer"]


def test_without_debug_mode_nothing_of_it_is_stored(reopen):
    engine = reopen()
    engine.spawn(makes, engine.root)
    run_a_while(engine)
    for name in ("future", "timer", "child"):
        assert engine.root[name]._source_traceback is None
        assert "_source_traceback" not in str(engine.root[name].__getstate__())


async def drops_a_failure():
    asyncio.get_running_loop().create_future().set_exception(ValueError("unseen"))
    asyncio.get_running_loop().call_soon(int, "no number")


@pytest.mark.usefixtures("debug_mode")
def test_reports_tell_where_things_were_made(reopen, caplog):
    engine = reopen()
    engine.run(engine.spawn(drops_a_failure))
    run_a_while(engine)
    gc.collect()
    unseen, wrong = caplog.messages
    assert unseen.startswith("Future exception was never retrieved")
    assert wrong.startswith("Exception in callback int('no number')")
    for message in (unseen, wrong):
        assert "Object created at (most recent call last):" in message
        assert 'test_debugging.py", line' in message and "in drops_a_failure" in message


# ---------------------------------------------------------------- calls


async def works_for(seconds):
    asyncio.get_running_loop().slow_callback_duration = 0.02
    await asyncio.sleep(1)
    time.sleep(seconds)


@pytest.mark.usefixtures("debug_mode")
def test_slow_calls_are_logged(reopen, caplog):
    engine = reopen()
    engine.run(engine.spawn(works_for, 0, id="fast"))
    assert caplog.messages == []
    engine.run(engine.spawn(works_for, 0.05, id="slow"))
    (message,) = caplog.messages
    assert message.startswith("Executing <Task finished name='slow' coro=<works_for() done, defined at ")
    assert " took 0.0" in message


async def calls_from_a_thread():
    loop, raised, done = asyncio.get_running_loop(), [], []

    def call():
        for method, *arguments in (("call_soon", print), ("call_later", 1, print), ("call_at", 1, print)):
            try:
                getattr(loop, method)(*arguments)
            except RuntimeError as error:
                raised.append(str(error))
        loop.call_soon_threadsafe(done.append, 1)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    loop = thread = call = None
    while not done:
        await asyncio.sleep(0)
    return raised


@pytest.mark.usefixtures("debug_mode")
def test_calls_from_another_thread_are_refused(reopen):
    engine = reopen()
    raised = engine.run(engine.spawn(calls_from_a_thread))
    assert raised == ["Non-thread-safe operation invoked on an event loop other than the current one"] * 3


async def calls_what_cannot_be_called():
    loop, raised = asyncio.get_running_loop(), []
    coro = is_debug()
    for method, *arguments in (("call_soon", coro), ("call_later", 1, is_debug), ("call_soon_threadsafe", 7)):
        try:
            getattr(loop, method)(*arguments)
        except TypeError as error:
            raised.append(str(error))
    coro.close()
    return raised


@pytest.mark.usefixtures("debug_mode")
def test_what_cannot_be_called_is_refused(reopen):
    engine = reopen()
    raised = engine.run(engine.spawn(calls_what_cannot_be_called))
    assert [text.split(",")[0] for text in raised] == [
        "coroutines cannot be used with call_soon()",
        "coroutines cannot be used with call_at()",
        "a callable object was expected by call_soon_threadsafe()",
    ]


# ---------------------------------------------------------------- coroutines that nobody awaits


async def forgets():
    waits(None)


async def keeps_then_forgets(kept):
    kept.append(waits(None))
    await asyncio.sleep(10)
    kept.clear()


def never_awaited(engine, task):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        engine.run(task)
    return [str(entry.message) for entry in caught]


@pytest.mark.usefixtures("debug_mode")
def test_a_coroutine_that_was_never_awaited_is_reported_with_its_origin(reopen):
    engine = reopen()
    (message,) = never_awaited(engine, engine.spawn(forgets))
    assert message.startswith("coroutine 'waits' was never awaited\nCoroutine created at (most recent call last)")
    assert "in forgets" in message


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_stored_coroutine_is_reported_when_the_program_forgets_it_and_not_before(reopen, monkeypatch, debug):
    monkeypatch.setenv("PYTHONASYNCIODEBUG", debug)
    engine = reopen()
    engine.spawn(keeps_then_forgets, [], id="keeper")
    run_a_while(engine)
    engine = reopen()  # closing the first is no reason to warn
    gc.collect()
    (message,) = never_awaited(engine, engine.tasks["keeper"])
    assert message.startswith("coroutine 'waits' was never awaited")


# ---------------------------------------------------------------- looking at tasks


async def outer(queue):
    return await inner(queue)


async def inner(queue):
    return await queue.get()


def look_at(task):
    out = io.StringIO()
    task.print_stack(file=out)
    return repr(task), [frame.f_code.co_name for frame in task.get_stack()], out.getvalue()


def test_a_task_looks_the_same_after_a_restart(reopen):
    engine = reopen()
    queue = engine.root["queue"] = asyncio.Queue()
    task = engine.spawn(outer, queue, id="getter")
    unstarted = engine.spawn(asyncio.sleep, 0.1, id="unstarted")
    assert repr(unstarted).startswith("<Task pending name='unstarted' coro=<sleep() running at ")
    run_a_while(engine)
    task.add_done_callback(print)
    seen = look_at(task)
    line = outer.__code__.co_firstlineno + 1
    assert seen[0].startswith(
        f"<Task pending name='getter' coro=<outer() running at {__file__}:{line}> wait_for=<Future"
    )
    assert "wait_for=<Future pending cb=[Task._wakeup()" in seen[0]
    assert "cb=[print()]>" in seen[0]
    assert seen[1] == ["outer"]
    assert "return await inner(queue)" in seen[2]
    engine.commit()

    engine = reopen()
    assert look_at(engine.tasks["getter"]) == seen
    assert isinstance(engine.tasks["getter"], asyncio.Task)
    assert isinstance(engine.tasks["getter"]._fut_waiter, asyncio.Future)
    engine.tasks["getter"].cancel()
    assert repr(engine.tasks["getter"]).startswith("<Task cancelling name='getter'")


async def fails():
    await asyncio.sleep(0.1)
    raise ValueError("broken")


def test_a_failed_task_shows_its_traceback_after_a_restart(reopen):
    engine = reopen()
    task = engine.spawn(fails, id="failing")
    with pytest.raises(ValueError, match="broken"):
        engine.run(task)
    shown = look_at(task)
    assert "Traceback for <Task finished name='failing' coro=<fails() done, defined at" in shown[2]
    assert "raise ValueError" in shown[2]
    engine = reopen()
    task = engine.tasks["failing"]
    assert repr(task) == "<Task finished name='failing' coro=<fails() done> exception=ValueError('broken')>"
    assert "raise ValueError" in look_at(task)[2]


async def counts_tasks():
    current = asyncio.current_task()
    return current.get_name(), sorted(task.get_name() for task in asyncio.all_tasks())


def test_all_tasks_and_the_current_one(reopen):
    engine = reopen()
    engine.spawn(outer, engine.root.setdefault("queue", asyncio.Queue()), id="getter")
    assert engine.run(engine.spawn(counts_tasks, id="first")) == ("first", ["first", "getter"])
    engine = reopen()
    assert engine.run(engine.spawn(counts_tasks, id="second")) == ("second", ["getter", "second"])
    assert {task.get_name() for task in asyncio.all_tasks(loop_of(engine))} == {"getter"}


async def gathers(queue):
    async with asyncio.TaskGroup() as group:
        group.create_task(outer(queue), name="member")
        await asyncio.gather(asyncio.shield(outer(queue)), return_exceptions=True)


def graph_of(engine):
    return {task.get_name(): asyncio.format_call_graph(task) for task in asyncio.all_tasks(loop_of(engine))}


@pytest.mark.skipif(sys.version_info < (3, 14), reason="asyncio has call graphs from 3.14 on")
def test_call_graphs(reopen):
    engine = reopen()
    engine.spawn(gathers, engine.root.setdefault("queue", asyncio.Queue()), id="parent")
    run_a_while(engine)
    engine = reopen()
    graphs = graph_of(engine)
    assert len(graphs) == 3
    for name, lines in graphs.items():
        assert "async outer()" in lines or name == "parent"
        assert ("* Task(name='parent'" in lines.partition("\n")[2]) == (name != "parent")
        assert "async gathers()" in lines


# ---------------------------------------------------------------- processes


PROGRAM = """
    import asyncio, os, sys, pstore

    async def worker(queue, out):
        while (item := await queue.get()) is not None:
            total = item * 2
            {stop}
            out.append(total)
            await asyncio.sleep(0.02)

    async def main(queue, out):
        async with asyncio.TaskGroup() as group:
            group.create_task(worker(queue, out))
            for item in (1, 2, 3, None):
                await queue.put(item)
                await asyncio.sleep(0.01)
        return out

    def killed(out):
        if len(out) == 2 and sys.argv[1:] == ["die"]:
            os.kill(os.getpid(), 9)

    if __name__ == "__main__":
        with pstore.open("debugged.fs") as engine:
            out = engine.root.setdefault("out", [])
            task = engine.spawn_once("main", main, asyncio.Queue(1), out)
            print(engine.run(task))
"""


def start(folder, *arguments, text="", flags=()):
    """Run the program in a process; gives its exit status and what it said."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *flags, "program.py", *arguments]
    done = subprocess.run(command, cwd=folder, env=env, input=text, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def write_program(folder, stop):
    (folder / "program.py").write_text(textwrap.dedent(PROGRAM).format(stop=stop))


DEV = ["-X", "dev", "-W", "error"]


@pytest.mark.parametrize(("first", "then"), [(DEV, DEV), (DEV, []), ([], DEV)], ids=["both", "before", "after"])
def test_a_program_under_dev_mode_is_killed_and_goes_on(tmp_path, first, then):
    write_program(tmp_path, "killed(out)")
    assert start(tmp_path, "die", flags=first) == (-signal.SIGKILL, "", "")
    status, output, said = start(tmp_path, flags=then)
    assert (status, output, said) == (0, "[2, 4, 6]\n", "")


# What is typed: a local is set; past, or into, an await at which the frame is suspended and committed; then the process
# is killed where it stops the next time.
BEFORE = ["p total", "w", "total = 20", "until 9", "p out"]
AFTER = ["c", "import os; os.kill(os.getpid(), 9)"]


@pytest.mark.parametrize("steps", [["n"], ["s"] * 12, [], ["r"]], ids=["next", "step", "continue", "return"])
def test_pdb_in_a_task_then_a_kill_and_a_restart(tmp_path, steps):
    write_program(tmp_path, "breakpoint() if sys.argv[1:] == ['debug'] else None")
    typed = "\n".join([*BEFORE, *steps, *AFTER]) + "\n"
    status, output, said = start(tmp_path, "debug", text=typed)
    assert status == -signal.SIGKILL, said + output
    assert "(Pdb) 2\n" in output  # p total
    assert "program.py" in output and "worker()" in output  # w
    assert "(Pdb) [20]\n" in output  # p out
    assert start(tmp_path) == (0, "[20, 4, 6]\n", "")


EVERYTHING = part(["task_group_nested", "queue_join", "timeout_forms", "generators_in_a_row", "threads"], 2)


def test_programs_of_every_kind_in_dev_mode_killed_at_every_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONDEVMODE", "1")
    crash_all(tmp_path, EVERYTHING)
    for name in EVERYTHING:
        assert not outcome_of(tmp_path, name).differences
