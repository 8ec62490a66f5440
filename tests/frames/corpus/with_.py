# ruff: noqa
"""with and async with: managers of every make, nested, failing, swallowing, suspended on either end."""

import contextlib
import io
import sys
import traceback

from tests.frames.kit import Fault, Ping, case, emit, group
from tests.frames.parts import AsyncGuard, Box, Guard, fail, get, pause, sent

group("with")


@contextlib.contextmanager
def tracing(name):
    """A generator manager of a module."""
    emit("begin", name)
    try:
        yield name
    except Ping as e:
        emit("tracing saw", e.args)
        raise
    finally:
        emit("end", name)


@contextlib.asynccontextmanager
async def async_tracing(name):
    """A generator manager that suspends on both ends."""
    await pause(("begin", name))
    try:
        yield name
    except Fault as e:
        await pause(("saw", e.args))
    finally:
        await pause(("end", name))


@case
def with_plain_and_after():
    """One manager, suspended inside and after."""
    with Guard("a") as g:
        emit("got", (yield g))
    yield "after"


@case
def with_several_items_and_parentheses():
    """Parenthesised items, targets that are attributes, subscripts and tuples."""
    b, d = Box(), {}
    with (
        Guard("a") as b.value,
        Guard("b") as d["k"],
        contextlib.nullcontext((1, [2, 3])) as (x, [y, *z]),
    ):
        yield b, d, x, y, z
        raise Fault("in the middle")


@case
def with_swallows_in_a_loop():
    """A swallowed exception each round, with continue and break between."""
    for i in range(4):
        with Guard(f"g{i}", swallow=True):
            yield i
            if i == 1:
                continue
            if i == 3:
                break
            raise Fault(i)
    return i


@case
def with_return_inside_three():
    """return through three exits, the value computed before."""
    with Guard("a"), Guard("b"):
        with Guard("c"):
            got = yield "in"
            return got


@case
def with_exit_replaces_exception():
    """__exit__ raises another exception: context and lines of both."""
    try:
        with Guard("a", raises=KeyError("from exit")):
            yield 1
            raise Fault("first")
    except KeyError as e:
        yield type(e.__context__).__name__, e.__context__.args
        raise


@case
def with_inside_except_inside_with():
    """A manager opened while an exception is handled."""
    with Guard("outer"):
        try:
            raise Fault("one")
        except Fault:
            with Guard("inner", swallow=True):
                yield sys.exc_info()[1].args
                raise KeyError("two")
            yield sys.exc_info()[1].args
            raise


@case
def with_inside_finally():
    """A manager in a finally block while an exception is in flight."""
    try:
        yield 1
        raise Fault("flying")
    finally:
        with Guard("f") as f:
            yield f
        yield type(sys.exc_info()[1]).__name__


@case
def with_exit_is_a_generator_step():
    """__exit__ drives another generator of the frame's locals."""

    def log():
        while True:
            emit("log", (yield))

    g = log()
    next(g)

    class Manager:
        __enter__ = lambda self: g.send("enter")

        def __exit__(self, *error):
            g.send(error[0] and error[0].__name__)

    with Manager():
        yield 1
    yield 2
    with Manager():
        yield 3
        raise Fault(1)


@case
def with_manager_made_of_static_methods():
    """__enter__ and __exit__ that are not bound methods."""

    class Odd:
        @staticmethod
        def __enter__():
            return "static"

        @classmethod
        def __exit__(cls, kind, value, tb):
            emit(cls.__name__, kind and kind.__name__)
            return True

    with Odd() as o:
        yield o
        raise Fault(1)
    yield "swallowed"


@case
def with_contextmanager_function():
    """A suspended generator inside contextlib's manager, left by an exception."""
    with tracing("t") as t:
        yield t
        with tracing("u"):
            yield "both"
            raise Fault("through both")


@case
def with_contextmanager_held_unentered():
    """The manager object before and after its use, and reused as a decorator."""
    m = tracing("late")
    yield "held"
    with m as name:
        yield name

    @tracing("decor")
    def f(x):
        return x + 1

    yield f(1)
    return f(2)


@case
def with_contextmanager_yields_twice():
    """The manager that does not stop is told so."""

    @contextlib.contextmanager
    def wrong():
        yield 1
        yield 2

    try:
        with wrong() as w:
            yield w
    except RuntimeError as e:
        return str(e)


@case
def with_exit_stack():
    """An ExitStack with managers, callbacks, bound methods and lambdas."""
    out = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(Guard("a"))
        stack.callback(out.append, "called")
        yield "one"
        stack.enter_context(tracing("t"))
        stack.push(lambda *error: emit("pushed", error[0] and error[0].__name__))
        yield "two"
        stack.callback(lambda: emit("last in", list(out)))
    return out


@case
def with_exit_stack_moved():
    """pop_all moves the callbacks to a stack closed later."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(Guard("a"))
        stack.enter_context(Guard("b"))
        yield "open"
        kept = stack.pop_all()
    yield "not closed yet"
    kept.close()


@case
def with_exit_stack_and_error():
    """The stack's exits see the error; one swallows it."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(Guard("outer"))
        stack.enter_context(Guard("swallow", swallow=True))
        stack.enter_context(Guard("fails", raises=KeyError("k")))
        yield 1
        raise Fault("x")
    return "on"


@case
def with_closing_suppress_nullcontext():
    """The small managers of contextlib."""

    class Closable:
        def close(self):
            emit("closed")

    with contextlib.closing(Closable()), contextlib.suppress(Fault, KeyError), contextlib.nullcontext("n") as n:
        yield n
        raise KeyError("suppressed")
    yield "still here"


@case
def with_redirected_output():
    """A StringIO as stdout only between the suspensions."""
    buffer = io.StringIO()
    with contextlib.redirect_stdout(buffer):
        print("one")
    yield buffer.getvalue()
    with contextlib.redirect_stdout(buffer):
        print("two")
    buffer.seek(2)
    yield buffer.read(1)
    return buffer.read(), buffer.tell()


@case
def with_context_decorator_class():
    """A ContextDecorator subclass on a local function."""

    class Deco(contextlib.ContextDecorator):
        def __enter__(self):
            emit("in")

        def __exit__(self, *error):
            emit("out", error[0] and error[0].__name__)

    @Deco()
    def f():
        return "f"

    yield f()
    with Deco():
        yield f.__name__
    return f()


@case
def with_lines_of_the_cleanup():
    """The lines a traceback shows after an exit did not swallow."""
    try:
        with Guard(
            "a"
        ), Guard(
            "b"
        ):
            yield 1
            [
                0,
                1 // ((yield 2) - 101),
            ]
    except ZeroDivisionError as e:
        yield [(f.name, f.lineno - with_lines_of_the_cleanup.__code__.co_firstlineno) for f in
               traceback.extract_tb(e.__traceback__) if f.name.startswith("with_")]
        raise


@case
async def async_with_suspended_on_both_ends():
    """Suspended in __aenter__, the body and __aexit__."""
    async with AsyncGuard("a") as a, AsyncGuard("b") as b:
        emit(a, b, await sent("body"))
    return "done"


@case
async def async_with_return_break_continue():
    """The value of a return waits while __aexit__ suspends."""
    for i in range(3):
        async with AsyncGuard(i and f"n{i}" or "n"):
            if i == 0:
                continue
            if i == 1:
                break
    async with AsyncGuard("r"):
        return await get("value")


@case
async def async_with_fault_swallowed_by_outer():
    """__aexit__ suspends while the exception is in flight."""
    async with AsyncGuard("a", swallow=True) as a:
        async with AsyncGuard("b") as b:
            emit(a, b)
            await fail("x")
    return "swallowed"


@case
async def async_with_aexit_raises():
    """__aexit__ raises after its own suspension."""
    try:
        async with AsyncGuard("a", raises=KeyError("exit")):
            await fail("body")
    except KeyError as e:
        await pause("caught")
        return type(e.__context__).__name__


@case
async def async_with_in_handler_and_finally():
    """async with in except and in finally, with the handled exception looked at from inside."""
    try:
        try:
            raise Fault("first")
        except Fault:
            async with AsyncGuard("h"):
                emit(sys.exc_info()[1].args)
            raise
    finally:
        async with AsyncGuard("f") as f:
            emit(f, type(sys.exc_info()[1]).__name__)


@case
async def async_with_mixed_with_plain():
    """with and async with in turn, targets unpacked."""
    with Guard("a") as a:
        async with AsyncGuard("b") as b, AsyncGuard("c"):
            with Guard("d") as (x, *y):
                await pause((a, b, x, y))
                raise Fault("through all")


@case
async def async_generator_manager():
    """asynccontextmanager suspended inside the manager's generator."""
    async with async_tracing("m") as m:
        await pause(m)
        await fail("seen by the manager")
    await pause("after")


@case
async def async_generator_manager_held():
    """The manager before it is entered, and two of them at once."""
    a, b = async_tracing("a"), async_tracing("b")
    await pause("held")
    async with a as x, b as y:
        await pause((x, y))


@case
async def async_exit_stack():
    """AsyncExitStack with sync and async managers and callbacks."""

    async def later(x):
        emit("later", x, await sent(x))

    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(Guard("s"))
        await stack.enter_async_context(AsyncGuard("a"))
        stack.push_async_callback(later, 1)
        await pause("inside")
        raise Fault("out")


@case
async def async_exit_stack_moved():
    """pop_all and aclose of an AsyncExitStack."""
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(AsyncGuard("a"))
        kept = stack.pop_all()
    await pause("between")
    await kept.aclose()


@case
async def async_closing_and_suppress():
    """aclosing over an async generator, with suppress around it."""

    async def numbers():
        try:
            for i in range(5):
                yield await get(i)
        finally:
            await pause("closing")

    with contextlib.suppress(Fault):
        async with contextlib.aclosing(numbers()) as ns:
            async for n in ns:
                if await sent(n) > 102:
                    raise Fault(n)
    return "suppressed"


@case
async def async_with_plain_awaitables():
    """__aenter__ and __aexit__ that return awaitables of other kinds."""

    class Manager:
        def __aenter__(self):
            return pause("entering")

        def __aexit__(self, kind, value, tb):
            return Later()

    class Later:
        def __await__(self):
            yield "leaving"
            return True

    async with Manager() as m:
        await pause(m)
        raise Fault("gone")
    return "swallowed"
