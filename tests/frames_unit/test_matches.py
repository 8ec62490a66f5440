"""Matches and scanners of regular expressions."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest

from pstore.errors import RebuildError, UnsupportedValue
from tests.frames_unit.kit import check, copied, dumps, fresh

TEXT = "one two, three  four"
MATCHES: dict[str, Callable[[], Any]] = {
    "match": lambda: re.match(r"(\w+) (\w+)", TEXT),
    "search": lambda: re.search(r"(?P<first>t)(x)?", TEXT),
    "fullmatch": lambda: re.fullmatch(r"(a|ab)(c|bcd)?", "abcd"),
    "from": lambda: re.compile(r"\w+").search(TEXT, 5, 12),
    "anchored from": lambda: re.compile(r"\w+").match(TEXT, 5),
    "third": lambda: list(re.finditer(r"\w+", TEXT))[2],
    "empty": lambda: list(re.finditer(r"x*", TEXT))[4],
    "lookbehind": lambda: re.compile(r"(?<=o)\w").search(TEXT, 1),
    "bytes": lambda: re.search(rb"b(.)", b"abcd"),
    "bytearray": lambda: re.search(rb"b(.)", bytearray(b"abcd")),
    "nothing": lambda: re.match("", ""),
    "lazy": lambda: re.match(r"a+?", "aaa"),
    "greedy whole": lambda: re.fullmatch(r"a+?", "aaa"),
    "scanner": lambda: nth_of_scanner(2),
    "in sub": lambda: in_sub(),
}


def nth_of_scanner(number: int) -> Any:
    scanner = re.compile("a|b").scanner("abab")
    for _ in range(number):
        scanner.match()
    return scanner.match()


def in_sub() -> Any:
    found: list[Any] = []
    re.sub(r"\w+", lambda match: found.append(match) or "", TEXT)
    return found[3]


def parts(match: Any) -> Any:
    return (
        match.regs, match.lastindex, match.lastgroup, match.pos, match.endpos, match.string, match.re, match.groups(),
        match.groupdict(), match.expand(r"<\g<0>>") if isinstance(match.string, str) else None,
    )  # fmt: skip


@pytest.mark.parametrize("name", MATCHES)
def test_match(name: str) -> None:
    match = MATCHES[name]()
    assert parts(copied(match)) == parts(match)
    assert parts(copied(copied(match))) == parts(match)


def test_match_shares_its_text() -> None:
    text, match = copied((TEXT, re.match("one", TEXT)))
    assert match.string is text


def test_match_refused() -> None:
    text = bytearray(b"abc")
    match = re.search(rb"b", text)
    text[1:2] = b"x"
    with pytest.raises(UnsupportedValue, match="does not find it in its text again"):
        dumps(match)


def test_match_no_more() -> None:
    text = bytearray(b"abc")
    data = dumps(re.search(rb"b", text))
    with pytest.raises(RebuildError, match="does not match as it did"):
        pickle.loads(data.replace(b"abc", b"xyz"))


PATTERNS = [r"\w+", r"", r"x*", r"o|", r"|o", r"(?<=o)", r"\b", r"^|\w", r"(\w)|,"]
TEXTS = ["one two, three", "", "o", "oo", "caf\xe9 o o", "\u20aco\u20ac oo", "\U0001f600o \ud800o"]


def spans(items: Any) -> Any:
    return [(item.regs, item.pos, item.endpos) if isinstance(item, re.Match) else item for item in items]


@pytest.mark.parametrize("text", range(len(TEXTS)))
@pytest.mark.parametrize("pattern", PATTERNS)
def test_finditer(pattern: str, text: int) -> None:
    """Among them patterns that match nothing at a place where they then match something."""
    for steps in range(8):
        check(lambda: re.finditer(pattern, TEXTS[text]), steps, spans)
        check(lambda: re.compile(pattern).finditer(TEXTS[text], 1, 6), steps, spans)
        check(lambda: re.finditer(pattern.encode(), TEXTS[text].encode("utf-8", "replace")), steps, spans)


def test_scanner_by_hand() -> None:
    for way in ("search", "match"):
        scanner = re.compile("a|b|").scanner("abxab")
        for _ in range(4):
            copy = copied(scanner)
            expected = [getattr(copied(copy), way)() for _ in range(1)]
            assert spans(expected) == spans([getattr(copy, way)()]) == spans([getattr(scanner, way)()])


def test_scanner_in_turns() -> None:
    scanner = re.compile("a").scanner("xaaa", 1)
    scanner.match(), scanner.search()
    assert copied(scanner).match().span() == (3, 4)
    scanner = re.compile("(?<!b)x|a").scanner("abxax")
    scanner.match()
    assert copied(scanner).search().span() == (3, 4)


def test_scanner_refused() -> None:
    with pytest.raises(UnsupportedValue, match="neither a str nor bytes"):
        dumps(re.compile(b"a").scanner(bytearray(b"aa")))


def test_long_text() -> None:
    text = "word " * 60_000
    found = re.finditer(r"\w+", text)
    for _ in range(50_000):
        next(found)
    assert sum(1 for _ in copied(found)) == 10_000 == sum(1 for _ in found)


def test_fresh_process() -> None:
    found = re.finditer(r"\w+", TEXT)
    next(found)
    data = dumps((found, re.search("t(w)", TEXT)))
    assert fresh(data, "([m.group() for m in it[0]], it[1].span(1))", 3) == "(['two', 'three', 'four'], (5, 6))"
