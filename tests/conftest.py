"""What all tests rest on."""

from __future__ import annotations

import gc
import signal

import pytest

# A shell without job control starts background commands with SIGINT ignored, and children inherit that: tests of Ctrl-C
# would then test nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def collections_look_at_what_is_new():
    """What was there before a module of tests began is not looked at again by each of its collections."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    gc.unfreeze()
