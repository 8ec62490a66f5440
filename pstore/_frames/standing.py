"""Where a suspended frame stands, as a value that can be compared (layer 1).

Owns: :func:`standing`.  Two equal values say: the frame has not been resumed in between, or it has come to the same
instruction with the same objects in the same slots, so that what was stored of it is still right.  It takes a
microsecond, a fifth of what storing the frame takes.  The caller holds on to what the slots held, as
`gc.get_referents` gives it: otherwise an address could be another object's by the second time.
"""

from __future__ import annotations

from typing import Any

from pstore._frames.access import memory
from pstore._frames.layout import BASE, CLEARED, EXECUTING, HEAD_SIZE, slots_in_use, unpack_head
from pstore._frames.reading import has_extra_locals

__all__ = ["standing"]


def standing(gen: Any) -> Any:
    """Where a generator, coroutine or async generator stands; of one that is running, a value that equals no other."""
    base = id(gen) + BASE
    head = unpack_head(memory, base - HEAD_SIZE)
    name, qualname, exc, hooks, closed, running, state, frame_object, instruction, top = head
    if state == CLEARED:
        return CLEARED, name, qualname
    if state == EXECUTING or (frame_object and has_extra_locals(frame_object)):
        return object()
    slots = memory[base : base + 8 * slots_in_use(base, top)].tobytes()
    return name, qualname, exc, hooks, closed, running, state, instruction, slots
