"""Letting a live graph go without running any of it, when its store is closed or goes back (layer 2, invariant I2).

Owns: which objects that is.  All that the top leads to; and what nothing but the heap holds: objects that the program
has dropped since the last commit, which the stored graph still has, and garbage in cycles that the heap has not let go
of yet.  What the program holds by itself is the program's, and ends as in any Python program.

As in the garbage collector, reference counts tell who else holds what the heap holds: what has more references than
are found within is held from outside.
"""

from __future__ import annotations

import gc
import sys
import types
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from persistent import Persistent, PickleCache

from pstore._frames.access import abandon_one
from pstore._store.capsules import Capsules
from pstore._store.clusters import SEPARATOR, Cluster
from pstore._store.heap import Heap
from pstore._store.records import Jar
from pstore._store.shelf import Shelf
from pstore._store.unloaded import Unloaded

__all__ = ["let_go"]

_OF_STORE = (Jar, PickleCache, Unloaded, Capsules, Shelf)
_NOT_ENTERED = (type, types.ModuleType, types.CodeType, types.BuiltinFunctionType, *_OF_STORE)
_KNOWN_TO_OTHERS = (Heap, Cluster, Persistent)
"""What the keeper and the jar hold, too."""
_CHUNK = 1000
(_OWN,) = map(sys.getrefcount, [object()])  # what it says of an object that only a list holds


def let_go(top: list[Any], heap: Heap) -> None:
    """Mark all of a graph that nothing but its store holds, so that its end runs nothing."""
    seen = {id(module.__dict__) for module in list(sys.modules.values()) if isinstance(module, types.ModuleType)}
    for chunk in _reached([top], seen):
        _abandon(chunk)
    others = _flat(_reached(_not_seen(heap, seen), set(seen)))
    if any(hasattr(type(obj), "__del__") for obj in others):
        others = _flat(_reached([heap], set(seen)))
        outside = set(map(id, _flat(_reached(_held_from_outside(others), seen))))
        _abandon(obj for obj in others if id(obj) not in outside)


def _not_seen(heap: Heap, seen: set[int]) -> list[Any]:
    """What the heap holds of the graph that is not `seen`."""
    known = seen.union(map(id, heap.kinds), (id(SEPARATOR), id(None)))
    found = list(heap.dropped)
    for cluster in heap.clusters.values():
        watch = cluster.watch
        held = list(filter(gc.is_tracked, cluster.held))
        for table in (cluster.nodes, cluster.placed, held, watch.watched, watch.keyed):
            if not known.issuperset(map(id, table)):
                found += (obj for obj in table if id(obj) not in seen and _is_entered(obj))
        found += (obj for obj in gc.get_referents(cluster.others) if _is_entered(obj))
    return found


def _held_from_outside(objs: list[Any]) -> list[Any]:
    """Those objects that something holds which is not among them."""
    counts = list(map(sys.getrefcount, objs))
    within: Counter[int] = Counter()
    for start in range(0, len(objs), _CHUNK):
        within.update(map(id, gc.get_referents(*objs[start : start + _CHUNK])))
    return [
        obj
        for obj, count in zip(objs, counts, strict=True)
        if count > _OWN + within[id(obj)] and not isinstance(obj, _KNOWN_TO_OTHERS)
    ]


def _reached(roots: Iterable[Any], seen: set[int]) -> Iterator[list[Any]]:
    """Some objects and what they lead to, without what is `seen`, which all of it is then."""
    todo = list(roots)
    seen.update(map(id, todo))
    while todo:
        chunk, todo[-_CHUNK:] = todo[-_CHUNK:], []
        yield chunk
        for obj in gc.get_referents(*chunk):
            if id(obj) not in seen and _is_entered(obj):
                seen.add(id(obj))
                todo.append(obj)


def _is_entered(obj: Any) -> bool:
    return gc.is_tracked(obj) and not issubclass(type(obj), _NOT_ENTERED)


def _flat(chunks: Iterable[list[Any]]) -> list[Any]:
    return list(chain.from_iterable(chunks))


def _abandon(objs: Iterable[Any]) -> None:
    for obj in objs:
        if hasattr(type(obj), "__del__"):
            abandon_one(obj)
