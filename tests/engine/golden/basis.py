"""What the first engine had: the standard library's primitives and steps.  NEVER CHANGE anything that is here: stored
bytes refer to it by name and by its bytecode.

Each part is ``async def part(out)`` and the only one that appends to its list, but for `in_order`.  The program is left
off at 1010 s, when `begin` has done to it what nobody has run yet.
"""

import asyncio
import contextvars
import functools
import threading

import pstore

START, LEFT_OFF = 1000.0, 1010.0

var = contextvars.ContextVar("var", default="default")

# While the files are written: what steps do not come to an end, and which fail.
held = frozenset()
failing = frozenset()
release = threading.Event()

PARTS = []


def part(fn):
    PARTS.append(fn)
    return fn


def outside(what, *args):
    if what in held:
        release.wait()
    if what in failing:
        raise OSError(f"{what} fails")
    return (what, *args)


def note(out, *what):
    out.append((pstore.now(), *what))


async def after(seconds, value):
    await asyncio.sleep(seconds)
    return value


async def fail_after(seconds, error):
    await asyncio.sleep(seconds)
    raise error


class Odd(Exception):
    pass


# -- time


@part
async def sleeping(out):
    note(out, await asyncio.sleep(100, "slept"))
    await asyncio.sleep(0)
    note(out, "end")
    return len(out)


@part
async def together(out):
    async def one(n):
        await asyncio.sleep(60)
        note(out, n)

    await asyncio.gather(*[one(n) for n in range(5)])


@part
async def too_late(out):
    try:
        async with asyncio.timeout(50) as limit:
            await asyncio.Event().wait()
    except TimeoutError:
        note(out, "too late", limit.expired(), asyncio.current_task().cancelling())
    async with asyncio.timeout(50) as limit:
        await asyncio.sleep(20)
        limit.reschedule(asyncio.get_running_loop().time() + 5)
        await asyncio.sleep(4)
    note(out, "in time", limit.expired())


@part
async def in_time(out):
    async with asyncio.timeout(50) as limit:
        await asyncio.sleep(20)
    note(out, "in time", limit.expired())
    await asyncio.sleep(100)
    note(out, "not cancelled")


@part
async def waiting_for(out):
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 30)
    except TimeoutError:
        note(out, "too late")
    note(out, await asyncio.wait_for(after(5, "value"), 30))


@part
async def timers(out):
    loop = asyncio.get_running_loop()
    kept = loop.call_later(40, note, out, "later")
    early = loop.call_later(45, note, out, "never")
    loop.call_at(loop.time() + 50, functools.partial(note, out, "at"))
    await asyncio.sleep(30)
    early.cancel()
    note(out, early.cancelled(), kept.cancelled(), kept.when())
    await asyncio.sleep(30)
    kept.cancel()
    note(out, "end")


# -- queues, locks


@part
async def queue(out):
    full, empty = asyncio.Queue(1), asyncio.Queue()

    async def put():
        for n in range(3):
            await full.put(n)
            note(out, "put", n)

    async def get():
        note(out, "got", await empty.get())
        empty.task_done()

    async with asyncio.TaskGroup() as group:
        group.create_task(put())
        group.create_task(get())
        group.create_task(get())
        await asyncio.sleep(20)
        for name in ("first", "second"):
            empty.put_nowait(name)
        await empty.join()
        note(out, "joined")
        for _ in range(3):
            note(out, "got", await full.get())


@part
async def locks(out):
    lock, event, places = asyncio.Lock(), asyncio.Event(), asyncio.Semaphore(1)
    condition, barrier = asyncio.Condition(), asyncio.Barrier(2)

    async def locked(n):
        async with lock:
            note(out, "lock", n)
            await asyncio.sleep(n)

    async def placed(n):
        async with places:
            note(out, "place", n)
            await asyncio.sleep(n)

    async def told(n):
        async with condition:
            await condition.wait()
            note(out, "told", n)

    async def waits(n):
        await event.wait()
        note(out, "event", n)
        await barrier.wait()
        note(out, "barrier")

    tasks = [asyncio.create_task(each(n)) for n in (20, 21) for each in (locked, placed, told, waits)]
    await asyncio.sleep(70)
    event.set()
    async with condition:
        condition.notify_all()
    await asyncio.gather(*tasks)
    note(out, lock.locked(), places.locked())


# -- tasks


@part
async def group(out):
    try:
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(after(20, "first"), name="first")
            never = tasks.create_task(after(1000, "never"))
            tasks.create_task(fail_after(30, Odd("group")))
    except* Odd as failed:
        note(out, repr(failed.exceptions), first.result(), never.cancelled(), first.get_name())


@part
async def gathering(out):
    done = await asyncio.gather(after(5, 1), after(25, 2), fail_after(25, Odd("gather")), return_exceptions=True)
    note(out, repr(done))
    try:
        await asyncio.gather(after(50, 1), fail_after(25, Odd("again")))
    except Odd as error:
        note(out, str(error))


@part
async def gathering_that_fails(out):
    try:
        await asyncio.gather(after(50, 1), fail_after(25, Odd("gather")))
    except Odd as error:
        note(out, str(error), len(asyncio.all_tasks()) > 1)


@part
async def waits(out):
    tasks = [asyncio.create_task(after(seconds, seconds)) for seconds in (5, 15, 25)]
    done, pending = await asyncio.wait(tasks[1:], return_when=asyncio.FIRST_COMPLETED)
    note(out, [task.result() for task in done], len(pending))
    note(out, sorted([await each for each in asyncio.as_completed(tasks)]))


@part
async def shielded(out):
    inner = asyncio.create_task(after(40, "inner"))
    outer = asyncio.create_task(asyncio.wait_for(asyncio.shield(inner), 20))
    try:
        await outer
    except TimeoutError:
        note(out, "outer", inner.done())
    inner.add_done_callback(lambda task: note(out, "callback", task.result()))
    note(out, await inner)


@part
async def cancelling(out):
    async def stubborn():
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError as error:
            note(out, "cancelled", error.args)
            await asyncio.sleep(5)
            note(out, "cleaned up", asyncio.current_task().cancelling())
            raise

    task = asyncio.create_task(stubborn(), name="stubborn")
    await asyncio.sleep(20)
    note(out, task.cancel("why"))
    try:
        await task
    except asyncio.CancelledError:
        note(out, task.cancelled(), asyncio.current_task().cancelling())


@part
async def waits_for_task(out):
    inner = asyncio.create_task(after(20, "inner"))
    others = [asyncio.create_task(waiting_on(inner, out)) for _ in range(2)]
    note(out, await inner)
    for other in others:
        note(out, await other)


async def waiting_on(task, out):
    return await task + "!"


@part
async def unseen(out):
    failed = [asyncio.create_task(fail_after(1, Odd(n))) for n in ("unseen", "seen")]
    kept = asyncio.create_task(after(1, "kept"))
    await asyncio.sleep(30)
    note(out, [task.done() for task in failed], kept.result())
    try:
        failed.pop().result()
    except Odd as error:
        names, traceback = [], error.__traceback__
        while traceback is not None:
            names.append(traceback.tb_frame.f_code.co_name)
            traceback = traceback.tb_next
        note(out, repr(error), names)
    failed.clear()  # the handler of `begin` is told
    await asyncio.sleep(1)
    note(out, "dropped")


@part
async def raises(out):
    await asyncio.sleep(1)
    raise Odd("raises")


@part
async def raises_later(out):
    await asyncio.sleep(20)
    raise Odd("raises later")


@part
async def returns(out):
    await asyncio.sleep(1)
    return ["value"]


@part
async def handles(out):
    try:
        raise Odd("outer")
    except Odd as outer:
        try:
            await fail_after(1, LookupError("inner"))
        except LookupError as inner:
            await asyncio.sleep(20)
            note(out, repr(inner.__context__), inner.__context__ is outer)
        try:
            await asyncio.sleep(20)
            raise
        except Odd as again:
            note(out, again is outer)


@part
async def in_context(out):
    token = var.set("set")
    child = asyncio.create_task(in_child(out))
    await asyncio.sleep(20)
    note(out, var.get(), token.old_value is token.MISSING)
    var.reset(token)
    note(out, var.get(), await child)


async def in_child(out):
    token = var.set("in child")
    await asyncio.sleep(30)
    found = var.get()
    var.reset(token)
    return found, var.get()


@part
async def generators(out):
    ticks = ticker(out)
    async for n in ticks:
        note(out, n)
        if n == 4:
            break
    del ticks
    await asyncio.sleep(1)
    note(out, [value async for value in counted(3)])


async def ticker(out):
    n = 0
    try:
        while True:
            await asyncio.sleep(7)
            n += 1
            yield n
    finally:
        await asyncio.sleep(0)
        note(out, "closed")


async def counted(count):
    for n in range(count):
        await asyncio.sleep(1)
        yield n


# -- steps


@part
async def pending(out):
    note(out, await pstore.step(outside, "held", 1))
    note(out, await pstore.step(outside, "free", 2))


@part
async def resting(out):
    note(out, await pstore.step(outside, "failing", 1, retry=pstore.Retry(attempts=5, delay=50, factor=2)))


@part
async def unasked(out):
    later = pstore.step(outside, "free", 1)
    await asyncio.sleep(20)
    note(out, await later)


@part
async def several(out):
    note(out, await asyncio.gather(pstore.step(outside, "held", 1), pstore.step(outside, "held", 2), after(5, 3)))


@part
async def in_threads(out):
    loop = asyncio.get_running_loop()
    var.set("in thread")
    note(out, await asyncio.gather(asyncio.to_thread(outside, "held", 1), loop.run_in_executor(None, outside, "held")))
    note(out, await asyncio.to_thread(var.get))


@part
async def given_up(out):
    try:
        async with asyncio.timeout(25):
            await pstore.step(outside, "failing", 1, retry=pstore.Retry(attempts=5, delay=500))
    except TimeoutError:
        note(out, "given up")


@part
async def answered(out):
    results = [await pstore.step(outside, "free", n) for n in range(3)]
    await asyncio.sleep(20)
    note(out, results)


# -- what is ready when the program is left off


async def ordered(out, name, waits=None):
    if waits is not None:
        await waits
    note(out, name, asyncio.current_task().get_name())
    await asyncio.sleep(0)
    note(out, name, "end")


async def foreign(out, future):
    note(out, "foreign", await future)


async def cancelled_at_once(out):
    out.append("never")


def failed(out, loop, context):
    out.append((loop.time(), context.get("message"), repr(context.get("exception"))))


def begin(engine, outs):
    """What is to be done before the program runs."""
    handled = outs["handler"] = []
    engine._loop.set_exception_handler(functools.partial(failed, handled))
    for fn in PARTS:
        engine.spawn(fn, outs.setdefault(fn.__name__, []), id=fn.__name__)
    order = outs["in_order"] = []
    engine.root["event"] = asyncio.Event()
    engine.root["future"] = engine._loop.create_future()
    engine.root["other"] = asyncio.Future(loop=engine._loop)
    engine.spawn(ordered, order, "event", engine.root["event"].wait(), id="event")
    engine.spawn(ordered, order, "future", engine.root["future"], id="future")
    engine.spawn(foreign, order, engine.root["other"], id="foreign")
    engine.spawn(ordered, order, "asleep", asyncio.sleep(1000), id="asleep")


def leave_off(engine, outs):
    """What nobody runs any more before the program is left off."""
    order = outs["in_order"]
    engine.root["future"].set_result(None)
    engine._loop.call_soon(order.append, "call")
    engine.root["event"].set()
    engine.spawn(ordered, order, "new", id="new")
    engine.root["other"].set_result("value")
    engine.tasks["asleep"].cancel("asleep")
    engine.spawn(cancelled_at_once, order, id="cancelled").cancel()
    engine._loop.call_later(15, order.append, "timer")
    engine.spawn(ordered, order, "last", asyncio.sleep(15), id="last")


def found(engine, outs):
    """What the program has come to, once it is at its end."""
    found = {f"out {name}": out for name, out in outs.items()}
    for task_id, task in engine.tasks.items():
        found[f"task {task_id}"] = state_of(task)
    found["end"] = engine.clock.now()
    return found


def state_of(task):
    if not task.done():
        return "not done"
    if task.cancelled():
        return "cancelled"
    return repr(task.exception() or task.result())
