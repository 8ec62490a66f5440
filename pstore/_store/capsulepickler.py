"""Writing one capsule after the other, by C pickle (layer 2).

Owns: :class:`CapsulePickler`: what a capsule keeps itself, what it refers to, and what it has to leave to the clusters;
see `capsules` for which is which, and `capsulebody` for the format.
"""

from __future__ import annotations

import copyreg
import pickle
from collections.abc import Container
from sys import getrefcount
from types import CoroutineType, FunctionType, GeneratorType
from typing import Any, Protocol

from pstore._frames import reducer_of
from pstore._frames.making import frame
from pstore._frames.names import by_name
from pstore._store import constants
from pstore._store.capsulebody import Code, frame_at, write_table
from pstore._store.clusters import Cluster
from pstore._store.ephemeral import recipes
from pstore._store.heap import Heap
from pstore._store.kinds import ATOMS, HEAD, INSTANCE, LEAF, PERSISTENT, REDUCED

__all__ = ["CapsulePickler", "Written"]

_PROTOCOL = 5
_LARGE = 16384  # bytes of a state from which on its parts are left to the clusters
_FRAMES = frozenset((GeneratorType, CoroutineType))
_HASHING = (dict, set, frozenset)
_FRAME = b"\x95"  # the instruction, see pickletools
_EMPTY = ()


class _Table(Protocol):
    """What is asked of the table of the capsules."""

    claims: Any

    def meet(self, head: Any) -> bytes:
        """The object id of a head."""

    def code(self, key: bytes, encoded: bytes) -> Code:
        """What frames share that stand at one place."""

    def codes(self) -> list[Code]:
        """All of them."""

    def owner(self) -> Any:
        """The part that all heads belong to."""

    def looked_at(self, head: Any) -> Container[int]:
        """Ids of the objects that a look at a head holds."""


class Written:
    """What is to be stored of a capsule."""

    __slots__ = ("body", "claimed", "digest", "places", "references")

    def __init__(self, body: bytes, references: list[bytes], places: list[tuple[Cluster, int]]) -> None:
        self.body, self.references, self.places = body, references, places
        self.digest = hash((body, *references))
        self.claimed: list[int] = []


class _Sink:
    __slots__ = ("chunks", "write")

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.write = self.chunks.append


class CapsulePickler(pickle.Pickler):
    """Writes one capsule after the other."""

    def __init__(self, capsules: _Table, heap: Heap) -> None:
        self._sink = _Sink()
        super().__init__(self._sink, _PROTOCOL)
        self._capsules = capsules
        self._heap, self._claims = heap, capsules.claims
        self._kinds = self._heap.kinds
        self._home: dict[int, Cluster] = {}
        self._known: dict[int, int] = {}
        self._met: dict[int, Any] = {}
        self._shared: list[Any] = []
        self._entries: list[int | type] = []
        self._references: list[bytes] = []
        self._places: list[tuple[Cluster, int]] = []
        self._numbers: dict[int, int] = {}
        self._always: dict[int, int] = {}
        self._codes: dict[bytes, tuple[bytes, Code, int]] = {}
        self.by_name: dict[int, Any] = {}
        self._kept: list[Any] = []
        self._looked_at: Container[int] = ()
        self.frames: list[Any] = []

    def begin(self) -> None:
        """Begin to write for a commit: what is found by name may be another thing by now."""
        self.by_name.clear()
        self._kept.clear()
        self._codes.clear()
        self._always = {**constants.known, id(self._capsules.owner()): constants.reference_to(constants.OWNER)}

    def end(self) -> None:
        """Hold nothing of the heap: by that it is known who else holds it."""
        self._home, self._met, self._known, self._shared = {}, {}, {}, []

    def write(self, head: Any) -> tuple[Written | None, list[Any]]:
        """What is to be stored of a head; or None, and what belongs to the clusters."""
        chunks = self._sink.chunks
        chunks.clear()
        self._home = self._heap.home
        self._looked_at = self._capsules.looked_at(head)
        self._known = self._always.copy()
        self._known[id(head)] = 0
        self._met, self._shared = {}, []
        self._entries, self._references, self._places = [], [], []
        state = head.__capsule_state__(self._fresh_parts(head))
        try:
            self.dump(state)
        except RecursionError:
            chunks.clear()
            return None, self._parts(state)
        finally:
            self.clear_memo()
        if self._shared:
            return None, self._shared
        data = _without_frame(b"".join(chunks))
        if len(data) > _LARGE:
            parts = self._parts(state)
            if parts:
                return None, parts
        result = Written(write_table(self._entries) + data, self._references, self._places)
        del state
        result.claimed = self._claimed()
        return result, []

    def _fresh_parts(self, head: Any) -> tuple[Any, ...]:
        """The parts that the head would not have stored, which nobody else leads to; from here on they are known."""
        parts: tuple[Any, ...]
        parts, references = head.__capsule_parts__()
        if parts:
            home, claims, met, known = self._home, self._claims, self._met, self._known
            for part in parts:
                key = id(part)
                if key in home or key in claims:
                    return ()
            for part, reference in zip(parts, references):  # noqa: B905  # as many; to check that takes as long again
                key = id(part)
                met[key], known[key] = part, reference
        return parts

    def _claimed(self) -> list[int]:
        """Ids of what the capsule has, without what was made for writing it, which nobody else holds."""
        met, self._met = self._met, {}
        self._known = {}
        return _held_by_others(met)

    def _parts(self, state: Any) -> list[Any]:
        """What to leave to the clusters of a capsule that is too large, or too deep: all that its head holds itself."""
        found, todo = [], list(state)
        while todo:
            part = todo.pop()
            if type(part) is tuple and id(part) not in self._home:
                todo += part
            elif self._kinds[type(part)].code not in (LEAF, HEAD) and id(part) not in self._home:
                found.append(part)
        return found

    # ------------------------------------------------------------ what the C pickler asks

    def persistent_id(self, obj: Any) -> int | None:
        cls = type(obj)
        if cls in ATOMS:
            return None
        key = id(obj)
        known = self._known.get(key)
        if known is not None:
            return known
        where = self._home.get(key)
        if where is not None:
            return self._refer_to_node(obj, where)
        if cls is tuple and obj and not recipes:  # as below, in less time: most that is asked about is one
            if key in self._claims:
                return self._leave(obj)
            self._met[key] = obj
            return None
        kind = self._kinds[cls]
        code = kind.code
        if code == LEAF:
            return None
        if code >= PERSISTENT:
            return self._refer_to_record(obj, code)
        if code < REDUCED:
            if key in self._claims or (cls in _HASHING and not ATOMS.issuperset(map(type, obj))):
                return self._leave(obj)
            if obj is not _EMPTY:
                self._met[key] = obj
        if (kind.dependent or (recipes and key in recipes)) and key not in self._home:
            return self._leave(obj)
        return None

    def reducer_override(self, obj: Any) -> Any:
        cls = type(obj)
        if cls in _FRAMES and not recipes:  # as below, in less time
            reduce: Any = reducer_of[cls]
            return self._discard(obj) if id(obj) in self._claims else self._framed(obj, reduce(obj))
        named = self.by_name.get(id(obj))
        if named is not None:
            return named if named is NotImplemented else _anew(named)
        if recipes and id(obj) in recipes:
            return self._discard(obj)
        reducer = reducer_of[cls]
        value: Any = NotImplemented if reducer is None else reducer(obj)
        if value is NotImplemented:
            if cls is FunctionType or issubclass(cls, type):
                return self._by_name(obj, NotImplemented)
            table = copyreg.dispatch_table.get(cls)
            value = obj.__reduce_ex__(_PROTOCOL) if table is None else table(obj)
        if type(value) is str or value[0] is by_name:
            return _anew(self._by_name(obj, value))
        kind = self._kinds[cls]
        if kind.code == LEAF:
            return value
        if kind.code == INSTANCE:
            own = value[2]
            if type(own) is dict and getrefcount(own) > _OWN_DICT + (id(own) in self._looked_at):
                if own is getattr(obj, "__dict__", None):
                    return self._discard(obj)
            return value
        if id(obj) in self._claims or issubclass(cls, type):
            return self._discard(obj)
        if issubclass(cls, _HASHING) and not ATOMS.issuperset(map(type, obj)):
            return self._discard(obj)
        self._met[id(obj)] = obj
        return self._framed(obj, value) if cls in _FRAMES else value

    # ------------------------------------------------------------

    def _by_name(self, obj: Any, value: Any) -> Any:
        """Remember for this commit how something is found by its name; gives that (NotImplemented: as pickle does)."""
        self.by_name[id(obj)] = value
        self._kept.append(obj)
        return value

    def _framed(self, obj: Any, value: Any) -> Any:
        self._met[id(obj)] = obj
        self.frames.append(obj)
        return self._coded(*value[1]) if value[0] is frame and len(value[1]) == 3 else value

    def _coded(self, key: bytes, encoded: bytes, state: tuple[Any, ...]) -> Any:
        known = self._codes.get(key)
        if known is None or known[0] is not encoded:
            code = self._capsules.code(key, encoded)
            known = encoded, code, constants.reference_to(constants.CODES + code.number)
            if id(code) in self._home:
                self._codes[key] = known
            else:
                self._shared.append(self._capsules.codes())
        _, code, reference = known
        self._known[id(code)] = reference
        return frame_at, (code, *state)

    def _leave(self, obj: Any) -> int:
        """It belongs to the clusters; what is being written is not used."""
        self._shared.append(obj)
        return 0

    def _discard(self, obj: Any) -> Any:
        self._shared.append(obj)
        return by_name, ("", "")

    def _refer_to_node(self, obj: Any, cluster: Cluster) -> int | None:
        code = self._kinds[type(obj)].code
        if code >= PERSISTENT:  # it is the only node of its record
            return self._refer_to_record(obj, code)
        nodes = cluster.nodes
        number = self._numbers.get(id(obj), 0)
        if number >= len(nodes) or nodes[number] is not obj:
            found = next((place for place, node in enumerate(nodes) if node is obj), None)
            if found is None:  # it is placed there
                return self._leave(obj)
            number = self._numbers[id(obj)] = found
        self._places.append((cluster, number))
        return self._add(obj, cluster.oid, number)

    def _refer_to_record(self, obj: Any, code: int) -> int:
        cls = type(obj)
        if code == HEAD:
            return self._add(obj, self._capsules.meet(obj), cls)
        if obj._p_jar is None:
            return self._leave(obj)
        return self._add(obj, bytes(obj._p_oid), cls)

    def _add(self, obj: Any, oid: bytes, entry: int | type) -> int:
        known = self._known[id(obj)] = 2 * len(self._entries) + 2
        self._entries.append(entry)
        self._references.append(oid)
        return known


def _anew(value: Any) -> Any:
    """A reduce value of something that is found by name, which no other capsule has a part of."""
    return value if type(value) is str else (value[0], (*value[1],))


def _without_frame(data: bytes) -> bytes:
    """A pickle without the length that stands before all of it: it tells a reader of streams how much to read."""
    if data[2:3] == _FRAME and int.from_bytes(data[3:11], "little") == len(data) - 11:
        return data[:2] + data[11:]
    return data


def _held_by_others(met: dict[int, Any]) -> list[int]:
    """Ids of those objects that something else holds; the table is emptied, in the order in which they were met.

    So whatever holds others, and was made for writing, has gone before they are counted.
    """
    kept = []
    objects = list(met.values())
    met.clear()
    objects.reverse()
    while objects:
        obj = objects.pop()
        if getrefcount(obj) > _ONLY_MET:
            kept.append(id(obj))
    return kept


def _only_met() -> int:
    """What `getrefcount` says there of an object that nothing else holds."""
    global _ONLY_MET
    for count in range(10):
        _ONLY_MET = count
        if not _held_by_others({1: [], 2: [1]}):
            return count
    raise ImportError("reference counts are not what they are in CPython")


_ONLY_MET = 0
_ONLY_MET = _only_met()
_OWN_DICT = 0


class _Probe:
    pass


def _count_dict() -> int:
    probe = _Probe()
    probe.a = 1  # type: ignore[attr-defined]
    value: Any = probe.__reduce_ex__(_PROTOCOL)
    own = value[2]
    return getrefcount(own)


_OWN_DICT = _count_dict()
