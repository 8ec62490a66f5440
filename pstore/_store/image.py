"""Images of the memory that instances are in (layer 2).

Owns: :class:`Image`, which tells of some groups of instances without ``__dict__`` that nothing of them has changed, at
3 ns an object: their memory is compared with a copy of it, in place, by ``bytearray.startswith``.  It is compared in
parts of some pages of memory.  In a part that is not as it was, it is compared page by page, and of each page it is
known which groups are there.  That a page is as it was says that they are, too; that it is not says nothing (reference
counts stand there, and other objects): they have to be asked.  A new copy is taken then.  Where it is always something
else in a page that changes, only the places in it where instances and values are come into the next image.

Rule: a group is asked, whatever the copy says, until it is known that the copy is of what it was settled as: when all
its pages were copied, it was asked, and had not changed, or was settled later as what it was then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping, Set
from itertools import chain, compress
from operator import not_
from typing import Any, Generic, TypeVar

from pstore._frames.access import memory
from pstore._frames.attributes import Place, places_of

__all__ = ["Image", "image_of"]

_PAGE = 4096  # what is there of a page is all there: what stands between two objects in it can be read
_PART = 8  # pages
_GAP = 32  # bytes between two objects, where there is nothing else
_ALARMS = 8

Group = TypeVar("Group")
_Pages = dict[int, "_Page[Group]"]
_Span = tuple[int, int, list[Group]]
_NONE: frozenset[Any] = frozenset()


class _Page(Generic[Group]):
    """What is in a page of memory: from where to where there are objects, and the groups of these."""

    __slots__ = ("end", "groups", "places", "start")

    def __init__(self, start: int, end: int, *, narrow: bool = False) -> None:
        self.start, self.end = start, end
        self.groups: dict[Group, None] = {}
        self.places: list[tuple[int, int, Iterable[Group]]] | None = [] if narrow else None

    def add(self, start: int, end: int, groups: Iterable[Group]) -> None:
        self.start, self.end = min(start, self.start), max(end, self.end)
        self.groups.update(dict.fromkeys(groups))
        if self.places is not None:
            self.places.append((start, end, groups))

    def join(self, other: _Page[Group]) -> None:
        """What is in another page is in this one, too."""
        for start, end, groups in other.places or ((other.start, other.end, other.groups),):
            self.add(start, end, groups)

    def without_gaps(self) -> list[_Page[Group]]:
        """The places that something is in, by themselves."""
        found: list[_Page[Group]] = []
        for start, end, groups in sorted(self.places or (), key=lambda place: place[:2]):
            if not found or start > found[-1].end + _GAP:
                found.append(_Page(start, end))
            found[-1].add(start, end, groups)
        return found


class Image(Generic[Group]):
    """An image of what is there now.

    Args:
        inside: the pages that objects are in, by address.
        apart: the pages that nothing but values of objects is in: they can be read only while those objects are as they
            were.
        narrow: addresses of the pages of which only the places of objects and values are compared.

    Attributes:
        noisy: what to take another image with as `narrow`, if there should be one.
    """

    __slots__ = (
        "_alarms",
        "_apart",
        "_asked",
        "_differing",
        "_images",
        "_left",
        "_moved",
        "_narrow",
        "_pages",
        "_ranges",
        "_starts",
        "noisy",
    )

    def __init__(self, inside: _Pages[Group], apart: _Pages[Group], narrow: frozenset[int]) -> None:
        first, second = _in_parts(inside), _in_parts(apart)
        parts = first + second
        self._narrow, self.noisy = narrow, frozenset[int]()
        self._alarms = Counter[int]()
        self._starts = [part[0].start for part in parts]
        self._apart = len(first)
        self._ranges = [memory[part[0].start : part[-1].end] for part in parts]
        self._pages = [[_within(part, page) for page in part] for part in parts]
        self._images = [bytearray(part) for part in self._ranges]
        self._differing: dict[int, list[_Span[Group]]] = {}
        self._moved: frozenset[Group] = _NONE
        self._left: set[Group] = set()
        self._asked: dict[Group, None] = {}

    def holds(self) -> bool:
        """Whether all is as it was."""
        # in order: what follows a change is not read
        return not self._asked and all(map(bytearray.startswith, self._images, self._ranges))

    def doubtful(self) -> dict[Group, None]:
        """The groups that have to be asked; tell `take` what they said."""
        self._differing.clear()
        apart = self._apart
        same = map(bytearray.startswith, self._images[:apart], self._ranges)
        for at in compress(range(apart), map(not_, same)):
            self._compare(at, _NONE)
        self._moved = _NONE
        if apart < len(self._images):
            self._moved = frozenset(self._in_differing())
            for at in range(apart, len(self._images)):
                self._compare(at, self._moved)
        return dict.fromkeys(chain(self._asked, self._in_differing()))

    def _compare(self, at: int, moved: Set[Group]) -> None:
        """Compare a part page by page, but for what can have moved."""
        same, part = self._images[at].startswith, self._ranges[at]
        differing = [
            (start, end, groups)
            for start, end, groups in self._pages[at]
            if (moved and not moved.isdisjoint(groups)) or not same(part[start:end], start)
        ]
        if differing:
            self._differing[at] = differing

    def _in_differing(self) -> Iterable[Group]:
        spans = chain.from_iterable(self._differing.values())
        return chain.from_iterable(groups for _, _, groups in spans)

    def take(self, changed: Collection[Group], in_place: Container[Group] = ()) -> None:
        """Take anew what was doubtful.  These groups have changed: they are asked until they are settled as they are.

        What of them may have moved is left as it was: it cannot be read.  The values of those that are `in_place` have
        not moved, whatever has changed beside their instances: values that take as much room as instances, as four
        do on 3.11 and 3.12, stand among them.
        """
        if not changed and not self._asked:
            self._note_alarm()
        left = {group for group in changed if group in self._moved and group not in in_place}
        for at, spans in self._differing.items():
            image, part = self._images[at], self._ranges[at]
            for start, end, groups in spans:
                if left.isdisjoint(groups):
                    image[start:end] = part[start:end]
                else:
                    left.update(groups)
        self._left = left
        self._asked = dict.fromkeys(chain(changed, (group for group in self._asked if group in left)))

    def _note_alarm(self) -> None:
        """Something differs, and nothing has changed: in pages where it mostly is so, it is something else."""
        compared = (item for item in self._differing.items() if item[0] < self._apart or not self._moved)
        pages = {(self._starts[at] + start) & -_PAGE for at, spans in compared for start, _, _ in spans} - self._narrow
        self._alarms.subtract(self._alarms.keys() - pages)
        self._alarms += Counter(pages)  # what is down to nothing is gone
        noisy = {page for page in pages if self._alarms[page] == _ALARMS}
        if noisy:
            self.noisy = self._narrow = self._narrow | noisy

    def confirm(self, group: Group) -> None:
        """A group that has changed was settled as it was when `take` was told."""
        if group not in self._left:
            self._asked.pop(group, None)

    def forget(self, groups: Iterable[Group]) -> None:
        """These groups were settled as they are now."""
        self._asked.update(dict.fromkeys(groups))


def image_of(groups: Mapping[Group, Collection[Any]], narrow: frozenset[int] = _NONE) -> Image[Group] | None:
    """The image of some groups of instances of plain classes; None: there is none.  `narrow`: see `Image`."""
    inside: _Pages[Group] = {}
    apart: _Pages[Group] = {}
    for group, objects in groups.items():
        places = places_of(objects)
        if places is None:
            return None
        _enter(places[0], group, inside, narrow)
        _enter(places[1], group, apart, narrow)
    for address in apart.keys() & inside.keys():
        inside[address].join(apart.pop(address))
    return Image(inside, apart, narrow) if inside else None


def _enter(places: Iterable[Place], group: Group, pages: _Pages[Group], narrow: Set[int]) -> None:
    """Note in which pages the objects of a group are."""
    for start, end in places:
        for address in range(start & -_PAGE, end, _PAGE):
            first, last = max(start, address), min(end, address + _PAGE)
            page = pages.get(address)
            if page is None:
                page = pages[address] = _Page(first, last, narrow=address in narrow)
            page.add(first, last, (group,))


def _in_parts(pages: _Pages[Group]) -> list[list[_Page[Group]]]:
    """Pages that stand in a row, as many as go into a part."""
    parts: list[list[_Page[Group]]] = []
    last = 0
    for address, page in sorted(pages.items()):
        if page.places is not None:
            parts += ([place] for place in page.without_gaps())
            continue
        if parts and address == last + _PAGE and len(parts[-1]) < _PART:
            parts[-1].append(page)
        else:
            parts.append([page])
        last = address
    return parts


def _within(part: list[_Page[Group]], page: _Page[Group]) -> tuple[int, int, list[Group]]:
    """From where to where a page is in its part, all between the first and the last object of that, and its groups."""
    start, end = part[0].start, part[-1].end
    address = page.start & -_PAGE
    return max(address, start) - start, min(address + _PAGE, end) - start, list(page.groups)
