"""One suite in one process: ``python -m tests.suites.worker MODULE OUT EXTENSION [--recapture | --pickled] [--skip FILE]``.

Writes a line of JSON to OUT when a test starts and one when it ends, so that the parent knows which test was running
when the process died. Without ``--recapture`` the tests run as they are, with a hook that does nothing.
"""

from __future__ import annotations

import argparse
import doctest
import faulthandler
import importlib
import json
import os
import sys
import tempfile
import time
import unittest
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from tests.suites import pickled, recapture
from tests.suites.exclusions import examples_here

TEST_SECONDS = 60       # a test that takes longer ends the process; the parent goes on behind it

ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
Selection = Callable[[str, set[str]], unittest.TestSuite]


class NoHook:
    """In place of the extension where it can't be built: enough to run the tests as they are."""

    def install(self, callback: None) -> None:
        assert callback is None

    def uninstall(self) -> None:
        pass

    def counts(self) -> dict[str, int]:
        return {}


class Recorder(unittest.TestResult):
    """Writes what becomes of each test, as it happens."""

    def __init__(self, out: TextIO, recapturer: Any) -> None:
        super().__init__()
        self._out = out
        self._recapturer = recapturer
        self._status = ""
        self._messages: list[str] = []
        self._began = 0.0

    def _write(self, **row: Any) -> None:
        self._out.write(json.dumps(row) + "\n")
        self._out.flush()

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._status, self._messages = "passed", []
        self._write(event="start", id=test.id())
        faulthandler.dump_traceback_later(TEST_SECONDS, exit=True)
        self._began = time.perf_counter()
        if self._recapturer:
            self._outside(self._recapturer.take()["problems"])

    def _outside(self, problems: list[dict[str, Any]]) -> None:
        if problems:
            self._write(event="outside", id="(between tests)", message=json.dumps(problems))

    def stopTest(self, test: unittest.TestCase) -> None:
        faulthandler.cancel_dump_traceback_later()
        taken = self._recapturer.take() if self._recapturer else {}
        seconds = round(time.perf_counter() - self._began, 3)
        message = "\n".join(self._messages)[-6000:]
        self._write(event="end", id=test.id(), status=self._status, message=message, seconds=seconds, **taken)
        super().stopTest(test)

    def _failed(self, test: unittest.TestCase, error: ExcInfo) -> None:
        message = self._exc_info_to_string(error, test)     # type: ignore[attr-defined]
        if not isinstance(test, unittest.TestCase) and not hasattr(test, "test_case"):
            self._write(event="outside", id=test.id(), message=message)     # setUpClass, setUpModule and the like
            return
        self._status = "failed"
        self._messages.append(message)

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self._failed(test, err)

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self._failed(test, err)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._failed(subtest, err)

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        if isinstance(test, unittest.TestCase) and self._status == "passed":
            self._status = "skipped"
            self._messages.append(reason)

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        self._status = "failed"
        self._messages.append("unexpected success")


def cases(suite: unittest.TestSuite) -> list[unittest.TestCase]:
    """The tests of a suite, in order."""
    found: list[unittest.TestCase] = []
    for item in suite:
        found += cases(item) if isinstance(item, unittest.TestSuite) else [item]
    return found


def alter_examples(test: unittest.TestCase) -> list[dict[str, str]]:
    """Let the excluded examples of a doctest expect what they print under recapture; returns them."""
    altered = []
    excluded = examples_here()
    times: Counter[str] = Counter()
    doc: doctest.DocTest | None = getattr(test, "_dt_test", None)
    for example in doc.examples if doc else ():
        exclusion = excluded.get((test.id(), example.source, times[example.source]))
        times[example.source] += 1
        if exclusion:
            example.want = exclusion.prints
            altered.append({"test": test.id(), "example": example.source.strip(), "reason": exclusion.reason})
    return altered


def select(module: str, skip: set[str]) -> unittest.TestSuite:
    """The tests of a module that are not in ``skip``; classes stay together, so that setUpClass works."""
    suite = unittest.defaultTestLoader.loadTestsFromName(module)
    return unittest.TestSuite(test for test in cases(suite) if test.id() not in skip)


def run(options: argparse.Namespace, select: Selection = select) -> None:
    """Run the module's tests and write what became of them."""
    skip = set(json.loads(options.skip.read_text())) if options.skip else set()
    importlib.import_module(options.module)
    extension = recapture.load_extension(options.extension) if options.extension.is_file() else NoHook()
    recapturer = (recapture.Recapturer(extension.swap) if options.recapture else
                  pickled.Pickler(extension) if options.pickled else None)
    suite = select(options.module, skip)
    with options.out.open("w") as out, tempfile.TemporaryDirectory() as scratch:
        if options.recapture:
            for altered in (row for test in cases(suite) for row in alter_examples(test)):
                out.write(json.dumps({"event": "altered", **altered}) + "\n")
        os.chdir(scratch)
        extension.install(recapturer)
        suite.run(Recorder(out, recapturer))
        extension.uninstall()
        out.write(json.dumps({"event": "done", **extension.counts()}) + "\n")
        os.chdir("/")


def main(select: Selection = select) -> None:
    """Entry point; `select` gives the tests of a module, without those to be skipped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module")
    parser.add_argument("out", type=Path)
    parser.add_argument("extension", type=Path)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--recapture", action="store_true")
    mode.add_argument("--pickled", action="store_true")
    parser.add_argument("--skip", type=Path)
    faulthandler.enable()
    run(parser.parse_args(), select)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)       # what the interpreter does at its end is not what is tested here


if __name__ == "__main__":
    main()
