"""The layout is the architecture: imports only go down, and each fence has one gate."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.processes import ROOT

PACKAGE = ROOT / "pstore"

# lowest first; a module may import its own layer and those before it
LAYERS = ["_errors", "errors", "clock", "client", "_frames", "_store", "_engine", "testing", "tools"]

# what a layer may import from outside; the standard library is free to all
OUTSIDE = {
    "_frames": {"bytecode"},
    "_store": {"ZODB", "persistent", "transaction", "BTrees", "zc"},
    "_engine": {"cronsim"},  # imported when the first cron expression is used
    "testing": {"ZODB", "pytest"},
}

FILES = sorted(path for path in PACKAGE.rglob("*.py"))
NAMES = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in FILES}


def imports(path) -> list[tuple[ast.stmt, str]]:
    found = []
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue  # never imported when the program runs
        if isinstance(node, ast.Import):
            found += [(node, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(node, name if name in NAMES.values() else node.module) for name in names]
    return found


def layer(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "pstore" and len(parts) > 1 else None


@pytest.mark.parametrize("path", FILES, ids=[str(NAMES[path]) for path in FILES])
def test_imports_go_down(path):
    own = layer(NAMES[path])
    if own is None or own == "__main__":
        return  # pstore itself and `python -m pstore` stand on top of all
    for node, module in imports(path):
        other = layer(module)
        if other is not None:
            assert LAYERS.index(other) <= LAYERS.index(own), f"{path.name}:{node.lineno}: {own} imports {other}"
        elif module == "pstore":
            assert own == "tools", f"{path.name}:{node.lineno}: {own} imports the whole package"


@pytest.mark.parametrize("path", FILES, ids=[str(NAMES[path]) for path in FILES])
def test_what_comes_from_outside(path):
    allowed = OUTSIDE.get(layer(NAMES[path]) or "", set())
    for node, module in imports(path):
        top = module.split(".")[0]
        assert top in ("pstore", "__future__") or top in sys.stdlib_module_names or top in allowed, (
            f"{path.name}:{node.lineno}: {module}"
        )


def test_one_gate_to_memory():
    users = {NAMES[path] for path in FILES for _, module in imports(path) if module.split(".")[0] == "ctypes"}
    assert users == {"pstore._frames.access"}


def test_no_cycles():
    graph = {NAMES[path]: {m for _, m in imports(path) if m in NAMES.values()} - {NAMES[path]} for path in FILES}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", FILES, ids=[str(NAMES[path]) for path in FILES])
def test_every_module_says_what_it_owns(path):
    assert ast.get_docstring(ast.parse(path.read_text())), path


@pytest.mark.parametrize("path", FILES, ids=[str(NAMES[path]) for path in FILES])
def test_files_fit_in_a_head(path):
    assert len(path.read_text().splitlines()) <= 600


def test_nothing_else_is_at_the_top():
    try:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("git does not know this folder")
    top = {line.partition("/")[0] for line in listed.splitlines()}
    assert top <= {"pstore", "tests", "benchmarks", "paper", ".ci", "pyproject.toml", "README.md", "LICENSE", ".gitignore"}
