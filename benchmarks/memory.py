"""What the store holds in memory beside the graph, and what loading leaves there: each in a fresh process.

``python -m benchmarks.memory SHAPE COUNT FOLDER live|loaded|plain [--trace]`` prints one figure set as JSON.  Two ways:
the resident set of the process, where ``/proc`` tells it, and, with ``--trace``, what `tracemalloc` counts, which is
exact but leaves out what does not go through Python's allocators.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.graphs import SHAPES, Shape, change_some
from benchmarks.harness import Effort, in_process
from pstore import Store

__all__ = ["measure"]

_SHAPES = ("plain",)
_PART = 4  # of the objects of the other benchmarks: tracing takes long, and an object takes the same among fewer


def measure(effort: Effort) -> dict[str, Any]:
    """Bytes per object."""
    count = max(1, effort.objects // _PART)
    figures: dict[str, Any] = {"title": f"bytes of memory per object, {count:,} objects", "objects": count}
    for shape in _SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            for way in ("live", "loaded", "plain"):
                figures |= {f"{shape}_{key}": value for key, value in _in_process(shape, count, folder, way).items()}
    return figures


def _in_process(shape: str, count: int, folder: str, way: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for trace in ([], ["--trace"]):
        found |= in_process("benchmarks.memory", shape, str(count), folder, way, *trace)
    return found


# ---------------------------------------------------------------- in the process


def _resident() -> int | None:
    """Bytes of this process in memory; None where it cannot be told."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def _traced() -> int:
    return tracemalloc.get_traced_memory()[0]


def _live(shape: Shape, count: int, path: Path, now: Callable[[], Any]) -> list[Any]:
    """Before the graph, with the graph, after its first persist, after ten changes: also leaves the store behind."""
    path.unlink(missing_ok=True)
    store = Store(path)
    points = [now()]
    store.root["graph"] = shape.make(count)
    points.append(now())
    store.persist()
    points.append(now())
    change_some(shape, 10)(list(shape.objects(store.root["graph"])), 1)
    store.persist()
    points.append(now())
    path.with_suffix(".pickle").write_bytes(pickle.dumps(store.root["graph"], protocol=5))
    store.close()
    return points


def _loaded(shape: Shape, count: int, path: Path, now: Callable[[], Any]) -> list[Any]:
    points = [now()]
    store = Store(path)
    shape.total(store.root["graph"])
    points.append(now())
    store.close()
    return points


def _plain(shape: Shape, count: int, path: Path, now: Callable[[], Any]) -> list[Any]:
    points = [now()]
    graph = pickle.loads(path.with_suffix(".pickle").read_bytes())
    points.append(now())
    del graph
    return points


_KEYS = {
    "live": ("graph", "tables", "tables_after_changes"),
    "loaded": ("loaded",),
    "plain": ("unpickled",),
}


def main() -> None:
    """Print the figures of one process."""
    name, count_text, folder, way, *trace = sys.argv[1:]
    shape, count = SHAPES[name], int(count_text)
    read, unit = (_traced, "traced") if trace else (_resident, "resident")
    if trace:
        tracemalloc.start()

    def now() -> int | None:
        gc.collect()
        return read()

    function = {"live": _live, "loaded": _loaded, "plain": _plain}[way]
    points = function(shape, count, Path(folder) / "graph.fs", now)
    figures: dict[str, float] = {}
    if None not in points:
        start, *others = points
        figures = {
            f"{key}_{unit}_bytes": round((point - (points[1] if key.startswith("tables") else start)) / count, 1)
            for key, point in zip(_KEYS[way], others, strict=True)
        }
        if trace:
            figures[f"{way}_peak_traced_bytes"] = round((tracemalloc.get_traced_memory()[1] - start) / count, 1)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
