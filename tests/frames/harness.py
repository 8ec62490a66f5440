"""Carries every corpus program to other processes at every point and compares with the uninterrupted run.

    python -m tests.frames.harness run [--cases GLOB] [--modes LIST] [-j N] [--json OUT]
                                       [--corpus PATH] [--adapter pstore|replay] [--bare]

For each point k (-1: created, not started) the root is captured in one process.  Processes started afresh with other
hash seeds load it and go on, each time in a fork:

    send    to the end
    throw   with kit.Ping thrown in, then to the end
    close   by closing it
    hop     by one step and another capture, from process to process through the whole program
    orig    (nothing loaded) the captured original goes on to the end

Yields, emits and the result or exception have to agree, in order.  A run that differs in tracebacks only is told
apart as 'tb', one that differs in cause and context only as 'chain'.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.frames import kit
from tests.frames.servers import modes_at, read_message, write_message

MODES = ("send", "throw", "close", "hop", "orig")
CLOSE_ENOUGH = ("ok", "tb", "chain")
FOLLOWS = ("no dump", "earlier hop")  # verdicts that only repeat another one
ROOT = Path(__file__).resolve().parents[2]
Log = list[list[Any]]
Result = dict[str, Any]


# ------------------------------------------------------------------ comparing


def _without(error: Any, dropped: tuple[str, ...]) -> Any:
    if isinstance(error, dict):
        return {key: _without(value, dropped) for key, value in error.items() if key not in dropped}
    return [_without(item, dropped) for item in error] if isinstance(error, list) else error


def compare(got: Log, want: Log) -> str:
    """The verdict on one run."""
    for verdict, dropped in (("ok", ()), ("tb", ("tb",)), ("chain", ("tb", "chain"))):
        if _without(got, dropped) == _without(want, dropped):
            return verdict
    for mine, theirs in zip(got, want):
        if mine != theirs:
            return f"differs: {json.dumps(mine)[:200]} instead of {json.dumps(theirs)[:200]}"
    return f"differs: {len(got)} events instead of {len(want)}"


# ------------------------------------------------------------------ processes


class Server:
    """One child process of tests.frames.servers, asked one thing at a time."""

    def __init__(self, role: str, adapter: str, corpus: str, seed: int) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        env = dict(os.environ, PYTHONHASHSEED=str(seed), PYTHONDONTWRITEBYTECODE="1")
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
        command = [sys.executable, "-W", "ignore", "-m", "tests.frames.servers", role, adapter, corpus]
        self._process = subprocess.Popen(
            [*command, str(theirs_in), str(theirs_out)], env=env, cwd=ROOT, pass_fds=(theirs_in, theirs_out)
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._requests = os.fdopen(ours_out, "wb")
        self._replies = os.fdopen(ours_in, "rb")

    def ask(self, *request: Any) -> Any:
        """Send a request and wait for the reply."""
        write_message(self._requests, request)
        return read_message(self._replies)

    def close(self) -> None:
        """End the child."""
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        self._process.wait()
        self._replies.close()


class Worker:
    """Examines cases one after another with a dumping server and two loading ones, all of different hash seeds."""

    def __init__(self, adapter: str, corpus: str, modes: Iterable[str], bare: bool, turn: int | None) -> None:
        self._modes, self._turn = [mode for mode in MODES if mode in modes], turn
        loading = "bare" if bare else "load"
        self._dumper = Server("dump", adapter, corpus, 1)
        self._loaders = [Server(loading, adapter, corpus, seed) for seed in (1001, 2002)]

    def close(self) -> None:
        """End the servers."""
        for server in (self._dumper, *self._loaders):
            server.close()

    def examine(self, case: kit.Case) -> Result:
        """All points of a case in all modes."""
        found = self._dumper.ask(case.name, self._modes, self._turn)
        out: Result = {"group": case.group, "points": 0, "sizes": [], "modes": {m: {} for m in ("dump", *self._modes)}}
        if "err" in found:
            out["modes"]["dump"]["-1"] = found["err"]
            return out
        out["points"] = len(found["points"])
        for i, point in enumerate(found["points"]):
            self._point(out, found, point, i - 1)
        if "hop" in self._modes:
            self._hop(out["modes"]["hop"], found)
        return out

    def _point(self, out: Result, found: Result, point: Result, k: int) -> None:
        dump = point["dump"]
        data = dump.get("data")
        out["modes"]["dump"][str(k)] = "ok" if data is not None else dump["err"]
        if data is not None:
            out["sizes"].append(len(data))
        for mode in modes_at(k, self._modes, self._turn):
            if mode == "hop":
                continue
            verdict = "no dump" if data is None else self._verdict(mode, found, point, k)
            out["modes"][mode][str(k)] = verdict

    def _verdict(self, mode: str, found: Result, point: Result, k: int) -> str:
        if mode == "orig":
            orig = point["dump"].get("orig", "run: no log")
            return orig if isinstance(orig, str) else compare(orig, found["send"])
        want = found["send"] if mode == "send" else point[mode].get("log")
        if want is None:
            return "bad case: " + point[mode]["err"]
        reply = self._loaders[k % 2].ask(mode, k, found["unsent"], point["dump"]["data"])
        if "err" in reply:
            return reply["err"]
        return compare(found["send"][: point["prefix"]] + reply["log"], want)

    def _hop(self, verdicts: dict[str, str], found: Result) -> None:
        data, log = found["points"][0]["dump"].get("data"), list[Any]()
        state = "ok" if data is not None else "no dump"
        for i in range(len(found["points"])):
            k = i - 1
            if state not in CLOSE_ENOUGH:
                verdicts[str(k)] = "earlier hop"
                continue
            reply = self._loaders[k % 2].ask("hop", k, found["unsent"], data)
            log += reply.get("log", [])
            state = reply["err"] if "err" in reply else compare(log, found["send"][: len(log)])
            data = reply.get("data")
            if data is None and state in CLOSE_ENOUGH and len(log) < len(found["send"]):
                state = "differs: ended early"
            verdicts[str(k)] = state


def run(
    cases: Iterable[kit.Case],
    *,
    adapter: str = "pstore",
    corpus: str = "",
    modes: Iterable[str] = MODES,
    jobs: int = 2,
    bare: bool = False,
    turn: int | None = None,
) -> dict[str, Result]:
    """Examine cases with some workers; results by case name, in the order given.  `turn`: see `modes_at`."""
    wanted = list(cases)
    todo: queue.SimpleQueue[kit.Case] = queue.SimpleQueue()
    for case in wanted:
        todo.put(case)
    results: dict[str, Result] = {}

    def work(worker: Worker) -> None:
        with contextlib.suppress(queue.Empty, EOFError, BrokenPipeError):
            while True:
                case = todo.get_nowait()
                results[case.name] = worker.examine(case)
        worker.close()

    workers = [Worker(adapter, corpus, modes, bare, turn) for _ in range(jobs)]
    threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(results) < len({case.name for case in wanted}):
        raise RuntimeError("a server ended early: see its messages above")
    return {case.name: results[case.name] for case in wanted}


# ------------------------------------------------------------------ reporting


def verdict_of(result: Result) -> str:
    """pass: all modes at all points."""
    found = {verdict for mode in result["modes"].values() for verdict in mode.values()}
    if found <= {"ok"}:
        return "pass"
    if found <= {"ok", "tb"}:
        return "pass-tb"
    return "pass-chain" if found <= set(CLOSE_ENOUGH) else "fail"


def troubles(result: Result) -> list[str]:
    """What went wrong, as 'mode@point verdict', consequences left out."""
    pairs = [(mode, k, verdict) for mode, by_point in result["modes"].items() for k, verdict in by_point.items()]
    return [f"{mode}@{k} {verdict}" for mode, k, verdict in pairs if verdict != "ok" and verdict not in FOLLOWS]


def table(results: dict[str, Result]) -> str:
    """A markdown table by group."""
    modes = ["dump", *(m for m in MODES if any(m in r["modes"] for r in results.values()))]
    rows: dict[str, list[int]] = {}
    for result in results.values():
        verdict = verdict_of(result)
        good = [sum(v in CLOSE_ENOUGH for v in result["modes"].get(mode, {}).values()) for mode in modes]
        numbers = [1, verdict == "pass", verdict in ("pass-tb", "pass-chain"), result["points"], *good]
        for key in (result["group"], "all"):
            rows[key] = [a + b for a, b in zip(rows.get(key, [0] * len(numbers)), numbers)]
    rows["all"] = rows.pop("all", [])
    head = ["group", "cases", "pass", "pass but tb/chain", "points", *modes]
    lines = [head, ["---"] * len(head), *([name, *map(str, numbers)] for name, numbers in rows.items())]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def report(results: dict[str, Result], per_case: int = 1) -> str:
    """The table and the first troubles of every case that does not pass."""
    lines = [sys.version.split()[0], table(results), ""]
    for name, result in results.items():
        verdict = verdict_of(result)
        if verdict != "pass":
            for trouble in troubles(result)[:per_case]:
                lines.append(f"{verdict:<10} {result['group']}/{name}: {trouble}")
    return "\n".join(lines)


def select(pattern: str) -> list[kit.Case]:
    """The registered cases whose name, or group/name, matches a shell pattern."""
    names = [p for p in pattern.split(",") if p]
    return [
        case
        for case in kit.CASES.values()
        if any(fnmatch.fnmatch(case.name, p) or fnmatch.fnmatch(f"{case.group}/{case.name}", p) for p in names)
    ]


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.frames.harness")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="run the corpus")
    one.add_argument("--cases", default="*", help="shell patterns of case names, separated by commas")
    one.add_argument("--modes", default=",".join(MODES))
    one.add_argument("-j", "--jobs", type=int, default=2)
    one.add_argument("--json", help="write all verdicts to this file")
    one.add_argument("--corpus", default="", help="a file of cases written against a module called kit")
    one.add_argument("--adapter", default="pstore", help="pstore, replay or module:Class")
    one.add_argument("--bare", action="store_true", help="the loading side imports no case before it loads")
    one.add_argument("--troubles", type=int, default=1, help="how many lines per failing case")
    return parser.parse_args(argv)


def main() -> int:
    """Run what the command line asks for; 1 when a case does not pass."""
    options = arguments()
    corpus = os.path.abspath(options.corpus) if options.corpus else ""
    kit.load_corpus(corpus or None)
    modes = options.modes.split(",")
    chosen = select(options.cases)
    results = run(chosen, adapter=options.adapter, corpus=corpus, modes=modes, jobs=options.jobs, bare=options.bare)
    if options.json:
        Path(options.json).write_text(json.dumps({"python": sys.version, "results": results}, indent=0))
    print(report(results, options.troubles))
    return int(any(verdict_of(result) != "pass" for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
