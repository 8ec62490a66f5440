"""Values that are made anew by every process: declared, never stored, never silently dropped (layer 2).

Owns: :func:`ephemeral`, for one value, and :class:`Ephemeral`, for an attribute of a class.

A lock, a socket, a client, a cache cannot outlive the process, but the call that makes it can.  What is declared with
:func:`ephemeral` is stored as that call; every load makes the call again, once for each store, and puts the result
wherever the graph led to the value.  That happens before any object of the graph has its contents, so the arguments
have to be plain data; others are refused.  What is made from objects of the graph is for :class:`Ephemeral`.

Both run code of the user's when a store is loaded (or when the attribute is first used): that is what was asked for.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

from pstore._frames.stored import stored

__all__ = ["Ephemeral", "Recipe", "ephemeral", "recipes", "remade"]

T = TypeVar("T")


class Recipe:
    """How a value is made: ``function(*arguments, **keywords)``."""

    __slots__ = ("arguments", "function", "holder", "keywords")

    def __init__(self, function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self.function, self.arguments, self.keywords = function, arguments, keywords
        self.holder: Any = None

    def reduced(self) -> tuple[Any, tuple[Any, ...]]:
        """The reduce value that stands for what it makes."""
        return remade, (self.function, self.arguments, self.keywords)


recipes: dict[int, Recipe] = {}
"""Id of a value -> what was declared of it."""


def ephemeral(factory: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Make a value by calling ``factory(*args, **kwargs)``, and declare that every process makes it anew.

    The store keeps the call in its place: `factory`, a function or class of a module, and the arguments, plain data.

    Raises:
        TypeError: the value is one that everybody has, such as None, a small number or a class: it cannot be told
            from what was not declared.
    """
    return _declare(factory(*args, **kwargs), Recipe(factory, args, kwargs))  # type: ignore[no-any-return]


def _declare(value: Any, recipe: Recipe) -> Any:
    """Enter a value and what made it; for as long as the value lives, where that can be known."""
    if value is None or isinstance(value, (bool, int, float, str, bytes, type)) or (type(value) is tuple and not value):
        raise TypeError(f"a factory for an ephemeral value made {value!r}, which cannot be told from other {value!r}")
    key = id(value)
    try:
        recipe.holder = weakref.ref(value, lambda _: recipes.pop(key, None))
    except TypeError:
        recipe.holder = value  # it stays
    recipes[key] = recipe
    return value


@stored
def remade(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """A value, made again."""
    return _declare(function(*arguments, **keywords), Recipe(function, arguments, keywords))


class Ephemeral(Generic[T]):
    """An attribute that is no part of its instance: made when it is first used, in every process.

    ::

        class Shop:
            connection = pstore.Ephemeral(connect)      # connect(shop), when shop.connection is first asked for

    Args:
        factory: called with the instance.

    The value is kept as long as the instance lives; instances have to allow weak references.
    """

    def __init__(self, factory: Callable[[Any], T]) -> None:
        self.factory = factory
        self._made: dict[int, tuple[Any, T]] = {}
        self.__doc__ = factory.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Ephemeral[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        """The value for an instance."""
        if instance is None:
            return self
        key = id(instance)
        found = self._made.get(key)
        if found is None:
            holder = weakref.ref(instance, lambda _: self._made.pop(key, None))
            found = self._made[key] = (holder, self.factory(instance))
        return found[1]

    def __set__(self, instance: Any, value: T) -> None:
        """Have another value for an instance, in this process."""
        key = id(instance)
        self._made[key] = (weakref.ref(instance, lambda _: self._made.pop(key, None)), value)
