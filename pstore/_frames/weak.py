"""Weak references and the containers made of them (layer 1).

Owns: the policy for them.  Whether something else in a graph holds what a weak reference points to cannot be known
before all of it is stored, so the target always travels along; after loading the reference is weak again, and dead if
nothing else that was loaded holds the target (its callback is called then, as at any death).  Dead stays dead.

Refused: proxies, which cannot be asked for their target without running its code, and live ``weakref.finalize``
objects, because loading could run them.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable
from typing import Any

from pstore._frames.access import object_at, words
from pstore._frames.standins import refuse
from pstore._frames.stored import stored

__all__ = ["REDUCERS"]


@stored
def weak_reference(target: Any, callback: Any) -> Any:
    """Make a weak reference."""
    return weakref.ref(target, callback)


class _Short:
    """Something that goes at once."""

    __slots__ = ("__weakref__",)

    def method(self) -> None:
        """Be a method."""


@stored
def dead_reference() -> Any:
    """Make a weak reference whose target is gone."""
    return weakref.ref(_Short())


def _reduce_reference(obj: Any) -> Any:
    target = obj()
    return (dead_reference, ()) if target is None else (weak_reference, (target, obj.__callback__))


@stored
def weak_method(function: Any, instance: Any, callback: Any) -> Any:
    """Make a weak reference to a bound method."""
    return weakref.WeakMethod(types.MethodType(function, instance), callback)


@stored
def dead_method() -> Any:
    """Make a weak reference to a method of something that is gone."""
    return weakref.WeakMethod(_Short().method)


def _reduce_method(obj: Any) -> Any:
    method = obj()
    if method is None:
        return dead_method, ()
    inner = obj.__callback__  # WeakMethod's own, a closure over that of the user
    cells = dict(zip(inner.__code__.co_freevars, inner.__closure__, strict=True))
    return weak_method, (method.__func__, method.__self__, cells["callback"].cell_contents)


# --- containers ----------------------------------------------------------------------------------------------------

_OWN = frozenset({"data", "_remove", "_pending_removals", "_iterating", "_dirty_len"})


def _check(obj: Any) -> None:
    more = vars(obj).keys() - _OWN
    if more:
        raise refuse(obj, f"it has attributes of its own: {', '.join(sorted(more))}")


@stored
def weak_value_dictionary() -> Any:
    """Make an empty WeakValueDictionary."""
    return weakref.WeakValueDictionary()


@stored
def weak_key_dictionary() -> Any:
    """Make an empty WeakKeyDictionary."""
    return weakref.WeakKeyDictionary()


@stored
def weak_set() -> Any:
    """Make an empty WeakSet."""
    return weakref.WeakSet()


@stored
def fill_weak_set(made: Any, items: list[Any]) -> None:
    """Second phase of a WeakSet."""
    for item in items:
        made.add(item)


def _reduce_value_dictionary(obj: Any) -> Any:
    _check(obj)
    pairs = [(key, reference()) for key, reference in list(obj.data.items())]
    return weak_value_dictionary, (), None, None, iter([pair for pair in pairs if pair[1] is not None])


def _reduce_key_dictionary(obj: Any) -> Any:
    _check(obj)
    pairs = [(reference(), value) for reference, value in list(obj.data.items())]
    return weak_key_dictionary, (), None, None, iter([pair for pair in pairs if pair[0] is not None])


def _reduce_set(obj: Any) -> Any:
    _check(obj)
    items = [item for reference in list(obj.data) if (item := reference()) is not None]
    return weak_set, (), items, None, None, fill_weak_set


# --- proxies -------------------------------------------------------------------------------------------------------

# Include/cpython/weakrefobject.h: wr_object, the first field of PyWeakReference; wr_callback is the second.
_TARGET = 16
_NONE = id(None)


def _reduce_proxy(obj: Any) -> Any:
    """A proxy is asked nothing, since it would hand the question on: its target is read from its field."""
    address, callback = words(id(obj) + _TARGET, 2)
    if address == _NONE:
        return dead_proxy, (type(obj) is weakref.CallableProxyType,)
    target = object_at(address)
    if not any(known is obj for known in weakref.getweakrefs(target)):
        raise refuse(obj, "its target is not where CPython keeps it")
    return weak_proxy, (target, object_at(callback) if callback else None)


@stored
def weak_proxy(target: Any, callback: Any) -> Any:
    """Make a weak proxy."""
    return weakref.proxy(target, callback)


@stored
def dead_proxy(callable_one: bool) -> Any:
    """Make a weak proxy whose target is gone."""
    return weakref.proxy(_nothing_at_all() if callable_one else _Short())


def _nothing_at_all() -> Any:
    return lambda: None


# --- refused -------------------------------------------------------------------------------------------------------


@stored
def dead_finalizer() -> Any:
    """Make a weakref.finalize that has been called or detached."""
    made = weakref.finalize(_Short, _nothing)
    made.detach()
    return made


def _nothing() -> None:
    pass


def _reduce_finalizer(obj: Any) -> Any:
    if obj.alive:
        raise refuse(obj, "loading could run it", "use a context manager, or make it again after loading")
    return dead_finalizer, ()


REDUCERS: dict[type, Callable[[Any], Any]] = {
    weakref.ReferenceType: _reduce_reference,
    weakref.WeakMethod: _reduce_method,
    weakref.WeakValueDictionary: _reduce_value_dictionary,
    weakref.WeakKeyDictionary: _reduce_key_dictionary,
    weakref.WeakSet: _reduce_set,
    weakref.ProxyType: _reduce_proxy,
    weakref.CallableProxyType: _reduce_proxy,
    weakref.finalize: _reduce_finalizer,
}
