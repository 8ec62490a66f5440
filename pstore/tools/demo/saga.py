"""The travel agent: a trip is booked completely or not at all.

This is all the program there is.  That it survives being killed is nowhere in it: no state machine, no table of what
was done, no rule about what the code may do.  What has to be undone is a plain list of closures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pstore
from pstore.tools.demo.services import Airline, Bank, Busy, Hotel, Trip

__all__ = ["book_trip"]

AGAIN = pstore.Retry(attempts=10, delay=0.05, on=(Busy,))


async def book_trip(trip: Trip, bank: Bank, hotel: Hotel, airline: Airline) -> str:
    """Book hotel and flight; if anything fails undo what was done, last things first."""
    undo: list[Callable[[], str]] = []
    try:
        funds = await pstore.step(bank.reserve, trip, retry=AGAIN)
        undo.append(lambda: bank.release(funds))
        room = await pstore.step(hotel.book, trip, retry=AGAIN)
        undo.append(lambda: hotel.cancel(room))
        await asyncio.sleep(trip.doubts)
        seat = await pstore.step(airline.book, trip, retry=AGAIN)
        undo.append(lambda: airline.cancel(seat))
        await pstore.step(bank.deduct, funds, retry=AGAIN)
    except Exception as failure:
        for action in reversed(undo):
            await pstore.step(action, retry=AGAIN)
        return f"released ({failure})"
    return "booked"
