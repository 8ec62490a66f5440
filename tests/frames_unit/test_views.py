"""Dict views, mappingproxy, memoryview, weak references, contexts, descriptors and other built-in objects."""

from __future__ import annotations

import array
import contextvars
import decimal
import functools
import gc
import os
import pickle
import random
import struct
import sys
import types
import typing
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from pstore.errors import UnsupportedValue
from tests.frames_unit.kit import copied, dumps, fresh
from tests.frames_unit.test_iterators import Holder

VARIABLE: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")
ALIAS = VARIABLE


class Keeper:
    inner: contextvars.ContextVar[int] = contextvars.ContextVar("inner", default=7)


class Plain:
    __slots__ = ()


class Parts:
    """Descriptors of every kind."""

    def __init__(self) -> None:
        self.calls = 0

    @property
    def plain(self) -> int:
        "Doc of plain."
        return 5

    @plain.setter
    def plain(self, value: int) -> None:
        self.calls += value

    @staticmethod
    def static(value: int) -> int:
        return value + 1

    @classmethod
    def of_class(cls, value: int) -> Any:
        return cls.__name__, value


def length_of(instance: Any) -> int:
    return 41


def add(instance: Any, one: int, other: int) -> int:
    return one * 10 + other


def backwards(one: int, other: int) -> int:
    return other - one


class Appending(list[Any]):
    def append(self, value: Any) -> None:
        raise AssertionError("the method of the class was taken")

    def __repr__(self) -> str:
        return "own"

    def methods(self) -> Any:
        return super().append, super().__repr__, super()


# --- views ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["keys", "values", "items"])
@pytest.mark.parametrize("mapping", [{"a": 1}, OrderedDict(a=1), defaultdict(int, a=1)])
def test_dict_views(mapping: Any, kind: str) -> None:
    view = getattr(mapping, kind)()
    mapping2, view2 = copied((mapping, view))
    assert type(view2) is type(view)
    mapping2["b"] = 2
    assert len(view2) == 2 and len(view) == 1
    assert list(copied(view)) == list(view)
    mapping["self"] = view
    copy = copied(mapping)
    assert len(copy["self"]) == 2 and type(copied(view)) is type(view)
    del mapping["self"]


def test_plain_keys_of_ordered() -> None:
    ordered = OrderedDict(a=1, b=2)
    view = dict.keys(ordered)
    assert type(copied(view)) is type(view) and list(copied(view)) == ["a", "b"]


def test_mapping_proxy() -> None:
    mapping = {"a": 1}
    mapping2, proxy2 = copied((mapping, types.MappingProxyType(mapping)))
    mapping2["b"] = 2
    assert proxy2 == {"a": 1, "b": 2}
    assert copied(types.MappingProxyType(OrderedDict(x=1))) == {"x": 1}
    documented = {"__doc__": None, "__module__": 1}
    assert copied(types.MappingProxyType(documented)) == documented


@pytest.mark.parametrize("cls", [int, Parts, Plain, Holder, Keeper, dict, decimal.Decimal])
def test_class_namespace(cls: type) -> None:
    from tests.frames_unit.kit import TABLES

    function, args = TABLES[types.MappingProxyType](vars(cls))
    assert args == (cls,)
    assert gc.get_referents(function(*args))[0] is gc.get_referents(vars(cls))[0]
    assert copied(vars(cls)).keys() == vars(cls).keys()


VIEWS: dict[str, Callable[[Any], memoryview]] = {
    "whole": memoryview,
    "slice": lambda data: memoryview(data)[2:5],
    "open": lambda data: memoryview(data)[3:],
    "step": lambda data: memoryview(data)[1:7:2],
    "backwards": lambda data: memoryview(data)[::-1],
    "backwards step": lambda data: memoryview(data)[6:1:-2],
    "empty": lambda data: memoryview(data)[3:3],
    "slice of step": lambda data: memoryview(data)[::2][1:3],
    "readonly": lambda data: memoryview(data).toreadonly()[1:],
    "cast": lambda data: memoryview(data).cast("B").cast("H")[1:3],
    "cast back": lambda data: memoryview(data).cast("B")[0:8].cast("I")[::-1],
    "shape": lambda data: memoryview(data).cast("B")[0:8].cast("B", (2, 2, 2)),
    "shape of ints": lambda data: memoryview(data).cast("B")[0:8].cast("H", [2, 2]),
    "scalar": lambda data: memoryview(data).cast("B")[4:8].cast("I", ()),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "make", [bytes, bytearray, lambda data: array.array("h", data), lambda data: array.array("q", data)]
)
def test_memoryview(view: str, make: Any) -> None:
    data = make(bytes(range(64)))
    original = VIEWS[view](data)
    data2, copy = copied((data, original))
    for one in (copy, copied(copy)):
        assert (one.format, one.shape, one.strides, one.readonly) == (
            original.format, original.shape, original.strides, original.readonly,
        )  # fmt: skip
        assert one.tolist() == original.tolist() and one.tobytes() == original.tobytes()
    assert copy.obj is data2
    if not copy.readonly and copy.nbytes and copy.ndim == 1:
        first = copy[0]
        copy[0] = 99
        assert data2 != data and original[0] == first
        copy[0] = first
        assert data2 == data
    values = iter(original) if original.ndim == 1 else iter(())
    next(values, None)
    assert list(copied(values)) == list(values)


def test_memoryview_refused() -> None:
    import mmap

    with mmap.mmap(-1, 10) as area:
        view = memoryview(area)
        with pytest.raises(UnsupportedValue, match="it shows a mmap"):
            dumps(view)
        view.release()
    with pytest.raises(ValueError, match="released"):
        len(copied(view))
    buffer = bytearray(b"abc")
    dumps(memoryview(buffer))
    buffer.append(1)  # storing left no view behind


# --- weak references -----------------------------------------------------------------------------------------------


def called(reference: Any) -> None:
    CALLS.append(reference)


CALLS: list[Any] = []


def test_weak_reference() -> None:
    target = Holder("value")
    reference = weakref.ref(target)
    target2, reference2 = copied((target, reference))
    assert reference2() is target2
    reference3, target3 = copied((reference, target))
    assert reference3() is target3
    assert copied(reference)() is None
    assert copied(copied(reference))() is None
    del target2
    assert reference2() is None
    target.self = reference
    copy = copied(reference)
    gc.collect()
    assert copy() is None
    copy = copied(target)
    assert copy.self() is copy


def test_weak_callback() -> None:
    target = Holder()
    target2, reference2 = copied((target, weakref.ref(target, called)))
    assert CALLS == []
    del target2
    assert CALLS == [reference2]
    CALLS.clear()


def test_weak_method() -> None:
    parts = Parts()
    method, again = weakref.WeakMethod(parts.__init__), weakref.WeakMethod(parts.__init__, called)
    parts2, method2, again2 = copied((parts, method, again))
    assert method2() == parts2.__init__ == again2()
    del parts2
    assert method2() is None and CALLS == [again2]
    CALLS.clear()
    assert copied(method2)() is None


def test_weak_containers() -> None:
    one, other = Holder(1), Holder(2)
    values, keys, members = weakref.WeakValueDictionary(a=one, b=other), weakref.WeakKeyDictionary(), weakref.WeakSet()
    keys[one], keys[other] = "one", "other"
    members.update([one, other])
    for copy in (copied((one, values, keys, members)), copied(copied((one, values, keys, members)))):
        one2, values2, keys2, members2 = copy
        gc.collect()
        assert list(values2) == ["a"] and values2["a"] is one2
        assert list(keys2.items()) == [(one2, "one")]
        assert list(members2) == [one2]
    values.more = 1
    with pytest.raises(UnsupportedValue, match="attributes of its own: more"):
        dumps(values)


def test_weak_refused() -> None:
    target = Holder()
    both, mark = copied((weakref.proxy(target), target))
    assert weakref.getweakrefs(mark) == [both] and type(both) is weakref.ProxyType
    assert type(copied(weakref.proxy(Holder()))) is weakref.ProxyType
    finalizer = weakref.finalize(target, print)
    with pytest.raises(UnsupportedValue, match="loading could run it"):
        dumps(finalizer)
    finalizer.detach()
    assert not copied(finalizer).alive


# --- contexts ------------------------------------------------------------------------------------------------------


def test_variable_by_name() -> None:
    assert copied(VARIABLE) is VARIABLE
    assert copied(Keeper.inner) is Keeper.inner
    assert fresh(dumps(VARIABLE), "it.name", 1) == "variable"


def test_variable_by_value() -> None:
    local: contextvars.ContextVar[Any] = contextvars.ContextVar("local", default=[1])  # noqa: B039
    bare: contextvars.ContextVar[Any] = contextvars.ContextVar("bare")
    one, again, other = copied((local, local, bare))
    assert one is again and one is not local
    assert (one.name, one.get(), other.name) == ("local", [1], "bare")
    with pytest.raises(LookupError):
        other.get()


def test_context() -> None:
    local: contextvars.ContextVar[Any] = contextvars.ContextVar("local")
    context = contextvars.Context()
    context.run(VARIABLE.set, "global")
    context.run(local.set, context)
    local2, context2 = copied((local, context))
    assert dict(context2.items()) == {VARIABLE: "global", local2: context2}
    assert not copied(contextvars.Context())
    assert copied(context)[VARIABLE] == "global"
    inside = context.run(lambda: copied(context))
    assert inside[VARIABLE] == "global"


def test_decimal_context() -> None:
    context = contextvars.Context()

    def lower() -> None:
        decimal.getcontext().prec = 3

    context.run(lower)
    assert str(copied(context).run(lambda: decimal.Decimal(1) / 3)) == "0.333"


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("root", ["context", "token", "holder"])
@pytest.mark.parametrize("earlier", [0, 1, 2])
def test_token(earlier: int, root: str, times: int) -> None:
    context, local = contextvars.Context(), contextvars.ContextVar[Any]("local")
    holder = Holder()
    for value in range(earlier):
        context.run(local.set, value)
    token = context.run(local.set, holder)
    holder.parts = [token, context, local]
    holder.used = context.run(local.set, holder)
    context.run(local.reset, holder.used)
    graph: Any = {"context": context, "token": token, "holder": holder}[root]
    for _ in range(times):
        graph = copied((graph, holder))
        graph, holder2 = graph
        holder = holder2
    token2, context2, local2 = holder.parts
    assert context2[local2] is holder
    assert token2.var is local2
    context2.run(local2.reset, token2)
    if earlier:
        assert context2[local2] == earlier - 1
    else:
        assert local2 not in context2
        assert token2.old_value is contextvars.Token.MISSING
    for spent in (token2, holder.used):
        with pytest.raises(RuntimeError, match="has already been used once"):
            context2.run(local2.reset, spent)


def test_token_leaves_nothing_behind() -> None:
    from pstore._frames import contexts

    context = contextvars.Context()
    token = context.run(VARIABLE.set, 1)
    data = dumps((context, token))
    for _ in range(3):
        context2, token2 = pickle.loads(data)
        reference = weakref.ref(context2)
        context2.run(VARIABLE.reset, token2)
        assert VARIABLE not in context2
        del context2, token2
        gc.collect()
        assert reference() is None and not contexts._records


# --- descriptors and others ----------------------------------------------------------------------------------------


def test_descriptors_by_parts() -> None:
    plain = copied(property(Parts.static, None, None, "doc"))
    assert (plain.fget, plain.fset, plain.__doc__) == (Parts.static, None, "doc")
    static = copied(staticmethod(length_of))
    assert static(None) == 41 and static.__name__ == "length_of" and static.__wrapped__ is length_of
    decorated = staticmethod(length_of)
    decorated.more = [1]  # type: ignore[attr-defined]
    assert copied(decorated).more == [1]
    assert copied(classmethod(length_of)).__func__ is length_of

    class Local:
        cached = copied(functools.cached_property(length_of))
        partly = copied(functools.partialmethod(add, 4))
        getter = copied(property(length_of))

    Local.cached.__set_name__(Local, "cached")
    instance = Local()
    assert (instance.cached, instance.partly(2), instance.getter) == (41, 42, 41)
    assert vars(instance) == {"cached": 41}
    named = functools.cached_property(length_of)
    named.__set_name__(Local, "named")
    assert copied(named).attrname == "named"


def test_property_keeps_its_name() -> None:
    class Local:
        name = property()

    class Other:
        pass

    Other.name = copied(vars(Local)["name"])  # type: ignore[attr-defined]
    with pytest.raises(AttributeError) as one:
        Local().name = 1
    with pytest.raises(AttributeError) as other:
        Other().name = 1
    assert str(one.value).replace("Local", "Other") == str(other.value)


def test_methods_of_super() -> None:
    items = Appending([1])
    append, show, above = items.methods()
    items2, append2, show2, above2 = copied((items, append, show, above))
    append2(2)
    above2.append(3)
    assert list(items2) == [1, 2, 3]
    assert show2() == "[1, 2, 3]"
    assert copied(super(Appending, Appending)).__thisclass__ is Appending


def test_methods_of_built_ins() -> None:
    items: list[int] = []
    items2, append2, length2 = copied((items, items.append, items.__len__))
    append2(1)
    assert items2 == [1] and length2() == 1
    assert copied(len) is len and copied(dict.fromkeys)("a") == {"a": None}
    assert copied(Holder.__call__)() .__class__ is Holder
    assert copied(iter([5]).__next__)() == 5
    assert copied("a".join)(["b", "c"]) == "bac"
    assert copied(object.__new__) is object.__new__


@pytest.mark.parametrize(
    "descriptor",
    [types.FunctionType.__globals__, vars(Holder)["__dict__"], vars(dict)["fromkeys"], str.upper, str.__len__],
)
def test_descriptors_of_types(descriptor: Any) -> None:
    if descriptor.__objclass__ is not types.FunctionType:
        assert copied(descriptor) is descriptor
    else:
        from tests.frames_unit.kit import TABLES

        function, args = TABLES[type(descriptor)](descriptor)
        assert function(*args) is descriptor


def test_comparison_key() -> None:
    key = functools.cmp_to_key(backwards)
    assert sorted([1, 3, 2], key=copied(key)) == [3, 2, 1]
    assert copied(key(1)) > copied(key(2)) and copied(key(4)).obj == 4


def test_by_name() -> None:
    assert copied(os.environ) is os.environ
    stream = sys.__stdout__
    if stream is not None:
        assert copied(stream) is stream
    assert copied(struct.Struct("<if")).unpack(b"\1\0\0\0\0\0\0\0") == (1, 0.0)
    assert isinstance(copied(random.SystemRandom()), random.SystemRandom)
    assert copied(cached) is cached
    with open(os.devnull) as file, pytest.raises(UnsupportedValue, match="an open file belongs to the process"):
        dumps(file)
    with pytest.raises(UnsupportedValue, match="make the cached function at the level of its module"):
        dumps(functools.lru_cache(lambda: 1))


@functools.lru_cache
def cached(value: int) -> int:
    return value


@pytest.mark.skipif(sys.version_info < (3, 15), reason="sentinels are new in 3.15")
def test_sentinel() -> None:
    import builtins

    local = builtins.sentinel("local")  # type: ignore[attr-defined]
    one, again = copied((local, local))
    assert one is again and repr(one) == repr(local) and one.__module__ == local.__module__
    assert copied(MARK) is MARK


if sys.version_info >= (3, 15):
    import builtins

    MARK = builtins.sentinel("MARK")  # type: ignore[attr-defined]


T = typing.TypeVar("T")


def test_type_parameters() -> None:
    assert copied(T) is T
    local = typing.TypeVar("local", bound=int, covariant=True)  # type: ignore[misc]
    one, again, hint = copied((local, local, list[local]))  # type: ignore[valid-type]
    assert one is again is hint.__args__[0] and one is not local
    assert (one.__name__, one.__bound__, one.__covariant__, one.__module__) == ("local", int, True, __name__)
    assert copied(typing.TypeVar("text", str, bytes)).__constraints__ == (str, bytes)  # type: ignore[misc]
    assert copied(typing.ParamSpec("local")).__name__ == "local"  # type: ignore[misc]
    assert copied(typing.TypeVarTuple("local")).__name__ == "local"  # type: ignore[misc]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="new in 3.12")
def test_declared_type_parameters() -> None:
    space: dict[str, Any] = {"__name__": "made"}
    exec("def f[T, U: int, V: (int, str), *Ts, **P](x: T): pass", space)
    plain, bound, either, several, rest = space["f"].__type_params__
    for parameter in (plain, several, rest):
        assert repr(copied(parameter)) == repr(parameter)
    assert copied(plain).__infer_variance__
    for parameter, what in (bound, "bound"), (either, "constraints"):
        with pytest.raises(UnsupportedValue, match=f"its {what} has not been evaluated yet"):
            dumps(parameter)
    assert bound.__bound__ is copied(bound).__bound__ is int
    assert either.__constraints__ == copied(either).__constraints__ == (int, str)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="new in 3.13")
def test_defaults_of_type_parameters() -> None:
    local = typing.TypeVar("local", default=int)  # type: ignore[misc]
    assert copied(local).__default__ is int and not copied(typing.TypeVar("none")).has_default()  # type: ignore[misc]
    space: dict[str, Any] = {}
    exec("def f[T = int](x: T): pass", space)
    with pytest.raises(UnsupportedValue, match="its default has not been evaluated yet"):
        dumps(space["f"].__type_params__[0])
