"""Descriptors, and built-in objects that pickle refuses or stores under a wrong name (layer 1).

Owns: property, staticmethod, classmethod, cached_property, partialmethod; super objects; bound built-in methods, which
pickle stores by name even where ``super().append`` and ``self.append`` differ; descriptors of C types; comparison keys
of ``cmp_to_key``; Struct, SystemRandom, the standard streams, ``os.environ``, cached functions and sentinels by name.

Rules: by parts where the parts can be read, by name where the object belongs to its module, and otherwise refused.

Sources: ``Objects/descrobject.c``, ``Objects/funcobject.c``, ``Modules/_functoolsmodule.c``.
"""

from __future__ import annotations

import functools
import io
import os
import random
import re
import struct
import sys
import types
from collections.abc import Callable
from typing import Any

from pstore._frames import names
from pstore._frames.process_bound import refuse_file
from pstore._frames.standins import MISSING, fields, refuse
from pstore._frames.stored import stored

__all__ = ["REDUCERS"]

# --- what stands in classes ----------------------------------------------------------------------------------------


@stored
def empty_property() -> Any:
    """Make a property; its functions come later."""
    return property()


@stored
def set_property(made: Any, state: tuple[Any, ...]) -> None:
    """Second phase of a property."""
    name, *functions = state
    property.__init__(made, *functions)
    if name is not None:
        property.__set_name__(made, None, name)  # type: ignore[attr-defined]


def _reduce_property(obj: Any) -> Any:
    get, set_, delete, doc, name = (None if field is MISSING else field for field in fields(obj, 5))
    return empty_property, (), (name, get, set_, delete, doc), None, None, set_property


@stored
def static_method(function: Any, attributes: dict[str, Any] | None) -> Any:
    """Make a staticmethod."""
    return _with(staticmethod(function), attributes)


@stored
def class_method(function: Any, attributes: dict[str, Any] | None) -> Any:
    """Make a classmethod."""
    return _with(classmethod(function), attributes)


def _with(made: Any, attributes: dict[str, Any] | None) -> Any:
    vars(made).update(attributes or {})
    return made


def _reduce_static_or_class_method(obj: Any) -> Any:
    function = obj.__func__
    usual = vars(type(obj)(function))
    more = {name: value for name, value in vars(obj).items() if usual.get(name, MISSING) is not value}
    return static_method if type(obj) is staticmethod else class_method, (function, more or None)


@stored
def cached_property() -> Any:
    """Make a cached_property; what it has comes later."""
    return functools.cached_property(_nothing)


@stored
def partial_method() -> Any:
    """Make a partialmethod; what it has comes later."""
    return object.__new__(functools.partialmethod)


@stored
def set_attributes(made: Any, state: dict[str, Any]) -> None:
    """Second phase of an object whose attributes are all that it has."""
    vars(made).update(state)


def _nothing(instance: Any) -> None:
    """Stand in for the function of a cached_property."""


def _reduce_cached_property(obj: Any) -> Any:
    state = {name: value for name, value in vars(obj).items() if name != "lock"}  # 3.11 has a lock, free between steps
    return cached_property, (), state, None, None, set_attributes


def _reduce_partial_method(obj: Any) -> Any:
    return partial_method, (), dict(vars(obj)), None, None, set_attributes


# --- methods of C types, super -------------------------------------------------------------------------------------


@stored
def class_attribute(cls: type, name: str) -> Any:
    """Give what stands in the namespace of a class itself."""
    return vars(cls)[name]


class _Instance:
    """Has the descriptors ``__dict__`` and ``__weakref__``, which all classes share from 3.15 on."""


@stored
def instance_attribute(name: str) -> Any:
    """Give a descriptor that classes share."""
    return vars(_Instance)[name]


def _reduce_descriptor(obj: Any) -> Any:
    cls, name = obj.__objclass__, obj.__name__
    if vars(_Instance).get(name) is obj:
        return instance_attribute, (name,)
    if vars(cls).get(name) is not obj:
        raise refuse(obj, f"{cls.__qualname__} does not have it any more")
    return class_attribute, (cls, name)


@stored
def method_of_type(cls: type, name: str, instance: Any) -> Any:
    """Bind a method that a C type defines, whatever the instance's class has under that name."""
    return vars(cls)[name].__get__(instance, type(instance))


def _is_built_in(cls: type) -> bool:
    return not cls.__flags__ & 1 << 9 or bool(cls.__flags__ & 1 << 8)  # not a heap type, or an immutable one


def _reduce_method_wrapper(obj: Any) -> Any:
    if _is_built_in(type(obj.__self__)) and not isinstance(obj.__self__, type):
        return NotImplemented  # its name leads to it
    return method_of_type, (obj.__objclass__, obj.__name__, obj.__self__)


def _reduce_built_in(obj: Any) -> Any:
    instance, name = obj.__self__, obj.__name__
    cls = type(instance)
    if instance is None or isinstance(instance, type | types.ModuleType) or _is_built_in(cls):
        return NotImplemented  # a function, or a method of a built-in type: pickle finds it by its name
    for base in cls.__mro__:
        method = vars(base).get(name)
        if type(method) is types.MethodDescriptorType and method.__get__(instance, cls) == obj:
            return method_of_type, (base, name, instance)
    return NotImplemented


@stored
def super_object(cls: type, instance: Any) -> Any:
    """Make a super object."""
    return super(cls) if instance is None else super(cls, instance)


def _reduce_super(obj: Any) -> Any:
    return super_object, (obj.__thisclass__, obj.__self__)


# --- others by parts -----------------------------------------------------------------------------------------------


@stored
def comparison_key(compare: Any, *value: Any) -> Any:
    """Make what cmp_to_key gives, or what that gives for a value."""
    made = functools.cmp_to_key(compare)
    return made(*value) if value else made


def _reduce_comparison_key(obj: Any) -> Any:
    compare, value = fields(obj, 2)
    return comparison_key, (compare,) if value is MISSING else (compare, value)


@stored
def struct_format(form: str) -> struct.Struct:
    """Make a Struct."""
    return struct.Struct(form)


def _reduce_struct(obj: Any) -> Any:
    return struct_format, (obj.format,)


@stored
def system_random() -> Any:
    """Make a SystemRandom."""
    return random.SystemRandom()


def _reduce_random(obj: Any) -> Any:
    if obj is random._inst:
        # the generator behind random.random(): its bound methods are met as functions of the module
        return names.by_name, ("random", "_inst")
    own = {name: value for name, value in vars(obj).items() if name != "gauss_next"}
    if not own:
        return NotImplemented
    return random.Random, (), (obj.getstate(), own), None, None, set_random  # pickle would drop the attributes


@stored
def set_random(obj: random.Random, state: tuple[Any, dict[str, Any]]) -> None:
    """Second phase of a Random with attributes of its own."""
    obj.setstate(state[0])
    vars(obj).update(state[1])


def _reduce_system_random(obj: Any) -> Any:
    more = vars(obj).keys() - {"gauss_next"}
    if more:
        raise refuse(obj, f"it has attributes of its own: {', '.join(sorted(more))}")
    return system_random, ()


# --- others by name ------------------------------------------------------------------------------------------------

_STREAMS = ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")


def _reduce_text_stream(obj: Any) -> Any:
    for name in _STREAMS:
        if getattr(sys, name) is obj:
            return names.by_name, ("sys", name)
    raise refuse_file(obj)


def _reduce_environment(obj: Any) -> Any:
    name = "environ" if obj is os.environ else "environb" if obj is os.environb else ""
    if name:
        return names.by_name, ("os", name)
    raise refuse(obj, "it is not os.environ", "keep a dict")


def _reduce_cached_function(obj: Any) -> Any:
    return _by_name(obj, obj.__module__, obj.__qualname__, "make the cached function at the level of its module")


def _by_name(obj: Any, module: str, path: str, remedy: str) -> Any:
    found = names.reference(obj, module, path)
    if found is not None:
        return found
    raise refuse(obj, f"{module}.{path} does not lead to it", remedy)


@stored
def sentinel(name: str, module: str) -> Any:
    """Make a sentinel that no module holds (3.15); it is itself within what was stored with it."""
    import builtins

    made = builtins.sentinel(name)  # type: ignore[attr-defined]
    made.__module__ = module
    return made


def _reduce_sentinel(obj: Any) -> Any:
    if names.is_importable(obj, obj.__module__, obj.__name__) and names.module_name(obj.__module__):
        return _by_name(obj, obj.__module__, obj.__name__, "")
    return sentinel, (obj.__name__, obj.__module__)


REDUCERS: dict[type, Callable[[Any], Any]] = {
    property: _reduce_property,
    staticmethod: _reduce_static_or_class_method,
    classmethod: _reduce_static_or_class_method,
    functools.cached_property: _reduce_cached_property,
    functools.partialmethod: _reduce_partial_method,
    types.GetSetDescriptorType: _reduce_descriptor,
    types.MemberDescriptorType: _reduce_descriptor,
    types.ClassMethodDescriptorType: _reduce_descriptor,
    types.MethodWrapperType: _reduce_method_wrapper,
    types.BuiltinMethodType: _reduce_built_in,
    type(re.compile("").scanner("").search): _reduce_built_in,  # type: ignore[attr-defined]
    super: _reduce_super,
    type(functools.cmp_to_key(lambda one, other: 0)): _reduce_comparison_key,
    struct.Struct: _reduce_struct,
    random.Random: _reduce_random,
    random.SystemRandom: _reduce_system_random,
    io.TextIOWrapper: _reduce_text_stream,
    type(os.environ): _reduce_environment,
    type(functools.lru_cache(_nothing)): _reduce_cached_function,
}

if sys.version_info >= (3, 15):
    import builtins

    REDUCERS[builtins.sentinel] = _reduce_sentinel  # type: ignore[attr-defined]
