"""The store: what a persist costs over what has changed, beside writing the whole graph with `pickle`.

The baseline is what one would do without pstore: ``pickle.dumps`` of the whole graph, protocol 5, written to a new
file, and `fsync`; for loading, to read that file and ``pickle.loads``.  Both sides look at every object that they have
loaded.  The baseline has a graph of its own, equal to the other: to pickle an instance makes CPython keep its
``__dict__``, and that would be another graph than the store's user has.

Beside them the least that a durable commit can take here: to append 4 KiB to a file, and `fsync`.

Each entry is measured in a process of its own (``python -m benchmarks.store NAME``; the effort comes as JSON on stdin,
the figures go as JSON to stdout).  So none depends on those before it.

What takes milliseconds or less takes its turn ten times in a row.  A commit that comes some milliseconds after the last
takes up to three times as long as one right after another, whatever ran in between: the baseline, or an empty loop.  So
it is not what the baseline does to the heap, and not the heap of another graph either (after a million objects in the
same process, a small graph takes as long as in a fresh one, within 3 %): on a processor that is shared, the code and
data of a commit are in no near cache by then.  The least is what a commit takes soon after another; the median of the
first ones of the rows is in the results too, as ``cold``, and the ratio of both sides' cold ones.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count as count_from
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import memory
from benchmarks.graphs import CONTAINERS, SHAPES, Change, Container, Shape, change_some
from benchmarks.harness import Effort, Times, collector_off, in_process, least, timed
from pstore import Store

__all__ = ["CURVES", "NAMES", "measure", "rows"]

_FASTER = {"ten": 10.0, "one_of_small": 20.0}
"""At least so many times faster than the baseline: 10 of all changed; 1 of a hundredth as many."""
_AT_MOST = {"first": 4.0, "load": 4.0, "size": 3.0}
"""At most so many times what the baseline takes."""

_SMALL = 100  # what is a million in the large graph is ten thousand in the small one
_OTHERS = 4  # and a quarter of a million in the shapes other than the plain one
_FEWEST = 2  # turns, whatever they take
_MOST_ROUNDS = 100  # times Effort.runs: of what takes less than a millisecond
_SHORT = 50_000  # microseconds: if all sides together take less, each goes some times in a row
_IN_A_ROW = 10


# ---------------------------------------------------------------- the two sides


def _pickle_to(path: Path, graph: Any) -> None:
    """Write the whole graph to a new file."""
    with path.open("xb", buffering=0) as file:
        file.write(pickle.dumps(graph, protocol=5))
        os.fsync(file.fileno())


def _unpickle(path: Path, look: Callable[[Any], Any]) -> Any:
    graph = pickle.loads(path.read_bytes())
    look(graph)
    return graph


def _open(path: Path, look: Callable[[Any], Any]) -> Store:
    store = Store(path)
    look(store.root["graph"])
    return store


def _new_store(path: Path, graph: Any) -> Store:
    store = Store(path)
    store.root["graph"] = graph
    return store


def _append_and_sync(file: Any) -> None:
    file.write(bytes(4096))
    os.fsync(file.fileno())


# ---------------------------------------------------------------- taking turns


class _Turns:
    """Sides that take turns, and what they took.

    A side is a function that prepares, off the clock, and gives the function to time.

    Attributes:
        taken: what every call of a side took.
        cold: of these, the first ones of the rows, which come after the other sides; empty where there are no rows.
    """

    def __init__(self, sides: dict[str, Callable[[int], Callable[[], Any]]], effort: Effort) -> None:
        self.taken: dict[str, list[Times]] = {name: [] for name in sides}
        self.cold: dict[str, list[Times]] = {name: [] for name in sides}
        self._numbers = count_from()
        start = time.monotonic()
        for turn in range(_MOST_ROUNDS * effort.runs):
            short = turn > 0 and sum(min(taken)[0] for taken in self.taken.values()) < _SHORT
            self._take(sides, _IN_A_ROW if short else 1)
            passed = time.monotonic() - start
            if passed > (effort.seconds if turn + 1 >= effort.runs else effort.longest) and turn + 1 >= _FEWEST:
                break

    def _take(self, sides: dict[str, Callable[[int], Callable[[], Any]]], in_a_row: int) -> None:
        for name, prepare in sides.items():
            row = [timed(prepare(next(self._numbers))) for _ in range(in_a_row)]
            self.taken[name] += row
            if in_a_row > 1:
                self.cold[name].append(row[0])

    def figures(self) -> dict[str, float]:
        """Least and median of every side."""
        figures: dict[str, float] = {}
        for name, taken in self.taken.items():
            figures |= least(name, taken)
            if self.cold[name]:
                figures[f"{name}_cold_us_median"] = round(statistics.median(wall for wall, _ in self.cold[name]), 1)
        return figures


def _over(figures: dict[str, Any], name: str, numerator: str, denominator: str, digits: int = 3) -> None:
    """Put the ratios of two sides in: of the least wall times, their medians, the least CPU times, the cold medians."""
    for suffix, key in (
        ("", "wall_us_min"),
        ("_median", "wall_us_median"),
        ("_cpu", "cpu_us_min"),
        ("_cold", "cold_us_median"),
    ):
        if f"{numerator}_{key}" in figures:
            ratio = figures[f"{numerator}_{key}"] / max(figures[f"{denominator}_{key}"], 0.1)
            figures[f"{name}_ratio{suffix}"] = round(ratio, digits)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


class _Pair:
    """A graph in a store, and its twin for the baseline.

    Args:
        graph, twin: the two.
        look: goes over all of a graph that was loaded.
    """

    def __init__(self, folder: Path, graph: Any, twin: Any, look: Callable[[Any], Any]) -> None:
        self.folder, self.graph, self.twin, self.look = folder, graph, twin, look
        self.path, self.pickled = folder / "graph.fs", folder / "graph.pickle"
        self.store: Store | None = None
        self.loaded: Store | None = None

    def first(self, effort: Effort) -> dict[str, Any]:
        """Persist all of it to new stores, and pickle it to new files; the last store stays open."""
        figures = _Turns({"first": self._to_new_store, "first_pickle": self._to_new_file}, effort).figures()
        _over(figures, "first", "first", "first_pickle")
        figures["store_bytes"], figures["pickle_bytes"] = self.path.stat().st_size, self.pickled.stat().st_size
        figures["size_ratio"] = round(figures["store_bytes"] / figures["pickle_bytes"], 3)
        return figures

    def _to_new_store(self, _: int) -> Callable[[], Any]:
        if self.store is not None:
            self.store.close()
            for path in self.folder.glob("graph.fs*"):
                path.unlink()
        self.store = _new_store(self.path, self.graph)
        return self.store.persist

    def _to_new_file(self, _: int) -> Callable[[], Any]:
        self.pickled.unlink(missing_ok=True)
        return partial(_pickle_to, self.pickled, self.twin)

    def changes(self, changes: dict[str, tuple[Callable[[int], None], int]], effort: Effort) -> dict[str, Any]:
        """Change something and persist, for each of the changes, then persist again without; pickle the twin.

        Args:
            changes: name to what changes the graph (number of the turn), and how many objects that are.
            effort: how often.
        """
        store = self.store
        assert store is not None
        stood: list[tuple[str, bytes, int]] = []  # side, last transaction, size of the file, before each call

        def prepare(name: str, change: Callable[[int], None], call: Callable[[], Any], turn: int) -> Callable[[], Any]:
            stood.append((name, store.tid, self.path.stat().st_size))
            change(turn)
            return call

        def new_file(_: int) -> None:
            self.pickled.unlink(missing_ok=True)

        def no_change(_: int) -> None:
            pass

        with (self.folder / "probe").open("wb", buffering=0) as file:
            sides = {name: partial(prepare, name, change, store.persist) for name, (change, _) in changes.items()}
            sides["nothing"] = partial(prepare, "nothing", no_change, store.persist)
            sides["fsync"] = partial(prepare, "fsync", no_change, partial(_append_and_sync, file))
            sides["pickle"] = partial(prepare, "pickle", new_file, partial(_pickle_to, self.pickled, self.twin))
            figures = _Turns(sides, effort).figures()
        for name in ("nothing", *changes):
            _over(figures, f"{name}_faster", "pickle", name, 2)
        steps = list(pairwise(stood))
        figures["nothing_wrote_nothing"] = all(a[1:] == b[1:] for a, b in steps if a[0] == "nothing")
        for name, (_, count) in changes.items():
            assert all(a[1] != b[1] for a, b in steps if a[0] == name), "a change was not stored"
            written = statistics.mean(b[2] - a[2] for a, b in steps if a[0] == name)
            figures[f"{name}_bytes_written"] = round(written)
            figures[f"{name}_bytes_per_change"] = round(written / count)
        return figures

    def load(self, effort: Effort) -> dict[str, Any]:
        """Open the store and look at all of it; the same for the pickle.  Closes the store."""
        self.close()
        opened_bytes = self.path.stat().st_size
        expected = self.look(self.graph)
        found = []

        def opened() -> Store:
            self.loaded = _open(self.path, lambda graph: found.append(self.look(graph)))
            return self.loaded

        def store(_: int) -> Callable[[], Any]:
            self.close()
            gc.collect()
            return opened

        def plain(_: int) -> Callable[[], Any]:
            self.close()
            gc.collect()
            return partial(_unpickle, self.pickled, self.look)

        figures = _Turns({"load": store, "unpickle": plain}, effort).figures()
        self.close()
        assert set(found) == {expected}, "what was loaded is not what was stored"
        _over(figures, "load", "load", "unpickle")
        figures["load_file_bytes"] = opened_bytes  # with all the transactions that there were until then
        return figures

    def close(self) -> None:
        """Close what is open."""
        for store in (self.store, self.loaded):
            if store is not None:
                store.close()
        self.store = self.loaded = None


# ---------------------------------------------------------------- shapes, with the bars


def _measure_shape(shape: Shape, effort: Effort, *, collector: bool = False) -> dict[str, Any]:
    count = effort.objects if shape.name == "plain" and not collector else max(10, effort.objects // _OTHERS)
    title = shape.title + ", collector on" * collector
    figures: dict[str, Any] = {"title": f"{title}, {count:,}", "objects": count}
    with _folder() as folder, _collector(collector):
        pair = _Pair(folder, shape.make(count), shape.make(count), shape.total)
        objects = list(shape.objects(pair.graph))
        figures |= pair.first(effort)
        ten = partial(change_some(shape, 10), objects)
        one = partial(change_some(shape, 1), objects)
        hundredth = partial(change_some(shape, max(1, count // 100)), objects)
        many = {"hundredth": (hundredth, max(1, count // 100))}
        figures |= pair.changes({"ten": (ten, 10), "one": (one, 1), **many}, effort)
        figures["bytes_per_object"] = round(figures["store_bytes"] / count, 1)
        figures |= pair.load(effort)
    figures["bars"] = {"ten": _bar(figures["ten_faster_ratio"], _FASTER["ten"], above=True)}
    figures["bars"] |= {name: _bar(figures[f"{name}_ratio"], bar) for name, bar in _AT_MOST.items()}
    return figures


def _bar(ratio: float, bar: float, *, above: bool = False) -> dict[str, Any]:
    return {"bar_ratio": bar, "met": ratio >= bar if above else ratio <= bar}


@contextmanager
def _collector(works: bool) -> Iterator[None]:
    """The collector off, or as in any program; what was there before the graph is no work for it."""
    if not works:
        with collector_off():
            yield
    else:
        gc.collect()
        yield


def _measure_small(effort: Effort) -> dict[str, Any]:
    """One of few."""
    shape, count = SHAPES["plain"], max(10, effort.objects // _SMALL)
    with _folder() as folder, collector_off():
        pair = _Pair(folder, shape.make(count), shape.make(count), shape.total)
        one = partial(change_some(shape, 1), list(shape.objects(pair.graph)))
        figures = {"title": f"one of {count:,} plain objects changed", "objects": count}
        figures |= pair.first(effort) | pair.changes({"one": (one, 1)}, effort) | pair.load(effort)
    figures["bars"] = {"one": _bar(figures["one_faster_ratio"], _FASTER["one_of_small"], above=True)}
    return figures


def _measure_looked_at(effort: Effort) -> dict[str, Any]:
    """Something asks every object for its ``__dict__``, as pickle, copy and debuggers do: that is no change."""
    shape, count = SHAPES["plain"], effort.objects
    figures: dict[str, Any] = {"title": f"{count:,} plain objects looked at, none changed", "objects": count}
    with _folder() as folder, collector_off():
        store = _new_store(folder / "graph.fs", shape.make(count))
        store.persist()
        before = store.tid, (folder / "graph.fs").stat().st_size
        for name in ("looked_at", "again"):
            for one in store.root["graph"]:
                vars(one)
            figures |= least(name, [timed(store.persist)])
        figures["nothing_wrote_nothing"] = before == (store.tid, (folder / "graph.fs").stat().st_size)
        store.close()
    return figures


# ---------------------------------------------------------------- curves


def _sizes(largest: int) -> list[int]:
    """Powers of ten from a hundred on."""
    return [10**power for power in range(2, 10) if 10**power <= largest]


def _curve_of_sizes(effort: Effort) -> Iterator[dict[str, Any]]:
    shape = SHAPES["plain"]
    for count in _sizes(effort.objects):
        with _folder() as folder, collector_off():
            pair = _Pair(folder, shape.make(count), shape.make(count), shape.total)
            one = partial(change_some(shape, 1), list(shape.objects(pair.graph)))
            yield {"n": count} | pair.first(effort) | pair.changes({"change": (one, 1)}, effort) | pair.load(effort)


def _curve_of_changes(effort: Effort) -> Iterator[dict[str, Any]]:
    shape, count = SHAPES["plain"], max(100, effort.objects // 10)
    with _folder() as folder, collector_off():
        pair = _Pair(folder, shape.make(count), shape.make(count), shape.total)
        objects = list(shape.objects(pair.graph))
        pair.first(effort)
        for changed in [1, 10, *_sizes(count)]:
            change = partial(change_some(shape, changed), objects)
            yield {"n": changed, "objects": count} | pair.changes({"change": (change, changed)}, effort)
        pair.close()


def _curve_of(container: Container, effort: Effort) -> Iterator[dict[str, Any]]:
    plain = container.plain or container.make
    change_plain: Change = container.change_plain or container.change
    for count in _sizes(min(effort.objects, container.largest)):
        with _folder() as folder, collector_off():
            pair = _Pair(folder, container.make(count), plain(count), len)

            def change(turn: int, pair: _Pair = pair) -> None:
                container.change(pair.graph, turn)
                change_plain(pair.twin, turn)

            figures = {"n": count} | pair.first(effort) | pair.changes({"change": (change, 1)}, effort)
            figures |= pair.load(effort)
            yield figures


CURVES: dict[str, tuple[str, Callable[[Effort], Iterator[dict[str, Any]]]]] = {
    "size": ("one of N plain objects changed", _curve_of_sizes),
    "changes": ("N of the plain objects changed", _curve_of_changes),
    **{container.name: (container.title, partial(_curve_of, container)) for container in CONTAINERS},
}
_BY_THEMSELVES: dict[str, tuple[str, Callable[[Effort], dict[str, Any]]]] = {
    **{name: (shape.title, partial(_measure_shape, shape)) for name, shape in SHAPES.items()},
    "collector_on": ("plain objects, collector on", partial(_measure_shape, SHAPES["plain"], collector=True)),
    "small": ("one of a hundredth", _measure_small),
    "looked_at": ("plain objects looked at", _measure_looked_at),
    "memory": ("memory, in fresh processes", memory.measure),
}
NAMES = (*_BY_THEMSELVES, *CURVES)


def measure(names: set[str], effort: Effort, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure the named, each in a fresh process; all if there are no names."""
    results: dict[str, Any] = {}
    for name in NAMES:
        if not names or name in names:
            tell((_BY_THEMSELVES.get(name) or CURVES[name])[0])
            results[name] = in_process("benchmarks.store", name, given=json.dumps(vars(effort)))
    return results


def _measure(name: str, effort: Effort) -> dict[str, Any]:
    if name in _BY_THEMSELVES:
        return _BY_THEMSELVES[name][1](effort)
    title, points = CURVES[name]
    return {"title": title, "points": list(points(effort))}


# ---------------------------------------------------------------- the table

_TOLD = (
    ("first", "first_pickle", "first_ratio", "first persist: times pickle's"),
    ("ten", "pickle", "ten_faster_ratio", "10 changed: times faster"),
    ("one", "pickle", "one_faster_ratio", "1 changed: times faster"),
    ("hundredth", "pickle", "hundredth_faster_ratio", "1 % changed: times faster"),
    ("nothing", "pickle", "nothing_faster_ratio", "nothing changed: times faster"),
    ("load", "unpickle", "load_ratio", "load: times pickle's"),
    ("change", "pickle", "change_faster_ratio", "N = {n:,}: times faster"),
)
"""The side, the side beside it, what the ratio is called, and its line."""


def rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """The lines of a table: what bars are held against, and the curves; the rest is in the JSON."""
    lines = [("", "ms", "pickle ms", "ratio", "of medians", "of CPU", "cold", "bar", "met")]
    for result in results.values():
        lines.append((result["title"], *[""] * 8))
        for point in result.get("points", ()):
            lines += _lines(point, ("change",))
        lines += _lines(result, ("first", "ten", "one", "hundredth", "nothing", "load"))
        for key in ("size_ratio", "fsync_wall_us_min", "nothing_wrote_nothing"):
            if key in result:
                lines.append((f"  {key.replace('_', ' ')}", "", "", str(result[key]), "", "", "", *_held(result, key)))
        if "bars" not in result and "points" not in result:
            lines += [(f"  {key}", str(value), *[""] * 7) for key, value in result.items() if key != "title"]
    return lines


def _lines(figures: dict[str, Any], sides: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for side, beside, ratio, line in _TOLD:
        if side in sides and ratio in figures:
            ratios = (figures.get(ratio + suffix) for suffix in ("", "_median", "_cpu", "_cold"))
            shown = ("" if one is None else f"{one:.2f}" for one in ratios)
            millis = (f"{figures[f'{name}_wall_us_min'] / 1000:,.2f}" for name in (side, beside))
            yield f"  {line.format(**figures)}", *millis, *shown, *_held(figures, side)


def _held(figures: dict[str, Any], name: str) -> tuple[str, str]:
    bar = figures.get("bars", {}).get(name.removesuffix("_ratio"))
    return (f"{bar['bar_ratio']:g}", "yes" if bar["met"] else "NO") if bar else ("", "")


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], Effort(**json.load(sys.stdin)))))
