"""Reading interpreter memory, and the one bit that is ever written (layer 1).

Owns: the only use of `ctypes` and of object addresses in the package.  Rules:

* Memory is only read, with one exception: :func:`abandon` sets the *finalised* bit in the header that the garbage
  collector keeps before an object, and checks it through the public :func:`gc.is_finalized`.
* No policy: what a word means is known by the callers (`reading`, `iterators`), which check what they read against
  what `gc.get_referents` says before they trust it.

Sources: ``Include/internal/pycore_frame.h`` (3.11-3.13), ``pycore_interpframe_structs.h`` and ``pycore_stackref.h``
(3.14, 3.15), ``Include/internal/pycore_gc.h`` (``_PyGC_PREV_MASK_FINALIZED``), 64-bit builds with the GIL.
"""

from __future__ import annotations

import ctypes
import gc
import struct
import sys
from typing import Any

__all__ = ["WORD", "abandon_one", "check_platform", "memory", "object_at", "signed_words", "unpacker", "words"]

WORD = 8
"""Bytes in a pointer; other builds are refused by :func:`check_platform`."""

_FINALISED = 1  # _PyGC_PREV_MASK_FINALIZED

# The whole address space as one read-only buffer: Struct.unpack_from reads any word of it in 0.1 us, a third of what
# ctypes.string_at takes.  Nothing is touched until it is read.
memory = memoryview((ctypes.c_char * (1 << 47)).from_address(0)).toreadonly()


class _Unpackers(dict[int, Any]):
    """Number of words -> function that reads so many from an address on; made when first asked for."""

    def __init__(self, letter: str) -> None:
        self.letter = letter

    def __missing__(self, count: int) -> Any:
        unpack = self[count] = struct.Struct(f"={count}{self.letter}").unpack_from
        return unpack


_unsigned = _Unpackers("Q")
_signed = _Unpackers("q")


def unpacker(count: int) -> Any:
    """The function that reads `count` unsigned words: ``function(memory, address)``; for hot paths."""
    return _unsigned[count]


def words(address: int, count: int) -> tuple[int, ...]:
    """Read `count` unsigned machine words from `address` on (bytes; 8-byte aligned by the callers)."""
    return _unsigned[count](memory, address)  # type: ignore[no-any-return]


def signed_words(address: int, count: int) -> tuple[int, ...]:
    """Read `count` signed machine words (``Py_ssize_t``) from `address` on."""
    return _signed[count](memory, address)  # type: ignore[no-any-return]


def object_at(address: int) -> Any:
    """The object at an address that a live object holds.  The caller has to know that it is one."""
    return ctypes.cast(address, ctypes.py_object).value


def check_platform() -> str | None:
    """Say why frames cannot be read on this interpreter, or None when they can."""
    if sys.implementation.name != "cpython":
        return f"pstore reads CPython frames; this is {sys.implementation.name}"
    if not (3, 11) <= sys.version_info < (3, 16):
        return f"pstore knows the frames of CPython 3.11 to 3.15; this is {sys.version.split()[0]}"
    if struct.calcsize("P") != WORD:
        return "pstore needs a 64-bit build of CPython"
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return "pstore needs a build of CPython with the GIL"
    return None


def abandon_one(obj: Any) -> None:
    """Mark a garbage-collected object as finalised: its finaliser never runs from now on.

    For a suspended frame that means: dropping the last reference frees it without throwing GeneratorExit into it.
    It can still be resumed, and closed by hand.
    """
    if gc.is_tracked(obj) and not gc.is_finalized(obj):
        header = ctypes.c_uint64.from_address(id(obj) - WORD)
        header.value |= _FINALISED
