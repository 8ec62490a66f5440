"""Suspended frame -> record (layer 1).

Owns: reading a suspended generator, coroutine or async generator without disturbing it.

`gc.get_referents` yields what the frame holds, in slot order; which slots are NULL is read from memory (`layout`,
`access`).  At the first capture at a suspension point the two are matched address by address, and the number of stack
slots is held against the analysis of the code (`suspension`); any disagreement refuses the frame.  What was found is
cached as a *plan* under the address of the instruction, so that later captures there are two reads and a slice.

A frame that is running, or in a state that a twin cannot reproduce, is refused (invariant I4).
"""

from __future__ import annotations

import gc
import opcode
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import AsyncGeneratorType, CodeType, CoroutineType, FunctionType, GeneratorType
from typing import Any

from pstore._frames import twins
from pstore._frames.access import memory, unpacker, words
from pstore._frames.codes import CodeIdentity, identify
from pstore._frames.iterators import list_iterator
from pstore._frames.layout import (
    BASE,
    CREATED,
    EXECUTING,
    EXTRA_LOCALS,
    HEAD_SIZE,
    INSTRUCTION_AFTER_YIELD,
    NULL,
    STACK_REFERENCES,
    SUSPENDED,
    VIRTUAL_ITERATORS,
    code_start,
    slots_in_use,
    unpack_head,
)
from pstore._frames.suspension import (
    AWAIT,
    LASTI,
    PREVIOUS,
    VALUE,
    YIELD,
    SuspensionPoint,
    localsplus_names,
    point_at,
    stack_kinds,
)
from pstore._frames.twins import ABSENT, Shape
from pstore.errors import UnsupportedFrame

__all__ = ["FrameState", "Plan", "Point", "code_of", "has_ended", "frame_of", "has_extra_locals", "points", "read"]

_TAG, _TAGGED_INT = 3, 3
_RETURN_GENERATOR = opcode.opmap["RETURN_GENERATOR"]
_NONE = id(None)
_CACHE_LIMIT = 20_000  # suspension points; a program that makes code without end must not grow without end

_CODE = {GeneratorType: "gi_code", CoroutineType: "cr_code", AsyncGeneratorType: "ag_code"}
_FRAME = {GeneratorType: "gi_frame", CoroutineType: "cr_frame", AsyncGeneratorType: "ag_frame"}


def code_of(gen: Any) -> CodeType:
    """The code object that a generator, coroutine or async generator runs (a twin, once rebuilt)."""
    code: CodeType = getattr(gen, _CODE[type(gen)])
    return code


def frame_of(gen: Any) -> Any:
    """Its frame object, or None when it has ended.  Asking makes one that lives as long as the frame."""
    return getattr(gen, _FRAME[type(gen)])


@dataclass(slots=True)
class Plan:
    """How to read, and to store, all frames at one suspension point with one pattern of slots.

    Attributes:
        identity: the code that they run.
        shape: where they stand.
        key: stored form of identity digest and shape.
        arguments: what the rebuilding function is called with, ready made: (key, encoded code).
        first, last: the slice of `gc.get_referents` that is the state.
        virtual: (place in the state, slot) of containers whose position is kept in the slot above (3.15).
        skip: places in the state of plain-int lasti values, which the shape has (up to 3.13).
        kind: what the frame stands in: YIELD, YIELD_FROM or AWAIT.
    """

    identity: CodeIdentity
    shape: Shape
    key: bytes
    arguments: tuple[bytes, bytes]
    first: int | None
    last: int | None
    virtual: tuple[tuple[int, int], ...]
    skip: tuple[int, ...]
    kind: int


@dataclass(slots=True)
class Point:
    """One instruction address at which frames have been found suspended.

    Attributes:
        code, unit: the code object (kept alive, so that the address stays its own) and the code unit in it.
        name, qualname: addresses of the code's names, which its frames have unless they were renamed.
        count: slots in use.
        plans: pattern of the slots -> plan.
        at, stack: what the analysis of the code says of it, once it was asked for.
        plain: the plan for frames here that have every slot bound that `checked` reads and handle no exception, once
            there was one for which there is no more to look at than that.
        checked: function that reads the words of these slots.
    """

    code: CodeType
    unit: int
    name: int
    qualname: int
    count: int
    plans: dict[Any, Plan] = field(default_factory=dict)
    plain: Plan | None = None
    checked: Any = None
    at: SuspensionPoint | None = None
    stack: str | None = None


@dataclass(frozen=True, slots=True)
class FrameState:
    """A captured frame, in memory: `plan` says where it stands, `values` are its live objects.

    Attributes:
        kind: the type: generator, coroutine or async generator.
        plan, function: None when it has ended.
    """

    kind: type
    plan: Plan | None
    values: tuple[Any, ...]
    function: FunctionType | None
    name: str
    qualname: str


points: dict[int, Point] = {}
"""Address of an instruction -> what is known of frames suspended there."""


def has_ended(gen: Any) -> bool:
    """Whether it has run to its end, or was closed."""
    state = unpack_head(memory, id(gen) + BASE - HEAD_SIZE)[6]
    return state not in SUSPENDED and state != CREATED and frame_of(gen) is None


def read(gen: Any) -> tuple[Plan, list[Any], bool]:
    """Read a created or suspended frame: (plan, values, whether it was given another name than its code's).

    Raises:
        UnsupportedFrame: it is running, or in a state that cannot be reproduced.
    """
    base = id(gen) + BASE
    name, qualname, exc, _, closed, running, state, frame, instruction, top = unpack_head(memory, base - HEAD_SIZE)
    if state not in SUSPENDED and state != CREATED:
        reason = "it is running" if state == EXECUTING else f"its frame state is {state}"
        raise _refused(gen, reason, "store it while it is suspended at an await or a yield")
    if frame and has_extra_locals(frame) and not _noted_by_pdb(gen):
        raise _refused(gen, "it has locals that its code does not know, set through f_locals")
    point = points.get(instruction)
    if point is None:
        point = _new_point(gen, instruction, slots_in_use(base, top))
    slots = words(base, point.count)
    # 0: no exception handled, 1: None is kept in its place (3.11), 2: an exception
    handling = 0 if not exc else 1 if exc == _NONE else 2
    flags = (closed, running) if type(gen) is AsyncGeneratorType else None
    pattern = _pattern(slots, handling)
    key = (pattern, handling, flags, state == CREATED) if handling < 2 else None
    plan = point.plans.get(key) if key else None
    if plan is None:
        plan = _make_plan(gen, point, slots, handling, flags, state == CREATED)
        if key:
            point.plans[key] = plan
            _note_plain(plan, point)
    values = gc.get_referents(gen)[plan.first : plan.last]
    for place, slot in plan.virtual:
        values[place] = _real_iterator(gen, values[place], slots[slot])
    for place in plan.skip:
        del values[place]
    return plan, values, name != point.name or qualname != point.qualname


def has_extra_locals(frame: int) -> bool:
    """Whether the frame object at an address has locals that the code does not know."""
    return EXTRA_LOCALS is not None and words(frame + EXTRA_LOCALS, 1)[0] != 0


# What pdb puts into the locals of a frame that it sees return, or suspend, or raise.  The frame does not know of it.
_PDB_NOTES = {"__return__", "__exception__"}


def _noted_by_pdb(gen: Any) -> bool:
    """Whether the locals that the code does not know are but what a debugger has noted there; they are not stored."""
    frame = frame_of(gen)
    return frame is not None and set(frame.f_locals) - set(localsplus_names(frame.f_code)) <= _PDB_NOTES


def _note_plain(plan: Plan, point: Point) -> None:
    """Note the plan if reading some slots alone tells that another frame here has the same one."""
    shape = plan.shape
    if shape.mode != twins.SUSPENDED or shape.handling or plan.last is not None or plan.identity.module is None:
        return
    count = len(localsplus_names(point.code))
    stack = shape.kinds[count:]
    if not VIRTUAL_ITERATORS and not shape.kinds.strip(VALUE):
        point.plain, point.checked = plan, unpacker(point.count)
    elif ABSENT not in shape.kinds[:count] and (stack == "" or (plan.kind == AWAIT and stack == _AWAITED)):
        point.plain, point.checked = plan, unpacker(count)


# What an await has on the stack: what is awaited, and from 3.15 on an empty slot.  There, `for` and `yield from` have
# two slots as well, and what the second one holds depends on what is iterated over.
_AWAITED = VALUE + ABSENT if VIRTUAL_ITERATORS else VALUE


def _pattern(slots: tuple[int, ...], handling: int) -> Any:
    if (VIRTUAL_ITERATORS or handling == 2) and STACK_REFERENCES:
        return tuple(word == NULL or (word & _TAG == _TAGGED_INT) * 2 for word in slots)
    return tuple(map(NULL.__eq__, slots)) if NULL in slots else None


def _refused(gen: Any, reason: str, remedy: str = "") -> UnsupportedFrame:
    code = code_of(gen)
    where = f"{code.co_qualname}() at {code.co_filename}:{code.co_firstlineno}"
    return UnsupportedFrame(f"{type(gen).__name__} {where}", reason, remedy)


# ---------------------------------------------------------------- the first capture at a point


def _new_point(gen: Any, instruction: int, count: int) -> Point:
    code = code_of(gen)
    offset = instruction - code_start(code)
    # Not held against `f_lasti`: that would make a frame object, for good.  That there is a yield is checked later.
    if not 0 <= offset < len(code.co_code):
        raise _refused(gen, "its instruction pointer is not in its code")
    if count < len(localsplus_names(code)) or count > len(localsplus_names(code)) + code.co_stacksize:
        raise _refused(gen, f"{count} slots in use cannot be right")
    if len(points) >= _CACHE_LIMIT:
        points.clear()
    point = points[instruction] = Point(code, offset // 2, id(code.co_name), id(code.co_qualname), count)
    return point


def _make_plan(
    gen: Any, point: Point, slots: tuple[int, ...], handling: int, flags: tuple[int, int] | None, created: bool
) -> Plan:
    referents = gc.get_referents(gen)
    twin = twins.origin_of(point.code)
    code = twin.code if twin else point.code
    values = _match(gen, referents, slots, handling)
    unit, ordinal, mode, kind = _place(gen, code, point, twin, flags, created)
    if handling == 2 and point.stack is None:
        point.stack = stack_kinds(code, unit)
    stack = point.stack if handling == 2 else None
    kinds, lastis, virtual, skip = _kinds(gen, code, twin, slots, values, stack)
    shape = Shape(unit, ordinal, mode, kinds, lastis, handling == 2)
    identity = identify(code, _namespace(referents))
    key = identity.digest + shape.encode()
    tail = handling == 1
    first = -(len(values) + tail) or sys.maxsize  # none at all, however many other things it refers to
    last = -1 if tail else None
    return Plan(identity, shape, key, (key, identity.encoded), first, last, virtual, skip, kind)


def _match(gen: Any, referents: list[Any], slots: tuple[int, ...], handling: int) -> list[Any]:
    """The values of the bound slots, and the handled exception: the tail of the referents, address for address."""
    wanted = [word & ~_TAG if STACK_REFERENCES else word for word in slots if _bound(word)]
    end = len(referents) - (handling == 1)
    count = len(wanted) + (handling == 2)
    values = referents[end - count : end]
    if [id(value) for value in values[: len(wanted)]] != wanted:
        raise _refused(gen, "its slots are not what the garbage collector sees")
    return values


def _bound(word: int) -> bool:
    return word != NULL and not (STACK_REFERENCES and word & _TAG == _TAGGED_INT)


def _namespace(referents: list[Any]) -> dict[str, Any]:
    function = next(value for value in referents if type(value) is FunctionType)
    return function.__globals__


def _place(
    gen: Any, code: CodeType, point: Point, twin: twins.Origin | None, flags: tuple[int, int] | None, created: bool
) -> tuple[int, int, str, int]:
    after = 1 if INSTRUCTION_AFTER_YIELD else 0
    unit = twin.unit_of_original(point.unit - after) if twin else point.unit - after
    if created:
        if flags and (flags[0] or flags[1]):
            raise _refused(gen, "an async generator was closed before it was started")
        if code.co_code[2 * unit] != _RETURN_GENERATOR:
            raise _refused(gen, f"it is to start at code unit {unit}, where no generator is made")
        return unit, -1, twins.CREATED, YIELD
    if point.at is None:
        point.at = point_at(code, (unit + after) * 2)
    at = point.at
    if at is None:
        raise _refused(gen, f"it is suspended at code unit {unit}, where there is no yield")
    return unit, at.ordinal, twins.SUSPENDED if flags is None else _async_mode(gen, at.kind != YIELD, flags), at.kind


def _async_mode(gen: Any, awaits: bool, flags: tuple[int, int]) -> str:
    closed, running = flags
    if awaits and running:
        return twins.IN_CLOSE if closed else twins.IN_AWAIT
    if not awaits and not running:
        return twins.CLOSED_AT_YIELD if closed else twins.AT_YIELD
    raise _refused(gen, "an async generator is suspended in an await that no asend(), athrow() or aclose() drives")


def _kinds(
    gen: Any,
    code: CodeType,
    twin: twins.Origin | None,
    slots: tuple[int, ...],
    values: list[Any],
    stack: str | None,
) -> tuple[str, tuple[int, ...], tuple[tuple[int, int], ...], tuple[int, ...]]:
    count = len(localsplus_names(code))
    stack = stack or VALUE * (len(slots) - count)
    if len(stack) != len(slots) - count:
        raise _refused(gen, f"{len(slots) - count} stack slots where the code has {len(stack)}")
    kinds: list[str] = []
    lastis: list[int] = []
    virtual: list[tuple[int, int]] = []
    skip: list[int] = []
    place = -1
    for slot, word in enumerate(slots):
        place += _bound(word)
        kind = stack[slot - count] if slot >= count else VALUE
        if kind == LASTI:
            raw = word >> 2 if STACK_REFERENCES else values[place]
            lastis.append(twin.unit_of_original(raw) if twin else raw)
            if not STACK_REFERENCES:
                skip.insert(0, place)
        elif word == NULL:
            kind = ABSENT
        elif STACK_REFERENCES and word & _TAG == _TAGGED_INT:
            virtual.append((place, slot))
            kind = ABSENT
        elif kind == PREVIOUS and not (values[place] is None or isinstance(values[place], BaseException)):
            raise _refused(gen, "a handler's slot does not hold an exception")
        kinds.append(kind)
    return "".join(kinds), tuple(lastis), tuple(virtual), tuple(skip)


def _immutable_iterator(container: Any, index: int) -> Any:
    iterator: Any = iter(container)
    iterator.__setstate__(index)
    return iterator


_VIRTUAL: dict[type, Callable[[Any, int], Any]] = {
    list: list_iterator,
    tuple: _immutable_iterator,
    str: _immutable_iterator,
    bytes: _immutable_iterator,
}


def _real_iterator(gen: Any, container: Any, word: int) -> Any:
    """The iterator object for what 3.15 keeps as a container and a tagged position."""
    make = _VIRTUAL.get(type(container))
    if make is None:
        raise _refused(gen, f"a for loop keeps its place in a {type(container).__name__}")
    return make(container, word >> 2)
