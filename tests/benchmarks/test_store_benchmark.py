"""The benchmark of the store runs, and what it says is whole: small graphs, no figure is judged."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.graphs import CONTAINERS, SHAPES, change_some
from benchmarks.report import store_section
from benchmarks.store import NAMES
from tests.processes import python

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.slow
def test_a_quick_run(tmp_path):
    done = python("-m", "benchmarks", "store", "--quick", "--objects", "200", "--json", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / f"store-{VERSION}.json").read_text())
    benchmarks = results["benchmarks"]
    assert list(benchmarks) == list(NAMES)
    for name in SHAPES:
        assert benchmarks[name]["objects"] == (200 if name == "plain" else 50)
        assert benchmarks[name]["nothing_wrote_nothing"]
        assert benchmarks[name]["ten_bytes_written"] > 0
        assert set(benchmarks[name]["bars"]) == {"ten", "first", "load", "size"}
    assert [point["n"] for point in benchmarks["size"]["points"]] == [100]
    assert benchmarks["memory"]["plain_graph_traced_bytes"] > 50
    table = store_section(tmp_path).splitlines()
    assert "10 of 200 plain objects changed" in table[2]
    assert "1 of 10 changed" in table[4]
    assert "10 of 50 changed in other shapes" in table[3]
    assert len({line.count("|") for line in table}) == 1
    assert {cell.strip() == "-" for line in table[2:] for cell in line.split("|")[2:-1]} == {True, False}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_a_change_of_a_shape_changes_so_many_values(shape):
    graph = shape.make(100)
    objects = list(shape.objects(graph))
    for _ in range(2):
        before = [shape.value(one) for one in objects]
        change_some(shape, 7)(objects, 0)
        assert sum(a != b for a, b in zip(before, map(shape.value, objects), strict=True)) == 7


@pytest.mark.parametrize("container", CONTAINERS, ids=[container.name for container in CONTAINERS])
def test_the_twin_of_a_container_has_its_length_after_changes(container):
    graph, plain = container.make(10), (container.plain or container.make)(10)
    for turn in range(4):
        container.change(graph, turn)
        (container.change_plain or container.change)(plain, turn)
    assert len(graph) == len(plain)


def test_the_curves_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks.curves import draw

    point = {f"{side}_wall_us_{kind}": 10.0 for side in ("change", "pickle", "fsync") for kind in ("min", "median")}
    results = {
        "machine": {"python": "3"},
        "benchmarks": {"append": {"points": [{"n": n, **point} for n in (100, 1000)]}},
    }
    draw(results, tmp_path / "curves.svg")
    assert "Append to a list" in (tmp_path / "curves.svg").read_text()
