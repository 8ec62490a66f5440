"""Random object graphs round-trip with their identities: shared and cyclic, through frames, cells, exceptions."""

import inspect
import types
import warnings

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pstore

from .graphs import KINDS, Graph, Isomorphism

STEADY = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
NODES = st.tuples(st.sampled_from(sorted(KINDS)), st.lists(st.integers(0, 15), max_size=4))
SPECS = st.lists(NODES, min_size=1, max_size=14)


def round_trip(nodes):
    return pstore.loads(pstore.dumps(nodes))


def assert_isomorphic(one, other):
    found = Isomorphism(one, other)
    assert found.problem is None
    return found


def resumed(iso, one):
    """Resumes each generator on both sides: what they yield, their value stacks included, must correspond."""
    pairs = [(a, iso.there[id(a)]) for a in iso.kept if id(a) in iso.there and isinstance(a, types.GeneratorType)]
    for a, b in pairs:
        if a.gi_frame is not None and inspect.getgeneratorstate(a) == "GEN_SUSPENDED" and not a.gi_running:
            assert Isomorphism([iso.kept[::2], next(a, "end")], [iso.kept[1::2], next(b, "end")]).problem is None


@settings(STEADY, max_examples=400)
@given(spec=SPECS)
def test_graphs_keep_structure_and_identity(spec):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        nodes, again = Graph(spec).nodes, Graph(spec).nodes
        assert_isomorphic(nodes, again)
        copy = round_trip(nodes)
        assert_isomorphic(again, nodes)  # dumping has not disturbed the original
        resumed(assert_isomorphic(again, copy), again)


@settings(STEADY, max_examples=150)
@given(spec=SPECS, start=st.integers(0, 13))
def test_what_has_been_loaded_can_be_dumped(spec, start):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        node, again = (Graph(spec).any(start) for _ in range(2))
        resumed(assert_isomorphic(again, round_trip(round_trip(node))), again)


def test_the_isomorphism_check_sees_lost_identity():
    shared = []
    assert Isomorphism([shared, shared], [[], []]).problem
    assert Isomorphism([[], []], [shared, shared]).problem
    assert Isomorphism([shared, shared], [shared, shared]).problem is None


def test_the_isomorphism_check_sees_another_order_and_value():
    assert Isomorphism({1: 2, 3: 4}, {3: 4, 1: 2}).problem
    assert Isomorphism([1], [True]).problem
    assert Isomorphism((1, [2]), (1, [3])).problem
