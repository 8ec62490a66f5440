"""Opening a store to look at it, without running the program that is in it.

To show a frame its function is needed, so the module of the function is imported.  A script often runs its program
when it is imported: without ``if __name__ == "__main__":`` it opens the store and starts to work.  While we look

- opening any store other than read-only, and `asyncio.run`, stop the import at that place; what the module has defined
  up to there is used (`_Tolerant`); so does any other error of a module of the user's, and `sys.exit`;
- what an import prints is dropped;
- modules are looked for in the current folder and in that of the store too.

Rule: nothing is written, neither to the store nor beside it.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import io
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from pstore._engine.runner import in_place_of_runner
from pstore._store import store as store_module
from pstore._store.storages import open_storage
from pstore._store.store import Store
from pstore.errors import CodeNotFound, PstoreError, StoreError
from pstore.tools.inspect import load, look

__all__ = ["looking", "opened"]


class _WouldRun(BaseException):
    """A module that is being imported begins to run its program; not an Exception, so that it gets out."""


@contextlib.contextmanager
def opened(uri: str) -> Iterator[Store]:
    """Open a store read-only, as `pstore.tools.inspect.look` does, and close it afterwards.

    Raises:
        CodeNotFound: a module of the program is not to be found; names it, and where it was looked for.
        Other errors: see `pstore.Store`.
    """
    with looking(uri) as stopped:
        try:
            store = look(uri)
            try:
                load(store)
            except BaseException:
                store.close()
                raise
        except CodeNotFound as error:
            raise _explained(error, stopped) from error
        except (PstoreError, OSError):
            raise
        except Exception as error:  # a class of the user's may raise anything when it is loaded
            raise StoreError(uri, f"its program cannot be brought back ({type(error).__name__}: {error})") from error
    with store:
        yield store


@contextlib.contextmanager
def looking(uri: str) -> Iterator[dict[str, str]]:
    """Have imports run no program; gives a dict: name of a module whose import was stopped -> why."""
    tolerant, names = _Tolerant(), vars(store_module)
    bytecode, path, finders = sys.dont_write_bytecode, sys.path[:], sys.meta_path[:]
    sys.dont_write_bytecode = True
    sys.path[:] = [os.getcwd(), *(entry for entry in path if entry), str(_folder(uri))]
    sys.meta_path.insert(0, tolerant)
    names["open_storage"] = _open_read_only
    try:
        with in_place_of_runner(_no_runner), _silence():
            yield tolerant.stopped
    finally:
        names["open_storage"] = open_storage
        sys.meta_path[:], sys.path[:], sys.dont_write_bytecode = finders, path, bytecode


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _folder(uri: str) -> Path:
    return Path(uri.removeprefix("file:")).absolute().parent


def _open_read_only(uri: Any, *, read_only: bool = False, **_: Any) -> Any:
    if not read_only:
        raise _WouldRun("it opens a store when it is imported")
    return open_storage(uri, read_only=True)


def _no_runner(**_: Any) -> Any:
    raise _WouldRun("it runs an event loop when it is imported")


def _explained(error: CodeNotFound, stopped: dict[str, str]) -> CodeNotFound:
    """Say where was looked, and whether the import of a module was stopped before it defined what is missing."""
    if error.name.startswith("module "):
        reason = f"{error.reason} (looked in the current folder, in that of the store and on PYTHONPATH)"
    else:
        module = error.name.partition(":")[0]
        why = stopped.get(module)
        reason = f"{error.reason}; its import ended early, as {why}" if why else error.reason
    return CodeNotFound(error.name, reason)


class _Tolerant(importlib.abc.MetaPathFinder):
    """Finds modules as usual; those that are neither Python's nor installed may end their import early."""

    def __init__(self) -> None:
        self.stopped: dict[str, str] = {}
        self._installed = tuple(
            sysconfig.get_path(kind) + os.sep for kind in ("stdlib", "platstdlib", "purelib", "platlib")
        )

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Give the usual spec, with a loader that keeps what a module has defined when it stops."""
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is importlib.machinery.SourceFileLoader and spec.origin:
            if not os.path.abspath(spec.origin).startswith(self._installed):
                spec.loader = _Loader(spec.loader, self.stopped)
            return spec
        return None


class _Loader(importlib.abc.Loader):
    def __init__(self, usual: importlib.machinery.SourceFileLoader, stopped: dict[str, str]) -> None:
        self._usual, self._stopped = usual, stopped

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._usual
        if module.__spec__ is not None:
            module.__spec__.loader = self._usual
        try:
            self._usual.exec_module(module)
        except ImportError:
            raise
        except (_WouldRun, SystemExit, Exception) as error:  # a script may do anything
            self._stopped[module.__name__] = str(error) or type(error).__name__
