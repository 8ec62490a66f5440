"""Where the generator's decisions come from: a seeded random source, or hypothesis (which then can shrink them)."""

import functools
import random

from hypothesis import strategies as st


class Choices:
    """Decisions; the first alternative is always the simplest, so that shrinking towards 0 simplifies."""

    def integer(self, low, high):
        raise NotImplementedError

    def pick(self, items):
        return items[self.integer(0, len(items) - 1)]

    def chance(self, percent):
        return self.integer(0, 99) >= 100 - percent

    def weighted(self, options):
        """The item of one (weight, item) pair."""
        at = self.integer(0, sum(weight for weight, _ in options) - 1)
        for weight, item in options:
            at -= weight
            if at < 0:
                return item
        raise AssertionError("weights do not add up")


class Seeded(Choices):
    def __init__(self, seed):
        self.random = random.Random(seed)

    def integer(self, low, high):
        return self.random.randint(low, high)


class Drawn(Choices):
    def __init__(self, draw):
        self.draw = draw

    def integer(self, low, high):
        return self.draw(_integers(low, high))


@functools.cache
def _integers(low, high):
    return st.integers(low, high)
