"""CPython's own tests of asyncio on the durable loop, its tasks and futures: as they are, and with recapture.

    python -m tests.engine.conformance [--plain] [--json FILE] [MODULE ...]     the table; exit status 1 if any fails
    python -m tests.engine.conformance --readme                                 what the README says, from the results

Each module is run twice, in processes of its own.  *Recaptured* means that every frame of a coroutine, generator or
async generator that gets suspended is captured and rebuilt, twice, and the test goes on with the rebuilt frame in place
of its own: at every await, at each level of the chain (how: `tests.suites.recapture`).

What is run is chosen by `CASES`: classes as they are, with the durable loop wherever asyncio would make one; and the
bases that CPython derives once for each of its own implementations of Task and Future, derived once more for that of
pstore.  Excluded tests (`EXCLUDED`, each with its reason) are run nevertheless: one that passes is reported as stale.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys
import tempfile
import time
import unittest
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pstore._engine import loop, reporting, timers
from tests.engine.driven import DrivenLoop, Future, Task, TimedLoop
from tests.processes import ROOT
from tests.suites import worker
from tests.suites.build import CannotBuild, build
from tests.suites.runner import Log, NoSuites, module_of, run_module

PACKAGE = "test_asyncio."
WORKER = "tests.engine.conformance"


@dataclass(frozen=True)
class Case:
    """A class of tests that is run.

    Attributes:
        name: of the class in the module; Pythons without it are served without it.
        members: what to put into a class derived from it; None: it is run as it is.
        bases: further classes of the module to derive from.
        only: tests to run; all if empty.
        kind: what the derived class is, if the base is no TestCase by itself.
    """

    name: str
    members: dict[str, Any] | None = None
    bases: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    kind: type[unittest.TestCase] | None = None


def new_future(test: Any, *args: Any, loop: Any = None) -> Future:
    """What BaseFutureDoneCallbackTests asks for, and what BaseFutureTests makes of its `cls`."""
    return Future(*args, loop=loop or test.loop)


TASKS = {
    "Task": Task,
    "Future": Future,
    "all_tasks": staticmethod(asyncio.all_tasks),
    "current_task": staticmethod(asyncio.current_task),
}
EAGER = {"Task": Task}
LOOP = {"create_event_loop": lambda test: DrivenLoop()}

CASES: dict[str, list[Case]] = {
    "test_tasks": [
        Case("BaseTaskTests", TASKS, bases=("SetMethodsTest",)),
        *map(Case, ["CCurrentLoopTests", "FutureGatherTests", "CoroutineGatherTests", "RunCoroutineThreadsafeTests"]),
        *map(Case, ["SleepTests", "CompatibilityTests"]),
    ],
    "test_futures": [
        Case("DuckTests"),
        Case("BaseFutureTests", {"cls": Future}),
        Case("BaseFutureDoneCallbackTests", {"_new_future": new_future}),
        Case("BaseFutureInheritanceTests", {"_get_future_cls": lambda test: Future}),
    ],
    "test_futures2": [
        Case("FutureTests", {"cls": Task}, kind=unittest.IsolatedAsyncioTestCase),
        Case("FutureReprTests"),
    ],
    "test_eager_task_factory": [
        Case("EagerTaskFactoryLoopTests", EAGER),
        Case("BaseEagerTaskFactoryTests", EAGER),
        Case("BaseNonEagerTaskFactoryTests", EAGER),
        Case("DefaultTaskFactoryEagerStart"),
    ],
    "test_locks": [],
    "test_queues": [],
    "test_timeouts": [],
    "test_taskgroups": [],
    "test_waitfor": [],
    "test_staggered": [],
    "test_context": [],
    "test_runners": [],
    "test_threads": [],
    "test_pep492": [Case("LockTests"), Case("CoroutineTests")],
    "test_graph": [Case("CallStackTestBase", {}, kind=unittest.IsolatedAsyncioTestCase)],
    "test_base_events": [
        Case("RunningLoopTests"),
        Case(
            "BaseEventLoopTests",
            only=(
                "test_asyncgen_finalization_by_gc",
                "test_asyncgen_finalization_by_gc_in_other_thread",
                "test_call_later",
                "test_call_later_negative_delays",
                "test_call_soon",
                "test_call_soon_non_callable",
                "test_check_thread",
                "test_close",
                "test_create_named_task_with_custom_factory",
                "test_create_named_task_with_default_factory",
                "test_create_task",
                "test_create_task_error_closes_coro",
                "test_default_exc_handler_broken",
                "test_default_exc_handler_callback",
                "test_default_exc_handler_coro",
                "test_run_forever_keyboard_interrupt",
                "test_run_until_complete_baseexception",
                "test_run_until_complete_loop",
                "test_run_until_complete_loop_orphan_future_close_loop",
                "test_run_until_complete_type_error",
                "test_set_debug",
                "test_set_exc_handler_broken",
                "test_set_exc_handler_custom",
                "test_set_exc_handler_invalid",
                "test_set_task_factory",
                "test_set_task_factory_invalid",
                "test_time_and_call_at",
            ),
        ),
        Case(
            "BaseEventLoopWithSelectorTests",
            only=("test_log_slow_callbacks", "test_call_coroutine"),
        ),
    ],
    "test_events": [
        Case(
            "EventLoopTestsMixin",
            LOOP,
            only=(
                "test_call_later",
                "test_call_soon",
                "test_call_soon_threadsafe",
                "test_call_soon_threadsafe_same_thread",
                "test_close",
                "test_run_in_executor",
                "test_run_in_executor_cancel",
                "test_run_until_complete",
                "test_run_until_complete_nesting",
                "test_run_until_complete_stopped",
            ),
        ),
        Case("HandleTests"),
        Case("TimerTests"),
    ],
}

# Tests that ask for what the durable loop does not claim, each with its reason.  Names are MODULE.TEST.
DROPPED = "a durable task that is dropped is silent (invariant I2)"
THREADS = "calls that come through call_soon_threadsafe are taken in at the next turn, behind those of the loop itself"
EXCLUDED = {
    "test_tasks.test_log_destroyed_pending_task": DROPPED,
    "test_tasks.test_error_in_call_soon": DROPPED,
    "test_tasks.test_run_coroutine_threadsafe_task_cancelled": "a concurrent.futures.CancelledError that a step raises "
    "stays one; asyncio's executors make an asyncio.CancelledError of it",
    "test_events.test_call_soon_threadsafe": THREADS,
    "test_events.test_call_soon_threadsafe_same_thread": THREADS,
    "test_graph.test_stack_future": "an asyncio.Future() is one in C, which does not tell that tasks of pstore wait for it",
    "test_events.test_close": "a closed durable loop falls silent, as its tasks go on in another process (invariant I2)",
}
if sys.version_info < (3, 13):
    EXCLUDED["test_futures.test_exception"] = "StopIteration is wrapped, as by 3.13 and later; this version refuses it"
if sys.version_info >= (3, 15):
    EXCLUDED["test_futures.test_future_disallow_multiple_initialization"] = (
        "it is the loop that makes futures, once: to look for more would cost each of them"
    )
if sys.version_info[:2] == (3, 14):
    EXCLUDED["test_futures.test_future_cancel_message_setter"] = "asks that an attribute cannot be deleted in C"

# Classes, or what was not chosen of them, that are not run: asyncio's own, or of what a durable loop does not have.
OWN = "tests asyncio's own implementations, in C and in Python, apart from any loop"
OUTSIDE = "sockets, pipes, servers, signals, selectors, subprocesses: of the loop, which refuses them by name"
NOT_RUN = {
    "test_tasks": OWN,
    "test_futures": OWN,
    "test_futures2": OWN,
    "test_eager_task_factory": OWN,
    "test_graph": OWN,
    "test_pep492": "streams",
    "test_base_events": OUTSIDE + "; how asyncio's loop does inside what it does",
    "test_events": OUTSIDE + "; policies; locks in the handles of call_soon_threadsafe (3.14+)",
}


# ---------------------------------------------------------------- in the worker


class Logger:
    """What the tests have put in place of asyncio's logger; pstore's messages go to its own."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.base_events.logger, name)


def put_in_place(module: str) -> None:
    """Have asyncio make durable loops; before the module of tests is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        policy = type(asyncio.get_event_loop_policy())
        policy._loop_factory = DrivenLoop  # type: ignore[attr-defined]
    for home in (asyncio, asyncio.base_events, asyncio.unix_events):
        for name in ("BaseEventLoop", "SelectorEventLoop", "EventLoop"):
            if hasattr(home, name):
                setattr(home, name, DrivenLoop)
    loop.logger = reporting.logger = Logger()  # type: ignore[assignment]
    if module == "test_events":
        asyncio.Handle, asyncio.TimerHandle = timers.Handle, timers.TimerHandle  # type: ignore[misc]
    utils = importlib.import_module("test.test_asyncio.utils")
    utils.TestLoop = TimedLoop


def classes(module: Any, name: str) -> Iterator[tuple[type[unittest.TestCase], Case]]:
    """The classes of a module that are run."""
    chosen = CASES[name]
    if not chosen:
        found = [each for each in vars(module).values() if isinstance(each, type)]
        tests = [each for each in found if issubclass(each, unittest.TestCase) and each.__module__ == module.__name__]
        chosen = [Case(each.__name__) for each in tests]
    for case in chosen:
        base = getattr(module, case.name, None)
        if base is None:
            continue
        if case.members is None:
            yield base, case
            continue
        kind = case.kind or module.test_utils.TestCase
        bases = (base, *(getattr(module, further) for further in case.bases), kind)
        yield type("Durable" + case.name, bases, {"__module__": module.__name__, **case.members}), case


def select(module: str, skip: set[str]) -> unittest.TestSuite:
    """The tests to run."""
    name = module.rpartition(".")[2]
    suite = unittest.TestSuite()
    for cls, case in classes(importlib.import_module(module), name):
        for test in worker.cases(unittest.defaultTestLoader.loadTestsFromTestCase(cls)):
            method = test.id().rpartition(".")[2]
            if test.id() not in skip and (not case.only or method in case.only):
                suite.addTest(test)
    return suite


# ---------------------------------------------------------------- what became of them


@dataclass
class Run:
    """One run of a module."""

    run: int = 0
    passed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    suspensions: int = 0
    seconds: float = 0.0


@dataclass
class Outcome:
    """A module: both runs, and what is not counted in them."""

    module: str
    plain: Run = field(default_factory=Run)
    recaptured: Run = field(default_factory=Run)
    excluded: dict[str, str] = field(default_factory=dict)
    not_run: str | None = None
    stale: list[str] = field(default_factory=list)
    skipped_by_python: dict[str, str] = field(default_factory=dict)


def short(module: str, test: str) -> str:
    """Class and test."""
    return test.removeprefix(f"test.{PACKAGE}{module}.")


def excluded(module: str, test: str) -> str | None:
    """Why a test is not counted; None if it is."""
    return EXCLUDED.get(f"{module}.{test.rpartition('.')[2]}")


def problem(row: dict[str, Any]) -> str | None:
    """Why a test has failed; None if it has not."""
    if row["status"] in ("failed", "crashed"):
        return f"{row['status']}: {row['message']}"
    if row.get("problems"):
        return "not recaptured: " + json.dumps(row["problems"][:5])
    return None


def count(outcome: Outcome, run: Run, log: Log) -> None:
    """Add up a run."""
    for test, row in log.ended.items():
        name, why, reason = short(outcome.module, test), problem(row), excluded(outcome.module, test)
        run.suspensions += row.get("suspended", 0)
        if row["status"] == "skipped":
            outcome.skipped_by_python[name] = row["message"]
        elif reason is not None:
            outcome.excluded[name] = reason
            if why is None and name not in outcome.stale:
                outcome.stale.append(name)
        else:
            run.run += 1
            run.passed += why is None
            if why is not None:
                run.failed[name] = why


def run_tests(module: str, extension: Path | None, runs: Sequence[str] = ("plain", "recaptured")) -> Outcome:
    """Run a module as it is, and recaptured; without the extension only as it is."""
    outcome = Outcome(module, not_run=NOT_RUN.get(module))
    for name in runs if extension else ("plain",):
        flags = ["--recapture"] * (name == "recaptured")
        began, run = time.perf_counter(), getattr(outcome, name)
        count(outcome, run, run_module(module_of(PACKAGE + module), extension or Path(), *flags, worker=WORKER))
        run.seconds = round(time.perf_counter() - began, 1)
    return outcome


def modules() -> list[str]:
    """Those that this Python has.

    Raises:
        NoSuites: it has none.
    """
    module_of("test_asyncio")
    found = []
    for name in CASES:
        try:
            module_of(PACKAGE + name)
        except NoSuites:
            continue
        found.append(name)
    return found


# ---------------------------------------------------------------- what the README says

RESULTS = ROOT / "benchmarks" / "results"
VERSIONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]


def readme() -> str:
    """The README's table and list of exclusions, from the committed results."""
    results = {version: json.loads((RESULTS / f"asyncio-{version}.json").read_text()) for version in VERSIONS}
    found = {version: {each["module"]: each for each in data["modules"]} for version, data in results.items()}
    rows = [["passed, as they are / recaptured", *VERSIONS], ["---"] * (len(VERSIONS) + 1)]
    rows += [[f"`{name}`", *(_passed([of[name]]) if name in of else "-" for of in found.values())] for name in CASES]
    rows.append(["all", *(_passed(list(of.values())) for of in found.values())])
    rows.append(["excluded", *(str(sum(len(each["excluded"]) for each in of.values())) for of in found.values())])
    rows.append(["suspensions rebuilt in them", *(f"{_suspensions(of.values()):,}" for of in found.values())])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", *_exclusions(found)])


def _passed(modules: list[dict[str, Any]]) -> str:
    plain, again = ([each[run] for each in modules] for run in ("plain", "recaptured"))
    counts = [sum(run["passed"] for run in runs) for runs in (plain, again)]
    failed = sum(len(run["failed"]) for run in plain + again)
    return f"{counts[0]} / {counts[1]}" + (f", **{failed} failed**" if failed else "")


def _suspensions(modules: Iterable[dict[str, Any]]) -> int:
    return sum(each["recaptured"]["suspensions"] for each in modules)


def _exclusions(found: dict[str, dict[str, dict[str, Any]]]) -> Iterator[str]:
    excluded: dict[tuple[str, str], list[str]] = {}
    for version, modules in found.items():
        for module, each in modules.items():
            for test, reason in each["excluded"].items():
                excluded.setdefault((f"{module}.{test.rpartition('.')[2]}", reason), []).append(version)
    for (test, reason), versions in sorted(excluded.items()):
        yield f"- `{test}`" + ("" if versions == VERSIONS else f" ({', '.join(versions)})") + f": {reason}"


# ---------------------------------------------------------------- the command

HEADINGS = ("module", "run", "passed", "failed", "recaptured: run", "passed", "failed", "suspensions", "excluded",
            "skipped by Python", "seconds")  # fmt: skip


def row(outcome: Outcome) -> list[str]:
    """One line of the table."""
    plain, again = outcome.plain, outcome.recaptured
    numbers = [plain.run, plain.passed, len(plain.failed), again.run, again.passed, len(again.failed),
               again.suspensions, len(outcome.excluded), len(outcome.skipped_by_python)]  # fmt: skip
    return [outcome.module, *map(str, numbers), f"{plain.seconds} + {again.seconds}"]


def table(outcomes: list[Outcome]) -> str:
    """The outcomes as a Markdown table."""
    rows = [row(outcome) for outcome in outcomes]
    rows.append(["all", *(str(sum(int(r[i]) for r in rows)) for i in range(1, len(HEADINGS) - 1)), ""])
    lines = [list(HEADINGS), ["---"] * len(HEADINGS), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def details(outcome: Outcome) -> Iterator[str]:
    """What is to be said about a module below the table."""
    for run, how in ((outcome.plain, "FAILED"), (outcome.recaptured, "FAILED RECAPTURED")):
        for test, why in run.failed.items():
            yield f"{how} {outcome.module}.{test}\n    " + why.strip().replace("\n", "\n    ")
    yield from (f"excluded {outcome.module}.{test}: {why}" for test, why in outcome.excluded.items())
    if outcome.not_run:
        yield f"not run of {outcome.module}: {outcome.not_run}"
    yield from (f"STALE exclusion, the test passes: {outcome.module}.{test}" for test in outcome.stale)


def main() -> int:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.engine.conformance", description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="by default: " + ", ".join(CASES))
    parser.add_argument("--plain", action="store_true", help="without recapture")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--readme", action="store_true", help="print the README's table, from the committed results")
    options = parser.parse_args()
    if options.readme:
        print(readme())
        return 0
    outcomes = []
    try:
        with tempfile.TemporaryDirectory(prefix="pstore-conformance-") as folder:
            extension = None if options.plain else build(Path(folder))
            for name in options.modules or modules():
                outcomes.append(run_tests(name, extension))
                print(" | ".join(row(outcomes[-1])), file=sys.stderr)
    except (CannotBuild, NoSuites) as error:
        print(f"CANNOT RUN THE TESTS: {error}", file=sys.stderr)
        return 2
    print(f"Python {sys.version.split()[0]}\n{table(outcomes)}")
    print(*(line for outcome in outcomes for line in details(outcome)), sep="\n")
    if options.json:
        data = {"python": sys.version.split()[0], "modules": [asdict(outcome) for outcome in outcomes]}
        options.json.write_text(json.dumps(data, indent=1) + "\n")
    return int(any(outcome.plain.failed or outcome.recaptured.failed for outcome in outcomes))


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].startswith(f"test.{PACKAGE}"):
        put_in_place(sys.argv[1].rpartition(".")[2])
        worker.main(select)
    sys.exit(main())
