"""Code that no module leads to: `exec`, a prompt, a script, functions and classes made in functions."""

from __future__ import annotations

import textwrap

import pytest

from tests.processes import python, run

LOAD_AND_LIST = "import pathlib, pstore; print(list(pstore.loads(pathlib.Path('g.bin').read_bytes())))"


def test_made_at_a_prompt(tmp_path):
    """A generator of an interactive main module brings the functions, classes and values that it names."""
    run(
        """
        import pstore
        K = 5
        def helper(v):
            return v * K
        class Box:
            def __init__(self, v):
                self.v = v
            def get(self):
                return helper(self.v)
        def gen(n):
            box = Box(n)
            f = lambda: helper(n)
            for i in range(3):
                yield i, box.get(), f(), type(box).__name__
        g = gen(4)
        next(g)
        __import__('pathlib').Path("g.bin").write_bytes(pstore.dumps(g))
        """,
        tmp_path,
    )
    assert run(LOAD_AND_LIST, tmp_path) == "[(1, 20, 20, 'Box'), (2, 20, 20, 'Box')]"


def test_what_the_main_module_has_already_is_not_replaced(tmp_path):
    run(
        """
        import pstore
        def helper():
            return "old"
        def gen():
            yield 1
            yield helper()
        g = gen()
        next(g)
        __import__('pathlib').Path("g.bin").write_bytes(pstore.dumps(g))
        """,
        tmp_path,
    )
    assert run("def helper():\n    return 'new'\n" + LOAD_AND_LIST, tmp_path) == "['new']"


def test_made_by_exec_in_a_namespace_of_its_own(tmp_path):
    """The namespace is part of the graph: shared by its functions, the same object as the dict held elsewhere."""
    run(
        """
        import pstore
        space = {}
        exec('''
        T = [1]
        def h(x):
            T.append(x)
            return len(T)
        def gen(n):
            for i in range(3):
                yield i, h(i), T is space_of()["T"]
        def space_of():
            return globals()
        ''', space)
        g = space["gen"](4)
        next(g)
        __import__('pathlib').Path("g.bin").write_bytes(pstore.dumps((g, space)))
        """,
        tmp_path,
    )
    code = """
        import builtins, pstore
        g, space = pstore.loads(__import__('pathlib').Path("g.bin").read_bytes())
        print(list(g), space["T"], g.gi_frame is None, space["__builtins__"] is vars(builtins))
    """
    assert run(code, tmp_path) == "[(1, 3, True), (2, 4, True)] [1, 0, 1, 2] True True"


SCRIPT = """
import sys
import pstore


class Thing:
    pass


class Pause:
    def __await__(self):
        return (yield 1)


async def job(x):
    thing = Thing()
    thing.x = x
    await Pause()
    return thing.x, type(thing) is Thing


if __name__ == "__main__":
    if sys.argv[1] == "dump":
        coroutine = job(3)
        coroutine.send(None)
        __import__('pathlib').Path("job.bin").write_bytes(pstore.dumps(coroutine))
        pstore.abandon(coroutine)
    else:
        coroutine = pstore.loads(__import__('pathlib').Path("job.bin").read_bytes())
        try:
            coroutine.send(1)
        except StopIteration as stop:
            print(stop.value)
"""


@pytest.mark.parametrize("way", [["script.py"], ["-m", "script"], ["./script.py"]])
@pytest.mark.parametrize("back", [["script.py"], ["-m", "script"]])
def test_a_script_finds_itself_again(tmp_path, way, back):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = python(*way, "dump", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    done = python(*back, "load", cwd=tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("(3, True)", "")


def test_another_program_finds_a_script(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    python("script.py", "dump", cwd=tmp_path)
    code = """
        import pstore
        coroutine = pstore.loads(__import__('pathlib').Path("job.bin").read_bytes())
        try:
            coroutine.send(1)
        except StopIteration as stop:
            print(stop.value, coroutine.__qualname__)
    """
    assert run(code, tmp_path) == "(3, True) job"


def test_functions_and_classes_made_in_functions(tmp_path):
    (tmp_path / "maker.py").write_text(
        textwrap.dedent("""
            def make(k):
                class Base:
                    __slots__ = ("v", "__dict__")
                    made = 0
                    def __init__(self, v):
                        self.v = v
                        type(self).made += 1
                    @property
                    def double(self):
                        return self.v * k
                    @classmethod
                    def count(cls):
                        return cls.made
                class Derived(Base):
                    def __init__(self, v):
                        super().__init__(v + 1)
                def use(v):
                    return Derived(v).double
                return Derived, use
            def gen():
                cls, use = make(10)
                obj = cls(1)
                obj.extra = [obj]
                while True:
                    yield obj.double, use(5), cls.count(), obj.extra[0] is obj, isinstance(obj, cls.__mro__[1])
        """)
    )
    run("import pathlib, maker, pstore; g = maker.gen(); next(g); pathlib.Path('g.bin').write_bytes(pstore.dumps(g))", tmp_path)
    load = "import pathlib, pstore; g = pstore.loads(pathlib.Path('g.bin').read_bytes()); print(next(g), next(g))"
    assert run(load, tmp_path) == "(20, 60, 3, True, True) (20, 60, 4, True, True)"


def test_a_class_is_made_again_without_running_the_users_hooks(tmp_path):
    (tmp_path / "hooks.py").write_text(
        textwrap.dedent("""
            seen = []
            class Meta(type):
                def __new__(mcs, *args, **kwargs):
                    seen.append("new")
                    return super().__new__(mcs, *args)
                def __init__(cls, *args, **kwargs):
                    seen.append("init")
            class Base(metaclass=Meta):
                def __init_subclass__(cls, **kwargs):
                    seen.append("init_subclass")
            class Field:
                def __set_name__(self, owner, name):
                    seen.append("set_name")
            def gen():
                class Local(Base, tag=1):
                    field = Field()
                yield 1
                yield type(Local).__name__, Local.__mro__[1].__name__, type(Local.field).__name__, Local.__bases__ == (Base,)
        """)
    )
    run("import pathlib, hooks, pstore; g = hooks.gen(); next(g); pathlib.Path('g.bin').write_bytes(pstore.dumps(g))", tmp_path)
    code = """
        import hooks, pstore
        before = list(hooks.seen)
        g = pstore.loads(__import__('pathlib').Path("g.bin").read_bytes())
        assert hooks.seen == before, hooks.seen
        print(next(g))
    """
    assert run(code, tmp_path) == "('Meta', 'Base', 'Field', True)"


def test_source_that_does_not_stand_alone(tmp_path):
    """A lambda, a generator expression and a comprehension in the middle of a call over several lines."""
    (tmp_path / "lines.py").write_text(
        textwrap.dedent("""
            def gen():
                parts = dict(
                a=1,
                **dict(z=(n * 2 for n in (1, 2)),
                    f=lambda x:
                        x + 1)
            )
                next(parts["z"])
                yield 1
                yield next(parts["z"]), parts["f"](1)
        """)
    )
    run("import lines, pathlib, pstore; g = lines.gen(); next(g); pathlib.Path('g.bin').write_bytes(pstore.dumps(g))", tmp_path)
    assert run(LOAD_AND_LIST, tmp_path) == "[(4, 2)]"
