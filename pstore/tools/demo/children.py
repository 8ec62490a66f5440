"""Child processes of the demos: they tell what they do as lines of JSON on stdout, until they are killed.

Rules: a child is in a session of its own, so that Ctrl-C reaches the parent only, which ends the child; a child whose
parent is gone ends by itself, as its stdin is closed then.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pstore
from pstore.errors import PstoreError
from pstore.tools.demo import DemoFailed

__all__ = ["PATIENCE", "Child", "Event", "live", "tell"]

Event = dict[str, Any]

# A child that tells nothing for so long hangs. Seconds.
PATIENCE = 60.0


class Child:
    """A running child process; a context manager that kills it at the end.

    Args:
        role: which child, see ``__main__``.
        arguments: its arguments.
        env: further environment variables.

    Attributes:
        started: when, seconds as of `time.monotonic`.
    """

    def __init__(self, role: str, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pstore.tools.demo", role, *arguments],
            env=_environment(env or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._complaints: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_events, daemon=True),
            threading.Thread(target=self._read_complaints, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def event(self, timeout: float = PATIENCE) -> Event | None:
        """Wait for the next event; None: the child has ended, or was killed, and has told all.

        Raises:
            TimeoutError: none came in `timeout` seconds.
        """
        try:
            event = self._events.get(timeout=max(0.0, timeout))
        except queue.Empty:
            raise TimeoutError from None
        if event is None:
            self._events.put(None)
        return event

    def events(self) -> Iterator[Event]:
        """Give all events up to the end of the child.

        Raises:
            DemoFailed: the child hangs.
        """
        while True:
            try:
                event = self.event()
            except TimeoutError:
                raise DemoFailed(f"a child process told nothing for {PATIENCE:.0f} seconds") from None
            if event is None:
                return
            yield event

    def kill(self) -> None:
        """Kill it with SIGKILL and wait until it is gone; what it had told is still to be read with `event`."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def check(self) -> None:
        """Wait for the end of a child that ends by itself.

        Raises:
            DemoFailed: it failed; has what it complained of last.
        """
        code = self._process.wait()
        for reader in self._readers:
            reader.join()
        if code:
            last = self._complaints[-1] if self._complaints else f"a child process ended with code {code}"
            raise DemoFailed(last)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()
        for reader in self._readers:
            reader.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _read_events(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # The last line of a child that was killed may be cut.
            with contextlib.suppress(ValueError):
                self._events.put(json.loads(line))
        self._events.put(None)

    def _read_complaints(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            text = line.decode(errors="replace").strip()
            if text:
                self._complaints.append(text)


def tell(event: str, **details: Any) -> None:
    """Tell the parent something; in a child.  One write, so that lines of several threads do not mix."""
    line = json.dumps({"event": event, **details}) + "\n"
    with contextlib.suppress(OSError):  # the parent is gone; so will be this process
        os.write(1, line.encode())


def live(main: Callable[..., None], *arguments: str) -> int:
    """Run a child: end with the parent, complain in one line; gives the exit code."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        main(*arguments)
    except PstoreError as error:
        print(str(error).splitlines()[0], file=sys.stderr)
        return 1
    return 0


def _end_with_parent() -> None:
    # Not through sys.stdin, whose lock would stop the interpreter from ending while this waits.
    with contextlib.suppress(OSError):
        while os.read(0, 1024):
            pass
    os._exit(1)


def _environment(further: Mapping[str, str]) -> dict[str, str]:
    """Give the environment of a child, which must find the pstore that runs here, installed or not."""
    here = str(Path(pstore.__file__).parents[1])
    path = os.pathsep.join(entry for entry in (here, os.environ.get("PYTHONPATH", "")) if entry)
    return {**os.environ, "PYTHONPATH": path, **further}
