"""The watch over module globals: what it reports, and what it leaves alone."""

from __future__ import annotations

import importlib
import sys
import time
import warnings
from typing import Any

import pytest

import pstore
from pstore._store import module_state
from pstore._store.module_state import is_state, volatile, watch
from pstore.errors import CaptureError, ModuleStateError, ModuleStateWarning

HEAD = """
import array, asyncio, collections, contextvars, dataclasses, datetime, decimal, enum, fractions, functools, io
import itertools, json, logging, os, pathlib, queue, random, re, string, struct, sys, threading, types, typing, uuid
import weakref
from collections import Counter, defaultdict, deque, namedtuple, OrderedDict
from random import choice
from os import environ
from sys import stdout
import pstore
from pstore._store.module_state import volatile

class Plain:
    def __init__(self):
        self.x = 1
    def method(self): pass
    def add(self, x): pass

class Empty:
    def add(self, x): pass
    def insert(self, x): pass

class Slotted:
    __slots__ = ("x",)
    def __init__(self): self.x = 1

@dataclasses.dataclass(frozen=True)
class Frozen:
    x: object = 1

@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots:
    x: object = 1

@dataclasses.dataclass
class Melted:
    x: int = 1

class Colour(enum.Enum):
    RED = []

class Flags(enum.Flag):
    A = 1

class Wrapping:
    def __init__(self, fn):
        functools.update_wrapper(self, fn)
        self.calls = 0
    def __call__(self, *args):
        return self.__wrapped__(*args)

class StructuredLogger:
    def __init__(self): self.x = {}
    def debug(self): pass
    info = warning = error = exception = debug

class SubDict(dict): pass

def function(): pass
def helper(x): return x
Point = namedtuple("Point", "x y")
T = typing.TypeVar("T")
"""

USE = """
def task():
    yield 1
    return it
"""

REPORTED = {
    "list": "it = [1, 2]",
    "empty list": "it = []",
    "dict": "it = {}",
    "dict with values": "it = {'a': 1}",
    "set": "it = {1}",
    "deque": "it = deque()",
    "bytearray": "it = bytearray(b'x')",
    "array": "it = array.array('i', [1])",
    "defaultdict": "it = defaultdict(list)",
    "Counter": "it = Counter()",
    "OrderedDict": "it = OrderedDict()",
    "ChainMap": "it = collections.ChainMap({})",
    "UserDict": "it = collections.UserDict()",
    "subclass of dict": "it = SubDict()",
    "WeakValueDictionary": "it = weakref.WeakValueDictionary()",
    "WeakSet": "it = weakref.WeakSet()",
    "SimpleNamespace": "it = types.SimpleNamespace(a=1)",
    "instance": "it = Plain()",
    "instance with slots": "it = Slotted()",
    "dataclass": "it = Melted()",
    "frozen dataclass with a list": "it = Frozen([])",
    "frozen dataclass with slots and a dict": "it = FrozenSlots({})",
    "tuple with a list": "it = (1, [2])",
    "nested tuples with a dict": "it = (1, (2, (3, {})))",
    "named tuple with a set": "it = Point(1, set())",
    "dict of functions and data": "it = {'f': function, 'n': []}",
    "asyncio.Queue": "it = asyncio.Queue()",
    "asyncio.Lock": "it = asyncio.Lock()",
    "asyncio.Event": "it = asyncio.Event()",
    "asyncio.Semaphore": "it = asyncio.Semaphore(2)",
    "queue.Queue": "it = queue.Queue()",
    "queue.SimpleQueue": "it = queue.SimpleQueue()",
    "threading.Lock": "it = threading.Lock()",
    "threading.Event": "it = threading.Event()",
    "threading.local": "it = threading.local()",
    "Random": "it = random.Random(1)",
    "StringIO": "it = io.StringIO()",
    "count": "it = itertools.count()",
    "cycle": "it = itertools.cycle('ab')",
    "iterator": "it = iter([1])",
    "generator": "it = (x for x in 'ab')",
    "memoryview that can be written": "it = memoryview(bytearray(3))",
    "bound method of a list": "it = [].append",
    "bound method of an instance": "it = Plain().method",
    "partial with a list": "it = functools.partial(helper, [])",
    "BTree": "from BTrees.OOBTree import OOBTree\nit = OOBTree()",
    "TreeSet": "from BTrees.OOBTree import OOTreeSet\nit = OOTreeSet()",
    "PersistentMapping": "from persistent.mapping import PersistentMapping\nit = PersistentMapping()",
}

ALONE = {
    "int": "it = 5",
    "float": "it = 5.0",
    "complex": "it = 5j",
    "True": "it = True",
    "str": "it = 'x'",
    "bytes": "it = b'x'",
    "Ellipsis": "it = ...",
    "tuple": "it = (1, 'a', (None, b'x'))",
    "named tuple": "it = Point(1, 2)",
    "frozenset": "it = frozenset({1})",
    "range": "it = range(3)",
    "slice": "it = slice(3)",
    "Decimal": "it = decimal.Decimal('1.5')",
    "Fraction": "it = fractions.Fraction(1, 2)",
    "datetime": "it = datetime.datetime(2026, 1, 1)",
    "timedelta": "it = datetime.timedelta(1)",
    "timezone": "it = datetime.timezone.utc",
    "UUID": "it = uuid.UUID(int=1)",
    "Path": "it = pathlib.Path('/x')",
    "pattern": "it = re.compile('a')",
    "Struct": "it = struct.Struct('i')",
    "Template": "it = string.Template('$a')",
    "JSON encoder": "it = json.JSONEncoder(indent=1)",
    "mappingproxy": "it = types.MappingProxyType({'a': 1})",
    "member of an Enum": "it = Colour.RED",
    "member of a Flag": "it = Flags.A",
    "frozen dataclass": "it = Frozen((1, 'x'))",
    "frozen dataclass with slots": "it = FrozenSlots()",
    "exception": "it = KeyError('x')",
    "object": "it = object()",
    "instance without attributes": "it = Empty()",
    "class": "it = Plain",
    "Enum": "it = Colour",
    "function": "it = function",
    "lambda": "it = lambda: 1",
    "builtin function": "it = len",
    "method of a class": "it = datetime.datetime.now",
    "method of a constant": "it = 'x'.join",
    "method of a pattern": "it = re.compile('a').match",
    "method of a logger": "it = logging.getLogger('x').info",
    "unbound method": "it = Plain.method",
    "function of random": "it = choice",
    "partial": "it = functools.partial(helper, 1, key='x')",
    "cached function": "it = functools.cache(helper)",
    "lru_cache": "it = functools.lru_cache(maxsize=3)(helper)",
    "singledispatch": "it = functools.singledispatch(helper)",
    "wrapped function": "it = functools.wraps(function)(helper)",
    "instance that wraps a function": "it = Wrapping(function)",
    "module": "it = json",
    "logger": "it = logging.getLogger('x')",
    "LoggerAdapter": "it = logging.LoggerAdapter(logging.getLogger('x'), {})",
    "logger of another library": "it = StructuredLogger()",
    "ContextVar": "it = contextvars.ContextVar('it')",
    "TypeVar": "it = T",
    "NewType": "it = typing.NewType('N', int)",
    "alias": "it = list[int]",
    "typing alias": "it = typing.Dict[str, int]",
    "union": "it = int | None",
    "Any": "it = typing.Any",
    "environ": "it = environ",
    "stdout": "it = stdout",
    "registry of functions": "it = {'f': function, 'g': helper}",
    "registry of classes": "it = [Plain, Empty]",
    "volatile list": "it = volatile([])",
    "volatile dict": "it = volatile({'a': 1})",
    "volatile lock": "it = volatile(threading.Lock())",
    "volatile instance": "it = volatile(Slotted())",
    "tuple of volatiles": "it = (volatile([]), 1)",
    "method of a volatile": "it = volatile(Plain()).method",
    "weak reference": "it = weakref.ref(Plain)",
    "generic alias": "it = collections.abc.Callable[[int], str]",
    "Retry": "it = pstore.Retry()",
    "step": "it = pstore.step",
}


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def make(source: str, name: str = "") -> Any:
        name = name or f"state_{time.monotonic_ns()}_{len(made)}"
        (tmp_path / f"{name}.py").write_text(source)
        made.append(name)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield make
    for name in made:
        sys.modules.pop(name, None)


def reports(*frames: Any) -> list[ModuleStateWarning]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watch(frames)
    for frame in frames:
        pstore.abandon(frame)
    assert all(type(warning.message) is ModuleStateWarning for warning in caught)
    return [warning.message for warning in caught]


def started(gen: Any) -> Any:
    gen.send(None)
    return gen


@pytest.mark.parametrize("what", REPORTED)
def test_reported(module, what):
    made = module(HEAD + REPORTED[what] + USE)
    (report,) = reports(started(made.task()))
    assert report.name == "it" and report.module == made.__name__
    assert reports(started(made.task())) == []  # once


@pytest.mark.parametrize("what", ALONE)
def test_left_alone(module, what):
    assert reports(started(module(HEAD + ALONE[what] + USE).task())) == []


def names(source: str, module: Any) -> list[str]:
    return sorted(report.name for report in reports(started(module(HEAD + source).task())))


# body of the module -> names that are reported
CODE = {
    "not used": ("it = []\ndef task():\n    yield", []),
    "a local of the same name": ("it = []\ndef task():\n    it = 1\n    yield it", []),
    "a parameter of the same name": ("it = []\ndef task(it=1):\n    yield it", []),
    "used after the yield": ("it = []\ndef task():\n    yield\n    it.append(1)", ["it"]),
    "in a lambda": ("it = []\ndef task():\n    f = lambda: it\n    yield f", ["it"]),
    "in a comprehension": ("it = []\ndef task():\n    yield [x for x in (1, 2) if x in it]", ["it"]),
    "in a generator expression": ("it = []\ndef task():\n    yield\n    return list(x + y for x in 'a' for y in it)", ["it"]),
    "in an inner function": ("it = []\ndef task():\n    def f():\n        return it\n    yield f", ["it"]),
    "in a local class": ("it = []\ndef task():\n    class C:\n        x = it\n    yield C", ["it"]),
    "a name of a local class": ("it = []\ndef task():\n    class C:\n        it = 1\n        x = it\n    yield C", []),
    "in a function that is called": ("it = []\ndef f():\n    it.append(1)\ndef task():\n    yield\n    f()", ["it"]),
    "two calls away": ("it = []\ndef g(): return it\ndef f(): return g()\ndef task():\n    yield f()", ["it"]),
    "functions that call each other": ("it = []\ndef g(): return f()\ndef f(): return g() or it\ndef task():\n    yield\n    f()", ["it"]),
    "in a decorated function": (
        "it = []\ndef deco(fn):\n    @functools.wraps(fn)\n    def call(*a): return fn(*a)\n    return call\n"
        "@deco\ndef f(): return it\ndef task():\n    yield f()", ["it"]),
    "in a cached function": ("it = []\n@functools.cache\ndef f(): return len(it)\ndef task():\n    yield f()", ["it"]),
    "in a function that is handed on": ("it = []\ndef f(): return it\ndef task():\n    yield f", []),
    "in a function given to a step": ("it = []\ndef f(): return it\nasync def wait(): pass\ndef task():\n    yield pstore.step(f).close()", []),
    "in a function that is not called": ("it = []\ndef f(): return it\ndef task():\n    yield", []),
    "deleted": ("it = [1]\ndef task():\n    yield\n    del it[0]", ["it"]),
    "set": ("it = {}\ndef task():\n    yield\n    it['a'] = 1", ["it"]),
    "two": ("it = {}\nthat = []\ndef task():\n    yield\n    it['a'] = that", ["it", "that"]),
    "a number bound anew": ("it = 0\ndef task():\n    global it\n    yield\n    it += 1", ["it"]),
    "a number bound anew in a call": ("it = 0\ndef f():\n    global it\n    it = 5\ndef task():\n    yield\n    f()", ["it"]),
    "a number bound anew by others": ("it = 0\ndef f():\n    global it\n    it = 5\ndef task():\n    yield it", []),
    "a number bound anew, volatile": ("it = volatile(7.5)\ndef task():\n    global it\n    yield\n    it = it", []),
    "a function bound anew": ("def it(): pass\ndef task():\n    global it\n    yield\n    it = task", []),
    "None bound anew": ("it = None\ndef task():\n    global it\n    yield\n    it = 1", []),
    "a number that was None": ("it = None\ndef task():\n    global it\n    it = 1\n    yield\n    it = 2", ["it"]),
    "dunder": ("__all__ = ['x']\n__it__ = {}\ndef task():\n    yield __all__, __it__", []),
    "builtins": ("def task():\n    yield list, dict, __builtins__", []),
    "constant table": ("IT = {'a': [1, 2], 'b': {'c': (3,)}}\ndef task():\n    yield IT['a']", []),
    "private constant table": ("_IT = [1, 2]\ndef task():\n    yield _IT", []),
    "empty constant table": ("IT = {}\ndef task():\n    yield IT", []),
    "table of functions": ("IT = {'a': (function, 1)}\ndef task():\n    yield IT", []),
    "table that its module builds": ("IT = {}\nfor i in range(3):\n    IT[i] = i\nIT.update(x=1)\ndef task():\n    yield IT", []),
    "capitals, items set": ("IT = {}\ndef task():\n    yield\n    IT['a'] = 1", ["IT"]),
    "capitals, inner items set": ("IT = {'a': {}}\ndef task():\n    yield\n    IT['a']['b'] = 1", ["IT"]),
    "capitals, item deleted": ("IT = {}\ndef task():\n    yield\n    del IT['a']", ["IT"]),
    "capitals, appended to": ("IT = []\ndef f(): IT.append(1)\ndef task():\n    yield IT", ["IT"]),
    "capitals, inner list appended to": ("IT = {'a': []}\ndef f(): IT['a'].append(1)\ndef task():\n    yield IT", ["IT"]),
    "capitals, augmented": ("IT = []\ndef f():\n    global IT\n    IT += [1]\ndef task():\n    yield IT", ["IT"]),
    "capitals, bound anew": ("IT = []\ndef f():\n    global IT\n    IT = [1]\ndef task():\n    yield IT", ["IT"]),
    "capitals, changed by a lambda": ("IT = []\nf = lambda: IT.pop()\ndef task():\n    yield IT", ["IT"]),
    "capitals, of instances": ("IT = [Plain()]\ndef task():\n    yield IT", ["IT"]),
    "capitals, an instance": ("IT = Plain()\ndef task():\n    yield IT", ["IT"]),
    "capitals, defaultdict": ("IT = defaultdict(list)\ndef task():\n    yield IT", ["IT"]),
    "a registry that decorators fill": (
        "registry = {}\ndef register(fn):\n    registry[fn.__name__] = fn\n    return fn\n"
        "@register\ndef f(): pass\ndef task():\n    yield registry['f']", []),
    "annotations": ("it = []\ndef task():\n    def f(x: it) -> it: pass\n    yield f", None),
    "declared volatile later": ("it = []\nvolatile(it)\ndef task():\n    yield it", []),
}  # fmt: skip


@pytest.mark.parametrize("what", CODE)
def test_what_code_uses(module, what):
    source, expected = CODE[what]
    if expected is not None:
        assert names(source, module) == expected
    else:
        names(source, module)


def test_a_lambda_given_to_a_step_is_not_the_tasks(module):
    source = """
bank = {}
book = {}
async def task():
    await pstore.step(lambda: bank.clear())
    await asyncio.to_thread(lambda: bank.clear())
    undo = lambda: book.clear()
    await pstore.step(undo)
"""
    made = module(HEAD + source)
    coro = made.task()
    assert [report.name for report in reports(coro)] == ["book"]


def test_kinds_of_frames(module):
    source = """
one, two, three = [], [], []
def gen():
    yield one
async def agen():
    yield two
class Wait:
    def __await__(self):
        yield
async def coro():
    await Wait()
    return three
"""
    made = module(HEAD + source)
    agen = made.agen()
    with pytest.raises(StopIteration):
        agen.asend(None).send(None)
    found = reports(started(made.gen()), agen, started(made.coro()), 5, None, "not a frame")
    assert [report.name for report in found] == ["one", "two", "three"]


def test_an_imported_global(module):
    module("shared = []\nTABLE = {'a': 1}\nchanged = None\nCHANGED = []\ndef f(): CHANGED.append(1)", "state_source")
    source = "from state_source import shared, TABLE, CHANGED\ndef task():\n    yield shared, TABLE, CHANGED"
    made = module(source, "state_user")
    assert [report.name for report in reports(started(made.task()))] == ["shared"]


def test_a_global_of_a_module_beside(module):
    module("shared = []\nTABLE = {'a': 1}\nother = {}", "state_beside")
    source = """
import state_beside, sys, os, logging
def task():
    yield state_beside.shared, state_beside.TABLE, sys.path, sys.modules, os.environ, logging.root
    state_beside.other['x'] = 1
    state_beside.missing
"""
    found = reports(started(module(source).task()))
    assert [(report.module, report.name) for report in found] == [("state_beside", "shared"), ("state_beside", "other")]


def test_a_global_that_is_filled_later(module):
    made = module("it = None\ndef task():\n    yield it")
    assert reports(started(made.task())) == []
    made.it = {}
    assert [report.name for report in reports(started(made.task()))] == ["it"]


def test_the_report_says_what_where_and_what_to_do(module):
    made = module("import collections\n\nqueue = collections.deque()\n\ndef task():\n    yield 1\n    queue.append(2)\n", "shop_state")
    (report,) = reports(started(made.task()))
    text = str(report)
    assert "task() at shop_state.py:7 uses the global queue of module shop_state, a collections.deque" in text
    for remedy in ("engine.root", "argument", "queue = pstore.volatile(...)"):
        assert remedy in text


def test_the_warning_is_of_the_place(module):
    made = module("it = []\n\ndef task():\n    yield it\n")
    with pytest.warns(ModuleStateWarning) as caught:
        watch([started(made.task())])
    assert (caught[0].filename, caught[0].lineno) == (made.__file__, 4)


def test_strict_raises_every_time_until_it_is_mended(module):
    made = module("it = []\n\ndef task():\n    yield it\n")
    frame = started(made.task())
    for _ in range(2):
        with pytest.raises(ModuleStateError, match="uses the global it of") as caught:
            watch([frame], strict=True)
        assert isinstance(caught.value, CaptureError)
        assert (caught.value.module, caught.value.name) == (made.__name__, "it")
    assert [report.name for report in reports(started(made.task()))] == ["it"]
    with pytest.raises(ModuleStateError):
        watch([frame], strict=True)
    volatile(made.it)
    watch([frame], strict=True)


def test_a_rebuilt_frame_is_not_looked_at_anew_in_vain(module):
    made = module("it = []\n\ndef task():\n    yield 1\n    yield it\n")
    frame = started(made.task())
    again = pstore.loads(pstore.dumps(frame))
    assert [report.name for report in reports(again)] == ["it"]
    assert reports(frame) == []


def test_volatile_gives_back_its_argument():
    for value in ([], {}, 5, object(), set()):
        assert volatile(value) is value
        assert not is_state(value)


def test_no_code_of_the_value_runs(module):
    source = """
class Touchy:
    def __init__(self): object.__setattr__(self, "x", 1)
    def __getattribute__(self, name): raise AssertionError(name)
    __eq__ = __hash__ = __bool__ = __len__ = __iter__ = __repr__ = __getattribute__
it = Touchy()
def task():
    yield it
"""
    assert len(reports(started(module(source).task()))) == 1


def test_libraries_are_not_looked_at():
    import contextlib

    @contextlib.contextmanager
    def manager():
        yield

    gen = manager().gen
    watch([started(gen)])
    watch([_of_json()])
    pstore.abandon(gen)


def _of_json() -> Any:
    import json.encoder

    return started(json.encoder._make_iterencode({}, None, str, None, repr, ":", ",", False, False, False)([[1]], 0))


@pytest.mark.slow
def test_what_it_costs(module):
    """A frame whose code is known costs far less than storing it."""
    made = module("x = 1\n\ndef task():\n    yield x\n")
    frames = [started(made.task()) for _ in range(1000)]
    watch(frames)
    best = min(_timed(frames) for _ in range(10)) / len(frames)
    assert best < 2e-6
    pstore.abandon(frames)


def _timed(frames: list[Any]) -> float:
    start = time.perf_counter()
    watch(frames)
    return time.perf_counter() - start


def test_the_corpus_has_no_state_but_what_it_has():
    """Every program of the corpus, at its first suspension."""
    from tests.frames import kit

    kit.load_corpus(None)
    module_state._reported.clear()
    found: set[tuple[str, str]] = set()
    for case in kit.CASES.values():
        try:
            root = case.make()
        except Exception:
            continue
        found.update((report.module.rpartition(".")[2], report.name) for report in reports(root))
    assert found == KNOWN


# programs about module globals: they change them
KNOWN = {("statements", "COUNTS"), ("statements", "SETTING"), ("frames", "N")}
