"""What a step may give: its result or exception is looked at before its task goes on with it.

An answer is committed together with what its task does next.  If it cannot be stored, that is known before: the task
gets `StepResultRefused` in its place.

Rule: what is plain data is told fast; of all else a copy is made, as by a store.
"""

from __future__ import annotations

import pickle
from typing import Any

from pstore._engine.outbox import Step
from pstore._store import graph
from pstore.errors import CaptureError, StepResultRefused

__all__ = ["storable_outcome"]

_ATOMS = frozenset((type(None), bool, int, float, str, bytes))


class _NotPlain(Exception):
    """There is something else than plain data."""


class _Nowhere:
    def write(self, data: Any) -> int:
        return 0


class _PlainPickler(pickle.Pickler):
    """Raises where there is more than atoms in lists, tuples, dicts and sets."""

    def reducer_override(self, obj: Any) -> Any:
        raise _NotPlain


def storable_outcome(step: Step, value: Any, error: BaseException | None) -> tuple[Any, BaseException | None]:
    """Give what a step gave; or None, and the error that says why it cannot be stored."""
    if error is None and (type(value) in _ATOMS or _is_plain(value)):
        return value, None
    try:
        graph.dumps((value, error))
    except CaptureError as refused:
        given = "" if error is None else f"it raised {error!r}; "
        return None, StepResultRefused(step.title, f"{given}{refused}")
    return value, error


def _is_plain(value: Any) -> bool:
    try:
        _PlainPickler(_Nowhere(), 5).dump(value)
    except (_NotPlain, RecursionError):
        return False
    return True
