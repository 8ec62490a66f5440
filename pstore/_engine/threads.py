"""`Threads`: daemon threads that call functions; there is always one for the next.

Rules: how many run at a time is not decided here (see `lines`); a thread that is stuck is in nobody's way, and does
not keep the process from ending.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable

__all__ = ["Threads"]


class Threads:
    """Calls functions, each in a thread that does nothing else meanwhile."""

    # So many that have nothing to do are kept.
    MOST_IDLE = 32

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0  # threads that wait for a job, without those for which one waits
        self._closed = False
        self._numbers = itertools.count()

    def call(self, job: Callable[[], None]) -> None:
        """Call `job` soon.

        Raises:
            RuntimeError: the system gives no more threads.
        """
        with self._lock:
            has_idle = self._idle > 0
            self._idle -= has_idle
        if has_idle:
            self._jobs.put(job)
        else:
            name = f"pstore-step-{next(self._numbers)}"
            threading.Thread(target=self._work, args=(job,), name=name, daemon=True).start()

    def close(self) -> None:
        """Let the threads end when they have done what they do."""
        with self._lock:
            self._closed = True
            for _ in range(self._idle):
                self._jobs.put(None)

    def _work(self, job: Callable[[], None] | None) -> None:
        while job is not None:
            job()
            del job  # not kept while waiting for the next
            with self._lock:
                if self._closed or self._idle >= self.MOST_IDLE:
                    return
                self._idle += 1
            job = self._jobs.get()
