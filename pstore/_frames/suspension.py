"""What a code object looks like where it can be suspended (layer 1).

Owns: the analysis of one suspension point: its ordinal, whether it is a `yield` or an `await`/`yield from`, how many
slots are in use there, and which stack slots belong to the interpreter's exception handling.

Stack slots that handlers own (``InternalDocs/exception_handling.md``):

* ``PREVIOUS``: pushed by ``PUSH_EXC_INFO``, the exception that was being handled before (None outermost).
* ``LASTI``: pushed by the unwinder for table rows with the *lasti* flag: where the exception was raised, in code units.

They are found by following the control flow from the start of the code and from the targets of its exception table,
with the stack effects of the `bytecode` package.  What is computed is checked against the frame at hand before it is
trusted (see `reading`).  Checked over the whole standard library by tests/frames_unit/test_suspension.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import CodeType

from bytecode import ConcreteBytecode, ConcreteInstr

from pstore._frames.layout import INSTRUCTION_AFTER_YIELD

__all__ = [
    "AWAIT",
    "LASTI",
    "PREVIOUS",
    "VALUE",
    "YIELD",
    "SuspensionPoint",
    "localsplus_names",
    "point_at",
    "stack_kinds",
]

VALUE, PREVIOUS, LASTI = "v", "p", "l"

YIELD, YIELD_FROM, AWAIT = 1, 2, 3  # the low bits of the argument of the RESUME that follows

_UNIT = 2  # bytes in a code unit

# A handler's first instruction stands inside the row that guards the handler, but with the stack of before it.
_NO_RAISE = frozenset({"PUSH_EXC_INFO"})

# From 3.14 on its argument only says where the loop is, for events.
_NO_JUMP = frozenset({"END_ASYNC_FOR"})


@dataclass(frozen=True, slots=True)
class SuspensionPoint:
    """One place where a code object can be suspended.

    Attributes:
        ordinal: position among the YIELD_VALUEs of the code, from 0.
        yield_unit: code unit of the YIELD_VALUE.
        kind: YIELD, YIELD_FROM or AWAIT.
    """

    ordinal: int
    yield_unit: int
    kind: int


def localsplus_names(code: CodeType) -> tuple[str, ...]:
    """Names of the slots of `code` in order: locals, cells that are no parameters, free variables."""
    own = code.co_varnames
    cells = tuple(name for name in code.co_cellvars if name not in own)
    return own + cells + code.co_freevars


def point_at(code: CodeType, lasti: int) -> SuspensionPoint | None:
    """The suspension point at which the instruction pointer is `lasti` bytes after the start; None if there is none."""
    unit = lasti // _UNIT - (1 if INSTRUCTION_AFTER_YIELD else 0)
    ordinal = at = 0
    instructions = list(ConcreteBytecode.from_code(code))
    for index, instruction in enumerate(instructions):
        if instruction.name == "YIELD_VALUE":
            if at + instruction.size // _UNIT - 1 == unit:
                after = instructions[index + 1]
                return SuspensionPoint(ordinal, unit, int(after.arg) & 3 if after.name == "RESUME" else YIELD)
            ordinal += 1
        at += instruction.size // _UNIT
    return None


# ---------------------------------------------------------------- kinds of the stack slots


def stack_kinds(code: CodeType, unit: int) -> str | None:
    """Kinds of the stack slots of a frame suspended at the YIELD_VALUE at `unit`, bottom first; None if unreachable."""
    kinds = _Flow(code).kinds_at(unit)
    return None if kinds is None else kinds[:-1]  # without the value that was yielded


class _Flow:
    """Follows the control flow of one code object, with a string of slot kinds as the state."""

    def __init__(self, code: CodeType) -> None:
        whole = ConcreteBytecode.from_code(code)
        self.instructions: list[tuple[int, ConcreteInstr]] = []
        self.index_of_unit: dict[int, int] = {}
        at = 0
        for instruction in whole:
            self.index_of_unit[at] = len(self.instructions)
            self.instructions.append((at, instruction))
            at += instruction.size // _UNIT
        self.rows = whole.exception_table
        self.before: dict[int, str] = {}

    def kinds_at(self, unit: int) -> str | None:
        wanted = next(at for at, instruction in self.instructions if at + instruction.size // _UNIT - 1 == unit)
        self._follow([(0, "")])
        return self.before.get(wanted)

    def _follow(self, todo: list[tuple[int, str]]) -> None:
        while todo:
            unit, kinds = todo.pop()
            while unit not in self.before:
                self.before[unit] = kinds
                at, instruction = self.instructions[self.index_of_unit[unit]]
                if instruction.name not in _NO_RAISE:
                    todo.extend(self._handlers(unit, kinds))
                if instruction.has_jump() and instruction.name not in _NO_JUMP:
                    target = instruction.get_jump_target(at)
                    if target is not None:
                        todo.append((target, _after(instruction, kinds, True)))
                if instruction.is_final():
                    break
                kinds = _after(instruction, kinds, False)
                unit = at + instruction.size // _UNIT

    def _handlers(self, unit: int, kinds: str) -> list[tuple[int, str]]:
        # A row may reach over instructions that cannot raise and where the stack is lower than it says.
        return [
            (row.target, kinds[: row.stack_depth] + (LASTI if row.push_lasti else "") + VALUE)
            for row in self.rows
            if row.start_offset <= unit <= row.stop_offset and row.stack_depth <= len(kinds)
        ]


def _after(instruction: ConcreteInstr, kinds: str, jump: bool) -> str:
    """The kinds after an instruction.

    Only the instructions that move or make a handler's slots need to be known one by one; of all others the net
    effect is enough, since what they replace on top of the stack is never a handler's slot.
    """
    name = instruction.name
    if name == "PUSH_EXC_INFO":
        return kinds[:-1] + PREVIOUS + VALUE
    if name == "COPY":
        return kinds + kinds[-int(instruction.arg)]
    if name == "SWAP":
        depth = int(instruction.arg)
        moved = list(kinds)
        moved[-1], moved[-depth] = moved[-depth], moved[-1]
        return "".join(moved)
    effect = 1 if name == "RETURN_GENERATOR" else instruction.stack_effect(jump)
    return kinds + VALUE * effect if effect >= 0 else kinds[:effect]
