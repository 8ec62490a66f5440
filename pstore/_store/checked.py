"""Reading pickles under a policy (layer 2).

Owns: the two unpicklers that ask a :class:`Policy` about every name, and the class factory for ZODB that does.

* With renames alone the C unpickler does the work, as it does without a policy.
* With an allow-list a pickle is taken for made up, and C's would let it change what it only names: set attributes of
  classes, functions and modules, extend a module's list.  So the standard library's unpickler in Python does it, some
  six times slower; it knows the instructions that protocols 2 to 5 write for graphs of ours and no others, and changes
  only what the load itself has made.
"""

from __future__ import annotations

import asyncio
import io
import pickle
import sys
from collections.abc import Callable, Iterable
from typing import Any

from pstore._frames import names, stored
from pstore._frames.gates import Gates, Typed, is_shared
from pstore._frames.policy import Policy
from pstore.errors import FormatError

__all__ = ["class_factory", "load", "unpickler"]


def load(body: Any, policy: Policy) -> Any:
    """The object that a pickle has, under a policy."""
    return unpickler(io.BytesIO(body), policy).load()


def unpickler(file: Any, policy: Policy | None, buffers: Iterable[Any] | None = None) -> Any:
    """A `pickle.Unpickler` for one load; `persistent_load` may be set on it.

    Whoever does more than to call its `load`, such as putting states into what it made, has to ask `gates.is_shared`
    before: what is shared must not be changed.
    """
    if policy is None:
        return pickle.Unpickler(file, buffers=buffers)
    kind = _Checked if policy.restricted else _Renaming
    return kind(file, policy, buffers)


class _Renaming(pickle.Unpickler):
    def __init__(self, file: Any, policy: Policy, buffers: Iterable[Any] | None = None) -> None:
        super().__init__(file, buffers=buffers)
        self._policy, self._gates = policy, Gates(policy)

    def find_class(self, module: str, name: str) -> Any:
        if module == stored.__name__:
            return self._gates.of(name)
        return super().find_class(*self._policy.renamed(module, name))


_PurePython: Any = pickle._Unpickler
_UNUSED = (  # text protocols, and extension codes, which are looked up past find_class
    pickle.GLOBAL, pickle.INST, pickle.OBJ, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.PERSID, pickle.STRING,
    pickle.GET, pickle.PUT, pickle.INT, pickle.LONG, pickle.FLOAT,
    pickle.UNICODE, pickle.DICT, pickle.LIST, pickle.BINSTRING, pickle.SHORT_BINSTRING,
)  # fmt: skip


class _Checked(_PurePython):  # type: ignore[misc]
    dispatch: dict[int, Callable[[Any], None]] = {
        code: step for code, step in _PurePython.dispatch.items() if bytes((code,)) not in _UNUSED
    }

    def __init__(self, file: Any, policy: Policy, buffers: Iterable[Any] | None = None) -> None:
        super().__init__(file, buffers=buffers)
        self._policy, self._gates = policy, Gates(policy)
        self._known: dict[tuple[str, str], Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        known = self._known.get((module, name))
        if known is None:
            known = self._known[module, name] = self._find(module, name)
        return known

    def _find(self, module: str, name: str) -> Any:
        if type(module) is not str or type(name) is not str:
            raise pickle.UnpicklingError("a name that is no text")
        if module == stored.__name__:
            return self._gates.of(name)
        if (module, name) == ("builtins", "getattr"):
            return self._gates.getattr
        found = self._policy.find(module, name)
        return Typed(found, (asyncio.Future,)) if (module, name) == _OF_FUTURES else found


# sets attributes whose names are given
_OF_FUTURES = ("pstore._engine.future", "_restore_future")


def _guarded(step: Callable[[Any], None], place: Callable[[Any], Any]) -> Callable[[Any], None]:
    def checked(self: Any) -> None:
        target = place(self)
        if is_shared(target):
            raise FormatError(f"damaged, or made up: it changes {target!r}, which it only names")
        step(self)

    return checked


def _below_top(self: Any) -> Any:
    return self.stack[-2]


def _below_mark(self: Any) -> Any:
    return self.metastack[-1][-1]


def _new(self: Any) -> None:
    if not isinstance(self.stack[-2], type):
        raise FormatError("damaged, or made up: it makes an instance of what is no class")
    _PurePython.load_newobj(self)


for _code, _step, _place in (
    (pickle.BUILD, _PurePython.load_build, _below_top),
    (pickle.APPEND, _PurePython.load_append, _below_top),
    (pickle.APPENDS, _PurePython.load_appends, _below_mark),
    (pickle.ADDITEMS, _PurePython.load_additems, _below_mark),
    (pickle.SETITEMS, _PurePython.load_setitems, _below_mark),
    (pickle.SETITEM, _PurePython.load_setitem, lambda self: self.stack[-3]),
):
    _Checked.dispatch[_code[0]] = _guarded(_step, _place)
_Checked.dispatch[pickle.NEWOBJ[0]] = _new


def class_factory(policy: Policy | None) -> Callable[[Any, str, str], Any] | None:
    """What to give `ZODB.DB` as `class_factory`: with it the pickles of ZODB's own are read under the policy, too."""
    if policy is None:
        return None

    def factory(connection: Any, module: str, name: str) -> Any:
        if (module, name) in _OWN:
            return getattr(sys.modules[module], name)
        if policy.restricted:
            return policy.find(module, name)
        module, name = policy.renamed(module, name)
        return names.by_name(module, name)

    return factory


# what stands in every database of ours
_OWN = frozenset(
    {
        ("pstore", "_Record"),
        ("pstore._store.records", "Record"),
        ("pstore._store.store", "Record"),
        ("persistent.mapping", "PersistentMapping"),
    }
)
