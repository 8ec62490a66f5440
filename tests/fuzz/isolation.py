"""Runs a function in a forked child, so that a crash or an endless loop of one program is that program's alone."""

import os
import pickle
import signal
import sys
import warnings

SECONDS = 30


class Crash(Exception):
    """The child died, or took too long."""


def isolated(function, *args):
    """What function(*args) returns, computed in a fork."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _child(writer, function, args)
    os.close(writer)
    with os.fdopen(reader, "rb") as f:
        data = f.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        raise Crash(signal.Signals(os.WTERMSIG(status)).name)
    if not data:
        raise Crash(f"exit {os.waitstatus_to_exitcode(status)}, no result")
    ok, result = pickle.loads(data)
    if not ok:
        raise Crash(result)
    return result


def _child(writer, function, args):
    try:
        signal.alarm(SECONDS)
        sys.unraisablehook = lambda *_: None
        try:
            result = True, function(*args)
        except Exception as e:
            result = False, f"{type(e).__name__}: {e}"
        with os.fdopen(writer, "wb") as f:
            f.write(pickle.dumps(result))
    finally:
        os._exit(0)
