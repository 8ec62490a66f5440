"""When objects may end, and what their end changes (layer 2).

Owns: :class:`NoCollection`, while which the garbage collector ends nothing; :class:`Mortals`, whose end is a change.
"""

from __future__ import annotations

import gc
from typing import Any, Protocol

__all__ = ["Mortals", "NoCollection"]


class Mortals(Protocol):
    """Objects whose end is a change of the graph, such as async generators: they are closed by a task.

    They would end after the commit that has let go of them, and the change would be in the next one: who is killed in
    between would have lost both.  So they are found before it.
    """

    def __len__(self) -> int:
        """How many there are."""

    def __contains__(self, obj: Any) -> bool:
        """Whether an object is one."""

    def save(self, objs: list[Any]) -> None:
        """Make what their end would change; it is called in `persist`, before anything is written."""


class NoCollection:
    """Keep the garbage collector from looking at everything while many objects are made, none of them garbage.

    And from running code of the program, by letting something end, between a look at the graph and what is made of it.
    """

    __slots__ = ("_was_enabled",)

    def __enter__(self) -> None:
        self._was_enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_enabled:
            gc.enable()
