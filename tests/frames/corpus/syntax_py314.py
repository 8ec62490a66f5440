# ruff: noqa
"""New in 3.14: template strings, annotations evaluated late, except without parentheses."""

import annotationlib

from tests.frames.kit import Fault, Ping, case, emit, group
from tests.frames.parts import get, pause, quiet, sent

group("newer syntax")


@case
async def template_strings():
    """Interpolations that suspend, templates and interpolations held."""
    name, width = "x", 5
    t = t"{await get(name)!r:>{await get(width)}} and {await sent('v')=}"
    await pause("made")
    i = t.interpolations[0]
    u = t + t"{name}"
    await quiet(t)
    name = "rebound"
    return t.strings, t.values, i.expression, i.conversion, i.format_spec, u.values, [type(p).__name__ for p in t]


@case
def annotations_evaluated_late():
    """Annotations of local functions and classes read after the transfer, over cells."""
    k = int

    def f(a: k, b: undefined_name = 1) -> list[k]:
        return a

    class C:
        x: k
        y: undefined_name

    yield f(1)
    k = str
    found = annotationlib.get_annotations(f, format=annotationlib.Format.STRING)
    refs = annotationlib.get_annotations(C, format=annotationlib.Format.FORWARDREF)
    yield found, refs["x"]
    undefined_name = bytes
    return f.__annotations__, C.__annotations__["y"]


@case
def except_without_parentheses():
    """Several classes without parentheses, also with except*."""
    try:
        raise Fault(1)
    except KeyError, Fault:
        yield "caught"
    try:
        raise ExceptionGroup("g", [Fault(1), KeyError(2), OSError(3)])
    except* KeyError, Fault:
        yield "some"
    except* OSError, Ping:
        yield "rest"
        emit("end")
