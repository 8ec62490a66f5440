"""Pickling without recursion, and with the path to where it stands (layer 2).

Owns: :class:`Walk`, a pickler of protocol 5 in Python with a stack of its own.  It writes what the C pickler would
write, some ten times slower, and serves the two cases that the C pickler cannot:

* depth: a linked list of 100,000 nodes or an await chain of 1,000 frames (I4 forbids a RecursionError here);
* refusal: which way led from the root to the value that cannot be stored.

Reading needs neither: the unpickler works on a stack of its own.

Source: ``Lib/pickle.py`` and ``Modules/_pickle.c`` (opcodes and the order of memoising), protocol 5.
"""

from __future__ import annotations

import copyreg
import pickle
import struct
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType
from typing import Any

from pstore._frames import reduce_in_two_phases, reducer_of
from pstore._frames.describe import cell_labels, state_labels, where
from pstore._store.ephemeral import recipes
from pstore.errors import CaptureError, UnsupportedValue

__all__ = ["Walk", "refusal"]

Steps = Generator[tuple[Any, str], None, None]
"""Yields the children to save, each with its label; writes before, between and after."""

_BATCH = 1000
_FRAMES = (GeneratorType, CoroutineType, AsyncGeneratorType)
_SINGLETONS = {None: pickle.NONE, True: pickle.NEWTRUE, False: pickle.NEWFALSE}
_SPECIAL_TYPES = {type(None): (None,), type(NotImplemented): (NotImplemented,), type(...): (...,)}


class Walk:
    """One walk over a graph.

    After an exception out of :meth:`save`, :meth:`path` says where the walk stood.
    """

    def __init__(self, memo: Iterable[Any] = (), reduced: Mapping[int, Any] | None = None) -> None:
        """`memo`: objects that the reader's memo holds already, in order; `reduced`: see `survey.Survey`."""
        self.out: list[bytes] = []
        self.memo: dict[int, tuple[int, Any]] = {}
        self.labels: list[str] = []
        self.at: Any = None  # the object whose saving began last
        self.attributes: set[int] = set()  # ids of dicts whose entries are attributes of an instance
        self.slots: dict[int, list[str]] = {}  # id of a frame's state -> labels of its items
        self.reduced = reduced or {}
        for obj in memo:
            self.memo[id(obj)] = (len(self.memo), obj)

    def save(self, root: Any) -> bytes:
        """The pickle of `root`, without PROTO, with STOP."""
        self.labels = ["root"]
        stack = [self._begin(root)]
        while stack:
            steps = stack[-1]
            child = next(steps, None) if steps is not None else None
            if child is None:
                stack.pop()
                self.labels.pop()
            else:
                self.labels.append(child[1])
                stack.append(self._begin(child[0]))
        return b"".join(self.out) + pickle.STOP

    def path(self) -> str:
        """The way from the root to the object at which the walk stands."""
        return "".join(self.labels)

    # ------------------------------------------------------------ one object

    def type_name(self) -> str:
        """The type of the object at which the walk stands."""
        cls = type(self.at)
        return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"

    def _begin(self, obj: Any) -> Steps | None:
        cls = type(obj)
        self.at = obj
        simple = _ATOMS.get(cls)
        if simple is not None:
            self.out.append(simple(obj))
            return None
        known = self.memo.get(id(obj))
        if known is not None:
            self.out.append(_get(known[0]))
            return None
        if id(obj) in recipes:
            return self._reduced(obj, *recipes[id(obj)].reduced())
        leaf = _LEAVES.get(cls)
        if leaf is not None:
            self.out.append(leaf(obj))
            self._memoise(obj)
            return None
        container = _CONTAINERS.get(cls)
        if container is not None:
            return container(self, obj)  # type: ignore[no-any-return]
        return self._other(obj, cls)

    def _memoise(self, obj: Any) -> None:
        self.memo[id(obj)] = (len(self.memo), obj)
        self.out.append(pickle.MEMOIZE)

    def _other(self, obj: Any, cls: type) -> Steps:
        # a frame may hold itself: here, other than in the C pickler, it can be referred to before its state is written
        known = self.reduced.get(id(obj))
        if known is not None and known.value is not None:
            return self._reduced(obj, *known.value)
        reducer = reduce_in_two_phases if cls in _FRAMES else reducer_of[cls]
        reduced = reducer(obj) if reducer is not None else NotImplemented
        if reduced is NotImplemented:
            if issubclass(cls, type):
                return self._class(obj)
            if cls is FunctionType:
                return self._global(obj, obj.__qualname__)
            by_table = copyreg.dispatch_table.get(cls)
            reduced = by_table(obj) if by_table is not None else obj.__reduce_ex__(5)
        if isinstance(reduced, str):
            return self._global(obj, reduced)
        if not isinstance(reduced, tuple) or not 2 <= len(reduced) <= 6:
            raise pickle.PicklingError(f"__reduce__ of {cls.__qualname__} returned no tuple of 2 to 6 items")
        return self._reduced(obj, *reduced)

    # ------------------------------------------------------------ classes and functions by name

    def _class(self, obj: type) -> Steps:
        special = _SPECIAL_TYPES.get(obj)
        if special is not None:
            return self._reduced(obj, type, special)
        return self._global(obj, obj.__qualname__)

    def _global(self, obj: Any, name: str) -> Steps:
        module = pickle.whichmodule(obj, name)  # type: ignore[attr-defined]
        found: Any = sys.modules.get(module)
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is not obj:
            raise pickle.PicklingError(f"it is not the same object as {module}.{name}")
        yield module, ""
        yield name, ""
        self.out.append(pickle.STACK_GLOBAL)
        self._memoise(obj)

    # ------------------------------------------------------------ reduce values

    def _reduced(
        self,
        obj: Any,
        function: Any,
        arguments: tuple[Any, ...],
        state: Any = None,
        items: Any = None,
        pairs: Any = None,
        setter: Any = None,
    ) -> Steps:
        self._describe(obj, arguments, state)
        kind = getattr(function, "__name__", "")
        if kind == "__newobj__":
            yield arguments[0], " class"
            yield arguments[1:], ""
            self.out.append(pickle.NEWOBJ)
        elif kind == "__newobj_ex__":
            for part in arguments:
                yield part, ""
            self.out.append(pickle.NEWOBJ_EX)
        else:
            yield function, ""
            yield arguments, ""
            self.out.append(pickle.REDUCE)
        known = self.memo.get(id(obj))
        if known is not None:  # made within its own arguments, with its state: that one counts
            self.out.append(pickle.POP + _get(known[0]))
            return
        self._memoise(obj)
        if items is not None:
            yield from self._batches(((item, f"[{index}]") for index, item in enumerate(items)), pickle.APPENDS)
        if pairs is not None:
            yield from self._batches(_entries(pairs), pickle.SETITEMS, 2)
        if state is not None:
            yield from self._state(obj, state, setter)

    def _state(self, obj: Any, state: Any, setter: Any) -> Steps:
        if setter is None:
            yield state, ""
            self.out.append(pickle.BUILD)
            return
        yield setter, ""
        yield obj, ""
        yield state, ""
        self.out.append(pickle.TUPLE2 + pickle.REDUCE + pickle.POP)

    def _describe(self, obj: Any, arguments: Any, state: Any) -> None:
        """Prepare labels for the parts of a reduce value."""
        if isinstance(obj, _FRAMES):
            self.labels[-1] += f" -> {where(obj)}"
            # of a frame that was not started, the state is the last argument
            values = state if state is not None else next((a for a in arguments if isinstance(a, tuple)), ())
            self.slots[id(values)] = state_labels(obj)
        elif isinstance(obj, FunctionType) and isinstance(arguments, tuple):
            self.labels[-1] += f" -> {where(obj)}"
            for part in arguments:
                if isinstance(part, tuple) and part is obj.__closure__:
                    self.slots[id(part)] = cell_labels(obj)
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.attributes.add(id(part))

    # ------------------------------------------------------------ containers

    def _batches(self, children: Iterable[tuple[Any, str]], close: bytes, width: int = 1) -> Steps:
        count = 0
        for child in children:
            if not count:
                self.out.append(pickle.MARK)
            yield child
            count += 1
            if count == _BATCH * width:
                self.out.append(close)
                count = 0
        if count:
            self.out.append(close)

    def _list(self, obj: list[Any]) -> Steps:
        self.out.append(pickle.EMPTY_LIST)
        self._memoise(obj)
        yield from self._batches(((item, f"[{index}]") for index, item in enumerate(obj)), pickle.APPENDS)

    def _dict(self, obj: dict[Any, Any]) -> Steps:
        self.out.append(pickle.EMPTY_DICT)
        self._memoise(obj)
        entries = _attributes(obj) if id(obj) in self.attributes else _entries(obj.items())
        yield from self._batches(entries, pickle.SETITEMS, 2)

    def _set(self, obj: set[Any]) -> Steps:
        self.out.append(pickle.EMPTY_SET)
        self._memoise(obj)
        yield from self._batches(((item, f" member {_short(item)}") for item in obj), pickle.ADDITEMS)

    def _frozenset(self, obj: frozenset[Any]) -> Steps:
        self.out.append(pickle.MARK)
        for item in obj:
            yield item, f" member {_short(item)}"
        self._close(obj, pickle.FROZENSET)

    def _tuple(self, obj: tuple[Any, ...]) -> Steps:
        if not obj:
            self.out.append(pickle.EMPTY_TUPLE)
            return
        labels = self.slots.get(id(obj))
        self.out.append(pickle.MARK)
        for index, item in enumerate(obj):
            label = labels[index] if labels is not None and index < len(labels) else f"[{index}]"
            yield item, label if isinstance(obj, tuple) else ""
        self._close(obj, pickle.TUPLE)

    def _close(self, obj: Any, opcode: bytes) -> None:
        known = self.memo.get(id(obj))
        if known is not None:  # recursive: it was made while its items were
            self.out.append(pickle.POP_MARK + _get(known[0]))
        else:
            self.out.append(opcode)
            self._memoise(obj)


def _entries(pairs: Iterable[tuple[Any, Any]]) -> Iterable[tuple[Any, str]]:
    for key, value in pairs:
        yield key, f" key {_short(key)}"
        yield value, f"[{_short(key)}]"


def _attributes(own: dict[Any, Any]) -> Iterable[tuple[Any, str]]:
    for key, value in own.items():
        yield key, ""
        yield value, f".{key}"


def _short(value: Any) -> str:
    """A key or member in a path; only of built-in types, since no code of the user's may run."""
    if type(value) not in (str, int, bytes, float, bool, type(None)):
        return f"<{type(value).__qualname__}>"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


# ---------------------------------------------------------------- opcodes of what has no parts


def _get(index: int) -> bytes:
    return pickle.BINGET + bytes((index,)) if index < 256 else pickle.LONG_BINGET + struct.pack("<I", index)


def _int(value: int) -> bytes:
    if 0 <= value < 256:
        return pickle.BININT1 + bytes((value,))
    if -0x80000000 <= value < 0x80000000:
        return pickle.BININT + struct.pack("<i", value)
    encoded = pickle.encode_long(value)
    if len(encoded) < 256:
        return pickle.LONG1 + bytes((len(encoded),)) + encoded
    return pickle.LONG4 + struct.pack("<i", len(encoded)) + encoded


def _str(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    return _sized(encoded, pickle.SHORT_BINUNICODE, pickle.BINUNICODE, pickle.BINUNICODE8)


def _bytes(value: bytes) -> bytes:
    return _sized(value, pickle.SHORT_BINBYTES, pickle.BINBYTES, pickle.BINBYTES8)


def _sized(data: bytes, short: bytes, medium: bytes, large: bytes) -> bytes:
    size = len(data)
    if size < 256:
        return short + bytes((size,)) + data
    return (medium + struct.pack("<I", size) if size < 1 << 32 else large + struct.pack("<Q", size)) + data


_ATOMS: dict[type, Callable[[Any], bytes]] = {
    type(None): _SINGLETONS.__getitem__,
    bool: _SINGLETONS.__getitem__,
    int: _int,
    float: lambda value: pickle.BINFLOAT + struct.pack(">d", value),
}
_LEAVES: dict[type, Callable[[Any], bytes]] = {
    str: _str,
    bytes: _bytes,
    bytearray: lambda value: pickle.BYTEARRAY8 + struct.pack("<Q", len(value)) + bytes(value),
}
_CONTAINERS: dict[type, Any] = {
    list: Walk._list,
    dict: Walk._dict,
    set: Walk._set,
    frozenset: Walk._frozenset,
    tuple: Walk._tuple,
}


# What is said of a value that nothing knows how to store; what belongs to the process has remedies of its own.
_ANY_REMEDY = (
    "let it go before the await and make it again afterwards, or have every process make its own: "
    "pstore.ephemeral(factory, ...)"
)


def refusal(error: BaseException, obj_type: str, path: str) -> UnsupportedValue:
    """The error to raise for what stopped a walk at `path`."""
    if isinstance(error, UnsupportedValue):
        return type(error)(error.type_name, error.reason, error.remedy, error.path or path)
    remedy = "" if isinstance(error, CaptureError) else _ANY_REMEDY  # pstore's own texts say what to do
    return UnsupportedValue(obj_type, str(error) or type(error).__name__, remedy, path)
