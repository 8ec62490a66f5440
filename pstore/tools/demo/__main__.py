"""The child processes of the demos: ``python -m pstore.tools.demo ROLE ARGUMENT...``; started by `children.Child`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from pstore.tools.demo import agent, pingpong, sets
from pstore.tools.demo.children import live

ROLES: dict[str, Callable[..., None]] = {
    "agent": agent.main,
    "ping-pong": pingpong.play,
    "set-pstore": sets.run_durably,
    "set-replay": sets.run_replaying,
}

if __name__ == "__main__":
    sys.exit(live(ROLES[sys.argv[1]], *sys.argv[2:]))
