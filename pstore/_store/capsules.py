"""Capsules: records of tasks, with what only they own (layer 2).

A *head* is an object of a class with ``__pstore_capsule__ = True`` (the engine's tasks).  It has a record of its own,
with its state and all that nothing else in the graph leads to: its *capsule*.  It is written in one piece, by C pickle,
when the head says that it was touched; nobody looks at it otherwise.  So a commit costs what ran.

Owns: which object is in which capsule, and which is to be written.  `capsulepickler` writes, `live` reads.

Principles:

1. What two capsules lead to, or a capsule and a cluster, belongs to the clusters (`cutting`): it becomes a node when
   the second owner meets it, and the capsules are written again with references to it (invariant I3).  Which object is
   in which capsule is known by *claims*: id -> capsule.
2. What a capsule could not keep as faithfully as a cluster does is left to the clusters as well: containers with keys
   that are hashed by value, classes stored by value, ephemeral values, ``__dict__``s that something else holds, and
   whatever is large or deep: a capsule is small, as it is always written whole.
3. The state of a head is what `__capsule_state__` gives, and `__set_capsule_state__` takes.  A head says by
   `Capsules.touch` that it, or anything in its capsule, may have changed.  It must say so before anybody can see.
4. Heads are loaded in the thread of the program, whoever uses them: `look` sees to that.  `moving` is held while one is
   loaded or let go of: who sees a head that is neither there nor a ghost waits for it.
5. Nothing is held here but nodes' places: heads, and what is in capsules, live as long as the program leads to them.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from persistent import Persistent

from pstore._store.capsulebody import Code
from pstore._store.capsulepickler import CapsulePickler, Written
from pstore._store.clusters import Cluster
from pstore._store.eviction import Contents, contents_alone, let_go_of
from pstore._store.heap import Heap
from pstore._store.kinds import PERSISTENT
from pstore._store.survey import Survey
from pstore._store.walk import Walk, refusal
from pstore.errors import PstoreBug, UnsupportedValue

__all__ = ["Capsule", "Capsules", "Head", "Written", "moving"]

moving = threading.RLock()

_MOST_LOADED = 10_000
_NEW = bytes(8)


class Head(Protocol):
    """What a head has.  A ghost has nothing but `_activate`, which is to be called with it, and is gone then."""

    __pstore_capsule__: bool

    def __capsule_load__(self) -> None:
        """Load it, if it is a ghost."""

    def __capsule_empty__(self) -> None:
        """Let go of all that it has: it becomes a ghost."""

    def __capsule_parts__(self) -> tuple[tuple[Any, ...], tuple[int, ...]]:
        """What need not be stored if nothing else leads to it; what stands for each of it, see `constants.fresh`."""

    def __capsule_state__(self, parts: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        """The state: a tuple; without what is in `parts`, the first that `__capsule_parts__` gave."""

    def __set_capsule_state__(self, state: Any, owner: Any, made: dict[int, Any]) -> None:
        """Take the state.

        Args:
            state: as `__capsule_state__` gave it.
            owner: the part that heads belong to.
            made: what of `__capsule_parts__` the state leads to, new and empty, by the numbers of `constants.fresh`.
        """

    def __capsule_path__(self, path: str) -> str:
        """A path from the state, ``root[0]...``, as one that users know."""


class _Ref(weakref.ref[Any]):
    """A weak reference to a head.

    Attributes:
        key: its id.
    """

    __slots__ = ("key",)
    key: int


class Capsule:
    """The record of a head.

    Attributes:
        oid, serial, digest: as of `Cluster`.
        head: gives the head while it lives.
        claimed: ids of the objects that are in it.
        places: (cluster, number) of the nodes that it leads to.
        is_ghost: the head is loaded when it is first used.
        has_only_places: it leads to no other heads, nor to `Persistent` objects.
    """

    __slots__ = ("claimed", "digest", "has_only_places", "head", "is_ghost", "oid", "places", "serial")

    def __init__(self, oid: bytes, head: Callable[[], Any]) -> None:
        self.oid, self.head = oid, head
        self.serial = _NEW
        self.is_ghost = self.has_only_places = False
        self.digest: int | None = None
        self.claimed: Sequence[int] = ()
        self.places: Sequence[tuple[Cluster, int]] = ()


class Capsules:
    """The capsules of one store.

    Args:
        heap: the clusters.
        new_oid: gives an unused object id.
        codes: gives the list of all `Code`, a node of a cluster.
        activate: loads the state of a head: (head, its capsule).
        owner: gives the part that all heads belong to, and may lead to.

    Attributes:
        ghosts: how many heads are there that are not loaded.
        touched: heads that may have changed, in order: id -> weak reference; who lets go of one need not have it stored
        claims: id of an object -> the capsule that it is in.
        look: calls a function with arguments in the thread of the program.
    """

    def __init__(
        self,
        heap: Heap,
        new_oid: Callable[[], bytes],
        codes: Callable[[], list[Code]],
        activate: Callable[[Any, Capsule], None],
        owner: Callable[[], Any],
    ) -> None:
        self.owner = owner
        self._activate = activate
        self.look: Callable[..., Any] = _here
        self._heap, self._new_oid, self._codes = heap, new_oid, codes
        self.touched: dict[int, weakref.ref[Any]] = {}
        self.claims: dict[int, Capsule] = {}
        self._of: dict[int, Capsule] = {}
        self.by_oid: dict[bytes, Capsule] = {}
        self._known_codes: dict[tuple[bytes, bytes], Code] = {}
        self._let_go_of: set[tuple[Cluster, int]] = set()
        self._pending: dict[Any, None] = {}
        self._seen = self.ghosts = 0
        self._kept: list[Any] = []
        self._looks: weakref.WeakValueDictionary[int, Contents] = weakref.WeakValueDictionary()
        self._kinds = heap.kinds
        self._pickler = CapsulePickler(self, heap)
        # made once: all heads have them
        self._load, self._when_gone = self._load_head, self._head_gone

    def __len__(self) -> int:
        """Count the heads that are there, loaded or not."""
        return len(self._of)

    def __bool__(self) -> bool:
        return True

    # ------------------------------------------------------------ heads

    def touch(self, head: Any) -> None:
        """The head, or something in its capsule, may have changed."""
        self.touched[id(head)] = weakref.ref(head)

    def touch_all(self) -> None:
        """Every head that is loaded may have changed."""
        for capsule in self._of.values():
            head = capsule.head()
            if head is not None and capsule.digest is not None:
                self.touch(head)

    def _touched_heads(self) -> list[Any]:
        """Those of the touched that are still there."""
        heads = (ref() for ref in self.touched.values())
        return [head for head in heads if head is not None]

    def meet(self, head: Any) -> bytes:
        """The object id of a head; a new one is written with the next commit."""
        capsule = self._of.get(id(head))
        if capsule is None:
            capsule = self.enter(self._new_oid(), head)
            self._add_pending(head)
        return capsule.oid

    def _add_pending(self, head: Any) -> None:
        self._pending[head] = None
        self.touch(head)

    def enter(self, oid: bytes, head: Any) -> Capsule:
        """Take in a head that has an object id."""
        ref = _Ref(head, self._when_gone)
        ref.key = id(head)
        capsule = self._of[ref.key] = self.by_oid[oid] = Capsule(oid, ref)
        return capsule

    def ghost(self, oid: bytes, cls: Any) -> Any:
        """The head of that id; loaded when it is first used."""
        head = self.find(oid)
        if head is None:
            head = cls.__new__(cls)
            capsule = self.enter(oid, head)
            self._become_ghost(head, capsule)
        return head

    def load_all(self) -> None:
        """Load the heads that are there and not loaded, and those that they lead to; who cannot be stays as it is.

        So do all if they are too many: that would take seconds.
        """
        tried: set[Capsule] = set()
        while todo := [each for each in self._of.values() if each.is_ghost and each not in tried]:
            if len(todo) + len(tried) > _MOST_LOADED:
                return
            tried.update(todo)
            for head in (capsule.head() for capsule in todo):
                if head is not None:
                    with suppress(Exception):
                        head.__capsule_load__()

    def contents_alone(self, head: Any) -> Contents | None:
        """What only a head leads to; None if it is not as it is stored, or something else may hold a part of it."""
        capsule = self._of.get(id(head))
        if capsule is None or capsule.digest is None or id(head) in self.touched:
            return None
        found = contents_alone(head, frozenset(capsule.claimed), self._heap.home)
        if found is not None:
            found.digest = capsule.digest
            self._looks[id(head)] = found
        return found

    def looked_at(self, head: Any) -> Container[int]:
        """Ids of the objects that somebody holds who has asked for `contents_alone`."""
        found = self._looks.get(id(head)) if self._looks else None
        return () if found is None else found.held

    def places_of(self, head: Any) -> list[Any] | None:
        """The nodes that a head leads to, which is loaded; None if it leads to other records as well."""
        capsule = self._of[id(head)]
        return self._nodes_at(capsule.places) if capsule.has_only_places else None

    def has_record(self, head: Any) -> bool:
        """Whether a head was stored."""
        capsule = self._of.get(id(head))
        return capsule is not None and capsule.serial != _NEW

    def evict(self, head: Any, contents: Contents) -> bool:
        """Let go of what only a head leads to; it is loaded again when it is used.

        Whatever else it leads to, other things have to lead to as well.

        Returns:
            False if the head was touched, stored otherwise than before, or somebody holds a part of it, since
            `contents_alone` was asked: it stays.
        """
        capsule = self._of[id(head)]
        if id(head) in self.touched or capsule.digest != contents.digest or not contents.are_alone():
            return False
        self._release(capsule)
        capsule.digest, capsule.places = None, ()
        with moving:
            let_go_of(head, contents)
            self._become_ghost(head, capsule)
        return True

    def make_smaller(self) -> None:
        """Make tables anew that have had many more entries."""
        self._of, self.by_oid = dict(self._of), dict(self.by_oid)

    def no_longer_kept(self) -> list[Any]:
        """Keep nothing more for heads that are not loaded; gives what was."""
        kept, self._kept = self._kept, []
        return kept

    def is_loaded(self, oid: bytes) -> bool:
        """Whether a record is that of a head that is loaded."""
        known = self.by_oid.get(oid)
        return known is not None and known.digest is not None

    def _become_ghost(self, head: Any, capsule: Capsule) -> None:
        capsule.is_ghost = True
        self.ghosts += 1
        head._activate = self._load

    def _load_head(self, head: Any) -> None:
        self.look(self._load_here, self._of[id(head)], head)

    def _load_here(self, capsule: Capsule, head: Any) -> None:
        with moving:
            if not capsule.is_ghost:
                return  # another thread was first
            ghost = head._activate
            del head._activate
            try:
                self._activate(head, capsule)
            except BaseException:
                head._activate = ghost  # it may be asked for again, and says so again
                raise
            capsule.is_ghost = False
            self.ghosts -= 1

    def find(self, oid: bytes) -> Any:
        """The head of that id, if anything leads to it by now."""
        known = self.by_oid.get(oid)
        return None if known is None else known.head()

    def leads_to(self) -> list[Any]:
        """The nodes that capsules lead to, as far as they are loaded."""
        places = {place for capsule in self._of.values() for place in capsule.places}
        return self._nodes_at(places)

    def may_end(self) -> list[Any]:
        """The nodes that capsules have led to, and perhaps do not any more."""
        capsules = (self._of.get(id(head)) for head in self._touched_heads())
        places = {place for capsule in capsules if capsule is not None for place in capsule.places}
        return self._nodes_at(places.union(self._let_go_of))

    def _nodes_at(self, places: Iterable[tuple[Cluster, int]]) -> list[Any]:
        found = [cluster.nodes[number] for cluster, number in places if number < len(cluster.nodes)]
        return [node for node in found if node is not None and id(node) in self._heap.home]

    def of(self, head: Any) -> Capsule | None:
        """The capsule of a head, if it has one."""
        return self._of.get(id(head))

    def _head_gone(self, ref: _Ref) -> None:
        capsule = self._of.pop(ref.key)
        self.by_oid.pop(capsule.oid, None)
        if capsule.is_ghost:
            self.ghosts -= 1
        elif self.ghosts:  # one that is not loaded may lead to this one, and so to its nodes
            self._kept += self._nodes_at(capsule.places)
        else:
            self._let_go_of.update(capsule.places)
        self._release(capsule)

    def _release(self, capsule: Capsule) -> None:
        claims = self.claims
        for key in capsule.claimed:
            if claims.get(key) is capsule:
                del claims[key]
        capsule.claimed = ()

    # ------------------------------------------------------------ writing

    def write(self, survey: Survey) -> dict[Capsule, Written]:
        """What is to be stored of the capsules that were touched, and of those that share what they had.

        `survey`, which has run, takes in what belongs to the clusters.
        """
        self._pending = dict.fromkeys(self._touched_heads())
        for head in self._pending:
            known = self._of.get(id(head))
            if known is not None:
                self._release(known)
        self._seen, written = 0, dict[Capsule, Written]()
        self._pickler.begin()
        return self.write_on(survey, written)

    def write_on(self, survey: Survey, written: dict[Capsule, Written]) -> dict[Capsule, Written]:
        """The same, as `survey` has gone on since: what it has taken in is in no capsule any more."""
        try:
            self._write(survey, written)
        finally:
            self._pickler.end()
            self._pending = {}
        return written

    def _write(self, survey: Survey, written: dict[Capsule, Written]) -> None:
        self._seen = self._reclaim(survey, self._seen, written)
        while self._pending:
            for head in list(self._pending):  # others are added meanwhile
                del self._pending[head]
                self._write_head(head, survey, written)

    def _write_head(self, head: Any, survey: Survey, written: dict[Capsule, Written]) -> None:
        self.meet(head)
        self._pending.pop(head, None)
        capsule = self._of[id(head)]
        survey.at = head
        result, shared = self._pickler.write(head)
        if result is not None:
            written[capsule] = result
            self._claim(capsule, result.claimed)
            return
        for obj in shared:
            survey.take_in(obj)
        survey.run(())
        for obj in shared:
            if id(obj) not in self._heap.home and self._kinds[type(obj)].code != PERSISTENT:
                raise PstoreBug(f"a {type(obj).__qualname__} is shared, and belongs to no cluster")
        self._pending[head] = None
        self._seen = self._reclaim(survey, self._seen, written)

    def refusal(self) -> UnsupportedValue | None:
        """What to raise for what one of the touched capsules leads to and cannot be stored, with the path to it."""
        for head in self._touched_heads():
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
                self._add_pending(head)
                written.pop(owner, None)
                self._release(owner)
        return len(added)

    def settle(self, written: dict[Capsule, Written], tid: bytes | None) -> list[Any]:
        """What was written is stored, under a transaction id if it was written for it.

        Returns:
            The nodes that capsules do not lead to any more.
        """
        lost, self._let_go_of = self._let_go_of, set()
        for capsule, result in written.items():
            if tid is not None and result.digest != capsule.digest:
                capsule.serial = tid
            if capsule.places:
                lost.update(set(capsule.places).difference(result.places))
            capsule.digest, capsule.places = result.digest, result.places
            capsule.has_only_places = len(result.places) == len(result.references)
        self.touched.clear()
        self.frames()  # a second look has met them again
        return self._nodes_at(lost)

    def code(self, key: bytes, encoded: bytes) -> Code:
        """What frames share that stand at one place."""
        codes, known = self._codes(), self._known_codes
        if len(known) != len(codes):
            known = self._known_codes = {(code.key, code.encoded): code for code in codes}
        found = known.get((key, encoded))
        if found is None:
            found = known[key, encoded] = Code(key, encoded, len(codes))
            codes.append(found)
        return found

    def codes(self) -> list[Code]:
        """All of them."""
        return self._codes()


def _here(fn: Callable[..., Any], *args: Any) -> Any:
    return fn(*args)


class _WalkOfOne(Walk):
    """A walk that does not go on to other heads."""

    def _begin(self, obj: Any) -> Any:
        cls = type(obj)
        if issubclass(cls, Persistent) or hasattr(cls, "__pstore_capsule__") or hasattr(cls, "__pstore_fixed__"):
            return None
        return super()._begin(obj)
