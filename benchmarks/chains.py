"""An await chain of ten different functions, and ten classes for the plain objects that hold the same values."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from benchmarks.subjects import Pause, Plain

__all__ = ["chain_of_functions", "plain_chain_of_classes"]


async def _book_trip(depth: int, total: int) -> int:
    total += depth
    return await _reserve_hotel(depth - 1, total)


async def _reserve_hotel(depth: int, total: int) -> int:
    total += depth
    return await _choose_room(depth - 1, total)


async def _choose_room(depth: int, total: int) -> int:
    total += depth
    return await _check_price(depth - 1, total)


async def _check_price(depth: int, total: int) -> int:
    total += depth
    return await _convert(depth - 1, total)


async def _convert(depth: int, total: int) -> int:
    total += depth
    return await _authorise(depth - 1, total)


async def _authorise(depth: int, total: int) -> int:
    total += depth
    return await _sign(depth - 1, total)


async def _sign(depth: int, total: int) -> int:
    total += depth
    return await _encrypt(depth - 1, total)


async def _encrypt(depth: int, total: int) -> int:
    total += depth
    return await _send_request(depth - 1, total)


async def _send_request(depth: int, total: int) -> int:
    total += depth
    return await _receive(depth - 1, total)


async def _receive(depth: int, total: int) -> int:
    total += depth
    await Pause()
    return total


class BookTrip(Plain):
    """Stands for a frame of `_book_trip`."""


class ReserveHotel(Plain):
    """Stands for a frame of `_reserve_hotel`."""


class ChooseRoom(Plain):
    """Stands for a frame of `_choose_room`."""


class CheckPrice(Plain):
    """Stands for a frame of `_check_price`."""


class Convert(Plain):
    """Stands for a frame of `_convert`."""


class Authorise(Plain):
    """Stands for a frame of `_authorise`."""


class Sign(Plain):
    """Stands for a frame of `_sign`."""


class Encrypt(Plain):
    """Stands for a frame of `_encrypt`."""


class SendRequest(Plain):
    """Stands for a frame of `_send_request`."""


class Receive(Plain):
    """Stands for a frame of `_receive`."""


def chain_of_functions() -> Coroutine[Any, Any, int]:
    """As `subjects.chain` of ten, but no two coroutines are of one function."""
    outermost = _book_trip(10, 0)
    outermost.send(None)
    return outermost


def plain_chain_of_classes() -> Any:
    """As `subjects.plain_chain` of ten, but no two instances are of one class."""
    awaited: Any = Pause()
    for depth, kind in enumerate(_CLASSES, 1):
        awaited = kind(depth=depth, total=sum(range(depth, 11)), awaited=awaited)
    return awaited


_CLASSES = (Receive, SendRequest, Encrypt, Sign, Authorise, Convert, CheckPrice, ChooseRoom, ReserveHotel, BookTrip)
