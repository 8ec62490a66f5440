"""Views of other objects: of dicts, of mappings, of buffers (layer 1).

Owns: dict views, mappingproxy and memoryview; joins the tables of `weak`, `matches`, `contexts`,
`descriptors` and `typeparams`.  Rules:

* A view stays a view: it is stored as its object and where in it, never as a copy of what it shows.
* ``vars(cls)`` is stored as the class.
* memoryview: of bytes, bytearray and array; the slice follows from buffer addresses.  A view is made again while
  storing, and what does not come out the same is refused.

Sources: ``Objects/dictobject.c`` (views), ``descrobject.c`` (mappingproxy), ``PyMemoryViewObject`` in
``Include/cpython/memoryobject.h``.
"""

from __future__ import annotations

import array
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from gc import get_referents
from typing import Any

from pstore._frames import contexts, descriptors, matches, typeparams, weak
from pstore._frames.access import words
from pstore._frames.containers import mapping_base
from pstore._frames.standins import refuse
from pstore._frames.stored import stored

__all__ = ["REDUCERS"]

# --- dict views ----------------------------------------------------------------------------------------------------

_VIEWS: dict[type, tuple[bool, str]] = {
    type({}.keys()): (False, "keys"),
    type({}.values()): (False, "values"),
    type({}.items()): (False, "items"),
    type(OrderedDict[Any, Any]().keys()): (True, "keys"),
    type(OrderedDict[Any, Any]().values()): (True, "values"),
    type(OrderedDict[Any, Any]().items()): (True, "items"),
}


@stored
def dict_view(mapping: Any, ordered: bool, kind: str) -> Any:
    """Make the keys, values or items of a dict, or of an OrderedDict in its own way."""
    return getattr(OrderedDict if ordered else mapping_base(mapping), kind)(mapping)


def _reduce_dict_view(obj: Any) -> Any:
    ordered, kind = _VIEWS[type(obj)]
    (mapping,) = get_referents(obj)
    return dict_view, (mapping, ordered, kind)


# --- mappingproxy --------------------------------------------------------------------------------------------------


@stored
def mapping_proxy(mapping: Any) -> Any:
    """Make a read-only view of a mapping."""
    return types.MappingProxyType(mapping)


@stored
def class_namespace(cls: type) -> Any:
    """Give the namespace of a class, as vars() does."""
    return _namespace(cls)


_namespace: Callable[[type], Any] = type.__dict__["__dict__"].__get__
_OF_CLASSES = (
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
)


def _reduce_mapping_proxy(obj: Any) -> Any:
    (mapping,) = get_referents(obj)
    owner = _class_of(mapping) if type(mapping) is dict else None
    return (mapping_proxy, (mapping,)) if owner is None else (class_namespace, (owner,))


def _class_of(space: dict[Any, Any]) -> type | None:
    for value in list(space.values()):
        if type(value) in _OF_CLASSES and _is_space(value.__objclass__, space):
            return value.__objclass__  # type: ignore[no-any-return]
    if "__doc__" in space:  # every class has it, and may have no such descriptor
        return next((cls for cls in _all_classes() if _is_space(cls, space)), None)
    return None


def _is_space(cls: type, space: dict[Any, Any]) -> bool:
    return get_referents(_namespace(cls))[0] is space


def _all_classes() -> Iterator[type]:
    found: set[int] = set()
    waiting: list[type] = [object]
    while waiting:
        cls = waiting.pop()
        if id(cls) not in found:
            found.add(id(cls))
            yield cls
            waiting.extend(type.__subclasses__(cls))


# --- memoryview ----------------------------------------------------------------------------------------------------


@stored
def memory_view(
    exporter: Any, form: tuple[str, int], shape: tuple[int, ...], strides: tuple[int, ...], offset: int, readonly: bool
) -> memoryview:
    """Make a view of a buffer: `form` is the format and size of an item, `offset` where the first one is."""
    whole = memoryview(exporter).toreadonly() if readonly else memoryview(exporter)
    form_, size = form
    if len(shape) != 1:
        count = size
        for each in shape:
            count *= each
        flat = whole.cast("B")[offset : offset + count]
        return flat.cast(form_, shape)  # type: ignore[call-overload,no-any-return]
    count, stride = shape[0], strides[0]
    if form_ != whole.format:
        low = offset if stride > 0 or not count else offset + (count - 1) * stride
        high = low + (abs(stride) * (count - 1) + size if count else 0)
        whole = whole.cast("B")[low:high].cast(form_)  # type: ignore[call-overload]
        offset -= low
    start, step = offset // size, stride // size
    stop = start + count * step
    return whole[start : stop if stop >= 0 else None : step]


@stored
def released_memory_view() -> memoryview:
    """Make a memoryview that has been released."""
    view = memoryview(b"")
    view.release()
    return view


def _reduce_memory_view(obj: memoryview) -> Any:
    try:
        exporter = obj.obj
    except ValueError:
        return released_memory_view, ()
    if type(exporter) not in (bytes, bytearray, array.array):
        raise refuse(obj, f"it shows a {type(exporter).__qualname__}", "keep bytes, a bytearray or an array")
    with memoryview(exporter) as whole:
        offset = _address(obj) - _address(whole)
    parts: Any = (obj.format, obj.itemsize), obj.shape, obj.strides, offset, obj.readonly
    try:
        with memory_view(exporter, *parts) as again:
            alike = _described(again) == _described(obj)
    except (TypeError, ValueError, NotImplementedError):
        alike = False
    if not alike:
        raise refuse(obj, "no slice or cast of its buffer gives this view", "keep the buffer and make the view again")
    return memory_view, (exporter, *parts)


def _address(view: memoryview) -> int:
    buffer, exporter, size = words(id(view) + 56, 3)
    if exporter != id(view.obj) or size != view.nbytes:
        raise refuse(view, "its fields are not where this CPython is known to keep them")
    return buffer


def _described(view: memoryview) -> tuple[Any, ...]:
    where = _address(view) if view.nbytes else 0
    return where, view.format, view.itemsize, view.shape, view.strides, view.readonly


REDUCERS: dict[type, Callable[[Any], Any]] = {
    **dict.fromkeys(_VIEWS, _reduce_dict_view),
    types.MappingProxyType: _reduce_mapping_proxy,
    memoryview: _reduce_memory_view,
    **weak.REDUCERS,
    **matches.REDUCERS,
    **contexts.REDUCERS,
    **descriptors.REDUCERS,
    **typeparams.REDUCERS,
}
