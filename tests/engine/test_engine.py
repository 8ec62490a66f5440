"""`Engine`: what `spawn`, `run`, `commit` and `close` promise."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import socket
import threading

import pytest

import pstore
from pstore.errors import (
    CaptureError,
    EngineClosed,
    EngineError,
    EngineInterrupted,
    EngineStopped,
    NotInEngine,
    NotOnThisLoop,
    Stalled,
    TaskExists,
    UnknownTask,
)

label = contextvars.ContextVar("label", default="unset")


async def nap(seconds, value=None):
    await asyncio.sleep(seconds)
    return value


async def fail(text):
    await asyncio.sleep(1)
    raise ValueError(text)


async def take(queue):
    return await queue.get()


async def append_after(seconds, items, item):
    await asyncio.sleep(seconds)
    items.append(item)


# -- run


def test_run_until_gives_the_result(reopen):
    engine = reopen()
    assert engine.run(engine.spawn(nap, 5, "slept")) == "slept"
    assert engine.clock.now() == 1005


def test_run_until_raises_the_exception_of_the_task(reopen):
    engine = reopen()
    with pytest.raises(ValueError, match="why"):
        engine.run(engine.spawn(fail, "why"))


def test_run_gives_the_tasks_that_wait(reopen):
    engine = reopen()
    queue = engine.root["queue"] = asyncio.Queue()
    task = engine.spawn(take, queue)
    engine.spawn(nap, 3)
    assert engine.run() == [task]
    queue.put_nowait("word")
    assert engine.run() == []
    assert task.result() == "word"


def test_run_until_what_cannot_come_says_where_tasks_stand(reopen):
    engine = reopen()
    task = engine.spawn(take, asyncio.Queue(), id="taker")
    with pytest.raises(Stalled) as caught:
        engine.run(task)
    assert "taker: take() at" in str(caught.value)
    assert "test_engine.py" in str(caught.value)


def test_message_for_a_waiting_task_arrives_in_the_next_process(reopen):
    engine = reopen()
    engine.spawn_once("taker", take, engine.root.setdefault("queue", asyncio.Queue()))
    engine.run()
    engine = reopen()
    engine.root["queue"].put_nowait("word")
    assert engine.run(engine.tasks["taker"]) == "word"


def test_call_from_another_thread_wakes_a_run_that_is_to_last(reopen):
    engine = reopen()
    queue = engine.root["queue"] = asyncio.Queue()
    task = engine.spawn(take, queue)
    thread = threading.Thread(target=engine.call_soon_threadsafe, args=(queue.put_nowait, "hello"))
    thread.start()
    assert engine.run(task, forever=True) == "hello"
    thread.join()


def test_calls_from_another_thread_keep_their_order(reopen):
    engine = reopen()
    items = engine.root["items"] = []
    engine.run()
    for n in range(50):
        engine.call_soon_threadsafe(items.append, n)
    engine.run()
    assert items == list(range(50))


def test_a_call_from_outside_that_holds_the_engine_is_never_stored(reopen, monkeypatch):
    """It is made at once when it is taken, also where more calls are ready than fit into a batch."""
    monkeypatch.setattr("pstore._engine.loop.BATCH_CALLS", 10)
    engine = reopen()
    for n in range(20):
        engine.spawn(nap, 1, n)
    engine.call_soon_threadsafe(lambda: engine.spawn(nap, 1, id="from outside"))
    engine.call_soon_threadsafe(engine.stop)
    engine.run()
    assert "from outside" in reopen().tasks


@pytest.mark.parametrize("tasks, batches", [(0, 12), (3, 12), (12, 4), (100, 1)])
def test_a_batch_is_larger_where_there_are_more_tasks(reopen, monkeypatch, tasks, batches):
    """Else starting very many were quadratic, as each commit looks at the table of those that are not parked."""
    engine = reopen()
    for _ in range(tasks):
        engine.spawn(nap, 100)
    engine.run(engine.spawn(nap, 0))
    monkeypatch.setattr("pstore._engine.loop.BATCH_CALLS", 10)
    monkeypatch.setattr("pstore._engine.loop.BATCH_TASKS", 4)
    begun, count = [], 0
    for _ in range(120):
        engine._loop.call_soon(begun.append, 1)
    while engine._loop.has_ready():
        engine._loop.run_batch()
        count += 1
    assert (count, len(begun)) == (batches, 120)


def test_stop_ends_a_run_that_is_to_last(reopen):
    engine = reopen()
    thread = threading.Thread(target=engine.call_soon_threadsafe, args=(engine.stop,))
    thread.start()
    assert engine.run(forever=True) == []
    thread.join()


def test_stop_before_the_awaited_task_is_done_says_so(reopen):
    engine = reopen()
    task = engine.spawn(take, asyncio.Queue())
    engine.call_soon_threadsafe(engine.stop)
    with pytest.raises(EngineStopped, match="before <Task pending"):
        engine.run(task)


def test_a_busy_task_does_not_keep_others_from_being_committed(reopen):
    engine = reopen()

    async def busy(state):
        while not state["stop"]:
            state["turns"] += 1
            if state["turns"] == 30_000:
                engine.stop()
            await asyncio.sleep(0)

    state = engine.root["state"] = {"stop": False, "turns": 0}
    engine.spawn(busy, state)
    with pytest.raises(CaptureError, match="cannot store an Engine"):  # which the task refers to
        engine.run()
    engine = reopen()
    task = engine.spawn(count_for_ever, engine.root.setdefault("log", []), id="busy")
    engine.call_soon_threadsafe(engine.stop)
    engine.run()
    assert not task.done()
    engine = reopen()
    assert engine.root["log"]
    assert engine.tasks["busy"].get_name() == "busy"


async def count_for_ever(log):
    while True:
        log.append(len(log))
        await asyncio.sleep(0)


def test_run_in_a_task_is_refused(reopen):
    engine = reopen()
    engine.call_soon_threadsafe(lambda: raised.append(pytest.raises(EngineError, engine.run)))
    raised = []
    engine.run()
    assert "is running already" in str(raised[0].value)


# -- spawn


def test_spawn_once_starts_once_ever(reopen):
    engine = reopen()
    items = engine.root["items"] = []
    task = engine.spawn_once("one", append_after, 5, items, "x")
    assert engine.spawn_once("one", append_after, 5, items, "y") is task
    engine.run()
    engine = reopen()
    task = engine.spawn_once("one", append_after, 5, engine.root["items"], "z")
    assert task.done()
    engine.run()
    assert engine.root["items"] == ["x"]


def test_a_spawned_task_is_durable_before_it_runs(reopen):
    engine = reopen()
    engine.spawn(append_after, 1, engine.root.setdefault("items", []), "x", id="one")
    engine.commit()
    engine = reopen()
    engine.run()
    assert engine.root["items"] == ["x"]


def test_same_id_twice_is_refused(reopen):
    engine = reopen()
    engine.spawn(nap, 1, id="one")
    with pytest.raises(TaskExists, match=r"'one'.*spawn_once"):
        engine.spawn(nap, 1, id="one")


def test_forget_frees_the_id(reopen):
    engine = reopen()
    engine.spawn(nap, 1, id="one")
    with pytest.raises(EngineError, match="not done"):
        engine.forget("one")
    engine.run()
    engine.forget("one")
    with pytest.raises(UnknownTask, match="there are no tasks"):
        engine.forget("one")
    assert engine.run(engine.spawn(nap, 1, "again", id="one")) == "again"


def test_done_tasks_without_a_name_are_let_go(reopen):
    engine = reopen()
    engine.spawn(nap, 1)
    engine.spawn(nap, 1, id="kept")
    engine.run()
    assert list(engine.tasks) == ["kept"]


def test_spawned_tasks_do_not_inherit_the_context_of_the_caller(reopen):
    async def read():
        return label.get()

    engine = reopen()
    token = label.set("caller's")
    try:
        assert engine.run(engine.spawn(read)) == "unset"
    finally:
        label.reset(token)


def test_what_an_engine_gives_has_a_name_to_annotate_with(reopen):
    async def post(payload):
        pstore.post(fail, payload, retry=pstore.Retry(attempts=1))
        return pstore.inbox()

    engine = reopen()
    assert isinstance(task := engine.spawn(post, "a", id="post"), pstore.Task)
    assert isinstance(engine.send(task, 1), pstore.Receipt)
    assert isinstance(engine.wait(task), pstore.Receipt)
    assert isinstance(engine.call(len, "a"), pstore.Receipt)
    assert isinstance(engine.run(task), pstore.Inbox)
    engine.run()
    assert isinstance(engine.dead_letters[0], pstore.Letter)
    assert isinstance(engine.schedule("nap", 5, nap, 1), pstore.Schedule)
    assert not {name for name in pstore.__all__ if not hasattr(pstore, name)}
    assert pstore.__all__ == sorted(pstore.__all__)


def test_not_a_coroutine_function_is_refused(reopen):
    engine = reopen()
    with pytest.raises(TypeError, match="needs a coroutine function, and <built-in function len> gave 3"):
        engine.spawn(len, "abc")
    with pytest.raises(TypeError, match="needs a coroutine function and its arguments, not 5"):
        engine.spawn(5)
    with pytest.raises(TypeError, match="not <coroutine object nap"):
        engine.spawn_once("a", coro := nap(1))
    coro.close()
    assert not engine.tasks


def test_what_a_refused_function_has_given_is_left_alone(reopen):
    with open(__file__) as file:
        with pytest.raises(TypeError, match="needs a coroutine function"):
            reopen().spawn(lambda: file)
        assert not file.closed


# -- failures


def test_unobserved_failure_is_logged_and_kept(reopen, caplog):
    engine = reopen()
    engine.spawn(fail, "nobody looks", id="failing")
    engine.run()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "failing" in caplog.text
    assert "ValueError: nobody looks" in caplog.text
    caplog.clear()
    engine.run()
    assert not caplog.records
    engine = reopen()
    engine.run()
    assert "nobody looks" in caplog.text  # each process says so, until somebody looks
    assert repr(engine.tasks["failing"].exception()) == "ValueError('nobody looks')"
    engine.run()
    caplog.clear()
    reopen().run()
    assert not caplog.records


def test_unobserved_failure_of_a_child_is_logged(reopen, caplog):
    async def parent():
        asyncio.create_task(fail("of a child"))  # noqa: RUF006
        await asyncio.sleep(2)
        gc.collect()

    engine = reopen()
    engine.run(engine.spawn(parent))
    assert "of a child" in caplog.text


def test_failing_callback_is_logged_and_the_rest_goes_on(reopen, caplog):
    async def schedule():
        asyncio.get_running_loop().call_soon(int, "no number")
        await asyncio.sleep(1)
        return "on"

    engine = reopen()
    assert engine.run(engine.spawn(schedule)) == "on"
    assert "no number" in caplog.text


def test_exception_handler_is_used(reopen):
    seen = []

    async def schedule():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: seen.append(repr(context["exception"])))
        loop.call_soon(int, "no number")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        loop.set_exception_handler(None)

    engine = reopen()
    engine.run(engine.spawn(schedule))
    assert seen == ["ValueError(\"invalid literal for int() with base 10: 'no number'\")"]


def test_a_value_that_cannot_be_stored_is_named_and_the_last_commit_stays(reopen):
    engine = reopen()
    items = engine.root["items"] = ["kept"]
    engine.spawn(append_after, 5, items, "later", id="one")
    engine.commit()
    with socket.socket() as sock:
        engine.root["connection"] = sock
        with pytest.raises(CaptureError) as caught:
            engine.run()
        assert "connection" in str(caught.value)
        assert "last commit is intact" in caught.value.__notes__[0]
        del engine.root["connection"]
        engine.run()  # mended: goes on
    assert items == ["kept", "later"]
    engine = reopen()
    assert engine.root["items"] == ["kept", "later"]


def test_a_task_that_holds_what_cannot_be_stored_is_named(reopen):
    async def connect():
        sock = socket.socket()
        try:
            await asyncio.sleep(1)
        finally:
            sock.close()

    engine = reopen()
    task = engine.spawn(connect, id="connecting")
    with pytest.raises(CaptureError) as caught:
        engine.run()
    for part in ("connecting", "connect", "test_engine.py", "sock"):
        assert part in str(caught.value)
    task.cancel()
    engine.run()
    assert task.cancelled()


def test_ctrl_c_stops_at_an_await_and_the_program_goes_on(reopen):
    async def work(items):
        for n in range(3):
            items.append(n)
            if n == 1:
                signal_self()
            await asyncio.sleep(1)

    engine = reopen()
    items = engine.root["items"] = []
    task = engine.spawn(work, items, id="work")
    with pytest.raises(KeyboardInterrupt):
        engine.run()
    assert items == [0, 1]
    assert not task.done()
    assert reopen().root["items"] == [0, 1]


def signal_self():
    import signal

    signal.raise_signal(signal.SIGINT)


def test_an_interrupt_inside_a_task_commits_nothing_more(reopen):
    engine = reopen()
    items = engine.root["items"] = []

    async def work(items):
        items.append("before")
        await asyncio.sleep(1)
        items.append("half done")
        raise KeyboardInterrupt

    engine.spawn(work, items, id="work")
    with pytest.raises(KeyboardInterrupt):
        engine.run()
    with pytest.raises(EngineInterrupted, match="last commit is intact"):
        engine.run()
    with pytest.raises(EngineInterrupted):
        engine.commit()
    engine = reopen()
    assert engine.root["items"] == ["before"]
    assert not engine.tasks["work"].done()


# -- closing (invariant I2)


class Loud:
    def __init__(self, log):
        self.log = log

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.log.append("exit")

    def __del__(self):
        LOG.append("del")


LOG = pstore.volatile([])  # what happened in this process


def generate():
    try:
        yield 1
    finally:
        LOG.append("generator")


async def agenerate():
    try:
        yield 1
    finally:
        LOG.append("async generator")


async def hold(root):
    local = Loud(LOG)
    generator = root["generator"] = generate()
    next(generator)
    numbers = agenerate()
    async for _ in numbers:
        try:
            with Loud(LOG):
                await inner(local)
        finally:
            LOG.append("finally")


async def inner(local):
    try:
        await asyncio.Event().wait()
    finally:
        LOG.append("inner finally")


def test_closing_runs_nothing_of_the_tasks(reopen, recwarn, caplog):
    LOG.clear()
    engine = reopen()
    engine.spawn(hold, engine.root, id="hold")
    engine.spawn(nap, 1, id="never started")
    if hasattr(engine, "run"):
        engine.run()
    engine.spawn(nap, 1, id="really never started")
    for _ in range(3):
        engine = reopen()
        engine.run()
        gc.collect()
    engine.close()
    del engine
    gc.collect()
    assert LOG == []
    assert not caplog.records
    assert [str(warning.message) for warning in recwarn] == []


def test_closed_engine_says_so(reopen):
    engine = reopen()
    engine.close()
    engine.close()
    for call in (engine.run, engine.commit, lambda: engine.root, lambda: engine.tasks):
        with pytest.raises(EngineClosed, match="is closed"):
            call()


def test_closing_while_running_is_refused(reopen):
    engine = reopen()
    raised = []
    engine.call_soon_threadsafe(lambda: raised.append(pytest.raises(EngineError, engine.close)))
    engine.run()
    assert "call engine.stop()" in str(raised[0].value)


def test_what_was_not_committed_is_lost_on_close(reopen):
    engine = reopen()
    engine.root["x"] = 1
    engine.commit("first")
    engine.root["x"] = 2
    assert reopen().root == {"x": 1}


# -- being an event loop


def test_what_asyncio_knows_of_the_tasks(reopen):
    async def look():
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert asyncio.get_event_loop() is loop is task.get_loop()
        assert loop.is_running()
        assert not loop.is_closed()
        assert not loop.get_debug()
        assert asyncio.isfuture(task)
        assert asyncio.isfuture(loop.create_future())
        assert task in asyncio.all_tasks()
        assert task.get_name() == "looking"
        assert task.get_coro().__name__ == "look"
        assert asyncio.ensure_future(task) is task
        await asyncio.sleep(0)
        assert asyncio.current_task() is task
        return repr(task)

    engine = reopen()
    task = engine.spawn(look, id="looking")
    text = engine.run(task)
    assert text.startswith("<Task pending name='looking' coro=<test_what_asyncio_knows_of_the_tasks.<locals>.look()")
    assert "running at" in text
    assert "test_engine.py:" in text
    assert repr(task).startswith("<Task finished name='looking' coro=<test_what")


def test_tasks_of_a_restarted_program_are_known_to_asyncio(reopen):
    async def look(names):
        await asyncio.sleep(1)
        names.append(sorted(task.get_name() for task in asyncio.all_tasks()))
        await asyncio.sleep(1)

    engine = reopen()
    engine.spawn(look, engine.root.setdefault("names", []), id="a")
    engine.spawn(nap, 5, id="b")
    engine.commit()
    engine = reopen()
    engine.run()
    assert engine.root["names"] == [["a", "b"]]


@pytest.mark.parametrize(
    ("method", "arguments", "instead"),
    [("add_reader", (0, print), "pstore.step"), ("create_connection", (print,), "pstore.step"),
     ("subprocess_exec", (), "pstore.step"), ("run_forever", (), "asyncio.create_task"),
     ("add_signal_handler", (1, print), "engine.call_soon_threadsafe"), ("sock_recv", (None, 1), "pstore.step")],
)  # fmt: skip
def test_methods_that_need_the_process_are_refused(reopen, method, arguments, instead):
    async def call():
        await getattr(asyncio.get_running_loop(), method)(*arguments)

    engine = reopen()
    with pytest.raises(NotOnThisLoop, match=rf"{method}\(\).*{instead}") as caught:
        engine.run(engine.spawn(call))
    assert isinstance(caught.value, NotImplementedError)


def test_opening_a_connection_names_the_step(reopen):
    async def call():
        await asyncio.open_connection("localhost", 80)

    engine = reopen()
    with pytest.raises(NotOnThisLoop, match=r"pstore\.step"):
        engine.run(engine.spawn(call))


def test_task_protocol_errors(reopen):
    async def bad_yield():
        class Odd:
            def __await__(self):
                yield 42

        await Odd()

    async def itself():
        await asyncio.current_task()

    async def foreign():
        other = asyncio.new_event_loop()
        try:
            await other.create_future()
        finally:
            other.close()

    engine = reopen()
    for fn, words in ((bad_yield, "bad yield"), (itself, "await on itself"), (foreign, "different loop")):
        with pytest.raises(RuntimeError, match=words):
            engine.run(engine.spawn(fn))


def test_outside_a_task_the_words_for_tasks_are_refused(reopen):
    with pytest.raises(NotInEngine, match=r"pstore\.now\(\)"):
        pstore.now()
    with pytest.raises(NotInEngine, match=r"pstore\.step_key\(\)"):
        pstore.step_key()


def test_dropped_async_generator_is_closed_while_running(reopen):
    async def use(log):
        async def numbers():
            try:
                yield 1
                yield 2
            finally:
                await asyncio.sleep(1)
                log.append("closed")

        async for _ in numbers():
            break
        gc.collect()
        await asyncio.sleep(3)

    engine = reopen()
    log = engine.root["log"] = []
    engine.run(engine.spawn(use, log))
    assert log == ["closed"]
