"""`Deliveries`: letters to the world outside, in order for each destination; part of the graph.  Built on steps.

    pstore.post(notify, {"order": 17})              a function of a module
    pstore.post("webhooks", {...}, id="order-17")   a name, to which the host has said: engine.deliver("webhooks", fn)

A letter is posted in the commit of the step that posts it, and leaves after it.  The function is called with the
payload, in a thread or, if it is a coroutine function, on an event loop; `step_key()` gives the id of the letter.

    waits       in `Lane.letters`                 behind the one that is under way
    under way   first of its lane, `Lane.busy`    a step of the outbox, or a timer, for the next attempt
    parked      first of its lane, not busy       nobody in this process delivers there, until `engine.deliver`
    delivered   nowhere
    dead        in `Deliveries.dead`              all attempts failed; the lane has gone on with the next

Rules: at least once, under the same id each time; the next letter of a destination leaves when the one before it was
delivered or is dead; a payload is a copy, made when it is posted, as it is used in another thread; an attempt has a
timeout, as a destination that hangs would keep all behind it from leaving.  One that was given up is one that failed: a
coroutine is cancelled, a function in a thread cannot be broken into, and may deliver late what is then delivered again.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import math
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from pstore._engine.backlog import Backlog
from pstore._engine.byvalue import copied
from pstore._engine.keys import call_with_key
from pstore._engine.options import Options
from pstore._engine.outbox import Retry
from pstore.errors import EngineError, NobodyDelivers

if TYPE_CHECKING:
    from pstore._engine.future import Future
    from pstore._engine.loop import DurableLoop

__all__ = ["DeadLetters", "Deliveries", "Lane", "Letter", "hand_over", "register", "registered", "unregister"]

# When nothing else is said: gives up after about ten minutes.
USUAL = Retry(attempts=15, delay=1.0, factor=2.0, longest=60.0)
# The same of an attempt, in seconds.
USUAL_TIMEOUT = 60.0

Destination = str | Callable[[Any], Any]


class Deliverer(NamedTuple):
    """Who delivers to a name, when it is tried again, and how long an attempt may take; None: as is usual."""

    fn: Callable[[Any], Any]
    retry: Retry | None
    timeout: float | None


# Of this process: id of the store -> name of a destination -> who delivers there.
_deliverers: dict[str, dict[str, Deliverer]] = {}
_lock = threading.Lock()


class Letter:
    """Something that is to leave the program.

    Attributes:
        id: the same at every attempt; by it the other side can tell a repetition.
        to: a name, or a function.
        destination: name of it, or ``module:function``.
        payload: what is delivered.
        retry: when it is tried again; None: as the destination has it.
        timeout: seconds that an attempt may take, `math.inf` for no limit; None: as the destination has it.
        posted: when, UTC seconds.
        failed: attempts that failed.
        error: the last failure, as text; empty if there was none.
        began: moment of the first attempt, UTC seconds; None: there was none.
    """

    # Of one that an older version has stored.
    began: float | None = None
    timeout: float | None = None

    def __init__(self, id: str, to: Destination, payload: Any, retry: Retry | None, posted: float) -> None:
        self.id, self.to, self.payload, self.retry, self.posted = id, to, payload, retry, posted
        self.destination = to if isinstance(to, str) else _name_of_function(to)
        self.failed = 0
        self.error = ""

    def __repr__(self) -> str:
        failed = f" failed={self.failed} error={self.error!r}" if self.failed else ""
        return f"<Letter {self.id} to {self.destination}{failed}>"


class Lane:
    """The letters to one destination, the oldest first."""

    def __init__(self, deliveries: Deliveries) -> None:
        self.deliveries = deliveries
        self.letters = Backlog()
        self.busy = False

    def start(self, loop: DurableLoop) -> None:
        """Begin an attempt to deliver the first letter, if none is under way and somebody can."""
        if self.busy or not self.letters:
            return
        letter, store = self.letters[0], loop.outbox.store_id
        if isinstance(letter.to, str) and registered(store, letter.to) is None:
            return
        self.busy = True
        if letter.began is None:
            letter.began = loop.time()
        attempt = loop.ask(
            hand_over,
            (store, letter.to, letter.id, letter.payload),
            options=_options_of(loop, letter),
            context=contextvars.Context(),
        )
        attempt.add_done_callback(self._tried, context=contextvars.Context())

    def _tried(self, attempt: Future[None]) -> None:
        loop, letter = attempt.get_loop(), self.letters[0]
        error = attempt.exception()
        self.busy = False
        if isinstance(error, NobodyDelivers):
            if not letter.failed:
                letter.began = None
            self.start(loop)  # parked, unless somebody has come meanwhile
            return
        if error is not None:
            letter.failed += 1
            letter.error = f"{type(error).__name__}: {error}"
            pause = _pause(loop, letter, error)
            if pause is not None:
                self.busy = True
                loop.call_later(pause, self._again, loop, context=contextvars.Context())
                return
            self.deliveries.dead.append(letter)
        self.letters.popleft()
        if self.letters:
            self.start(loop)
        else:
            del self.deliveries.lanes[letter.destination]

    def _again(self, loop: DurableLoop) -> None:
        self.busy = False
        self.start(loop)


def _pause(loop: DurableLoop, letter: Letter, error: BaseException) -> float | None:
    """Give the seconds until the next attempt; None: give up."""
    retry = _retry_of(loop, letter)
    pause = retry.pause(letter.failed, error)
    if pause is None or retry.deadline is None or letter.began is None:
        return pause
    return pause if loop.time() + pause < letter.began + retry.deadline else None


def _retry_of(loop: DurableLoop, letter: Letter) -> Retry:
    known = _deliverer_of(loop, letter)
    return letter.retry or (known and known.retry) or USUAL


def _options_of(loop: DurableLoop, letter: Letter) -> Options | None:
    known = _deliverer_of(loop, letter)
    timeout = letter.timeout or (known and known.timeout) or USUAL_TIMEOUT
    return None if timeout == math.inf else Options(timeout=timeout)


def _deliverer_of(loop: DurableLoop, letter: Letter) -> Deliverer | None:
    return registered(loop.outbox.store_id, letter.to) if isinstance(letter.to, str) else None


class Deliveries:
    """All letters of a loop.

    Attributes:
        lanes: by destination; those that have letters.
        dead: letters that could not be delivered, the oldest first.
    """

    def __init__(self) -> None:
        self.posted = 0
        self.lanes: dict[str, Lane] = {}
        self.dead: list[Letter] = []

    def post(
        self,
        loop: DurableLoop,
        to: Destination,
        payload: Any,
        id: str | None,
        retry: Retry | None,
        timeout: float | None = None,
    ) -> str:
        """Take in a letter; gives its id."""
        if id is not None and not isinstance(id, str):
            raise TypeError(f"the id of a letter is a text, got {id!r}")
        if isinstance(to, str):
            _check_name(to)
        _check_timeout("pstore.post()", timeout)
        letter_id = f"{loop.outbox.store_id}.letter.{self.posted + 1}" if id is None else id
        letter = Letter(letter_id, to, copied(payload, "payload"), retry, loop.time())
        if timeout is not None:
            letter.timeout = timeout
        self.posted += 1
        self.put(loop, letter)
        return letter_id

    def put(self, loop: DurableLoop, letter: Letter) -> None:
        """Add a letter to its lane."""
        lane = self.lanes.get(letter.destination)
        if lane is None:
            lane = self.lanes[letter.destination] = Lane(self)
        lane.letters.append(letter)
        lane.start(loop)

    def start(self, loop: DurableLoop, name: str) -> None:
        """Begin with what has waited for somebody who delivers to this name."""
        if name in self.lanes:
            self.lanes[name].start(loop)


class DeadLetters:
    """The letters that could not be delivered: ``engine.dead_letters``.  A sequence, the oldest first.

    For the thread that runs the engine, as `Engine.root`.
    """

    def __init__(self, loop: DurableLoop) -> None:
        self._loop = loop

    def __len__(self) -> int:
        return len(self._dead)

    def __getitem__(self, index: int) -> Letter:
        return self._dead[index]

    def __iter__(self) -> Iterator[Letter]:
        return iter(list(self._dead))

    def __repr__(self) -> str:
        return repr(self._dead)

    def repost(self, letter: Letter | str | None = None) -> int:
        """Post a letter again, under its id, behind those that wait; None: all.  Gives how many."""
        chosen = self._take(letter)
        for each in chosen:
            each.failed, each.began = 0, None
            # In a call of the loop: a run commits what its calls have done.
            self._loop.call_soon(self._loop.services.deliveries.put, self._loop, each, context=contextvars.Context())
        return len(chosen)

    def discard(self, letter: Letter | str | None = None) -> int:
        """Forget a letter; None: all.  Gives how many."""
        return len(self._take(letter))

    @property
    def _dead(self) -> list[Letter]:
        return self._loop.services.deliveries.dead

    def _take(self, letter: Letter | str | None) -> list[Letter]:
        chosen = [each for each in self._dead if letter is None or each is letter or each.id == letter]
        if letter is not None and not chosen:
            raise EngineError(f"there is no dead letter {letter!r}")
        self._dead[:] = [each for each in self._dead if each not in chosen]
        return chosen


# -- who delivers


def register(
    store: str, name: str, fn: Callable[[Any], Any], retry: Retry | None, timeout: float | None = None
) -> None:
    """Have `fn` called with what is posted to a name, in this process."""
    if not callable(fn):
        raise TypeError(f"engine.deliver(name, fn) needs a function, got {fn!r}")
    _check_name(name)
    _check_timeout("engine.deliver()", timeout)
    with _lock:
        _deliverers.setdefault(store, {})[name] = Deliverer(fn, retry, timeout)


def _check_name(name: str) -> None:
    if ":" in name:
        raise ValueError(f"the name of a destination has no colon, got {name!r}: functions of modules have one")


def _check_timeout(where: str, timeout: Any) -> None:
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if timeout is not None and not (is_number and timeout > 0):
        raise ValueError(f"{where}: timeout must be more than 0 seconds, math.inf for no limit, not {timeout!r}")


def registered(store: str, name: str) -> Deliverer | None:
    """Tell who delivers to a name; None: nobody."""
    return _deliverers.get(store, {}).get(name)


def unregister(store: str) -> None:
    """Forget who delivers what a store posts."""
    with _lock:
        _deliverers.pop(store, None)


def hand_over(store: str, to: Destination, id: str, payload: Any) -> Awaitable[None] | None:
    """Deliver a letter: the step; what the function gives back is of no interest."""
    if isinstance(to, str):
        known = registered(store, to)
        if known is None:
            raise NobodyDelivers(to)
        to = known.fn
    given = call_with_key(id, functools.partial(to, payload))
    return _dropped(given) if inspect.isawaitable(given) else None


async def _dropped(given: Awaitable[Any]) -> None:
    await given


def _name_of_function(fn: Any) -> str:
    """Name a function of a module.

    Raises:
        TypeError: it is none, so that another process would not find it by this name.
    """
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    if isinstance(module, str) and isinstance(name, str):
        address = f"{module}:{name}"
        try:
            if functools.reduce(getattr, name.split("."), sys.modules[module]) == fn:
                return address
        except (AttributeError, KeyError):
            pass
    raise TypeError(
        f"a letter goes to a function of a module, or to a name that engine.deliver(name, fn) knows, not to {fn!r}"
    )
