"""The demonstrations: programs that are killed and go on.

    services, saga    a bank, a hotel, an airline; the function that books a trip with them
    plan              what is drawn from the seed: trips, refusals, instants of the kills
    agent             the process that runs the saga and is killed
    travel, audit     the process that kills it and tells the story; the check of the three ledgers
    pingpong, sets    the other two demos
    children          child processes that tell what they do

Rule: the programs themselves (`saga`, `pingpong`, `sets`, `agent`) use only public names of pstore.
"""

from __future__ import annotations

__all__ = ["DemoFailed"]


class DemoFailed(Exception):
    """A demo cannot be run, or a process of it ended as it should not; the text is one line."""
