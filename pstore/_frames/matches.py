"""Regular expressions: matches, and the scanner that ``finditer`` reads on from (layer 1).

Owns: finding them again.  Neither can be made from parts, so the pattern is run over the same text once more:

* A match is looked for by each way that there is to get one.  The way is tried while storing, and one that gives other
  spans is not taken; what no way finds is refused.  Loading compares the spans again.
* A scanner is run from its start until it stands where it stood, which is a matter of its position and of whether its
  last match was empty.  This too is tried while storing, up to a megabyte of text.
* The text of a scanner can be reached only through memory: it is stored by value, and must be a str or bytes.

Source: ``SRE_STATE`` and ``ScannerObject`` in ``Modules/_sre/sre.h`` (3.11: ``Modules/sre.h``).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

from pstore._frames.access import words
from pstore._frames.standins import HEAD, refuse
from pstore._frames.stored import stored
from pstore.errors import RebuildError

__all__ = ["REDUCERS"]

_Scanner: Any = type(re.compile("").scanner(""))  # type: ignore[attr-defined]
_TRIED = 1 << 20
"""As much text a scanner is sent through while storing."""

# --- match ---------------------------------------------------------------------------------------------------------


@stored
def pattern_match(pattern: Any, text: Any, span: tuple[int, int], way: str, regs: Any) -> Any:
    """Match again: `span` is the part of the text that was looked at, `way` how, `regs` what was found.

    Raises:
        RebuildError: something else is found now.
    """
    for found in _matches(pattern, text, span, way):
        if found.regs == regs:
            return found
    raise RebuildError(f"{pattern!r} does not match as it did when its match was stored")


def _matches(pattern: Any, text: Any, span: tuple[int, int], way: str) -> Iterator[Any]:
    if way in ("match", "fullmatch"):
        found = getattr(pattern, way)(text, *span)
        if found is not None:
            yield found
    elif way == "search":
        yield from pattern.finditer(text, *span)
    else:
        yield from iter(pattern.scanner(text, *span).match, None)


def _reduce_match(obj: Any) -> Any:
    span = obj.pos, obj.endpos
    for way in ("match", "fullmatch", "search", "scanner"):
        for found in _matches(obj.re, obj.string, span, way):
            if found.regs == obj.regs and (found.lastindex, found.pos, found.endpos) == (obj.lastindex, *span):
                return pattern_match, (obj.re, obj.string, span, way, obj.regs)
            if found.start() > obj.start():
                break
    raise refuse(obj, "its pattern does not find it in its text again", "keep its groups or spans")


# --- scanner -------------------------------------------------------------------------------------------------------


@stored
def pattern_scanner(pattern: Any, text: Any, span: tuple[int, int], place: tuple[int, int] | None) -> Any:
    """Make a scanner that stands at `place`: a position and whether it must move on; None is the end.

    Raises:
        RebuildError: it does not come by there now.
    """
    scanner = _scanned(pattern, text, span, place)
    if scanner is None:
        raise RebuildError(f"a scanner of {pattern!r} does not come to where it stood when it was stored")
    return scanner


def _scanned(pattern: Any, text: Any, span: tuple[int, int], place: tuple[int, int] | None) -> Any:
    if place is None:
        span = len(text), len(text)
    for way in ("search", "match"):
        scanner = pattern.scanner(text, *span)
        step = getattr(scanner, way)
        while _place(scanner) != place:
            if step() is None:
                break
        if _place(scanner) == place:
            return scanner
    return None


def _state(scanner: Any) -> tuple[int, ...]:
    return words(id(scanner) + HEAD, 20)


def _place(scanner: Any) -> tuple[int, int] | None:
    """Where a scanner starts next, and whether an empty match there does not count; None at its end."""
    state = _state(scanner)
    beginning, start = state[2], state[3]
    width, must_advance = state[18] >> 32, state[19] >> 32
    return None if not start else ((start - beginning) // width, must_advance)


def _reduce_scanner(obj: Any) -> Any:
    state = _state(obj)
    pattern, span, width = obj.pattern, (state[16], state[17]), state[18] >> 32
    if state[0] != id(pattern) or width not in (1, 2, 4):
        raise refuse(obj, "its fields are not where this CPython is known to keep them")
    text, place = _text(obj, state[5], state[2], width), _place(obj)
    if place is not None and not (span[0] <= place[0] <= span[1] <= len(text) and place[1] in (0, 1)):
        raise refuse(obj, "its fields are not where this CPython is known to keep them")
    short = place is not None and place[0] - span[0] <= _TRIED
    if short and _scanned(pattern, text, span, place) is None:
        raise refuse(obj, "it was moved by search() and by match() in turns", "keep its position instead")
    return pattern_scanner, (pattern, text, span, place)


def _text(obj: Any, address: int, data: int, width: int) -> str | bytes:
    """The text of a scanner, which no referent leads to."""
    _, kind, size = words(address, 3)
    if kind not in (id(str), id(bytes)) or not 0 < data - address < 128:
        raise refuse(obj, "its text is neither a str nor bytes", "scan a str or bytes")
    content = b"".join(_content(data, size * width))[: size * width]
    if kind == id(bytes):
        return content
    return content.decode(("latin-1", "utf-16", "", "utf-32")[width - 1], "surrogatepass" if width > 1 else "strict")


def _content(address: int, size: int) -> Iterator[bytes]:
    count, step = -(-size // 8), 1024  # whole words: the last one ends within the page that its first byte is on
    for done in range(0, count, step):
        read = words(address + done * 8, min(step, count - done))
        yield struct.pack(f"={len(read)}Q", *read)


REDUCERS: dict[type, Callable[[Any], Any]] = {
    re.Match: _reduce_match,
    _Scanner: _reduce_scanner,
}
