"""Invariant I2: persisting, loading, failing, dropping what was stored, and exit run none of the user's code."""

from __future__ import annotations

import gc
import textwrap

import pytest

import pstore
from pstore.errors import CodeChanged, FormatError, UnsupportedValue
from tests.processes import run

PROGRAM = textwrap.dedent('''
    import sys, types

    def say(*words):
        """Seen even where the module is half gone at exit."""
        sys.__stdout__.write(" ".join(map(str, words)) + "\\n")
        sys.__stdout__.flush()

    class Guard:
        def __enter__(self):
            return self
        def __exit__(self, *exc):
            say("RAN __exit__")
        async def __aenter__(self):
            return self
        async def __aexit__(self, *exc):
            say("RAN __aexit__")
        def __init__(self):
            self.made = True

    @types.coroutine
    def pause(value):
        return (yield value)

    def generator():
        try:
            with Guard():
                yield 1
                yield 2
        finally:
            say("RAN finally")

    async def coroutine():
        try:
            async with Guard():
                await pause(1)
        except BaseException:
            say("RAN except")
            raise
        finally:
            say("RAN finally")

    async def async_generator():
        try:
            yield 1
            await pause(2)
            yield 3
        finally:
            say("RAN agen finally")

    async def over_async_generator():
        async for x in async_generator():
            try:
                await pause(x)
            finally:
                say("RAN body finally")

    def cycle():
        try:
            me = yield
            box = [me]
            box.append(box)
            yield 2
        finally:
            say("RAN cycle finally")

    async def outer():
        return await coroutine()

    def start(kind):
        made = globals()[kind]()
        made.send(None)
        if kind == "cycle":
            made.send(made)
        return made

    def start_async_generator():
        made = async_generator()
        try:
            made.asend(None).send(None)
        except StopIteration:
            pass
        return made
''')

KINDS = ["generator", "coroutine", "over_async_generator", "cycle", "outer", "async_generator"]
START = {kind: f"program.start({kind!r})" for kind in KINDS} | {"async_generator": "program.start_async_generator()"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_storing_abandoning_and_exit(folder, kind):
    code = f"""
        import gc, pathlib, program, pstore
        frame = {START[kind]}
        pathlib.Path("f.bin").write_bytes(pstore.dumps(frame))
        pstore.abandon(frame)
        del frame
        gc.collect()
        print("end")
    """
    assert run(code, folder) == "end"


@pytest.mark.parametrize("where", ["a global", "a module", "a local of a running function", "a cycle", "an attribute"])
@pytest.mark.parametrize("kind", KINDS)
def test_exit_while_the_stored_frame_is_held(folder, kind, where):
    """The process ends by itself with the original, and a rebuilt copy of it, still suspended."""
    keep = {
        "a global": "kept = both",
        "a module": "program.kept = both",
        "a local of a running function": "def main():\n    held = both\n    print('end')\n    raise SystemExit\nmain()",
        "a cycle": "both.append(both); del both",
        "an attribute": "class Keep: kept = both\nprogram.say.kept = Keep",
    }[where]
    code = "import program, pstore\nboth = [{start}]\nboth.append(pstore.loads(pstore.dumps(both[0])))\n{keep}\nprint('end')"
    assert run(code.format(start=START[kind], keep=keep), folder) == "end"


@pytest.mark.parametrize("kind", KINDS)
def test_loading_and_resuming_later(folder, kind):
    """Loading runs nothing; what is resumed then does run its blocks."""
    run(
        f"import pathlib, program, pstore\nframe = {START[kind]}\n"
        "pathlib.Path('f.bin').write_bytes(pstore.dumps(frame))",
        folder,
    )
    code = """
        import pathlib, program, pstore
        frame = pstore.loads(pathlib.Path("f.bin").read_bytes())
        print("loaded")
        try:
            frame.aclose().send(None) if hasattr(frame, "aclose") else frame.close()
        except StopIteration:
            pass
    """
    lines = run(code, folder).splitlines()
    assert lines[0] == "loaded"
    assert any(line.startswith("RAN") and "finally" in line for line in lines[1:])


def test_a_load_that_fails_half_way(folder):
    """The frames that were made before the failure are let go without running."""
    run(
        f"import pathlib, program, pstore\nframes = [{START['generator']}, {START['coroutine']}, {START['outer']}]\n"
        "pathlib.Path('f.bin').write_bytes(pstore.dumps(frames))",
        folder,
    )
    (folder / "program.py").write_text(PROGRAM.replace("return await coroutine()", "return (await coroutine()) or 1"))
    code = """
        import gc, pathlib, pstore
        from pstore.errors import CodeChanged, RebuildError
        data = pathlib.Path("f.bin").read_bytes()
        try:
            pstore.loads(data)
        except CodeChanged:
            print("refused")
        for end in range(0, len(data) - 1, 7):
            try:
                pstore.loads(data[:end])
            except RebuildError:
                pass
        gc.collect()
    """
    assert run(code, folder) == "refused"


def test_a_refused_dump_leaves_the_program_able_to_go_on(folder):
    code = """
        import gc, socket, program, pstore
        from pstore.errors import UnsupportedValue
        frames = [program.start("generator"), program.start("outer"), socket.socket()]
        try:
            pstore.dumps(frames)
        except UnsupportedValue as error:
            print(error.path)
        frames.pop().close()
        copy = pstore.loads(pstore.dumps(frames))
        print(next(frames[0]), next(copy[0]))
    """
    assert run(code, folder) == "root[2]\n2 2"


def test_dropping_by_the_program_ends_a_frame_as_always():
    """`break` out of a loop over a generator runs its finally, also when both were rebuilt in between."""
    log = []

    def inner():
        try:
            yield 1
            yield 2
        finally:
            log.append("inner ended")

    def outer():
        for x in inner():
            yield x
            break
        yield "after"

    original = outer()
    next(original)
    loaded, its_log = pstore.loads(pstore.dumps((original, log)))
    assert (next(loaded), its_log, log) == ("after", ["inner ended"], [])


def test_an_unstarted_coroutine_in_a_cycle_does_not_warn():
    async def never(box):
        return box

    box = []
    box.append(never(box))
    copy = pstore.loads(pstore.dumps(box))
    gc.collect()
    with pytest.raises(StopIteration) as stop:
        copy[0].send(None)
    assert stop.value.value is copy
    again = pstore.loads(pstore.dumps(box[0]))
    again.close()
    box[0].close()


def test_constructors_are_not_called():
    made = []

    class Noted(Exception):
        def __init__(self, code):
            made.append(code)
            super().__init__(f"code {code}")
            self.code = code

    class Plain:
        def __init__(self):
            made.append("plain")

        def __del__(self):
            made.append("del")

    keep = [Noted(3), Plain()]
    before = list(made)
    copy, its_made = pstore.loads(pstore.dumps((keep, made)))
    assert (copy[0].code, copy[0].args, str(copy[0])) == (3, ("code 3",), "code 3")
    assert made == before == its_made
    pstore.abandon(copy, keep)


def test_errors_are_of_one_family():
    for kind in (CodeChanged, FormatError, UnsupportedValue):
        assert issubclass(kind, pstore.errors.PstoreError)
