"""What is measured: suspended frames, each with a plain object that holds the same values.

The values are the same objects on both sides.  A frame's locals have the names that the instance's attributes have.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

__all__ = [
    "Pause",
    "Plain",
    "async_generator",
    "awaiting_generator",
    "bound_lambda",
    "chain",
    "chain_to_generator",
    "closure",
    "handling",
    "looping",
    "plain_chain",
    "plain_closure",
    "plain_handling",
    "plain_looping",
    "plain_numbers",
    "plain_ten",
    "ten",
    "with_numbers",
]


class Plain:
    """An instance of a class without a trick in it: what anybody pickles."""

    def __init__(self, /, **values: Any) -> None:
        self.__dict__.update(values)


class Pause:
    """What an innermost coroutine awaits, as it would await a future: a plain object, the same on both sides."""

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Pause:
        return self

    def __next__(self) -> None:
        return None


def _started(frame: Any) -> Any:
    frame.send(None)
    return frame


# ---------------------------------------------------------------- ten locals

TEN: dict[str, Any] = {
    "customer": "Ada Lovelace",
    "order_id": 48_151_623,
    "amount": 1000,
    "currency": "EUR",
    "rate": 1.0842,
    "paid": False,
    "reference": b"7f3a99",
    "attempt": 3,
    "note": None,
    "deadline": 1_767_225_600.5,
}


def _ten(values: dict[str, Any]) -> Generator[None, None, Any]:
    customer, order_id, amount, currency, rate, paid, reference, attempt, note, deadline = values.values()
    del values
    yield
    return customer, order_id, amount, currency, rate, paid, reference, attempt, note, deadline


def _ten_bound(
    customer: str,
    order_id: int,
    amount: int,
    currency: str,
    rate: float,
    paid: bool,
    reference: bytes,
    attempt: int,
    note: None,
    deadline: float,
) -> Generator[None, None, Any]:
    yield
    return customer, order_id, amount, currency, rate, paid, reference, attempt, note, deadline


def ten() -> Any:
    """A generator with ten locals, all bound."""
    return _started(_ten_bound(**TEN))


def ten_of_eleven() -> Any:
    """A generator with ten locals bound and one that was deleted."""
    return _started(_ten(TEN))


def plain_ten() -> Plain:
    """An instance with ten attributes."""
    return Plain(**TEN)


# ---------------------------------------------------------------- await chains


async def _level(depth: int, total: int) -> int:
    total += depth
    if depth > 1:
        return await _level(depth - 1, total)
    await Pause()
    return total


def chain(length: int) -> Any:
    """That many coroutines of two locals, each awaiting the next; the innermost awaits a `Pause`."""
    return _started(_level(length, 0))


def plain_chain(length: int) -> Any:
    """That many instances with the same values, each with the next as its third attribute."""
    awaited: Any = Pause()
    for depth in range(1, length + 1):
        awaited = Plain(depth=depth, total=sum(range(depth, length + 1)), awaited=awaited)
    return awaited


class _Nap:
    """Awaitable whose ``__await__`` is a generator function, as many libraries have it: one frame more."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def _level_to_generator(depth: int, total: int) -> int:
    total += depth
    if depth > 1:
        return await _level_to_generator(depth - 1, total)
    await _Nap()
    return total


def chain_to_generator(length: int) -> Any:
    """As `chain`, but the innermost coroutine awaits a generator: ``length + 1`` frames."""
    return _started(_level_to_generator(length, 0))


def plain_chain_to_generator(length: int) -> Any:
    """As `plain_chain`, with the instance that the generator has for its `self` in place of the `Pause`."""
    awaited: Any = Plain(self=_Nap())
    for depth in range(1, length + 1):
        awaited = Plain(depth=depth, total=sum(range(depth, length + 1)), awaited=awaited)
    return awaited


# ---------------------------------------------------------------- a long list, a loop


def _numbers(numbers: list[int]) -> Generator[None, None, int]:
    yield
    return len(numbers)


def with_numbers() -> Any:
    """A generator with a list of 1,000 ints in its local."""
    return _started(_numbers(list(range(1000))))


def plain_numbers() -> Plain:
    """An instance with that list."""
    return Plain(numbers=list(range(1000)))


def _looping(
    items: list[int], customer: str, order_id: int, amount: int, currency: str, rate: float, paid: bool, note: None
) -> Generator[None, None, Any]:
    total = 0
    for item in items:
        total += item
        yield
    return total, customer, order_id, amount, currency, rate, paid, note


LOOP = {name: TEN[name] for name in ("customer", "order_id", "amount", "currency", "rate", "paid", "note")}


def looping() -> Any:
    """A generator in the second turn of a `for` over a list of 5; ten locals and the iterator."""
    return _started(_started(_looping([1, 2, 3, 4, 5], **LOOP)))


def plain_looping() -> Plain:
    """An instance with the same ten values and the iterator of the list."""
    items = [1, 2, 3, 4, 5]
    iterator = iter(items)
    next(iterator), next(iterator)
    return Plain(items=items, **LOOP, total=3, item=2, iterator=iterator)


# ---------------------------------------------------------------- an exception, an async generator


def _handling(order_id: int, amount: int) -> Generator[None, None, Any]:
    try:
        raise ValueError("card refused", order_id)
    except ValueError as error:
        yield
        return error, amount


def handling() -> Any:
    """A generator suspended in an `except` block: two locals, and the exception with its traceback."""
    return _started(_handling(17, 1000))


def plain_handling() -> Plain:
    """An instance with the same values; pickle leaves the traceback of the exception out."""
    try:
        raise ValueError("card refused", 17)
    except ValueError as raised:
        return Plain(order_id=17, amount=1000, error=raised)


async def _ticks(start: int, step: int) -> AsyncGenerator[int, None]:
    while True:
        await Pause()
        yield start
        start += step


async def awaiting_generator(source: AsyncGenerator[int, None]) -> int:
    """Awaits the next item of `source`."""
    async for item in source:
        return item
    return 0


def async_generator() -> Any:
    """A coroutine in an `async for` over an async generator that is suspended in an await."""
    return _started(awaiting_generator(_ticks(1, 2)))


def plain_async_generator() -> Plain:
    """The coroutine, the ``asend()`` and the async generator as three instances with the same values."""
    source = Plain(start=1, step=2, awaited=Pause())
    return Plain(source=source, iterator=source, awaited=Plain(generator=source))


# ---------------------------------------------------------------- functions by value


def closure() -> Callable[[int], int]:
    """A function made in a function, over two cells: no name leads to it, so it is stored by value."""
    base, factor = 7, 3

    def scaled(number: int, offset: int = 1) -> int:
        return (number + offset) * factor + base

    return scaled


def bound_lambda() -> Any:
    """A partial of a lambda over one cell, as in ``undo.append(lambda: bank.release(reservation))``."""
    reservation = "R-4711"
    return functools.partial(lambda bank: (bank, reservation), "bank")


def plain_closure() -> Plain:
    """An instance with what the two cells and the default hold."""
    return Plain(base=7, factor=3, offset=1)


def plain_lambda() -> Plain:
    """An instance with what the cell and the partial hold."""
    return Plain(reservation="R-4711", bank="bank")
