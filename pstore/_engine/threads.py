"""`Threads`: daemon threads that call functions.

    call            there is always a thread for the next
    call_in_turn    `IN_TURN` threads at the most for all of these

Calls in turn stand in a row.  A thread that takes one of a row that is not empty then wakes the next thread, unless one
is on its way: so calls that take no time are made one after the other by one thread, without a change of threads for
each, and those that block are soon in as many threads as there may be.

Rule: a thread that is stuck is in nobody's way, but for the calls in turn, and does not keep the process from ending.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable

__all__ = ["IN_TURN", "Threads"]

IN_TURN = 32


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
        self._row: deque[Callable[[], None]] = deque()
        self._at_row = 0  # threads that take from the row, or are about to
        self._is_waking = False  # one of them has not begun to

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

    def call_in_turn(self, job: Callable[[], None]) -> None:
        """Call `job` when its turn has come.

        Raises:
            RuntimeError: the system gives not even one thread.
        """
        with self._lock:
            self._row.append(job)
        try:
            self._wake_one()
        except RuntimeError:
            with self._lock:
                if self._at_row or job not in self._row:
                    return  # others will come to it, or have
                self._row.remove(job)
            raise

    def _wake_one(self) -> None:
        """Have one more thread take from the row, if it is not empty and one is not on its way."""
        with self._lock:
            if self._is_waking or not self._row or self._at_row >= IN_TURN:
                return
            self._is_waking = True
            self._at_row += 1
        try:
            self.call(self._take_turns)
        except RuntimeError:
            with self._lock:
                self._is_waking = False
                self._at_row -= 1
            raise

    def _take_turns(self) -> None:
        with self._lock:
            self._is_waking = False
        while True:
            with self._lock:
                if not self._row:
                    self._at_row -= 1
                    return
                job = self._row.popleft()
                alone = not self._row or self._is_waking
            if not alone:
                with contextlib.suppress(RuntimeError):  # no more threads: this one will come to it
                    self._wake_one()
            try:
                job()
            except BaseException:  # this thread ends with it; the rest of the row is for others
                with self._lock:
                    self._at_row -= 1
                self._wake_one()
                raise
            del job

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
