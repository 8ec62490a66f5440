"""``python -m tests.store.golden write``: write the files of this Python and the present format."""

from __future__ import annotations

import sys
from pathlib import Path

from pstore import Store
from pstore._store.store import RECORD_FORMAT
from tests.store.golden import HERE, program

PYTHON = "{}.{}".format(*sys.version_info)


def write(folder: Path = HERE) -> list[Path]:
    """Write both files, three transactions each; gives their paths."""
    kinds = (("", program.data, program.go_on), ("-frames", program.frames, program.frames_go_on))
    return [_one(folder / f"format{RECORD_FORMAT}-{PYTHON}{kind}.fs", make, go_on) for kind, make, go_on in kinds]


def _one(path, make, go_on):
    if path.exists():
        raise SystemExit(f"{path} is there already, and has to stay as it is")
    with Store(path) as store:
        store.root["first"] = "transaction"
        store.persist("first")
        del store.root["first"]
        store.root.update(make())
        store.persist("second")
        go_on(store.root)
        store.persist("third")
    for beside in path.parent.glob(path.name + ".*"):  # index and lock
        beside.unlink()
    return path


if __name__ == "__main__":
    if sys.argv[1:] != ["write"]:
        raise SystemExit(__doc__)
    for written in write():
        print(written, written.stat().st_size, "bytes")
