"""`pstore run URI SCRIPT`: a script that calls `asyncio.run`, unmodified, run durably."""

from __future__ import annotations

import runpy
import sys
import traceback
from pathlib import Path
from types import TracebackType

from pstore._engine.runner import durable_runners
from pstore.errors import CodeChanged, EngineError, PstoreError

__all__ = ["run"]


def run(uri: str, target: str, arguments: list[str], *, as_module: bool = False) -> int:
    """Run a script as Python would, with `asyncio.run` durable.

    Args:
        uri: the store; made if there is none, else its program goes on.
        target: path of the script.
        arguments: what the script finds in ``sys.argv[1:]``.
        as_module: `target` is the name of a module, as for ``python -m``.

    Returns:
        1 if the script raised, and its traceback was printed; else 0.

    Raises:
        SystemExit: the script's own.  PstoreError: of the store, or a value that cannot be stored.
        EngineError: there is no such script.
    """
    if not as_module and not Path(target).is_file():
        raise EngineError(f"there is no script {target}; give its path, or -m and the name of a module")
    sys.argv = [target, *arguments]
    sys.path[0] = "" if as_module else str(Path(target).absolute().parent)
    with durable_runners(uri, _tell) as program:
        try:
            if as_module:
                runpy.run_module(target, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(str(Path(target).absolute()), run_name="__main__")
        except CodeChanged as error:
            first = str(error).splitlines()[0]
            raise EngineError(f"{first}; or begin anew: with another store, or by deleting {uri}") from error
        except Exception as error:
            if isinstance(error, PstoreError) and error is not program.raised:
                raise  # of the store, not of the program
            traceback.print_exception(type(error), error, _own(error.__traceback__))
            return 1
    if not program.runs:
        _tell(f"{target} never called asyncio.run(), so nothing of it is in {uri}")
    return 0


def _tell(line: str) -> None:
    print(f"pstore: {line}", file=sys.stderr, flush=True)


def _own(tb: TracebackType | None) -> TracebackType | None:
    """Leave out what called the script."""
    entry = tb
    while entry is not None and entry.tb_frame.f_globals.get("__name__") in (__name__, "runpy"):
        entry = entry.tb_next
    return entry or tb
