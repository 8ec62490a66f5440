"""Curves as pictures: ``python -m benchmarks.curves [FOLDER]``, an SVG of each ``store-X.Y.json``, ``engine-X.Y.json``.

Needs matplotlib, the extra `bench`; nothing else does.  FOLDER is ``benchmarks/results`` if none is given.  A line is
the least of many turns, the band above it reaches to their median; the dotted line is what it took beside them to
append 4 KiB to a file, and `fsync`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks import engine_curves
from benchmarks.report import RESULTS, read

__all__ = ["draw"]

_PSTORE, _PICKLE, _FLOOR = "#1f5fa8", "#b5651d", "#8a8a8a"
_COLUMNS = 3
_PANELS = (
    ("size", "One of N plain objects changed", "objects", "change", "pickle"),
    ("changes", "N of {objects:,} plain objects changed", "objects changed", "change", "pickle"),
    ("size", "Nothing changed", "objects", "nothing", "pickle"),
    ("size", "First persist", "objects", "first", "first_pickle"),
    ("size", "Opening, and looking at every object", "objects", "load", "unpickle"),
    ("generators", "Advance one of N suspended generators", "generators", "change", "pickle"),
    ("append", "Append to a list of N ints", "items", "change", "pickle"),
    ("append_object", "Append an object to a list of N", "objects", "change", "pickle"),
    ("front", "Insert or pop at the front of a list", "items", "change", "pickle"),
    ("queue", "popleft and append, deque", "items", "change", "pickle"),
    ("new_key", "A new key in a dict", "keys", "change", "pickle"),
)
"""Curve, title, what N is, the store's side, the side beside it."""


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw the panels of one file of results."""
    import matplotlib  # only here: not needed to measure

    matplotlib.use("agg")
    from matplotlib import pyplot

    style = {"svg.fonttype": "none", "svg.hashsalt": "pstore", "font.size": 8, "axes.titlesize": 8.5}
    benchmarks = results["benchmarks"]
    panels = [panel for panel in _PANELS if panel[0] in benchmarks]
    lines = -(-(len(panels) + 1) // _COLUMNS)  # one place for the legend
    with pyplot.rc_context(style):
        figure, grid = pyplot.subplots(lines, _COLUMNS, figsize=(9.6, 2.35 * lines + 0.5), squeeze=False)
        places = list(grid.flat)
        for place, (name, title, unit, side, beside) in zip(places, panels, strict=False):
            _panel(place, benchmarks[name]["points"], title, unit, side, beside)
        for place in places[len(panels) :]:
            place.set_axis_off()
        _legend(places[len(panels)], *places[0].get_legend_handles_labels())
        figure.suptitle(f"pstore beside pickling the whole graph, Python {results['machine']['python']}", fontsize=10)
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        pyplot.close(figure)


def _panel(place: Any, points: list[dict[str, Any]], title: str, unit: str, side: str, beside: str) -> None:
    counts = [point["n"] for point in points]
    for name, colour, label in ((side, _PSTORE, "pstore"), (beside, _PICKLE, "pickle")):
        least, median = ([p[f"{name}_wall_us_{kind}"] / 1000 for p in points] for kind in ("min", "median"))
        place.plot(counts, least, color=colour, marker="o", markersize=3, linewidth=1.5, label=label)
        place.fill_between(counts, least, median, color=colour, alpha=0.18, linewidth=0)
    if side != "load":
        floor = [point["fsync_wall_us_min"] / 1000 for point in points]
        place.plot(counts, floor, color=_FLOOR, linestyle=":", linewidth=1, label="fsync")
    place.set(xscale="log", yscale="log", xlabel=unit, ylabel="ms")
    place.set_title(title.format(**points[0]), loc="left")
    place.grid(True, which="major", color="#e4e4e4", linewidth=0.6)
    place.minorticks_off()
    place.spines[["top", "right"]].set_visible(False)


def _legend(place: Any, handles: list[Any], labels: list[str]) -> None:
    place.legend(handles, labels, loc="upper left", frameon=False, title="least of many turns,\nband to the median")


def main() -> None:
    """Draw every file of the folder."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    for source in sorted(folder.glob("store-3.[0-9]*.json")):
        path, results = source.with_suffix(".svg"), read(source)
        if results["benchmarks"].keys() >= {"size", "changes"}:
            draw(results, path)
            print(f"written: {path}")
    for source in sorted(folder.glob("engine-3.[0-9]*.json")):
        path, results = source.with_suffix(".svg"), read(source)
        if "resume" in results["benchmarks"]:  # else there is no curve
            engine_curves.draw(results, path)
            print(f"written: {path}")


if __name__ == "__main__":
    main()
