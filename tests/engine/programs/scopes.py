"""timeout, TaskGroup, exceptions and groups of them."""

from __future__ import annotations

import asyncio
import sys
import traceback

from .kit import fail, kinds, nap, now, outcome, program


@program("timeout")
async def timeout(out):
    try:
        async with asyncio.timeout(2) as scope:
            async with asyncio.timeout(10):
                await asyncio.sleep(5)
    except TimeoutError:
        out.append((scope.expired(), now()))
    async with asyncio.timeout(1) as scope:
        scope.reschedule(now() + 4)
        await asyncio.sleep(3)
    out.append((scope.expired(), now(), asyncio.current_task().cancelling()))
    try:
        async with asyncio.timeout_at(now() + 1):
            try:
                await asyncio.sleep(5)
            finally:
                await asyncio.sleep(1)
                out.append("cleaned up")
    except TimeoutError:
        out.append(now())


@program("TaskGroup")
async def task_group_failing(out):
    async def guarded(name):
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
            out.append(f"{name} cancelled")
            raise

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(guarded("one"))
            group.create_task(fail(1, "a"))
            group.create_task(fail(1, "b"))
            await asyncio.sleep(5)
    except* ValueError as errors:
        out.append(sorted(str(error) for error in errors.exceptions))
        await asyncio.sleep(1)
        out.append(len(errors.exceptions))
    out.append(now())


@program("exceptions")
async def exceptions(out):
    try:
        try:
            await fail(1, "inner")
        except ValueError as error:
            await asyncio.sleep(1)
            raise KeyError("outer") from error
    except KeyError as error:
        await asyncio.sleep(1)
        out.append((repr(error), repr(error.__cause__), repr(sys.exc_info()[1])))
        try:
            await asyncio.sleep(1)
            raise
        except KeyError as again:
            out.append(again is error)
    else:
        out.append("never")


@program("timeout")
async def timeout_forms(out):
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as scope:
        await asyncio.sleep(1)
        scope.reschedule(loop.time() + 5)
        out.append((scope.when(), scope.expired()))
        await asyncio.sleep(1)
    try:
        async with asyncio.timeout(9) as scope:
            await asyncio.sleep(1)
            scope.reschedule(loop.time() - 1)
            await asyncio.sleep(5)
    except TimeoutError as error:
        out.append((repr(error), repr(error.__cause__), scope.expired(), now()))
    try:
        async with asyncio.timeout(5), asyncio.timeout_at(loop.time() + 1) as inner:
            await asyncio.sleep(9)
    except TimeoutError:
        out.append((inner.expired(), now()))
    try:
        async with asyncio.timeout(1):
            try:
                await asyncio.sleep(9)
            except asyncio.CancelledError:
                raise ValueError("instead") from None
    except ValueError as error:
        out.append((repr(error), now()))

    async def limited():
        async with asyncio.timeout(5):
            await asyncio.sleep(9)

    task = asyncio.create_task(limited())
    await asyncio.sleep(1)
    task.cancel("not the timeout")
    out.append(await outcome(task))


@program("timeout")
async def timeout_around_group(out):
    try:
        async with asyncio.timeout(2) as scope, asyncio.TaskGroup() as group:
            slow = group.create_task(nap(9, "slow"))
            quick = group.create_task(nap(1, "quick"))
    except TimeoutError:
        out.append((slow.cancelled(), quick.result(), scope.expired(), now()))
    out.append(asyncio.current_task().cancelling())


@program("TaskGroup")
async def task_group_nested(out):
    async def leaf(name, seconds):
        try:
            await asyncio.sleep(seconds)
            if name == "bad":
                raise LookupError(name)
            out.append((name, now()))
        except asyncio.CancelledError:
            out.append((name, "cancelled", now()))
            raise

    async def branch():
        async with asyncio.TaskGroup() as inner:
            inner.create_task(leaf("a", 1))
            inner.create_task(leaf("bad", 2))
            inner.create_task(leaf("b", 9))

    try:
        async with asyncio.TaskGroup() as outer:
            outer.create_task(branch())
            outer.create_task(leaf("c", 8))
    except* LookupError as group:
        out.append(repr(group))
    async with asyncio.TaskGroup() as group:

        async def parent(n):
            if n:
                group.create_task(parent(n - 1))
            await asyncio.sleep(n)
            out.append(("generation", n, now()))

        group.create_task(parent(3))
    late = leaf("late", 1)
    try:
        group.create_task(late)
    except RuntimeError as error:
        late.close()
        out.append("finished" in str(error))


@program("TaskGroup", "cancellation")
async def task_group_cancelled(out):
    async def guarded(name):
        try:
            await asyncio.sleep(9)
        finally:
            await asyncio.sleep(delays[name])
            out.append((name, now()))

    delays = {"one": 1, "two": 2, "three": 1}  # a group cancels its tasks in the order of a set

    async def parent():
        async with asyncio.TaskGroup() as group:
            group.create_task(guarded("one"))
            group.create_task(guarded("two"))
            await asyncio.sleep(9)

    task = asyncio.create_task(parent())
    await asyncio.sleep(1)
    task.cancel("all of you")
    out.append(await outcome(task))
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(guarded("three"))
            await asyncio.sleep(1)
            raise KeyError("body")
    except* KeyError as errors:
        out.append(repr(errors.exceptions))
    async with asyncio.TaskGroup() as group:
        quiet = group.create_task(nap(9))
        await asyncio.sleep(1)
        quiet.cancel()
    out.append((quiet.cancelled(), now()))


@program("exception groups")
async def exception_groups(out):
    async def several():
        async with asyncio.TaskGroup() as group:
            group.create_task(fail(1, "one"))
            group.create_task(broken_late())

    async def broken_late():
        try:
            await asyncio.sleep(9)
        finally:
            raise OSError("while leaving")

    try:
        try:
            await several()
        except* OSError as errors:
            await asyncio.sleep(1)
            out.append(("first", repr(errors)))
        except* ValueError as errors:
            await asyncio.sleep(1)
            out.append(("second", repr(errors)))
            raise LookupError("a new one") from errors
    except* LookupError as errors:
        await asyncio.sleep(1)
        (error,) = errors.exceptions
        out.append((repr(error), repr(error.__cause__), repr(sys.exc_info()[1])))
    try:
        try:
            raise ExceptionGroup("outer", [ValueError(1), ExceptionGroup("inner", [TypeError(2), KeyError(3)])])
        except* TypeError:
            await asyncio.sleep(1)
    except ExceptionGroup as left:
        await asyncio.sleep(1)
        split = left.split(ValueError)
        out.append((repr(left), kinds(split), left.derive([OSError(4)]).exceptions[0].args))
        left.add_note("seen")
        await asyncio.sleep(1)
        out.append(left.__notes__)


@program("exceptions")
async def finally_and_return(out):
    async def nested():
        for n in range(3):
            try:
                await asyncio.sleep(1)
                if n == 1:
                    continue
                if n == 2:
                    return n
            finally:
                await asyncio.sleep(1)
                out.append((n, now()))
        return None

    async def overtaken():
        try:
            await fail(1, "first")
        finally:
            try:
                await fail(1, "second")
            except ValueError as error:
                await asyncio.sleep(1)
                out.append((str(error), str(error.__context__)))

    out.append(await nested())
    out.append(await outcome(overtaken()))


@program("exceptions")
async def traceback_texts(out):
    loop = asyncio.get_running_loop()

    def note(error):
        out.append("".join(traceback.format_exception(error)))

    async def attempt(awaitable):
        try:
            await awaitable
        except (Exception, asyncio.CancelledError) as error:
            await asyncio.sleep(1)
            note(error)

    async def too_late():
        async with asyncio.timeout(1):
            await asyncio.gather(nap(5))

    task, cancelled = asyncio.create_task(fail(1, "task")), asyncio.create_task(nap(9))
    loop.call_later(1, cancelled.cancel, "cancelled")
    for _ in range(3):
        await attempt(task)
        await attempt(cancelled)
    for future in (loop.create_future(), asyncio.Future()):
        loop.call_later(1, future.set_exception, KeyError("set"))
        await attempt(future)
    await attempt(asyncio.gather(fail(1, "gathered"), nap(2)))
    await attempt(asyncio.shield(fail(1, "shielded")))
    await attempt(too_late())
    shared = asyncio.create_task(fail(1, "shared"))
    await asyncio.gather(attempt(shared), attempt(shared))
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail(1, "in a group"))
            await asyncio.sleep(9)
    except* ValueError as errors:
        await asyncio.sleep(1)
        note(errors)
