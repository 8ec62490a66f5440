"""Defects that a second reader found: each was silently wrong, or a crash, before."""

from __future__ import annotations

import enum
import random
from typing import Any

import pytest

import pstore
from pstore.errors import FormatError, PstoreError


class OwnInit(OSError):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class WithErrno(OSError):
    def __init__(self, code: int) -> None:
        super().__init__(code, "text", "file")


def _again(obj: Any) -> Any:
    return pstore.loads(pstore.dumps(obj))


def test_args_of_an_oserror_with_its_own_init() -> None:
    error = _again(OwnInit(5, "text"))
    assert (error.args, str(error), error.code, error.errno) == (("text",), "text", 5, None)


def test_errno_and_filename_of_an_oserror_with_its_own_init() -> None:
    error, expected = _again(WithErrno(5)), WithErrno(5)
    assert (error.args, str(error), error.filename) == (expected.args, str(expected), expected.filename)


@pytest.mark.parametrize(
    "error",
    [
        OSError(),
        OSError("text"),
        OSError(2, "text"),
        OSError(2, "text", "file"),
        OSError(2, "text", "file", None, "other"),
        OSError(1, 2, 3, 4, 5, 6),
        BlockingIOError(11, "text", 5),
        BlockingIOError(11, "text"),
    ],
)
def test_oserrors(error: OSError) -> None:
    again = _again(error)
    assert type(again) is type(error)
    for name in ("args", "errno", "strerror", "filename", "filename2", "characters_written"):
        assert getattr(again, name, "unset") == getattr(error, name, "unset"), name
    assert str(again) == str(error)


def test_args_given_later_do_not_change_the_class_of_an_oserror() -> None:
    error = OSError()
    error.args = (2, "text")
    assert type(_again(error)) is OSError


def test_members_of_an_enumeration_by_value_keep_what_their_init_set() -> None:
    class Planet(enum.Enum):
        EARTH = (6, 2)
        MARS = (3, 1)

        def __init__(self, mass: int, radius: int) -> None:
            self.mass, self.radius = mass, radius

    planet = _again(Planet)
    assert planet is not Planet
    assert [(one.mass, one.radius) for one in planet] == [(6, 2), (3, 1)]
    assert planet((6, 2)) is planet.EARTH


def test_members_of_an_enumeration_by_value_keep_what_their_new_set() -> None:
    class Coded(enum.Enum):
        A = 1

        def __new__(cls, value: int) -> Any:
            made = object.__new__(cls)
            made._value_ = value * 10
            made.label = f"<{value}>"  # type: ignore[attr-defined]
            return made

    coded = _again(Coded)
    assert (coded.A.value, coded.A.label, coded(10)) == (10, "<1>", coded.A)


def test_functions_of_the_module_random_stay_those_of_the_module() -> None:
    assert _again(random.random).__self__ is random.random.__self__  # type: ignore[attr-defined]
    assert _again(random.randint).__self__ is random.random.__self__  # type: ignore[attr-defined]
    own = random.Random(3)
    assert _again([own])[0].random() == random.Random(3).random()


def _dynamic() -> Any:
    space: dict[str, Any] = {}
    exec("def numbers():\n    for number in [1, 2, 3]:\n        yield number\n", space)
    made = space["numbers"]()
    next(made)
    return made


def test_damaged_code_is_found_out_before_it_is_read() -> None:
    data = bytearray(pstore.dumps(_dynamic()))
    at = data.index(b"numbers")
    data[at] ^= 1
    with pytest.raises(PstoreError) as caught:
        pstore.loads(data)
    assert isinstance(caught.value, FormatError)
