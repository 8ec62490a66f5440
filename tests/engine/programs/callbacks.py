"""Futures, callbacks, handles, what the loop tells about failures."""

from __future__ import annotations

import asyncio
import functools

from .kit import kinds, label, now, outcome, program


@program("futures and callbacks")
async def futures(out):
    loop = asyncio.get_running_loop()
    mine, own, failed = asyncio.Future(), loop.create_future(), asyncio.Future()
    mine.add_done_callback(functools.partial(lambda log, f: log.append(("callback", f.result())), out))

    async def reader(name, future):
        try:
            out.append((name, await future, now()))
        except ValueError as error:
            out.append((name, str(error)))

    tasks = [asyncio.create_task(reader(n, f)) for n, f in enumerate((mine, own, failed, mine))]
    await asyncio.sleep(1)
    loop.call_later(1, mine.set_result, "by timer")
    loop.call_soon(own.set_result, "soon")
    failed.set_exception(ValueError("set"))
    cancelled = asyncio.Future()
    cancelled.cancel("why")
    await asyncio.sleep(0.5)
    try:
        await cancelled
    except asyncio.CancelledError as error:
        out.append(error.args)
    await asyncio.gather(*tasks)
    out.append((mine.result(), own.done(), mine.done()))


@program("call_soon, call_later, call_at")
async def timers(out):
    loop = asyncio.get_running_loop()
    handles = [loop.call_later(n, out.append, f"timer {n}") for n in (3, 1, 2, 2)]
    handles[2].cancel()
    start = loop.time()
    loop.call_at(start + 4, out.append, "at")
    await asyncio.sleep(5)
    out.append([handle.cancelled() for handle in handles])


def log(out, text, future):
    out.append((text, future.cancelled() or repr(future.exception() or future.result()), now()))


@program("futures and callbacks")
async def callbacks(out):
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    first, second = functools.partial(log, out, "first"), functools.partial(log, out, "second")
    for callback in (first, second, first):
        future.add_done_callback(callback)
    await asyncio.sleep(1)
    out.append((future.remove_done_callback(first), future.done()))
    loop.call_later(1, future.set_result, "value")
    await asyncio.sleep(2)
    future.add_done_callback(first)
    await asyncio.sleep(1)
    for change in (future.cancel, functools.partial(future.set_result, 1)):
        try:
            out.append(change())
        except asyncio.InvalidStateError:
            out.append("invalid")
    for end in ("set_result", "set_exception", "cancel"):
        future = loop.create_future()
        future.add_done_callback(functools.partial(log, out, end))
        loop.call_later(1, getattr(future, end), *([] if end == "cancel" else [OSError("x")]))
        out.append(await outcome(future))


@program("futures and callbacks")
async def callback_fails(out):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: out.append((repr(context["exception"]), sorted(context))))
    loop.call_later(1, [].pop)
    task = asyncio.ensure_future(asyncio.sleep(2))
    task.add_done_callback(lambda task: {}["missing"])
    await task
    await asyncio.sleep(1)
    out.append((now(), loop.get_exception_handler() is not None))
    loop.set_exception_handler(None)


@program("call_soon, call_later, call_at")
async def handles(out):
    loop = asyncio.get_running_loop()
    start = loop.time()
    for n in range(3):
        loop.call_soon(out.append, f"soon {n}")
    dropped = loop.call_soon(out.append, "never")
    dropped.cancel()
    await asyncio.sleep(0)
    kept, gone = loop.call_at(start + 2.5, out.append, "at 2.5"), loop.call_later(3, out.append, "never")
    out.append((kept.when() - start, gone.when() - start, kept.cancelled()))

    def chain(n):
        out.append(("chain", n, loop.time()))
        if n:
            loop.call_later(1, chain, n - 1)

    chain(3)
    await asyncio.sleep(1)
    gone.cancel()
    gone.cancel()
    loop.call_at(start - 5, out.append, "overdue")
    loop.call_later(-1, out.append, "overdue too")
    await asyncio.sleep(3)
    kept.cancel()
    out.append((kept.cancelled(), gone.cancelled(), dropped.cancelled()))

    class Every:
        def __init__(self, seconds):
            self.seconds, self.count = seconds, 0
            self.tick()

        def tick(self):
            self.count += 1
            self.handle = loop.call_later(self.seconds, self.tick)

    every = Every(2)
    await asyncio.sleep(7)
    every.handle.cancel()
    out.append((every.count, now()))


@program(
    "call_soon, call_later, call_at",
    apart="asyncio's heap has no order for timers of one moment; durable ones fire in the order of their making",
)
async def many_at_one_moment(out):
    loop = asyncio.get_running_loop()
    moment = loop.time() + 2
    for n in range(9):
        loop.call_at(moment, out.append, n)
    await asyncio.sleep(1)
    await asyncio.sleep(2)
    out.append(now())
