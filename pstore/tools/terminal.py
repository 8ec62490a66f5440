"""Text for people: colour where it helps, columns, lines that fit.

Rules: colour only on a terminal, and not where ``NO_COLOR`` is set; every line is flushed, so that a reader of a pipe
sees it when it happens.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from typing import TextIO

__all__ = ["Terminal", "clip", "columns", "tidy"]

_WIDEST = 100
_NARROWEST = 60
_FUNCTION = re.compile(r"<(?:function|bound method) (?:[\w.]+\.<locals>\.)?([\w.<>]+?)(?: at 0x[0-9a-f]+| of .*?)>")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class Terminal:
    """Where a command writes to.

    Attributes:
        width: columns that a line may have.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = sys.stdout if out is None else out
        asked_not_to = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self._coloured = self.out.isatty() and not asked_not_to
        self.width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns))

    def line(self, text: str = "") -> None:
        """Write a line."""
        self.out.write(f"{text}\n")
        self.out.flush()

    def fit(self, text: str) -> str:
        """Clip an uncoloured line to the width."""
        return clip(text, self.width)

    def bold(self, text: str) -> str:
        """Make it stand out."""
        return self._paint("1", text)

    def dim(self, text: str) -> str:
        """Make it step back."""
        return self._paint("2", text)

    def red(self, text: str) -> str:
        """Colour of what went wrong and of kills."""
        return self._paint("31", text)

    def green(self, text: str) -> str:
        """Colour of what went well."""
        return self._paint("32", text)

    def yellow(self, text: str) -> str:
        """Colour of what is being undone."""
        return self._paint("33", text)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured and text else text


def clip(text: str, width: int) -> str:
    """Give the text on one line, in at most `width` columns."""
    text = " ".join(text.split("\n"))
    return text if len(text) <= width else f"{text[: width - 3]}..."


def columns(rows: Sequence[Sequence[str]], widest: int = 60) -> list[str]:
    """Lay rows of cells out in columns; cells are clipped to `widest`, the last column is not."""
    clipped = [[*(clip(cell, widest) for cell in row[:-1]), row[-1]] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*clipped, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in clipped]


def tidy(text: str) -> str:
    """Take out of a repr what tells a person nothing: addresses, the way to an inner function."""
    return _ADDRESS.sub("", _FUNCTION.sub(r"\1", text))
