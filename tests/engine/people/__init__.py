"""Programs of the kind people write, for asyncio alone: each `async def name(out)`, deterministic in its result.

What they do outside of the process goes into a ledger (`kit.effect`, a line written in a thread).  `harness` kills them
at random instants until they are done; ``python -m tests.engine.people`` runs it.
"""

from __future__ import annotations

from . import classic, cluster, flow, limits, money
from .kit import PROGRAMS

__all__ = ["PROGRAMS", "classic", "cluster", "flow", "limits", "money"]
