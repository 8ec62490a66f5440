"""Resume twins: code that brings a new frame to where a stored one stood (layer 1).

Owns: the making of twin code objects.  A twin is a prefix followed by the original instructions, unchanged: from 3.11
on every jump is relative, so the original part works behind any prefix.  The prefix takes one tuple, the *state*: the
bound slots of the frame, locals first, then the stack from the bottom, then the exception being handled, if any.  It
stores the locals, builds the stack, and jumps to the original ``YIELD_VALUE``, which suspends the frame exactly where
the original stood.  Nothing of the user's runs.  No interpreter memory is written.

How the state comes in::

    suspended generator, coroutine     RETURN_GENERATOR, then one yield: the state is sent
    async generator at a yield         the same, through asend() objects
    async generator in an await        one yield more, so that the asend() or aclose() object that will sit on the
                                       outer stack is under way
    created, not yet started           from a one-item list among the constants, before RETURN_GENERATOR

Stack slots that handlers own are made by the interpreter itself: ``PUSH_EXC_INFO`` pushes the exception handled before
and makes the given one the handled one; a tagged *lasti* (3.14+) is pushed when the prefix raises inside a row with the
lasti flag, at an instruction that has the position of the original one.  Up to 3.13 a lasti is a plain int constant.

Sources: ``Python/bytecodes.c``, ``InternalDocs/exception_handling.md``, ``InternalDocs/code_objects.md`` (the location
table) of 3.11-3.15.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any

from bytecode import ConcreteInstr

from pstore._frames.layout import INSTRUCTION_AFTER_YIELD, STACK_REFERENCES, VERSION
from pstore._frames.locations import at_position, handler_row, handler_rows, no_location, step_back
from pstore._frames.suspension import LASTI, PREVIOUS, VALUE, localsplus_names, point_at, stack_kinds

__all__ = ["ABSENT", "Origin", "Shape", "function_of", "make_twin", "origin_of", "original_code", "problem_with"]

ABSENT = "n"
"""Kind of a slot that is NULL."""

CREATED, SUSPENDED, AT_YIELD, IN_AWAIT, IN_CLOSE, CLOSED_AT_YIELD = "c", "s", "y", "a", "x", "z"
"""Modes of a shape: not started; a suspended generator or coroutine; an async generator at a yield, in an await under
asend() or athrow(), in an await under aclose(), and at a yield after aclose() was ignored."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Where a frame stands and what its slots are, all that a twin depends on.

    Attributes:
        unit: code unit of the instruction to jump to: the YIELD_VALUE, or RETURN_GENERATOR of a created frame.
        ordinal: position of the suspension point among those of the code; -1 when created.
        mode: see the modes above.
        kinds: one letter a slot, locals and then the stack: VALUE, ABSENT, PREVIOUS or LASTI.
        lastis: the values of the LASTI slots, bottom first, in code units of the original code.
        handling: an exception is being handled; it comes last in the state.
    """

    unit: int
    ordinal: int
    mode: str
    kinds: str
    lastis: tuple[int, ...] = ()
    handling: bool = False

    def encode(self) -> bytes:
        """The stored form: ``unit.ordinal.mode.kinds.lastis.handling`` in ASCII."""
        lastis = ",".join(map(str, self.lastis))
        return f"{self.unit}.{self.ordinal}.{self.mode}.{self.kinds}.{lastis}.{self.handling:d}".encode()

    @classmethod
    def decode(cls, encoded: bytes) -> Shape:
        """Inverse of :meth:`encode`.  Raises ValueError for anything else."""
        unit, ordinal, mode, kinds, lastis, handling = encoded.decode().split(".")
        values = tuple(int(value) for value in lastis.split(",") if value)
        return cls(int(unit), int(ordinal), mode, kinds, values, handling == "1")


def problem_with(code: CodeType, shape: Shape) -> str | None:
    """What keeps frames of `code` from having that shape; None if nothing does."""
    count = len(localsplus_names(code))
    local, stack = shape.kinds[:count], shape.kinds[count:]
    if len(local) < count or set(local) - {VALUE, ABSENT} or set(stack) - {VALUE, ABSENT, PREVIOUS, LASTI}:
        return "its slots"
    if shape.mode == CREATED:
        starts = code.co_code[2 * shape.unit : 2 * shape.unit + 1] == bytes((dis.opmap["RETURN_GENERATOR"],))
        return None if starts and shape.ordinal == -1 and not shape.handling else "where it starts"
    is_async = bool(code.co_flags & inspect.CO_ASYNC_GENERATOR)
    if shape.mode not in ((AT_YIELD, IN_AWAIT, IN_CLOSE, CLOSED_AT_YIELD) if is_async else (SUSPENDED,)):
        return "its mode"
    at = point_at(code, 2 * (shape.unit + INSTRUCTION_AFTER_YIELD))
    if at is None or at.ordinal != shape.ordinal:
        return "where it stands"
    expected = stack_kinds(code, shape.unit)
    if expected is None or len(expected) != len(stack):
        return "its stack"
    owned = [kind if kind in (PREVIOUS, LASTI) else VALUE for kind in stack]
    if owned != list(expected) or shape.handling != (PREVIOUS in stack) or len(shape.lastis) != stack.count(LASTI):
        return "its handlers"
    return None if all(0 <= lasti < len(code.co_code) // 2 for lasti in shape.lastis) else "where it raised"


@dataclass(slots=True)
class Origin:
    """How a twin maps back to the code that it was made from; the last of the twin's constants.

    Attributes:
        code: the code object whose instructions follow the prefix.
        units: length of the prefix in code units.
        raised_at: code unit of the prefix -> the lasti of the original that it stands for.
        holder: the one-item list through which a created frame gets its state.
    """

    code: CodeType
    units: int
    raised_at: dict[int, int]
    holder: list[Any]

    def unit_of_original(self, unit: int) -> int:
        """The original's code unit for one of the twin's."""
        return self.raised_at.get(unit, unit - self.units)


def origin_of(code: CodeType) -> Origin | None:
    """Where a twin comes from; None for ordinary code."""
    last = code.co_consts[-1] if code.co_consts else None
    return last if type(last) is Origin else None


def original_code(code: CodeType) -> CodeType:
    """The code object that a twin was made from; of ordinary code, itself."""
    origin = origin_of(code)
    return origin.code if origin is not None else code


def function_of(code: CodeType, namespace: dict[str, Any]) -> FunctionType:
    """A function of a twin that can be called without arguments; its cells are placeholders."""
    cells = tuple(_cell() for _ in code.co_freevars) or None
    function = FunctionType(code, namespace, code.co_name, (None,) * code.co_argcount or None, cells)
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    if keywords:
        function.__kwdefaults__ = dict.fromkeys(keywords)
    return function


def _cell() -> Any:
    content = None
    return (lambda: content).__closure__[0]  # type: ignore[index]


# ---------------------------------------------------------------- assembling


@dataclass
class _Prefix:
    """The instructions of a prefix under construction, with the constants that it adds."""

    code: CodeType
    units: int = 0
    bytes: bytearray = field(default_factory=bytearray)
    constants: list[Any] = field(default_factory=list)
    rows: list[tuple[int, int, int, int]] = field(default_factory=list)  # start, length, target, depth: all with lasti
    raised_at: dict[int, int] = field(default_factory=dict)
    lasti_constants: list[int] = field(default_factory=list)  # positions of constants that move with the prefix
    holder: list[Any] = field(default_factory=list)

    def emit(self, name: str, arg: int | None = None) -> None:
        """Append one instruction with its EXTENDED_ARGs and cache units."""
        instruction = ConcreteInstr(name, arg) if arg is not None else ConcreteInstr(name)
        if arg is None and dis.opmap[name] >= dis.HAVE_ARGUMENT:
            raise ValueError(f"{name} needs an argument")
        self.bytes += instruction.assemble()
        self.bytes += bytes(2 * instruction.use_cache_opcodes())
        self.units = len(self.bytes) // 2

    def load(self, constant: Any) -> None:
        self.constants.append(constant)
        self.emit("LOAD_CONST", len(self.code.co_consts) + len(self.constants) - 1)

    def item(self, index: int) -> None:
        """With the state on top of the stack, push one of its items above it."""
        self.emit("COPY", 1)
        self.load(index)
        if VERSION >= (3, 14):
            self.emit("BINARY_OP", _SUBSCRIPT)
        else:
            self.emit("BINARY_SUBSCR")


def _subscript_argument() -> int:
    """The argument with which BINARY_OP subscripts (3.14+); -1 before."""
    code = (lambda a, b: a[b]).__code__
    return next((int(i.arg or 0) for i in dis.get_instructions(code) if i.opname == "BINARY_OP"), -1)


_SUBSCRIPT = _subscript_argument()


def make_twin(code: CodeType, shape: Shape) -> CodeType:
    """Make the twin of `code` for frames of one shape."""
    prefix = _Prefix(code)
    _enter(prefix, shape)
    _build(prefix, shape)
    _leave(prefix, shape)
    for position in prefix.lasti_constants:
        prefix.constants[position] += prefix.units
    origin = Origin(code, prefix.units, prefix.raised_at, prefix.holder)
    return code.replace(
        co_code=bytes(prefix.bytes) + code.co_code,
        co_consts=(*code.co_consts, *prefix.constants, origin),
        co_stacksize=max(code.co_stacksize, len(shape.kinds) + 2) + 4,
        co_linetable=_prefix_locations(prefix) + code.co_linetable,
        co_exceptiontable=_rows(prefix) + _shifted_rows(code, prefix.units),
    )


def _enter(prefix: _Prefix, shape: Shape) -> None:
    """Get the state onto the stack."""
    if shape.mode == CREATED:
        prefix.load(prefix.holder)
        prefix.emit("UNPACK_SEQUENCE", 1)
        return
    prefix.emit("RETURN_GENERATOR")
    prefix.emit("POP_TOP")
    prefix.emit("RESUME", 0)
    if shape.mode == SUSPENDED:
        _yield(prefix, wrapped=False)
    else:
        _yield(prefix, wrapped=True)
    if shape.mode in (IN_CLOSE, CLOSED_AT_YIELD):
        # aclose() comes in as an exception at that yield: go on from a handler, which finds lasti and exception.
        prefix.rows.append((prefix.units - _RESUME_UNITS - 1, 1, prefix.units, 0))
        prefix.emit("POP_TOP")
        prefix.emit("POP_TOP")
        _yield(prefix, wrapped=False)
    elif shape.mode == IN_AWAIT:
        prefix.emit("POP_TOP")
        _yield(prefix, wrapped=False)


_RESUME_UNITS = 1 + ConcreteInstr("RESUME", 1).use_cache_opcodes()


def _yield(prefix: _Prefix, *, wrapped: bool) -> None:
    prefix.load(None)
    if wrapped:
        _wrap(prefix)
    prefix.emit("YIELD_VALUE", 0 if VERSION >= (3, 12) else None)
    prefix.emit("RESUME", 1)


def _wrap(prefix: _Prefix) -> None:
    """Mark what an async generator yields as its own, not that of an await inside it."""
    if VERSION >= (3, 12):
        prefix.emit("CALL_INTRINSIC_1", 4)  # INTRINSIC_ASYNC_GEN_WRAP
    else:
        prefix.emit("ASYNC_GEN_WRAP")


def _build(prefix: _Prefix, shape: Shape) -> None:
    """From the state on the stack: store the locals, build the stack."""
    count = len(localsplus_names(prefix.code))
    local, stack = shape.kinds[:count], shape.kinds[count:]
    values = shape.kinds.count(VALUE) + shape.kinds.count(PREVIOUS)
    total = values + shape.handling
    if stack.rstrip(ABSENT) in ("", VALUE) and not shape.handling:
        # The state falls apart into just the locals and at most one stack value.
        _unpack(prefix, total, local)
        for _ in range(stack.count(ABSENT)):
            prefix.emit("PUSH_NULL")
        return
    prefix.emit("COPY", 1)
    _unpack(prefix, total, local)
    bound = local.count(VALUE)
    for _ in range(total - bound):
        prefix.emit("POP_TOP")
    _build_stack(prefix, shape, stack, bound)
    prefix.emit("POP_TOP")


def _unpack(prefix: _Prefix, total: int, local: str) -> None:
    prefix.emit("UNPACK_SEQUENCE", total)
    parameters = _parameters(prefix.code)
    for slot, kind in enumerate(local):
        if kind == VALUE:
            prefix.emit("STORE_FAST", slot)
        elif slot < parameters:
            prefix.emit("DELETE_FAST", slot)  # called without arguments, it is bound to a placeholder


def _parameters(code: CodeType) -> int:
    variadic = bool(code.co_flags & 0x04) + bool(code.co_flags & 0x08)  # CO_VARARGS, CO_VARKEYWORDS
    return code.co_argcount + code.co_kwonlyargcount + variadic


def _build_stack(prefix: _Prefix, shape: Shape, stack: str, bound: int) -> None:
    """Build the stack under the state, which stays on top."""
    index = bound
    lastis = iter(shape.lastis)
    handled = _handled(stack, bound)
    for depth, kind in enumerate(stack):
        if kind == VALUE:
            prefix.item(index)
            index += 1
        elif kind == ABSENT:
            prefix.emit("PUSH_NULL")
        elif kind == PREVIOUS:
            prefix.item(next(handled))
            prefix.emit("PUSH_EXC_INFO")
            prefix.emit("POP_TOP")
            index += 1
        elif kind == LASTI:
            _push_lasti(prefix, next(lastis), depth)
        prefix.emit("SWAP", 2)


def _handled(stack: str, bound: int) -> Iterator[int]:
    """For each PREVIOUS slot, the place in the state of the exception that its handler handles.

    That is what the next handler's PREVIOUS slot holds; for the innermost handler it is the last item of the state.
    """
    places = []
    index = bound
    for kind in stack:
        if kind == PREVIOUS:
            places.append(index)
        index += kind in (VALUE, PREVIOUS)
    return iter([*places[1:], index])


def _push_lasti(prefix: _Prefix, lasti: int, depth: int) -> None:
    if not STACK_REFERENCES:
        prefix.lasti_constants.append(len(prefix.constants))
        prefix.load(lasti)  # the prefix's length is added when it is known
        return
    prefix.load(None)
    prefix.raised_at[prefix.units] = lasti
    prefix.emit("RAISE_VARARGS", 1)
    prefix.rows.append((prefix.units - 1, 1, prefix.units, depth + 1))
    prefix.emit("POP_TOP")


def _leave(prefix: _Prefix, shape: Shape) -> None:
    """Jump to the original instruction."""
    if shape.mode != CREATED:
        prefix.load(None)
    if shape.mode in (AT_YIELD, CLOSED_AT_YIELD):
        _wrap(prefix)
    prefix.emit("JUMP_FORWARD", shape.unit)


# ---------------------------------------------------------------- exception table and locations


def _rows(prefix: _Prefix) -> bytes:
    return b"".join(handler_row(start, length, target, depth << 1 | 1) for start, length, target, depth in prefix.rows)


def _shifted_rows(code: CodeType, units: int) -> bytes:
    rows = handler_rows(code.co_exceptiontable)
    return b"".join(handler_row(start + units, length, target + units, rest) for start, length, target, rest in rows)


def _prefix_locations(prefix: _Prefix) -> bytes:
    """Location table of the prefix: none, but for the instructions that stand for one of the original."""
    table = b""
    positions = list(prefix.code.co_positions()) if prefix.raised_at else []
    at = 0
    for unit, lasti in prefix.raised_at.items():
        table += no_location(unit - at)
        first = prefix.code.co_firstlineno
        table += at_position(positions[lasti], first)
        # lines are counted from the entry before: the instruction after it goes back
        table += step_back(positions[lasti][0] or first, first)
        at = unit + 2
    return table + no_location(prefix.units - at)
