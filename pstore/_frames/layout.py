"""What differs between CPython 3.11 ... 3.15, as named capabilities (layer 1).

Owns: every test of `sys.version_info` that concerns frames.  The rest of `_frames` asks by name.

Layout of a generator object (the same for coroutines and async generators), words before ``base``, where
``base = id(gen) + BASE`` is the address of the first localsplus slot::

    3.11-3.13                                    3.14, 3.15
    base-120  gi_name                            base-128
    base-112  gi_qualname                        base-120
    base-104  gi_exc_state.exc_value             base-112
    base-96   gi_exc_state.previous_item         base-104
    base-88   origin or finaliser                base-96
    base-80   4 bytes: hooks inited, closed,     base-88
              running async, frame state
    base-72   start of the embedded frame        base-80
    base-24   frame object (from 3.12 on)        base-32
    base-16   instruction pointer                base-24
    base-8    int: slots in use                  base-16   pointer to the first free slot

The address of the instruction is that of ``YIELD_VALUE`` on 3.11 and 3.12 and of the unit after it from 3.13 on.

Sources: ``Include/cpython/genobject.h`` (3.11-3.13), ``Include/internal/pycore_interpframe_structs.h`` (3.14, 3.15),
``Include/internal/pycore_frame.h``.  Verified on 3.11.7, 3.12.1, 3.13.0, 3.14.8, 3.15.0
by tests/frames_unit/test_layout.py.
"""

from __future__ import annotations

import struct
import sys
from types import AsyncGeneratorType, CodeType, CoroutineType, GeneratorType

__all__ = [
    "BASE",
    "CLEARED",
    "CREATED",
    "EXECUTING",
    "EXTRA_LOCALS",
    "HEAD_SIZE",
    "INSTRUCTION_AFTER_YIELD",
    "NULL",
    "STACK_REFERENCES",
    "SUSPENDED",
    "SUSPENDABLE",
    "VIRTUAL_ITERATORS",
    "unpack_head",
    "code_start",
    "slots_in_use",
]

VERSION = sys.version_info[:2]

SUSPENDABLE = (GeneratorType, CoroutineType, AsyncGeneratorType)

BASE: int = GeneratorType.__basicsize__
"""Bytes from the address of a generator, coroutine or async generator to its first localsplus slot."""
assert all(kind.__basicsize__ == BASE for kind in SUSPENDABLE)

STACK_REFERENCES = VERSION >= (3, 14)
"""Slots are tagged references: the low bits say borrowed or immortal (1) or a small int kept in the slot (3)."""

NULL = 1 if STACK_REFERENCES else 0
"""The word of an empty slot."""

VIRTUAL_ITERATORS = VERSION >= (3, 15)
"""`for` over a list or tuple keeps the container and, in the slot above, a tagged int index; no iterator object."""

INSTRUCTION_AFTER_YIELD = VERSION >= (3, 13)
"""The instruction pointer of a suspended frame is one code unit after its YIELD_VALUE."""

_FRAME_HEADER = 80 if STACK_REFERENCES else 72
_NAME_TO_FRAME = 48

HEAD_SIZE = _FRAME_HEADER + _NAME_TO_FRAME
_format = "=QQQ16x4b4x48xQQQ8x" if STACK_REFERENCES else "=QQQ16x4b4x48xQQi4x"
assert struct.calcsize(_format) == HEAD_SIZE
unpack_head = struct.Struct(_format).unpack_from
"""Read the fixed words before the slots: ``unpack_head(memory, base - HEAD_SIZE)``.

Gives: addresses of name, qualname and handled exception (0: none), then hooks inited, closed, running async, frame
state (CPython's own number), address of the frame object (0: nobody has asked for it; of no use on 3.11), the
instruction pointer, and the raw stack top (see :func:`slots_in_use`).
"""


EXTRA_LOCALS = 48 if VERSION >= (3, 13) else None
"""Bytes from the address of a frame object to its dict of locals that the code does not know, set through `f_locals`
(``f_extra_locals`` in ``Include/internal/pycore_frame.h``, 3.13+)."""

# Frame states are CPython's own numbers and differ; they are never stored.
if VERSION >= (3, 15):
    CREATED, SUSPENDED, EXECUTING, CLEARED = 0, frozenset((1, 2)), 4, 5
elif VERSION >= (3, 13):
    CREATED, SUSPENDED, EXECUTING, CLEARED = -3, frozenset((-2, -1)), 0, 4
else:
    CREATED, SUSPENDED, EXECUTING, CLEARED = -2, frozenset((-1,)), 0, 4


def slots_in_use(base: int, top: int) -> int:
    """Number of localsplus slots and stack slots that are in use, from the raw stack top of :func:`HEAD`."""
    return (top - base) // 8 if STACK_REFERENCES else top


def code_start(code: CodeType) -> int:
    """Address of the first instruction of `code` (``co_code_adaptive`` is the last, variable part of the object)."""
    return id(code) + CodeType.__basicsize__
