"""Location and exception tables of code objects: the encodings that twins and tracebacks write (layer 1).

Owns: the variable-length integers of both tables and the entries that are made of them.

Sources: ``InternalDocs/code_objects.md`` (location table), ``InternalDocs/exception_handling.md`` (exception table),
the same for 3.11-3.15.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Position", "at_position", "handler_row", "handler_rows", "no_location", "step_back"]

Position = tuple[int | None, int | None, int | None, int | None]
"""Line, end line, column, end column, as `code.co_positions` gives them."""

_LONGEST = 8  # code units that one entry of the location table can cover


def no_location(units: int) -> bytes:
    """Entries for `units` code units that belong to no line."""
    table = bytearray()
    while units > 0:
        length = min(units, _LONGEST)
        table.append(0x80 | 15 << 3 | length - 1)
        units -= length
    return bytes(table)


def at_position(position: Position, line_before: int, units: int = 1) -> bytes:
    """One entry of at most 8 code units at a position; `line_before` is the line of the entry before it."""
    line, end_line, column, end_column = position
    if line is None:
        return no_location(units)
    entry = bytes((0x80 | 14 << 3 | units - 1,)) + _signed(line - line_before) + _unsigned((end_line or line) - line)
    columns = (0 if number is None else number + 1 for number in (column, end_column))
    return entry + b"".join(map(_unsigned, columns))


def step_back(line_before: int, line: int) -> bytes:
    """An entry of one code unit without columns that goes from one line to another."""
    return bytes((0x80 | 13 << 3,)) + _signed(line - line_before)


def _unsigned(value: int) -> bytes:
    """Location table: 6 bits a byte, least significant first, bit 6: more follows."""
    encoded = bytearray()
    while value > 63:
        encoded.append(64 | value & 63)
        value >>= 6
    encoded.append(value)
    return bytes(encoded)


def _signed(value: int) -> bytes:
    return _unsigned(-value << 1 | 1 if value < 0 else value << 1)


# ---------------------------------------------------------------- exception table


def handler_row(start: int, length: int, target: int, depth_and_lasti: int) -> bytes:
    """One row, in code units; `depth_and_lasti` is the stack depth times two, plus one to push where it was raised."""
    return _big_endian(start, first=True) + b"".join(map(_big_endian, (length, target, depth_and_lasti)))


def handler_rows(table: bytes) -> Iterator[tuple[int, int, int, int]]:
    """The rows of a table, as :func:`handler_row` takes them."""
    numbers = _numbers(table)
    return zip(numbers, numbers, numbers, numbers, strict=True)


def _big_endian(value: int, *, first: bool = False) -> bytes:
    """Exception table: 6 bits a byte, most significant first, bit 6: more follows; bit 7: a row starts."""
    groups = [value & 63]
    while value := value >> 6:
        groups.append(value & 63)
    encoded = bytearray(group | 64 for group in groups[:0:-1])
    encoded.append(groups[0])
    if first:
        encoded[0] |= 128
    return bytes(encoded)


def _numbers(table: bytes) -> Iterator[int]:
    value = 0
    for byte in table:
        value = value << 6 | byte & 63
        if not byte & 64:
            yield value
            value = 0
