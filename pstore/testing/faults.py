"""A disk that fails: what a file's store does when the n-th thing that it asks of the system goes wrong.

    with Faults(folder, at=3) as faults:
        ...                      # the third write, fsync, truncation, rename or removal below `folder` fails
    assert faults.hit            # else there were fewer: `faults.seen`

Owned here: the list of what can fail, `OPERATIONS`, each as near to the system call as Python lets it be put: the
functions of `os` that change files, and what ZODB's packer writes through Python's own files.  Reading does not fail,
nor does what happens elsewhere than below the folder.  One at a time per process: it replaces functions of `os`.

    for at in count(1):
        with Faults(folder, at) as faults:
            ...
        if not faults.hit:
            break
"""

from __future__ import annotations

import errno
import importlib
import io
import os
from collections.abc import Callable
from types import TracebackType
from typing import Any

__all__ = ["OPERATIONS", "Faults"]

_BY_DESCRIPTOR = ("pwrite", "write", "fsync", "fdatasync", "ftruncate")
_BY_NAME = ("replace", "rename", "remove", "unlink")
OPERATIONS = (*_BY_DESCRIPTOR, *_BY_NAME, "open")

# the modules of ZODB that write through files of Python's
_WRITERS = ("ZODB.FileStorage.fspack", "ZODB.FileStorage.FileStorage", "ZODB.fsIndex")


class Faults:
    """A context manager, inside which what changes files below a folder fails.

    Args:
        folder: where.
        at: which operation fails, from 1 on; 0: none, they are only listed.
        for_ever: whether all after it fail as well.
        partial: whether a write that fails has written half of its bytes.

    Attributes:
        seen: the operations so far, as ``"pwrite graph.fs"``.
        hit: the first that failed; empty if none did.
    """

    def __init__(
        self, folder: str | os.PathLike[str], at: int = 0, *, for_ever: bool = False, partial: bool = False
    ) -> None:
        self.folder = os.path.realpath(folder) + os.sep
        self.at, self.for_ever, self.partial = at, for_ever, partial
        self.seen: list[str] = []
        self.hit = ""
        self._undo: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> Faults:
        for name in _BY_DESCRIPTOR:
            self._put(os, name, self._of_descriptor(name, getattr(os, name)))
        for name in _BY_NAME:
            self._put(os, name, self._of_name(name, getattr(os, name)))
        self._put(os, "open", self._of_open(os.open))
        for module in _WRITERS:
            self._put(importlib.import_module(module), "open", self._of_file())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        while self._undo:
            owner, name, old = self._undo.pop()
            if old is None:
                delattr(owner, name)
            else:
                setattr(owner, name, old)

    def _put(self, owner: Any, name: str, new: Any) -> None:
        self._undo.append((owner, name, vars(owner).get(name)))
        setattr(owner, name, new)

    def fails(self, operation: str, path: str) -> bool:
        """Count one operation; whether it is to fail."""
        path = os.path.realpath(path)
        if not (path + os.sep).startswith(self.folder):
            return False
        self.seen.append(f"{operation} {path.removeprefix(self.folder)}")
        if not self.at or len(self.seen) < self.at or (self.hit and not self.for_ever):
            return False
        self.hit = self.hit or self.seen[-1]
        return True

    def _path_of(self, descriptor: int) -> str:
        """The path of an open file, if it is the folder or in it; without /proc, which not every container has."""
        this = os.fstat(descriptor)
        if os.path.isdir(self.folder):
            for path in (self.folder, *(entry.path for entry in os.scandir(self.folder))):
                if os.path.exists(path) and os.path.samestat(os.stat(path), this):
                    return path
        return ""

    # -- what takes the place of the functions

    def _of_descriptor(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(descriptor: int, *arguments: Any) -> Any:
            if self.fails(name, self._path_of(descriptor)):
                if self.partial and name in ("pwrite", "write"):
                    function(descriptor, memoryview(arguments[0])[: len(arguments[0]) // 2], *arguments[1:])
                raise _error(name)
            return function(descriptor, *arguments)

        return wrapped

    def _of_name(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(path: Any, *arguments: Any, **options: Any) -> Any:
            if isinstance(path, str | os.PathLike) and self.fails(name, os.fspath(path)):
                raise _error(name)
            return function(path, *arguments, **options)

        return wrapped

    def _of_open(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(path: Any, flags: int, *arguments: Any, **options: Any) -> Any:
            if flags & os.O_CREAT and isinstance(path, str | os.PathLike) and self.fails("open", os.fspath(path)):
                raise _error("open")
            return function(path, flags, *arguments, **options)

        return wrapped

    def _of_file(self) -> Callable[..., Any]:
        faults = self

        class File(io.FileIO):
            def write(self, data: Any) -> int:
                if faults.fails("write", str(self.name)):
                    if faults.partial:
                        super().write(memoryview(data).cast("B")[: len(memoryview(data).cast("B")) // 2])
                    raise _error("write")
                return super().write(data)

            def truncate(self, size: int | None = None) -> int:
                if faults.fails("ftruncate", str(self.name)):
                    raise _error("ftruncate")
                return super().truncate(size)

        def opened(path: Any, mode: str = "r", buffering: int = -1, **options: Any) -> Any:
            if "b" not in mode or mode in ("rb", "br") or not isinstance(path, str | os.PathLike):
                return open(path, mode, buffering, **options)
            raw = File(path, mode.replace("b", ""))
            if buffering == 0:
                return raw
            return io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)

        return opened


def _error(operation: str) -> OSError:
    number = errno.ENOSPC if operation in ("write", "pwrite", "open") else errno.EIO
    return OSError(number, os.strerror(number))
