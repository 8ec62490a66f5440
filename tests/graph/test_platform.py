"""Where frames cannot be read, that is said at once."""

from __future__ import annotations

import sys
import types

import pytest

from pstore._frames import access


def test_this_interpreter_will_do():
    assert access.check_platform() is None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("implementation", types.SimpleNamespace(name="pypy"), "pypy"),
        ("version_info", (3, 10, 0), "3.11 to 3.15"),
        ("version_info", (3, 16, 0), "3.11 to 3.15"),
        ("_is_gil_enabled", lambda: False, "GIL"),
    ],
)
def test_others_will_not(monkeypatch, name, value, words):
    if name == "version_info":
        value = type("V", (tuple,), {"major": value[0], "minor": value[1]})(value)
    monkeypatch.setattr(sys, name, value, raising=False)
    assert words in access.check_platform()
