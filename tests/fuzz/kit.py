"""What generated programs call: a trace, ways to suspend, managers, iterators, odds and ends.

The trace belongs to the process, never to the program: nothing here is state that a capture would have to carry.
"""

import os
import sys
import types

TRACE = []  # [kind, text] pairs, in order
LEFT = []  # generators that must not be freed while anything is recorded
LIMIT = 1200  # events; a program that wants more is not run further
_MUTED = [False]
_OFFSET = [0]  # events that another process has recorded before this one went on
_DRIVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "runner.py")

__all__ = [
    "AIter",
    "ASpan",
    "Box",
    "Calls",
    "Fault",
    "Halt",
    "Hold",
    "AHold",
    "Iter",
    "Later",
    "Pair",
    "Ping",
    "Slotted",
    "Span",
    "Still",
    "Via",
    "Wrapped",
    "aspread",
    "emit",
    "handled",
    "lines",
    "mix",
    "num",
    "pause",
    "pausing",
    "show",
    "spread",
]


class Ping(Exception):
    """What the driver throws in."""


class Fault(Exception):
    """What programs raise on their own."""


class Halt(BaseException):
    """Not an Exception."""


class OutOfFuel(BaseException):
    """The program emits more than LIMIT events."""


# ------------------------------------------------------------------ the trace


def reset(offset=0):
    del TRACE[:]
    _OFFSET[0] = offset


def mute(on=True):
    """Returns what was."""
    was, _MUTED[0] = _MUTED[0], on
    return was


def emit(*what):
    """A side effect that can be seen from outside."""
    if _MUTED[0]:
        return
    if len(TRACE) + _OFFSET[0] >= LIMIT:
        raise OutOfFuel
    TRACE.append(["e", render(what)])


def render(value, depth=0):
    """A text for a value that does not depend on addresses or hashes."""
    if depth > 6:
        return "..."
    if isinstance(value, BaseException):
        return repr(show(value))
    if isinstance(value, (set, frozenset)):
        return type(value).__name__ + repr(sorted(value))
    if isinstance(value, dict):
        return "{%s}" % ", ".join(render(k, depth + 1) + ": " + render(v, depth + 1) for k, v in value.items())
    if type(value) in (list, tuple):
        return _sequence(value, depth)
    return repr(value) if isinstance(value, _TELLING) else type(value).__name__


def _sequence(value, depth):
    inner = ", ".join(render(v, depth + 1) for v in value)
    return "(%s)" % inner if type(value) is tuple else "[%s]" % inner


def lines(error):
    """(function, line) pairs of an exception's traceback."""
    out, tb = [], error.__traceback__ if error is not None else None
    while tb is not None:
        code = tb.tb_frame.f_code
        if code.co_filename != _DRIVER:
            out.append((code.co_name, tb.tb_lineno))
        tb = tb.tb_next
    return out


def show(error, depth=0):
    """All that can be seen of an exception: type, args, notes, members, chain, traceback."""
    if error is None or depth > 5:
        return None
    out = [type(error).__name__, _arguments(error), list(getattr(error, "__notes__", ())), lines(error)]
    if isinstance(error, BaseExceptionGroup):
        out.append([show(e, depth + 1) for e in error.exceptions])
    chain = [show(error.__cause__, depth + 1), show(error.__context__, depth + 1), error.__suppress_context__]
    return out + (chain if any(chain) else [])


def _arguments(error):
    return error.message if isinstance(error, BaseExceptionGroup) else repr(error.args)


def handled():
    """The exception being handled where this is called, as all the interpreter's ways to ask see it."""
    error = sys.exc_info()[1]
    assert error is sys.exception()
    return show(error)


# ------------------------------------------------------------------ suspending


def num(value):
    """What was sent, as an int: loops send None."""
    return value if isinstance(value, int) else 0


@types.coroutine
def pause(value):
    got = yield value
    return num(got)


def pausing(value):
    """The same for `yield from`."""
    got = yield value
    return num(got)


def spread(values):
    """One `yield`, in a loop over whatever it is given."""
    for value in values:
        yield num(value)


async def aspread(values):
    """One `await`, in a loop over whatever it is given."""
    for value in values:
        await pause(num(value))


class Later:
    """Awaitable by a generator method."""

    def __init__(self, value):
        self.value = value

    def __await__(self):
        got = yield self.value
        return num(got) + self.value % 3


class Wrapped:
    """Awaitable by a coroutine's own __await__."""

    def __init__(self, value):
        self.value = value

    async def body(self):
        return await pause(self.value)

    def __await__(self):
        return self.body().__await__()


class Via:
    """Awaits a generator."""

    def __init__(self, generator):
        self.generator = generator

    def __await__(self):
        return num((yield from self.generator))


# ------------------------------------------------------------------ values


def mix(*args, **kw):
    """An int that depends on all arguments and their order."""
    total = 7
    for value in [*args, *kw.values()]:
        total = (total * 31 + _weigh(value)) % 97
    return total


def _weigh(value):
    if isinstance(value, int):
        return value
    if isinstance(value, dict):
        return mix(*value, *value.values())
    if isinstance(value, (set, frozenset)):
        return mix(*sorted(value))
    if isinstance(value, (list, tuple)):
        return mix(*value)
    if isinstance(value, (Box, Slotted)):
        return value.n
    return len(value) if isinstance(value, str) else 5


class Box:
    """A mutable instance with a dict."""

    def __init__(self, n=0):
        self.n = n
        self.items = []

    def add(self, n):
        self.n += n
        return self.n % 97

    async def aadd(self, n):
        self.n += await pause(n)
        return self.n % 97

    def gadd(self, n):
        self.n += num((yield n))
        return self.n % 97

    def __iadd__(self, n):
        self.n += n
        return self

    def __getitem__(self, key):
        return self.n + num(key)

    def __setitem__(self, key, n):
        self.n = n + num(key)

    def __repr__(self):
        return "Box(%r, %r)" % (self.n, self.items)


class Slotted:
    """A mutable instance without a dict."""

    __slots__ = ("n", "other")

    def __init__(self, n=0):
        self.n = n

    def __repr__(self):
        return "Slotted(%r)" % self.n


class Pair:
    """For class patterns."""

    __match_args__ = ("a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b

    def __repr__(self):
        return "Pair(%r, %r)" % (self.a, self.b)


class Iter:
    """An iterator of a class."""

    def __init__(self, n):
        self.left = n

    def __iter__(self):
        return self

    def __next__(self):
        if self.left <= 0:
            raise StopIteration
        self.left -= 1
        return self.left


class AIter:
    """An asynchronous iterator of a class, suspending in __anext__ if asked to."""

    def __init__(self, n, suspends=True):
        self.left, self.suspends = n, suspends

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.left <= 0:
            raise StopAsyncIteration
        self.left -= 1
        return await pause(self.left) if self.suspends else self.left


_TELLING = (int, str, bytes, bytearray, float, type(None), Box, Slotted, Pair)


# ------------------------------------------------------------------ managers


class Span:
    """A manager that emits; `how` names what else: swallow, fail (in exit), refuse (in enter)."""

    def __init__(self, name, *how):
        self.name, self.how = name, how

    def __enter__(self):
        emit("enter", self.name)
        if "refuse" in self.how:
            raise Fault("enter", self.name)
        return self.name

    def __exit__(self, kind, error, tb):
        emit("exit", self.name, kind and kind.__name__, show(error), handled())
        if "fail" in self.how:
            raise Fault("exit", self.name)
        return "swallow" in self.how


class ASpan(Span):
    """The same for `async with`; also: before, after (suspends in enter, in exit)."""

    async def __aenter__(self):
        emit("aenter", self.name)
        if "before" in self.how:
            emit("entering", await pause(self.name))
        if "refuse" in self.how:
            raise Fault("aenter", self.name)
        return self.name

    async def __aexit__(self, kind, error, tb):
        emit("aexit", self.name, kind and kind.__name__, handled())
        if "after" in self.how:
            emit("exiting", await pause(self.name), show(error), handled())
        if "fail" in self.how:
            raise Fault("aexit", self.name)
        return "swallow" in self.how


def _enter(*args):
    emit("still enters", len(args))


def _exit(*args):
    emit("still exits", args[-2])


class Still:
    """Its special methods are static: the interpreter finds no instance to bind, and keeps another stack."""

    __enter__ = staticmethod(_enter)
    __exit__ = staticmethod(_exit)


class Calls:
    """Has an instance attribute where others have a method."""

    def __init__(self, n):
        self.n, self.add = n, mix


class Hold:
    """Closes a generator; one that objects is kept, so that it is not closed whenever memory is freed."""

    def __init__(self, generator):
        self.generator = generator

    def __enter__(self):
        return self.generator

    def __exit__(self, *error):
        LEFT.append(self.generator)
        try:
            self.generator.close()
        except RuntimeError as e:
            emit("held", e.args)


class AHold(Hold):
    """The same for an asynchronous generator."""

    async def __aenter__(self):
        return self.generator

    async def __aexit__(self, *error):
        LEFT.append(self.generator)
        try:
            await self.generator.aclose()
        except RuntimeError as e:
            emit("held", e.args)
