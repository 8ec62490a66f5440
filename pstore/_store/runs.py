"""Long lists and dicts, in runs (layer 2).

Owns: how a list or dict of many items is cut into *runs*, lists of some hundred items that are nodes of their own, so
that a commit after a change writes the runs that changed and not the whole; and which runs there are of which object.

Runs that are still there are found again by the addresses of their items, wherever they stand now: an append rewrites
the last run, an insertion anywhere the run that it falls into.  A dict's runs hold keys and values in turn.

Nobody but the store ever sees a run, and none is ever changed.
"""

from __future__ import annotations

from typing import Any

from pstore._store.clusters import addresses

__all__ = ["LONG", "cut"]

LONG = 1500
"""Items from which on a list is kept in runs; a dict of half as many."""
_RUN = 512
_WORD = 8


def cut(items: list[Any], before: list[list[Any]], step: int = 1) -> list[list[Any]]:
    """Cut items into runs, with as many as possible of those that there were before.

    Args:
        items: what is to be cut.
        before: the runs that there were, in order.
        step: items that belong together.
    """
    raw = addresses(items)
    window = 2 * _RUN * _WORD
    runs: list[list[Any]] = []
    at = 0
    for run in before:
        wanted = addresses(run)
        found = _find(raw, wanted, at, at + window + len(wanted), step * _WORD)
        if found >= 0:
            _add(runs, items[at // _WORD : found // _WORD])
            runs.append(run)
            at = found + len(wanted)
    _add(runs, items[at // _WORD :])
    return runs


def _find(raw: bytes, wanted: bytes, start: int, end: int, step: int) -> int:
    found = raw.find(wanted, start, end)
    while found >= 0 and found % step:
        found = raw.find(wanted, found + 1, end)
    return found


def _add(runs: list[list[Any]], items: list[Any]) -> None:
    """Add new runs; what would be a short one is joined with the one before."""
    if not items:
        return
    if runs and len(runs[-1]) + len(items) <= _RUN:
        runs[-1] = runs[-1] + items  # a new list: runs do not change
        return
    runs += (items[start : start + _RUN] for start in range(0, len(items), _RUN))
