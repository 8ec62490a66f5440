"""Capsules: records of tasks, with what only they own (layer 2).

A *head* is an object of a class with ``__pstore_capsule__ = True`` (the engine's tasks).  It has a record of its own,
with its state and all that nothing else in the graph leads to: its *capsule*.  It is written in one piece, by C pickle,
when the head says that it was touched; nobody looks at it otherwise.  So a commit costs what ran.

Owns: which object is in which capsule, and writing them.  Reading is the `keeper`'s and `heads`'.

Principles:

1. What two capsules lead to, or a capsule and a cluster, belongs to the clusters (`cutting`): it becomes a node when
   the second owner meets it, and the capsules are written again with references to it (invariant I3).  Which object is
   in which capsule is known by *claims*: id -> capsule.
2. What a capsule could not keep as faithfully as a cluster does is left to the clusters as well: containers with keys
   that are hashed by value, classes stored by value, ephemeral values, ``__dict__``s that something else holds, and
   whatever is large or deep: a capsule is small, as it is always written whole.
3. The state of a head is what `__capsule_state__` gives, and `__set_capsule_state__` takes.  A head says by
   `Capsules.touch` that it, or anything in its capsule, may have changed.  It must say so before anybody can see.
4. Nothing is held here but nodes' places: heads, and what is in capsules, live as long as the program leads to them.
"""

from __future__ import annotations

import copyreg
import pickle
import weakref
from collections.abc import Callable
from sys import getrefcount
from types import CoroutineType, FunctionType, GeneratorType
from typing import Any, Protocol

from persistent import Persistent

from pstore._frames import reducer_of
from pstore._frames.making import frame
from pstore._frames.names import by_name
from pstore._store import constants
from pstore._store.capsulebody import Code, frame_of_code, write_table
from pstore._store.clusters import Cluster
from pstore._store.ephemeral import recipes
from pstore._store.heap import Heap
from pstore._store.kinds import ATOMS, HEAD, INSTANCE, LEAF, PERSISTENT, REDUCED
from pstore._store.survey import Survey
from pstore._store.walk import Walk, refusal
from pstore.errors import PstoreBug, UnsupportedValue

__all__ = ["Capsule", "Capsules", "Head", "Written"]

_PROTOCOL = 5
_LARGE = 16384  # bytes of a state from which on its parts are left to the clusters
_FRAMES = (GeneratorType, CoroutineType)
_HASHING = (dict, set, frozenset)
_NEW = bytes(8)
_EMPTY = ()


class Head(Protocol):
    """What a head has."""

    __pstore_capsule__: bool

    def __capsule_state__(self) -> tuple[Any, ...]:
        """The state: a tuple."""

    def __set_capsule_state__(self, state: Any) -> None:
        """Take the state."""

    def __capsule_path__(self, path: str) -> str:
        """A path from the state, ``root[0]...``, as one that users know."""


class Capsule:
    """The record of a head.

    Attributes:
        oid, serial, digest: as of `Cluster`.
        head: gives the head while it lives.
        claimed: ids of the objects that are in it.
        places: (cluster, number) of the nodes that it leads to.
    """

    __slots__ = ("claimed", "digest", "head", "oid", "places", "serial")

    def __init__(self, oid: bytes, head: Callable[[], Any]) -> None:
        self.oid, self.head = oid, head
        self.serial = _NEW
        self.digest: int | None = None
        self.claimed: list[int] = []
        self.places: list[tuple[Cluster, int]] = []


class Written:
    """What is to be stored of a capsule."""

    __slots__ = ("body", "claimed", "digest", "places", "references")

    def __init__(self, body: bytes, references: list[bytes], places: list[tuple[Cluster, int]]) -> None:
        self.body, self.references, self.places = body, references, places
        self.digest = hash((body, *references))
        self.claimed: list[int] = []


class Capsules:
    """The capsules of one store.

    Args:
        heap: the clusters.
        new_oid: gives an unused object id.
        codes: gives the dict of `Code` by key, a node of a cluster.
        activate: loads the state of a head: (head, its capsule).

    Attributes:
        touched: heads that may have changed; in order.
        claims: id of an object -> the capsule that it is in.
    """

    def __init__(
        self,
        heap: Heap,
        new_oid: Callable[[], bytes],
        codes: Callable[[], dict[bytes, Code]],
        activate: Callable[[Any, Capsule], None],
    ) -> None:
        self._activate = activate
        self._heap, self._new_oid, self._codes = heap, new_oid, codes
        self.touched: dict[Any, None] = {}
        self.claims: dict[int, Capsule] = {}
        self._of: dict[int, Capsule] = {}
        self.by_oid: dict[bytes, Capsule] = {}
        self._pending: dict[Any, None] = {}
        self._kinds = heap.kinds
        self._pickler = _Pickler(self)

    # ------------------------------------------------------------ heads

    def touch(self, head: Any) -> None:
        """The head, or something in its capsule, may have changed."""
        self.touched[head] = None

    def touch_all(self) -> None:
        """Every head that is loaded may have changed."""
        for capsule in self._of.values():
            head = capsule.head()
            if head is not None and capsule.digest is not None:
                self.touched[head] = None

    def meet(self, head: Any) -> bytes:
        """The object id of a head; a new one is written with the next commit."""
        capsule = self._of.get(id(head))
        if capsule is None:
            capsule = self.enter(self._new_oid(), head)
            self._pending[head] = self.touched[head] = None
        return capsule.oid

    def enter(self, oid: bytes, head: Any) -> Capsule:
        """Take in a head that has an object id."""
        key = id(head)
        ref = weakref.ref(head, lambda _: self._gone(key))
        capsule = self._of[key] = self.by_oid[oid] = Capsule(oid, ref)
        return capsule

    def ghost(self, oid: bytes, cls: Any) -> Any:
        """The head of that id; loaded when it is first used."""
        head = self.find(oid)
        if head is None:
            head = cls.__new__(cls)
            capsule = self.enter(oid, head)
            head._activate = lambda head: self._activate(head, capsule)
        return head

    def is_loaded(self, oid: bytes) -> bool:
        """Whether a record is that of a head that is loaded."""
        known = self.by_oid.get(oid)
        return known is not None and known.digest is not None

    def find(self, oid: bytes) -> Any:
        """The head of that id, if anything leads to it by now."""
        known = self.by_oid.get(oid)
        return None if known is None else known.head()

    def leads_to(self) -> list[Any]:
        """The nodes that capsules lead to, as far as they are loaded."""
        places = {place for capsule in self._of.values() for place in capsule.places}
        found = [cluster.nodes[number] for cluster, number in places]
        return [node for node in found if node is not None and id(node) in self._heap.home]

    def of(self, head: Any) -> Capsule | None:
        """The capsule of a head, if it has one."""
        return self._of.get(id(head))

    def _gone(self, key: int) -> None:
        capsule = self._of.pop(key)
        self.by_oid.pop(capsule.oid, None)
        self._release(capsule)

    def _release(self, capsule: Capsule) -> None:
        claims = self.claims
        for key in capsule.claimed:
            if claims.get(key) is capsule:
                del claims[key]
        capsule.claimed = []

    # ------------------------------------------------------------ writing

    def write(self, survey: Survey) -> dict[Capsule, Written]:
        """What is to be stored of the capsules that were touched, and of those that share what they had.

        `survey`, which has run, takes in what belongs to the clusters.
        """
        self._pickler.begin()
        try:
            return self._write(survey)
        finally:
            self._pickler.end()

    def _write(self, survey: Survey) -> dict[Capsule, Written]:
        written: dict[Capsule, Written] = {}
        pending = self._pending = dict(self.touched)
        for head in pending:
            known = self._of.get(id(head))
            if known is not None:
                self._release(known)
        seen = self._reclaim(survey, 0, written)
        while pending:
            head = next(iter(pending))
            self.meet(head)
            del pending[head]
            capsule = self._of[id(head)]
            survey.at = head
            result, shared = self._pickler.write(head, capsule)
            if result is not None:
                written[capsule] = result
                self._claim(capsule, result.claimed)
                continue
            for obj in shared:
                survey.take_in(obj)
            survey.run(())
            for obj in shared:
                if id(obj) not in self._heap.home and self._kinds[type(obj)].code != PERSISTENT:
                    raise PstoreBug(f"a {type(obj).__qualname__} is shared, and belongs to no cluster")
            pending[head] = None
            seen = self._reclaim(survey, seen, written)
        return written

    def refusal(self) -> UnsupportedValue | None:
        """What to raise for what one of the touched capsules leads to and cannot be stored, with the path to it."""
        for head in self.touched:
            walk = _WalkOfOne()
            state = head.__capsule_state__()
            try:
                walk.save(state)
            except Exception as error:
                found = refusal(error, walk.type_name(), walk.path())
                path = head.__capsule_path__(found.path)
                refused = type(found)(found.type_name, found.reason, found.remedy, path)
                refused.__cause__ = error
                return refused
        return None

    def frames(self) -> list[Any]:
        """The suspended frames that were met since this was last asked."""
        found, self._pickler.frames = self._pickler.frames, []
        return found

    def _claim(self, capsule: Capsule, keys: list[int]) -> None:
        capsule.claimed = keys
        for key in keys:
            self.claims[key] = capsule

    def _reclaim(self, survey: Survey, seen: int, written: dict[Capsule, Written]) -> int:
        """What the survey has put into clusters is in no capsule any more: those that had it are written again."""
        added = survey.added
        for key in added[seen:]:
            owner = self.claims.pop(key, None)
            head = None if owner is None else owner.head()
            if owner is not None and head is not None:
                self._pending[head] = self.touched[head] = None
                written.pop(owner, None)
                self._release(owner)
        return len(added)

    def settle(self, written: dict[Capsule, Written], tid: bytes | None) -> None:
        """What was written is stored, under a transaction id if it was written for it."""
        for capsule, result in written.items():
            if tid is not None and result.digest != capsule.digest:
                capsule.serial = tid
            capsule.digest, capsule.places = result.digest, result.places
        self.touched.clear()

    def code(self, key: bytes, encoded: bytes) -> Code:
        """What frames share that stand at one place."""
        codes = self._codes()
        found = codes.get(key)
        if found is None or found.encoded != encoded:
            found = codes[key] = Code(key, encoded)
        return found

    def codes(self) -> dict[bytes, Code]:
        """All of them."""
        return self._codes()


class _WalkOfOne(Walk):
    """A walk that does not go on to other heads."""

    def _begin(self, obj: Any) -> Any:
        cls = type(obj)
        if issubclass(cls, Persistent) or hasattr(cls, "__pstore_capsule__") or hasattr(cls, "__pstore_fixed__"):
            return None
        return super()._begin(obj)


class _Sink:
    __slots__ = ("chunks", "write")

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.write = self.chunks.append


class _Pickler(pickle.Pickler):
    """Writes one capsule after the other."""

    def __init__(self, capsules: Capsules) -> None:
        self._sink = _Sink()
        super().__init__(self._sink, _PROTOCOL)
        self._capsules = capsules
        self._heap, self._claims = capsules._heap, capsules.claims
        self._kinds = self._heap.kinds
        self._home: dict[int, Cluster] = {}
        self._known: dict[int, int] = {}
        self._met: dict[int, Any] = {}
        self._shared: list[Any] = []
        self._entries: list[int | type] = []
        self._references: list[bytes] = []
        self._places: list[tuple[Cluster, int]] = []
        self._numbers: dict[int, int] = {}
        self.by_name: dict[int, Any] = {}
        self._kept: list[Any] = []
        self.frames: list[Any] = []

    def begin(self) -> None:
        """Begin to write for a commit: what is found by name may be another thing by now."""
        self.by_name.clear()
        self._kept.clear()

    def end(self) -> None:
        """Hold nothing of the heap: by that it is known who else holds it."""
        self._home, self._met, self._known, self._shared = {}, {}, {}, []

    def write(self, head: Any, capsule: Capsule) -> tuple[Written | None, list[Any]]:
        """What is to be stored of a head; or None, and what belongs to the clusters."""
        chunks = self._sink.chunks
        chunks.clear()
        self._home = self._heap.home
        self._known = constants.known.copy()
        self._known[id(head)] = 0
        self._met, self._shared = {}, []
        self._entries, self._references, self._places = [], [], []
        state = head.__capsule_state__()
        try:
            self.dump(state)
        except RecursionError:
            chunks.clear()
            return None, self._parts(state)
        finally:
            self.clear_memo()
        if self._shared:
            return None, self._shared
        data = b"".join(chunks)
        if len(data) > _LARGE:
            parts = self._parts(state)
            if parts:
                return None, parts
        result = Written(write_table(self._entries) + data, self._references, self._places)
        del state
        result.claimed = self._claimed()
        return result, []

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
        named = self.by_name.get(id(obj))
        if named is not None:
            return named
        if recipes and id(obj) in recipes:
            return self._discard(obj)
        reducer = reducer_of[cls]
        value: Any = NotImplemented if reducer is None else reducer(obj)
        if value is NotImplemented:
            if cls is FunctionType or issubclass(cls, type):
                return NotImplemented  # by name
            table = copyreg.dispatch_table.get(cls)
            value = obj.__reduce_ex__(_PROTOCOL) if table is None else table(obj)
        if type(value) is str or value[0] is by_name:
            self.by_name[id(obj)] = value
            self._kept.append(obj)
            return value
        kind = self._kinds[cls]
        if kind.code == LEAF:
            return value
        if kind.code == INSTANCE:
            own = value[2]
            if type(own) is dict and getrefcount(own) > _OWN_DICT and own is getattr(obj, "__dict__", None):
                return self._discard(obj)
            return value
        if id(obj) in self._claims or issubclass(cls, type):
            return self._discard(obj)
        if issubclass(cls, _HASHING) and not ATOMS.issuperset(map(type, obj)):
            return self._discard(obj)
        self._met[id(obj)] = obj
        if cls in _FRAMES:
            self.frames.append(obj)
            if value[0] is frame and len(value[1]) == 3:
                return self._coded(*value[1])
        return value

    # ------------------------------------------------------------

    def _coded(self, key: bytes, encoded: bytes, state: tuple[Any, ...]) -> Any:
        code = self._capsules.code(key, encoded)
        if id(code) not in self._home:
            self._shared.append(self._capsules.codes())
        return frame_of_code, (code, state)

    def _leave(self, obj: Any) -> int:
        """It belongs to the clusters; what is being written is not used."""
        self._shared.append(obj)
        return 0

    def _discard(self, obj: Any) -> Any:
        self._shared.append(obj)
        return by_name, ("", "")

    def _refer_to_node(self, obj: Any, cluster: Cluster) -> int | None:
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


def _held_by_others(met: dict[int, Any]) -> list[int]:
    """Ids of those objects that something else holds; the table is emptied, in the order in which they were met.

    So whatever holds others, and was made for writing, has gone before they are counted.
    """
    kept = []
    for key in list(met):
        obj = met.pop(key)
        if getrefcount(obj) > _ONLY_MET:
            kept.append(key)
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
