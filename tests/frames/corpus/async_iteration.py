# ruff: noqa
"""Async generators and the awaitables they hand out: run, held, closed, thrown into, left half way."""

import inspect

from tests.frames.kit import Fault, Ping, case, emit, group
from tests.frames.parts import AsyncCount, counter, fail, get, pause, sent

group("async iteration")


async def stubborn():
    """Catches what is thrown in, suspending in the handler."""
    n = 0
    while n < 4:
        try:
            got = yield n
            emit("got", got)
        except Fault as e:
            await pause(("in handler", e.args))
            emit("caught", e.args)
        n += 1


async def outer(n):
    """An async generator over another one."""
    async for x in counter(n):
        yield x
        await pause("outer")


@case
async def aiter_class_with_else():
    """async for over a class, else at the end, break inside."""
    out = []
    async for i, got in AsyncCount(3):
        out.append((i, got, await get("body")))
    else:
        out.append("else")
    async for i, _ in AsyncCount(3):
        if i == 2:
            break
    else:
        out.append("never")
    return out


@case
async def aiter_generator():
    """async for over an async generator, suspended inside both."""
    out = []
    async for x in counter(3, step=2):
        out.append((x, await get("body")))
    return out


@case
async def aiter_nested_generators():
    """Three async generators deep."""

    async def third():
        async for x in outer(2):
            yield x, await sent(x)

    return [x async for x in third()]


@case
async def aiter_continue_and_try():
    """try/except/finally around and in an async for."""
    out = []
    try:
        async for x in counter(4):
            try:
                if x == 1:
                    continue
                if x == 2:
                    raise Fault(x)
                out.append(await sent(x))
            except Fault as e:
                out.append((e.args, await pause("handling")))
            finally:
                out.append(await pause("finally"))
    finally:
        await pause("outer finally")
    return out


@case
async def aiter_break_then_aclose():
    """Left by break, held, closed later."""
    ag = counter(5)
    async for x in ag:
        await pause(x)
        break
    await pause("left")
    await ag.aclose()
    return x, [y async for y in ag]


@case
async def agen_asend_values():
    """Values sent in reach the yield expression."""
    ag = counter(3)
    out = [await ag.asend(None)]
    out.append(await ag.asend("one"))
    await pause("between")
    out.append(await ag.asend("two"))
    try:
        await ag.asend("end")
    except StopAsyncIteration as e:
        return out, e.args


@case
async def agen_athrow_caught():
    """athrow into a suspended async generator that goes on."""
    ag = stubborn()
    a = await anext(ag)
    b = await ag.athrow(Fault("in"))
    c = await ag.asend("x")
    return a, b, c, [x async for x in ag]


@case
async def agen_athrow_not_caught():
    """athrow that comes out again, before and after the start."""
    ag = counter(3)
    await anext(ag)
    try:
        await ag.athrow(Fault("through"))
    except Fault as e:
        await pause(e.args)
    fresh = counter(3)
    try:
        await fresh.athrow(Fault("fresh"))
    except Fault as e:
        await pause(e.args)
    return [x async for x in ag], [x async for x in fresh]


@case
async def agen_aclose_suspends():
    """aclose() of a generator whose finally awaits."""

    async def slow():
        try:
            yield 1
        finally:
            emit(await pause("closing"), await pause("still closing"))

    ag = slow()
    await anext(ag)
    await ag.aclose()
    await ag.aclose()
    return "closed"


@case
async def agen_ignores_close():
    """An async generator that yields on close is told so."""

    async def rude():
        try:
            yield 1
        except GeneratorExit:
            await pause("exit")
            yield 2

    ag = rude()
    await anext(ag)
    try:
        await ag.aclose()
    except RuntimeError as e:
        return str(e)


@case
async def awaitables_held_unawaited():
    """asend, athrow, aclose, __anext__ objects made but not awaited yet."""
    a, b, c, d = stubborn(), stubborn(), stubborn(), counter(2)
    await anext(b)
    await anext(c)
    held = a.asend(None), b.athrow(Fault("held")), c.aclose(), d.__anext__()
    await pause([type(h).__name__ for h in held])
    return [await h for h in held]


@case
async def awaitables_driven_by_hand():
    """An asend object driven with send(), held in its middle."""
    ag = counter(2)
    step = ag.asend(None)
    first = step.send(None)
    await pause(first)
    try:
        step.send("sent by hand")
    except StopIteration as e:
        value = e.value
    await pause(value)
    return [x async for x in ag]


@case
async def awaitables_athrow_in_the_middle():
    """athrow and aclose objects suspended by hand and held."""
    ag, bg = stubborn(), counter(3)
    await anext(ag)
    throwing = ag.athrow(Fault("by hand"))
    await pause(throwing.send(None))
    try:
        throwing.send("x")
    except StopIteration as e:
        await pause(e.value)

    async def closing():
        try:
            yield 1
        finally:
            await pause("in finally")

    cg = closing()
    await anext(cg)
    close = cg.aclose()
    await pause(close.send(None))
    try:
        close.send(None)
    except StopIteration as e:
        emit("closed", e.value)
    await bg.aclose()
    return [x async for x in ag]


@case
async def awaitables_used_up():
    """A finished asend object cannot be awaited again, before or after the transfer."""
    ag = counter(3)
    step = ag.asend(None)
    await step
    await pause("used up")
    try:
        await step
    except RuntimeError as e:
        return str(e)


@case
async def anext_with_default():
    """The builtin anext with default, suspended inside and at the end."""
    ag = AsyncCount(1)
    a = await anext(ag, "default")
    b = await anext(ag, "default")
    held = anext(counter(1), "d")
    await pause("held")
    return a, b, await held


@case
async def anext_default_over_generator():
    """anext with default over a generator that has ended."""
    ag = counter(1)
    out = [await anext(ag, "over") for _ in range(3)]
    it = anext(ag, "by hand").__await__()
    await pause("by hand")
    try:
        it.send(None)
    except StopIteration as e:
        out.append(e.value)
    return out


@case
async def agen_started_by_one_used_by_other():
    """Two coroutines take turns at one async generator."""
    ag = counter(4)

    async def take(name):
        return name, await anext(ag)

    out = []
    for name in "abab":
        out.append(await take(name))
    return out


@case
async def agen_running_twice():
    """A second asend while the first is suspended inside is refused."""
    ag = counter(2)
    first = ag.asend(None)
    await pause(first.send(None))
    second = ag.asend(None)
    try:
        second.send(None)
    except RuntimeError as e:
        await pause(str(e))
    try:
        first.send("go on")
    except StopIteration as e:
        return e.value


@case
async def agen_exception_inside():
    """An async generator that raises; it is finished then."""

    async def bad():
        yield await get(1)
        await fail("inside")

    ag = bad()
    out = []
    try:
        async for x in ag:
            out.append(x)
    except Fault as e:
        await pause(e.args)
    return out, [x async for x in ag]


@case
async def agen_stop_async_iteration_leaks():
    """StopAsyncIteration raised inside becomes a RuntimeError."""

    async def leak():
        yield 1
        await pause("before the leak")
        raise StopAsyncIteration("x")

    try:
        async for x in leak():
            emit(x)
    except RuntimeError as e:
        return str(e), type(e.__cause__).__name__


@case
async def agen_catches_thrown_ping():
    """What is thrown into the root reaches the innermost await of the generator."""

    async def careful():
        for i in range(2):
            try:
                await pause(("inner", i))
            except Ping as e:
                emit("careful", e.args)
            yield i

    return [x async for x in careful()]


@case
async def agen_with_handled_exception():
    """An async generator suspended in its except block, resumed from a frame without one."""

    async def handler():
        try:
            raise Fault("handled inside")
        except Fault:
            yield "handling"
            await pause("still")
            raise

    ag = handler()
    await anext(ag)
    await pause("outside")
    try:
        await anext(ag)
    except Fault as e:
        return e.args


@case
async def agen_state_attributes():
    """ag_running, ag_await and ag_frame of a held async generator."""
    ag = counter(2)
    before = ag.ag_running, ag.ag_await, ag.ag_frame.f_lineno - ag.ag_code.co_firstlineno
    await pause(before)
    first = ag.asend(None)
    first.send(None)
    await pause((ag.ag_running, type(ag.ag_await).__name__, ag.ag_await.cr_code.co_name))
    first.close()
    await pause(inspect.isasyncgen(ag))
    return ag.ag_running, ag.ag_frame is None


@case
async def agen_closure_and_defaults():
    """A local async generator with default arguments and a nonlocal."""
    total = 0

    async def adder(step=await get(5), *more, scale=2):
        nonlocal total
        while total < 30:
            total += step * scale
            yield total
            await pause(total)

    return [x async for x in adder()], total


@case
async def aiter_over_method_and_static():
    """Async generators as method, classmethod, staticmethod and property."""

    class C:
        async def m(self):
            yield await get("m")

        @classmethod
        async def c(cls):
            yield await get(cls.__name__)

        @staticmethod
        async def s():
            yield await get("s")

        @property
        async def p(self):
            yield await get("p")

    o = C()
    return [[x async for x in ag] for ag in (o.m(), C.c(), o.s(), o.p)]


@case
async def aiter_returns_self_with_async_anext_variants():
    """__anext__ that returns other awaitables: a future-like object and a generator-based coroutine."""

    class Odd:
        def __init__(self):
            self.n = 0

        def __aiter__(self):
            return self

        def __anext__(self):
            self.n += 1
            if self.n == 1:
                return pause("first")
            if self.n == 2:
                return Ready(self)
            raise StopAsyncIteration

    class Ready:
        def __init__(self, owner):
            self.owner = owner

        def __await__(self):
            got = yield "second"
            return got, self.owner.n

    return [x async for x in Odd()]
