"""The allow-list: what is not on it is neither imported nor called, however the bytes try to get there."""

from __future__ import annotations

import collections
import pickle
import struct
import sys
from typing import Any

import pytest

import pstore
from pstore._frames import gates, stored
from pstore._frames.policy import BY_VALUE, Policy
from pstore._store import checked
from pstore._store.graph import HEADER
from pstore.errors import CodeNotFound, FormatError, NotAllowed, PstoreError

SHOP = """
import os
import subprocess
from functools import partial
from os import system
from subprocess import run, Popen as Process

class Order:
    kind = "order"
    start = staticmethod(system)
    def __init__(self, amount=0):
        self.amount = amount
    def work(self):
        yield self.amount
        yield "done"
    class Line:
        pass

class Child(Process):
    pass

def work(a, b="b"):
    c = [a]
    yield c
    yield b, c

def outer(rate):
    return lambda amount: amount * rate

def local_class():
    class Local:
        x = 1
    return Local

def by_value():
    space = {}
    exec("def made():\\n    yield 1\\n    yield 2\\n", space)
    return space["made"]()

CACHE = {"run": run}
MARK = object()
command = partial(system, "touch pwned")
"""


@pytest.fixture
def shop(tmp_path, monkeypatch):
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "evil.py").write_text("open('imported', 'w').close()\ndef f(): open('called', 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    import shop

    yield shop
    for name in ("shop", "evil"):
        sys.modules.pop(name, None)
    assert sorted(path.name for path in tmp_path.glob("*") if path.is_file()) == ["evil.py", "shop.py"]


# ---------------------------------------------------------------- what goes through


def _started(gen: Any) -> Any:
    next(gen)
    return gen


@pytest.mark.parametrize("entry", ["shop", "shop.*"])
def test_frames_functions_and_classes_of_an_allowed_module(shop, entry):
    order = shop.Order(5)
    graph = {"frames": [_started(shop.work(1)), _started(order.work())], "order": order, "class": shop.Order,
             "nested": shop.Order.Line(), "function": shop.work, "lambda": shop.outer(3), "method": order.work,
             "local": shop.local_class(), "mark": shop.MARK}  # fmt: skip
    again = pstore.loads(pstore.dumps(graph), allow=[entry])
    assert [next(frame) for frame in again["frames"]] == [("b", [1]), "done"]
    assert again["order"].amount == 5 and again["class"] is shop.Order and again["method"].__self__ is again["order"]
    assert again["function"] is shop.work and again["lambda"](7) == 21 and again["local"].x == 1
    assert again["mark"] is shop.MARK
    pstore.abandon(graph)


def test_data_needs_no_entry():
    import datetime
    import decimal
    import re
    import uuid
    from pathlib import PurePosixPath

    graph = [1, 2.5, "x", b"y", {"a": (1, 2)}, {3}, frozenset({4}), collections.deque([1], 3), datetime.date(2026, 1, 2),
             datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), decimal.Decimal("1.5"), uuid.UUID(int=5), [].append, len,
             re.compile("a+"), PurePosixPath("/a"), collections.OrderedDict(a=1), collections.Counter("aab"), KeyError("k"),
             collections.defaultdict(list, a=[1]), range(5), iter([1, 2]), enumerate("ab"), str.upper, {"x": 1}.get]  # fmt: skip
    again = pstore.loads(pstore.dumps(graph), allow=[])
    assert repr(again[:12]) == repr(graph[:12])
    assert again[-2]("x") == "X" and again[-1]("x") == 1


def test_asyncio_needs_no_entry(tmp_path):
    """A whole engine: queue, lock, timeout, task group, gather; the frames are those of this module."""
    import asyncio

    from pstore.testing import VirtualClock

    with pstore.open(str(tmp_path / "e.fs"), clock=VirtualClock()) as engine:
        queue = engine.root["queue"] = asyncio.Queue()
        engine.root["lock"] = asyncio.Lock()
        task = engine.spawn(_program, queue)
        engine.run(until=engine.spawn(_little))
        data = pstore.dumps((engine.root, task))
    again = pstore.loads(data, allow=[__name__])
    assert isinstance(again[0]["queue"], asyncio.Queue)
    pstore.abandon(again)


async def _little() -> None:
    import asyncio

    await asyncio.sleep(1)


async def _program(queue: Any) -> None:
    import asyncio

    del asyncio  # the module itself would need the entry "asyncio:"
    await _inner(queue)


async def _inner(queue: Any) -> None:
    from asyncio import TaskGroup, gather, sleep, timeout, wait_for

    async with timeout(100), TaskGroup() as group:
        group.create_task(sleep(50))
        await gather(wait_for(queue.get(), 60), sleep(70))


# ---------------------------------------------------------------- what does not


@pytest.mark.parametrize("allow", [[], ["other"], ["shops.*"], ["shop.sub"], ["shop:"], ["shop:other"]])
@pytest.mark.parametrize("what", ["frame", "order", "function", "lambda", "method", "local"])
def test_another_module(shop, what, allow):
    order = shop.Order(5)
    value = {"frame": _started(shop.work(1)), "order": order, "function": shop.work, "lambda": shop.outer(3),
             "method": order.work, "local": shop.local_class()}[what]  # fmt: skip
    data = pstore.dumps([value])
    with pytest.raises(NotAllowed, match="shop.*is not allowed.*add 'shop' to allow"):
        pstore.loads(data, allow=allow)
    assert pstore.loads(data)
    pstore.abandon(value)


def test_code_by_value_needs_its_own_entry(shop):
    frame = _started(shop.by_value())
    data = pstore.dumps(frame)
    with pytest.raises(NotAllowed, match="<by value>"):
        pstore.loads(data, allow=["shop"])
    assert next(pstore.loads(data, allow=["shop", BY_VALUE])) == 2
    pstore.abandon(frame)


def test_one_name(shop):
    data = pstore.dumps(shop.Order(3))
    assert pstore.loads(data, allow=["shop:Order"]).amount == 3
    with pytest.raises(NotAllowed):
        pstore.loads(pstore.dumps(shop.work), allow=["shop:Order"])
    assert pstore.loads(pstore.dumps(shop.run), allow=["subprocess:run"]) is shop.run


def test_a_module_as_a_value(shop):
    with pytest.raises(NotAllowed, match="add 'shop:' to allow"):
        pstore.loads(pstore.dumps(shop), allow=[])
    assert pstore.loads(pstore.dumps(shop), allow=["shop:"]) is shop
    assert pstore.loads(pstore.dumps(shop), allow=["shop"]) is shop


def test_nothing_is_imported_before_it_is_allowed(shop, tmp_path):
    with pytest.raises(NotAllowed):
        _load(G("evil", "f"))
    with pytest.raises(NotAllowed):
        _load(S("find_module", "evil"))
    with pytest.raises(NotAllowed):
        _load(S("by_name", "evil", "f"))


def test_allow_is_no_string():
    with pytest.raises(TypeError, match=r"allow=\['shop'\]"):
        pstore.loads(HEADER, allow="shop")


def test_the_code_was_allowed_before_by_another_policy(shop):
    frame = _started(shop.work(1))
    data = pstore.dumps(frame)
    assert next(pstore.loads(data)) == ("b", [1])
    assert next(pstore.loads(data, allow=["shop"])) == ("b", [1])
    with pytest.raises(NotAllowed):
        pstore.loads(data, allow=["other"])
    pstore.abandon(frame)


# ---------------------------------------------------------------- made by hand


class G:
    """What a name leads to."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class C:
    """A call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments


class N(C):
    """``cls.__new__(cls, *arguments)``."""


class B:
    """A value, changed by an instruction that takes an argument."""

    def __init__(self, target: Any, argument: Any, opcode: bytes = pickle.BUILD) -> None:
        self.target, self.argument, self.opcode = target, argument, opcode


class Raw:
    def __init__(self, data: bytes) -> None:
        self.data = data


def S(name: str, *arguments: Any) -> C:
    """A call of a stored function."""
    return C(G(stored.__name__, name), *arguments)


def encode(value: Any) -> bytes:
    if isinstance(value, Raw):
        return value.data
    if isinstance(value, G):
        return encode(value.module) + encode(value.name) + pickle.STACK_GLOBAL
    if isinstance(value, C):
        opcode = pickle.NEWOBJ if isinstance(value, N) else pickle.REDUCE
        return encode(value.function) + encode(value.arguments) + opcode
    if isinstance(value, B):
        mark = pickle.MARK if value.opcode in (pickle.APPENDS, pickle.SETITEMS, pickle.ADDITEMS) else b""
        parts = value.argument if mark or value.opcode == pickle.SETITEM else (value.argument,)
        return encode(value.target) + mark + b"".join(map(encode, parts)) + value.opcode
    if isinstance(value, tuple):
        return pickle.MARK + b"".join(map(encode, value)) + pickle.TUPLE
    if isinstance(value, list):
        return pickle.EMPTY_LIST + pickle.MARK + b"".join(map(encode, value)) + pickle.APPENDS
    if isinstance(value, dict):
        items = b"".join(encode(part) for pair in value.items() for part in pair)
        return pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS
    if isinstance(value, str):
        data = value.encode()
        return pickle.BINUNICODE + struct.pack("<I", len(data)) + data
    return pickle.dumps(value, 5).removesuffix(b".").removeprefix(b"\x80\x05") if not isinstance(value, bytes) else (
        pickle.BINBYTES + struct.pack("<I", len(value)) + value
    )


def _load(value: Any, allow: Any = ("shop", "helper")) -> Any:
    return pstore.loads(HEADER + pickle.PROTO + b"\5" + encode(value) + pickle.STOP, allow=list(allow))


def test_the_assembler_itself(shop):
    assert _load([1, "a", (2, None), {"k": b"v"}]) == [1, "a", (2, None), {"k": b"v"}]
    assert _load(C(G("shop", "Order"), 4)).amount == 4
    assert _load(B(N(G("shop", "Order")), {"amount": 6})).amount == 6


TOUCH = "touch pwned"
SHOP_MODULE = S("find_module", "shop")
FUNCTION = G("shop", "work")


def _code_reference(module: str, function: Any) -> tuple[bytes, bytes]:
    """A stored reference to a function of a module, as if it were in `module`."""
    from pstore._frames import codes

    identity = codes.identify(function.__code__, function.__globals__)
    return codes.renamed(identity.encoded, module, function.__qualname__)


ATTACKS: dict[str, Any] = {
    # by name
    "os.system": C(G("os", "system"), TOUCH),
    "posix.system": C(G("posix", "system"), TOUCH),
    "subprocess.run": C(G("subprocess", "run"), ["touch", "pwned"]),
    "builtins.eval": C(G("builtins", "eval"), "__import__('os').system('touch pwned')"),
    "builtins.exec": C(G("builtins", "exec"), "__import__('os').system('touch pwned')"),
    "builtins.__import__": C(G("builtins", "__import__"), "evil"),
    "importlib.import_module": C(G("importlib", "import_module"), "evil"),
    "runpy": C(G("runpy", "run_path"), "evil.py"),
    "open": C(G("builtins", "open"), "pwned", "w"),
    "io.open": C(G("io", "open"), "pwned", "w"),
    "io.FileIO": C(G("io", "FileIO"), "pwned", "w"),
    "compile": C(G("builtins", "compile"), "1", "x", "eval"),
    "pickle.loads": C(G("pickle", "loads"), b"cos\nsystem\n(S'touch pwned'\ntR."),
    "pstore.loads": C(G("pstore", "loads"), HEADER + b"cos\nsystem\n(S'touch pwned'\ntR."),
    "pstore._store.graph.loads": C(G("pstore._store.graph", "loads"), HEADER + b"cos\nsystem\n(S'touch pwned'\ntR."),
    "Store": C(G("pstore._store.store", "Store"), "pwned"),
    "pstore.open": C(G("pstore", "open"), "pwned"),
    "engine": C(G("pstore._engine.engine", "open"), "pwned"),
    "storages": C(G("pstore._store.storages", "open_storage"), "pwned"),
    "cli": C(G("pstore.tools.cli", "main"), ["log", "pwned"]),
    "uuid's subprocess": C(G("uuid", "_get_command_stdout"), "touch", "pwned"),
    "type hints": C(G("typing", "get_type_hints"), FUNCTION),
    "Path.write_text": C(G("pathlib", "Path.write_text"), C(G("pathlib", "PosixPath"), "pwned"), "x"),
    "Path.touch": C(G("pathlib", "Path.touch"), C(G("pathlib", "PosixPath"), "pwned")),
    "pathlib._local": C(G("pathlib._local", "Path.touch"), C(G("pathlib", "PosixPath"), "pwned")),
    "Path.touch of a Path": C(G("builtins", "getattr"), C(G("pathlib", "PosixPath"), "pwned"), "touch"),
    "EnumType._convert_": C(
        G("enum", "EnumType._convert_"), G("enum", "Enum"), "X", "shop", G("builtins", "callable"), SHOP_MODULE
    ),
    "UserDict.copy": C(G("collections", "UserDict.copy"), C(G("shop", "Order"))),
    "cached_property": C(G("functools", "cached_property.__get__"), 1, SHOP_MODULE),
    "__setstate__ of a future": C(G("pstore._engine.future", "Future.__setstate__"), SHOP_MODULE, {"x": 1}),
    "__setstate__ of a loop": C(G("pstore._engine.loop", "DurableLoop.__setstate__"), SHOP_MODULE, {"x": 1}),
    "__setstate__ of a handle": C(G("pstore._engine.timers", "Handle.__setstate__"), SHOP_MODULE, {"x": 1}),
    "_restore_future": C(G("pstore._engine.future", "_restore_future"), SHOP_MODULE, {"attributes": {"x": 1}}),
    # through an allowed module
    "shop.os.system": C(G("shop", "os.system"), TOUCH),
    "shop.system": C(G("shop", "system"), TOUCH),
    "shop.run": C(G("shop", "run"), ["touch", "pwned"]),
    "shop.Process": C(G("shop", "Process"), ["touch", "pwned"]),
    "shop.subprocess.run": C(G("shop", "subprocess.run"), ["touch", "pwned"]),
    "shop.command": C(G("shop", "command")),
    "shop.CACHE": G("shop", "CACHE"),
    "shop.Order.start": C(G("shop", "Order.start"), TOUCH),
    "shop.Order.kind": G("shop", "Order.kind"),
    "shop.Order.work.__globals__": G("shop", "Order.work.__globals__"),
    "shop.work.__globals__": G("shop", "work.__globals__"),
    "shop.Order.__getattribute__": C(G("shop", "Order.__getattribute__"), FUNCTION, "__globals__"),
    "shop.Order.__class__": G("shop", "Order.__class__"),
    "shop.Order.__subclasses__": G("shop", "Order.__subclasses__"),
    "shop.Child.communicate": G("shop", "Child.communicate"),
    "shop.__dict__": G("shop", "__dict__"),
    "shop.__builtins__": G("shop", "__builtins__"),
    "shop.__loader__": G("shop", "__loader__"),
    "deque.__getattribute__": C(G("collections", "deque.__getattribute__"), FUNCTION, "__globals__"),
    "object.__getattribute__": C(G("builtins", "object.__getattribute__"), FUNCTION, "__globals__"),
    "object.__subclasses__": C(G("builtins", "object.__subclasses__")),
    "type.mro": C(G("builtins", "type.mro"), G("builtins", "int")),
    "functools.sys": G("functools", "sys"),
    "datetime.sys": G("datetime", "sys.modules"),
    "asyncio.tasks.contextvars": G("asyncio.tasks", "contextvars"),
    "pstore's os": G("pstore._engine.outbox", "uuid.os.system"),
    # stored functions
    "by_name os": C(S("by_name", "os", "system"), TOUCH),
    "by_name shop.system": C(S("by_name", "shop", "system"), TOUCH),
    "by_name shop.os.system": C(S("by_name", "shop", "os.system"), TOUCH),
    "by_name builtins": C(S("by_name", "builtins", "eval"), "1"),
    "find_module os": S("find_module", "os"),
    "namespace_of shop": S("namespace_of", "shop"),
    "namespace_of builtins": S("namespace_of", "builtins"),
    "spec_of": S("spec_of", "shop"),
    "class_attribute of a module": S("class_attribute", SHOP_MODULE, "system"),
    "class_attribute of a function": S("class_attribute", C(G("builtins", "type"), FUNCTION), "__globals__"),
    "class_attribute Order": C(S("class_attribute", G("shop", "Order"), "start"), TOUCH),
    "class_attribute object": S("class_attribute", G("builtins", "object"), "__getattribute__"),
    "method_of_type of a module": S("method_of_type", SHOP_MODULE, "run", None),
    "method_of_type start": C(S("method_of_type", G("shop", "Order"), "start", None), TOUCH),
    "method_of_type getattribute": C(
        S("method_of_type", G("builtins", "object"), "__getattribute__", FUNCTION), "__globals__"
    ),
    "method_of_type subclasses": C(
        S("method_of_type", G("builtins", "type"), "__subclasses__", G("builtins", "object"))
    ),
    "method_of_type get": S("method_of_type", C(G("builtins", "type"), FUNCTION), "__get__", FUNCTION),
    "method_of_type reduce": S("method_of_type", G("builtins", "object"), "__reduce_ex__", C(G("shop", "Order"))),
    "dict_view subclasses": S("dict_view", G("builtins", "object"), False, "__subclasses__"),
    "dict_iterator subclasses": S("dict_iterator", G("builtins", "object"), "__subclasses__", False, 0, 0, 0),
    "odict_iterator": S("odict_iterator", C(G("collections", "OrderedDict")), "__class__", False, 0, 0, False),
    "class_namespace": S("class_namespace", G("shop", "Order")),
    "mappingproxy of a class": S("mapping_proxy", G("shop", "Order")),
    "type_parameter": S("type_parameter", "get_type_hints", FUNCTION, "shop", (), {}),
    "type_parameter module": S("type_parameter", "sys", "x", "shop", (), {}),
    "pattern_match": S("pattern_match", SHOP_MODULE, "x", (0, 1), "run", None),
    "pattern_scanner": S("pattern_scanner", SHOP_MODULE, "x", (0, 1), None),
    "CodeType": S("named_type", "CodeType"),
    "FunctionType": S("named_type", "FunctionType"),
    "groupby_group": S("groupby_group", G("shop", "MARK"), 1),
    "fill_context": S("fill_context", SHOP_MODULE, ((SHOP_MODULE, 1),)),
    "context_token": S("context_token", SHOP_MODULE, SHOP_MODULE, False),
    "asend": S("asend", SHOP_MODULE, 1),
    "sequence_iterator": S("sequence_iterator", SHOP_MODULE, [], 0),
    "spent_sequence_iterator": S("spent_sequence_iterator", G("shop", "Order")),
    "stored itself": S("stored", FUNCTION),
    "a name of the module of stored functions": G("pstore._frames.stored", "__builtins__"),
    "unknown stored function": S("no_such_function"),
    # reading attributes
    "getattr module": C(G("builtins", "getattr"), SHOP_MODULE, "system"),
    "getattr globals": C(G("builtins", "getattr"), FUNCTION, "__globals__"),
    "getattr code": C(G("builtins", "getattr"), FUNCTION, "__code__"),
    "getattr gi_frame": C(G("builtins", "getattr"), C(FUNCTION, 1), "gi_frame"),
    "getattr class": C(G("builtins", "getattr"), G("shop", "Order"), "start"),
    "getattr instance": C(G("builtins", "getattr"), C(G("shop", "Order")), "start"),
    "getattr subclasses": C(G("builtins", "getattr"), G("builtins", "object"), "__subclasses__"),
    "getattr list class": C(G("builtins", "getattr"), [], "__class__"),
    "getattr reduce": C(G("builtins", "getattr"), [], "__reduce_ex__"),
    "getattr self of a method": C(G("builtins", "getattr"), C(G("builtins", "getattr"), [], "append"), "__self__"),
    "attrgetter": C(C(G("operator", "attrgetter"), "system"), SHOP_MODULE),
    "methodcaller": C(C(G("operator", "methodcaller"), "system", TOUCH), SHOP_MODULE),
    "_operator.attrgetter": C(C(G("_operator", "attrgetter"), "system"), SHOP_MODULE),
    "vars": C(G("builtins", "vars"), SHOP_MODULE),
    "globals": C(G("builtins", "globals")),
    "setattr": C(G("builtins", "setattr"), SHOP_MODULE, "x", 1),
    "partial": C(C(G("functools", "partial"), G("os", "system"), TOUCH)),
    "partial of getattr": C(C(G("functools", "partial"), G("builtins", "getattr"), FUNCTION), "__globals__"),
    "map of getattr": C(
        G("builtins", "list"), C(G("builtins", "map"), G("builtins", "getattr"), [FUNCTION], ["__globals__"])
    ),
    "update_wrapper": C(G("functools", "update_wrapper"), C(G("types", "SimpleNamespace")), FUNCTION, ("__globals__",)),
    "singledispatch": C(G("functools", "singledispatch"), FUNCTION),
    "redirect_stdout": C(G("contextlib", "redirect_stdout"), 1),
    "ForwardRef": C(G("typing", "ForwardRef"), "1"),
    # functions, code and frames
    "function with foreign globals": lambda: S(
        "function_by_value", *_code_reference("shop", sys.modules["shop"].work), {"a": 1}, None
    ),
    "function with globals of os": lambda: S(
        "function_by_value", *_code_reference("shop", sys.modules["shop"].work), "os", None
    ),
    "code that shop imported": lambda: C(
        S("function_by_value", *_code_reference("shop", sys.modules["shop"].run), None, None), ["touch", "pwned"]
    ),
    "code of subprocess": lambda: C(
        S("function_by_value", *_code_reference("subprocess", sys.modules["shop"].run), None, None), ["touch", "pwned"]
    ),
    "code object": lambda: S("code_object", *_code_reference("shop", sys.modules["shop"].work)),
    "the frame of a named function": lambda: S("frame_of_function", bytes(16) + b"0.0.s..", FUNCTION, ()),
    "a code reference that runs": lambda: S("frame", bytes(16), b"cos\nsystem\n(S'touch pwned'\ntR.", ()),
    "a digest that is another's": lambda: S(
        "frame", _code_reference("shop", sys.modules["shop"].work)[0],
        _code_reference("shop", sys.modules["shop"].run)[1], (),
    ),  # fmt: skip
    # changing what was there before
    "BUILD on a class": B(G("shop", "Order"), (None, {"work": G("shop", "work")})),
    "BUILD on a function": B(FUNCTION, {"__wrapped__": 1}),
    "BUILD on a module": B(SHOP_MODULE, {"__path__": ["/tmp"]}),
    "BUILD on a stored function": B(G(stored.__name__, "fill"), (None, {"__defaults__": (1,)})),
    "BUILD on a gate": B(G(stored.__name__, "by_name"), {"x": 1}),
    "BUILD on getattr": B(G("builtins", "getattr"), {"x": 1}),
    "BUILD on a typed function": B(G(stored.__name__, "asend"), (None, {"_function": G("shop", "work")})),
    "SETITEMS on a class": B(G("shop", "Order"), ("x", 1), pickle.SETITEMS),
    "SETITEM on a module": B(SHOP_MODULE, ("x", 1), pickle.SETITEM),
    "APPENDS on a module": B(SHOP_MODULE, (1, 2), pickle.APPENDS),
    "APPEND on a module": B(SHOP_MODULE, 1, pickle.APPEND),
    "ADDITEMS on a module": B(SHOP_MODULE, (1, 2), pickle.ADDITEMS),
    "set_class": S("set_class", G("shop", "Order"), ({"work": 1}, ())),
    "set_enum": S("set_enum", G("shop", "Order"), ({"work": 1}, {})),
    "set_function": S("set_function", FUNCTION, (None, None, {"__doc__": "x"}, None, None)),
    "set_module": S("set_module", SHOP_MODULE, {"x": 1}),
    "set_attributes": S("set_attributes", SHOP_MODULE, {"x": 1}),
    "set_subclass_state": S("set_subclass_state", SHOP_MODULE, ({"x": 1},)),
    "set_exception": S("set_exception", SHOP_MODULE, (None, {"x": 1}, None, None, None, None, None, None)),
    "set_property": S("set_property", G("shop", "Order"), (None, None, None, None, None)),
    "set_cell_to_namespace": S("set_cell_to_namespace", S("empty_cell"), (G("subprocess", "Popen"),)),
    "a foreign class by value": S("class_by_value", G("builtins", "type"), "X", "X", "os", (), None),
    "an exception by a foreign class": S("exception", G("subprocess", "CalledProcessError"), (1, 2)),
    "an instance of what is no class": N(FUNCTION),
    "an instance of a foreign class": N(G("subprocess", "Popen")),
    # other instructions
    "GLOBAL": C(Raw(b"cos\nsystem\n"), TOUCH),
    "INST": Raw(b"(S'touch pwned'\nios\nsystem\n"),
    "OBJ": Raw(b"(cos\nsystem\nS'touch pwned'\no"),
    "EXT1": Raw(b"\x82\x01"),
    "PERSID": Raw(b"Pshop\n"),
    "BINPERSID": Raw(encode("shop") + b"Q"),
    "NEXT_BUFFER": Raw(b"\x97"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_no_way_out(shop, name):
    attack = ATTACKS[name]
    before = dict(vars(shop)), dict(vars(shop.Order)), dict(vars(shop.work))
    with pytest.raises(PstoreError) as caught:
        _load(attack() if type(attack).__name__ == "function" else attack)
    assert "allowed" in str(caught.value) or isinstance(caught.value, FormatError | CodeNotFound) or (
        type(caught.value.__cause__) in (TypeError, AttributeError)
    )
    assert (dict(vars(shop)), dict(vars(shop.Order)), dict(vars(shop.work))) == before


def test_extension_codes_are_not_looked_up(shop):
    import copyreg

    copyreg.add_extension("os", "system", 200)
    try:
        pickle.loads(pickle.dumps(__import__("os").system, 2))  # now it is in the cache of the C unpickler
        with pytest.raises(FormatError):
            _load(C(Raw(b"\x82\xc8"), TOUCH))
    finally:
        copyreg.remove_extension("os", "system", 200)


def test_every_stored_function_was_thought_about():
    """One that is new has to be put into `PLAIN`, or among the types of first arguments, or to get a method."""
    known = set(gates.PLAIN) | set(gates._FIRST) | {name[2:] for name in dir(gates.Gates) if name.startswith("g_")}
    there = {name for name, value in vars(stored).items() if callable(value) and value.__module__ == stored.__name__}
    assert there - {"stored", "_F"} <= known
    assert not set(gates.PLAIN) & (set(gates._FIRST) | {name[2:] for name in dir(gates.Gates)})


def test_classes_of_zodb_records(shop):
    factory = checked.class_factory(Policy(["shop"]))
    assert factory(None, "shop", "Order") is shop.Order
    assert factory(None, "persistent.mapping", "PersistentMapping").__name__ == "PersistentMapping"
    assert factory(None, "BTrees.OOBTree", "OOBTree").__name__ == "OOBTree"
    for name in (("os", "system"), ("shop", "system"), ("evil", "f")):
        with pytest.raises(NotAllowed):
            factory(None, *name)
    assert checked.class_factory(None) is None
    assert checked.class_factory(Policy(None, {"old": "shop"}))(None, "old", "Order") is shop.Order
