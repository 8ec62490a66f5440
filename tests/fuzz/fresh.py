"""Programs dumped at one point and resumed in a fresh process under another hash seed, a batch of them to a process."""

import gc
import os
import pickle
import subprocess
import sys
import tempfile

from . import kit, runner
from .isolation import Crash, isolated


def mismatches(jobs, adapter_name, folder, hash_seed=4711):
    """For each (program, what Check.fresh has left): None, or a mismatch."""
    with tempfile.TemporaryDirectory() as place:
        path = os.path.join(place, "jobs")
        with open(path, "wb") as f:
            pickle.dump(
                (adapter_name, folder, [(p, x["at"], x["action"], x["data"], len(x["prefix"])) for p, x in jobs]), f
            )
        code = f"from {__name__} import child; child({path!r})"
        env = dict(
            os.environ, PYTHONHASHSEED=str(hash_seed), PYTHONPATH=os.pathsep.join(p or os.getcwd() for p in sys.path)
        )
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-B", "-c", code], env=env, capture_output=True, text=True
        )
        if done.returncode:
            raise Crash(done.stderr[-2000:])
        with open(path + ".out", "rb") as f:
            outcomes = pickle.load(f)
    return [_judge(x, outcome) for (_, x), outcome in zip(jobs, outcomes)]


def _judge(record, outcome):
    where = {"mode": "fresh " + record["action"], "at": record["at"]}
    if isinstance(outcome, str):
        return {**where, "kind": "refused", "got": outcome, "want": "", "event": len(record["prefix"])}
    found = runner.difference(record["prefix"] + outcome, record["want"])
    return found and {**where, **found}


def child(path):
    """The fresh process."""
    with open(path, "rb") as f:
        adapter_name, folder, jobs = pickle.load(f)
    sys.path.insert(0, folder)
    adapter = runner.ADAPTERS[adapter_name]()
    adapter.folder = folder
    outcomes = []
    for job in jobs:
        try:
            outcomes.append(isolated(go_on, adapter, *job))
        except Crash as e:
            outcomes.append(f"crash: {e}")
    with open(path + ".out", "wb") as f:
        pickle.dump(outcomes, f)


def go_on(adapter, program, at, action, data, length):
    """The trace from the dump to the end, or why it could not be loaded."""
    try:
        root = adapter.loads(data)
    except Exception as e:
        return f"loads: {type(e).__name__}: {e}"
    gc.disable()
    kit.mute(False)
    kit.reset(length)
    runner.Run(program, None, at=at, action=action).go_on(root, at)
    return list(kit.TRACE)
