"""Small asyncio programs, each `async def name(out)`: what they append to `out` must not depend on restarts.

Between them they use every primitive of asyncio that the durable loop serves, in every form.  Results that come in the
order of a `set` (of futures, so of addresses) are sorted.  All but those with a reason in `Program.apart` are programs
for asyncio alone, and give the same on asyncio's own loop.

Not asked for is what asyncio leaves open: the order of timers of one moment (its heap has none), the order in which a
group cancels its tasks (that of a set of addresses), the names of tasks that were given none (a counter of the process).
"""

from __future__ import annotations

from . import callbacks, generators, queues, scopes, steps, sync, tasks, waiting
from .kit import PROGRAMS, Program

__all__ = ["PROGRAMS", "Program", "callbacks", "generators", "queues", "scopes", "steps", "sync", "tasks", "waiting"]
