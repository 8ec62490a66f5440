"""What a function being written may use at one place: names by type, what may be awaited or yielded, where to jump."""

import dataclasses
from dataclasses import dataclass, field

CALLS = ("sync", "coro", "gen", "clean_gen", "agen", "clean_agen", "cm", "acm", "class")


def no_calls():
    return {kind: [] for kind in CALLS}


@dataclass
class Scope:
    """A clean function holds nothing open at its yields: being dropped half consumed it has no effect."""

    kind: str  # coro, gen, agen, sync
    ints: list = field(default_factory=list)  # may be read
    own: list = field(default_factory=list)  # of these: may be assigned
    lists: list = field(default_factory=list)
    dicts: list = field(default_factory=list)
    objs: list = field(default_factory=list)  # instances with n, add, aadd, gadd
    slotted: list = field(default_factory=list)
    kept: list = field(default_factory=list)  # variables that hold an exception or None
    excs: list = field(default_factory=list)  # exceptions of the handlers around
    gens: list = field(default_factory=list)  # clean generators, perhaps half consumed
    agens: list = field(default_factory=list)
    undo: list = field(default_factory=list)  # lists of closures
    outer: list = field(default_factory=list)  # lists of the functions around: not to be rebound
    calls: dict = field(default_factory=no_calls)
    clean: bool = False
    yields: bool = True  # False in comprehensions
    walrus: bool = True
    in_loop: bool = False
    jumps: bool = True  # False in except*
    finals: bool = False  # in a finally block
    level: int = 0  # functions around
    loops: int = 0  # loops around, in this function

    def block(self, **changes):
        """For a nested block: names bound in it are not seen after it."""
        copied = {f.name: list(getattr(self, f.name)) for f in dataclasses.fields(self) if f.type is list}
        copied["calls"] = {kind: list(names) for kind, names in self.calls.items()}
        return dataclasses.replace(self, **{**copied, **changes})

    def function(self, kind, params, clean=False):
        """For a function defined inside: what is outside can be read, only parameters are its own."""
        inner = self.block(
            kind=kind,
            own=list(params),
            clean=clean,
            yields=True,
            walrus=True,
            in_loop=False,
            jumps=True,
            finals=False,
            loops=0,
            level=self.level + 1,
            excs=[],
            kept=[],
            gens=[],
            agens=[],
            undo=[],
        )
        inner.ints, inner.outer = self.ints + list(params), self.outer + self.lists
        return inner

    @property
    def awaits(self):
        return self.kind in ("coro", "agen")

    @property
    def suspends(self):
        return self.awaits or (self.kind == "gen" and self.yields)
