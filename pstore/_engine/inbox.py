"""`Inbox`: messages that wait for whoever receives them; part of the graph.  `Window`: the ids that came before.

    message = await inbox.receive()            the oldest, when there is one
    message = await inbox.receive(timeout=60)  TimeoutError after that
    async for message in inbox: ...            one after the other, without an end

Rules: a message stays in the inbox until the step of the task that takes it, so the commit that lacks the message is
the one that has what was done with it: it is handled exactly once, whatever is killed, and a receiver that is
cancelled or dropped takes nothing with it.  Messages are received in the order in which they came.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from pstore._engine.awaitables import PlainAwaitable
from pstore._engine.backlog import Backlog
from pstore._store import constants

__all__ = ["Inbox", "Receive", "Window"]

_COUNT = 10_000  # ids that an inbox remembers


class Window:
    """The ids of the last messages, as many as it is to know.

    Attributes:
        count: of at most so many; None: of any number.
        seconds: of the last so many seconds; None: of any time.
    """

    def __init__(self, count: int | None = _COUNT, seconds: float | None = None) -> None:
        if count is None and seconds is None:
            raise ValueError("a window has a count, or seconds, or both: without an end it would grow for ever")
        self.count, self.seconds = count, seconds
        self._seen: dict[str, float] = {}

    def __contains__(self, id: str) -> bool:
        return id in self._seen

    def __len__(self) -> int:
        return len(self._seen)

    def is_usual(self) -> bool:
        """Whether it is as one that is new."""
        return not self._seen and self.count == _COUNT and self.seconds is None and len(self.__dict__) == _OF_WINDOW

    def note(self, id: str, now: float) -> None:
        """Remember an id that is new; forget what is too old."""
        self._seen[id] = now
        self.forget(now)

    def forget(self, now: float) -> None:
        """Forget what is too old, or too much."""
        if self.seconds is not None:
            for id in list(self._older_than(now - self.seconds)):
                del self._seen[id]
        # Many at once: to find the first of a dict means to walk over what was deleted before it.
        if self.count is not None and len(self._seen) > self.count + self.count // 8:
            for id in list(self._seen)[: len(self._seen) - self.count]:
                del self._seen[id]

    def _older_than(self, moment: float) -> Any:
        for id, when in self._seen.items():
            if when > moment:
                return
            yield id


class Inbox:
    """Messages, the oldest first.  A plain object: keep it in ``engine.root``, in locals, in other objects.

    Args:
        count, seconds: how long ids of messages are remembered, so that a message that comes again is dropped: those
            of the last `count` messages, and for so many `seconds`; None: without that bound.
    """

    def __init__(self, *, count: int | None = _COUNT, seconds: float | None = None) -> None:
        self.known = Window(count, seconds)
        self._messages = Backlog()
        self._waiters: deque[Any] = deque()
        # The loop that it is used on. It also keeps an inbox from being copied out of the program.
        self._loop: Any = None

    def receive(self, timeout: float | None = None) -> Receive:
        """Take the oldest message: ``message = await inbox.receive()``.

        Args:
            timeout: seconds to wait for it; 0: not at all; None: as long as it takes.

        Raises (at the await):
            TimeoutError: none came in that time.
        """
        return Receive(self, timeout)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    def __anext__(self) -> Receive:
        return Receive(self, None)

    def __len__(self) -> int:
        """Count the messages that nobody has received."""
        return len(self._messages)

    def __bool__(self) -> bool:
        return True

    def is_plain(self) -> bool:
        """Whether it is as one that is new, but for who waits for a message."""
        messages = self._messages
        if type(messages) is not Backlog or messages or len(messages.__dict__) != 1 or len(self.__dict__) != _OF_INBOX:
            return False
        return type(self.known) is Window and self.known.is_usual()

    def __repr__(self) -> str:
        return f"<pstore.Inbox messages={len(self._messages)} receivers={len(self._waiters)}>"

    # -- for `Mail` and `Receive`

    def put(self, loop: Any, message: Any, id: str | None) -> bool:
        """Add a message; False if one of that id came before."""
        self._loop = loop
        if id is not None:
            self.known.forget(loop.time())
            if id in self.known:
                return False
            self.known.note(id, loop.time())
        self._messages.append(message)
        self._wake()
        return True

    def take(self) -> Any:
        """Take out the oldest message."""
        return self._messages.popleft()

    def wait(self, loop: Any) -> Any:
        """Give a future that is done when there may be a message."""
        self._loop = loop
        future = loop.create_future()
        self._waiters.append(future)
        return future

    def leave(self, future: Any) -> None:
        """Wait no longer; if `future` told of a message that was not taken, another receiver is told."""
        if future in self._waiters:
            self._waiters.remove(future)
        if self._messages:
            self._wake()

    def _wake(self) -> None:
        while self._waiters:
            future = self._waiters.popleft()
            if not future.done():
                future.set_result(None)
                return


class Receive(PlainAwaitable[Any]):
    """Awaits a message of an inbox."""

    def __init__(self, inbox: Inbox, timeout: float | None) -> None:
        self.inbox, self.timeout = inbox, timeout
        self.__qualname__ = "receive"
        self._future: Any = None
        self._wait: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._late = timeout is not None and timeout <= 0

    def is_plain(self) -> bool:
        """Whether it is as one that waits, for however long that takes."""
        return self.timeout is None and self._timer is None and not self._late and len(self.__dict__) == _OF_RECEIVE

    def _advance(self) -> Any:
        while True:
            if self._wait is not None:
                try:
                    return self._wait.send(None)
                except StopIteration:
                    self._wait = None
            if len(self.inbox):
                raise StopIteration(self.inbox.take())
            if self._late:
                raise TimeoutError(f"no message came in {self.timeout} s")
            self._begin_to_wait()

    def _begin_to_wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._future = self.inbox.wait(loop)
        self._wait = self._future.__await__()
        if self.timeout is not None and self._timer is None:
            self._timer = loop.call_later(self.timeout, self._expire)

    def _expire(self) -> None:
        self._late = True
        if not self._future.done():
            self._future.set_result(None)

    def _give_up(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._future is not None:
            self.inbox.leave(self._future)


# How many attributes they have, if the program has given them no others.
_OF_WINDOW, _OF_INBOX, _OF_RECEIVE = len(Window().__dict__), len(Inbox().__dict__), len(Receive(Inbox(), None).__dict__)

for _number, _class in enumerate((Inbox, Receive, Window, Backlog, deque), 42):
    constants.register(_number, _class)
