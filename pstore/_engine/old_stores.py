"""Loops as they were stored before tasks had records of their own; only read.

The tasks of such a store get records of their own with the first commit (`keeper`); their frames, timers and steps stay
where they are, in the clusters, until they are done: the state leads to those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pstore._engine.outbox import Outbox
from pstore._engine.state import LoopState

if TYPE_CHECKING:
    from pstore._engine.loop import DurableLoop

__all__ = ["take_over"]


def take_over(loop: DurableLoop) -> None:
    """Fill the state of a loop from its attributes in such a store, once all of them are loaded; else do nothing."""
    stored, loop._old = loop._old, None
    if stored is not None:
        _fill(loop.state, stored)


def _fill(state: LoopState, stored: dict[str, Any]) -> None:
    outbox = vars(stored["outbox"])
    state.store_id, state.asked, state.limits = outbox["store_id"], outbox["asked"], outbox.get("limits") or {}
    state.services = stored.get("services", state.services)
    state.tasks, state.named = stored["tasks"], stored["_made"]
    state.handler, state.eager, state.latest = stored["_handler"], stored["_eager"], stored["latest"]
    state.ready = list(enumerate(stored["_ready"]))
    for task in state.tasks.values():
        state.made += 1
        task.number = state.made
    for timer in stored["_timers"].of_old_store():
        if isinstance(getattr(timer._callback, "__self__", None), Outbox):
            continue  # set again for each step
        timer.owner = state
        state.timers[timer.order] = timer
    for step in outbox["pending"].values():
        step.timers = ()
        state.steps[step.key] = step
    outbox.clear()  # it may still be in a record for a while, and is to hold nothing
