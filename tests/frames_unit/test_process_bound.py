"""What belongs to the process is refused by kind; what says itself how it is stored, or is not of it yet, is not."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import queue
import sys
import threading
import warnings

import pytest

import pstore
from pstore._frames import names, process_bound
from pstore.errors import UnsupportedValue

# Not in every build or version, or without a name in the module that they say they are of.
ELUSIVE = {
    "decimal.ContextManager", "_blake2.blake2b", "_blake2.blake2s", "_json.Scanner", "_thread._ThreadHandle", "_thread.lock",
    "asyncio.proactor_events._ProactorBasePipeTransport", "concurrent.interpreters.Interpreter",
    "concurrent.interpreters._queues.Queue", "posix.ScandirIterator", "_py_warnings.catch_warnings",
    "select.kqueue", "warnings.catch_warnings", "zlib.Compress", "zlib.Decompress", "_csv.reader", "_csv.writer",
    "pyexpat.xmlparser", "_queue.SimpleQueue",
}  # fmt: skip


def _found(kind: str) -> bool:
    module, _, name = kind.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return False
    return f"{cls.__module__}.{cls.__qualname__}" == kind


def test_the_kinds_are_called_so():
    assert {kind for kind in process_bound._KINDS if not _found(kind)} <= ELUSIVE


def test_each_kind_has_a_reason_and_a_remedy():
    assert all(reason and remedy for reason, remedy in process_bound._KINDS.values())
    assert process_bound._ONLY_IF.keys() <= process_bound._KINDS.keys()


class Letters(queue.Queue):
    """A queue that says how it is stored."""

    def __reduce__(self):
        return _letters, (list(self.queue),)


def _letters(items):
    made = Letters()
    for item in items:
        made.put(item)
    return made


class Worker(threading.Thread):
    """A thread that says what of it is stored."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def __getstate__(self):
        return {"number": self.number}


def test_a_class_that_says_how_it_is_stored_is_left_alone():
    letters = Letters()
    letters.put("a")
    assert pstore.loads(pstore.dumps(letters)).get() == "a"
    assert pstore.loads(pstore.dumps(Worker(7))).number == 7


class Silent(queue.Queue):
    """A queue that says nothing."""


@pytest.mark.parametrize("value", [Silent(), queue.LifoQueue(), threading.BoundedSemaphore()])
def test_a_kind_stands_for_its_subclasses(value):
    with pytest.raises(UnsupportedValue, match=rf"{type(value).__qualname__} at root\[0\]: .*asyncio\."):
        pstore.dumps([value])


def test_a_with_block_that_was_not_entered_is_stored():
    for made in (contextlib.redirect_stdout(io.StringIO()), contextlib.chdir("/"), warnings.catch_warnings()):
        assert type(pstore.loads(pstore.dumps(made))) is type(made)


class Pair(ctypes.Structure):
    """A structure without pointers; a module leads to it."""

    _fields_ = [("a", ctypes.c_int)]


def test_ctypes_whose_classes_have_a_name_are_stored():
    assert pstore.loads(pstore.dumps(Pair(3))).a == 3
    assert pstore.loads(pstore.dumps(ctypes.c_int(3))).value == 3


def test_a_class_of_an_extension_s_metaclass_is_refused():
    class Local(ctypes.Structure):
        _fields_ = [("a", ctypes.c_int)]

    for value in (Local(3), ctypes.c_int * 3, ctypes.POINTER(ctypes.c_int)):
        with pytest.raises(UnsupportedValue, match="metaclass.*define it at the level of a module"):
            pstore.dumps([value])


@pytest.mark.skipif(sys.version_info < (3, 15), reason="lazy imports are new in 3.15")
def test_a_name_that_a_lazy_import_hides_is_found(tmp_path, monkeypatch):
    (tmp_path / "eager_home.py").write_text("mark = object()\n")
    (tmp_path / "lazy_user.py").write_text("lazy from eager_home import mark\n")
    monkeypatch.syspath_prepend(tmp_path)
    user = importlib.import_module("lazy_user")
    assert names.attribute_path(user, ["mark"]) is vars(user)["mark"]
    assert "eager_home" not in sys.modules, "looking, as storing does, imported it"
    assert names.by_name("lazy_user", "mark") is importlib.import_module("eager_home").mark
