"""`Options`: how a step is to be done, beside its function, arguments and retries; stored with the step.

Rule: an attribute that a stored one does not have, as its version of pstore did not know it, has the default.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pstore._engine.limits import Limiter

__all__ = ["NONE", "Options", "check_seconds", "options_of"]


@dataclass(frozen=True)
class Options:
    """How a step is to be done; see `pstore.step` for what each means.

    Attributes:
        timeout, heartbeat: seconds; None: no limit.
        limit: limiter, or its name; None: none.
        limit_key: whose share of the limiter it takes.
        priority: the lower goes first.
        key: idempotency key; None: one is made.
    """

    timeout: float | None = None
    heartbeat: float | None = None
    limit: Limiter | str | None = None
    limit_key: str | None = None
    priority: float = 0
    key: str | None = None

    def __post_init__(self) -> None:
        for name in ("timeout", "heartbeat"):
            check_seconds("pstore.step()", name, getattr(self, name))
        if not isinstance(self.limit, Limiter | str | None) or self.limit == "":
            raise TypeError(f"pstore.step(): limit must be a pstore.Limiter or the name of one, not {self.limit!r}")
        for name in ("limit_key", "key"):
            if not isinstance(getattr(self, name), str | None) or getattr(self, name) == "":
                raise TypeError(f"pstore.step(): {name} must be a text, not {getattr(self, name)!r}; use str(...)")
        if self.limit_key is not None and self.limit is None:
            raise TypeError("pstore.step(): limit_key is the share of a limiter; say which one by limit=")
        if not _is_number(self.priority) or math.isnan(self.priority):
            raise TypeError(f"pstore.step(): priority must be a number, the lower the sooner, not {self.priority!r}")

    @property
    def limit_name(self) -> str | None:
        """Name of the limiter."""
        return self.limit.name if isinstance(self.limit, Limiter) else self.limit


def options_of(**given: Any) -> Options | None:
    """Make options; None where nothing but defaults was given, so that nothing is stored for them."""
    options = Options(**given)
    return None if options == NONE else options


def check_seconds(where: str, name: str, value: Any) -> None:
    """Refuse what is no span of time."""
    if value is not None and not (_is_number(value) and value > 0):
        raise ValueError(f"{where}: {name} must be more than 0 seconds, or None for no limit, not {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


NONE = Options()
