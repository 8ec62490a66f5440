"""The functions that stored bytes call, as a load under a policy calls them (layer 1).

Owns: for each name of `stored` the decision what it becomes when there is an allow-list or when there are renames:

* :data:`PLAIN`: itself.  It combines what it is given and reaches for nothing else.
* a method of :class:`Gates`: itself behind a check, and with present names for stored ones.  Here are those that find
  something by name, and those that a made-up argument would turn into a way out: an attribute whose name is given, a
  second phase that could be aimed at a class, function or module which was there before the load.
* neither: refused.  A function that is new in `stored` is, until it has been thought about here.

Where there is no policy nothing of this is called, so that it costs nothing.
"""

from __future__ import annotations

import array
import collections
import contextvars
import itertools
import random
import re
import sys
import types
from typing import Any

from pstore._frames import (
    classes,
    containers,
    contexts,
    descriptors,
    exceptions,
    functions,
    iterators,
    making,
    safe,
    sharing,
    stored,
    subclasses,
    typeparams,
    views,
)
from pstore._frames.policy import BY_VALUE, Policy
from pstore.errors import FormatError, NotAllowed

__all__ = ["PLAIN", "Gates", "Typed", "is_shared"]

PLAIN = safe.words("""
        accumulate_iterator anext_default batched_iterator bound_method cached_property callable_iterator
    chain_iterator     class_method combinations_iterator combinations_with_replacement_iterator comparison_key
    compress_iterator     container_subclass context_variable count_iterator cycle_after cycle_first_pass
    cycle_iterator dead_finalizer     dead_method dead_proxy dead_reference decimal_variable deque_iterator
    deque_reverse_iterator driving     dropwhile_iterator empty_cell empty_context empty_deque empty_property
    enumerate_iterator exactly exception_by fill fill_async     filter_iterator filterfalse_iterator finished_frame
    frozenset_subclass groupby_iterator islice_iterator     item_iterator limited_dict_iterator list_iterator
    list_reverse_iterator made_module map_iterator mapping_proxy     memory_iterator memory_view pairwise_iterator
    partial_method permutations_iterator product_iterator range_iterator     released_memory_view repeat_iterator
    remade reversed_iterator same sentinel set_iterator spent_awaitable     spent_callable_iterator spent_combinations
    spent_group spent_item_iterator spent_itertool spent_list_iterator     spent_list_reverse_iterator
    spent_odict_iterator spent_permutations spent_product spent_reversed_iterator     starmap_iterator static_method
    struct_format super_object system_random takewhile_iterator tee_source     template_iterator traceback
    weak_key_dictionary weak_method weak_proxy weak_reference weak_set     weak_value_dictionary zip_iterator
    zip_longest_iterator
""")

# name -> the types that its first argument has to have
_FIRST: dict[str, tuple[type, ...]] = {
    "aclose": (types.AsyncGeneratorType,),
    "asend": (types.AsyncGeneratorType,),
    "athrow": (types.AsyncGeneratorType,),
    "coroutine_await": (types.CoroutineType,),
    "fill_bytearray": (bytearray,),
    "fill_counter": (collections.Counter,),
    "fill_defaultdict": (collections.defaultdict,),
    "fill_deque": (collections.deque,),
    "fill_ordered": (collections.OrderedDict,),
    "frame_locals": (types.FrameType,),
    "frame_object": (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType),
    "groupby_group": (itertools.groupby,),
    "pattern_match": (re.Pattern,),
    "pattern_scanner": (re.Pattern,),
    "set_cell": (types.CellType,),
    "set_exception": (BaseException,),
    "set_random": (random.Random,),
    "set_exception_by": (BaseException,),
    "tee_iterator": (sharing._tee,),
}
_KINDS = ("keys", "values", "items")
_SEQUENCES = (tuple, str, bytes, bytearray, array.array)
_OF_FUNCTION = (
    "__name__",
    "__qualname__",
    "__module__",
    "__doc__",
    "__annotate__",
    "__annotations__",
    "__type_params__",
)
_SHARED = (
    type, types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.ModuleType, property, staticmethod,
    classmethod,
)  # fmt: skip


def is_shared(obj: Any) -> bool:
    """Whether an object is code, which the process has and the bytes only name: they must not change it."""
    return isinstance(obj, _SHARED)


def _original(name: str) -> Any:
    return vars(stored)[name]


class Typed:
    """A function that checks the type of its first argument.  Nothing can be set on it."""

    __slots__ = ("_function", "_types")
    _function: Any
    _types: tuple[type, ...]

    def __init__(self, function: Any, kinds: tuple[type, ...]) -> None:
        object.__setattr__(self, "_function", function)
        object.__setattr__(self, "_types", kinds)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)

    def __call__(self, first: Any, *rest: Any) -> Any:
        if not isinstance(first, self._types):
            raise _damaged(self._function.__name__, f"a {type(first).__name__}")
        return self._function(first, *rest)


def _damaged(function: str, what: str) -> FormatError:
    return FormatError(f"damaged, or made up: {function} is given {what}")


class Gates:
    """The stored functions of one load under a policy.

    What it made (classes, functions, modules) may still be changed in their second phase; what it found may not.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._made: dict[int, Any] = {}

    def of(self, name: str) -> Any:
        """What the bytes get for the name of a stored function."""
        if not self._policy.restricted:
            gate = getattr(self, f"g_{name}", None)
            return gate if name in _RENAMING else _original(name)
        if name in PLAIN:
            return types.MethodType(_call, _original(name))  # nothing can be set on a method
        kinds = _FIRST.get(name)
        gate = Typed(_original(name), kinds) if kinds is not None else getattr(self, f"g_{name}", None)
        if gate is None:
            raise NotAllowed(f"{stored.__name__}:{name}", "it is not known to be harmless", "")
        return gate

    def _keep(self, made: Any) -> Any:
        self._made[id(made)] = made
        return made

    def _own(self, obj: Any, function: str) -> None:
        if self._policy.restricted and self._made.get(id(obj)) is not obj:
            raise _damaged(function, f"a {type(obj).__name__} that is not the bytes' own")

    # ------------------------------------------------------------ by name

    def g_by_name(self, module: str, qualname: str) -> Any:
        return self._policy.find(module, qualname)

    def g_find_module(self, name: str) -> Any:
        return self._policy.module(name)

    def g_namespace_of(self, name: str) -> Any:
        self._policy.check_by_value(f"the namespace of {name}")
        return vars(self._namespaced(name))

    def g_spec_of(self, name: str) -> Any:
        self._policy.check_by_value(f"the spec of {name}")
        return self._namespaced(name).__spec__

    def _namespaced(self, name: str) -> Any:
        return sys.modules[name] if name == "builtins" else self._policy.module(name)

    def g_named_type(self, name: str) -> Any:
        found = classes.named_type(name)
        if not safe.named_type(found) and not self._policy.by_value:
            raise NotAllowed(f"types:{name}", "with it code could be made", BY_VALUE)
        return found

    def g_type_parameter(self, kind: str, name: str, module: str, constraints: Any, options: Any) -> Any:
        if kind not in ("TypeVar", "ParamSpec", "TypeVarTuple"):
            raise _damaged("type_parameter", f"the kind {kind!r}")
        return typeparams.type_parameter(kind, name, self._policy.renamed_module(module), constraints, options)

    # ------------------------------------------------------------ code, frames

    def _key(self, key: bytes, encoded: bytes) -> tuple[bytes, bytes]:
        digest, encoded = self._policy.code(key[: making.DIGEST], encoded)
        return digest + key[making.DIGEST :], encoded

    def g_frame(self, key: bytes, encoded: bytes, state: Any, *own_names: Any) -> Any:
        return making.frame(*self._key(key, encoded), state, *own_names)

    def g_frame_shell(self, key: bytes, encoded: bytes, *own_names: Any) -> Any:
        return making.frame_shell(*self._key(key, encoded), *own_names)

    def g_created(self, key: bytes, encoded: bytes, state: Any, *own_names: Any) -> Any:
        return making.created(*self._key(key, encoded), state, *own_names)

    def g_async_frame(self, key: bytes, encoded: bytes, *own_names: Any) -> Any:
        return making.async_frame(*self._key(key, encoded), *own_names)

    def _function(self, function: Any) -> Any:
        self._own(function, "a frame")  # code that has a name is found by it
        return function

    def g_frame_of_function(self, key: bytes, function: Any, *rest: Any) -> Any:
        return making.frame_of_function(key, self._function(function), *rest)

    def g_frame_shell_of_function(self, key: bytes, function: Any, *rest: Any) -> Any:
        return making.frame_shell_of_function(key, self._function(function), *rest)

    def g_created_of_function(self, key: bytes, function: Any, *rest: Any) -> Any:
        return making.created_of_function(key, self._function(function), *rest)

    def g_async_frame_of_function(self, key: bytes, function: Any, *rest: Any) -> Any:
        return making.async_frame_of_function(key, self._function(function), *rest)

    def g_code_object(self, digest: bytes, encoded: bytes) -> Any:
        if self._policy.restricted:
            self._policy.check_by_value("a code object")  # its type makes any code
        return functions.code_object(*self._policy.code(digest, encoded))

    def g_function_by_value(self, digest: bytes, encoded: bytes, namespace: Any, closure: Any) -> Any:
        if namespace is not None:
            if self._policy.restricted:
                self._policy.check_by_value("a function that brings its globals")
            if isinstance(namespace, str) and namespace != "__main__":
                namespace = self._policy.module(namespace)
        digest, encoded = self._policy.code(digest, encoded)
        return self._keep(functions.function_by_value(digest, encoded, namespace, closure))

    def g_set_function(self, function: Any, state: Any) -> None:
        self._own(function, "set_function")
        _, _, other, _, needed = state
        if set(other or ()) - set(_OF_FUNCTION):
            raise _damaged("set_function", "an attribute that is none of a function")
        if needed:
            self._policy.check_by_value("globals of the main module")
        functions.set_function(function, state)

    # ------------------------------------------------------------ classes, modules

    def g_class_by_value(self, metaclass: Any, name: str, qualname: str, module: str, bases: Any, slots: Any) -> Any:
        module, qualname = self._policy.renamed(module, qualname)
        self._policy.check(module, qualname)
        return self._keep(classes.class_by_value(metaclass, name, qualname, module, bases, slots))

    def g_set_class(self, cls: Any, state: Any) -> None:
        self._own(cls, "set_class")
        classes.set_class(cls, state)

    def g_enum_by_value(self, bases: Any, name: str, qualname: str, module: str, members: Any, boundary: Any) -> Any:
        module, qualname = self._policy.renamed(module, qualname)
        self._policy.check(module, qualname)
        return self._keep(classes.enum_by_value(bases, name, qualname, module, members, boundary))

    def g_set_enum(self, cls: Any, state: Any) -> None:
        self._own(cls, "set_enum")
        classes.set_enum(cls, state)

    def g_set_module(self, module: Any, state: Any) -> None:
        if sys.modules.get(getattr(module, "__name__", "")) is module or type(module) is not types.ModuleType:
            raise _damaged("set_module", "a module that was imported")
        functions.set_module(module, state)

    def g_class_namespace(self, cls: Any) -> Any:
        if self._made.get(id(cls)) is not cls:
            self._policy.check_by_value("the namespace of a class")  # which may hold what the class does not own
        return views.class_namespace(cls)

    def g_set_cell_to_namespace(self, cell: Any, owner: Any) -> None:
        if not isinstance(owner[0], type) or not isinstance(cell, types.CellType):
            raise _damaged("set_cell_to_namespace", "no class")
        if self._made.get(id(owner[0])) is not owner[0] and not self._policy.owns(owner[0]):
            raise NotAllowed(f"{owner[0].__module__}:{owner[0].__qualname__}", "it is not on the allow-list", "")
        functions.set_cell_to_namespace(cell, owner)

    def g_set_property(self, made: Any, state: Any) -> None:
        if type(made) is not property or made.fget is not None:
            raise _damaged("set_property", "no new property")
        descriptors.set_property(made, state)

    def g_set_attributes(self, made: Any, state: Any) -> None:
        if is_shared(made):
            raise _damaged("set_attributes", f"a {type(made).__name__}")
        descriptors.set_attributes(made, state)

    def g_set_subclass_state(self, obj: Any, state: Any) -> None:
        if is_shared(obj):
            raise _damaged("set_subclass_state", f"a {type(obj).__name__}")
        subclasses.set_subclass_state(obj, state)

    def g_fill_container_subclass(self, obj: Any, state: Any) -> None:
        if is_shared(obj):
            raise _damaged("fill_container_subclass", f"a {type(obj).__name__}")
        subclasses.fill_container_subclass(obj, state)

    def g_fill_weak_set(self, made: Any, items: Any) -> None:
        if is_shared(made):
            raise _damaged("fill_weak_set", f"a {type(made).__name__}")
        _original("fill_weak_set")(made, items)

    # ------------------------------------------------------------ attributes whose name is given

    def g_class_attribute(self, cls: Any, name: str) -> Any:
        found = vars(cls).get(name) if isinstance(cls, type) and cls not in _OF_CODE else None
        if not isinstance(found, _DESCRIPTORS):
            raise _damaged("class_attribute", f"{name!r}")
        return found

    def g_instance_attribute(self, name: str) -> Any:
        if name not in ("__dict__", "__weakref__"):
            raise _damaged("instance_attribute", f"{name!r}")
        return descriptors.instance_attribute(name)

    def g_method_of_type(self, cls: Any, name: str, instance: Any) -> Any:
        if not isinstance(cls, type) or is_shared(instance) or not safe.method(cls, name):
            raise NotAllowed(f"the method {name!r} of {cls!r}", "it could lead beyond the list", "")
        return descriptors.method_of_type(cls, name, instance)

    def g_dict_view(self, mapping: Any, ordered: bool, kind: str) -> Any:
        return views.dict_view(mapping, ordered, _kind(kind))

    def g_dict_iterator(self, mapping: Any, kind: str, *rest: Any) -> Any:
        return containers.dict_iterator(mapping, _kind(kind), *rest)

    def g_spent_dict_iterator(self, kind: str, backwards: bool) -> Any:
        return containers.spent_dict_iterator(_kind(kind), backwards)

    def g_odict_iterator(self, container: Any, kind: str, *rest: Any) -> Any:
        return containers.odict_iterator(container, _kind(kind), *rest)

    def g_sequence_iterator(self, base: Any, sequence: Any, index: int) -> Any:
        if base not in _SEQUENCES:
            raise _damaged("sequence_iterator", f"{base!r}")
        return iterators.sequence_iterator(base, sequence, index)

    def g_spent_sequence_iterator(self, base: Any) -> Any:
        if base not in _SEQUENCES:
            raise _damaged("spent_sequence_iterator", f"{base!r}")
        return iterators.spent_sequence_iterator(base)

    # ------------------------------------------------------------ calls

    def g_exception(self, cls: Any, args: Any) -> Any:
        if not isinstance(cls, type) or not issubclass(cls, BaseException):
            raise _damaged("exception", f"{cls!r}")
        return exceptions.exception(cls, args)

    def g_fill_context(self, context: Any, items: Any) -> None:
        if type(context) is not contextvars.Context or any(type(key) is not contextvars.ContextVar for key, _ in items):
            raise _damaged("fill_context", "no context variable")
        contexts.fill_context(context, items)

    def g_context_token(self, context: Any, variable: Any, used: bool, *old: Any) -> Any:
        if type(variable) is not contextvars.ContextVar or not (used or type(context) is contextvars.Context):
            raise _damaged("context_token", "no context variable")
        return contexts.context_token(context, variable, used, *old)

    # ------------------------------------------------------------ what pickle itself stores by getattr

    def getattr(self, obj: Any, name: Any) -> Any:
        """Stands in for the built-in function."""
        if not safe.attribute(obj, name):
            kind = obj.__name__ if isinstance(obj, type | types.ModuleType) else f"a {type(obj).__name__}"
            raise NotAllowed(f"the attribute {name!r} of {kind}", "it could lead beyond the list", "")
        return getattr(obj, name)


def _kind(kind: Any) -> str:
    if kind not in _KINDS:
        raise _damaged("an iterator", f"the kind {kind!r}")
    return str(kind)


def _call(function: Any, *args: Any) -> Any:
    return function(*args)


_OF_CODE = (type, types.FunctionType, types.CodeType, types.FrameType, types.ModuleType)
_DESCRIPTORS = (types.GetSetDescriptorType, types.MemberDescriptorType, types.ClassMethodDescriptorType)

# Where names and code are looked up: with renames alone these are called instead of the functions themselves.
_RENAMING = safe.words("""
    by_name find_module type_parameter frame frame_shell created async_frame code_object function_by_value
    class_by_value enum_by_value
""")
