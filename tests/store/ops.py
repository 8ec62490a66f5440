"""What the state machine does to graphs: makes objects of every kind, links them, changes them in every way there is.

Owns the tables `KINDS` (name -> function that makes an object) and `CHANGES` (group -> predicate and functions that
change an object of it).  All of it is deterministic: what is meant is chosen by numbers among the objects of a portrait,
so that the same numbers do the same to two graphs that have the same portrait.

What a program must not do to be stored, it does not do here: see "Limits" in the README.
"""

from __future__ import annotations

import array
import collections
import contextlib
import functools
import heapq
import itertools
import random
import types
import weakref
from collections.abc import Callable
from typing import Any

from tests.store import zoo
from tests.store.portrait import FRAMES, REDUCED, Portrait

__all__ = ["CHANGES", "KINDS", "Hand", "change", "create"]

ATOMS = (None, 0, 1, True, 1.0, -0.0, "text", "", b"bytes", 2**70, 1.5, False, (), ..., 3 + 0j, "\u00e9", int, len, range(3))
KEYS = ("k0", "k1", "k2", "k3", 0, 1, True, 1.0, None, (1, "a"), b"k", 2.5, "k4", frozenset({1}), -1)
ATTRIBUTES = ("a", "b", "c", "d", "e")
BY_IDENTITY = (zoo.Plain, zoo.Other, zoo.Slotted, zoo.Mixed, zoo.Made, zoo.Cached, zoo.Stateful, zoo.Borg)
BY_VALUE = (zoo.Frozen, zoo.FrozenSlots)  # lead nowhere else
SAFE_KEYS = frozenset(
    {*BY_IDENTITY, zoo.Bare, zoo.Bare2, *BY_VALUE, zoo.Valued, zoo.Text, zoo.Number, zoo.Trouble, types.FunctionType, types.GeneratorType}
)


class Hand:
    """One move: which objects there are, the numbers that choose among them, a tag for what is made."""

    def __init__(self, root: dict[str, Any], portrait: Portrait, tag: int) -> None:
        self.root, self.portrait, self.tag = root, portrait, tag
        private = set()  # containers that belong to one object, whose own way of being stored makes new ones
        for obj in portrait.objects:
            if type(obj) is zoo.Listing:
                private |= {id(obj.items), id(obj.pairs)}
            elif isinstance(obj, BaseExceptionGroup):
                private |= {id(obj.exceptions), *map(id, obj.args)}
        self.objects = [obj for obj in portrait.objects if id(obj) not in private]
        self.private = private

    def of(self, *types_: type) -> list[Any]:
        """The objects of some types."""
        return [obj for obj in self.objects if type(obj) in types_]

    def value(self, n: int) -> Any:
        """An atom, or an object that is there."""
        n, atom = divmod(n, 4)
        return self.objects[n % len(self.objects)] if atom else ATOMS[n % len(ATOMS)]

    def key(self, n: int) -> Any:
        """What can be a key and an element of a set, whatever it leads to."""
        n, atom = divmod(n, 3)
        safe = [obj for obj in self.objects if type(obj) in SAFE_KEYS] if atom else []
        if not safe:
            return _own(KEYS[n % len(KEYS)])
        found = safe[n % len(safe)]
        return ("pair", found) if atom == 2 and n % 5 == 0 else found

    def out(self, value: Any) -> None:
        """Show what came of something."""
        self.root["out"] = value


def _own(key: Any) -> Any:
    """An equal object of its own: a graph that was loaded does not hold the constant, the one that was stored may."""
    return type(key)([*key]) if type(key) in (tuple, frozenset) else key


# ---------------------------------------------------------------- making

KINDS: dict[str, Callable[[Hand, int, int], Any]] = {}


def kind(make: Callable[[Hand, int, int], Any]) -> Callable[[Hand, int, int], Any]:
    KINDS[make.__name__.rstrip("_")] = make
    return make


def _instance(cls: type, *names: str) -> Callable[[Hand, int, int], Any]:
    def make(hand: Hand, a: int, b: int) -> Any:
        made = cls.__new__(cls)
        made.tag = hand.tag
        for name, n in zip(names, (a, b), strict=False):
            setattr(made, name, hand.value(n))
        return made

    return make


for _cls in (zoo.Plain, zoo.Other, zoo.Slotted, zoo.Bare, zoo.Mixed, zoo.Made, zoo.Box, zoo.Property, zoo.Borg):
    KINDS[_cls.__name__.lower()] = _instance(_cls, "a", "b")
for _cls in (zoo.Items, zoo.Table, zoo.Group):
    KINDS[_cls.__name__.lower()] = _instance(_cls, "a")


@kind
def bare(hand, a, b):
    return zoo.Plain()


@kind
def order(hand, a, b):
    return zoo.Order(hand.tag, hand.value(a), hand.value(b))


@kind
def slotted_order(hand, a, b):
    return zoo.SlottedOrder(hand.tag, hand.value(a))


@kind
def frozen(hand, a, b):
    inner = hand.of(zoo.Frozen)
    members = [x for x in hand.objects if type(x) in BY_VALUE]
    some = [members[(a + i) % len(members)] for i in range(b % 3)] if members else []
    return zoo.Frozen(
        hand.tag, frozenset(["m", a % 3, *some]), inner[b % len(inner)] if inner and a % 2 else None
    )


@kind
def frozen_slots(hand, a, b):
    members = hand.of(zoo.Frozen)
    return zoo.FrozenSlots(hand.tag, frozenset(members[: a % 3]))


@kind
def valued(hand, a, b):
    made = zoo.Valued(hand.tag)
    made.a = hand.value(a)
    return made


@kind
def account(hand, a, b):
    return zoo.Account(hand.tag)


@kind
def accounts(hand, a, b):
    """A set and a dict of what is hashed by its attributes, which are filled after it is made."""
    some = [zoo.Account(hand.tag + i / 8) for i in range(a % 4)]
    return [set(some), dict.fromkeys(reversed(some), hand.value(b))]


@kind
def stateful(hand, a, b):
    made = zoo.Stateful(hand.tag)
    made.a, made.b = hand.value(a), hand.value(b)
    return made


@kind
def listing(hand, a, b):
    made = zoo.Listing(hand.tag)
    made.append(hand.value(a))
    made["k"] = hand.value(b)
    return made


@kind
def pair(hand, a, b):
    made = zoo.Pair((hand.tag, hand.value(a)))
    made.a = hand.value(b)
    return made


@kind
def text(hand, a, b):
    made = zoo.Text(f"text {hand.tag}")
    made.tag, made.a = hand.tag, hand.value(a)
    return made


@kind
def number(hand, a, b):
    made = zoo.Number(hand.tag)
    made.tag, made.a = hand.tag, hand.value(a)
    return made


@kind
def buffer_subclass(hand, a, b):
    made = zoo.Buffer(b"%d" % hand.tag)
    made.a = hand.value(a)
    return made


@kind
def trouble(hand, a, b):
    made = zoo.Trouble(hand.tag, hand.value(a))
    made.tag, made.held = hand.tag, hand.value(b)
    return made


@kind
def raised(hand, a, b):
    causes = [x for x in hand.objects if isinstance(x, BaseException)]
    return zoo.raised(hand.tag, causes[a % len(causes)] if causes else None)


@kind
def group(hand, a, b):
    return ExceptionGroup("group", [zoo.Trouble(hand.tag), ValueError(a)])


@kind
def enums(hand, a, b):
    return [zoo.Colour.RED, zoo.Rights.READ | zoo.Rights.WRITE, {zoo.Colour.BLUE: hand.value(a)}]


@kind
def point(hand, a, b):
    return zoo.Point(hand.tag, hand.value(a))


@kind
def generic(hand, a, b):
    made = zoo.Box[int]()
    made.tag, made.a = hand.tag, hand.value(a)
    return made


@kind
def cached(hand, a, b):
    made = zoo.Cached(hand.tag)
    if a % 2:
        made.twice  # noqa: B018
    return made


@kind
def watching(hand, a, b):
    made = zoo.Watching()
    made.tag = hand.tag
    made.a = hand.value(a)
    return made


@kind
def local(hand, a, b):
    cls = zoo.local_class(hand.tag, hand.value(a))
    if b % 2:
        return cls
    made = cls()
    made.tag, made.b = hand.tag, hand.value(b)
    return made


@kind
def list_(hand, a, b):
    return [hand.value(a), hand.value(b), hand.value(a + b)]


@kind
def heap(hand, a, b):
    made = [a, b, a + b, 5, 3]
    heapq.heapify(made)
    return made


@kind
def dict_(hand, a, b):
    return {hand.key(a): hand.value(b), hand.key(b): hand.value(a)}


@kind
def set_(hand, a, b):
    return {hand.key(a), hand.key(b), hand.key(a + b)}


@kind
def frozenset_(hand, a, b):
    return frozenset({hand.tag, hand.key(a), hand.key(b), (hand.tag, "in a tuple")})


@kind
def tuple_(hand, a, b):
    return (hand.tag, hand.value(a), (hand.value(b), (hand.value(a), [hand.tag])))


@kind
def same_tuple(hand, a, b):
    made = (hand.tag, hand.value(a))
    return [made, {"k": made}, made]


@kind
def deque(hand, a, b):
    return collections.deque([hand.value(a), hand.value(b)], maxlen=(None, 3, 5)[a % 3])


@kind
def ordered(hand, a, b):
    return collections.OrderedDict([(hand.key(a), hand.value(b)), (hand.key(b), hand.value(a)), ("last", hand.tag)])


@kind
def default(hand, a, b):
    made = collections.defaultdict((list, zoo.factory(hand.value(b)), None)[a % 3])
    made[hand.key(a)] = hand.value(b)
    return made


@kind
def counter(hand, a, b):
    return collections.Counter({hand.key(a): a, "k": b})


@kind
def namespace(hand, a, b):
    return types.SimpleNamespace(tag=hand.tag, a=hand.value(a))


@kind
def chain_map(hand, a, b):
    return collections.ChainMap({"a": hand.value(a)}, {"b": hand.value(b)})


@kind
def bytearray_(hand, a, b):
    return bytearray(b"%d %d" % (hand.tag, a))


@kind
def array_(hand, a, b):
    return array.array("dq"[a % 2], [a, b])


@kind
def rng(hand, a, b):
    return random.Random(a)


@kind
def up_and_look(hand, a, b):
    return list(zoo.counter(hand.tag))


@kind
def lambda_(hand, a, b):
    return zoo.returns(hand.value(a), hand.tag)


@kind
def bound(hand, a, b):
    owners = hand.of(zoo.Other)
    return owners[a % len(owners)].who if owners else zoo.Other().who


@kind
def builtin_method(hand, a, b):
    owners = hand.of(list)
    return (owners[a % len(owners)] if owners else [hand.tag]).append


@kind
def partial(hand, a, b):
    return functools.partial(zoo.returns, hand.value(a), tag=hand.value(b))


@kind
def holder(hand, a, b):
    made = zoo.started(zoo.holder(hand.tag))
    made.send(hand.value(a))
    return made


@kind
def looping(hand, a, b):
    lists = [*hand.of(list, tuple, dict, collections.deque), [hand.value(a), hand.value(b)]]
    return _tried_start(zoo.looping(hand.tag, lists[a % len(lists)]))


@kind
def catching(hand, a, b):
    return zoo.started(zoo.catching(hand.tag, hand.value(a)))


@kind
def delegating(hand, a, b):
    inner = [g for g in hand.of(types.GeneratorType) if g.gi_suspended]
    below = inner[a % len(inner)] if inner else zoo.holder(hand.tag)
    return _tried_start(zoo.delegating(hand.tag, below))


@kind
def fresh(hand, a, b):
    return zoo.catching(hand.tag, hand.value(a))


@kind
def sharing(hand, a, b):
    run, look = zoo.sharing(hand.tag)
    next(run)
    return {"run": run, "look": look}


@kind
def coroutine(hand, a, b):
    made = zoo.waits(hand.tag, hand.value(a))
    made.send(None)
    return made


@kind
def async_generator(hand, a, b):
    made = zoo.streams(hand.tag, hand.value(a))
    with contextlib.suppress(StopIteration):
        made.asend(None).send(None)
    return made


@kind
def iterator(hand, a, b):
    over = [*hand.of(list, dict), [hand.value(a), 1]]  # of a tuple that leads to its iterator, that shows a stand-in
    source = over[a % len(over)]
    other = _own((1, 2, 3))
    made = (iter(source), reversed(source), enumerate(source), zip(source, other), map(zoo.same, source))[b % 5]
    with contextlib.suppress(StopIteration):
        if b % 2:
            next(made)
    return made


@kind
def weak(hand, a, b):
    targets = hand.of(*BY_IDENTITY, zoo.Valued, zoo.Order, types.GeneratorType, types.FunctionType)
    return [weakref.ref(targets[a % len(targets)] if targets else zoo.Plain())]


@kind
def weak_containers(hand, a, b):
    targets = hand.of(*BY_IDENTITY)
    some = [targets[(a + i) % len(targets)] for i in range(3)] if targets else []
    return [
        weakref.WeakSet(some),
        weakref.WeakValueDictionary({str(i): x for i, x in enumerate(some)}),
        weakref.WeakKeyDictionary({x: i for i, x in enumerate(some)}),
    ]


@kind
def big_list(hand, a, b):
    return [*range(300 + 5 * (a % 100)), hand.value(b)]


@kind
def big_dict(hand, a, b):
    return {**{f"k{n}": n for n in range(300 + a % 100)}, "k7": hand.value(b)}


@kind
def list_of_objects(hand, a, b):
    made = []
    for i in range(60):
        one = zoo.Plain()
        one.tag, one.a = hand.tag + i / 100, [i]
        made.append(one)
    made[a % 60].b = hand.value(b)
    return made


@kind
def long_text(hand, a, b):
    return [f"{hand.tag} {a}" * 1000, b"%d" % a * 3000, hand.value(b)]


@kind
def chain(hand, a, b):
    made = zoo.Node(hand.value(b))
    for i in range(30 + a % 20):
        made = zoo.Node(i, made)
    return made


def _tried_start(generator: Any) -> Any:
    with contextlib.suppress(StopIteration, ValueError, RuntimeError):
        next(generator)
    return generator


def create(hand: Hand, name: str, where: int, a: int, b: int) -> None:
    """Make an object and put it somewhere."""
    _put(hand, where, KINDS[name](hand, a, b))


def _put(hand: Hand, where: int, made: Any) -> None:
    takers = [obj for obj in hand.objects if type(obj) in _TAKERS]
    taker = takers[where // 2 % len(takers)] if where % 2 and takers else hand.root
    if taker is hand.root:
        hand.root[f"r{where % 16}"] = made
    else:
        _TAKERS[type(taker)](hand, taker, made)


def _set_attribute(hand: Hand, taker: Any, made: Any) -> None:
    setattr(taker, ATTRIBUTES[hand.tag % 2], made)


_TAKERS: dict[type, Callable[[Hand, Any, Any], None]] = {
    list: lambda hand, taker, made: taker.append(made),
    zoo.Items: lambda hand, taker, made: taker.append(made),
    dict: lambda hand, taker, made: taker.__setitem__(f"k{hand.tag % 5}", made),
    zoo.Table: lambda hand, taker, made: taker.__setitem__(f"k{hand.tag % 5}", made),
    collections.deque: lambda hand, taker, made: taker.appendleft(made),
    collections.OrderedDict: lambda hand, taker, made: taker.__setitem__("k", made),
    set: lambda hand, taker, made: taker.add(made if type(made) in SAFE_KEYS else hand.tag),
    **dict.fromkeys((zoo.Plain, zoo.Slotted, zoo.Bare, zoo.Mixed, zoo.Order, zoo.Stateful, zoo.Property), _set_attribute),
}


# ---------------------------------------------------------------- changing

CHANGES: dict[str, tuple[Callable[[Hand, Any], bool], list[Callable[[Hand, Any, int, int], Any]]]] = {}
"""Group -> whether an object belongs to it, and what can be done to it."""


def _is(*types_: type) -> Callable[[Hand, Any], bool]:
    return lambda hand, obj: type(obj) in types_


def changes(name: str, belongs: Callable[[Hand, Any], bool]) -> Callable[[Any], Any]:
    CHANGES[name] = (belongs, [])

    def add(function: Any) -> Any:
        CHANGES[name][1].append(function)
        return function

    return add


def change(hand: Hand, name: str, which: int, how: int, a: int, b: int) -> None:
    """Change one object of a group, if there is one."""
    belongs, ways = CHANGES[name]
    found = [obj for obj in hand.objects if belongs(hand, obj)]
    if found:
        ways[how % len(ways)](hand, found[which % len(found)], a, b)


# -- lists

on_list = changes("list", _is(list, zoo.Items))


def _place(seq: Any, n: int) -> int:
    return n % len(seq) if len(seq) else 0


@on_list
def list_append(hand, x, a, b):
    x.append(hand.value(a))


@on_list
def list_insert(hand, x, a, b):
    x.insert(_place(x, b), hand.value(a))


@on_list
def list_pop(hand, x, a, b):
    if x:
        hand.out(x.pop(_place(x, a)))


@on_list
def list_reverse(hand, x, a, b):
    x.reverse()


@on_list
def list_sort(hand, x, a, b):
    x.sort(key=lambda item: type(item).__name__, reverse=bool(a % 2))


@on_list
def list_replace(hand, x, a, b):
    if x:
        x[_place(x, b)] = hand.value(a)


@on_list
def list_slice(hand, x, a, b):
    start = _place(x, a)
    x[start : start + b % 4] = [hand.value(b), hand.value(a)]


@on_list
def list_delete_slice(hand, x, a, b):
    del x[_place(x, a) :: 1 + b % 3]


@on_list
def list_clear(hand, x, a, b):
    x.clear()


@on_list
def list_swap(hand, x, a, b):
    if x:
        i, j = _place(x, a), _place(x, b)
        x[i], x[j] = x[j], x[i]


@on_list
def list_extend(hand, x, a, b):
    x.extend((hand.value(a), hand.value(b)))


@on_list
def list_twice(hand, x, a, b):
    if len(x) < 20:
        x *= 2


@on_list
def list_same_value(hand, x, a, b):
    """1, True and 1.0 are equal, and not the same."""
    if x:
        x[0] = (1, True, 1.0)[a % 3]


@on_list
def list_heap(hand, x, a, b):
    if all(type(item) is int for item in x):
        heapq.heappush(x, a)
        hand.out(heapq.heappop(x))


@on_list
def list_moved_to_the_next(hand, x, a, b):
    """From the end of one list to the start of another: all references of the two together stay as they were."""
    others = hand.of(list, zoo.Items)
    at = next(index for index, other in enumerate(others) if other is x)
    other = others[(at + 1 + a % 2) % len(others)]
    if x and other is not x:
        other.insert(0, x.pop())


@on_list
def list_moved_from_the_next(hand, x, a, b):
    others = hand.of(list, zoo.Items)
    other = others[a % len(others)]
    if other and other is not x:
        x.append(other.pop(0))


# -- dicts

on_dict = changes("dict", _is(dict, zoo.Table, collections.OrderedDict, collections.defaultdict))


def _nth_key(hand: Hand, x: dict[Any, Any], n: int) -> Any:
    return next(itertools.islice(x, n % len(x), None))


def _new_key(hand: Hand, x: dict[Any, Any], n: int) -> Any:
    return f"r{n % 16}" if x is hand.root else hand.key(n)


@on_dict
def dict_moved_to_another(hand, x, a, b):
    others = hand.of(dict, zoo.Table)
    other = others[b % len(others)]
    if x and other is not x and x is not hand.root and other is not hand.root:
        key = _nth_key(hand, x, a)
        other[key] = x.pop(key)


@on_dict
def dict_set(hand, x, a, b):
    x[_new_key(hand, x, a)] = hand.value(b)


@on_dict
def dict_replace(hand, x, a, b):
    if x:
        x[_nth_key(hand, x, a)] = hand.value(b)


@on_dict
def dict_delete(hand, x, a, b):
    if x:
        del x[_nth_key(hand, x, a)]


@on_dict
def dict_clear(hand, x, a, b):
    if x is not hand.root or a % 7 == 0:
        x.clear()


@on_dict
def dict_to_the_end(hand, x, a, b):
    """The same keys and values in another order."""
    if x:
        key = _nth_key(hand, x, a)
        x[key] = x.pop(key)


@on_dict
def dict_rename(hand, x, a, b):
    """The same value under another key, in the same place of the order."""
    if x:
        old, new = _nth_key(hand, x, a), _new_key(hand, x, b)
        items = [(new if key is old else key, value) for key, value in x.items() if key is old or key != new]
        x.clear()
        x.update(items)


@on_dict
def dict_swap(hand, x, a, b):
    if x:
        i, j = _nth_key(hand, x, a), _nth_key(hand, x, b)
        x[i], x[j] = x[j], x[i]


@on_dict
def dict_rotate_keys(hand, x, a, b):
    """Every value under the next key."""
    values = list(x.values())
    for key, value in zip(x, values[1:] + values[:1], strict=True):
        x[key] = value


@on_dict
def dict_update(hand, x, a, b):
    x.update({_new_key(hand, x, a): hand.value(b), _new_key(hand, x, b): hand.value(a)})


@on_dict
def dict_setdefault(hand, x, a, b):
    x.setdefault(_new_key(hand, x, a), hand.value(b))


@on_dict
def dict_popitem(hand, x, a, b):
    if x:
        hand.out(list(x.popitem()))


@on_dict
def dict_or(hand, x, a, b):
    x.__ior__({_new_key(hand, x, a): hand.value(b)})


@on_dict
def dict_same_value(hand, x, a, b):
    x[_new_key(hand, x, a)] = (1, True, 1.0)[b % 3]


@on_dict
def dict_same_key(hand, x, a, b):
    """An equal key of another type takes the place of the one before it."""
    new = (1, True, 1.0)[a % 3]
    if new in x and x is not hand.root:
        items = [(new if key == new else key, value) for key, value in x.items()]
        x.clear()
        x.update(items)


on_ordered = changes("ordered", _is(collections.OrderedDict))


@on_ordered
def ordered_move(hand, x, a, b):
    if x:
        x.move_to_end(_nth_key(hand, x, a), last=bool(b % 2))


@on_ordered
def ordered_popitem(hand, x, a, b):
    if x:
        x.popitem(last=bool(b % 2))


on_default = changes("default", _is(collections.defaultdict))


@on_default
def default_missing(hand, x, a, b):
    with contextlib.suppress(KeyError):
        x[hand.key(a)]


@on_default
def default_factory(hand, x, a, b):
    x.default_factory = (None, list, zoo.factory(hand.value(a)))[b % 3]


on_counter = changes("counter", _is(collections.Counter))  # whose values are numbers: it must not hold itself


@on_counter
def counter_count(hand, x, a, b):
    x.subtract({hand.key(a): b}) if a % 2 else x.update({hand.key(a): b})


@on_counter
def counter_reorder(hand, x, a, b):
    if x:
        key = _nth_key(hand, x, a)
        x[key] = x.pop(key)


@on_counter
def counter_delete(hand, x, a, b):
    if x:
        del x[_nth_key(hand, x, a)]


# -- sets

on_set = changes("set", _is(set, zoo.Group))


def _member(hand: Hand, x: set[Any], n: int) -> Any:
    """One of a set, whatever the order that it has them in."""
    order = sorted(x, key=lambda one: hand.portrait._numbers.get(id(one), -1) or -1)
    known = [one for one in order if id(one) in hand.portrait._numbers]
    atoms = sorted((one for one in order if id(one) not in hand.portrait._numbers), key=repr)
    every = known + atoms
    return every[n % len(every)]


@on_set
def set_add(hand, x, a, b):
    x.add(hand.key(a))


@on_set
def set_discard(hand, x, a, b):
    if x:
        x.discard(_member(hand, x, a))


@on_set
def set_toggle(hand, x, a, b):
    x.symmetric_difference_update({hand.key(a), hand.key(b)})


@on_set
def set_update(hand, x, a, b):
    x.update([hand.key(a), hand.key(b)])


@on_set
def set_clear(hand, x, a, b):
    x.clear()


@on_set
def set_exchange(hand, x, a, b):
    """As many as before."""
    if x:
        x.discard(_member(hand, x, a))
        x.add((hand.tag, "new"))


# -- deques

on_deque = changes("deque", _is(collections.deque))
on_deque(lambda hand, x, a, b: x.append(hand.value(a)))
on_deque(lambda hand, x, a, b: x.appendleft(hand.value(a)))
on_deque(lambda hand, x, a, b: x.rotate(1 + a % 2))
on_deque(lambda hand, x, a, b: x and x.pop())
on_deque(lambda hand, x, a, b: x and x.popleft())
on_deque(lambda hand, x, a, b: x and x.__setitem__(_place(x, b), hand.value(a)))
on_deque(lambda hand, x, a, b: x.insert(_place(x, b), hand.value(a)) if len(x) != x.maxlen else None)
on_deque(lambda hand, x, a, b: x.reverse())
on_deque(lambda hand, x, a, b: x.clear())
on_deque(lambda hand, x, a, b: x.extendleft([hand.value(a), hand.value(b)]))
on_deque(lambda hand, x, a, b: x and x.__delitem__(_place(x, b)))

# -- buffers: what no scan of references sees

on_bytes = changes("bytearray", _is(bytearray, zoo.Buffer))
on_bytes(lambda hand, x, a, b: x.append(a % 256))
on_bytes(lambda hand, x, a, b: x and x.__setitem__(_place(x, b), a % 256))
on_bytes(lambda hand, x, a, b: x.reverse())
on_bytes(lambda hand, x, a, b: x.extend(b"%d" % b))
on_bytes(lambda hand, x, a, b: x.clear())
on_bytes(lambda hand, x, a, b: x.__delitem__(slice(0, a % 3)))
on_bytes(lambda hand, x, a, b: memoryview(x)[:1].__setitem__(0, a % 256) if x else None)

on_array = changes("array", _is(array.array))
on_array(lambda hand, x, a, b: x.append(a))
on_array(lambda hand, x, a, b: len(x) and x.__setitem__(_place(x, b), a))
on_array(lambda hand, x, a, b: x.reverse())
on_array(lambda hand, x, a, b: len(x) and x.pop())
on_array(lambda hand, x, a, b: x.extend([a, b]))

on_rng = changes("random", _is(random.Random))
on_rng(lambda hand, x, a, b: hand.out(x.random()))
on_rng(lambda hand, x, a, b: hand.out(x.gauss(0, 1)))
on_rng(lambda hand, x, a, b: x.seed(a))
on_rng(lambda hand, x, a, b: hand.out(x.sample(range(100), 3)))

# -- attributes

DICTED = (
    zoo.Plain,
    zoo.Other,
    zoo.Mixed,
    zoo.Order,
    zoo.Valued,
    zoo.Items,
    zoo.Table,
    zoo.Group,
    zoo.Pair,
    zoo.Text,
    zoo.Number,
    zoo.Buffer,
    zoo.Trouble,
    zoo.Box,
    zoo.Made,
    zoo.Cached,
    zoo.Watching,
    zoo.Borg,
    types.SimpleNamespace,
    functools.partial,
    types.FunctionType,
)
WITHOUT_LOOP = (zoo.Account, zoo.Frozen, zoo.FrozenSlots)
on_attributes = changes("attributes", lambda hand, obj: type(obj) in DICTED or _of_local_class(obj))


def _of_local_class(obj: Any) -> bool:
    return type(obj).__name__ == "Local"


def _set(obj: Any, name: str, value: Any) -> None:
    object.__setattr__(obj, name, value) if type(obj) is zoo.Watching else setattr(obj, name, value)


def _named(obj: Any, n: int) -> str:
    """An attribute that is there, of those that may be changed."""
    names = [name for name in ATTRIBUTES if name in vars(obj)] if type(obj).__dictoffset__ else []
    return names[n % len(names)] if names else ""


@on_attributes
def attribute_set(hand, x, a, b):
    setattr(x, ATTRIBUTES[a % 5], hand.value(b))


@on_attributes
def attribute_set_more(hand, x, a, b):
    for name in ATTRIBUTES[a % 3 :]:
        setattr(x, name, hand.value(b))


@on_attributes
def attribute_none(hand, x, a, b):
    """None under one name, then under another."""
    for name in ATTRIBUTES[:2]:
        if hasattr(x, name) and name in vars(x):
            delattr(x, name)
    setattr(x, ATTRIBUTES[a % 2], None)


@on_attributes
def attribute_delete(hand, x, a, b):
    name = _named(x, a)
    if name:
        delattr(x, name)


@on_attributes
def attribute_rename(hand, x, a, b):
    name, new = _named(x, a), ATTRIBUTES[b % 5]
    if name and new not in vars(x):
        setattr(x, new, getattr(x, name))
        delattr(x, name)


@on_attributes
def attribute_to_the_end(hand, x, a, b):
    name = _named(x, a)
    if name:
        value = getattr(x, name)
        delattr(x, name)
        setattr(x, name, value)


@on_attributes
def attribute_swap(hand, x, a, b):
    one, other = _named(x, a), _named(x, b)
    if one:
        first, second = getattr(x, one), getattr(x, other)
        setattr(x, one, second)
        setattr(x, other, first)


@on_attributes
def attribute_moved_to_another(hand, x, a, b):
    others = hand.of(zoo.Plain, zoo.Other, zoo.Items)
    name = _named(x, a)
    if name and others and others[b % len(others)] is not x:
        setattr(others[b % len(others)], name, getattr(x, name))
        delattr(x, name)


@on_attributes
def attribute_past_setattr(hand, x, a, b):
    vars(x).update({ATTRIBUTES[a % 5]: hand.value(b)})


@on_attributes
def attribute_by_vars(hand, x, a, b):
    vars(x)[ATTRIBUTES[a % 5]] = hand.value(b)


@on_attributes
def attributes_replaced(hand, x, a, b):
    """Another dict with the same in it, turned round."""
    if type(x) not in (types.SimpleNamespace, functools.partial, zoo.Valued):
        x.__dict__ = dict(reversed(vars(x).items()))


@on_attributes
def attribute_same_value(hand, x, a, b):
    setattr(x, "a", (1, True, 1.0)[a % 3])


@on_attributes
def attribute_many(hand, x, a, b):
    """More than fit into what instances of a class share."""
    for i in range(30):
        setattr(x, f"n{i}", i + a)


on_slots = changes("slots", _is(zoo.Slotted, zoo.Bare, zoo.Bare2, zoo.Mixed))
on_slots(lambda hand, x, a, b: setattr(x, "ab"[a % 2], hand.value(b)))


@on_slots
def slot_delete(hand, x, a, b):
    if hasattr(x, "ab"[a % 2]):
        delattr(x, "ab"[a % 2])


@on_slots
def slot_rename(hand, x, a, b):
    one, other = ("a", "b") if a % 2 else ("b", "a")
    if hasattr(x, one):
        setattr(x, other, getattr(x, one))
        delattr(x, one)


on_state = changes("state", _is(zoo.Stateful, zoo.Order, zoo.SlottedOrder, zoo.Property))
on_state(lambda hand, x, a, b: setattr(x, "a", hand.value(b)))


@on_state
def state_swap(hand, x, a, b):
    if type(x) in (zoo.Stateful, zoo.Order):
        x.a, x.b = x.b, x.a


on_listing = changes("listing", _is(zoo.Listing))
on_listing(lambda hand, x, a, b: x.items.append(hand.value(a)))
on_listing(lambda hand, x, a, b: x.pairs.__setitem__(hand.key(a), hand.value(b)))
on_listing(lambda hand, x, a, b: x.items and x.items.pop())

on_account = changes("account", _is(zoo.Account))
on_account(lambda hand, x, a, b: setattr(x, "lines", (a, b)))
on_account(lambda hand, x, a, b: setattr(x, "c", a))

on_class = changes("class", _is(zoo.Plain, zoo.Other, zoo.Bare, zoo.Bare2))


@on_class
def class_changed(hand, x, a, b):
    swap = {zoo.Plain: zoo.Other, zoo.Other: zoo.Plain, zoo.Bare: zoo.Bare2, zoo.Bare2: zoo.Bare}
    x.__class__ = swap[type(x)]


on_local_class = changes("local class", lambda hand, obj: isinstance(obj, type))
on_local_class(lambda hand, x, a, b: setattr(x, "a", hand.value(b)))
on_local_class(lambda hand, x, a, b: setattr(x, "kind", a))

on_cached = changes("cached", _is(zoo.Cached))
on_cached(lambda hand, x, a, b: x.twice)
on_cached(lambda hand, x, a, b: x.__dict__.pop("twice", None))
on_cached(lambda hand, x, a, b: x.twice.append(a))

# -- functions, frames, iterators

on_function = changes("function", _is(types.FunctionType))


@on_function
def function_defaults(hand, x, a, b):
    x.__defaults__ = (hand.value(a),)


@on_function
def function_keyword_defaults(hand, x, a, b):
    if x.__kwdefaults__ is not None:
        x.__kwdefaults__["scale"] = b
    else:
        x.__kwdefaults__ = {"scale": a}


@on_function
def function_named(hand, x, a, b):
    x.__name__ = f"named{a}"


@on_function
def function_called(hand, x, a, b):
    _shown(hand, x)


@on_function
def cell_set(hand, x, a, b):
    if x.__closure__:
        x.__closure__[a % len(x.__closure__)].cell_contents = hand.value(b)


@on_function
def cell_emptied(hand, x, a, b):
    if x.__closure__ and a % 3 == 0:
        del x.__closure__[-1].cell_contents


on_frame = changes("frame", _is(*FRAMES))


def _shown(hand: Hand, run: Callable[..., Any], *arguments: Any) -> None:
    """Show what a call gives; of an exception, its type."""
    try:
        hand.out(run(*arguments))
    except StopIteration as stop:
        hand.out(["stopped", stop.value])
    except Exception as error:
        hand.out(type(error).__name__)


@on_frame
def frame_next(hand, x, a, b):
    if isinstance(x, types.AsyncGeneratorType):
        _shown(hand, x.asend(None).send, None)
    else:
        _shown(hand, x.send, None)


@on_frame
def frame_send(hand, x, a, b):
    if isinstance(x, types.AsyncGeneratorType):
        _shown(hand, x.asend(hand.value(a)).send, None)
    else:
        _shown(hand, x.send, hand.value(a))


@on_frame
def frame_throw(hand, x, a, b):
    if not isinstance(x, types.AsyncGeneratorType):
        _shown(hand, x.throw, ValueError(hand.tag))


@on_frame
def frame_close(hand, x, a, b):
    if not isinstance(x, types.AsyncGeneratorType) and a % 5 == 0:
        _shown(hand, x.close)


on_iterator = changes("iterator", _is(*REDUCED))
on_iterator(lambda hand, x, a, b: _shown(hand, next, x))

# -- the rest

on_exception = changes("exception", lambda hand, obj: isinstance(obj, BaseException))


@on_exception
def exception_cause(hand, x, a, b):
    others = [e for e in hand.objects if isinstance(e, BaseException)]
    x.__cause__ = others[a % len(others)]


@on_exception
def exception_context(hand, x, a, b):
    others = [e for e in hand.objects if isinstance(e, BaseException)]
    x.__context__ = others[a % len(others)]
    x.__suppress_context__ = bool(b % 2)


@on_exception
def exception_note(hand, x, a, b):
    x.add_note(f"note {a}")


@on_exception
def exception_args(hand, x, a, b):
    if type(x) is zoo.Trouble:
        x.args = ([hand.value(a)], hand.tag)  # not itself directly: what pickle is to make it from


@on_exception
def exception_traceback(hand, x, a, b):
    x.__traceback__ = None


on_partial = changes("partial", _is(functools.partial))
on_partial(lambda hand, x, a, b: x.__setstate__((zoo.factory, (hand.value(a),), {"tag": hand.value(b)}, None)))

on_weak = changes("weak", lambda hand, obj: isinstance(obj, (weakref.WeakSet, weakref.WeakValueDictionary)))


@on_weak
def weak_add(hand, x, a, b):
    targets = hand.of(*BY_IDENTITY)
    if targets:
        one = targets[a % len(targets)]
        x.add(one) if isinstance(x, weakref.WeakSet) else x.__setitem__("new", one)


@on_weak
def weak_remove(hand, x, a, b):
    targets = hand.of(*BY_IDENTITY)
    if targets:
        one = targets[a % len(targets)]
        x.discard(one) if isinstance(x, weakref.WeakSet) else x.pop("new", None)
