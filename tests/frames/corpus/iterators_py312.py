# ruff: noqa
"""itertools.batched, new in 3.12."""

import itertools

from tests.frames.kit import case, group
from tests.frames.parts import ticker

group("itertools")


@case
def tools_batched():
    """batched over a live generator, the last batch short."""
    b = itertools.batched(ticker(5), 2)
    yield next(b)
    yield next(b)
    return list(b)
