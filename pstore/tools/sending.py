"""``pstore send``: a message to a task of a program that another process runs."""

from __future__ import annotations

import argparse
import json
import sys

from pstore import client
from pstore.errors import EngineError

__all__ = ["send"]


def send(asked: argparse.Namespace) -> int:
    """Send it; gives the exit code."""
    text = sys.stdin.read() if asked.message == "-" else asked.message
    try:
        message = json.loads(text)
    except ValueError as error:
        raise EngineError(f"the message is not JSON ({error}); a text has quotes of its own: '\"approved\"'") from error
    try:
        new = client.send(asked.uri, asked.task, message, id=asked.id, timeout=asked.timeout)
    except ValueError as error:  # it is too long
        raise EngineError(str(error)) from error
    if not new:
        print("known")
    return 0
