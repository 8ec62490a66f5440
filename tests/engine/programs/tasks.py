"""Tasks: made, named, eager, cancelled; their contexts; what they share."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import sys

from .kit import fail, kinds, label, nap, now, outcome, program


@program("create_task")
async def create_task(out):
    label.set("outer")

    async def child(n):
        label.set(f"{label.get()} {n}")
        await asyncio.sleep(n)
        out.append((n, label.get(), asyncio.current_task().get_name()))
        return n

    tasks = [asyncio.create_task(child(n), name=f"child {n}") for n in (2, 1)]
    own = contextvars.copy_context()
    tasks.append(asyncio.create_task(child(3), name="child 3", context=own))
    tasks[0].add_done_callback(functools.partial(lambda where, task: where.append(("done", task.result())), out))
    out.append(sorted(task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("child")))
    for task in tasks:
        out.append(await task)
    out.append((label.get(), own[label], own is getattr(tasks[2], "get_context", lambda: own)()))  # 3.12 has it


@program(
    "eager tasks", apart=None if sys.version_info >= (3, 14) else "eager_start= is of 3.14, pstore takes it everywhere"
)
async def eager_tasks(out):
    loop = asyncio.get_running_loop()

    async def child(n):
        out.append(("begins", n, asyncio.current_task().get_name()))
        if n:
            await asyncio.sleep(n)
        return n

    tasks = [loop.create_task(child(n), name=f"t{n}", eager_start=True) for n in (0, 1)]
    out.append((tasks[0].done(), tasks[1].done(), asyncio.current_task().get_name()))
    await asyncio.sleep(0.5)
    out.append([await task for task in tasks])


@program("cancellation")
async def cancellation(out):
    async def stubborn():
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError as error:
            out.append(("asked to go", error.args, asyncio.current_task().cancelling()))
            asyncio.current_task().uncancel()
            await asyncio.sleep(1)
        try:
            await asyncio.sleep(9)
        finally:
            await asyncio.sleep(1)
            out.append(("gone", now()))

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(1)
    task.cancel("please")
    await asyncio.sleep(2)
    out.append(task.done())
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        out.append((task.cancelled(), now()))
    early = asyncio.create_task(stubborn())
    early.cancel()
    out.append([repr(r) for r in await asyncio.gather(early, return_exceptions=True)])


@program("create_task")
async def shared_state(out):
    shared, total = [], 0

    async def add(n):
        nonlocal total
        await asyncio.sleep(n)
        shared.append(n)
        total += n
        return shared

    lists = await asyncio.gather(*(add(n) for n in range(3)))
    out.append((all(item is shared for item in lists), shared, total))


@program("create_task")
async def set_order(out):
    items = {"flight", "hotel", "car", "train", "ferry", "bike"}
    seen = []
    for item in items:
        await asyncio.sleep(1)
        seen.append(item)
    out.append((sorted(seen), len(seen) == len(items)))


@program("create_task")
async def create_task_names(out):
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(nap(3, "named"), name="first")
    out.append((task.get_name(), task.get_coro().__qualname__, task.done()))
    await asyncio.sleep(1)
    task.set_name("second")
    await asyncio.sleep(1)
    out.append((task.get_name(), await task))
    number = loop.create_task(nap(1), name=17)
    await asyncio.sleep(0.5)
    out.append(number.get_name())
    out.append((asyncio.ensure_future(number) is number, asyncio.isfuture(number), number in asyncio.all_tasks()))
    await number
    background = set()
    for n in range(3):
        kept = asyncio.create_task(nap(n, n))
        background.add(kept)
        kept.add_done_callback(background.discard)
    await asyncio.sleep(1.5)
    out.append(len(background))
    await asyncio.sleep(1)
    out.append(len(background))


@program("create_task")
async def task_states(out):
    task, failing = asyncio.create_task(nap(2, "x")), asyncio.create_task(fail(1, "y"))
    for call in (task.result, task.exception):
        try:
            call()
        except asyncio.InvalidStateError as error:
            out.append(str(error))
    await asyncio.sleep(1.5)
    out.append((repr(failing.exception()), failing.done(), failing.cancelled(), failing.cancel()))
    out.append((await task, task.exception(), task.cancel(), task.cancelling()))
    for n in range(2):
        out.append(await outcome(failing))
        await asyncio.sleep(n)


@program("current_task, all_tasks")
async def which_tasks(out):
    me = asyncio.current_task()

    async def child(n):
        mine = asyncio.current_task()
        await asyncio.sleep(n)
        out.append((mine is asyncio.current_task(), mine.get_name(), me in asyncio.all_tasks(), mine is me))
        return mine

    tasks = [asyncio.create_task(child(n), name=f"child {n}") for n in (1, 2)]
    for n in range(3):
        await asyncio.sleep(1)
        out.append(sorted(t.get_name() for t in asyncio.all_tasks() if t.get_name().startswith("child")))
    out.append([await task is task for task in tasks])
    out.append((asyncio.current_task() is me, len(asyncio.all_tasks()), asyncio.get_running_loop() is me.get_loop()))


@program("eager tasks", since=(3, 12))
async def eager_factory(out):
    loop, me = asyncio.get_running_loop(), asyncio.current_task()
    loop.set_task_factory(asyncio.eager_task_factory)

    async def child(n):
        out.append(("begins", n, asyncio.current_task() is not me))
        if n:
            await asyncio.sleep(n)
        if n == 3:
            raise ValueError(n)
        return n

    tasks = [asyncio.create_task(child(n), name=f"t{n}") for n in range(4)]
    out.append([task.done() for task in tasks])
    out.append(kinds(await asyncio.gather(*tasks, return_exceptions=True)))
    async with asyncio.TaskGroup() as group:
        quick, slow = group.create_task(child(0)), group.create_task(child(1))
        out.append((quick.done(), slow.done()))
    out.append(loop.get_task_factory() is asyncio.eager_task_factory)
    loop.set_task_factory(None)
    await asyncio.sleep(1)
    task = asyncio.create_task(child(1), name="lazy")
    out.append("not begun")
    await task


@program("cancellation")
async def cancel_messages(out):
    async def deep(n):
        if n:
            try:
                return await deep(n - 1)
            except asyncio.CancelledError as error:
                await asyncio.sleep(1)
                out.append((n, error.args, asyncio.current_task().cancelling()))
                raise
        return await asyncio.sleep(9)

    task = asyncio.create_task(deep(3))
    await asyncio.sleep(1)
    out.append((task.cancel("go"), task.cancelling()))
    await asyncio.sleep(0.5)
    out.append((task.cancel("go now"), task.cancelling()))
    out.append(await outcome(task))
    out.append((task.cancelled(), task.cancel(), task.cancelling()))

    async def waits_for(other):
        await other

    inner = asyncio.create_task(nap(9))
    outer = asyncio.create_task(waits_for(inner))
    await asyncio.sleep(1)
    outer.cancel("through")
    out.append((await outcome(outer), inner.cancelled()))


@program("cancellation")
async def cancel_suppressed(out):
    async def stays():
        for _ in range(3):
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError as error:
                out.append((error.args, asyncio.current_task().cancelling(), now()))
                if asyncio.current_task().uncancel():
                    await asyncio.sleep(0.5)
        return "stayed"

    task = asyncio.create_task(stays())
    await asyncio.sleep(1)
    task.cancel(1)
    await asyncio.sleep(1)
    task.cancel(2)
    task.cancel(3)
    out.append(await outcome(task))
    out.append((task.cancelled(), task.cancelling(), task.uncancel()))

    async def raises_it():
        await asyncio.sleep(1)
        raise asyncio.CancelledError("of its own")

    out.append(await outcome(asyncio.create_task(raises_it())))

    async def cancels_itself():
        asyncio.current_task().cancel("me")
        out.append("still running")
        await asyncio.sleep(1)

    out.append(await outcome(asyncio.create_task(cancels_itself())))


@program("contextvars")
async def contexts(out):
    loop = asyncio.get_running_loop()
    token = label.set("main")

    async def child(n):
        out.append((n, label.get()))
        inner = label.set(f"child {n}")
        await asyncio.sleep(n)
        out.append((n, label.get(), inner.old_value))
        label.reset(inner)
        await asyncio.sleep(1)
        out.append((n, label.get()))

    tasks = [asyncio.create_task(child(n)) for n in (1, 2)]
    label.set("main again")
    await asyncio.gather(*tasks)
    out.append(label.get())
    label.reset(token)
    out.append(label.get())
    context = contextvars.copy_context()
    context.run(label.set, "of the callback")
    loop.call_later(1, lambda: out.append(("callback", label.get())), context=context)
    loop.call_soon(lambda: out.append(("soon", label.get())))
    await asyncio.sleep(2)
    out.append((context[label], label.get(), label in context, [v.name for v in context if v is label]))

    async def numbers():
        for n in range(2):
            label.set(f"generator {n}")
            yield label.get()
            await asyncio.sleep(1)

    async for value in numbers():
        out.append((value, label.get()))
    shared = contextvars.copy_context()
    for n in range(2):
        await asyncio.create_task(bump(n), context=shared)
    out.append((shared[label], label.get()))


async def bump(n):
    label.set(f"{label.get()} + {n}")
    await asyncio.sleep(1)
