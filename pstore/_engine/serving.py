"""`Served`: an engine inside an asyncio loop of the host, ``await engine.serve()``; never stored.

The engine's turns (news, a batch, a commit, the start of steps) are made in the host's thread, as callbacks of the
host's loop, one turn at a time; between two turns the host's loop runs.  So host coroutines may use the engine, its
root and its tasks like anything else of their thread, without a lock; a turn keeps the host's loop for as long as a
batch and its commit take.  A host that cannot spare that runs ``engine.run(forever=True)`` in a thread of its own, and
uses what may be called from any thread.

Rules:

- Two loops never run at once: for the time of a turn the durable loop is the running one, then the host's again.  A
  turn is a plain callback, not a step of a task of the host's, as asyncio (3.14+) knows one running task for a thread.
- The host's loop is never blocked to wait: where `Engine.run` would pause, a timer and the news wake the next turn.
- Steps that are coroutine functions run on the host's loop.  One that the host cancels, as it ends, has no answer: it
  is begun again later, like all steps that a process did not end.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

from pstore._engine.attempts import Attempt
from pstore._engine.host import AsyncHost

if TYPE_CHECKING:
    from pstore._engine.engine import Engine

__all__ = ["HostedSteps", "Served"]


class HostedSteps(AsyncHost):
    """Runs coroutine functions on the loop of the host."""

    def __init__(self, post: Any, lost: Any, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(post)
        self._loop, self._lost = loop, lost

    def _failed(self, attempt: Attempt, error: BaseException) -> None:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            self._lost(attempt)  # the host ends, or nobody waits for it
            raise error
        super()._failed(attempt, error)

    def _end_if_idle(self) -> None:
        """Leave the host's loop alone."""


class Served:
    """Turns of an engine on the running loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._host = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._over: asyncio.Future[None] = self._host.create_future()
        self._next: asyncio.Handle | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._in_turn = self._waited = self._ended = False

    async def run(self) -> None:
        """Make turns until the engine is stopped, or this is cancelled."""
        engine = self._engine
        dispatcher = engine._steps
        steps = HostedSteps(dispatcher.host.post, dispatcher.lost, self._host)
        with engine._answering_if_it_fails(), engine._served_by(self), dispatcher.host.coroutines_by(steps):
            engine._loop.inbox.wake = self.wake
            self._soon()
            try:
                await self._over
            finally:
                self._ended = True
                engine._loop.inbox.wake = None
                self._sleep_no_more()

    def wake(self) -> None:
        """Have a turn made soon; from any thread."""
        if self._ended or (self._in_turn and threading.get_ident() == self._thread):
            return  # a turn looks for news at its end
        with contextlib.suppress(RuntimeError):  # the host's loop is closed
            self._host.call_soon_threadsafe(self._woken)

    def _woken(self) -> None:
        self._waited = False
        self._soon()

    def _soon(self) -> None:
        if self._next is None and not self._ended:
            self._next = self._host.call_soon(self._turn)

    def _sleep_no_more(self) -> None:
        for handle in (self._next, self._alarm):
            if handle is not None:
                handle.cancel()
        self._next = self._alarm = None

    def _turn(self) -> None:
        self._sleep_no_more()
        if self._ended:
            return
        self._in_turn = True
        try:
            goes_on = self._engine._hosted_turn()
        except BaseException as error:  # it goes to whoever awaits; those two leave the host's loop as well
            self._end(error)
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            return
        finally:
            self._in_turn = False
        if goes_on is None:
            self._end(None)
        elif goes_on or self._engine._has_work():  # what a signal handler has brought at the very end as well
            self._soon()
        else:
            self._rest()

    def _end(self, error: BaseException | None) -> None:
        self._ended = True
        if self._over.done():
            return
        if error is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(error)

    def _rest(self) -> None:
        """Let the clock say how long to wait: it is told that there were news, so that it does not wait itself."""
        asked: list[float | None] = []

        def wait(timeout: float | None) -> bool:
            asked.append(timeout)
            return not self._waited

        self._engine._pause(wait)
        self._waited = False
        if not asked:  # a virtual clock, which has jumped
            self._soon()
        elif asked[-1] is not None:
            self._alarm = self._host.call_later(asked[-1], self._rested)

    def _rested(self) -> None:
        self._alarm, self._waited = None, True
        self._soon()
