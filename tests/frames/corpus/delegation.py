# ruff: noqa
"""yield from and await over every kind of iterator, with send, throw, close and return values passing through."""

import types

from tests.frames.kit import Fault, Ping, case, emit, group, unsent
from tests.frames.parts import Countdown, get, pause, sent, ticker

group("delegation")


def leaf(n):
    """Tells what is sent and thrown in."""
    try:
        got = yield "leaf", n
    except Fault as e:
        got = yield "leaf caught", e.args
    finally:
        emit("leaf finally", n)
    return got, n


def tough():
    """Survives a Ping at any place."""
    for i in range(3):
        try:
            yield i
        except Ping as e:
            yield "survived", e.args
    return "tough"


@case
def from_chain_of_three():
    """Return values through three generators."""

    def middle(n):
        a = yield from leaf(n)
        b = yield from leaf(n + 1)
        return a, b

    r = yield from middle(1)
    s = yield from tough()
    return r, s


@case
def from_inside_try():
    """The delegator handles what its delegate lets through."""
    try:
        yield from leaf(1)
    except Ping as e:
        yield "delegator", e.args
    finally:
        yield "finally"


@case
@unsent
def from_plain_iterators():
    """Iterators without send: list, dict, string, range, custom."""
    a = yield from [1, 2]
    b = yield from {"k": 1}
    c = yield from iter(range(2))
    d = yield from Countdown(2)
    e = yield from "ab"
    return a, b, c, d, e


@case
def from_iterator_with_send_and_throw():
    """A class with send, throw and close as delegate."""

    class Gen:
        def __init__(self):
            self.n = 0

        def __iter__(self):
            return self

        def __next__(self):
            return self.send(None)

        def send(self, v):
            self.n += 1
            if self.n > 3:
                raise StopIteration(("result", v))
            return self.n, v

        def throw(self, *error):
            emit("thrown", type(error[0]).__name__)
            return "thrown"

        def close(self):
            emit("closed")

    return (yield from Gen())


@case
@unsent
def from_getitem_iterable():
    """A sequence by __getitem__ as delegate."""

    class Old:
        def __getitem__(self, i):
            if i > 2:
                raise IndexError
            return i * i

    return (yield from Old())


@case
def from_shared_delegate():
    """Two delegators take turns at one generator."""
    shared = ticker(5)

    def delegator(name, n):
        for _ in range(n):
            yield name, next(shared)
        return (yield from shared)

    a, b = delegator("a", 1), delegator("b", 1)
    yield next(a)
    yield next(b)
    yield next(a)
    yield next(a)
    return list(b), list(a)


@case
def from_generator_held_elsewhere():
    """The delegate is advanced from outside while a delegator waits on it."""
    inner = ticker(4)

    def delegator():
        r = yield from inner
        yield "result", r

    d = delegator()
    yield next(d)
    yield next(inner)
    yield next(d)
    return list(d), d.gi_yieldfrom


@case
def from_delegate_closed_or_thrown_into():
    """throw and close by hand through a delegation."""

    def delegator():
        try:
            yield (yield from tough())
        except Fault as e:
            yield "delegator saw", e.args

    d, e = delegator(), delegator()
    next(d)
    next(e)
    yield "both at 0"
    yield d.throw(Ping("by hand"))
    yield d.throw(Fault("through"))
    e.close()
    yield e.gi_frame is None
    try:
        d.throw(KeyError("last"))
    except KeyError as error:
        return error.args


@case
def from_stop_iteration_with_value():
    """A delegate that raises StopIteration by hand, with a tuple as value."""

    class Stop:
        def __iter__(self):
            return self

        def __next__(self):
            raise StopIteration((1, 2))

    a = yield from Stop()
    b = yield from ()
    got = yield a, b
    return got


@case
def from_recursive_tree():
    """An in-order walk by recursion."""
    tree = ((None, 1, None), 2, ((None, 3, None), 4, None))

    def walk(t):
        if t:
            yield from walk(t[0])
            got = yield t[1]
            emit(got)
            yield from walk(t[2])

    yield from walk(tree)


@case
def from_deep_sixty():
    """Sixty generators deep, each with a local and a finally."""

    def down(n):
        mark = [n]
        try:
            if n:
                r = yield from down(n - 1)
            else:
                r = yield "bottom"
        finally:
            if n % 20 == 0:
                emit("unwinding", mark)
        return (r or 0) + mark[0]

    return (yield from down(60))


@case
async def await_deep_sixty():
    """Sixty coroutines deep, each with a local and a finally."""

    async def down(n):
        mark = n
        if not n:
            return await sent("bottom")
        try:
            r = await down(n - 1)
        finally:
            if mark % 20 == 0:
                emit("unwinding", mark)
        return r + 1

    return await down(60)


@case
async def await_objects_with_generator_await():
    """__await__ as a generator, with yield from inside it."""

    class Later:
        def __init__(self, v):
            self.v = v

        def __await__(self):
            a = yield "custom", self.v
            b = yield from pause("inner").__await__() if hasattr(pause("x"), "__await__") else pause("inner")
            return self.v, a, b

    return await Later(1), [await Later(2)]


@case
@unsent
async def await_objects_with_iterators():
    """__await__ that returns a plain iterator, a C iterator and a coroutine's wrapper."""

    class Of:
        def __init__(self, it):
            self.it = it

        def __await__(self):
            return self.it

    a = await Of(Countdown(2))
    b = await Of(iter([1, 2]))
    c = await Of(map(str, [1, 2]))
    d = await Of(get("w").__await__())
    e = await Of(x for x in "ab")
    return a, b, c, d, e


@case
async def await_wrapper_held():
    """The coroutine_wrapper of a suspended coroutine held and driven by hand."""
    w = sent("wrapped").__await__()
    await pause(next(w))
    try:
        w.send("result")
    except StopIteration as e:
        return e.value, type(w).__name__


@case
async def await_types_coroutine():
    """Generator-based coroutines, awaited and delegated to."""

    @types.coroutine
    def old(n):
        a = yield n
        b = yield from pause(a)
        c = yield from sent(b)
        return a, b, c

    return await old(1), await old(2)


@case
def drive_coroutine_by_hand():
    """A generator drives coroutines like a small event loop."""

    async def worker(name, n):
        out = []
        for i in range(n):
            out.append(await pause((name, i)))
        return name, out

    ready = [(worker("a", 2), None), (worker("b", 3), None)]
    done = []
    while ready:
        coro, value = ready.pop(0)
        try:
            got = yield coro.send(value)
        except StopIteration as e:
            done.append(e.value)
        else:
            ready.append((coro, got))
    return done


@case
def drive_with_throw_and_close():
    """A scheduler cancels one of its coroutines."""

    async def worker(name):
        try:
            while True:
                emit(name, await pause(name))
        except Fault as e:
            await pause(("cancelled", e.args))
        finally:
            emit("end of", name)

    a, b = worker("a"), worker("b")
    yield a.send(None), b.send(None)
    yield a.throw(Fault("stop"))
    b.close()
    yield b.cr_frame is None
    try:
        a.send(None)
    except StopIteration as e:
        return e.value


@case
def return_values_of_every_kind():
    """return with nothing, a tuple, an exception instance and a generator."""

    def gives(v):
        yield "before"
        return v

    out = []
    for v in (None, (), (1, 2), StopIteration(3), Fault("value")):
        out.append(repr((yield from gives(v))))
    g = yield from gives(ticker(2))
    yield out
    return list(g)


@case
async def coroutine_already_awaited():
    """A suspended coroutine that is being awaited cannot be awaited again."""
    c = sent(1)

    async def first():
        return await c

    f = first()
    await pause(f.send(None))
    try:
        await c
    except RuntimeError as e:
        await pause(str(e))
    try:
        f.send("on")
    except StopIteration as e:
        await pause(e.value)
    try:
        await c
    except RuntimeError as e:
        return str(e)


@case
def unstarted_generator_refuses_values():
    """send of a value to a generator not started, before and after the transfer."""
    g = ticker(2)
    yield "held"
    try:
        g.send("early")
    except TypeError as e:
        yield str(e)
    return list(g)


@case
def generator_thrown_into_before_start():
    """throw into a generator that did not start ends it."""
    g, h = leaf(1), leaf(2)
    yield "held"
    try:
        g.throw(Fault("early"))
    except Fault as e:
        yield e.args
    h.close()
    return list(g), list(h)


@case
def generator_already_executing():
    """A generator that resumes itself is refused."""
    me = []

    def selfish():
        try:
            next(me[0])
        except ValueError as e:
            yield str(e)
        yield "on"

    me.append(selfish())
    yield next(me[0])
    return list(me[0])
