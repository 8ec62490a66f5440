# ruff: noqa
"""try and raise: suspended in every part, with the handled exception, its chain and its traceback in use later."""

import sys
import traceback

from tests.frames.kit import Fault, Ping, case, emit, group
from tests.frames.parts import Box, get, pause, sent

group("exceptions")


def _chain(e):
    out = []
    while e is not None and len(out) < 9:
        out.append((type(e).__name__, e.args, e.__suppress_context__))
        e = e.__cause__ or e.__context__
    return out


def _lines(e, fn):
    frames = traceback.extract_tb(e.__traceback__)
    return [(f.name, f.lineno - fn.__code__.co_firstlineno) for f in frames if f.name == fn.__name__]


def raiser(n):
    """Raises from a few frames down."""
    if n:
        raiser(n - 1)
    raise Fault("deep")


@case
def try_catches_what_is_thrown_in():
    """The handler's range is still right after the transfer."""
    out = []
    for i in range(3):
        try:
            out.append((yield i))
        except Ping as e:
            out.append(e.args)
    return out


@case
def except_then_bare_raise():
    """The exception being handled is the one raised again."""
    try:
        raise Fault("again")
    except Fault:
        yield 1
        yield 2
        raise


@case
def except_bare_raise_in_helper():
    """A plain function re-raises the caller's handled exception."""

    def again():
        raise

    try:
        try:
            raise Fault("by helper")
        except Fault:
            yield 1
            again()
    except Fault as e:
        yield e.args
    return sys.exc_info()


@case
def except_exc_info_by_level():
    """sys.exc_info through three nested handlers and back."""
    try:
        raise Fault(1)
    except Fault:
        yield sys.exc_info()[1].args
        try:
            raise Fault(2)
        except Fault:
            yield sys.exc_info()[1].args
            try:
                raise Fault(3)
            except Fault:
                yield sys.exc_info()[1].args
            yield sys.exc_info()[1].args
        yield sys.exc_info()[1].args
    return sys.exc_info()


@case
def except_implicit_context():
    """An exception raised after the transfer has the handled one as context."""
    try:
        raise Fault("low")
    except Fault:
        yield 1
        raise KeyError("high")


@case
def except_context_of_thrown_in():
    """What is thrown in while handling gets the handled one as context."""
    try:
        try:
            raise Fault("handled")
        except Fault:
            try:
                yield 1
            except Ping as p:
                yield _chain(p)
                raise
    finally:
        yield _chain(sys.exc_info()[1])


@case
def except_cause_and_suppress():
    """raise from, raise from None and from a class, kept over suspensions."""
    made = []
    for cause in (KeyError("c"), None, ValueError):
        try:
            try:
                raise Fault("x")
            except Fault:
                yield "handling"
                raise TypeError("t") from cause
        except TypeError as e:
            made.append(e)
        yield _chain(made[-1])
    return [_chain(e) for e in made]


@case
def except_chain_held_in_locals():
    """A chain of three exceptions held, its members the same objects."""
    try:
        try:
            try:
                raise Fault(1)
            except Fault as e:
                first = e
                raise KeyError(2) from e
        except KeyError as e:
            second = e
            raise ValueError(3)
    except ValueError as e:
        third = e
    yield 1
    return third.__context__ is second, second.__cause__ is first, second.__context__ is first, _chain(third)


@case
def except_notes_and_attributes():
    """Notes and attributes added before and after the transfer."""
    try:
        raise Fault("noted")
    except Fault as e:
        e.add_note("first")
        e.extra = [1]
        yield e.__notes__
        e.add_note("second")
        e.extra.append(2)
        yield e.extra
        raise


@case
def except_traceback_printed_later():
    """Lines of a held traceback, through several frames, printed after the transfer."""
    try:
        raiser(2)
    except Fault as e:
        kept = e
    yield 1
    out = traceback.format_exception(kept)
    return [line.split(", ", 1)[-1] for line in out]


@case
def except_traceback_grows():
    """A held exception raised again later gets more lines."""
    kept = Fault("kept")
    try:
        raise kept
    except Fault:
        yield _lines(kept, except_traceback_grows)
    try:
        raise kept
    except Fault:
        yield _lines(kept, except_traceback_grows)
    try:
        raise kept.with_traceback(None)
    except Fault:
        return _lines(kept, except_traceback_grows)


@case
def except_traceback_object_held():
    """A traceback in a local: line, frame's code, next."""
    try:
        raiser(1)
    except Fault as e:
        tb = e.__traceback__
    yield tb.tb_lineno - except_traceback_object_held.__code__.co_firstlineno
    names = []
    while tb is not None:
        names.append(tb.tb_frame.f_code.co_name)
        tb = tb.tb_next
    return names


@case
def except_traceback_of_finished_frame():
    """The traceback entry of a finished frame: its lines; its locals are not kept."""

    def work(x):
        y = [x]
        raise Fault(y)

    try:
        work(3)
    except Fault as e:
        tb = e.__traceback__.tb_next
    yield e_line(tb)
    return e_line(tb), tb.tb_next is None


def e_line(tb):
    """What prints of a traceback entry, relative to its function."""
    code = tb.tb_frame.f_code
    return code.co_qualname, tb.tb_lineno - code.co_firstlineno


@case
def except_name_is_unbound_afterwards():
    """The name of the handler goes away, also when it shadowed a local."""
    e = "before"
    try:
        raise Fault(1)
    except Fault as e:
        yield e.args
    yield "after"
    try:
        return e
    except UnboundLocalError as gone:
        return gone.name if hasattr(gone, "name") and gone.name else "e"


@case
def except_dynamic_classes():
    """The classes to catch are found when the exception comes."""
    kinds = [KeyError]

    def which():
        emit("asked", len(kinds))
        return tuple(kinds)

    for i in range(2):
        try:
            try:
                kinds.append((yield i) and Fault)
                raise Fault(i)
            except which() as e:
                yield e.args
                kinds.clear()
        finally:
            kinds.append(Fault)


@case
def except_with_local_exception_class():
    """A locally defined exception class caught after the transfer."""

    class Mine(Fault):
        def __init__(self, a, *, b):
            super().__init__(a)
            self.b = b

        def __str__(self):
            return f"{self.args} {self.b}"

    held = Mine(1, b=[2])
    yield "made"
    try:
        raise held
    except Mine as e:
        yield str(e)
        e.b.append(3)
        raise


@case
def except_builtin_exceptions_with_state():
    """Exceptions whose C structs hold more than args."""
    made = []
    for make in (
        lambda: {}["k"],
        lambda: "é".encode("ascii"),
        lambda: b"\xff".decode("utf8"),
        lambda: open("/nowhere/at/all"),
        lambda: undefined_name,
        lambda: Box().nothing,
        lambda: compile("1 +", "<f>", "eval"),
        lambda: __import__("no_such_module_at_all"),
        lambda: next(iter(())),
        lambda: sys.exit(3),
        lambda: 1 // 0,
        lambda: int("x"),
    ):
        try:
            make()
        except BaseException as e:
            made.append(e)
    yield len(made)
    keep = ("name", "obj", "errno", "filename", "strerror", "start", "end", "reason", "encoding", "object", "lineno",
            "offset", "text", "value", "code", "path", "msg")
    for e in made:
        fields = [(k, getattr(e, k)) for k in keep if hasattr(e, k) and not isinstance(getattr(e, k), Box)]
        yield type(e).__name__, str(e), fields


@case
def finally_around_every_exit():
    """finally suspends on the way out by return, break, continue, fall-through and exception."""
    out = []

    def inner(how):
        for _ in range(2):
            try:
                yield how
                if how == "return":
                    return "value"
                if how == "break":
                    break
                if how == "continue":
                    continue
                if how == "raise":
                    raise Fault(how)
            finally:
                out.append((how, (yield "finally")))
        return "fell through"

    for how in ("return", "break", "continue", "pass", "raise"):
        try:
            out.append((yield from inner(how)))
        except Fault as e:
            out.append(e.args)
    return out


@case
def finally_return_value_waits():
    """The value to return stays on the stack while finally suspends, twice nested."""
    xs = [1]
    try:
        try:
            return xs, len(xs)
        finally:
            xs.append((yield "inner"))
    finally:
        xs.append((yield "outer"))


@case
def finally_return_overrides():
    """return in finally drops the exception in flight."""
    f = compile_finally("return 'swallowed'")
    yield (yield from f())
    f = compile_finally("break")
    return (yield from f())


def compile_finally(last):
    """Source, because newer compilers warn about leaving finally early."""
    source = (
        "def f():\n    for i in range(3):\n        try:\n            yield i\n            raise ValueError(i)\n"
        f"        finally:\n            yield 'finally'\n            {last}\n    return 'after'\n"
    )
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        space = {}
        exec(compile(source, "<finally>", "exec"), space)
    return space["f"]


@case
def finally_sees_exception_in_flight():
    """exc_info inside finally with and without an exception."""
    for i in range(2):
        try:
            try:
                yield i
                if i:
                    raise Fault(i)
            finally:
                yield sys.exc_info()[0] and sys.exc_info()[0].__name__
        except Fault:
            yield "caught"


@case
def finally_nested_with_new_exceptions():
    """Each finally replaces the exception in flight; contexts pile up."""
    try:
        try:
            try:
                yield 1
                raise Fault("a")
            finally:
                yield 2
                raise KeyError("b")
        finally:
            yield 3
            raise ValueError("c")
    except ValueError as e:
        yield _chain(e)
        return [type(x).__name__ for x in (e, e.__context__, e.__context__.__context__)]


@case
def try_with_all_four_parts():
    """try, except, else and finally, each suspended, in a loop."""
    for i in range(3):
        try:
            yield "try", i
            if i == 1:
                raise Fault(i)
        except Fault:
            yield "except", i
        else:
            yield "else", i
            if i == 2:
                return "returned in else"
        finally:
            yield "finally", i


@case
def try_else_not_covered():
    """An exception raised in else is not caught by the handlers beside it."""
    try:
        try:
            yield 1
        except Fault:
            yield "wrong"
        else:
            yield 2
            raise Fault("else")
        finally:
            yield 3
    except Fault as e:
        return e.args


@case
def try_continue_in_handler_break_in_else():
    """Leaving the loop from inside the parts of try."""
    seen = []
    for i in range(5):
        try:
            if i % 2:
                raise Fault(i)
            seen.append((yield i))
        except Fault:
            yield "handling", i
            continue
        else:
            if i == 4:
                break
        finally:
            seen.append(i)
    else:
        yield "never"
    return seen


@case
def try_loop_restarts_after_failure():
    """A retry loop with the last error kept in a variable that outlives the handler."""
    last = None
    for attempt in range(3):
        try:
            got = yield attempt
            if got < 102:
                raise Fault(got)
        except Fault as e:
            last = e
        else:
            return got, last.args, last.__context__ is None, last.__traceback__ is not None


@case
def generator_exit_in_except_and_finally():
    """close() runs code that reads locals and finishes normally."""
    x = [0]
    try:
        while True:
            x.append((yield len(x)))
            if len(x) > 3:
                return x
    except GeneratorExit:
        emit("exit", x)
        raise
    finally:
        emit("finally", x)


@case
def generator_exit_refused():
    """A generator that yields on close is told so."""
    try:
        yield 1
    except GeneratorExit:
        yield "refuses"


@case
def generator_exit_swallowed():
    """A generator that swallows GeneratorExit and returns."""
    try:
        yield 1
        yield 2
    except GeneratorExit:
        emit("swallowed")
        return "value nobody sees"


@case
def stop_iteration_becomes_runtime_error():
    """PEP 479 inside a frame that was carried over."""
    yield 1
    raise StopIteration("leaked")


@case
async def stop_async_iteration_in_coroutine():
    """A coroutine may raise StopAsyncIteration, not StopIteration."""
    await pause(1)
    try:
        raise StopAsyncIteration(1)
    except StopAsyncIteration as e:
        await pause(e.args)
    raise StopIteration("x")


@case
async def raise_of_awaited_values():
    """Both operands of raise ... from are awaited."""
    try:
        raise await get(Fault("awaited")) from await get(KeyError("cause"))
    except Fault as e:
        return _chain(e)


@case
async def except_matching_awaited():
    """The class to catch is awaited while the exception waits on the stack."""
    try:
        try:
            raise Fault("x")
        except await get(KeyError):
            return "wrong"
        except (await get(ValueError), await get(Fault)) as e:
            await pause(e.args)
            raise await get(TypeError) from e
    finally:
        await pause("finally")


@case
async def handled_exception_seen_by_awaited():
    """exc_info of the awaiting frame shows through in the awaited one."""

    async def who():
        before = type(sys.exc_info()[1]).__name__
        await pause("looking")
        return before, type(sys.exc_info()[1]).__name__

    async def handles():
        try:
            raise KeyError("inner")
        except KeyError:
            return await who(), await who()

    try:
        raise Fault(1)
    except Fault:
        emit(await who(), await handles(), await who())
        raise


@case
async def exception_through_three_frames():
    """Caught, wrapped and re-raised on its way through awaiting frames."""

    async def third():
        await sent(3)
        raise Fault(3)

    async def second():
        try:
            await third()
        except Fault as e:
            await pause("second")
            raise KeyError(2) from e

    async def first():
        try:
            await second()
        finally:
            await pause("first")

    try:
        await first()
    except KeyError as e:
        await pause(_chain(e))
        raise


@case
def exceptions_in_cycle():
    """An exception that holds the generator that handles it."""
    box = Box()

    def gen():
        try:
            raise Fault(box)
        except Fault as e:
            e.owner = box.value
            yield e
            yield e.owner is box.value, e.args[0] is box
            raise

    g = box.value = gen()
    e = next(g)
    yield e.owner is g
    yield next(g)
    try:
        next(g)
    except Fault as again:
        return again is e


@case
def lines_of_multi_line_expressions():
    """The line of a failing operand inside an expression over many lines."""

    def work(x):
        yield (
            1,
            [
                x,
                2
                // x
            ],
            x
        )

    for x in (1, 0):
        try:
            yield from work(x)
        except ZeroDivisionError as e:
            yield _lines(e, work)
            raise


@case
def lines_after_resume():
    """The line of a call that fails in a statement suspended in its middle."""

    def work():
        return call_of(
            (yield 1),
            (yield 2)
            + None,
        )

    def call_of(*a):
        return a

    try:
        yield from work()
    except TypeError as e:
        return _lines(e, work), str(e)


@case
def warnings_and_assertions():
    """assert with a message computed by a suspended expression."""
    try:
        assert (yield "cond") == 0, ("message", (yield "message"))
    except AssertionError as e:
        yield e.args
    assert (yield 3), "fine"
