"""What carries a root from one process to the next: pstore, or a replay that proves the harness and the cases sound."""

from __future__ import annotations

import importlib
import pickle
from typing import Any, Protocol

from tests.frames import kit


class Adapter(Protocol):
    """The three things the harness asks of an implementation."""

    def wrap(self, name: str, root: Any) -> Any:
        """A fresh root, as the harness will drive it."""

    def dump(self, root: Any) -> bytes:
        """A suspended root as bytes."""

    def load(self, data: bytes) -> Any:
        """The root again, suspended at the same point."""


class Pstore:
    """The library under test."""

    def __init__(self) -> None:
        import pstore

        self._pstore = pstore

    def wrap(self, name: str, root: Any) -> Any:
        """Nothing is needed."""
        return root

    def dump(self, root: Any) -> bytes:
        """Capture."""
        return self._pstore.dumps(root)

    def load(self, data: bytes) -> Any:
        """Rebuild."""
        return self._pstore.loads(data)


class Recorder:
    """A root that remembers what was sent into it."""

    def __init__(self, name: str, root: Any) -> None:
        self.name, self.root, self.sent = name, root, list[Any]()

    def send(self, value: Any) -> Any:
        """Remember and pass on."""
        self.sent.append(value)
        return self.root.send(value)

    def throw(self, error: BaseException) -> Any:
        """Only ever the last thing before the end, so not remembered."""
        return self.root.throw(error)

    def close(self) -> None:
        """Pass on."""
        self.root.close()


class Replay:
    """No capture at all: runs the program again, muted.  Whatever fails with it is a bad case or a bad harness."""

    def wrap(self, name: str, root: Any) -> Recorder:
        """Record from the start."""
        return Recorder(name, root)

    def dump(self, root: Recorder) -> bytes:
        """The history is the state."""
        return pickle.dumps((root.name, root.sent))

    def load(self, data: bytes) -> Recorder:
        """Repeat the history."""
        name, history = pickle.loads(data)
        kit.mute(True)
        root = Recorder(name, kit.CASES[name].make())
        try:
            for value in history:
                root.send(value)
        finally:
            kit.mute(False)
        return root


def adapter(name: str) -> Adapter:
    """An adapter by its name on the command line, or by module:Class."""
    module, _, cls = name.rpartition(":")
    if module:
        made: Adapter = getattr(importlib.import_module(module), cls)()
        return made
    known: dict[str, type[Adapter]] = {"pstore": Pstore, "replay": Replay}
    return known[name]()
