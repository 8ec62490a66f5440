"""The body of a capsule's record: the state of a head <-> bytes (layer 2).

Owns: formats 3, 5 and 6 of bodies (invariant I9)::

    a table     what the body refers to in other records, see below
    a pickle    of protocol 5: the state of the head

The persistent ids in the pickle are numbers: 0 is the head itself; odd ones stand for `constants`, ``2 * number + 1``,
one of them for the part that all heads belong to;
from format 5 on also for objects that are made anew, of the class that `constants.fresh` has under the number;
even ones for entries of the table, ``2 * place + 2``.  The table has an entry for each reference of the record, in
order: the number of the node in that record, or the class of the object that the record is of (a head, a `Persistent`
object).  It is written in one of two ways::

    count (1 byte, < 255), then a byte for each entry: the number of a node, if below 128, or 128 + the number of
                           one of `constants`, if that is below 127: a class
    255, length (4 bytes, little endian), pickle of the tuple of entries

A suspended frame is written as ``frame_at(code, *values)``, before format 6 as ``frame_of_code(code, values)``.  What
says which code it runs, and where it stands, is a `Code`, a node of its own that all frames share that stand there; as
all codes stay in the store, its number says which: its persistent id is that of a constant, from `constants.CODES` on.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pstore._frames import Parts
from pstore._frames.contexts import empty_context, fill_context
from pstore._frames.functions import empty_cell, set_cell
from pstore._frames.iterators import list_iterator, range_iterator
from pstore._frames.making import frame
from pstore._frames.names import by_name
from pstore._store import constants
from pstore._store.loadby import IN_STORE, load_by
from pstore.errors import FormatError

__all__ = ["Code", "frame_at", "read_state", "write_table"]

_LENGTH = struct.Struct("<I")
_SHORT = 255
_NUMBERS, _CLASSES = 128, 127


class Code:
    """Where frames stand: what is the same in all of them.

    Attributes:
        key, encoded: the first arguments of `pstore._frames.making.frame`.
        number: its place among the codes of the store, which are never let go of.
    """

    def __init__(self, key: bytes, encoded: bytes, number: int) -> None:
        self.key, self.encoded, self.number = key, encoded, number


def frame_of_code(code: Code, state: tuple[Any, ...]) -> Any:
    """A suspended generator or coroutine, as it was written before format 6."""
    return frame(code.key, code.encoded, state)


def frame_at(code: Code, *values: Any) -> Any:
    """A suspended generator or coroutine."""
    return frame(code.key, code.encoded, values)


constants.register(0, frame_of_code)
constants.register(9, frame_at)
constants.register(1, Code)
for _number, _obj in enumerate((range, enumerate, zip, map, filter, reversed), 48):
    constants.register(_number, _obj)
_FUNCTIONS = (by_name, list_iterator, range_iterator, empty_cell, set_cell, empty_context, fill_context)
_STORED = {number: constants.register(number, function) for number, function in enumerate(_FUNCTIONS, 2)}
"""Functions of `stored` by their numbers: under a policy others stand in for them."""


def write_table(entries: Sequence[int | type]) -> bytes:
    """The table of a body."""
    if not entries:
        return b"\0"
    short = bytearray((len(entries),)) if len(entries) < _SHORT else None
    for entry in entries:
        if short is None:
            break
        if type(entry) is int and entry < _NUMBERS:
            short.append(entry)
            continue
        number = constants.known.get(id(entry), _SHORT) >> 1
        if type(entry) is int or number >= _CLASSES:
            short = None
        else:
            short.append(_NUMBERS + number)
    if short is not None:
        return bytes(short)
    long = pickle.dumps(tuple(entries), 5)
    return bytes((_SHORT,)) + _LENGTH.pack(len(long)) + long


def _read_table(body: bytes, load: Callable[[bytes], Any]) -> tuple[list[int | type], int]:
    """The entries of a body's table, and where the pickle begins.  `load` reads a pickle."""
    count = body[0]
    if count < _SHORT:
        end = 1 + count
        return [byte if byte < _NUMBERS else _class(byte - _NUMBERS) for byte in body[1:end]], end
    (length,) = _LENGTH.unpack_from(body, 1)
    start = 1 + _LENGTH.size
    return list(load(body[start : start + length])), start + length


class _Unpickler(pickle.Unpickler):
    """One that `persistent_load` can be set on."""


def read_state(
    body: bytes,
    references: Sequence[bytes],
    head: Any,
    owner: Any,
    code_of: Callable[[int], Code],
    find: Callable[[bytes, int | type], Any],
    unpickler: Callable[..., Any],
    parts: Parts,
    made: dict[int, Any],
) -> tuple[Any, list[tuple[Any, int]]]:
    """The state of a head, and the (cluster, number) of the nodes that it leads to.

    Args:
        body: of the record.
        references: of the record: object ids.
        head: the head itself.
        owner: the part that heads belong to.
        code_of: number -> the code.
        find: (object id, entry) -> the cluster where the entry is a number, else the object.
        unpickler: makes an unpickler of a file and buffers.
        parts: see `start_of_load`.
        made: gets what is made anew, by the numbers that `constants.fresh` has.

    Raises:
        RebuildError: it cannot be brought back; names why.
    """

    def load(data: bytes, resolve: Callable[[int], Any] | None = None) -> Any:
        make: Callable[..., Any] = _Unpickler if unpickler is pickle.Unpickler else unpickler
        reader = make(io.BytesIO(data), buffers=())
        if resolve is not None:
            reader.persistent_load = resolve
        gates = getattr(reader, "_gates", None)
        if gates is not None:
            special[0] = partial(_checked_frame, gates.of("frame"))
            special[9] = partial(_checked_frame_at, gates.of("frame"))
            special.update({number: gates.of(function.__name__) for number, function in _STORED.items()})
        return reader.load()

    special: dict[int, Any] = {constants.OWNER: owner}
    entries, start = _read_table(body, load)
    if len(entries) != len(references):
        raise FormatError("the record of a task is damaged: its references do not fit")
    objects, places = [], []
    for oid, entry in zip(references, entries, strict=True):
        found = find(oid, entry)
        if type(entry) is int:
            places.append((found, entry))
            found = found.nodes[entry] if entry < len(found.nodes) else None
            if found is None:
                raise FormatError(f"the record of a task leads to object {entry} of a record that does not have it")
        objects.append(found)

    def resolve(pid: int) -> Any:
        if pid & 1:
            number = pid >> 1
            if number >= constants.CODES:
                return code_of(number - constants.CODES)
            if number in special:
                return special[number]
            if number in constants.fresh:
                if number not in made:
                    made[number] = constants.empty(number)
                return made[number]
            return constants.by_number[number]
        return objects[pid // 2 - 1] if pid else head

    return load_by(partial(load, resolve=resolve), body[start:], parts, IN_STORE), places


def _checked_frame(make: Callable[..., Any], code: Code, state: tuple[Any, ...]) -> Any:
    return make(code.key, code.encoded, state)


def _checked_frame_at(make: Callable[..., Any], code: Code, *values: Any) -> Any:
    return make(code.key, code.encoded, values)


def _class(number: int) -> type:
    found = constants.by_number.get(number)
    if not isinstance(found, type):
        raise FormatError(f"a record names a class by the number {number}, which this version of pstore does not have")
    return found
