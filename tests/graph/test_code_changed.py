"""Invariant I8: a frame is resumed on the code that it was suspended in, or not at all."""

from __future__ import annotations

import textwrap

import pytest

from tests.processes import run

SHOP = '''
def plain(x, k=3, *, mode="fast"):
    y = x + 1
    for i in range(2):
        got = yield (i, y, "const")
    return got


def outer(rate):
    return lambda amount: amount * rate + 1


class Desk:
    def work(self):
        yield 1
        yield "desk"


def wrapped(fn):
    def call(*args):
        return fn(*args)
    return call


@wrapped
def decorated(n):
    yield n
    yield n + 1
'''

DUMP = """
    import pathlib, shop, pstore
    def started(gen):
        next(gen)
        return gen
    frames = {"plain": started(shop.plain(1)), "lambda": shop.outer(2), "method": started(shop.Desk().work()),
              "decorated": started(shop.decorated(5))}
    for name, value in frames.items():
        pathlib.Path(name + ".bin").write_bytes(pstore.dumps(value))
        pstore.abandon(value)
"""

LOAD = """
    import pathlib, sys, pstore
    from pstore.errors import RebuildError
    try:
        value = pstore.loads(pathlib.Path("{name}.bin").read_bytes())
    except RebuildError as error:
        print(type(error).__name__, error)
    else:
        print(value(10) if "{name}" == "lambda" else next(value))
"""

GOES_ON = {"plain": "(1, 2, 'const')", "lambda": "21", "method": "desk", "decorated": "6"}


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "shop.py").write_text(SHOP)
    run(DUMP, tmp_path)
    return tmp_path


def load(folder, name="plain"):
    return run(LOAD.format(name=name), folder)


@pytest.mark.parametrize("name", GOES_ON)
def test_unchanged_code_goes_on(shop, name):
    assert load(shop, name) == GOES_ON[name]


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: "# a comment\n\n\n" + text,
        lambda text: text.replace("    y = x + 1", "    # why\n\n    y = x + 1  # so"),
        lambda text: text.replace("class Desk", "def unrelated():\n    return 1\n\n\nclass Desk"),
        lambda text: "import math\nUNRELATED = [1]\n" + text,
        lambda text: text.replace("amount * rate + 1", "(amount * rate\n            + 1)"),
    ],
    ids=["lines moved", "comments", "another function", "imports", "line breaks"],
)
@pytest.mark.parametrize("name", GOES_ON)
def test_what_is_no_change(shop, name, edit):
    (shop / "shop.py").write_text(edit(SHOP))
    assert load(shop, name) == GOES_ON[name]


def test_another_directory_is_no_change(shop, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("checkout")
    for path in shop.glob("*"):
        if path.is_file():
            (elsewhere / path.name).write_bytes(path.read_bytes())
    (shop / "shop.py").unlink()
    assert load(elsewhere) == GOES_ON["plain"]


@pytest.mark.parametrize(
    ("name", "old", "new", "what"),
    [
        ("plain", '"const"', '"konst"', "constants"),
        ("plain", "x + 1", "x + 2", "constants"),
        ("plain", "x + 1", "x - 1", "bytecode"),
        ("plain", "got", "git", "names"),
        ("plain", "k=3", "k=4", "defaults"),
        ("plain", "k=3", "k=3.0", "defaults"),
        ("plain", "k=3", "k", "defaults"),
        ("plain", 'mode="fast"', 'mode="slow"', "defaults"),
        ("plain", "*, mode", "mode", "signature"),
        ("plain", "    return got", "    yield 5\n    return got", "bytecode"),
        ("plain", "range(2)", "iter(2)", "names"),
        ("lambda", "* rate + 1", "* rate + 3", "constants"),
        ("method", '"desk"', '"counter"', "constants"),
        ("decorated", "n + 1", "n + 10", "constants"),
    ],
)
def test_a_change_is_refused_and_named(shop, name, old, new, what):
    assert old in SHOP
    (shop / "shop.py").write_text(SHOP.replace(old, new))
    message = load(shop, name)
    assert message.startswith("CodeChanged the code of shop:")
    assert what in message.split("since a frame")[0]


def test_the_error_shows_both_sources(shop):
    (shop / "shop.py").write_text(SHOP.replace('"const"', '"konst"'))
    lines = load(shop).splitlines()
    assert '-        got = yield (i, y, "const")' in lines
    assert '+        got = yield (i, y, "konst")' in lines


def test_a_function_that_is_gone(shop):
    (shop / "shop.py").write_text(SHOP.replace("def plain", "def plane"))
    assert load(shop).startswith("CodeNotFound cannot find shop:plain")


def test_a_module_that_is_gone(shop):
    (shop / "shop.py").unlink()
    assert load(shop).startswith("CodeNotFound cannot find module shop")


def test_a_folder_named_like_a_module_that_is_gone(shop):
    """Python takes any folder for a namespace package."""
    (shop / "shop.py").unlink()
    (shop / "shop").mkdir()
    for name in ("plain", "lambda"):
        told = load(shop, name)
        assert told.startswith("CodeNotFound cannot find module shop: only a folder of that name was found (")
        assert "an empty namespace package" in told


def test_a_reloaded_module_is_noticed_in_the_same_process(shop):
    code = """
        import importlib, pathlib, shop, pstore
        from pstore.errors import CodeChanged
        gen = shop.plain(1)
        next(gen)
        data = pstore.dumps(gen)
        assert next(pstore.loads(data)) == (1, 2, "const")
        path = pathlib.Path("shop.py")
        path.write_text(path.read_text().replace('"const"', '"other"'))
        importlib.reload(shop)
        try:
            pstore.loads(data)
        except CodeChanged:
            print("noticed")
        assert next(gen) == (1, 2, "const")
    """
    assert run(code, shop) == "noticed"


def test_two_functions_of_one_name_are_told_apart(tmp_path):
    (tmp_path / "twice.py").write_text(
        textwrap.dedent("""
            kept = []
            def keep(fn):
                kept.append(fn)
                return None
            @keep
            def same():
                yield 1
                yield "first"
            @keep
            def same():
                yield 1
                yield "second"
        """)
    )
    run(
        """
        import pathlib, twice, pstore
        gens = [fn() for fn in twice.kept]
        assert [next(g) for g in gens] == [1, 1]
        pathlib.Path("g.bin").write_bytes(pstore.dumps(gens))
        """,
        tmp_path,
    )
    load = "import pathlib, pstore; print([next(g) for g in pstore.loads(pathlib.Path('g.bin').read_bytes())])"
    assert run(load, tmp_path) == "['first', 'second']"


def test_another_bytecode_version_is_refused(shop):
    code = """
        import pathlib, pstore
        from pstore._frames import codes
        from pstore.errors import FormatError
        codes.MAGIC += 1
        try:
            pstore.loads(pathlib.Path("plain.bin").read_bytes())
        except FormatError as error:
            print(error)
    """
    assert "shop:plain was stored by a Python with bytecode" in run(code, shop)
