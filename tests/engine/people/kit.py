"""The world outside of the programs: a ledger of what was done, and the list of the programs."""

from __future__ import annotations

import asyncio
import os

import pstore
from pstore.errors import NotInEngine

PROGRAMS: dict[str, object] = {}
ledger_path: str | None = None  # of this process; set by the harness


def people(fn):
    """List the program."""
    PROGRAMS[fn.__name__] = fn
    return fn


def enter(entry):
    """Append a line to the ledger, with the key by which the world tells a repetition."""
    try:
        key = pstore.step_key()
    except NotInEngine:
        key = "-"
    before_entry()
    file = os.open(ledger_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{key} {entry}\n".encode())
    finally:
        os.close(file)
    after_entry()
    return entry


def before_entry():
    """Replaced by the harness, to end the process here."""


def after_entry():
    """The same."""


async def effect(entry, value=None):
    """Do something outside: what a client of a bank or of a mail server would do in a thread."""
    await asyncio.to_thread(enter, entry)
    return value
