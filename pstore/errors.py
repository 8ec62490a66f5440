"""Every exception that pstore raises (layer 0).

The tree answers whose fault it is and whether trying again can help:

    PstoreError
      CaptureError          something cannot be stored
        UnsupportedValue      a value; carries `path`, `type_name`, `reason`, `remedy`
        UnsupportedFrame      a frame (running, or in a state that cannot be read faithfully)
        ModuleStateError      code of a task uses mutable data in a module global (strict mode; else a warning)
      RebuildError          something stored cannot be brought back
        CodeChanged           the code of a suspended frame is not the code that it was suspended in
        CodeNotFound          the module or function that a frame or a value names is not there
        NotAllowed            the allow-list of the store does not have what a frame or a value names
        FormatError           not pstore's bytes, damaged, or of a format or a Python that is not readable here
      StoreError            the database
        NotAStore, StoreTruncated, StoreCorrupt, StoreLocked, StoreReadOnly, StoreClosed,
        StoreConflict
        UnsupportedStorage    a URI that cannot be opened
          MissingExtra          before a package is installed
        StoreUnavailable      the server cannot be reached
        StoreNotWritten       a commit could not be written; the store is as it was, and goes on
        StoreInDoubt          a commit failed after it was written: open the store again to know
        NoHistory, NoSuchState, UnknownRoot, NoCurrentStore
      EngineError           the durable loop
        EngineClosed, EngineInterrupted, EngineStopped, NotInEngine, NotOnThisLoop, TaskExists, UnknownTask, Stalled,
        StepFailed, StepResultRefused, StepKeyInUse, UnknownLimiter
        StepTimeout           also a TimeoutError
        TaskDone, TaskCancelled, NotAcknowledged, NobodyDelivers, QueryChanged, RunFailed
      PstoreBug             an invariant of pstore broke: please report it

Beside the tree: ModuleStateWarning, a UserWarning.

Rules: a message says what, where (path from the root, then file:line and the local's name), why, and what to do
instead.  The parts are attributes; the text is made in ``__str__``.  All are picklable.  `retryable` tells whether
the same call may succeed later without anything being mended.
"""

from __future__ import annotations

from typing import Any

from pstore._errors import (
    EngineClosed,
    EngineError,
    EngineInterrupted,
    EngineStopped,
    NobodyDelivers,
    NotAcknowledged,
    NotInEngine,
    PstoreError,
    QueryChanged,
    RunFailed,
    TaskCancelled,
    TaskDone,
)

__all__ = [
    "CaptureError",
    "CodeChanged",
    "CodeNotFound",
    "EngineClosed",
    "EngineError",
    "EngineInterrupted",
    "EngineStopped",
    "FormatError",
    "ModuleStateError",
    "ModuleStateWarning",
    "MissingExtra",
    "NoCurrentStore",
    "NoHistory",
    "NoSuchState",
    "NobodyDelivers",
    "NotAStore",
    "NotAcknowledged",
    "NotAllowed",
    "NotInEngine",
    "NotOnThisLoop",
    "PstoreBug",
    "PstoreError",
    "QueryChanged",
    "RebuildError",
    "RunFailed",
    "Stalled",
    "StepFailed",
    "StepKeyInUse",
    "StepResultRefused",
    "StepTimeout",
    "StoreClosed",
    "StoreConflict",
    "StoreCorrupt",
    "StoreError",
    "StoreInDoubt",
    "StoreLocked",
    "StoreNotWritten",
    "StoreReadOnly",
    "StoreTruncated",
    "StoreUnavailable",
    "TaskCancelled",
    "TaskDone",
    "TaskExists",
    "UnknownLimiter",
    "UnknownRoot",
    "UnknownTask",
    "UnsupportedFrame",
    "UnsupportedStorage",
    "UnsupportedValue",
]


class CaptureError(PstoreError):
    """Something cannot be stored faithfully, so nothing was stored (invariant I4)."""


class UnsupportedValue(CaptureError):
    """A value cannot be stored.

    Attributes:
        path: where it is, from the root: ``root['orders'][3].worker -> ship() at shop.py:41, local 'sock'``.
            Empty until the path is known.
        type_name: qualified name of the value's type.
        reason: why it cannot be stored.
        remedy: what to do instead; may be empty.
    """

    def __init__(self, type_name: str, reason: str, remedy: str = "", path: str = "") -> None:
        super().__init__(type_name, reason, remedy, path)
        self.type_name, self.reason, self.remedy, self.path = type_name, reason, remedy, path

    def __str__(self) -> str:
        where = f" at {self.path}" if self.path else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"cannot store {self.type_name}{where}: {self.reason}{remedy}"


class UnsupportedFrame(UnsupportedValue):
    """A generator, coroutine or async generator cannot be stored in the state that it is in."""


def _module_state(module: str, name: str, kind: str, place: str, remedy: str) -> str:
    return (
        f"{place} uses the global {name} of module {module}, {kind}; module globals are code, not state: "
        f"they are never stored, and what is in it will be gone after a restart; {remedy}"
    )


class ModuleStateError(CaptureError):
    """Code of a task uses mutable data in a module global, which is never stored (strict mode).

    Attributes:
        module, name: where the global is.
        kind: what it holds.
        place: ``function() at file:line`` where it is used.
        remedy: what to do instead.
    """

    def __init__(self, module: str, name: str, kind: str, place: str, remedy: str) -> None:
        super().__init__(module, name, kind, place, remedy)
        self.module, self.name, self.kind, self.place, self.remedy = module, name, kind, place, remedy

    def __str__(self) -> str:
        return _module_state(self.module, self.name, self.kind, self.place, self.remedy)


class ModuleStateWarning(UserWarning):
    """The same as a warning; it has the same attributes."""

    def __init__(self, module: str, name: str, kind: str, place: str, remedy: str) -> None:
        super().__init__(module, name, kind, place, remedy)
        self.module, self.name, self.kind, self.place, self.remedy = module, name, kind, place, remedy

    def __str__(self) -> str:
        return _module_state(self.module, self.name, self.kind, self.place, self.remedy)


class RebuildError(PstoreError):
    """Stored state cannot be brought back here; the stored bytes are untouched."""


class CodeChanged(RebuildError):
    """A function is no longer the code in which a stored frame of it is suspended (invariant I8).

    Attributes:
        name: ``module:qualified name`` of the function.
        what: what differs: ``bytecode``, ``constants``, ``names``, ...
        diff: unified diff from the stored source to the present one; empty where either is not to be had.
    """

    def __init__(self, name: str, what: str, diff: str = "") -> None:
        super().__init__(name, what, diff)
        self.name, self.what, self.diff = name, what, diff

    def __str__(self) -> str:
        text = (
            f"the code of {self.name} has changed ({self.what}) since a frame of it was suspended; "
            "bring back the code as it was, or let the tasks that are suspended in it end first"
        )
        return f"{text}\n{self.diff}" if self.diff else text


class CodeNotFound(RebuildError):
    """A module, class or function that stored state refers to is not to be found in this process.

    Attributes:
        name: ``module:qualified name``, or ``module NAME`` when it is the module that is missing.
        reason: what was found instead.
        present: where the same code was found under another name, as ``module:qualified name``; may be empty.
    """

    def __init__(self, name: str, reason: str, present: str = "") -> None:
        super().__init__(name, reason, present)
        self.name, self.reason, self.present = name, reason, present

    def __str__(self) -> str:
        old = self.name.removeprefix("module ")
        new = self.present or ("new_module" if old != self.name else "new_module:NewName")
        here = f"; {self.present} has that very code" if self.present else ""
        return (
            f"cannot find {self.name}: {self.reason}{here}; make it importable under that name again, or say what it "
            f'is called now: renames={{"{old}": "{new}"}}, an argument of Store, open and loads'
        )


class NotAllowed(RebuildError):
    """Stored state names something that the allow-list does not have.  It was not imported, called or resumed.

    Attributes:
        name: ``module:qualified name``, or ``module NAME``.
        reason: why the list does not cover it.
        entry: what to add to the list.
    """

    def __init__(self, name: str, reason: str, entry: str) -> None:
        super().__init__(name, reason, entry)
        self.name, self.reason, self.entry = name, reason, entry

    def __str__(self) -> str:
        text = f"{self.name} is not allowed: {self.reason}"
        return f"{text}; if you trust it, add {self.entry!r} to allow" if self.entry else text


class FormatError(RebuildError):
    """Bytes that are not pstore's, are damaged, or were written by a format or Python that cannot be read here."""


class StoreError(PstoreError):
    """The database refused or is not one.

    Attributes:
        store: path or URI of the database; may be empty.
        reason: what is wrong with it.
    """

    def __init__(self, store: str = "", reason: str = "") -> None:
        super().__init__(store, reason)
        self.store, self.reason = store, reason

    def __str__(self) -> str:
        return f"{self.store}: {self.reason}" if self.store else self.reason


class NotAStore(StoreError):
    """There is something else, or nothing, where a database of pstore should be.  It was not touched."""

    def __str__(self) -> str:
        return f"{self.store} is not a store: {self.reason}"


class UnsupportedStorage(StoreError):
    """The URI names a kind of storage, or a way to open it, that there is not."""

    def __str__(self) -> str:
        return (
            f"{self.store}: {self.reason}; use the path of a file, 'memory:', 'sqlite:', 'postgresql:', 'mysql:', "
            "'zeo:', or hand over an open ZODB storage"
        )


class MissingExtra(UnsupportedStorage):
    """A package that a kind of storage needs is not installed.

    Attributes:
        extra: name of the extra of pstore's that brings it.
    """

    def __init__(self, store: str, package: str, extra: str) -> None:
        super().__init__(store, f"it needs {package}, which is not installed")
        self.args = (store, package, extra)
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.store}: {self.reason}; run: pip install 'pstore[{self.extra}]'"


class StoreUnavailable(StoreError):
    """The server of the store cannot be reached, or ended the connection.  Trying again may help."""

    retryable = True

    def __str__(self) -> str:
        return f"{self.store} cannot be reached: {self.reason}"


class StoreTruncated(StoreError):
    """A part of a finished transaction is missing at the end of the file.  It was not touched.

    Attributes:
        size: present length of the file in bytes.
    """

    def __init__(self, store: str, size: int) -> None:
        super().__init__(store, f"the file ends at byte {size:,}, in the middle of a finished transaction")
        self.args = (store, size)
        self.size = size

    def __str__(self) -> str:
        return (
            f"{self.store} is truncated: {self.reason}; bring back a backup, or, to go on from the transaction before "
            "it, run fsrecover of ZODB on a copy"
        )


class StoreCorrupt(StoreError):
    """The stored bytes are not what was once written.  They were not touched."""

    def __str__(self) -> str:
        return f"{self.store} is damaged: {self.reason}; bring back a backup"


class StoreNotWritten(StoreError):
    """A commit could not be written, a full disk for instance.  Nothing of it is stored; trying again may help."""

    retryable = True

    def __str__(self) -> str:
        return f"{self.store} could not be written ({self.reason}); nothing was committed, persist again when it can be"


class StoreInDoubt(StoreError):
    """A commit failed after it was written, so it is not known whether it would outlive a power cut.

    The store takes no more commits: close it and open it again; what it has then is stored.
    """

    def __str__(self) -> str:
        return f"{self.store}: {self.reason}; whether the last commit is stored shows when the store is opened again"


class NoHistory(StoreError):
    """The storage keeps only the present."""


class NoSuchState(StoreError):
    """There is no state at the time or transaction that was asked for."""


class StoreLocked(StoreError):
    """The store is open already.  Trying again may help, unless it is this process that has it open.

    Attributes:
        own: whether this process has it open.
    """

    def __init__(self, store: str, own: bool = False) -> None:
        who, remedy = ("this", "close that Store or Engine, or use it,") if own else ("another", "end that first,")
        super().__init__(store, f"{who} process has it open; {remedy} or open it read-only to look at it")
        self.args = (store, own)
        self.own, self.retryable = own, not own


class StoreConflict(StoreError):
    """Another process has changed the store since this one opened it.  Nothing was committed.

    What is in memory here is older than what is stored: open the store again, and do the work once more.
    """

    def __init__(self, store: str) -> None:
        super().__init__(store, "another process has changed it meanwhile, so nothing was committed; open it again")
        self.args = (store,)


class UnknownRoot(StoreError, LookupError):
    """There is no root of that name or type, or there are several of that type.

    Attributes:
        what: what was asked for.
        known: names that there are.
    """

    def __init__(self, what: str, known: tuple[str, ...] = ()) -> None:
        super().__init__("", what)
        self.args = (what, known)
        self.what, self.known = what, known

    def __str__(self) -> str:
        known = ", ".join(map(repr, self.known[:10])) + (", ..." if len(self.known) > 10 else "")
        return f"the store cannot resolve {self.what}; named roots: {known or 'none'}"


class NoCurrentStore(StoreError):
    """`pstore.attach` or `pstore.persist` was called outside of a ``with`` block of a store, before any `load`."""

    def __init__(self, verb: str) -> None:
        super().__init__("", verb)
        self.args = (verb,)

    def __str__(self) -> str:
        return f"there is no store to {self.reason} to: write `with pstore.Store(uri):` around it, or pstore.load(uri)"


class StoreReadOnly(StoreError):
    """The store was opened to be looked at only."""

    def __init__(self, store: str) -> None:
        super().__init__(store, "it was opened read-only, so nothing can be committed to it")
        self.args = (store,)


class StoreClosed(StoreError):
    """The store was closed before."""

    def __init__(self, store: str) -> None:
        super().__init__(store, "the store is closed; open it again")
        self.args = (store,)


class NotOnThisLoop(EngineError, NotImplementedError):
    """A method of the event loop needs what does not outlive the process: sockets, pipes, processes, signals.

    Attributes:
        method: name of the method.
        remedy: what to do instead.
        reason: why the loop does not have it.
    """

    def __init__(self, method: str, remedy: str = "", reason: str = "") -> None:
        super().__init__(method, remedy, reason)
        self.method = method
        self.remedy = remedy or "do the input and output in a function and await pstore.step(function, ...)"
        self.reason = reason or "what it makes cannot outlive the process"

    def __str__(self) -> str:
        return f"the durable loop has no {self.method}(): {self.reason}; {self.remedy}"


class TaskExists(EngineError):
    """A task with that id is there already.

    Attributes:
        task_id: the id.
    """

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id)
        self.task_id = task_id

    def __str__(self) -> str:
        return f"there is a task {self.task_id!r} already; choose another id, or use spawn_once to get that task"


class UnknownTask(EngineError):
    """There is no task of that id.

    Attributes:
        task_id: the id that was asked for.
        known: some ids that there are.
    """

    def __init__(self, task_id: str, known: tuple[str, ...] = ()) -> None:
        super().__init__(task_id, known)
        self.task_id, self.known = task_id, known

    def __str__(self) -> str:
        known = ", ".join(self.known[:10]) + (", ..." if len(self.known) > 10 else "")
        return f"there is no task {self.task_id!r}; " + (f"there are: {known}" if known else "there are no tasks")


class Stalled(EngineError):
    """The awaited task can never be done: nothing is ready, no timer is set and no step is running.

    Attributes:
        waiting: one line per waiting task: its id and where it stands.
    """

    def __init__(self, target: str, waiting: tuple[str, ...]) -> None:
        super().__init__(target, waiting)
        self.target, self.waiting = target, waiting

    def __str__(self) -> str:
        lines = "".join(f"\n  {line}" for line in self.waiting) or " none"
        return (
            f"{self.target} can never be done: nothing is ready, no timer is set, no step is running. Waiting:{lines}\n"
            "If another thread will call engine.call_soon_threadsafe, use engine.run(until, forever=True)"
        )


class StepFailed(EngineError):
    """A step ended with what would end more than the step: SystemExit, KeyboardInterrupt, a cancellation of its own.

    Attributes:
        step: key of the step.
        reason: what it ended with; also the `__cause__`.
    """

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(step, reason)
        self.step, self.reason = step, reason

    def __str__(self) -> str:
        return f"step {self.step} ended with {self.reason}; raise an ordinary exception from a step"


class StepResultRefused(EngineError):
    """What a step gave back cannot be stored.  The step did run; it is not run again.

    Attributes:
        step: name and key of the step.
        reason: text of the CaptureError.
    """

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(step, reason)
        self.step, self.reason = step, reason

    def __str__(self) -> str:
        return f"the result of step {self.step} cannot be stored: {self.reason}; return plain data from the step"


class StepTimeout(EngineError, TimeoutError):
    """A step, or an attempt of it, took too long.  What it may still give is dropped.

    Attributes:
        step: name and key of the step.
        kind: which of its limits it was: ``"timeout"`` or ``"heartbeat"`` of an attempt, ``"deadline"`` of all.
        seconds: what that is.
        last: the exception of the last attempt that failed before; may be empty.
    """

    def __init__(self, step: str, kind: str, seconds: float, last: str = "") -> None:
        super().__init__()
        self.args = (step, kind, seconds, last)
        self.step, self.kind, self.seconds, self.last = step, kind, seconds, last

    @property
    def what(self) -> str:
        """Tell what took too long."""
        return {
            "timeout": f"an attempt took more than timeout={self.seconds:g} s and was given up",
            "heartbeat": f"an attempt gave no pstore.heartbeat() for heartbeat={self.seconds:g} s and was given up",
            "deadline": f"it was not done within the deadline={self.seconds:g} s of its Retry",
        }[self.kind]

    def __str__(self) -> str:
        last = f"; the attempt before failed with {self.last}" if self.last else ""
        return f"step {self.step}: {self.what}{last}; give it longer, or let its function end sooner"


class StepKeyInUse(EngineError):
    """A step was asked for under a key that a step which is not done has.  The new one was not started.

    Attributes:
        key: the key.
        step, pending: names of the functions of the new step, and of the one that is pending.
    """

    def __init__(self, key: str, step: str, pending: str) -> None:
        super().__init__(key, step, pending)
        self.key, self.step, self.pending = key, step, pending

    def __str__(self) -> str:
        return (
            f"step {self.step} was not started: step {self.pending} with the same key={self.key!r} is not done, and "
            "the other side would take them for one; give each effect a key of its own, or share one task and await it"
        )


class UnknownLimiter(EngineError):
    """A step names a limiter that is not declared in this process, and that its store has never seen.

    Attributes:
        name, known: name that was given, and those that there are.
    """

    def __init__(self, name: str, known: tuple[str, ...] = ()) -> None:
        super().__init__(name, known)
        self.name, self.known = name, known

    def __str__(self) -> str:
        known = ", ".join(map(repr, self.known[:10])) + (", ..." if len(self.known) > 10 else "")
        return (
            f"there is no limiter {self.name!r}; there are: {known or 'none'}; write "
            f"pstore.Limiter({self.name!r}, concurrency=...) in a module that is imported before the step is asked for"
        )


class PstoreBug(PstoreError):
    """An invariant of pstore itself broke.  Please report it, with the message."""

    def __init__(self, message: str, *details: Any) -> None:
        super().__init__(message, *details)
