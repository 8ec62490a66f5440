"""The limits, each with a check that it is one.  ``python -m tests.readme.limits`` prints the README's table.

Owns: the table.  A limit that a change lifts fails its check, so that the table never says less than the truth.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import operator
import sys
import tempfile
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from persistent import Persistent
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import ConnectionStateError

import pstore
from pstore.errors import (
    CaptureError,
    CodeChanged,
    CodeNotFound,
    EngineError,
    ModuleStateError,
    NotAllowed,
    RebuildError,
    StoreConflict,
    UnsupportedStorage,
)
from tests.processes import ROOT

VERSION = sys.version_info[:2]


@dataclass(frozen=True)
class Limit:
    """One row: `check` raises AssertionError where the limit is not, or not so."""

    what: str
    happens: str
    instead: str
    check: Callable[[], None]


LIMITS: list[Limit] = []


def limit(what: str, happens: str, instead: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def add(check: Callable[[], None]) -> Callable[[], None]:
        LIMITS.append(Limit(what, happens, instead, check))
        return check

    return add


def refused(value: object, *words: str) -> None:
    try:
        pstore.dumps([value])
    except CaptureError as error:
        assert "root[0]" in str(error), error
        assert all(word in str(error) for word in words), error
    else:
        raise AssertionError(f"{value!r} was stored")


def tested_in(path: str) -> None:
    """The check is a test of its own."""
    assert "def test_" in (ROOT / path).read_text()


def hop(value):
    return pstore.loads(pstore.dumps(value))


@contextmanager
def module(source: str) -> Iterator[types.ModuleType]:
    """A module called ``shop``, for as long as the block runs."""
    made = sys.modules["shop"] = types.ModuleType("shop")
    made.__file__ = "shop.py"
    try:
        exec(source, made.__dict__)
        yield made
    finally:
        del sys.modules["shop"]


@contextmanager
def a_file() -> Iterator[Path]:
    """Where a store can be."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "graph.fs"


class Thing:
    """An instance with attributes."""


@limit(
    "Open files, sockets, locks, threads, database connections",
    "refused, naming the path to it",
    "open it after the `await`, or do the work in a `pstore.step`",
)
def handles() -> None:
    refused(threading.Lock(), "lock")
    with open(__file__) as file:
        refused(file, "TextIOWrapper")


@limit("A frame that is running", "refused", "store it while it is suspended; in the engine it always is")
def running_frame() -> None:
    def gen():
        yield 1
        refused(gen.me, "running")
        yield 2

    gen.me = frame = gen()
    next(frame)
    next(frame)


@limit("Frame objects of functions that are not suspended", "refused", "keep line numbers or a `StackSummary`")
def frame_objects() -> None:
    refused(sys._getframe(), "frame")


@limit(
    "A function cached with `functools.cache` or `lru_cache` inside a function",
    "refused: its cache cannot be filled without calling it",
    "cache at module level; that is stored by name",
)
def local_cache() -> None:
    refused(functools.cache(lambda x: x), "lru_cache")


@limit(
    "A live `weakref.finalize`", "refused: loading could run it", "a context manager, or make it again after loading"
)
def live_finalizer() -> None:
    class Kept:
        pass

    kept = Kept()
    finalizer = weakref.finalize(kept, print)
    try:
        refused(finalizer, "finalize")
    finally:
        finalizer.detach()


@limit(
    "Subclasses of `map`, `zip`, `enumerate`, `filter`, `reversed`",
    "refused: pickle would drop their attributes",
    "a generator, or a class with `__next__`",
)
def iterator_subclasses() -> None:
    class Mine(zip):
        pass

    refused(Mine([1], [2]), "Mine")


@limit(
    "Locals that the code does not know, set through `f_locals` of a suspended frame (3.13+)",
    "refused",
    "set locals that the function has",
)
def extra_locals() -> None:
    if VERSION < (3, 13):
        return

    def gen():
        yield 1

    frame = gen()
    next(frame)
    frame.gi_frame.f_locals["unknown"] = 1
    refused(frame, "f_locals")


@limit(
    "A type parameter of a local function or class whose bound or default was never evaluated (3.12+)",
    "refused: evaluating it runs code",
    "define it at module level",
)
def type_parameters() -> None:
    if VERSION < (3, 12):
        return
    space: dict[str, object] = {}
    exec("def outer():\n    def inner[T: int](x: T): return x\n    return inner", space)
    refused(space["outer"]().__type_params__[0], "bound")


@limit(
    "Sockets, pipes and subprocesses on the durable loop",
    "`EngineError`, naming `pstore.step`",
    "`await pstore.step(function, ...)`; coroutine functions run on an ordinary loop",
)
def sockets_on_the_loop() -> None:
    async def connect():
        await asyncio.open_connection("127.0.0.1", 1)

    with pstore.open("memory:") as engine:
        task = engine.spawn(connect)
        try:
            engine.run(task)
        except EngineError as error:
            assert "pstore.step" in str(error)
        else:
            raise AssertionError("it connected")


@limit(
    "Code that changed since its frame was suspended",
    "`CodeChanged`, with the difference; comments and moved lines are no change",
    "bring the old code back until its tasks have ended",
)
def changed_code() -> None:
    tested_in("tests/graph/test_code_changed.py")


@limit(
    "Frames and functions by value from another minor version of Python",
    "`FormatError`; plain data is read by every version",
    "let the tasks end on the old version first",
)
def other_python() -> None:
    tested_in("tests/graph/test_code_changed.py")


@limit(
    "`gi_code`, `cr_code`, `f_lasti` of a rebuilt frame",
    "another code object (a twin) with the same names, lines and behaviour",
    "compare `co_qualname`, not identity",
)
def twin_code() -> None:
    def gen():
        yield 1

    frame = gen()
    next(frame)
    copy = hop(frame)
    assert copy.gi_code is not gen.__code__
    assert copy.gi_code.co_qualname == gen.__code__.co_qualname


@limit(
    "Tracebacks of stored exceptions",
    "print the same lines; the locals of their ended frames are not kept",
    "keep what you need in the exception or its notes",
)
def traceback_locals() -> None:
    def fail():
        kept = 1
        raise ValueError(kept)

    try:
        fail()
    except ValueError as error:
        copy = hop(error)
        assert copy.__traceback__.tb_next.tb_lineno == error.__traceback__.tb_next.tb_lineno
        assert copy.__traceback__.tb_next.tb_frame.f_locals == {}


@limit("`cr_origin` (only in asyncio's debug mode)", "not kept", "")
def origin() -> None:
    async def work():
        pass

    sys.set_coroutine_origin_tracking_depth(1)
    try:
        made = work()
    finally:
        sys.set_coroutine_origin_tracking_depth(0)
    copy = hop(made)
    assert (made.cr_origin is None, copy.cr_origin) == (False, None)
    made.close()
    copy.close()


@limit("An `athrow()` that is under way", "goes on the same, as an object of the type that `asend()` returns", "")
def athrow_under_way() -> None:
    @types.coroutine
    def pause():
        yield

    async def gen():
        try:
            yield 1
        except ValueError:
            await pause()

    made = gen()
    try:
        made.asend(None).send(None)
    except StopIteration:
        pass
    throwing = made.athrow(ValueError())
    throwing.send(None)
    assert type(hop((made, throwing))[1]).__name__ == "async_generator_asend"
    pstore.abandon(made, throwing)


@limit(
    "A `set` that is iterated over while elements are added and as many removed",
    "elements added after storing are not visited; the rest, in the original's order",
    "iterate over a copy",
)
def sets_in_loops() -> None:
    numbers = {1, 2, 3}
    iterator = iter(numbers)
    next(iterator)
    copy, its_numbers = hop((iterator, numbers))
    its_numbers.remove(3)
    its_numbers.add(4)
    assert list(copy) == [2]


@limit(
    "The target of a weak reference that nothing else in the graph holds",
    "is stored, and gone after loading, as it would be",
    "hold what has to live",
)
def weak_targets() -> None:
    class Kept:
        pass

    kept = Kept()
    copy = hop(weakref.ref(kept))
    gc.collect()
    assert copy() is None


class Hashed:
    """Hashed by an attribute."""

    def __init__(self, name):
        self.name = name

    def __hash__(self):
        return hash(self.name)

    def __eq__(self, other):
        return self.name == other.name


@limit(
    "An object hashed by its attributes, in a set or dict that it leads to itself",
    "as with pickle, `RebuildError` when loaded from the object: it is hashed before it has its attributes",
    "hash by identity, or keep a list",
)
def hashed_in_a_cycle() -> None:
    one = Hashed("one")
    one.friends = {one}
    data = pstore.dumps(one)
    try:
        pstore.loads(data)
    except RebuildError as error:
        assert "name" in str(error)
    else:
        raise AssertionError("it was loaded")


RESULTS = """
results = []
def by_name():
    while True:
        results.append((yield))
def by_other_ways():
    while True:
        globals()["results"].append((yield))
"""


@limit(
    "Module globals",
    "are code, not state: referred to by name, never stored; one that holds mutable data is reported with a "
    "`ModuleStateWarning` (`strict_globals`: `ModuleStateError`)",
    "`engine.root`, an argument of the task, or `pstore.volatile`",
)
def module_globals() -> None:
    copy = hop(sys.modules[__name__])
    assert copy is sys.modules[__name__]
    with module(RESULTS) as shop, pstore.Store("memory:", strict_globals=True) as store:
        next(store.attach(shop.by_name()))
        try:
            store.persist()
        except ModuleStateError as error:
            assert error.name == "results"
        else:
            raise AssertionError("it was stored")


@limit(
    "Globals that are reached by other ways than by name: `globals()`, `getattr(module, ...)`, attributes of classes, "
    "methods of other objects",
    "not watched",
    "as above",
)
def globals_by_other_ways() -> None:
    with module(RESULTS) as shop, pstore.Store("memory:", strict_globals=True) as store:
        next(store.attach(shop.by_other_ways()))
        store.persist()


RAN: list[int] = []


def run() -> int:
    RAN.append(1)
    return len(RAN)


class Runs:
    """Runs something when it is loaded."""

    def __reduce__(self):
        return run, ()


@limit(
    "Loading a store that somebody else could write, without `allow`",
    "runs what it names",
    "`allow=[...]`; for bytes from an enemy a signature",
)
def loading_runs() -> None:
    data = pstore.dumps(Runs())
    before = len(RAN)
    assert pstore.loads(data) == len(RAN) == before + 1
    try:
        pstore.loads(data, allow=["shop"])
    except NotAllowed:
        pass
    else:
        raise AssertionError("it was loaded")
    assert len(RAN) == before + 1


WORK = """
def work():
    {body}
    got = yield 1
    yield got
"""


def renamed(body: str) -> object:
    """Load a frame of a function that has another name now."""
    with module(WORK.format(body=body)) as shop:
        frame = shop.work()
        next(frame)
        data = pstore.dumps(frame)
    with module(WORK.format(body=body).replace("work", "ship")):
        try:
            pstore.loads(data)
        except CodeNotFound as error:
            assert 'renames={"shop:work": ' in str(error)
        else:
            raise AssertionError("it was loaded")
        return pstore.loads(data, renames={"shop:work": "shop:ship"}).send(5)


@limit(
    "A function, class or module that was renamed since",
    "`CodeNotFound`, with the line to write",
    "`renames={...}`",
)
def renamed_since() -> None:
    assert renamed("pass") == 5


@limit(
    "A renamed function that defines a class in its body",
    "`CodeChanged`: the class's qualified name is a constant of the code",
    "keep the name until its tasks have ended",
)
def renamed_with_a_class() -> None:
    try:
        renamed("class Local: pass")
    except CodeChanged as error:
        assert "constants" in error.what
    else:
        raise AssertionError("it was loaded")


@limit(
    "Under an allow-list: `operator.attrgetter`, `methodcaller`, methods of paths, modules of the standard library in "
    "locals",
    "`NotAllowed`, with the entry to add",
    "add it",
)
def not_allowed() -> None:
    for value in (operator.attrgetter("x"), operator.methodcaller("x"), Path("x").exists, operator):
        try:
            pstore.loads(pstore.dumps(value), allow=["shop"])
        except NotAllowed as error:
            assert error.entry in str(error)
        else:
            raise AssertionError(f"{value!r} was loaded")


@limit(
    "An attribute that is deleted and set again to the same object, as the only change of an instance",
    "not seen as a change: the stored copy has the attribute in its old place in `vars()`",
    "order nothing by attributes; or change something else",
)
def deleted_and_set_again() -> None:
    with a_file() as path:
        with pstore.Store(path) as store:
            thing = store.attach(Thing(), "thing")
            thing.first, thing.second = [1], 2
            tid = store.persist()
            first = thing.first
            del thing.first
            thing.first = first
            assert store.persist() == tid
            assert list(vars(thing)) == ["second", "first"]
        with pstore.Store(path) as store:
            assert list(vars(store.resolve("thing"))) == ["first", "second"]


@limit(
    "Objects that leave the graph",
    "are held by the store until the next `persist`, in cycles for longer: weak references to them live until then, and "
    "`__del__` waits; who is killed between that commit and the end of what it dropped has lost the end, but for async "
    "generators (not those that an older pstore stored), or has it again",
    "`persist`; `store.collect()` after it",
)
def let_go_of_later() -> None:
    with pstore.Store("memory:") as store:
        thing = store.attach(Thing(), "thing")
        thing.other = Thing()
        seen = weakref.ref(thing.other)
        store.persist()
        del thing.other
        gc.collect()
        assert seen() is not None
        store.persist()
        store.collect()
        assert seen() is None


@limit(
    "A store in several threads",
    "is for one at a time, `persist` included; nothing locks it",
    "a store in one thread, which the others ask",
)
def one_thread() -> None:
    assert "one thread at a time" in (pstore.Store.__doc__ or "")


@limit(
    "Two processes on one server storage",
    "each sees the state that it opened; the second to commit gets `StoreConflict`, and commits nothing",
    "open the store again, and do the work once more; or one process for each store",
)
def two_processes() -> None:
    storage = MappingStorage()
    one, other = pstore.Store(storage), pstore.Store(storage)
    other.attach(1, "n")
    other.persist()
    one.attach(2, "n")
    try:
        one.persist()
    except StoreConflict as error:
        assert "open it again" in str(error)
    else:
        raise AssertionError("it was committed")
    finally:
        other.close()
        one.close()


@limit(
    '`durability="os"`',
    "a commit outlives the process, not a power cut: that may take any number of the last commits, or leave a file that "
    "is refused; MySQL and ZEO refuse the option",
    '`durability="full"`, which is the default',
)
def left_to_the_system() -> None:
    tested_in("tests/store/test_power.py")
    try:
        pstore.Store("zeo:127.0.0.1:1", durability="os")
    except UnsupportedStorage:
        pass
    else:
        raise AssertionError("it was opened")


@limit(
    "MariaDB for `mysql:`",
    "refused (`UnsupportedStorage`): RelStorage's statements are MySQL's; they were run on 9.7, and on no 8",
    "MySQL; PostgreSQL",
)
def mariadb() -> None:
    tested_in("tests/store/test_uris.py")
    tested_in("tests/store/test_contract.py")


class Lazy(Persistent):
    """A record of its own."""


@limit(
    "A `Persistent` object or a BTree that was not used yet",
    "is read when it is first used: what is wrong with what it leads to (`NotAllowed`, `CodeNotFound`, damage, a server "
    "that is away) is raised there; after `close` it is ZODB's `ConnectionStateError`",
    "use what you need while the store is open",
)
def loaded_late() -> None:
    with a_file() as path:
        with module("class Order: pass") as shop, pstore.Store(path) as store:
            lazy = store.attach(Lazy(), "lazy")
            lazy.order = shop.Order()
            store.persist()
        with pstore.Store(path, allow=[__name__]) as store:
            lazy = store.resolve("lazy")
            assert lazy._p_changed is None
            try:
                assert lazy.order is None
            except NotAllowed as error:
                assert error.entry == "shop"
            else:
                raise AssertionError("it was loaded")
        try:
            assert lazy.order is None
        except ConnectionStateError:
            pass
        else:
            raise AssertionError("it was loaded")


@limit(
    "A suspended frame of stored code at interpreter exit",
    "its `finally` does not run: it goes on in another process",
    "`close()` what is to end now",
)
def at_exit() -> None:
    tested_in("tests/graph/test_nothing_runs.py")


@limit(
    "Which object a number or a text is",
    "equal ones, but perhaps other objects (`is`); a NaN as a key is not found any more by the NaN that was put in",
    "compare with `==`",
)
def identity_of_atoms() -> None:
    nan = float("nan")
    keyed, held = pstore.loads(pstore.dumps(({nan: 1}, nan)))
    assert held != held and held not in keyed


@limit(
    "Under `pstore run`: `asyncio.run` in another thread than the main one",
    "asyncio's own, not durable: it may be part of a step",
    "`asyncio.run` in the main thread; a loop of one's own there is refused",
)
def run_in_a_thread() -> None:
    tested_in("tests/tools/test_run.py")


@limit("Other interpreters than CPython 3.11-3.15 on 64 bits with the GIL", "refused at import", "")
def platforms() -> None:
    tested_in("tests/graph/test_platform.py")


def table() -> str:
    """The rows as Markdown."""
    rows = ["| what | what happens | instead |", "|---|---|---|"]
    rows += [f"| {row.what} | {row.happens} | {row.instead} |" for row in LIMITS]
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
