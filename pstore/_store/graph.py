r"""An object graph <-> bytes (layer 2).

Owns: :func:`dumps` and :func:`loads`, the serialiser that everything else is built on.

Format 1 (invariant I9)::

    b"pstore1\n"                  8 bytes; the digit is the version of this format
    a pickle of protocol 5        the standard library's, whose reduce values call the functions of
                                  `pstore._frames.stored`, and those alone, for all that pickle would refuse

The C pickler does the work.  Where it would recurse too deeply, `walk` writes the same without recursion; where it
meets something that cannot be stored, `walk` finds the way to it for the message.  Nothing is written in that case.

The namespace of a module is code: when the graph leads to the dict itself (as the globals of a function made by `exec`
lead to that of `builtins`), it is stored by the module's name.

Loading runs code that the bytes name: load only what you trust, or give an allow-list (`checked`).
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from importlib.machinery import ModuleSpec
from typing import Any

from pstore._frames import reducer_of, register
from pstore._frames.making import frame
from pstore._frames.names import find_module
from pstore._frames.policy import Policy, policy_of
from pstore._frames.stored import stored
from pstore._store.checked import load
from pstore._store.ephemeral import recipes
from pstore._store.loadby import load_by
from pstore._store.walk import Walk, refusal
from pstore.errors import FormatError

__all__ = ["HEADER", "dumps", "loads", "loads_under", "register"]

HEADER = b"pstore1\n"
_BODY = len(HEADER)
_PROTOCOL = 5


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if id(obj) in recipes:
            return recipes[id(obj)].reduced()
        reducer = reducer_of[type(obj)]
        return reducer(obj) if reducer is not None else NotImplemented


def _named(function: Any) -> bytes:
    """Opcodes that push one of the functions that stored bytes call."""
    parts = (stored.__module__.encode(), function.__name__.encode())
    return b"".join(pickle.SHORT_BINUNICODE + bytes((len(part),)) + part for part in parts) + pickle.STACK_GLOBAL


# Looking up a function by its name, and checking it, takes longer than all else about a small frame.  So what C pickle
# writes begins with the one function that is called again and again, in the reader's memo; the writer's has it too.
_PROTO = pickle.PROTO + bytes((_PROTOCOL,))
_START = HEADER + _PROTO + _named(frame) + pickle.MEMOIZE + pickle.POP
_MEMO = {id(frame): (0, frame)}


class _Sink:
    """What a pickler writes to: a list of chunks, headed by what every pickle starts with."""

    __slots__ = ("chunks", "write")

    def __init__(self) -> None:
        self.chunks = [_START]
        self.write = self.chunks.append


# Making a pickler takes longer than storing a small frame with it.
_idle: list[tuple[_Pickler, _Sink]] = []
_KEEP = 65536  # bytes written; the memo of a pickler that wrote more has grown too large to clear it again and again


def dumps(obj: Any) -> bytes:
    """Store an object graph, suspended generators, coroutines and async generators included.

    The graph is not disturbed; suspended frames can go on.  No user code runs, but for ``__reduce__`` and
    ``__getstate__`` methods.

    Raises:
        UnsupportedValue: something in the graph cannot be stored faithfully; the error names the path to it.
    """
    try:
        pickler, sink = _idle.pop()
    except IndexError:
        sink = _Sink()
        pickler = _Pickler(sink, _PROTOCOL)
    pickler.memo = _MEMO  # a copy of it
    try:
        pickler.dump(obj)
    except Exception:
        return _slowly(obj)
    data = b"".join(sink.chunks)
    if len(data) <= _KEEP:
        pickler.clear_memo()
        del sink.chunks[1:]
        _idle.append((pickler, sink))
    return data


def loads(
    data: bytes | bytearray | memoryview,
    *,
    allow: Iterable[str] | None = None,
    renames: Mapping[str, str] | None = None,
) -> Any:
    """Bring back what :func:`dumps` stored.  No code of a suspended frame runs before it is resumed.

    Args:
        data: the bytes.
        allow: modules (``shop``, ``shop.*``) whose classes and functions the bytes may name; None: any.
        renames: old name -> new name of modules, classes and functions that were moved or renamed since.

    Raises:
        NotAllowed: it names something that `allow` does not have; nothing of that was imported or called.
        FormatError: `data` is not pstore's, is damaged, or of another format or Python version.
        CodeNotFound, CodeChanged: code that it refers to is not there, or is other code.
    """
    return loads_under(None if allow is None and renames is None else policy_of(allow, renames), data)


def loads_under(policy: Policy | None, data: bytes | bytearray | memoryview) -> Any:
    """As :func:`loads`, under a policy that was made before."""
    if data[:_BODY] != HEADER:
        raise _not_ours(bytes(data[:_BODY]))
    body = data[_BODY:] if len(data) <= _KEEP else memoryview(data)[_BODY:]  # copying a little is the faster
    return load_by(pickle.loads, body) if policy is None else load_by(partial(load, policy=policy), body)


unpickler = pickle.Unpickler
"""Makes an unpickler of a file."""


def _not_ours(start: bytes) -> FormatError:
    if start.startswith(b"pstore"):
        version = start[6:].strip().decode(errors="replace")
        return FormatError(f"written in format {version}; this pstore reads format 1")
    return FormatError("not written by pstore.dumps")


# ---------------------------------------------------------------- the slow way


class _NamespaceMet(Exception):
    """The walk went into the namespace of a module; args: the module."""


def _slowly(obj: Any) -> bytes:
    """Store without recursion and with the path at hand, as often as another module's namespace is met."""
    modules: list[Any] = []
    while True:
        walk = Walk(vars(module) for module in modules)
        token = _known_namespaces[:]
        _known_namespaces[:] = modules
        try:
            body = walk.save(obj)
        except _NamespaceMet as met:
            modules.append(met.args[0])
            continue
        except Exception as error:
            raise refusal(error, walk.type_name(), walk.path()) from error
        finally:
            _known_namespaces[:] = token
        prologue = b"".join(_prologue(module.__name__) for module in modules)
        return HEADER + _PROTO + prologue + body


_known_namespaces: list[Any] = []


def _reduce_spec(spec: ModuleSpec) -> tuple[Any, ...]:
    """A module's spec is met by way of the module's namespace."""
    module = sys.modules.get(spec.name)
    if module is None or getattr(module, "__spec__", None) is not spec:
        return object.__reduce_ex__(spec, 5)  # type: ignore[return-value]
    if module not in _known_namespaces:
        raise _NamespaceMet(module)
    return spec_of, (spec.name,)


register(ModuleSpec, _reduce_spec)


@stored
def spec_of(name: str) -> Any:
    """The spec of a module."""
    return find_module(name).__spec__


@stored
def namespace_of(name: str) -> dict[str, Any]:
    """The namespace of a module."""
    return vars(find_module(name))


def _prologue(name: str) -> bytes:
    """Puts the namespace of a module into the reader's memo."""
    encoded = name.encode()
    argument = pickle.SHORT_BINUNICODE + bytes((len(encoded),)) + encoded
    return _named(namespace_of) + argument + pickle.TUPLE1 + pickle.REDUCE + pickle.MEMOIZE + pickle.POP
