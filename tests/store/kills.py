"""kill -9 at random instants: what is there afterwards is the last acknowledged state, or the one in flight after it.

    python -m tests.store.kills --runs 200 --seed 1 [--json FILE] [--uri URI]

A child grows and changes a graph for ever, persists it after each step, and tells the number of the step through a pipe
when `persist` has returned; now and then it packs.  It is killed after a random time, the store is opened, and compared
with a model that does the same steps.  The next child goes on from there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pstore import Store
from pstore._store import history

ROOT = Path(__file__).parents[2]
PACK_EVERY = 40


class Node:
    def __init__(self, number):
        self.number, self.next, self.data = number, None, []

    def picture(self):
        return self.number, None if self.next is None else self.next.number, list(self.data)


def counting(number):
    total = number
    while True:
        total += yield total


def step(root, seed, number):
    """Change the graph; the same for the same seed and number, whatever happened before in which process."""
    pick = random.Random(f"{seed} {number}")
    root["step"] = number
    nodes = root.setdefault("nodes", [])
    if len(nodes) < 200 or pick.random() < 0.1:
        nodes.append(Node(number))
    for _ in range(pick.randrange(1, 4)):
        node = pick.choice(nodes)
        node.next = pick.choice(nodes)
        node.data.append(pick.randbytes(pick.choice([1, 10, 100, 1000] * 5 + [200_000])))
        del node.data[:-3]
    if pick.random() < 0.2:
        nodes.remove(pick.choice(nodes)) if len(nodes) > 1 else None
    if "generator" not in root:
        root["generator"] = counting(number)
        next(root["generator"])
    root["total"] = root["generator"].send(pick.randrange(10))
    root["first"] = nodes[0]


def picture(root):
    """What of the graph is compared, sharing included."""
    nodes = root.get("nodes", [])
    place = {id(node): at for at, node in enumerate(nodes)}
    return (
        root.get("step", 0),
        root.get("total"),
        [node.picture() for node in nodes],
        [None if node.next is None else place.get(id(node.next), "removed") for node in nodes],
        not nodes or root["first"] is nodes[0],
    )


def child(uri: str, seed: int) -> None:
    with Store(uri) as store:
        while True:
            number = store.root.get("step", 0) + 1
            step(store.root, seed, number)
            store.persist(f"step {number}")
            os.write(1, b"%d\n" % number)
            if number % PACK_EVERY == 0:
                history.pack(store._db)


class Model:
    """The same steps without a store."""

    def __init__(self, seed):
        self.seed, self.number, self.root = seed, 0, {}

    def at(self, number):
        while self.number < number:
            self.number += 1
            step(self.root, self.seed, self.number)
        return picture(self.root)


def run(uri: str, runs: int, seed: int) -> dict:
    """Kill `runs` children; gives the figures.  An assertion fails if a state is not one that may be."""
    pick, model = random.Random(seed), Model(seed)
    figures = {"runs": runs, "seed": seed, "steps": 0, "in_flight_kept": 0, "in_flight_lost": 0, "repaired": 0}
    acknowledged = 0
    for _ in range(runs):
        said = _killed(uri, seed, pick)
        assert said == list(range(acknowledged + 1, acknowledged + 1 + len(said)))
        acknowledged += len(said)
        with Store(uri) as store:
            got = store.root.get("step", 0)
            assert got in (acknowledged, acknowledged + 1), f"{got}, but {acknowledged} was acknowledged"
            assert picture(store.root) == model.at(got), f"step {got} is not as it was"
            if store.root:
                assert store.root["generator"].gi_frame is not None
            figures["repaired"] += getattr(store._db.storage, "repair", None) is not None
        figures["in_flight_kept" if got > acknowledged else "in_flight_lost"] += 1
        acknowledged = got
    figures["steps"] = acknowledged
    return figures


def _killed(uri: str, seed: int, pick: random.Random) -> list[int]:
    """Run a child for a while; gives the steps that it has acknowledged."""
    code = "import sys; from tests.store.kills import child; child(sys.argv[1], int(sys.argv[2]))"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code, uri, str(seed)], stdout=subprocess.PIPE, cwd=ROOT, env=env) as process:
        first = process.stdout.readline() if pick.random() < 0.9 else b""  # else: while it starts and opens
        time.sleep(pick.random() * (0.15 if first else 0.3))
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
    assert process.returncode == -signal.SIGKILL, f"the child ended by itself, with {process.returncode}"
    whole = (first + rest).decode().split("\n")[:-1]
    return [int(line) for line in whole]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--uri", help="a store that does not exist yet; without it a file")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = run(given.uri or str(Path(folder) / "graph.fs"), given.runs, given.seed)
    print(json.dumps(figures))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
