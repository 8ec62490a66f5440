"""The same programs on DBOS: ``python on_dbos.py COMMAND``, JSON in and out.  Runs in an environment of its own.

``url`` is that of the system database.  Settings are DBOS's own: on SQLite a rollback journal, ``synchronous=FULL``.
Of both ways to write workflows the one is used that is faster: functions for one task, coroutines for many.
"""

import asyncio
import gc
import json
import os
import sys
import threading
import time

from dbos import DBOS
from sqlalchemy import create_engine, text

_now = time.perf_counter


class Moments:
    """What workflows tell the process that runs them."""

    entered = 0
    ended = 0
    entry = 0.0
    wanted = 0
    on_last = None
    all_in = threading.Event()
    all_ended = threading.Event()
    gate = None  # asyncio.Event, of the loop that the workflows are on


def finish(figures):
    """Print, and end as if killed."""
    print(json.dumps(figures), flush=True)
    os._exit(0)


@DBOS.step()
def act(number):
    return number


@DBOS.step()
def last():
    Moments.on_last()


@DBOS.workflow()
def steps(count):
    total = 0
    for number in range(count):
        total += act(number)
    return total


@DBOS.workflow()
def steps_then_last(count):
    Moments.entry = _now()
    total = 0
    for number in range(count):
        total += act(number)
    last()
    return total


@DBOS.step()
async def act_async(number):
    return number


@DBOS.workflow()
async def gated_steps(count):
    _enter()
    await Moments.gate.wait()
    total = 0
    for number in range(count):
        total += await act_async(number)
    Moments.ended += 1
    if Moments.ended >= Moments.wanted:
        Moments.all_ended.set()
    return total


@DBOS.workflow()
async def waiter(number):
    name, amount = f"order {number}", number * 10
    _enter()
    answer = await DBOS.recv_async("door", timeout_seconds=3650 * 86400)
    return answer + amount + len(name)


def _enter():
    Moments.entered += 1
    if Moments.entered >= Moments.wanted:
        Moments.all_in.set()


def open_(given):
    DBOS(
        config={
            "name": "benchmark",
            "system_database_url": given["url"],
            "application_version": "1",
            "executor_id": "local",
            "log_level": "CRITICAL",
        }
    )
    DBOS.launch()


def size(given):
    """Bytes of the database."""
    if given["url"].startswith("sqlite"):
        return os.path.getsize(given["url"].removeprefix("sqlite:///"))
    engine = create_engine(given["url"].replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        return connection.execute(text("select pg_database_size(current_database())")).scalar()


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def one_task(given):
    open_(given)
    steps(20)
    before = size(given)
    cpu, wall = time.process_time(), _now()
    steps(given["count"])
    wall, cpu = _now() - wall, time.process_time() - cpu
    count = given["count"]
    return {
        "step_us": wall / count * 1e6,
        "step_cpu_us": cpu / count * 1e6,
        "steps_per_s": count / wall,
        "step_bytes": (size(given) - before) / count,
    }


def many_tasks(given):
    return asyncio.run(_many_tasks(given))


async def _many_tasks(given):
    open_(given)
    Moments.wanted, Moments.gate = given["tasks"], asyncio.Event()
    for _ in range(given["tasks"]):
        await DBOS.start_workflow_async(gated_steps, given["steps"])
    while not Moments.all_in.is_set():
        await asyncio.sleep(0.01)
    before = size(given)
    cpu, wall = time.process_time(), _now()
    Moments.gate.set()
    while not Moments.all_ended.is_set():  # not by DBOS's handles: each of these asks the database again and again
        await asyncio.sleep(0.01)
    wall, cpu = _now() - wall, time.process_time() - cpu
    count = given["tasks"] * given["steps"]
    finish(
        {
            "steps_per_s": count / wall,
            "step_cpu_us": cpu / count * 1e6,
            "step_bytes": (size(given) - before) / count,
        }
    )


def resume_build(given):
    Moments.on_last = lambda: finish({"file_bytes": size(given)})
    open_(given)
    steps_then_last(given["count"])


def resume(given):
    Moments.on_last = lambda: finish({"resume_s": _now() - start, "replay_s": _now() - Moments.entry})
    start = _now()
    open_(given)
    time.sleep(given["seconds"])
    raise SystemExit("the workflow was not recovered in time")


def waiting_build(given):
    return asyncio.run(_waiting_build(given))


async def _waiting_build(given):
    open_(given)
    await asyncio.sleep(0.5)
    gc.collect()
    before, bytes_before, count = resident(), size(given), given["tasks"]
    Moments.wanted = count
    start = _now()
    for number in range(count):
        await DBOS.start_workflow_async(waiter, number)
    while not Moments.all_in.is_set():
        await asyncio.sleep(0.01)
    figures = {"start_s": _now() - start}
    figures |= await _waiting_figures(count, before, given, "")
    figures["file_bytes_each"] = (size(given) - bytes_before) / count
    finish(figures)


async def _waiting_figures(count, before, given, name):
    await asyncio.sleep(1)  # what was entered begins to wait
    gc.collect()
    figures = {f"{name}resident_bytes_each": (resident() - before) / count}
    cpu, wall = time.process_time(), _now()
    await asyncio.sleep(given["watch_s"])
    figures[f"{name}cpu_percent"] = 100 * (time.process_time() - cpu) / (_now() - wall)
    return figures


def waiting(given):
    return asyncio.run(_waiting(given))


async def _waiting(given):
    gc.collect()
    before, count = resident(), given["tasks"]
    Moments.wanted = count
    start = _now()
    open_(given)
    while not Moments.all_in.is_set():
        await asyncio.sleep(0.01)
    figures = {"recover_s": _now() - start}
    finish(figures | await _waiting_figures(count, before, given, "recovered_"))


COMMANDS = {
    function.__name__: function for function in (one_task, many_tasks, resume_build, resume, waiting_build, waiting)
}

if __name__ == "__main__":
    finish(COMMANDS[sys.argv[1]](json.load(sys.stdin)))
