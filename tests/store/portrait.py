"""Portraits of object graphs: two graphs are the same, identity included, if and only if their portraits are equal.

Owns :class:`Portrait`: objects are numbered in the order in which a walk first meets them; each gives one row of its
type, what it contains in order, its attributes in order.  Atoms (exact ints, strings ...) are shown by value: nobody
promises their identity.  Everything else, tuples and frozensets too, is an object with a number.

- Sets have no order: their elements are numbered last, those that are met elsewhere in the order in which they were met
  there, the others by what they contain (`_key`).  Give objects in sets a `tag` of their own.
- A weak reference counts for what it refers to only if something else holds that.
- What has a name in a module is shown by its name, and is not walked into.

Light portraits do not disturb: they never touch ``__dict__`` (that would make CPython build one for an instance that had
none) nor ``f_locals``, see fewer attributes (`NAMES`) in no order, and not into frames.
"""

from __future__ import annotations

import array
import collections
import enum
import functools
import os
import random
import sys
import traceback
import types
import weakref
from collections.abc import Iterator
from typing import Any

__all__ = ["NAMES", "Portrait", "assert_same", "difference"]

ATOMS = frozenset({int, str, bytes, float, bool, complex, type(None), type(...), type(NotImplemented), range, slice})
FRAMES = {types.GeneratorType: "gi", types.CoroutineType: "cr", types.AsyncGeneratorType: "ag"}
NAMES = ("tag", "a", "b", "c", "d", "e", "held")  # the attributes that light portraits know
SHOWN_BY_REPR = ("typing", "types.GenericAlias", "re", "decimal", "fractions", "datetime", "uuid", "pathlib")
REDUCED = {
    type(iter([])),
    type(reversed([])),
    type(iter(())),
    type(iter(range(1))),
    type(iter("")),
    type(iter(b"")),
    type(iter({})),
    type(iter({}.values())),
    type(iter({}.items())),
    type(reversed({})),
    type(reversed({}.values())),
    type(reversed({}.items())),
    enumerate,
    zip,
    map,
    filter,
    reversed,
}

Parts = Iterator[tuple[str, Any]]


class _Shown:
    """Not an object of the graph: text that stands in a row as it is."""

    def __init__(self, text: Any) -> None:
        self.text = str(text)


class Portrait:
    """See the module.

    Attributes:
        rows: the portrait proper.
        objects: what the rows are of; holds the graph alive, as a portrait by ids has to.
    """

    def __init__(self, root: Any, *, light: bool = False) -> None:
        self.light = light
        self.rows: list[Any] = []
        self.objects: list[Any] = []
        self.paths: list[str] = []
        self._numbers: dict[int, int] = {}
        self._keys: dict[int, Any] = {}
        self._todo: collections.deque[int] = collections.deque()
        self._sets: collections.deque[int] = collections.deque()
        self._weak: list[int] = []
        self._ref(root, "root")
        while self._todo or self._sets:
            if self._todo:
                self._row(self._todo.popleft())
            else:
                self._set_row(self._sets.popleft())
        for number in self._weak:
            self._weak_row(number)

    def number(self, obj: Any) -> int:
        """The number of an object of the graph."""
        return self._numbers[id(obj)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Portrait) and self.rows == other.rows

    def __hash__(self) -> int:
        raise TypeError

    def __len__(self) -> int:
        return len(self.rows)

    # ------------------------------------------------------------ rows

    def _ref(self, obj: Any, path: str) -> str:
        cls = type(obj)
        if cls in ATOMS:
            return repr(obj)
        if cls is _Shown:
            return obj.text
        if cls is tuple and not obj:
            return "()"
        number = self._numbers.get(id(obj))
        if number is None:
            name = _name_of(obj)
            if name is not None:
                return name
            number = self._numbers[id(obj)] = len(self.objects)
            self.objects.append(obj)
            self.paths.append(path)
            self.rows.append(None)
            if isinstance(obj, (weakref.ref, weakref.WeakValueDictionary, weakref.WeakKeyDictionary, weakref.WeakSet)):
                self._weak.append(number)
            else:
                self._todo.append(number)
        return f"#{number}"

    def _row(self, number: int) -> None:
        obj, path = self.objects[number], self.paths[number]
        parts = [(label, self._ref(part, path + label)) for label, part in self._parts(obj)]
        self.rows[number] = (_type(obj), parts)
        if isinstance(obj, (set, frozenset)):
            self._sets.append(number)

    def _set_row(self, number: int) -> None:
        obj, path = self.objects[number], self.paths[number]
        known = [self._numbers[id(x)] for x in obj if id(x) in self._numbers]
        new = sorted((x for x in obj if id(x) not in self._numbers), key=self._key)
        members = [f"#{n}" for n in sorted(known)] + [self._ref(x, f"{path} member {i}") for i, x in enumerate(new)]
        self.rows[number] = (*self.rows[number], members)

    def _weak_row(self, number: int) -> None:
        obj = self.objects[number]
        held = self._held
        if isinstance(obj, weakref.ref):
            shown: Any = held(obj())
        elif isinstance(obj, weakref.WeakSet):
            shown = sorted(held(x) for x in obj)
        else:
            shown = sorted((held(key), held(value)) for key, value in obj.items())
            shown = [pair for pair in shown if "gone" not in pair]
        if isinstance(shown, list):
            shown = [x for x in shown if x != "gone"]
        self.rows[number] = (_type(obj), shown)

    def _held(self, obj: Any) -> str:
        if type(obj) in ATOMS and obj is not None:
            return repr(obj)
        return f"#{self._numbers[id(obj)]}" if id(obj) in self._numbers else "gone"

    def _key(self, obj: Any, depth: int = 4) -> str:
        """What orders an element of a set that nothing else leads to."""
        if type(obj) in ATOMS:
            return repr(obj)
        number = self._numbers.get(id(obj))
        if number is not None:
            return f"#{number:06}"
        name = _name_of(obj)
        if name is not None or not depth:
            return name or _type(obj)
        if isinstance(obj, frozenset):
            inner = sorted(self._key(x, depth - 1) for x in obj)
        else:
            inner = [label + self._key(part, depth - 1) for label, part in self._parts(obj) if type(part) is not _Shown]
        return f"{_type(obj)}({','.join(inner[:8])})"

    # ------------------------------------------------------------ what objects are made of

    def _parts(self, obj: Any) -> Parts:
        cls = type(obj)
        yield from _contents(obj)
        if cls in FRAMES:
            if not self.light:
                yield from _frame(obj, FRAMES[cls])
        elif cls is types.FunctionType:
            yield from _function(obj)
        elif isinstance(obj, type):
            yield from _class(obj)
        elif cls not in _NO_ATTRIBUTES:
            yield from self._attributes(obj)

    def _attributes(self, obj: Any) -> Parts:
        for cls in type(obj).__mro__:
            slots = cls.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name not in ("__dict__", "__weakref__") and hasattr(obj, name):
                    yield f".{name}", getattr(obj, name)
        if self.light:
            if type(obj).__dictoffset__:
                for name in NAMES:
                    value = getattr(obj, name, _MISSING)
                    if value is not _MISSING:
                        yield f".{name}", value
        elif isinstance(getattr(obj, "__dict__", None), dict):
            for name, value in vars(obj).items():
                yield f".{name}" if isinstance(name, str) else f".<{name!r}>", value


_MISSING = object()
_NO_ATTRIBUTES = frozenset(
    {list, dict, set, frozenset, tuple, collections.deque, bytearray, types.MethodType, types.CellType, types.CodeType}
    | {types.BuiltinMethodType, types.MethodWrapperType}
    | REDUCED
)


def _type(obj: Any) -> str:
    cls = type(obj)
    return f"{cls.__module__}.{cls.__qualname__}"


def _name_of(obj: Any) -> str | None:
    """How what is code, not state, is shown; None for what is walked into."""
    if isinstance(obj, types.ModuleType):
        return f"module {obj.__name__}"
    if isinstance(obj, types.CodeType):
        return f"code {obj.co_qualname}:{obj.co_firstlineno}"
    if isinstance(obj, enum.Enum):
        return repr(obj)
    if isinstance(obj, type) or type(obj) is types.FunctionType:
        found: Any = sys.modules.get(obj.__module__ or "")
        for part in obj.__qualname__.split("."):
            found = getattr(found, part, None)
        if found is obj:
            return f"{obj.__module__}:{obj.__qualname__}"
        if isinstance(obj, type) and not obj.__flags__ & (1 << 9):  # built in, whatever its name
            return repr(obj)
        return None
    if type(obj) is types.BuiltinFunctionType and isinstance(obj.__self__, (types.ModuleType, type, type(None))):
        return repr(obj)
    if type(obj) in (types.WrapperDescriptorType, types.MethodDescriptorType, types.ClassMethodDescriptorType):
        return repr(obj)
    where = f"{type(obj).__module__}.{type(obj).__qualname__}"
    return repr(obj) if where.startswith(SHOWN_BY_REPR) else None


def _contents(obj: Any) -> Parts:
    cls = type(obj)
    if isinstance(obj, (list, tuple, collections.deque)):
        if isinstance(obj, collections.deque):
            yield " maxlen", obj.maxlen
        every = {list: list, tuple: tuple}.get(cls)
        items = obj if every else (tuple.__iter__(obj) if isinstance(obj, tuple) else obj)
        for index, item in enumerate(items):
            yield f"[{index}]", item
    elif isinstance(obj, dict):
        if isinstance(obj, collections.defaultdict):
            yield " default", obj.default_factory
        for index, (key, value) in enumerate(obj.items()):
            label = repr(key) if type(key) in ATOMS else f"<{index}>"
            yield f" key{label}", key
            yield f"[{label}]", value
    elif isinstance(obj, (int, str, bytes, float, complex)):
        yield " value", _Shown(_plain(obj))
    elif isinstance(obj, bytearray):
        yield " bytes", bytes(obj)
    elif isinstance(obj, array.array):
        yield " array", _Shown((obj.typecode, obj.tobytes()))
    elif isinstance(obj, random.Random):
        yield " state", _Shown(obj.getstate())
    elif isinstance(obj, types.CellType):
        try:
            yield " cell", obj.cell_contents
        except ValueError:
            yield " empty", None
    elif isinstance(obj, functools.partial):
        yield " func", obj.func
        for index, item in enumerate(obj.args):
            yield f"({index})", item
        for key, value in obj.keywords.items():
            yield f"({key}=)", value
    elif isinstance(obj, (types.MethodType, types.BuiltinMethodType)):
        yield " self", obj.__self__
        yield " name", obj.__name__
        if isinstance(obj, types.MethodType):
            yield " function", obj.__func__
    elif isinstance(obj, BaseException):
        yield from _exception(obj)
    elif cls in REDUCED:
        yield from _iterator(obj)
    elif cls.__module__ == "numpy" and hasattr(obj, "tobytes"):
        yield " array", _Shown((str(obj.dtype), getattr(obj, "shape", ()), obj.tobytes()))


def _plain(obj: Any) -> str:
    for base in (int, str, bytes, float, complex):
        if isinstance(obj, base):
            return base.__repr__(obj)
    raise AssertionError(obj)


def _exception(obj: BaseException) -> Parts:
    for index, item in enumerate(obj.args):
        yield f"({index})", item
    yield " cause", obj.__cause__
    yield " context", obj.__context__
    yield " quiet", obj.__suppress_context__
    if isinstance(obj, BaseExceptionGroup):
        yield " group", obj.exceptions
    lines = [
        (os.path.basename(frame.f_code.co_filename), line, frame.f_code.co_name)
        for frame, line in traceback.walk_tb(obj.__traceback__)
    ]
    yield " traceback", _Shown(lines)


def _iterator(obj: Any) -> Parts:
    """What `__reduce__` says; the tuples and lists that it makes on the way are no objects of the graph."""
    try:
        reduced = obj.__reduce__()
    except RuntimeError:  # over a dict that has another size now
        yield " broken", True
        return
    yield " made by", reduced[0]
    for index, argument in enumerate(reduced[1]):
        if isinstance(argument, list) and type(obj).__name__.startswith("dict"):  # made of what is left
            for place, item in enumerate(argument):
                if isinstance(item, tuple) and "item" in type(obj).__name__:
                    yield f" left {place}", item[0]
                    item = item[1]
                yield f" left {place}", item
        elif argument == [] or argument == ():  # of what is at its end
            yield " end", None
        else:
            yield f"({index})", argument
    if len(reduced) > 2 and reduced[2]:
        yield " at", reduced[2]


def _frame(obj: Any, prefix: str) -> Parts:
    frame = getattr(obj, prefix + "_frame")
    yield " name", obj.__qualname__
    if frame is None:
        yield " finished", True
        return
    suspended = getattr(obj, prefix + "_suspended", None)
    yield " suspended", suspended
    yield " line", frame.f_lineno
    names = obj.__getattribute__(prefix + "_code").co_freevars
    values = dict(frame.f_locals)
    for name in sorted(values):
        if name not in names:
            yield f".{name}", values[name]
    for name in sorted(set(names) & set(values)):
        yield f" free {name}", values[name]
    below = getattr(obj, "gi_yieldfrom" if prefix == "gi" else prefix + "_await")
    yield " below", below


def _function(obj: types.FunctionType) -> Parts:
    yield " names", _Shown((obj.__name__, obj.__qualname__, obj.__module__, obj.__doc__))
    yield " code", _Shown((obj.__code__.co_qualname, obj.__code__.co_firstlineno))
    for index, value in enumerate(obj.__defaults__ or ()):
        yield f"(default {index})", value
    for name, value in (obj.__kwdefaults__ or {}).items():
        yield f"(default {name})", value
    for index, cell in enumerate(obj.__closure__ or ()):
        yield f" cell {index}", cell
    for name, value in vars(obj).items():
        yield f".{name}", value


_OF_CLASSES = frozenset(
    {"__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__", "__static_attributes__", "__slotnames__"}
)


def _class(obj: type) -> Parts:
    yield " names", _Shown((obj.__name__, obj.__qualname__, obj.__module__))
    yield " metaclass", type(obj)
    for index, base in enumerate(obj.__bases__):
        yield f" base {index}", base
    for name, value in vars(obj).items():
        if name not in _OF_CLASSES and not name.startswith("__annot") and name != "_abc_impl":
            yield f".{name}", value


# ---------------------------------------------------------------- comparing


def difference(one: Portrait, other: Portrait) -> str | None:
    """Where the second portrait first differs from the first, with the path from the root; None if nowhere."""
    if one.rows == other.rows:
        return None
    for number, (a, b) in enumerate(zip(one.rows, other.rows, strict=False)):
        if a != b:
            path = one.paths[number]
            if a[0] != b[0]:
                return f"at {path}: a {a[0]} became a {b[0]}"
            for index in range(1, max(len(a), len(b))):
                for x, y in zip(a[index], b[index], strict=False):
                    if x != y:
                        return f"at {path} ({a[0]}): {_short(x)} became {_short(y)}"
            return f"at {path} ({a[0]}): {_short(a[1:])} became {_short(b[1:])}"
    return f"{len(one.rows)} objects became {len(other.rows)}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 300 else text[:300] + " ..."


def assert_same(one: Any, other: Any, what: str = "") -> None:
    """Two graphs, or portraits of them, are the same."""
    first = one if isinstance(one, Portrait) else Portrait(one)
    second = other if isinstance(other, Portrait) else Portrait(other)
    found = difference(first, second)
    assert found is None, f"{what}: {found}" if what else found
