"""The identity of a code object: what is stored of it, and how it is found and checked again (layer 1).

Owns: code references.  A code object that another process can find is stored *by reference*: module, qualified name,
position among its namesakes, and fingerprints over what makes it what it is.  One that cannot be found (made by `exec`,
at a prompt, in a notebook) is stored *by value*, marshalled.

Not part of the identity: line numbers, file names, comments, where the checkout lies.  Part of it: bytecode, constants,
names, exception table, signature, and the defaults of the function that can be found under the name (invariant I8).

Encoded form (format 1), a pickle of a tuple::

    (1, magic number of the bytecode, module, qualified name, position, names of locals,
     digests {part: 8 bytes}, zlib-compressed source or None, marshalled code or None)

The source is kept, where it can be had and is not huge, so that a later refusal can show what has changed.

Sources: ``Objects/codeobject.c`` (3.11-3.15), ``importlib.util.MAGIC_NUMBER``.
"""

from __future__ import annotations

import difflib
import enum
import hashlib
import importlib.util
import io
import linecache
import marshal
import pickle
import sys
import types
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pstore._frames import names
from pstore.errors import CodeChanged, FormatError

__all__ = ["CodeIdentity", "digests", "find", "identify", "identify_value", "name_in", "namesakes", "nested", "renamed"]

FORMAT = 1
MAGIC = int.from_bytes(importlib.util.MAGIC_NUMBER[:2], "little")
CACHE_LIMIT = 20_000  # code objects; a program that makes code without end must not grow without end
SOURCE_LIMIT = 65536  # characters; more is not worth keeping for a diff


@dataclass(frozen=True, slots=True)
class CodeIdentity:
    """A code object with its stored form.

    Attributes:
        code: the code object of this process.
        encoded: the stored form (see the module's docstring).
        digest: 16 bytes that stand for `encoded`.
        module: the stored name of the module whose namespace is the code's globals; None when stored by value.
        namespace: the globals, when found by reference.
        anchor: (namespace of the module, first part of the qualified name, what stood there): while it stands there,
            nobody has put other code in its place.
    """

    code: types.CodeType
    encoded: bytes
    digest: bytes
    module: str | None
    namespace: dict[str, Any] | None
    anchor: tuple[dict[str, Any], str, Any] | None = None

    def is_current(self) -> bool:
        """Whether the module has not been reloaded, or the name bound anew, since the code was found."""
        if self.anchor is None:
            return True
        space, name, value = self.anchor
        return space.get(name) is value


# ---------------------------------------------------------------- fingerprints


def digests(code: types.CodeType, function: types.FunctionType | None = None) -> dict[str, bytes]:
    """Fingerprint each part of `code`, and of the defaults of `function`: part -> 8 bytes."""
    signature = (code.co_flags, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
    variables = (code.co_varnames, code.co_cellvars, code.co_freevars)
    parts: dict[str, Any] = {
        "bytecode": (code.co_code, code.co_exceptiontable),
        "constants": code.co_consts,
        "names": (code.co_names, variables),
        "signature": signature,
    }
    if function is not None:
        keywords = function.__kwdefaults__
        parts["defaults"] = (function.__defaults__, tuple(sorted(keywords.items())) if keywords else None)
    return {part: hashlib.blake2b(_canonical(value), digest_size=8).digest() for part, value in parts.items()}


def _canonical(value: Any) -> bytes:
    """Bytes that are equal exactly for constants that are equal in kind and value, in every process."""
    kind = type(value)
    if value is None or kind in (int, str, bytes, bool, float, complex, types.EllipsisType):
        return b"%s:%r;" % (kind.__name__.encode(), value) if kind is bytes else f"{kind.__name__}:{value!r};".encode()
    if kind is tuple:
        return b"(" + b"".join(map(_canonical, value)) + b")"
    if kind is frozenset:
        return b"{" + b"".join(sorted(map(_canonical, value))) + b"}"
    if kind is slice:
        return b"slice" + _canonical((value.start, value.stop, value.step))
    if kind is types.CodeType:
        code: types.CodeType = value
        inner = digests(code)
        return b"code:" + code.co_name.encode() + b"".join(inner[part] for part in sorted(inner))
    if isinstance(value, enum.Enum):
        return f"{kind.__qualname__}.{value.name};".encode()
    # A default that is an object: its own state is data, only its kind is code.
    name = getattr(value, "__qualname__", "") if isinstance(value, type | types.FunctionType) else ""
    return f"{kind.__module__}.{kind.__qualname__}:{name};".encode()


# ---------------------------------------------------------------- where a code object stands in its module


def nested(code: types.CodeType) -> Iterator[types.CodeType]:
    """`code` and every code object among its constants, outermost first, in source order."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from nested(constant)


def namesakes(module: types.ModuleType, qualname: str) -> Iterator[tuple[types.CodeType, types.FunctionType | None]]:
    """Every code object of that qualified name in a module, with its function where that is to be had.

    First those behind the module's attributes, decorated ones included; then those in the module's compiled source,
    which also has what decorators or `del` have hidden.
    """
    seen: set[int] = set()
    for code, function in _behind_attributes(module, qualname):
        if id(code) not in seen:
            seen.add(id(code))
            yield code, function
    whole = _compiled(module)
    if whole is not None:
        yield from ((code, None) for code in nested(whole) if code.co_qualname == qualname)


def _behind_attributes(
    module: types.ModuleType, qualname: str
) -> Iterator[tuple[types.CodeType, types.FunctionType | None]]:
    outermost = qualname.split(".<locals>")[0].split(".")
    for length in range(len(outermost), 0, -1):
        found = names.attribute_path(module, outermost[:length])
        for function in names.callables_of(found):
            for code in nested(function.__code__):
                if code.co_qualname == qualname:
                    yield code, function if code is function.__code__ else None


_compiled_modules: dict[str, tuple[types.ModuleType, Any, types.CodeType | None]] = {}


def _compiled(module: types.ModuleType) -> types.CodeType | None:
    """The code of a module as its loader has it; None for built-in, interactive and generated modules."""
    known = _compiled_modules.get(module.__name__)
    spec = getattr(module, "__spec__", None)  # a reload makes a new one
    if known is None or known[0] is not module or known[1] is not spec:
        get_code = getattr(getattr(module, "__loader__", None), "get_code", None)
        try:
            code = get_code(module.__name__) if get_code else None
        except (ImportError, OSError, SyntaxError, EOFError, ValueError):
            code = None
        known = _compiled_modules[module.__name__] = (module, spec, code)
    return known[2]


# ---------------------------------------------------------------- live code object -> identity

_identities: dict[tuple[int, int], CodeIdentity] = {}


def identify(code: types.CodeType, namespace: dict[str, Any]) -> CodeIdentity:
    """The identity of a live code object that runs in the globals `namespace`..  Cached."""
    key = (id(code), id(namespace))
    known = _identities.get(key)
    if known is None:
        if len(_identities) >= CACHE_LIMIT:
            _identities.clear()
        known = _identities[key] = _by_reference(code, namespace) or _by_value(code)
    return known


def identify_value(code: types.CodeType) -> CodeIdentity:
    """The identity of a code object that is stored by value in any case."""
    key = (id(code), 0)
    known = _identities.get(key)
    if known is None:
        known = _identities[key] = _by_value(code)
    return known


def _by_reference(code: types.CodeType, namespace: dict[str, Any]) -> CodeIdentity | None:
    name = namespace.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    stored_name = names.module_name(name) if isinstance(name, str) else None
    if module is None or stored_name is None:
        return None
    parts = digests(code)
    equal = [
        (position, function)
        for position, (found, function) in enumerate(namesakes(module, code.co_qualname))
        if _is_same(found, code, parts)
        and namespace is (function.__globals__ if function is not None else vars(module))
    ]
    if not equal:
        return None
    position, function = equal[0]
    encoded = _encode(code, stored_name, position, digests(code, function), None)
    return CodeIdentity(code, encoded, _digest(encoded), stored_name, namespace)


def _is_same(found: types.CodeType, code: types.CodeType, parts: dict[str, bytes]) -> bool:
    """Whether a code object found in a module is `code`, or the same piece of source compiled once more."""
    if found is code:
        return True
    place = (found.co_filename, found.co_firstlineno, list(found.co_positions()))
    return place == (code.co_filename, code.co_firstlineno, list(code.co_positions())) and digests(found) == parts


def _by_value(code: types.CodeType) -> CodeIdentity:
    encoded = _encode(code, "", 0, digests(code), marshal.dumps(code))
    return CodeIdentity(code, encoded, _digest(encoded), None, None)


def _encode(code: types.CodeType, module: str, position: int, parts: dict[str, bytes], value: bytes | None) -> bytes:
    source = _source(code)
    return pickle.dumps(
        (FORMAT, MAGIC, module, code.co_qualname, position, code.co_varnames, parts, source, value), protocol=5
    )


def _digest(encoded: bytes) -> bytes:
    return hashlib.blake2b(encoded, digest_size=16).digest()


def _source(code: types.CodeType) -> bytes | None:
    """The lines that the code covers, compressed."""
    last = max((end for part in nested(code) for _, end, _, _ in part.co_positions() if end), default=0)
    text = "".join(linecache.getlines(code.co_filename)[code.co_firstlineno - 1 : last])
    return zlib.compress(text.encode("utf-8", "surrogatepass"), 6) if 0 < len(text) <= SOURCE_LIMIT else None


# ---------------------------------------------------------------- stored form -> live code object

_found: dict[bytes, CodeIdentity] = {}


def find(digest: bytes, encoded: bytes) -> CodeIdentity:
    """The code object of this process that is the stored one.

    Raises:
        CodeNotFound: the module or the function is not there.
        CodeChanged: it is there, and is other code.
        FormatError: written by another bytecode version, or not readable.
    """
    known = _found.get(digest)
    if known is None or not known.is_current():
        _check(digest, encoded)
        known = _found[digest] = _decode(digest, encoded)
    return known


class _PlainData(pickle.Unpickler):
    """Reads the encoded form, which has nothing in it that would have to be looked up by name."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _parts_of(encoded: bytes) -> tuple[Any, ...]:
    """The encoded form as a tuple, its format checked."""
    try:
        parts = _PlainData(io.BytesIO(encoded)).load()
        version, _, _, _, _, _, _, _, _ = parts
    except Exception as error:
        raise FormatError(f"a code reference is damaged: {error}") from error
    if version != FORMAT:
        raise FormatError(f"code reference of format {version}; this pstore reads format {FORMAT}")
    return tuple(parts)


def name_in(digest: bytes, encoded: bytes) -> tuple[str, str] | None:
    """Module and qualified name in a stored code reference; None for code that is stored by value.

    Raises:
        FormatError: it is damaged.
    """
    _check(digest, encoded)
    _, _, module, qualname, *_, value = _parts_of(encoded)
    return None if value is not None else (module, qualname)


def renamed(encoded: bytes, module: str, qualname: str) -> tuple[bytes, bytes]:
    """The same code reference, to be found under another name: (digest, encoded)."""
    version, magic, _, _, *rest = _parts_of(encoded)
    encoded = pickle.dumps((version, magic, module, qualname, *rest), protocol=5)
    return _digest(encoded), encoded


def _check(digest: bytes, encoded: bytes) -> None:
    if _digest(encoded) != digest:
        raise FormatError("a code reference is damaged: it is not what its digest says")


def _decode(digest: bytes, encoded: bytes) -> CodeIdentity:
    _, magic, module_name, qualname, position, _, parts, source, value = _parts_of(encoded)
    if magic != MAGIC:
        raise FormatError(
            f"{module_name or 'code'}:{qualname} was stored by a Python with bytecode {magic}; this Python has "
            f"{MAGIC}: suspended frames and functions by value are read by the Python version that wrote them"
        )
    if value is not None:
        return CodeIdentity(marshal.loads(value), encoded, digest, None, None)
    module = names.find_module(module_name)
    code, function = _matching(module, qualname, position, parts, source)
    namespace = function.__globals__ if function is not None else vars(module)
    top = qualname.partition(".")[0]
    return CodeIdentity(code, encoded, digest, module_name, namespace, (vars(module), top, vars(module).get(top)))


def _matching(
    module: types.ModuleType, qualname: str, position: int, parts: dict[str, bytes], source: bytes | None
) -> tuple[types.CodeType, types.FunctionType | None]:
    name = f"{module.__name__}:{qualname}"
    candidates = list(namesakes(module, qualname))
    if not candidates:
        present = _elsewhere(module, qualname, parts)
        raise names.not_found(module, qualname, "the module has no function of that name any more", present)
    # Functions first: only they have defaults to compare.  Code alone counts where no function has it.
    order = [c for c in candidates[position : position + 1] + candidates if c[1] is not None]
    order += [c for c in candidates[position : position + 1] + candidates if c[1] is None]
    differences = [_difference(code, function, parts) for code, function in order]
    for candidate, difference in zip(order, differences, strict=True):
        if not difference and not (candidate[1] is None and ["defaults"] in differences):
            return candidate
    closest = differences.index(["defaults"]) if ["defaults"] in differences else 0
    raise CodeChanged(name, ", ".join(differences[closest]), _diff(source, order[closest][0]))


def _elsewhere(module: types.ModuleType, qualname: str, parts: dict[str, bytes]) -> str:
    """Where code with these digests stands under another name, in the module or in loaded ones of its package."""
    package = module.__name__.partition(".")[0]
    loaded = [other for name, other in list(sys.modules.items()) if name.partition(".")[0] == package]
    wanted = {part: digest for part, digest in parts.items() if part != "defaults"}
    for place in (module, *loaded):
        whole = _compiled(place) if isinstance(place, types.ModuleType) else None
        for code in nested(whole) if whole is not None else ():
            if digests(code) == wanted:
                return f"{names.module_name(place.__name__)}:{code.co_qualname}"
    return ""


def _difference(code: types.CodeType, function: types.FunctionType | None, parts: dict[str, bytes]) -> list[str]:
    present = digests(code, function)
    return [part for part, digest in parts.items() if part in present and present[part] != digest]


def _diff(stored: bytes | None, present: types.CodeType) -> str:
    now = _source(present)
    if stored is None or now is None:
        return ""
    old, new = (zlib.decompress(text).decode("utf-8", "surrogatepass").splitlines() for text in (stored, now))
    return "\n".join(difflib.unified_diff(old, new, "when it was suspended", "now", lineterm=""))
