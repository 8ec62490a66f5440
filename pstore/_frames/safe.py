"""What every store needs and nobody has to allow (layer 1).

Owns: the tables of names that an allow-list always has (`policy`), and the rule for reading attributes by name.

In the tables is what holds data or keeps a program going and cannot be made to reach beyond the list: containers,
numbers, dates, exceptions, iterators, the primitives of asyncio, pstore's own tasks and futures.  Composing what is
allowed (`partial`, `map`) is harmless.  Not in them, however common: whatever runs text (eval, exec, compile,
get_type_hints), opens or imports something, gives a module, a namespace or the globals of a function, or reads an
attribute whose name is data (getattr, attrgetter, methodcaller, vars): from one function they lead to all others.
"""

from __future__ import annotations

import array
import builtins
import collections
import datetime
import decimal
import enum
import fractions
import operator
import random
import re
import struct
import sys
import types
import typing
import uuid
import zoneinfo
from typing import Any

__all__ = ["attribute", "entry_for", "has", "method", "named_type", "names", "words"]


def words(text: str) -> frozenset[str]:
    """The words of a table."""
    return frozenset(text.split())


def _public(module: types.ModuleType, *refused: str) -> frozenset[str]:
    return frozenset(name for name in vars(module) if not name.startswith("_")) - set(refused)


_BUILTINS = frozenset(
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
) | words("""
        object type int float complex bool str bytes bytearray memoryview list dict frozendict set frozenset tuple
    range     slice enumerate filter map reversed zip property staticmethod classmethod super Ellipsis NotImplemented
    __build_class__ abs all any ascii bin callable chr divmod format hash hex id isinstance issubclass iter len max
    min next oct ord pow     print repr round sorted sum aiter anext
""")

_OPERATORS = _public(operator, "attrgetter", "methodcaller", "call")

# module -> the first parts of qualified names; what is below them is theirs
_NAMES: dict[str, frozenset[str]] = {
    "builtins": _BUILTINS,
    "collections": words("""ChainMap Counter OrderedDict UserDict UserList UserString defaultdict deque
        _tuplegetter"""),
    "_collections": words("_tuplegetter OrderedDict defaultdict deque"),
    "copyreg": words("_reconstructor __newobj__ __newobj_ex__"),
    "functools": words("""partial partialmethod cached_property reduce cmp_to_key Placeholder _PlaceholderType
        _gt_from_lt _le_from_lt _ge_from_lt _ge_from_le _lt_from_le _gt_from_le _lt_from_gt _ge_from_gt _le_from_gt
        _le_from_ge _gt_from_ge _lt_from_ge"""),
    "_functools": words("partial reduce cmp_to_key Placeholder"),
    "operator": _OPERATORS,
    "_operator": _OPERATORS,
    "types": words("SimpleNamespace GenericAlias UnionType NoneType"),
    "typing": frozenset(name for name in typing.__all__ if type(vars(typing).get(name)) is not types.FunctionType)
    - words("ForwardRef TypedDict NamedTuple")
    | words("_ProtocolMeta"),
    "abc": words("ABC ABCMeta"),
    "enum": words("""Enum EnumMeta EnumType IntEnum StrEnum Flag IntFlag FlagBoundary ReprEnum auto property member
        nonmember pickle_by_enum_name pickle_by_global_name KEEP STRICT CONFORM EJECT"""),
    "dataclasses": words("""MISSING KW_ONLY Field InitVar FrozenInstanceError _FIELD _FIELD_CLASSVAR _FIELD_INITVAR
        _DataclassParams _HAS_DEFAULT_FACTORY _HAS_DEFAULT_FACTORY_CLASS _MISSING_TYPE _KW_ONLY_TYPE"""),
    "uuid": words("UUID SafeUUID"),
    "zoneinfo": words("ZoneInfo"),
    "pathlib": words("Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath"),
    "pathlib._local": words("Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath"),
    "re": words("_compile RegexFlag error PatternError"),
    "array": words("array _array_reconstructor"),
    "random": words("Random SystemRandom _inst"),
    "_random": words("Random"),
    "string": words("Template"),
    "time": words("struct_time"),
    "io": words("BytesIO StringIO"),
    "_io": words("BytesIO StringIO"),
    "logging": words("getLogger"),
    "contextlib": words("""AbstractContextManager AbstractAsyncContextManager AsyncContextDecorator AsyncExitStack
        ContextDecorator ExitStack _AsyncGeneratorContextManager _BaseExitStack _GeneratorContextManager
        _GeneratorContextManagerBase aclosing asynccontextmanager closing contextmanager nullcontext suppress"""),
    "asyncio.events": words("Handle TimerHandle AbstractEventLoop"),
    "_asyncio": words("Future Task"),
    "concurrent.futures._base": words("Error CancelledError TimeoutError InvalidStateError BrokenExecutor"),
    "persistent": words("Persistent"),
    "pstore._store.capsulebody": words("Code"),
}  # fmt: skip

# modules all of whose own classes and functions are in the table
_MODULES = words("""
    datetime _pydatetime decimal _decimal _pydecimal fractions numbers ipaddress math cmath itertools
    heapq _heapq bisect _bisect _collections_abc collections.abc graphlib
    asyncio.coroutines asyncio.exceptions asyncio.futures asyncio.locks asyncio.mixins asyncio.queues asyncio.staggered
    asyncio.taskgroups asyncio.tasks asyncio.threads asyncio.timeouts
    persistent.mapping persistent.list
    pstore.clock pstore.errors
    pstore._engine.attempts pstore._engine.effects pstore._engine.future pstore._engine.limits pstore._engine.loop
    pstore._engine.options pstore._engine.origin pstore._engine.outbox pstore._engine.state pstore._engine.task
    pstore._engine.timers
    pstore._engine.awaitables pstore._engine.backlog pstore._engine.inbox pstore._engine.mail pstore._engine.services
    pstore._engine.awaitables pstore._engine.in_tasks pstore._engine.inbox pstore._engine.mail pstore._engine.services
    pstore._engine.deliveries pstore._engine.tags pstore._engine.schedules pstore._engine.cron
""")

# of pstore: what opens databases and connections, reads bytes or serves operators
_CLOSED = words("pstore.client pstore.testing pstore.tools pstore.__main__")


# modules whose classes in the table have harmless methods; the others' are made and held, but do more (Path.unlink)
_WITH_METHODS = _MODULES | words("collections contextlib enum random asyncio.events")
# special methods that are bound where a frame is suspended in a `with` or `for`; __setstate__ and its like are not
# given out, as they would set whatever attribute on whatever they are called with
_SPECIAL = words("__enter__ __exit__ __aenter__ __aexit__ __call__ __next__ __anext__ __iter__ __aiter__ __await__")


def names(module: str, qualname: str) -> bool:
    """Whether a table has this very name, wherever it leads."""
    top, _, below = qualname.partition(".")
    return top in _NAMES.get(module, ()) and (not below or _has_method(module, top, below))


def _has_method(module: str, top: str, below: str) -> bool:
    last = below.rpartition(".")[2]
    if module not in _WITH_METHODS or top in ("EnumMeta", "EnumType") or last == "copy":
        return False  # copying calls what a __reduce_ex__ gives, and sets the attributes that it names
    return last[:2] != "__" or last in _SPECIAL or last in _HARMLESS or (module == "enum" and last == "__reduce_ex__")


def has(module: str, qualname: str) -> bool:
    """Whether what is defined under this name is always allowed."""
    if module in _MODULES:
        top, _, below = qualname.partition(".")
        return not below or _has_method(module, top, below)
    return names(module, qualname) or _is_btree(module, qualname) or _is_pattern(module)


def _is_btree(module: str, qualname: str) -> bool:
    return module.startswith("BTrees.") and qualname.isidentifier() and not qualname.startswith("_")


def _is_pattern(module: str) -> bool:
    """Public modules of pstore, which are built on its public names alone."""
    parts = module.split(".")
    if parts[0] != "pstore" or len(parts) < 2 or any(part[:1] == "_" for part in parts):
        return False
    return ".".join(parts[:2]) not in _CLOSED


def entry_for(module: str, qualname: str) -> str:
    """What to add to an allow-list for a name: its module, unless that has more in it than the name's own trade."""
    top = module.partition(".")[0]
    return f"{module}:{qualname}" if top in sys.stdlib_module_names or top == "pstore" else module


# ---------------------------------------------------------------- attributes by name

_DATA_TYPES: frozenset[type] = frozenset({
    object, list, dict, set, frozenset, tuple, str, bytes, bytearray, int, float, complex, bool, range,
    collections.deque, collections.OrderedDict, collections.defaultdict, collections.Counter,
    datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone, decimal.Decimal,
    decimal.Context, fractions.Fraction, uuid.UUID, random.Random, array.array, re.Pattern, re.Match, struct.Struct,
    types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType,
    type(re.compile("").scanner("")),  # type: ignore[attr-defined]
})  # fmt: skip
_METHODS = (
    types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType, types.FunctionType,
    types.BuiltinFunctionType, classmethod, staticmethod,
)  # fmt: skip

_HARMLESS = words("""
    __abs__ __add__ __and__ __bool__ __bytes__ __ceil__ __complex__ __contains__ __delitem__ __divmod__ __eq__ __float__
    __floor__ __floordiv__ __format__ __ge__ __getitem__ __gt__ __hash__ __iadd__ __iand__ __imul__ __index__ __int__
    __invert__ __ior__ __isub__ __iter__ __ixor__ __le__ __len__ __length_hint__ __lshift__ __lt__ __mod__ __mul__
    __ne__ __neg__ __next__ __or__ __pos__ __pow__ __radd__ __rand__ __rdivmod__ __repr__ __reversed__ __rfloordiv__
    __rlshift__ __rmod__ __rmul__ __ror__ __round__ __rpow__ __rrshift__ __rshift__ __rsub__ __rtruediv__ __rxor__
    __setitem__ __str__ __sub__ __truediv__ __trunc__ __xor__ __missing__ __new__
""")


def method(cls: type, name: Any) -> bool:
    """Whether stored bytes may name this method of a built-in class: it is one, and gives nothing but data."""
    if type(name) is not str or (name[:1] == "_" and name not in _HARMLESS):
        return False
    if not (cls in _DATA_TYPES or cls.__module__ == "_asyncio" or (issubclass(cls, BaseException) and _built_in(cls))):
        return False
    found = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
    return isinstance(found, _METHODS)


def _built_in(cls: type) -> bool:
    return cls.__module__ == "builtins" and vars(builtins).get(cls.__name__) is cls


def attribute(obj: Any, name: Any) -> bool:
    """Whether stored bytes may have ``getattr(obj, name)``.

    Pickle stores methods of built-in values and classes in this way, and members of enumerations.
    """
    if isinstance(obj, enum.EnumMeta):
        return type(name) is str and name in obj.__members__
    if obj is zoneinfo.ZoneInfo:
        return name == "_unpickle"  # type: ignore[no-any-return]
    return method(obj if isinstance(obj, type) else type(obj), name)


# Their instances are code, or lead to it; whoever can make them can make any.
_CODE_TYPES = (types.CodeType, types.FunctionType, types.ModuleType)


def named_type(cls: Any) -> bool:
    """Whether a type that has no module may be given to stored bytes."""
    return cls not in _CODE_TYPES
