# ruff: noqa
"""except*: suspended in the clauses, nested groups, re-raising and new exceptions."""

import sys

from tests.frames.kit import Fault, case, emit, group
from tests.frames.parts import get, pause

group("exceptions")


def _tree(e):
    if isinstance(e, BaseExceptionGroup):
        return e.message, [_tree(x) for x in e.exceptions]
    return type(e).__name__, e.args


def _group():
    return ExceptionGroup("g", [Fault(1), ExceptionGroup("h", [KeyError(2), Fault(3)]), ValueError(4)])


@case
def star_splits_nested_group():
    """Each clause sees its part of the nested group."""
    try:
        raise _group()
    except* Fault as g:
        yield _tree(g)
        emit(type(sys.exc_info()[1]).__name__)
    except* (KeyError, ValueError) as g:
        yield _tree(g)
        yield _tree(sys.exc_info()[1])
    yield sys.exc_info()


@case
def star_leaves_a_rest():
    """What no clause takes is raised on as a group."""
    try:
        try:
            raise _group()
        except* Fault:
            yield 1
    except ExceptionGroup as g:
        yield _tree(g)
        raise


@case
def star_raises_in_clauses():
    """New exceptions and re-raised ones are collected."""
    try:
        try:
            raise _group()
        except* Fault:
            yield 1
            raise TypeError("new")
        except* KeyError:
            yield 2
            raise
        except* ValueError as g:
            yield 3
            raise OSError("with cause") from g.exceptions[0]
    except ExceptionGroup as g:
        yield _tree(g)
        return [(type(e).__name__, type(e.__context__).__name__) for e in g.exceptions]


@case
def star_wraps_a_plain_exception():
    """A plain exception comes as a group of one."""
    try:
        raise Fault("naked")
    except* Fault as g:
        yield _tree(g)
        raise


@case
def star_with_else_and_finally():
    """else and finally beside except*, in a loop."""
    for i in range(2):
        try:
            if i:
                raise _group()
            yield i
        except* Exception as g:
            yield len(g.exceptions)
        else:
            yield "else"
        finally:
            yield "finally", i


@case
def star_nested_in_star():
    """except* inside a clause of except*."""
    try:
        raise _group()
    except* Fault as g:
        try:
            raise ExceptionGroup("inner", [OSError(1), *g.exceptions])
        except* OSError as h:
            yield _tree(h)
        except* Fault as h:
            yield _tree(h)
            emit(_tree(sys.exc_info()[1]))
    except* KeyError:
        yield "key"
    except* ValueError:
        yield "value"


@case
async def star_with_awaits():
    """The class, the clause and the group are awaited."""
    try:
        raise await get(_group())
    except* await get(Fault) as g:
        await pause(_tree(g))
    except* (await get(KeyError), ValueError):
        await pause("rest")
        raise


@case
def star_base_exception_group():
    """BaseExceptionGroup with a GeneratorExit member, split and derived."""
    g = BaseExceptionGroup("b", [GeneratorExit(1), Fault(2)])
    g.add_note("noted")
    yield _tree(g)
    mine, rest = g.split(Fault)
    yield _tree(mine), _tree(rest), mine.__notes__
    try:
        raise g
    except* Fault as part:
        yield part.__notes__
    except* GeneratorExit:
        yield "exit"


@case
def star_own_group_class():
    """A group class of the program's own with derive()."""

    class Mine(ExceptionGroup):
        def derive(self, members):
            return Mine(self.message + "'", members)

    held = Mine("m", [Fault(1), KeyError(2)])
    yield type(held).__name__
    try:
        raise held
    except* Fault as part:
        yield type(part).__name__, part.message
    except* KeyError as part:
        yield type(part).__name__, part.message, _tree(held)
