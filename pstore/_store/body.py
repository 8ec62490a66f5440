"""The body of a record: a cluster <-> bytes (layer 2).

Owns: format 2 of bodies (invariant I9).  A body is some pickles of protocol 5, each after its length (4 bytes, little
endian).  The memo of the pickler is set before each, and so is that of the unpickler: by opcodes put before the pickle
that take the objects, one after the other, from the buffers and memoise them.

========  ======================  =====================================================================================
pickle    memo before it          what it is
========  ======================  =====================================================================================
head      empty                   ``(groups, foreign, deps, late, simple, alone)``
making    the deps, in order      only if there are deps: ``groups``, which the head then has as None
states    nodes, then foreign     a tuple: the states of the nodes that are not late, one after the other
late      as after the states     one for each late node, in order: its state, a tuple
========  ======================  =====================================================================================

``groups`` is a list of ``[code, payload, count]``, runs of nodes in order of number:

====  ===========  ============================  ==================================================================
code  name         payload                       state of each node
====  ===========  ============================  ==================================================================
0     HOLE         None                          none; there is no node of that number, and it is not in the memo
1     LIST         None                          length, items
2     DICT         None                          length, keys, values
3     SET          None                          length, items
4     SHAPED       (class, names)                the values of the attributes
5     ATTRIBUTES   class                         (names, values, None or [(names of slots), values of slots])
6     ADOPTING     class                         the dict that is to be its ``__dict__``
7     MADE         (function, arguments)         (state, items, pairs, setter), as of a reduce value, or None
8     VALUE        the object                    none
9     PERSISTENT   None                          what ``__getstate__`` gave; always late; node 0 and no other
10    EPHEMERAL    (function, arguments, keywords)  none; node 0 and no other
11    LONG_LIST    None                          number of its runs, the runs; always late
12    LONG_DICT    None                          the same; a run has keys and values in turn
13    RUN          None                          length, items
====  ===========  ============================  ==================================================================

``foreign`` and ``deps`` are flat tuples of (place in the record's references, number of the node there) pairs; where
the record is that of a Persistent object, its class stands for the number.  ``late`` is a list of (number of node,
places in the memo of those that have to be filled before).  ``simple`` says that nothing but nodes needs watching.
``alone``: 0; 1: no other node may join; 2: besides, the node is made when its deps are filled.

Loading runs what the pickles name: functions of `pstore._frames.stored`, classes, ``__reduce__`` functions.
"""

from __future__ import annotations

import io
import keyword
import pickle
import struct
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import repeat
from typing import Any

from pstore._frames import reducer_of
from pstore._store.ephemeral import remade
from pstore._store.kinds import PERSISTENT, Kinds
from pstore._store.layout import Group, Layout
from pstore._store.rows import Row
from pstore._store.survey import Survey
from pstore._store.walk import Walk
from pstore.errors import FormatError

__all__ = ["Reading", "RowWriter", "Writer", "digest_of"]

_PROTOCOL = 5
_LENGTH = struct.Struct("<I")
_TAKE = pickle.NEXT_BUFFER + pickle.MEMOIZE + pickle.POP


class _Pickler(pickle.Pickler):
    reduced: dict[int, Any]

    def reducer_override(self, obj: Any) -> Any:
        known = self.reduced.get(id(obj))
        if known is not None and known.value is not None:
            return as_reduce_value(known.value)
        reducer = reducer_of[type(obj)]
        return reducer(obj) if reducer is not None else NotImplemented


def as_reduce_value(value: tuple[Any, ...]) -> tuple[Any, ...]:
    """What pickle takes, from what a survey keeps."""
    function, arguments, state, items, pairs, setter = value
    if setter is not None:
        return function, arguments, state, items and iter(items), pairs and iter(pairs), setter
    return function, arguments, state, items and iter(items), pairs and iter(pairs)


class Writer:
    """Writes the clusters of one survey.

    Args:
        survey: has the layouts.
        reference: object -> (object id of its record, number or class).
    """

    def __init__(self, survey: Survey, reference: Callable[[Any], tuple[bytes, Any]]) -> None:
        self._survey, self._reference = survey, reference
        self._sink = _Sink()
        self._pickler = _Pickler(self._sink, _PROTOCOL)
        self._pickler.reduced = survey.reduced
        self._sections: list[bytes] = []

    def write(self, nodes: list[Any], layout: Layout) -> tuple[bytes, list[bytes]]:
        """Give the body, and the object ids of the records that it refers to.

        Raises: whatever a pickler raises at what cannot be stored; `survey.at` is the node.
        """
        references: dict[bytes, int] = {}
        deps, foreign = self._table(layout.deps, references), self._table(layout.foreign, references)
        present = [node for node in nodes if node is not None]
        known = [*present, *layout.foreign.values()]
        memo = {id(obj): (place, obj) for place, obj in enumerate(known)}
        late = []
        for number, _, before in layout.late:
            places = sorted({memo[key][0] for key in before if key in memo})
            late.append((number, places))
        self._sections.clear()
        self._dump({}, (None if deps else layout.groups, foreign, deps, late, layout.simple, layout.alone))
        if deps:
            self._dump({id(obj): (place, obj) for place, obj in enumerate(layout.deps.values())}, layout.groups)
        self._dump(memo, tuple(layout.flat))
        if late:
            memo = self._pickler.memo.copy()
            for _, state, _ in layout.late:
                self._dump(memo, tuple(state))
        return b"".join(self._sections), list(references)

    def _table(self, objects: dict[int, Any], references: dict[bytes, int]) -> tuple[Any, ...]:
        flat: list[Any] = []
        home, kinds = self._survey.heap.home, self._survey.heap.kinds
        last, place, numbers = None, 0, {}
        for key, obj in objects.items():
            cluster = home.get(key)
            if cluster is None or kinds[type(obj)].code == PERSISTENT:
                oid, number = self._reference(obj)
                flat += (references.setdefault(oid, len(references)), number)
                continue
            if cluster is not last:  # many in a row are of one cluster
                last, numbers = cluster, self._survey.numbers(cluster)
                place = references.setdefault(cluster.oid, len(references))
            flat += (place, numbers[key])
        return tuple(flat)

    def _dump(self, memo: dict[int, tuple[int, Any]], obj: Any) -> None:
        chunks = self._sink.chunks
        chunks.clear()
        self._pickler.memo = memo
        try:
            self._pickler.dump(obj)
            section = b"".join(chunks)
        except Exception:
            section = self._slowly(memo, obj)
        self._sections += (_LENGTH.pack(len(section)), section)

    def _slowly(self, memo: dict[int, tuple[int, Any]], obj: Any) -> bytes:
        """Write without recursion."""
        in_order = sorted(memo.values(), key=lambda entry: entry[0])
        walk = Walk((obj for _, obj in in_order), self._survey.reduced)
        body = walk.save(obj)
        self._pickler.memo = dict(walk.memo)
        return pickle.PROTO + bytes((_PROTOCOL,)) + body


class RowWriter:
    """Writes clusters of one row of instances, as `Writer` does: the bytes are the same.

    No node leads to another, so all that the memo of the nodes says is how many there are: others are in their place.
    """

    def __init__(self) -> None:
        self._sink = _Sink()
        self._pickler = _Pickler(self._sink, _PROTOCOL)
        self._pickler.reduced = {}
        self._memos: dict[int, Any] = {}

    def write(self, row: Row, held: list[Any]) -> bytes:
        """Give the body of a cluster whose nodes refer to these.

        Raises: whatever a pickler raises, such as at a class that its module has not any more.
        """
        count = len(held) // (len(row.names) + 1)
        pickler, groups = self._pickler, [[Group.SHAPED, (row.cls, row.names), count]]
        try:
            pickler.clear_memo()
            head = self._dump((groups, (), (), [], True, 0))
            pickler.memo = self._memos.get(count) or self._memo(count)
            states = self._dump(tuple(row.values(held)))
        finally:
            pickler.clear_memo()
        return b"".join((_LENGTH.pack(len(head)), head, _LENGTH.pack(len(states)), states))

    def _dump(self, obj: Any) -> bytes:
        chunks = self._sink.chunks
        chunks.clear()
        self._pickler.dump(obj)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _memo(self, count: int) -> Any:
        """A memo of so many objects, to be copied."""
        pickler = pickle.Pickler(_Sink(), _PROTOCOL)
        pickler.memo = {id(one): (place, one) for place, one in enumerate([object() for _ in range(count)])}
        memo = self._memos[count] = pickler.memo
        return memo


def digest_of(body: bytes, references: Iterable[bytes]) -> int:
    """What tells in this process whether a cluster is stored just so."""
    return hash((body, *references))


class _Sink:
    __slots__ = ("chunks", "write")

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.write = self.chunks.append


# ---------------------------------------------------------------- reading


class Reading:
    """One body on its way to being live objects: `make`, then `fill`, then `fill_late` for each of `late`.

    Args:
        body: the bytes.
        unpickler: makes an unpickler of a file and buffers.
        is_shared: tells what the bytes may name, but not change; None: they are trusted.

    Attributes:
        foreign, deps: flat tuples, see the module.
        late: see the module.
        nodes: by number, None where there is none; after `make`.
        groups, simple, alone: see the module.
    """

    __slots__ = (
        "_is_shared",
        "_memo",
        "_sections",
        "_unpickler",
        "alone",
        "deps",
        "foreign",
        "groups",
        "late",
        "memo",
        "nodes",
        "runs",
        "simple",
    )

    def __init__(
        self,
        body: bytes,
        unpickler: Callable[..., Any] = pickle.Unpickler,
        is_shared: Callable[[Any], bool] | None = None,
    ) -> None:
        self._unpickler, self._is_shared = unpickler, is_shared
        self._sections = list(_split(body))
        head = self._load(self._sections.pop(0), ())
        self.groups, self.foreign, self.deps, self.late, self.simple, self.alone = head
        self._sections.reverse()
        self.nodes: list[Any] = []
        self.memo: list[Any] = []
        self.runs: dict[int, list[Any]] = {}
        self._memo: list[Any] = []

    def _load(self, section: bytes, memo: Collection[Any]) -> Any:
        if self._unpickler is pickle.Unpickler:
            return pickle.loads(_TAKE * len(memo) + section, buffers=memo)
        return self._unpickler(io.BytesIO(_TAKE * len(memo) + section), buffers=memo).load()

    def _load_with_memo(self, section: bytes, memo: Collection[Any]) -> tuple[Any, list[Any]]:
        unpickler = self._unpickler(io.BytesIO(_TAKE * len(memo) + section), buffers=memo)
        loaded = unpickler.load()
        after = unpickler.memo.copy()
        return loaded, [after[place] for place in range(len(after))]

    def make(self, deps: Iterable[Any] = (), persistent: Any = None) -> None:
        """Make the nodes, without contents.  `persistent`: node 0, if that is a Persistent object."""
        if self.groups is None:
            self.groups = self._load(self._sections.pop(), list(deps))
        nodes = self.nodes
        for code, payload, count in self.groups:
            if code == Group.SHAPED:
                cls = payload[0]
                nodes += map(object.__new__, repeat(cls, count))
            elif code == Group.PERSISTENT:
                nodes.append(persistent)
            elif code == Group.MADE:
                nodes.append(payload[0](*payload[1]))
            elif code == Group.VALUE:
                nodes.append(payload)
            elif code == Group.EPHEMERAL:
                nodes.append(remade(*payload))
            else:
                nodes += _MAKERS[code](payload, count)

    def fill(self, foreign: Iterable[Any], kinds: Kinds) -> None:
        """Fill the nodes that are not late."""
        self.memo = [node for node in self.nodes if node is not None]
        self.memo += foreign
        late = {number for number, _ in self.late}
        if late:
            flat, self._memo = self._load_with_memo(self._sections.pop(), self.memo)
        else:
            flat = self._load(self._sections.pop(), self.memo)
        nodes, number, at = self.nodes, 0, 0
        for code, payload, count in self.groups:
            if code == Group.SHAPED and not late:
                at = filler(payload[0], payload[1], kinds)(nodes[number : number + count], flat, at)
            elif code != Group.HOLE:
                for node in range(number, number + count):
                    if node not in late:
                        at = self._fill_one(code, payload, nodes[node], flat, at, kinds)
            number += count
        if at != len(flat):
            raise FormatError(f"a record has {len(flat) - at} values too many")

    def replace(self, place: int, obj: Any) -> None:
        """Put a foreign node that was made after `fill` where the late states refer to it."""
        self._memo[len(self.memo) - len(self.foreign) // 2 + place] = obj

    def fill_late(self, index: int, kinds: Kinds) -> None:
        """Fill one of the late nodes."""
        number = self.late[index][0]
        flat = self._load(self._sections[-1 - index], self._memo)
        code, payload = self._group_of(number)
        if code == Group.PERSISTENT:
            self.nodes[number].__setstate__(flat[0])
        elif self._fill_one(code, payload, self.nodes[number], flat, 0, kinds) != len(flat):
            raise FormatError("a record has a late state of another length")

    def _fill_one(self, code: int, payload: Any, obj: Any, flat: tuple[Any, ...], at: int, kinds: Kinds) -> int:
        if code == Group.MADE and self._is_shared is not None and flat[at] is not None and flat[at][3] is None:
            if self._is_shared(obj):  # what has a setter is checked by that
                raise FormatError(f"damaged, or made up: it changes {obj!r}, which it only names")
        if code in Group.LONG:
            self.runs[id(obj)] = list(flat[at + 1 : at + 1 + flat[at]])
        return fill_one(code, payload, obj, flat, at, kinds)

    def is_long(self, number: int) -> bool:
        """Whether a node is a list or dict that is kept in runs."""
        return self._group_of(number)[0] in Group.LONG

    def _group_of(self, number: int) -> tuple[int, Any]:
        """Code and payload of the group that a node is in."""
        for code, payload, count in self.groups:
            if number < count:
                return code, payload
            number -= count
        raise FormatError("a record names a node that it has not")


def _split(body: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(body):
        (length,) = _LENGTH.unpack_from(body, at)
        at += _LENGTH.size
        yield body[at : at + length]
        at += length


def _instances(cls: Any, count: int) -> list[Any]:
    return [object.__new__(cls) for _ in range(count)]


_MAKERS: dict[int, Callable[[Any, int], list[Any]]] = {
    Group.HOLE: lambda payload, count: [None] * count,
    Group.LIST: lambda payload, count: [[] for _ in range(count)],
    Group.DICT: lambda payload, count: [{} for _ in range(count)],
    Group.SET: lambda payload, count: [set() for _ in range(count)],
    Group.ATTRIBUTES: _instances,
    Group.ADOPTING: _instances,
    Group.LONG_LIST: lambda payload, count: [[] for _ in range(count)],
    Group.LONG_DICT: lambda payload, count: [{} for _ in range(count)],
    Group.RUN: lambda payload, count: [[] for _ in range(count)],
}


def fill_one(code: int, payload: Any, obj: Any, flat: tuple[Any, ...], at: int, kinds: Kinds) -> int:
    """Fill one node from the states at `at`; give where its state ends."""
    if code == Group.SHAPED:
        return filler(payload[0], payload[1], kinds)([obj], flat, at)
    if code == Group.DICT:
        first = at + 1
        middle = first + flat[at]
        obj.update(zip(flat[first:middle], flat[middle : middle + flat[at]], strict=True))
        return int(middle + flat[at])
    if code in (Group.LIST, Group.SET, Group.RUN):
        end = at + 1 + flat[at]
        (obj.update if code == Group.SET else obj.extend)(flat[at + 1 : end])
        return int(end)
    if code in (Group.VALUE, Group.EPHEMERAL):
        return at
    if code in Group.LONG:
        end = int(at + 1 + flat[at])
        for run in flat[at + 1 : end]:
            if code == Group.LONG_LIST:
                obj.extend(run)
            else:
                obj.update(zip(run[::2], run[1::2], strict=True))
        return end
    if code == Group.MADE:
        if flat[at] is not None:
            set_state(obj, *flat[at])
        return at + 1
    if code == Group.ADOPTING:
        object.__setattr__(obj, "__dict__", flat[at])
    elif code == Group.ATTRIBUTES:
        names, values, slots = flat[at]
        obj.__dict__.update(zip(names, values, strict=True))
        if slots is not None:
            for name, value in zip(slots[0], slots[1:], strict=True):
                kinds[type(obj)].slots[name].__set__(obj, value)
    else:
        raise FormatError(f"a record has nodes of kind {code}, which this version does not know")
    return at + 1


def set_state(obj: Any, state: Any, items: Any, pairs: Any, setter: Any) -> None:
    """Fill an object as pickle would from the last parts of a reduce value."""
    if items is not None:
        extend = getattr(obj, "extend", None)
        if extend is not None:
            extend(items)
        else:
            for item in items:
                obj.append(item)
    if pairs is not None:
        for key, value in pairs:
            obj[key] = value
    if state is None:
        return
    if setter is not None:
        setter(obj, state)
        return
    own = getattr(obj, "__setstate__", None)
    if own is not None:
        own(state)
        return
    slots = None
    if isinstance(state, tuple) and len(state) == 2:
        state, slots = state
    if state:
        obj.__dict__.update(state)
    for name, value in (slots or {}).items():
        setattr(obj, name, value)


Filler = Callable[[list[Any], tuple[Any, ...], int], int]
_fillers: dict[tuple[type, tuple[str, ...]], Filler] = {}
_CACHE_LIMIT = 5_000


def filler(cls: type, names: tuple[str, ...], kinds: Kinds) -> Filler:
    """The function that sets the attributes of a run of instances: ``function(objects, flat, at) -> end``."""
    found = _fillers.get((cls, names))
    if found is None:
        if len(_fillers) >= _CACHE_LIMIT:
            _fillers.clear()
        found = _fillers[cls, names] = _make_filler(cls, names, kinds)
    return found


def _make_filler(cls: type, names: tuple[str, ...], kinds: Kinds) -> Filler:
    width = len(names)
    if not names:
        return lambda objects, flat, at: at
    if not all(_is_storable(cls, name, kinds) for name in names):
        return _slow_filler(names, kinds)
    setter: Any = cls.__setattr__
    plain = setter is object.__setattr__
    columns = "".join(f", flat[at + {index}:end:{width}]" for index in range(width))
    values = "".join(f", v{index}" for index in range(width))
    stores = "; ".join(
        f"o.{name} = v{index}" if plain else f"store(o, {name!r}, v{index})" for index, name in enumerate(names)
    )
    source = (
        f"def fill(objects, flat, at):\n    end = at + {width} * len(objects)\n"
        f"    for o{values} in zip(objects{columns}, strict=True):\n        {stores}\n    return end\n"
    )
    space: dict[str, Any] = {"store": object.__setattr__}
    exec(source, space)  # the names are identifiers; stores to them are what the interpreter makes fastest
    return space["fill"]  # type: ignore[no-any-return]


def _is_storable(cls: type, name: str, kinds: Kinds) -> bool:
    """Whether a store to this attribute of an instance sets it and does nothing else."""
    if not name.isidentifier() or keyword.iskeyword(name) or name in ("__debug__", "__class__", "__dict__"):
        return False
    for base in cls.__mro__:
        if name in vars(base):
            value = vars(base)[name]
            if name in kinds[cls].slots:
                return value is kinds[cls].slots[name]
            return not (hasattr(type(value), "__set__") or hasattr(type(value), "__delete__"))
    return True


def _slow_filler(names: tuple[str, ...], kinds: Kinds) -> Filler:
    def fill(objects: list[Any], flat: tuple[Any, ...], at: int) -> int:
        for obj in objects:
            slots = kinds[type(obj)].slots
            for name in names:
                if name in slots:
                    slots[name].__set__(obj, flat[at])
                else:
                    obj.__dict__[name] = flat[at]
                at += 1
        return at

    return fill
