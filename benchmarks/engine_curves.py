"""The engine's results as a picture: the engine beside its peers, its curves, and how far each bar is.

``python -m benchmarks.curves`` draws them.  A marker is the median of the rounds, the band or whisker reaches from the
least to the largest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.report import ENGINE_SIDES, bar_title

__all__ = ["draw"]

_COLOURS = {"pstore": "#1f5fa8", "dbos-sqlite": "#b5651d", "dbos-pg": "#d9a441", "restate": "#6b8e4e"}
_GREY = "#8a8a8a"


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw what there is in one file of results."""
    import matplotlib  # only here: not needed to measure

    matplotlib.use("agg")
    from matplotlib import pyplot

    style = {"svg.fonttype": "none", "svg.hashsalt": "pstore", "font.size": 8, "axes.titlesize": 8.5}
    entries = results["benchmarks"]
    panels = [(function, name) for function, name in _PANELS if name in entries]
    lines = -(-len(panels) // 2)
    with pyplot.rc_context(style):
        figure = pyplot.figure(figsize=(9.6, 2.4 * lines + 4.4), layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=[2.4 * lines, 4.2])  # labels of one do not push the other
        places = list(above.subplots(lines, 2, squeeze=False).flat)
        for place, (function, name) in zip(places, panels, strict=False):
            function(place, entries[name])
            place.spines[["top", "right"]].set_visible(False)
        for place in places[len(panels) :]:
            place.set_axis_off()
        _bars(below.subplots(), entries)
        figure.suptitle(f"pstore's engine beside its peers, Python {results['machine']['python']}", fontsize=10)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        pyplot.close(figure)


def _rates(place: Any, entry: dict[str, Any]) -> None:
    """Steps in a second, a bar for each side."""
    sides = [side for side in ENGINE_SIDES if "steps_per_s" in entry["sides"].get(side, {})]
    for row, side in enumerate(reversed(sides)):
        rate = entry["sides"][side]["steps_per_s"]
        whisker = [[rate["median"] - rate["min"]], [rate["max"] - rate["median"]]]
        place.barh(row, rate["median"], xerr=whisker, color=_COLOURS[side], height=0.6, error_kw={"linewidth": 1})
        place.text(rate["max"] * 1.15, row, f"{rate['median']:,.0f}", va="center")
    bar = entry["bars"].get("steps_per_s")
    if bar:
        place.axvline(bar["bar"], color=_GREY, linestyle=":", linewidth=1)
        place.text(bar["bar"] * 0.93, len(sides) - 0.45, "bar", color=_GREY, ha="right")
    place.set(xscale="log", xlabel="steps per second", xlim=(10, None), yticks=range(len(sides)))
    place.set_yticklabels([ENGINE_SIDES[side] for side in reversed(sides)])
    place.margins(x=0.3)
    place.minorticks_off()
    place.set_title(entry["title"][0].upper() + entry["title"][1:], loc="left")


def _line(place: Any, counts: list[int], figures: list[dict[str, float]], scale: float, **style: Any) -> None:
    least, median, largest = ([scale * one[key] for one in figures] for key in ("min", "median", "max"))
    (line,) = place.plot(counts, median, marker="o", markersize=3, linewidth=1.5, **style)
    place.fill_between(counts, least, largest, color=line.get_color(), alpha=0.18, linewidth=0)


def _axes(place: Any, title: str, unit: str, ylabel: str = "ms") -> None:
    place.set(xscale="log", yscale="log", xlabel=unit, ylabel=ylabel)
    place.set_title(title, loc="left")
    place.grid(True, which="major", color="#e4e4e4", linewidth=0.6)
    place.minorticks_off()
    place.legend(frameon=False, fontsize=7)


def _resume(place: Any, entry: dict[str, Any]) -> None:
    for side, title in ENGINE_SIDES.items():
        figures = entry["sides"].get(side, {})
        counts = [count for count in entry["settings"]["counts"] if f"after_{count}_resume_s" in figures]
        if counts:
            _line(
                place,
                counts,
                [figures[f"after_{count}_resume_s"] for count in counts],
                1000,
                color=_COLOURS[side],
                label=title,
            )
    _axes(place, "From opening to the first new step, in a fresh process", "steps before the kill")


def _commit(place: Any, entry: dict[str, Any], unit: str) -> None:
    figures = entry["sides"].get("pstore", {})
    for key, label, style in (
        ("commit_us", "after a restart", {"color": _COLOURS["pstore"]}),
        ("commit_cpu_us", "the same, CPU", {"color": _COLOURS["pstore"], "linestyle": "--"}),
        ("built_us", "in the process that made them", {"color": _COLOURS["dbos-sqlite"]}),
        ("built_cpu_us", "the same, CPU", {"color": _COLOURS["dbos-sqlite"], "linestyle": "--"}),
    ):
        sizes = [size for size in entry["settings"]["sizes"] if f"of_{size}_{key}" in figures]
        if sizes:
            _line(place, sizes, [figures[f"of_{size}_{key}"] for size in sizes], 0.001, label=label, **style)
    _axes(place, f"Commit of a small change beside {unit}", unit)


def _beside_sleepers(place: Any, entry: dict[str, Any]) -> None:
    _commit(place, entry, "sleeping tasks")


def _beside_objects(place: Any, entry: dict[str, Any]) -> None:
    _commit(place, entry, "plain objects")


def _opening(place: Any, entry: dict[str, Any]) -> None:
    figures, sizes = entry["sides"].get("pstore", {}), entry["settings"]["sizes"]
    for key, label, colour in (("start_s", "open and run", "#1f5fa8"), ("build_s", "start them all", "#b5651d")):
        known = [size for size in sizes if f"of_{size}_{key}" in figures]
        if known:
            _line(place, known, [figures[f"of_{size}_{key}"] for size in known], 1, label=label, color=colour)
    _axes(place, "N sleeping tasks", "sleeping tasks", "s")


_PANELS = (
    (_rates, "one_task"),
    (_rates, "many_tasks"),
    (_resume, "resume"),
    (_opening, "sleepers"),
    (_beside_sleepers, "sleepers"),
    (_beside_objects, "objects"),
)


def _bars(place: Any, entries: dict[str, Any]) -> None:
    """How many times each figure misses its bar, or is within it."""
    found = [
        (bar_title(name, key, entry), (bar["bar"] / bar["value"] if bar["above"] else bar["value"] / bar["bar"]), bar)
        for name, entry in entries.items()
        for key, bar in entry.get("bars", {}).items()
        if bar["value"]
    ]
    for row, (_, times, bar) in enumerate(reversed(found)):
        colour = {True: _COLOURS["restate"], False: _COLOURS["dbos-sqlite"], None: _GREY}[bar["met"]]
        place.plot([1, times], [row, row], color=colour, linewidth=1.2)
        place.plot(times, row, marker="o", color=colour, markersize=4)
    place.axvline(1, color="black", linewidth=0.8)
    place.set(xscale="log", yticks=range(len(found)), xlabel="times the bar: left of the line it is met")
    place.set_yticklabels([title for title, *_ in reversed(found)], fontsize=7)
    place.grid(True, axis="x", which="major", color="#e4e4e4", linewidth=0.6)
    place.minorticks_off()
    place.spines[["top", "right"]].set_visible(False)
    place.set_title("How far the bars are; grey: within, but measured with fewer than the bar is about", loc="left")
