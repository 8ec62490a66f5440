# ruff: noqa
"""New in 3.13: type parameter defaults, frame locals that write through, copy.replace, @ warnings.deprecated."""

import copy
import datetime
import sys
import warnings

from tests.frames.kit import case, group
from tests.frames.parts import ticker

group("newer syntax")


@case
def frame_locals_write_through():
    """f_locals of a suspended generator writes into the frame, also after the transfer."""

    def gen():
        x, y = 1, [2]

        def read():
            return y

        yield x
        yield x, read()

    g = gen()
    next(g)
    view = g.gi_frame.f_locals
    yield sorted(view), view["x"]
    view["x"], view["y"] = 10, [20]
    yield sorted(g.gi_frame.f_locals), sys.getsizeof(view) > 0
    return next(g)


@case
def copies_replaced():
    """copy.replace over objects held."""
    day = datetime.date(2020, 1, 2)
    yield day
    return copy.replace(day, day=3)


@case
def deprecated_function():
    """A local function wrapped by warnings.deprecated."""

    @warnings.deprecated("old")
    def f(x):
        return x + 1

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = f(1)
    yield one, f.__deprecated__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return f(2), list(ticker(2))
