"""The roots of pstore's exceptions, and those about an engine and what passes between it and its host (layer 0).

Public as `pstore.errors`, which is where the others are, and their module as far as anybody is told; here as one file
would be too long.
"""

from __future__ import annotations

__all__ = [
    "EngineClosed",
    "EngineError",
    "EngineInterrupted",
    "EngineStopped",
    "NobodyDelivers",
    "NotAcknowledged",
    "NotInEngine",
    "PstoreError",
    "QueryChanged",
    "RunFailed",
    "TaskCancelled",
    "TaskDone",
]


class PstoreError(Exception):
    """Base of all errors of pstore."""

    __module__ = "pstore.errors"

    retryable = False


class EngineError(PstoreError):
    """The durable loop was used in a way that it cannot serve."""

    __module__ = "pstore.errors"


class EngineClosed(EngineError):
    """The engine was closed before; open the store again."""

    __module__ = "pstore.errors"


class EngineStopped(EngineError):
    """`stop` ended a run before the task that it was to wait for was done; the task goes on in the next run."""

    __module__ = "pstore.errors"


class EngineInterrupted(EngineError):
    """KeyboardInterrupt or SystemExit went through the code of a task, so memory no longer is what a commit may keep.

    Or a parked task, to which something happened, could not be brought back: the `__cause__` tells why.  The last
    commit is intact: close the engine and open the store again to go on from it.
    """

    __module__ = "pstore.errors"


class RunFailed(EngineError):
    """The run of the engine ended with an error, the `__cause__`, before what was asked was known to be committed.

    What was asked is not taken back: it has happened if the engine has committed it, and otherwise happens in its next
    run, unless the engine is closed before.  So ask again: a message is taken once under its id.
    """

    __module__ = "pstore.errors"


class NotInEngine(EngineError):
    """Something that only a task of an engine can do was called elsewhere."""

    __module__ = "pstore.errors"


class TaskDone(EngineError):
    """A message was sent to a task that is done: nobody will receive it.

    Attributes:
        task_id: the id.
    """

    __module__ = "pstore.errors"

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id)
        self.task_id = task_id

    def __str__(self) -> str:
        return f"task {self.task_id!r} is done, so it receives no more messages"


class TaskCancelled(EngineError):
    """The task that was waited for was cancelled.

    Not an asyncio.CancelledError, which would look as if whoever waits were cancelled.

    Attributes:
        task_id: the id.
    """

    __module__ = "pstore.errors"

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id)
        self.task_id = task_id

    def __str__(self) -> str:
        return f"task {self.task_id!r} was cancelled"


class NotAcknowledged(EngineError):
    """A message to the program of another process was not acknowledged; it may have been committed all the same.

    Send it again under the same id: the program takes it once.

    Attributes:
        path: of the socket.
        reason: what went wrong.
    """

    __module__ = "pstore.errors"

    retryable = True

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: the message was not acknowledged: {self.reason}"


class NobodyDelivers(EngineError):
    """A letter is to go to a name to which this process does not deliver; it waits.

    Attributes:
        destination: the name.
    """

    __module__ = "pstore.errors"

    def __init__(self, destination: str) -> None:
        super().__init__(destination)
        self.destination = destination

    def __str__(self) -> str:
        name = repr(self.destination)
        return f"nobody delivers to {name}; call engine.deliver({name}, fn) before engine.run()"


class QueryChanged(EngineError):
    """A query function changed something, where it should only look (noticed in debug mode).

    Attributes:
        task_id, name: of the query.
    """

    __module__ = "pstore.errors"

    def __init__(self, task_id: str, name: str) -> None:
        super().__init__(task_id, name)
        self.task_id, self.name = task_id, name

    def __str__(self) -> str:
        return f"the query {self.name!r} of task {self.task_id!r} has changed what it should only look at"
