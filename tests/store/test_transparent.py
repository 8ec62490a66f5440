"""Every kind of object, every way to change it: stored by the next persist, and read in another process.

The table is in `cases`.  Each row of it checks that a persist without a change writes nothing, that one after the change
does, and that a fresh process with another hash seed finds the graph as a program without a store has it, identity
included; there, each change is made once more to what was loaded.
"""

from __future__ import annotations

import json

import pytest

from tests import processes
from tests.store import cases
from tests.store.features import INCREMENTAL, needs_incremental

ROWS = [(one.name, change) for one in cases.CASES.values() for change in ("unchanged", cases.OPENED, *one.changes)]
RUNNING = [one for one in cases.CASES.values() if not one.skipped and cases.available(one)]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Case -> change -> what was wrong with it; of all cases, in one process each way."""
    folder = tmp_path_factory.mktemp("transparent")
    found = {one.name: cases.guarded(cases.write, one, folder) for one in RUNNING}
    for one in RUNNING:
        if "every" in found[one.name]:
            cases.file_of(folder, one).unlink(missing_ok=True)
    done = processes.python("-m", "tests.store.cases", "check", str(folder), cwd=processes.ROOT, hash_seed=12345)
    assert done.returncode == 0, done.stderr
    for name, problems in json.loads(done.stdout).items():
        found[name] = {**problems, **found[name]}
    return found


@pytest.mark.parametrize(("name", "change"), ROWS, ids=lambda text: text.replace("\n", "; ")[:60])
def test_it_is_stored(outcome, name, change):
    if change == cases.OPENED and not INCREMENTAL:
        pytest.skip("needs the incremental store")
    if name not in outcome:
        pytest.skip("needs the incremental store" if cases.CASES[name].new and not INCREMENTAL else "needs numpy")
    problem = outcome[name].get(change) or outcome[name].get("every")
    assert problem is None, problem


OWN_ARGUMENTS = {
    "an exception that is its own argument": "x = zoo.Trouble('t'); x.args = (x, 1)",
    "an exception in a tuple in its arguments": "x = zoo.Trouble('t'); x.args = ((1, (x,)),)",
    "a Counter that holds itself": "x = collections.Counter(); x['x'] = x",
}


@needs_incremental
@pytest.mark.parametrize("name", OWN_ARGUMENTS)
def test_what_is_made_from_itself_is_stored_or_refused(name, tmp_path):
    """Both are well; to recurse until memory is full, as the whole-graph store did, is not."""
    code = f"""
        import collections, resource
        from pstore import Store
        from pstore.errors import CaptureError
        from tests.store import zoo
        from tests.store.portrait import assert_same
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
        {OWN_ARGUMENTS[name]}
        with Store("x.fs") as store:
            store.root["x"] = x
            try:
                store.persist()
            except CaptureError:
                raise SystemExit(0)
        with Store("x.fs") as store:
            assert_same(x, store.root["x"])
        """
    processes.run(code, tmp_path)
