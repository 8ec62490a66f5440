"""What stored bytes may name, and what it is called now (layer 1).

Owns: :class:`Policy`: the allow-list of a store and its renames, and the decision about every name that a load meets.

The allow-list.  Bytes can name any function of any module and have it called, so loading a store trusts whoever wrote
it.  With a list, what it names has to be *defined* in a module of the list (a function that a module merely imported
is not its own, a module that it imported even less) or be among what everything needs (`safe`).  That is decided before
a module is imported, and before anything is called or resumed.  Entries:

    shop                the module `shop`
    shop.*              and all modules below it
    shop:Order          one name of it, wherever that leads, and what `shop` defines below it
    shop:               the module object alone (as a local of a function with an ``import``), and nothing in it
    <by value>          code and classes that travel in the bytes (:data:`BY_VALUE`): then the writer is trusted

Not within its reach: what allowed code does with arguments, attributes and locals that somebody made up.

Renames.  ``{"old": "new"}``, each either ``module:qualified.name`` or dotted; a name stands for all below it, the
longest that fits counts, and it is applied once, before the allow-list is asked.

A policy is immutable; what it caches is the verdict on code references.
"""

from __future__ import annotations

import contextvars
import functools
import importlib.util
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pstore._frames import codes, names, safe
from pstore.errors import NotAllowed

__all__ = ["BY_VALUE", "Policy", "policy_of"]

BY_VALUE = "<by value>"
_CACHE_LIMIT = 20_000
_OUTSIDE = "it is neither on the allow-list nor among what is always allowed"


def policy_of(allow: Iterable[str] | None, renames: Mapping[str, str] | None) -> Policy | None:
    """The policy for these arguments of `loads` and `Store`; None when there is nothing to decide."""
    return None if allow is None and not renames else Policy(allow, renames)


class Policy:
    """See the module.

    Args:
        allow: entries of the allow-list; None: everything is allowed.
        renames: old name -> new name.

    Attributes:
        restricted: whether there is an allow-list.
        by_value: whether code that travels in the bytes is allowed.
    """

    def __init__(self, allow: Iterable[str] | None = None, renames: Mapping[str, str] | None = None) -> None:
        if isinstance(allow, str):
            raise TypeError(f"allow is a list of names, not one string: allow=[{allow!r}]")
        entries = [_entry(entry) for entry in allow or ()]
        self.restricted = allow is not None
        self.by_value = allow is None or BY_VALUE in entries
        self._objects = frozenset(entry for entry in entries if ":" in entry)
        self._below = frozenset(entry.removesuffix(".*") for entry in entries if entry.endswith(".*"))
        self._modules = self._below | frozenset(entries)
        self._renames = {_plain(old): new for old, new in (renames or {}).items()}
        self._codes: dict[bytes, tuple[bytes, bytes]] = {}

    # ------------------------------------------------------------ renames

    def renamed(self, module: str, qualname: str) -> tuple[str, str]:
        """What is called ``module:qualname`` in the bytes, under its present name."""
        if not self._renames:
            return module, qualname
        parts, below = module.split("."), qualname.split(".") if qualname else []
        whole = parts + below
        for length in range(len(whole), 0, -1):
            new = self._renames.get(".".join(whole[:length]))
            if new is None:
                continue
            if length <= len(parts):
                return ".".join([*self._module_part(new), *parts[length:]]), qualname
            place, name = self._split(new, length - len(parts))
            return place, ".".join([name, *whole[length:]])
        return module, qualname

    def renamed_module(self, module: str) -> str:
        """The present name of a module."""
        return self.renamed(module, "")[0]

    def _module_part(self, new: str) -> list[str]:
        module, _, rest = new.partition(":")
        if rest:
            raise ValueError(f"renames: a module cannot become {new!r}; give the name of a module")
        return module.split(".")

    def _split(self, new: str, depth: int) -> tuple[str, str]:
        """Module and qualified name in the new name of something that was `depth` names deep in its module."""
        module, colon, qualname = new.partition(":")
        if colon:
            return module, qualname
        parts = new.split(".")
        if len(parts) < 2:
            raise ValueError(f"renames: {new!r} is no name in a module; write it as 'module:name'")
        split = max(len(parts) - depth, 1)
        for at in range(len(parts) - 1, 0, -1):
            if self._is_module(".".join(parts[:at])):
                split = at
                break
        return ".".join(parts[:split]), ".".join(parts[split:])

    def _is_module(self, name: str) -> bool:
        if name in sys.modules:
            return True
        package = name.rpartition(".")[0]
        if self.restricted and package and not self.has_module(package):
            return False  # looking for a module imports the packages above it
        try:
            return importlib.util.find_spec(name) is not None
        except (ImportError, ValueError):
            return False

    # ------------------------------------------------------------ the list

    def has_module(self, module: str) -> bool:
        """Whether the list has all that the module defines."""
        if not self.restricted or module in self._modules:
            return True
        while "." in module:
            module = module.rpartition(".")[0]
            if module in self._below:
                return True
        return False

    def has(self, module: str, qualname: str) -> bool:
        """Whether the list has ``module:qualname``, if the module defines it."""
        return self.has_module(module) or self._has_object(module, qualname) or safe.has(module, qualname)

    def _has_object(self, module: str, qualname: str) -> bool:
        parts = qualname.split(".")
        return any(f"{module}:{'.'.join(parts[:length])}" in self._objects for length in range(1, len(parts) + 1))

    def check(self, module: str, qualname: str) -> None:
        """Raise NotAllowed unless the list has the name."""
        if self.restricted and not self.has(module, qualname):
            raise NotAllowed(f"{module}:{qualname}", _OUTSIDE, safe.entry_for(module, qualname))

    def check_by_value(self, what: str) -> None:
        """Raise NotAllowed unless code may travel in the bytes."""
        if not self.by_value:
            raise NotAllowed(what, "it is code that the bytes bring along, not code of a module", BY_VALUE)

    # ------------------------------------------------------------ finding

    def module(self, name: str) -> types.ModuleType:
        """The module of that stored name, as a value."""
        name = self.renamed_module(name)
        if self.restricted and not self.has_module(name) and f"{name}:" not in self._objects:
            raise NotAllowed(f"module {name}", _OUTSIDE, f"{name}:")
        return names.find_module(name)

    def find(self, module: str, qualname: str) -> Any:
        """The object of that stored name.

        Raises:
            NotAllowed: before anything is imported, if the name is not on the list; after it, if what the name leads
                to is defined elsewhere, or is neither class nor function nor an object of a class that is on the list.
            CodeNotFound: there is no such module or name.
        """
        module, qualname = self.renamed(module, qualname)
        self.check(module, qualname)
        loaded = names.find_module(module)
        path = qualname.split(".")
        if self.restricted:
            self._check_way(loaded, module, path)
        found = names.attribute_path(loaded, path, importing=True)
        if found is names.MISSING:
            raise names.not_found(loaded, qualname, f"module {module} has no {qualname}")
        if self.restricted:
            self._check_owner(found, module, qualname)
        return found

    def _check_way(self, loaded: types.ModuleType, module: str, path: list[str]) -> None:
        """What stands between the module and the object has to be classes."""
        for length in range(1, len(path)):
            between = names.attribute_path(loaded, path[:length], importing=True)
            if between is names.MISSING:
                return
            name = ".".join(path[:length])
            if not isinstance(between, type):
                raise NotAllowed(f"{module}:{'.'.join(path)}", f"{name} is no class of {module}", "")
            self._check_owner(between, module, name)

    def _check_owner(self, found: Any, module: str, qualname: str) -> None:
        if f"{module}:{qualname}" in self._objects or (safe.names(module, qualname) and "." not in qualname):
            return  # this very name was allowed, wherever it leads
        home, own_name = _home(found)
        if home is None:  # an instance: the data in a module is out of reach, but for what its own classes made
            cls = type(found)
            if _is_inert(found) or self.has_module(_home(cls)[0] or ""):
                return
            where = f"it is a {cls.__name__}, neither a class nor a function"
        else:
            where = f"it is defined in {home}"
        if home is None or not self.has(home, own_name):
            raise NotAllowed(f"{module}:{qualname}", where, f"{module}:{qualname}")

    def owns(self, cls: type) -> bool:
        """Whether a class is on the list."""
        return not self.restricted or self.has(*_home(cls))  # type: ignore[arg-type]  # a class has a home

    # ------------------------------------------------------------ code references

    def code(self, digest: bytes, encoded: bytes) -> tuple[bytes, bytes]:
        """A stored code reference, checked and under its present name: (digest, encoded)."""
        known = self._codes.get(digest)
        if known is None:
            if len(self._codes) >= _CACHE_LIMIT:
                self._codes.clear()
            known = self._codes[digest] = self._code(digest, encoded)
        return known

    def _code(self, digest: bytes, encoded: bytes) -> tuple[bytes, bytes]:
        name = codes.name_in(digest, encoded)
        if name is None:
            self.check_by_value("code without a module")
            return digest, encoded
        present = self.renamed(*name)
        self.check(*present)
        if present != name:
            digest, encoded = codes.renamed(encoded, *present)
        if self.restricted:
            identity = codes.find(digest, encoded)
            home = (identity.namespace or {}).get("__name__")
            home = names.module_name(home) or home if isinstance(home, str) else None
            if home != present[0]:
                raise NotAllowed(":".join(present), f"its code is that of {home}, not of {present[0]}", "")
        return digest, encoded


def _entry(entry: str) -> str:
    if not isinstance(entry, str):
        raise TypeError(f"allow has {entry!r}; names of modules are wanted")
    if entry == "__main__" or entry.startswith("__main__:"):
        return (names.main_name() or "__main__") + entry.removeprefix("__main__")
    return entry


def _plain(name: str) -> str:
    return name.replace(":", ".")


_DEFINED = (type, types.FunctionType, types.BuiltinFunctionType, type(functools.lru_cache(lambda: None)))
_NAMED = (typing.TypeVar, typing.ParamSpec, typing.TypeVarTuple, typing.NewType)


def _home(found: Any) -> tuple[str | None, str]:
    """Module and qualified name under which a class or function was defined; (None, "") of anything else."""
    if not isinstance(found, _DEFINED + _NAMED) and type(found).__name__ not in ("TypeAliasType", "sentinel"):
        return None, ""
    bound = getattr(found, "__self__", None) if isinstance(found, types.BuiltinFunctionType) else None
    module = found.__module__
    if not isinstance(module, str) or not (bound is None or isinstance(bound, types.ModuleType)):
        return None, ""
    return names.module_name(module) or module, getattr(found, "__qualname__", found.__name__)


def _is_inert(found: Any) -> bool:
    """A mark that is told apart by identity alone, or a context variable."""
    return type(found) in (object, contextvars.ContextVar)
