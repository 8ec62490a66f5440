"""The same programs on Restate: ``python on_restate.py COMMAND``, JSON in and out.  Runs in an environment of its own.

``ingress`` and ``admin`` are the addresses of a server that runs, ``port`` is where this process serves its handlers.
The bytes of its database are not told: its files are made larger than what is in them, ahead of need.
"""

import asyncio
import gc
import json
import os
import sys
import time

import httpx
import restate
from hypercorn.asyncio import serve
from hypercorn.config import Config

_now = time.perf_counter
service = restate.Service("Benchmark")


class Moments:
    """What handlers tell the process that runs them."""

    entered = 0
    ended = 0
    entry = 0.0
    wanted = 0
    on_last = None
    all_in = all_ended = gate = None  # asyncio.Event


def finish(figures):
    """Print, and end as if killed."""
    print(json.dumps(figures), flush=True)
    os._exit(0)


async def act(number):
    return number


def last():
    Moments.on_last()


@service.handler()
async def steps(ctx: restate.Context, count: int) -> list:
    cpu, wall = time.process_time(), _now()
    for number in range(count):
        await ctx.run_typed("act", act, number=number)
    return [_now() - wall, time.process_time() - cpu]


@service.handler()
async def steps_then_last(ctx: restate.Context, count: int) -> int:
    Moments.entry = _now()
    total = 0
    for number in range(count):
        total += await ctx.run_typed("act", act, number=number)
    await ctx.run_typed("last", last)
    return total


@service.handler()
async def gated_steps(ctx: restate.Context, count: int) -> int:
    _enter()
    await Moments.gate.wait()
    total = 0
    for number in range(count):
        total += await ctx.run_typed("act", act, number=number)
    Moments.ended += 1
    if Moments.ended >= Moments.wanted:
        Moments.all_ended.set()
    return total


@service.handler()
async def waiter(ctx: restate.Context, number: int) -> int:
    name, amount = f"order {number}", number * 10
    _, door = ctx.awakeable()
    _enter()
    return await door + amount + len(name)


def _enter():
    Moments.entered += 1
    if Moments.entered >= Moments.wanted:
        Moments.all_in.set()


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Serving:
    """The handlers, served in this event loop and known to the server; and a client."""

    def __init__(self, given):
        self.given = given

    async def __aenter__(self):
        Moments.all_in, Moments.all_ended, Moments.gate = asyncio.Event(), asyncio.Event(), asyncio.Event()
        config = Config()
        config.bind = [f"127.0.0.1:{self.given['port']}"]
        config.h2_max_concurrent_streams = 10_000
        config.loglevel = "ERROR"
        self.task = asyncio.ensure_future(serve(restate.app([service]), config, shutdown_trigger=asyncio.Event().wait))
        limits = httpx.Limits(max_connections=32, max_keepalive_connections=32)
        self.client = httpx.AsyncClient(timeout=None, limits=limits, trust_env=False)
        if self.given.get("register", True):
            await asyncio.sleep(0.3)
            uri = f"http://127.0.0.1:{self.given['port']}"
            answer = await self.client.post(f"{self.given['admin']}/deployments", json={"uri": uri, "force": True})
            answer.raise_for_status()
        return self

    async def __aexit__(self, *_):
        return None  # processes end by `finish`

    async def call(self, handler, value):
        answer = await self.client.post(f"{self.given['ingress']}/Benchmark/{handler}", json=value)
        answer.raise_for_status()
        return answer.json()

    async def start_many(self, handler, values):
        async def send(value):
            (await self.client.post(f"{self.given['ingress']}/Benchmark/{handler}/send", json=value)).raise_for_status()

        await asyncio.gather(*map(send, values))


async def one_task(given):
    async with Serving(given) as here:
        await here.call("steps", 20)
        count = given["count"]
        wall, cpu = await here.call("steps", count)
        return {
            "step_us": wall / count * 1e6,
            "step_cpu_us": cpu / count * 1e6,
            "steps_per_s": count / wall,
        }


async def many_tasks(given):
    async with Serving(given) as here:
        await here.call("steps", 20)
        Moments.wanted = given["tasks"]
        await here.start_many("gated_steps", [given["steps"]] * given["tasks"])
        await Moments.all_in.wait()
        count = given["tasks"] * given["steps"]
        cpu, wall = time.process_time(), _now()
        Moments.gate.set()
        await Moments.all_ended.wait()
        wall, cpu = _now() - wall, time.process_time() - cpu
        return {"steps_per_s": count / wall, "step_cpu_us": cpu / count * 1e6}


async def resume_build(given):
    Moments.on_last = lambda: finish({})
    async with Serving(given) as here:
        await here.call("steps_then_last", given["count"])


async def resume(given):
    Moments.on_last = lambda: finish({"resume_s": _now() - start, "replay_s": _now() - Moments.entry})
    start = _now()
    async with Serving({**given, "register": False}):
        await asyncio.sleep(given["seconds"])
    raise SystemExit("the handler was not called again in time")


async def waiting_build(given):
    async with Serving(given) as here:
        await here.call("steps", 20)
        gc.collect()
        count = Moments.wanted = given["tasks"]
        before = resident()
        start = _now()
        await here.start_many("waiter", list(range(count)))
        await Moments.all_in.wait()
        figures = {"start_s": _now() - start}
        finish(figures | await _waiting_figures(count, before, given, ""))


async def waiting(given):
    count = Moments.wanted = given["tasks"]
    gc.collect()
    before, start = resident(), _now()
    async with Serving({**given, "register": False}):
        await Moments.all_in.wait()
        figures = {"recover_s": _now() - start}
        finish(figures | await _waiting_figures(count, before, given, "recovered_"))


async def _waiting_figures(count, before, given, name):
    await asyncio.sleep(1)
    gc.collect()
    figures = {f"{name}resident_bytes_each": (resident() - before) / count}
    cpu, wall = time.process_time(), _now()
    await asyncio.sleep(given["watch_s"])
    figures[f"{name}cpu_percent"] = 100 * (time.process_time() - cpu) / (_now() - wall)
    return figures


COMMANDS = {
    function.__name__: function for function in (one_task, many_tasks, resume_build, resume, waiting_build, waiting)
}


async def main():
    finish(await COMMANDS[sys.argv[1]](json.load(sys.stdin)))


if __name__ == "__main__":
    asyncio.run(main())
