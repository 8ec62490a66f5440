"""``itertools.groupby`` with its groups, and ``tee``: iterators that share a position with others (layer 1).

Owns: keeping that sharing.

* A groupby and the group that it is in read on from each other.  The groupby is fed the key (and item) that it had
  read, through a :class:`Switch` and, for its key function, a :class:`Call`; no user's ``__eq__`` is called, because
  keys are compared with themselves or with a key that is equal to nothing.  The group is made once for its groupby.
* Tees read on from a linked list of blocks.  Its last block stands for what they share; each tee has what it has still
  to give before.  Items are flattened, so a tee that is far behind needs no recursion.

Source: ``Modules/itertoolsmodule.c`` of 3.11 to 3.15.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from gc import get_referents
from typing import Any

from pstore._frames.access import words
from pstore._frames.standins import HEAD, MISSING, As, Call, Switch, bare, consume, fields, refuse
from pstore._frames.stored import stored

__all__ = ["REDUCERS"]

_grouper: Any = getattr(itertools, "_grouper")  # noqa: B009 - not in the type stubs
_tee: Any = getattr(itertools, "_tee")  # noqa: B009
_tee_data: Any = getattr(itertools, "_tee_dataobject")  # noqa: B009


# --- groupby and its groups: a group reads on through its groupby --------------------------------------------------


class _Unequal:
    """A key that differs from every other."""

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = object.__hash__


@stored
def groupby_iterator(iterator: Any, key: Any, *state: Any) -> Any:
    """Make a groupby; `state` is nothing, the key of the group, or that and the key and value that it has read."""
    if not state:
        return itertools.groupby(As(iterator), key)
    target, *read = state
    same_key = bool(read) and read[0] is target
    values = (None if key is not None else target, *read[1:])
    feed, function = Switch(values[1:] if same_key else values), Call((target, *read[:1]))
    made = itertools.groupby(feed, None if key is None else function)
    group: Any = next(made)[1]
    if not same_key:
        next(group)  # compares a key with itself, which calls nothing
    if read and not same_key:
        next(_grouper(made, _Unequal()), None)  # reads one item, and leaves it to the next group
    feed.to(iterator)
    function.to(key)
    return made


def _reduce_groupby(obj: Any) -> Any:
    iterator, key, target, current, value = fields(obj, 5)
    head = bare(iterator), bare(key)
    if target is MISSING:
        if current is MISSING:
            return groupby_iterator, head
        raise refuse(obj, "it stopped between reading an item and making a group of it")
    if current is MISSING:
        return groupby_iterator, (*head, target)
    if value is MISSING or (head[1] is None and value is not current):
        raise refuse(obj, "its fields do not go together")
    return groupby_iterator, (*head, target, current, value)


@stored
def groupby_group(parent: Any, key: Any) -> Any:
    """Make the group that a groupby is in.  There is one: a second would put the first out of use."""
    feed = fields(parent, 1)[0]
    if type(feed) is not Switch:
        return _grouper(parent, key)
    if feed.group is None:
        feed.group = _grouper(parent, key)
    return feed.group


@stored
def spent_group() -> Any:
    """Make a group that its groupby has left behind."""
    return _grouper(itertools.groupby(()), None)


def _reduce_group(obj: Any) -> Any:
    parent, key = fields(obj, 2)
    current = words(id(parent) + HEAD + 40, 1)[0] == id(obj)
    return (groupby_group, (parent, key)) if current else (spent_group, ())


# --- tee: blocks of read items, linked, shared by the tees ---------------------------------------------------------

_LINK_CELLS = 57


@stored
def tee_source(iterator: Any) -> Any:
    """Make what tees share: a tee that stands where the underlying iterator does."""
    return _tee(As(iterator))


@stored
def tee_iterator(source: Any, pending: tuple[Any, ...]) -> Any:
    """Make a tee that has `pending` to give before it reads on from what it shares with others."""
    if not pending:
        return source.__copy__()
    feed = Switch(pending)
    ahead = _tee(feed)
    made = ahead.__copy__()
    consume(ahead, len(pending))
    feed.to(source.__copy__())
    return made


def _block(data: Any) -> tuple[list[Any], Any]:
    """The items that a block of tee has read, and the block after it."""
    _, numbers, following, *values = words(id(data) + HEAD, 3 + _LINK_CELLS)
    read, running = numbers & 0xFFFFFFFF, numbers >> 32
    held = {id(referent): referent for referent in get_referents(data)}
    if running:
        raise refuse(data, "its underlying iterator is running")
    if read > _LINK_CELLS or (following and following not in held) or not held.keys() >= set(values[:read]):
        raise refuse(data, "its fields are not where this CPython is known to keep them")
    return [held[value] for value in values[:read]], held.get(following)


def _reduce_tee(obj: Any) -> Any:
    data, index = fields(obj, 2, (0,))
    index &= 0xFFFFFFFF
    items, following = _block(data)
    pending = items[index:]
    while following is not None:
        data = following
        items, following = _block(data)
        pending += items
    return tee_iterator, (data, tuple(pending))


def _reduce_tee_data(obj: Any) -> Any:
    return tee_source, (bare(fields(obj, 1)[0]),)


REDUCERS: dict[type, Callable[[Any], Any]] = {
    itertools.groupby: _reduce_groupby,
    _grouper: _reduce_group,
    _tee: _reduce_tee,
    _tee_data: _reduce_tee_data,
}
