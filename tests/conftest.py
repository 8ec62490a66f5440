"""What all tests rest on."""

from __future__ import annotations

import gc
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

# A shell without job control starts background commands with SIGINT ignored, and children inherit that: tests of Ctrl-C
# would then test nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def hypothesis_in_use():
    """Its generator of random numbers is registered at the first use: the garbage collector is asked who holds it, and
    does not see what is frozen.
    """
    settings(max_examples=1, database=None, deadline=None)(given(st.none())(lambda _: None))()


@pytest.fixture(scope="module", autouse=True)
def collections_look_at_what_is_new(hypothesis_in_use):
    """What was there before a module of tests began is not looked at again by each of its collections."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    gc.unfreeze()
