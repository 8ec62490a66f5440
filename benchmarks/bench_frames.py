"""Storing and loading suspended frames, beside `pickle` of a plain object that holds the same values.

``python -m benchmarks frames`` takes both in turns and gives ratios; ``pytest benchmarks/bench_frames.py`` runs each by
itself under pytest-benchmark.
"""

from __future__ import annotations

import gc
import importlib
import pickle
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from types import ModuleType
from typing import Any

import pytest

import pstore
from benchmarks import subjects
from benchmarks.chains import chain_of_functions, plain_chain_of_classes
from benchmarks.harness import Call, Effort, collector_off, interleave, summary

__all__ = ["CASES", "NAMES", "measure"]


@dataclass(frozen=True)
class Case:
    """A suspended frame, or function, and its plain equivalent.

    Attributes:
        make, plain: give the two objects.
        bar_ratio: what neither the ratio of the dumps nor that of the loads may exceed; None: for information.
        first_met: whether the frame that is measured is the very one at which pstore met this suspension point first.
            Otherwise another frame at that point was stored before.
    """

    name: str
    title: str
    make: Callable[[], Any]
    plain: Callable[[], Any]
    bar_ratio: float | None = None
    first_met: bool = False


CASES = (
    Case("ten_locals", "frame of 10 locals", subjects.ten, subjects.plain_ten, 2.0),
    Case("ten_locals_one_unbound", "frame of 11 locals, one unbound", subjects.ten_of_eleven, subjects.plain_ten),
    Case("await_chain_1", "await chain of 1", partial(subjects.chain, 1), partial(subjects.plain_chain, 1)),
    Case("await_chain_10", "await chain of 10", partial(subjects.chain, 10), partial(subjects.plain_chain, 10), 3.0),
    Case(
        "await_chain_10_to_generator",
        "await chain of 10, and a generator",
        partial(subjects.chain_to_generator, 10),
        partial(subjects.plain_chain_to_generator, 10),
        3.0,
    ),
    Case("await_chain_10_functions", "await chain of 10 functions", chain_of_functions, plain_chain_of_classes, 3.0),
    Case("await_chain_50", "await chain of 50", partial(subjects.chain, 50), partial(subjects.plain_chain, 50)),
    Case("list_1000", "list of 1,000 ints in a local", subjects.with_numbers, subjects.plain_numbers, 1.2),
    Case("for_loop", "for loop: 10 locals + iterator", subjects.looping, subjects.plain_looping),
    Case("handling_exception", "handling an exception", subjects.handling, subjects.plain_handling),
    Case("async_generator", "async generator in an await", subjects.async_generator, subjects.plain_async_generator),
    Case("closure", "closure over 2 cells, by value", subjects.closure, subjects.plain_closure),
    Case("lambda", "partial of a lambda, by value", subjects.bound_lambda, subjects.plain_lambda),
)
_FIRST_MET = tuple(
    replace(case, name=f"{case.name}_first_met", title=f"{case.title} (first met)", first_met=True)
    for case in CASES
    if case.bar_ratio is not None
)
COLD = "first_capture"
NAMES = (*(case.name for case in (*_FIRST_MET, *CASES)), COLD)

_pickle = partial(pickle.dumps, protocol=5)


def _sides(case: Case) -> dict[str, Call]:
    """The four calls of a case, in the order in which they take turns."""
    frame, plain = case.make(), case.plain()
    if not case.first_met:
        pstore.dumps(frame)
        frame = case.make()
    return {
        "dump": Call(pstore.dumps, frame),
        "plain_dump": Call(_pickle, plain),
        "load": Call(pstore.loads, pstore.dumps(frame)),
        "plain_load": Call(pickle.loads, _pickle(plain)),
    }


def _with_ratios(title: str, figures: dict[str, Any], bar: float | None) -> dict[str, Any]:
    for side in ("dump", "load"):
        figures[f"{side}_ratio"] = round(figures[f"{side}_us_min"] / figures[f"plain_{side}_us_min"], 3)
    if bar is not None:
        figures["bar_ratio"] = bar
        figures["met"] = max(figures["dump_ratio"], figures["load_ratio"]) <= bar
    return {"title": title, **figures}


def _measure_case(case: Case, effort: Effort) -> dict[str, Any]:
    sides = _sides(case)
    figures: dict[str, Any] = summary(interleave(sides, effort.rounds))
    figures["stored_bytes"] = len(sides["load"].argument)
    figures["plain_bytes"] = len(sides["plain_load"].argument)
    return _with_ratios(case.title, figures, case.bar_ratio)


# ---------------------------------------------------------------- the first capture of a function

_FUNCTION = '''
def function_{number}(customer, amount, attempts=3):
    """Takes the amount from the customer's account."""
    total = 0
    for attempt in range(attempts):
        try:
            total += amount * {number} + attempt
            yield attempt
        except ValueError as error:
            total -= error.args[0]
        finally:
            attempts -= 1
    return customer, total


class Plain{number}:
    def __init__(self, **values):
        self.__dict__.update(values)

'''


@contextmanager
def _module_of_functions(count: int) -> Iterator[ModuleType]:
    """A module, in a file of its own, with `count` generator functions and as many classes, none used so far."""
    with tempfile.TemporaryDirectory() as folder:
        name = f"_functions_{perf_counter_ns()}"
        (Path(folder) / f"{name}.py").write_text("".join(_FUNCTION.format(number=number) for number in range(count)))
        sys.path.insert(0, folder)
        importlib.invalidate_caches()
        try:
            yield importlib.import_module(name)
        finally:
            sys.path.remove(folder)
            sys.modules.pop(name, None)


def _plain_of(module: ModuleType, number: int) -> Any:
    cls = getattr(module, f"Plain{number}")
    return cls(customer="Ada", amount=10, attempts=3, total=0, attempt=0, iterator=iter(range(3)))


def _frame_of(module: ModuleType, number: int) -> Any:
    frame = getattr(module, f"function_{number}")("Ada", 10)
    next(frame)
    return frame


def _once(function: Callable[[Any], Any], argument: Any) -> tuple[float, Any]:
    start = perf_counter_ns()
    result = function(argument)
    return (perf_counter_ns() - start) / 1000, result


_WAYS: tuple[tuple[str, Callable[[Any], Any], Callable[[Any], Any]], ...] = (
    ("", pstore.dumps, pstore.loads),
    ("plain_", _pickle, pickle.loads),
)


def _measure_cold(effort: Effort) -> dict[str, Any]:
    taken: dict[str, list[float]] = {"dump": [], "plain_dump": [], "load": [], "plain_load": []}
    kept: list[Any] = []
    with _module_of_functions(effort.cold) as module, collector_off():
        for number in range(effort.cold):
            for side, dump, load in _WAYS:
                subject = _plain_of(module, number) if side else _frame_of(module, number)
                took, data = _once(dump, subject)
                taken[f"{side}dump"].append(took)
                took, loaded = _once(load, data)
                taken[f"{side}load"].append(took)
                kept += (subject, loaded)
    figures: dict[str, Any] = summary(taken)
    figures["dump_us_p95"] = round(statistics.quantiles(taken["dump"], n=20)[-1], 3)
    pstore.abandon(kept)
    gc.collect()
    return _with_ratios("first capture, first load of a function", figures, None)


# ---------------------------------------------------------------- all, and by themselves


def measure(names: set[str], effort: Effort, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure the named cases; all if there are no names."""
    results: dict[str, Any] = {}
    for case in (*_FIRST_MET, *CASES):
        if not names or case.name in names:
            tell(case.title)
            results[case.name] = _measure_case(case, effort)
    if not names or COLD in names:
        tell("first capture of a function")
        results[COLD] = _measure_cold(effort)
    return results


@pytest.mark.parametrize("side", ["dump", "plain_dump", "load", "plain_load"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_frame(benchmark: Any, case: Case, side: str) -> None:
    """Dump and load of one case, under pytest-benchmark."""
    call = _sides(case)[side]
    benchmark.group = f"{case.name} {side.removeprefix('plain_')}"
    benchmark(call.function, call.argument)


def test_first_capture(benchmark: Any) -> None:
    """First capture of a function, under pytest-benchmark."""
    count = 50
    with _module_of_functions(count) as module:
        frames = [_frame_of(module, number) for number in range(count)]
        benchmark.group = "first capture dump"
        benchmark.pedantic(pstore.dumps, setup=lambda: ((frames.pop(),), {}), rounds=count)
