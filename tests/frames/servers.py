# ruff: noqa: BLE001 - whatever the library raises is a finding, not an end
"""The two kinds of child process: one takes programs to their points and dumps them, one loads and goes on.

A server imports the corpus once and forks for everything it is asked, so no run sees what another one left behind.
The forks of a loading server start from a process that was exec'd afresh with another hash seed and never ran a case.
"""

from __future__ import annotations

import contextlib
import gc
import marshal
import os
import signal
import struct
import sys
import warnings
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, BinaryIO

from tests.frames import kit
from tests.frames.adapters import Adapter, adapter
from tests.frames.driving import LIMIT, finish, go_on, step, value_for

SECONDS = 20
Reply = dict[str, Any]


def write_message(stream: BinaryIO, message: Any) -> None:
    """One marshalled message behind its length."""
    data = marshal.dumps(message)
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def read_message(stream: BinaryIO) -> Any:
    """The next message; EOFError when the other side is gone."""
    head = stream.read(8)
    if len(head) < 8:
        raise EOFError
    return marshal.loads(stream.read(struct.unpack("<Q", head)[0]))


def failure(stage: str, error: BaseException) -> Reply:
    """An error of the implementation, cut to a readable length."""
    return {"err": f"{stage}: {type(error).__name__}: {str(error)[:300]}"}


def _child(work: Callable[[], Reply], out: int, seconds: int) -> None:
    try:
        signal.alarm(seconds)
        try:
            reply = work()
        except BaseException as error:
            reply = failure("run", error)
        with open(out, "wb") as stream:
            stream.write(marshal.dumps(reply))
    finally:
        os._exit(0)


def in_fork(work: Callable[[], Reply], seconds: int = SECONDS) -> Reply:
    """What work() returns in a forked child, or {"err": ...} when the child died."""
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(source)
        _child(work, sink, seconds)
    os.close(sink)
    with open(source, "rb") as stream:
        data = stream.read()
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return {"err": f"crash: {signal.Signals(os.WTERMSIG(status)).name}", "crash": True}
    return marshal.loads(data) if data else {"err": "run: nothing written"}


def ended(root: list[Any]) -> Reply:
    """The log; then the root is let go of, so that a wrong reference count shows as a crash of this fork."""
    out = {"log": list(kit.LOG)}
    kit.mute(True)
    root.clear()
    gc.collect()
    return out


# ------------------------------------------------------------------ dumping side


def _dump(lib: Adapter, root: Any, k: int, unsent: bool, orig: bool) -> Reply:
    """Capture at k; with orig, go on afterwards with the original, which must not have noticed."""
    try:
        out: Reply = {"data": lib.dump(root)}
    except BaseException as error:
        return failure("dump", error)
    if orig:
        finish(root, k, unsent)
        out["orig"] = list(kit.LOG)
    return out


def modes_at(k: int, modes: list[str], turn: int | None) -> list[str]:
    """Of the modes those that are examined at a point: all, unless only a part has its turn.

    Then a point is left by throwing or by closing, the next point and the next turn the other way round, and each third
    one by a run to the end as well: hops go on from every point anyhow.
    """
    if turn is None:
        return modes
    left_out = {("throw", "close")[(k + turn) % 2], *(["send"] if (k + turn) % 3 else [])}
    return [mode for mode in modes if mode not in left_out]


def _point(lib: Adapter, root: Any, k: int, unsent: bool, modes: list[str]) -> Reply:
    """Everything wanted of one point: what throw and close lead to when nothing is captured, and the capture."""
    out: Reply = {"prefix": len(kit.LOG)}

    def leave(mode: str) -> Reply:
        go_on(root, mode, k, unsent)
        return {"log": list(kit.LOG)}

    for mode in {"throw", "close"}.intersection(modes):
        out[mode] = in_fork(partial(leave, mode))
    out["dump"] = in_fork(lambda: _dump(lib, root, k, unsent, "orig" in modes))
    if "crash" in out["dump"] and "orig" in modes:
        crash = out["dump"]["err"]
        out["dump"] = in_fork(lambda: _dump(lib, root, k, unsent, False))
        out["dump"].setdefault("orig", crash)
    return out


def walk(lib: Adapter, name: str, modes: list[str], turn: int | None) -> Reply:
    """One uninterrupted run, with a look at every point on the way in forks of it."""
    unsent = name in kit.NO_SENDS
    root = lib.wrap(name, kit.CASES[name].make())
    points, k, alive = [], -1, True
    while alive and k <= LIMIT:
        points.append(_point(lib, root, k, unsent, modes_at(k, modes, turn)))
        alive = step(root, "send", value_for(k, unsent))
        k += 1
    return {"send": list(kit.LOG), "points": points, "unsent": unsent}


# ------------------------------------------------------------------ loading side


def resume(lib: Adapter, mode: str, k: int, unsent: bool, data: bytes) -> Reply:
    """Rebuild and leave the point in the given mode."""
    try:
        root = [lib.load(data)]
    except BaseException as error:
        return failure("load", error)
    if mode == "throw":
        gc.collect()  # what is rebuilt has to survive a collection before it runs
    if mode != "hop":
        go_on(root[0], mode, k, unsent)
        return ended(root)
    alive = step(root[0], "send", value_for(k, unsent))
    out: Reply = {"log": list(kit.LOG), "data": None}
    if alive:
        try:
            out["data"] = lib.dump(root[0])
        except BaseException as error:
            return failure("dump again", error)
    return out


def _warm_up(lib: Adapter) -> None:
    """Let the library do once, before the forks, what it does at its first call in a process."""

    def nothing() -> Generator[None, None, None]:
        yield

    with contextlib.suppress(Exception):
        lib.load(lib.dump(nothing()))


def serve(role: str, adapter_name: str, corpus: str, source: int, sink: int) -> None:
    """Answer requests until the other side closes the pipe."""
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda unraisable: None
    lib = adapter(adapter_name)
    if role != "bare":
        kit.load_corpus(corpus or None)
    elif corpus:
        sys.modules["kit"] = kit
        sys.path.insert(0, os.path.dirname(corpus))
    _warm_up(lib)
    gc.collect()
    gc.freeze()
    with open(source, "rb") as requests, open(sink, "wb") as replies:
        while True:
            try:
                request = read_message(requests)
            except EOFError:
                return
            if role == "dump":
                reply = in_fork(partial(walk, lib, *request), SECONDS * 20)
            else:
                reply = in_fork(partial(resume, lib, *request))
            write_message(replies, reply)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
