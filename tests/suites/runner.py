"""Runs suites in child processes, first as they are and then under recapture, and compares."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.suites.exclusions import excluded_here

SUITES = (
    "test_generators", "test_coroutines", "test_asyncgen", "test_yield_from", "test_contextlib",
    "test_contextlib_async", "test_with", "test_except_star", "test_exceptions",
)
FURTHER = (     # not asked for: what else of CPython's has many generators and coroutines, in a minute
    "test_genexps", "test_listcomps", "test_setcomps", "test_dictcomps", "test_context", "test_functools",
    "test_inspect", "test_types", "test_traceback", "test_unittest",
    "test_asyncio.test_tasks", "test_asyncio.test_taskgroups", "test_asyncio.test_timeouts", "test_asyncio.test_queues",
    "test_asyncio.test_locks", "test_asyncio.test_waitfor", "test_asyncio.test_runners", "test_asyncio.test_futures",
    "test_asyncio.test_pep492", "test_asyncio.test_context", "test_asyncio.test_threads", "test_asyncio.test_streams",
    "test_asyncio.test_base_events",
)
OTHER_NAMES = {"test_yield_from": ("test_pep380",)}     # as the suite was called before
SUITE_SECONDS = 300
PROCESS = "(process, outside of any test)"
WORKER = "tests.suites.worker"
ROOT = Path(__file__).resolve().parents[2]


class NoSuites(Exception):
    """The ``test`` package of this Python is not installed."""


@dataclass
class Outcome:
    """What became of one suite."""

    suite: str
    module: str
    in_baseline: int = 0
    passed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    excluded_examples: list[dict[str, str]] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    skipped_by_python: dict[str, str] = field(default_factory=dict)
    fails_without_pstore: dict[str, str] = field(default_factory=dict)
    suspended: int = 0
    unstarted: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    problems: list[dict[str, Any]] = field(default_factory=list)
    seconds_baseline: float = 0.0
    seconds_recapture: float = 0.0


def module_of(suite: str) -> str:
    """The importable name of a suite, or ``NoSuites`` with what to install."""
    for name in (suite, *OTHER_NAMES.get(suite, ())):
        if importlib.util.find_spec(f"test.{name}"):
            return f"test.{name}"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    raise NoSuites(
        f"this Python ({sys.executable}, {version}) comes without CPython's own tests: there is no test.{suite}. "
        f"Install them: Debian and Ubuntu `apt-get install libpython{version}-testsuite`, Fedora `dnf install "
        f"python{version}-test`; Pythons built by pyenv, uv or from python.org have them."
    )


@dataclass
class Log:
    """What a worker has written: ended tests by id, the one running when it ended, whether it came to its end."""

    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    altered: list[dict[str, str]] = field(default_factory=list)
    running: str | None = None
    done: bool = False


def _read(out: Path) -> Log:
    """What the worker came to say."""
    log = Log()
    for line in out.read_text().splitlines() if out.exists() else ():
        row = json.loads(line)
        match row.pop("event"):
            case "start":
                log.running = row["id"]
            case "end":
                log.ended[row["id"]] = row
                log.running = None
            case "outside":
                log.ended[row["id"]] = {**row, "status": "failed"}
            case "altered":
                log.altered.append(row)
            case "done":
                log.done = True
                if row.get("lost"):
                    log.ended["(recapturing)"] = {"status": "failed", "message": f"{row['lost']} callbacks raised"}
    return log


def _environment() -> dict[str, str]:
    """Reproducible, and with an allocator that notices writes beyond a block."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0", "PYTHONMALLOC": "debug"}


def _start(worker: str, module: str, folder: Path, extension: Path, flags: tuple[str, ...], seconds: float) -> str:
    """One worker process; what it wrote to standard error."""
    command = [sys.executable, "-X", "faulthandler", "-m", worker, module, str(folder / "out.jsonl"),
               str(extension), "--skip", str(folder / "skip.json"), *flags]
    with (folder / "stderr").open("w+") as stderr:
        try:
            done = subprocess.run(command, cwd=ROOT, env=_environment(), stdin=subprocess.DEVNULL, timeout=seconds,
                                  stdout=subprocess.DEVNULL, stderr=stderr, check=False)
            how = f"exit status {done.returncode}"
        except subprocess.TimeoutExpired:
            how = f"killed after {seconds:.0f} s"
        stderr.seek(0)
        return f"{how}\n{_last_words(stderr.read())}"


def _last_words(text: str) -> str:
    """What a dying process says: from where faulthandler begins, else the end."""
    starts = [at for at in (text.find("Fatal Python error"), text.find("Timeout (")) if at >= 0]
    return text[min(starts):][:3000] if starts else text[-3000:]


def run_module(module: str, extension: Path, *flags: str, seconds: float = SUITE_SECONDS, worker: str = WORKER) -> Log:
    """Run a module's tests; a test in which the process dies is marked so and the rest is run in another process."""
    whole = Log()
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="pstore-suites-") as name:
        folder = Path(name)
        while not whole.done:
            (folder / "out.jsonl").unlink(missing_ok=True)
            (folder / "skip.json").write_text(json.dumps(sorted(whole.ended)))
            trouble = _start(worker, module, folder, extension, flags, max(1.0, deadline - time.monotonic()))
            log = _read(folder / "out.jsonl")
            whole.ended |= log.ended
            whole.altered += [row for row in log.altered if row not in whole.altered]
            stuck = log.running is None or time.monotonic() > deadline
            if not log.done:
                whole.ended[log.running or PROCESS] = {"status": "crashed", "message": trouble}
            whole.done = log.done or stuck
    return whole


def _last_line(message: str) -> str:
    lines = [line for line in message.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def _why_failed(row: dict[str, Any] | None) -> str | None:
    """Why a test counts as failed under recapture, or None if it passed."""
    if row is None:
        return "was not run"
    if row["status"] in ("failed", "crashed"):
        return f"{row['status']}: {row['message']}"
    if row.get("problems"):
        return "recapture failed: " + "; ".join(
            f"{p['stage']} of {p['kind']} {p['frame']}: {p['error']} ({p['times']}x)" for p in row["problems"][:5])
    if row["status"] == "skipped":
        return f"skipped only under recapture: {row['message']}"
    return None


def compare(suite: str, module: str, plain: Log, recaptured: Log, *, pickled: bool = False) -> Outcome:
    """The outcome of a suite from its two runs; there are no exclusions in the pickled mode."""
    before, after = plain.ended, recaptured.ended
    outcome = Outcome(suite, module, excluded_examples=recaptured.altered)
    exclusions = {} if pickled else excluded_here()
    for test, row in before.items():
        if row["status"] == "skipped":
            outcome.skipped_by_python[test] = row["message"]
        elif test == PROCESS:
            outcome.failed[test] = f"without recapture: {row['message']}"
        elif row["status"] != "passed":
            outcome.fails_without_pstore[test] = _last_line(row["message"])
        else:
            _judge(outcome, test, _why_failed(after.get(test)), exclusions.get(test))
    for test, row in after.items():
        if test not in before:
            outcome.failed[test] = f"only under recapture: {row['message']}"
        for key in ("suspended", "unstarted"):
            setattr(outcome, key, getattr(outcome, key) + row.get(key, 0))
        for reason, times in row.get("refused", {}).items():
            outcome.refused[reason] = outcome.refused.get(reason, 0) + times
        outcome.problems += [{"test": test, **problem} for problem in row.get("problems", ())]
    return outcome


def _judge(outcome: Outcome, test: str, why: str | None, exclusion: str | None) -> None:
    outcome.in_baseline += 1
    if exclusion is not None:
        outcome.excluded[test] = exclusion
        if why is None:
            outcome.stale.append(test)
    elif why is None:
        outcome.passed += 1
    else:
        outcome.failed[test] = why


def run_suite(suite: str, extension: Path, *, pickled: bool = False) -> Outcome:
    """Run one suite twice and compare."""
    module = module_of(suite)
    began = time.perf_counter()
    before = run_module(module, extension)
    between = time.perf_counter()
    after = run_module(module, extension, "--pickled" if pickled else "--recapture")
    outcome = compare(suite, module, before, after, pickled=pickled)
    outcome.seconds_baseline = round(between - began, 1)
    outcome.seconds_recapture = round(time.perf_counter() - between, 1)
    return outcome


def as_json(outcomes: list[Outcome]) -> dict[str, Any]:
    """All outcomes as one document."""
    return {"python": sys.version.split()[0], "suites": [asdict(outcome) for outcome in outcomes]}
