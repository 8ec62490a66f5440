"""Small objects that stand in where CPython's own iterators cannot be built as they were (layer 1).

Owns: the stand-ins that `iterators` and `itertool` build with, and reading the fields of a C object with a check.
Rules:

* Building never runs user code.  A constructor such as ``enumerate(x)`` calls ``iter(x)``, thus ``x.__iter__``;
  given :class:`As` it takes ``x`` itself.
* A stand-in that stays under a rebuilt iterator adds no Python frame to tracebacks and calls what it stands for every
  time, also after StopIteration.  So :class:`Switch`, :class:`Call` and :class:`Items` keep a C callable in a *slot*
  that has the name of the special method: the interpreter finds the slot's descriptor on the type, and calls its value.
* :func:`bare` sees through them, so that capturing a rebuilt object again does not nest.
* An address that was read is trusted only if it is among ``gc.get_referents``.

Sources: ``slot_tp_iternext`` and ``slot_tp_call`` in ``Objects/typeobject.c``.
"""

from __future__ import annotations

import gc
import operator
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from pstore._frames.access import words
from pstore.errors import UnsupportedValue

__all__ = ["HEAD", "MISSING", "As", "Call", "Items", "Switch", "bare", "consume", "fields", "refuse"]

MISSING: Any = object()
"""What :func:`fields` gives for a NULL pointer."""

HEAD = 16  # sizeof(PyObject) in a build with the GIL


class As:
    """An iterable whose iterator is the given object, whatever that object's own ``__iter__`` would do."""

    __slots__ = ("iterator",)

    def __init__(self, iterator: Any) -> None:
        self.iterator = iterator

    def __iter__(self) -> Any:
        return self.iterator


class Switch:
    """An iterator that first gives items of its own and then, switched over, is another iterator."""

    __slots__ = ("__next__", "group", "rest")
    __next__: Callable[[], Any]

    def __init__(self, first: Iterable[Any]) -> None:
        self.__next__ = partial(next, iter(first))
        self.rest: Any = None
        self.group: Any = None  # used by itertools.groupby alone

    def __iter__(self) -> Any:
        return self

    def to(self, rest: Any) -> None:
        """Be `rest` from now on."""
        self.rest = rest
        self.__next__ = partial(next, rest)


class Call:
    """A callable that first gives results of its own and then, switched over, is another callable."""

    __slots__ = ("__call__", "rest")
    __call__: Callable[..., Any]

    def __init__(self, results: Iterable[Any]) -> None:
        self.__call__ = partial(next, iter(results))  # what it is called with becomes the default of next()
        self.rest: Any = None

    def to(self, rest: Any) -> None:
        """Be `rest` from now on."""
        self.rest = self.__call__ = rest


class Items:
    """A sequence whose items are those of `rest`; its length is one that ``reversed`` sees once, when it is made."""

    __slots__ = ("__getitem__", "__len__", "rest")

    def __init__(self, rest: Any, length: int) -> None:
        self.rest = rest
        self.__len__ = partial(int, length)
        self.__getitem__ = partial(operator.getitem, rest)


_TRANSPARENT = frozenset({Switch, Call, Items})


def bare(obj: Any) -> Any:
    """What a stand-in under a rebuilt iterator stands for; anything else as it is."""
    while type(obj) in _TRANSPARENT:
        obj = obj.rest
    return obj


def consume(iterator: Iterator[Any], count: int) -> None:
    """Take `count` items or all that there are."""
    for _ in zip(range(count), iterator, strict=False):
        pass


def refuse(obj: Any, reason: str, remedy: str = "") -> UnsupportedValue:
    """Make the error for an object that cannot be read faithfully."""
    kind = type(obj)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return UnsupportedValue(name, reason, remedy)


def fields(obj: Any, count: int, pointers: Iterable[int] | None = None) -> list[Any]:
    """Read the first `count` fields after the header of a C object.

    `pointers` has the numbers of those that point to objects, None: all.  The others come as unsigned integers.
    """
    held = {id(referent): referent for referent in gc.get_referents(obj)}
    held[0] = MISSING
    read: list[Any] = list(words(id(obj) + HEAD, count))
    try:
        for number in range(count) if pointers is None else pointers:
            read[number] = held[read[number]]
    except KeyError:
        raise refuse(obj, "its fields are not where this CPython is known to keep them") from None
    return read
