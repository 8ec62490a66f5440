"""What introspection shows of a suspended frame and of what hangs below it: must be the same for a copy."""

import inspect
import types

from . import kit

KINDS = {
    types.GeneratorType: ("gi", "gi_yieldfrom", inspect.getgeneratorstate),
    types.CoroutineType: ("cr", "cr_await", inspect.getcoroutinestate),
    types.AsyncGeneratorType: ("ag", "ag_await", None),
}
SAME = {"async_generator_athrow": "async_generator_asend"}  # once started they do the same
PLAIN = (int, str, bytes, bool, type(None))


def portrait(root):
    """One entry for each frame of the chain; the last tells what it ends in."""
    out = []
    while type(root) in KINDS:
        prefix, below, state = KINDS[type(root)]
        out.append(_one(root, prefix, state))
        root = getattr(root, below)
    return [*out, SAME.get(type(root).__name__, type(root).__name__)]


def _one(root, prefix, state):
    frame, code = getattr(root, prefix + "_frame"), getattr(root, prefix + "_code")
    shown = {
        "type": type(root).__name__,
        "names": (root.__name__, root.__qualname__),
        "state": state(root) if state else None,
        "running": getattr(root, prefix + "_running"),
        "code": (code.co_name, code.co_qualname, code.co_filename, code.co_firstlineno, code.co_flags),
        "variables": (code.co_varnames, code.co_cellvars, code.co_freevars, code.co_argcount),
    }
    if frame is not None:
        shown["line"] = frame.f_lineno
        shown["locals"] = {name: _value(value) for name, value in sorted(frame.f_locals.items())}
    return shown


def _value(value):
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, (list, dict, BaseException, kit.Box)):
        return kit.render(value)
    return type(value).__name__


def differences(one, other):
    """What two portraits differ in; empty if in nothing."""
    if len(one) != len(other):
        return [f"{len(other)} levels instead of {len(one)}"]
    found = []
    for level, (a, b) in enumerate(zip(one[:-1], other[:-1], strict=True)):
        found += [f"level {level} {key}: {b.get(key)} instead of {a[key]}" for key in a if a[key] != b.get(key)]
    return found + ([f"ends in {other[-1]} instead of {one[-1]}"] if one[-1] != other[-1] else [])
