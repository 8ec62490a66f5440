"""The corpus of what must be transparent: kinds of objects, and every way to change each.

Owns the table `CASES`.  A case is a program that makes a graph, and changes, each of them a program that changes it, both
as source text: its names are the entries of the graph.  Each change is made to a graph of its own; it must be possible
to make it twice.  What functions and classes they use is in `zoo`, so that the code of stored functions is found there.

``python -m tests.store.cases check FOLDER`` is the fresh process of `test_transparent`.
"""

from __future__ import annotations

import array
import collections
import copy
import datetime
import decimal
import functools
import gc
import heapq
import itertools
import json
import operator
import pathlib
import random
import re
import sys
import traceback
import types
import uuid
import weakref
from dataclasses import dataclass
from typing import Any

from pstore import Store
from tests.store import zoo
from tests.store.features import INCREMENTAL
from tests.store.portrait import Portrait, difference

__all__ = ["CASES", "OPENED", "Case", "check", "write"]

NAMES: dict[str, Any] = {
    **{name: value for name, value in vars(zoo).items() if not name.startswith("__")},
    **vars(array),
    **vars(collections),
    **{name: getattr(weakref, name) for name in weakref.__all__},
    "copy": copy,
    "datetime": datetime,
    "Decimal": decimal.Decimal,
    "functools": functools,
    "partial": functools.partial,
    "gc": gc,
    "heapq": heapq,
    "itertools": itertools,
    "operator": operator,
    "PurePosixPath": pathlib.PurePosixPath,
    "Random": random.Random,
    "re": re,
    "SimpleNamespace": types.SimpleNamespace,
    "types": types,
    "uuid": uuid,
}


@dataclass(frozen=True)
class Case:
    """See the module.

    Attributes:
        new: needs the incremental store.
    """

    name: str
    make: str
    changes: tuple[str, ...]
    new: bool = False

    @property
    def skipped(self) -> bool:
        return self.new and not INCREMENTAL

    def graph(self, *changes: str) -> dict[str, Any]:
        """Make the graph in this process, changed or not."""
        graph: dict[str, Any] = {}
        self.run(self.make, graph)
        for number, change in enumerate(changes):
            self.run(change, graph, again=number > 0)
        return graph

    def run(self, source: str, graph: dict[str, Any], *, again: bool = False) -> None:
        """Run one of the programs.  A second time it may fail: it does so half-way, and always there."""
        try:
            exec(compile(source, f"<{self.name}>", "exec"), NAMES, graph)
        except Exception as error:
            if not again:
                raise
            graph["failed"] = type(error).__name__


CASES: dict[str, Case] = {}
OPENED = "unchanged after opening"


def case(name: str, make: str, *changes: str, new: bool = False) -> None:
    assert name not in CASES
    CASES[name] = Case(name, make, changes, new)


# ---------------------------------------------------------------- lists

CHANGE_LIST = (
    "x.append(4)",
    "x.insert(0, 'first')",
    "x.insert(1, y)",
    "x.pop()",
    "x.pop(0)",
    "x.reverse()",
    "x[0] = None",
    "x[0] = x[0]; x.append(x[0])",
    "x[1:3] = [y, y]",
    "x[:] = list(x)[::-1]",
    "del x[0]",
    "del x[::2]",
    "x.clear()",
    "x.extend(y)",
    "x += [y]",
    "x *= 2",
    "x[0], x[-1] = x[-1], x[0]",
    "x.sort(key=str)",
    "x[0] = x",
    "y.append(x)",
    "x[-1] = [3]",
)
case("list", "x = [3, 'a', 1, [2]]; y = [5]; x2 = x", *CHANGE_LIST)
case("list subclass", "x = Items([3, 'a', 1, [2]]); y = [5]; x.a = y", *CHANGE_LIST, "x.a = x", "x.b = 1", "del x.a; x.a = 5")
case("list of equal numbers", "x = [1, 1, 0]", "x[0] = True", "x[0] = 1.0", "x[2] = False", "x[2] = -0.0", "x[2] = 0.0")
case("list of large ints", "x = [10**20, 10**20 + 1]", "x[0] = 10**20 + 5", "x[1] = int('1' + '0' * 20)", "x.reverse()")
case("heap", "x = [5, 3, 8]; heapq.heapify(x)", "heapq.heappush(x, 1)", "x.append(heapq.heappop(x) - 9)", "heapq.heapreplace(x, 99)")
case("empty list", "x = []; y = [x, x]", "x.append(1)", "y[0] = []", "y.append(y[1])")
case("big list", "x = list(range(5000)); y = []", "x[2500] = y", "x.append(5)", "del x[10]", "x.reverse()", "x[4999] = 'last'", "x[0] = 'first'", "x.insert(2500, y)", "x[100], x[4900] = x[4900], x[100]")
case("big list of lists", "x = list(map(list, [[n] for n in range(3000)]))", "x[1500].append(1)", "x[1500] = x[0]", "x[0].append(x[2999])", "x.insert(0, x.pop())", "del x[:1000]", "x[7] = [8]")

# ---------------------------------------------------------------- dicts: what a scan of values does not see

CHANGE_DICT = (
    "x['new'] = 1",
    "x['a'] = 2",
    "x['a'] = x['b']",
    "x['a'], x['b'] = x['b'], x['a']",
    "del x['a']; x['z'] = 0",
    "x['a'] = x.pop('a')",
    "x['b'] = x.pop('b')",
    "v = x.pop('b'); x['b2'] = v; x['b'] = v",
    "v = x.pop('a', None); x['renamed'] = v; del v",
    "i = list(x.items()); x.clear(); x.update(reversed(i)); del i",
    "i = list(x.items()); x.clear(); x.update(i); x['more'] = 1; del i",
    "x.clear()",
    "x.update(a=5, q=6)",
    "x.setdefault('s', [])",
    "x.popitem() if x else None; x['p'] = 1",
    "x |= {'o': y}",
    "x['me'] = x",
    "x[None] = None",
    "x[5] = x.pop('c')\nx['c'] = 5",
)
case("dict", "y = [1]; x = {'a': 1, 'b': y, 'c': None}", *CHANGE_DICT)
case("dict subclass", "y = [1]; x = Table(a=1, b=y, c=None); x.a = 1", *CHANGE_DICT, "x.a = 2", "vars(x).clear(); x.b = 1")
case("OrderedDict", "y = [1]; x = OrderedDict(a=1, b=y, c=None)", *CHANGE_DICT, "x.move_to_end(next(iter(x)))", "x.move_to_end('c', last=False); x.move_to_end('a')", "x.popitem(last=False); x['a'] = 3")
case("dict with None values", "x = {'a': None, 'b': None}", "del x['a']; x['a2'] = None; x['a'] = 1; del x['a']; x['a'] = None", "x['a'] = x.pop('a')", "x['c'] = None")
case("dict key renamed, same value", "v = [1]; x = {'a': v}", "x['b'] = x.pop(next(iter(x))); x['c'] = x.pop('b')")
case("dict key renamed, int", "x = {1: 'v'}", "n = max(x); x[n + 1] = x.pop(n)")
case("dict key of another type", "x = {1: 'v'}", "x.clear(); x[True] = 'v'", "x.clear(); x[1.0] = 'v'", "x[1] = 'w'; x[1] = 'u'")
case("dict with object keys", "k = Plain(); k.tag = 1; k2 = Plain(); k2.tag = 2; x = {k: 1, k2: k, ('t', k): k2}", "x[k], x[k2] = x[k2], x[k]", "x[k] = x.pop(k)", "del x['t', k]; x['t', k] = 5", "k.a = x", "x[k2] = x.pop(k, None)", "k.tag = 5")
case("dict shared", "x = {'a': 1}; y = [x, x]; z = {'x': x}", "x['b'] = z", "y[1] = dict(x)", "z['x'] = y[0] = {}", "z['y'] = y")
case("big dict", "x = {f'k{n}': n for n in range(4000)}", "x['k5'] = x.pop('k5')", "x['k3999'] = 0", "x['k2000'] = x['k2001']", "x['new'] = 1", "del x[next(iter(x))]", "x['k7'], x['k3000'] = x['k3000'], x['k7']", "v = x.pop('k9', None); x['renamed'] = v")
case("int keys", "x = dict.fromkeys(range(100), None)", "x[5] = x.pop(5)", "del x[min(x)]", "x[1000] = x.pop(50, None); x[50] = None", "x[True] = 'one'")
case("defaultdict", "x = defaultdict(list, a=[1]); y = [2]", "x['b'].append(1)", "x.default_factory = None", "x.default_factory = dict", "x.default_factory = factory(y)", "x['a'].append(y)", "x['b'] = x.pop('a')")
case("defaultdict with a lambda over what is shared", "y = [2]; x = defaultdict(factory(y))", "x['n']", "y.append(5)", "x.default_factory.__closure__[0].cell_contents = x", "x['n'] = y", "x['m'].append(x)")
case("Counter", "x = Counter('abca')", "x['a'] += 1", "x.update('zz')", "x.subtract(['a'])", "x['d'] = x.pop('a')", "x['a'] = x.pop('a')\nx['a'] += 0", "x.clear()", "x += Counter('aq')")
case("ChainMap", "x = ChainMap({'a': 1}, {'b': 2})", "x['a'] = 2", "x.maps.reverse()", "x.maps.append({})", "x.maps[1]['c'] = x")
case("SimpleNamespace", "x = SimpleNamespace(a=1, b=[2])", "x.a = 2", "x.c = x", "x.a, x.b = x.b, x.a", "v = x.a; del x.a; x.a = v")
case("mappingproxy", "y = {'a': 1}; x = types.MappingProxyType(y)", "y['b'] = x", "y.clear()")

# ---------------------------------------------------------------- sets, deques, buffers

CHANGE_SET = ("x.add('new')", "x.discard('a'); x.add('z')", "x.clear()", "x ^= {'a', 'q'}", "x |= {1.5}", "x &= {'a'}; x.add(7)", "x.add(('t', 1))", "x.remove(1); x.add(True)", "x -= {'b'}; x.add(None)")
case("set", "x = {'a', 'b', 1}; y = [x]", *CHANGE_SET)
case("set subclass", "x = Group({'a', 'b', 1}); x.a = x", *CHANGE_SET, "x.a = 1", "x.b = x")
case("set of objects", "a = Plain(); a.tag = 1; b = Plain(); b.tag = 2; x = {a, b}", "x.discard(a); x.add('a')", "a.x = x", "x.add(('pair', a, b))", "c = Plain(); c.tag = 3; x.discard(b); x.add(c)", "a.tag = 7")
case("set exchanged", "x = {1, 2, 3}", "x.discard(min(x)); x.add(max(x) + 1)", "x.remove(2); x.add(2.0)")
case("frozenset", "a = Plain(); a.tag = 1; x = frozenset({a, 'b', ('c', a)}); y = [x, x]", "a.x = x", "x = frozenset({a})", "y[0] = frozenset({1})", "y.append(x)")
case("deque", "x = deque([1, [2], 3], maxlen=4); y = [x]", "x.append(5)", "x.appendleft(x)", "x.rotate(1)", "x.rotate(-1)", "x.popleft(); x.append(6)", "x[1] = 0", "x.extend([7, 8, 9, 10])", "x.extendleft([1, 2])", "x.reverse()", "x.clear()", "del x[0]; x.append(1)", "x[0] = x[-1] = y")
case("deque of equal things", "x = deque([None] * 5)", "x.append(None)", "x.pop(); x.append(1)", "x.rotate(); x[0] = 5")
case("big deque", "x = deque(range(3000))", "x.rotate(1)", "x[1500] = None", "x.append(x.popleft())", "x.pop()")
CHANGE_BYTES = ("x[0] ^= 1", "x.append(65)", "x += b'more'", "x.reverse()", "x.clear(); x += b'n'", "x[1:3] = b'zz9'", "del x[0]; x += b'zz'", "memoryview(x)[0] ^= 3", "x.insert(0, 7)", "x.extend(range(5))")
case("bytearray", "x = bytearray(b'some bytes'); y = [x]", *CHANGE_BYTES)
case("bytearray subclass", "x = Buffer(b'some bytes'); x.a = x", *CHANGE_BYTES, "x.a = 1", "x.b = 2")
case("big bytearray", "x = bytearray(100_000)", "x[50_000] += 1", "x[99_999] += 1", "x.append(1)")
case("array", "x = array('d', [1, 2, 3]); y = [x]", "x[0] += 1", "x.append(4)", "x.reverse()", "x.byteswap()", "x.extend([5])", "x.pop(0); x.append(x[0])", "memoryview(x)[1] = 8 + x[1]", "x[1] = -x[1]")
case("big array", "x = array('q', range(50_000))", "x[25_000] += 1", "x[49_999] += 1", "x.append(1)")
case("random.Random", "x = Random(5); y = [x]", "x.random()", "r = x.random()", "x.seed(x.random())", "x.gauss(0, 1)", "x.shuffle(list(range(10)))", "x.setstate(Random(99).getstate()); x.random()", "x.getrandbits(1)", "x.gauss(0, 1); x.gauss(0, 1)")
case("random.Random with attributes", "x = Random(5); x.tag = 1", "x.tag = 2", "x.random(); x.tag = 1", "x.more = x", new=True)

# ---------------------------------------------------------------- instances

CHANGE_INSTANCE = (
    "x.a = 5",
    "x.a = True",
    "x.a = x.b",
    "x.new = 1",
    "x.a, x.b = x.b, x.a",
    "x.b2 = x.b; del x.b; x.b = 0",
    "v = x.a; del x.a; x.a = v; x.z = v",
    "del x.a; x.a = 1; del x.n; x.n = None; x.a = 2",
    "x.me = x",
    "vars(x)['a'] = 7",
    "vars(x).update(a=8, q=9)",
    "object.__setattr__(x, 'a', 9)",
    "x.__dict__ = dict(x.__dict__, extra=1)",
    "x.__dict__ = dict(reversed(x.__dict__.items()))",
    "x.__dict__['a'] = x.__dict__.pop('a')",
    "vars(x).clear(); x.n = x.a = x.b = 1",
    "y.append(x)",
    "for i in range(40): setattr(x, f'attribute{i}', i)",
)
MAKE = "x.a = 1; x.b = y; x.n = None"
case("instance", f"y = []; x = Plain(); {MAKE}", *CHANGE_INSTANCE, "x.__class__ = Other")
case("instance whose dict was seen", f"y = []; x = Plain(); {MAKE}; vars(x)", *CHANGE_INSTANCE, "x.__class__ = Other")
case("instance whose dict was replaced", f"y = []; x = Plain(); x.__dict__ = {{}}; {MAKE}", *CHANGE_INSTANCE)
case("instance with slots and dict", f"y = []; x = Mixed(); x.tag = 5; {MAKE}", *(change for change in CHANGE_INSTANCE if "__dict__" not in change and "vars" not in change), "x.tag = 6", "vars(x)['q'] = 9")
case("instance of a metaclass", f"y = []; x = Made(); {MAKE}", *CHANGE_INSTANCE)
# (that an attribute is deleted and set again to the same object, and nothing else, is not seen: see the limits)
case("instance of a local class", f"y = []; x = local_class(1, y)(); {MAKE}", *(change for change in CHANGE_INSTANCE if ".pop(" not in change), "type(x).a = 3", "type(x).more = x", "type(x).kind = type(x)", "type(x).method = x")
case("generic instance", f"y = []; x = Box[int](); {MAKE}", *CHANGE_INSTANCE)
case("instance with __setattr__", "x = Watching(); x.a = 1; y = [x]", "x.a = 2", "vars(x)['a'] = 3", "x.b = y", "y.append(1)")
case("exception instance", f"y = []; x = Trouble('t'); {MAKE}", *CHANGE_INSTANCE)
case("string with attributes", f"y = []; x = Text('t'); {MAKE}", *CHANGE_INSTANCE)
case("int with attributes", f"y = []; x = Number(5); {MAKE}", *CHANGE_INSTANCE)
case("tuple with attributes", f"y = []; x = Pair((1, y)); {MAKE}", *CHANGE_INSTANCE)
case("dataclass", "y = []; x = Order(1, y, None)", "x.tag = 2", "x.a, x.b = x.b, x.a", "x.c = 1", "x.tag = True", "x.a = x", "y.append(x)")
case("attribute renamed, None", "x = Plain(); x.a = None", "del vars(x)[next(iter(vars(x)))]; x.b = None; x.c = None", "x.b = vars(x).pop('a', None)")
case("attribute renamed, same value", "v = [1]; x = Plain(); x.a = v", "n = next(iter(vars(x))); setattr(x, n + 'x', v); delattr(x, n)")
case("attribute order", "x = Plain(); x.a = 1; x.b = 1; x.c = 1", "v = x.a; del x.a; x.a = v", "del x.b; x.b = 1", "vars(x)['a'] = vars(x).pop('a')")
case("two instances of different orders", "x = Plain(); x.a = 1; x.b = 2; y = Plain(); y.b = 2; y.a = 1", "x.c = y.c = 3", "del x.a; x.a = 1", "x.a = y")
case("slots", "y = [1]; x = Slotted(); x.tag = 1; x.a = y", "x.b = x.a; del x.a; x.a = None", "x.b = y", "x.a = None", "del x.a; x.a = 5", "x.a = x", "x.tag = True", "y.append(x)")
case("slots of another class", "x = Bare(); x.a = [1]; x.b = x", "x.__class__ = Bare2", "x.b, x.a = x.a, x.b", "del x.a; x.a = None")
case("slots renamed, None", "x = Slotted(); x.a = None", "del x.a; x.b = None; x.a = 1; del x.a; x.a = None", "x.tag = None")
case("slots renamed, same value", "v = [1]; x = Slotted(); x.a = v; x2 = Slotted(); x2.b = v", "x.b = v\ntry: del x.a\nexcept AttributeError: x.a = v; del x.b", "x2.a = x2.b")
case("slotted dataclass", "y = []; x = SlottedOrder(1, y)", "x.tag = 5", "x.a = x", "y.append(x)", "x.tag = x.a = None")
case("__getstate__", "y = []; x = Stateful(1); x.a = y", "x.a = 5", "x.a, x.b = x.b, x.a", "y.append(x)", "x.tag += 1", "x.b = x")
case("__reduce__ with items and pairs", "y = []; x = Listing(1); x.append(y); x['k'] = y", "x.append(5)", "x['l'] = 5", "y.append(x)", "x['k'] = x", "x.items.reverse(); x.append(0)", "x.tag = 7")
case("__reduce__ with a state", "x = Valued(1); y = [x]; x.y = y", "x.z = 1", "y.append(x)", "x.y, x.z = 1, y")
case("cached_property", "x = Cached(1)", "x.twice", "x.twice.append(2)", "x.twice; del x.twice; x.done = 1", "x.tag += 1")
case("property", "x = Property(); x.a = [1]", "x.a = x", "x.a.append(5) if isinstance(x.a, list) else 0", "x.held = 5")
case("enum members", "x = [Colour.RED]; y = {Colour.BLUE: 1, Rights.READ: 2}", "x[0] = Colour.BLUE; x.append(1)", "y[Colour.RED] = y.pop(Colour.BLUE, 0)", "y[Rights.READ | Rights.WRITE] = x")
case("named tuple", "y = []; x = Point(1, y); z = [x, x]", "x = x._replace(tag=x.tag + 1)", "y.append(x)", "z[0] = Point(1, y)")
case("bound methods", "x = Other(); m = x.who; l = [1]; p = l.append", "x.a = 1", "m = x.who; n = m", "p(2)", "x.m = m")
case("borg", "x = Borg(); y = Borg(); y.__dict__ = x.__dict__; x.a = 1", "x.a = 2", "y.b = x", "x.__dict__ = dict(x.__dict__, own=1)", "vars(y)['c'] = 3", "del x.a; y.a = 5", new=True)
case("vars of an instance", "x = Plain(); x.a = 1; v = vars(x)", "x.a = 2", "v['a'] = 3", "v['b'] = x", "del x.a; v['a'] = 5", "x.__dict__ = dict(v, own=1)", "x.v = v", new=True)
case("instances in a list", "x = []\nfor i in range(300): o = Plain(); o.tag = i; o.lines = [i]; x.append(o)", "x[150].tag += 1", "x[150].lines.append(1)", "x[0].other = x[299]", "x[299], x[0] = x[0], x[299]", "x[7].lines = x[8].lines", "del x[100:200]", "x[33].new = 1", "x.reverse()", "x[250].lines.append(x[10])\nx[10].lines.append(x[250])")

# ---------------------------------------------------------------- what is hashed by value

case("frozen dataclasses of frozensets of frozen dataclasses", "f = Frozen(1, frozenset({Frozen(2, frozenset({Frozen(3), Frozen(4, frozenset({'s', 't'}))})), FrozenSlots(5)})); g = Frozen(6, frozenset({f, f.members}), f); x = {f: 'f', g: 'g', Frozen(3): 3}; s = {f, g, FrozenSlots(7, frozenset({f}))}", "x[g], x[f] = x[f], x[g]", "s.add(Frozen(8, frozenset({g})))", "x[Frozen(9, frozenset({f, g}), g)] = s", "x[f] = x.pop(f)", "s.discard(f); s.add('f')", "f = g")
case("hashed by an attribute, in a set and a dict", "a = Account(1); b = Account(2); s = {a, b, Account(3)}; d = {a: s, b: a}", "a.lines = (1, 2)", "d[a], d[b] = d[b], d[a]", "s.add(Account(4))", "d[a] = d.pop(a)", "s.discard(b); s.add('b')")
case("hashed by an attribute, in cycles, the set first", "s = set(); a = Account('a'); b = Account('b'); s.add(a); s.add(b); l = [s]; a.l = l; b.l = l; d = {a: s}; del a, b", "l[0].add(Account('c'))", "l.append(1)", "d[next(iter(d))] = l")
case("hashed by an attribute, in cycles, the dict in the list", "s = set(); a = Account('a'); s.add(a); l = [s]; a.l = l; d = {a: s}; l.append(d); del a", "l.reverse()", "s.add(Account('c'))", "d[next(iter(d))] = 1", new=True)
case("hashed by an attribute, in cycles, the object first", "a = Account('a'); b = Account('b'); s = {a, b}; a.s = [s]; b.s = a.s; a.d = {a: b, b: a}", "a.d[a] = 1", "a.s.append(a.d)", "s.add(Account('c'))", "b.d = a.d", new=True)
case("hashed by what is hashed by an attribute, in cycles", "a = Account('a'); t = (a, 1); f = frozenset({a, t}); a.x = {t: f, f: t, a: a}; a.y = [a.x]", "a.x[t] = 5", "a.y.append(f)", "a.z = {(t, f): a}", new=True)
case("frozen dataclass in a cycle", "l = []; f = Frozen(1, frozenset({'a'})); object.__setattr__(f, 'inner', Frozen(2)); p = Plain(); p.d = {f: l}; object.__setattr__(f, 'more', p)", "p.d[f] = 1", "l.append(p.d)", new=True)
case("valued keys in cycles", "a = Valued('a'); b = Valued('b'); a.s = {a, b}; b.s = a.s; a.d = {a: b, (b, 1): a}", "a.d[a] = 1", "a.s.add(Valued('c'))", "b.d = a.d", "a.d[a] = a.d.pop(a)")
case("a set in its own elements", "a = Plain(); a.tag = 1; s = {a}; a.s = s; t = (s, a); a.t = t; f = frozenset({a}); a.f = f", "s.add(1)", "a.u = [t]", "s.discard(a); s.add(2)")
case("tuples and frozensets that lead back to themselves", "p = Plain(); t = (1, p, (p,)); p.t = t; q = Plain(); f = frozenset({q, (q, 2)}); q.f = f", "p.u = t[2]", "q.g = [f, t]", "p.t = None")

# ---------------------------------------------------------------- sharing

case("same tuple from two places", "y = [1]; t = (y, 'x' * 3, (y,)); a = [t]; b = {'t': t, 'inner': t[2]}; p = Plain(); p.t = t", "y.append(2)", "a[0] = (y, 'xxx', (y,))", "b['again'] = t[2]", "p.t = t[2]", "del t; a.append(1)")
case("same list everywhere", "s = [1]; a = Plain(); a.s = s; b = {'s': s}; c = (s,); d = deque([s]); e = defaultdict(list, s=s); f = returns(s, 1); g = started(holder(1)); g.send(s); h = partial(returns, s); i = iter([s, s]); j = Slotted(); j.a = s; k = Trouble(s)", "s.append(2)", "a.s = list(s)", "s.append([a, b, c, f, g])", "b['s'] = a.s = 5", "g.send(b)", "next(i, None); s.append(0)", "s.clear()")
case("shared between a frame, a closure and the root", "s = [1]; p = Plain(); p.s = s; g = started(looping(1, s)); u, l = counter(s); r = {'s': s, 'g': g, 'u': u}", "s.append(2)", "u()", "next(g)", "p.g = g; s.append(g)", "r['l'] = l; l.__closure__[0].cell_contents = r", "u(5); s.append(l())")
case("two owners, then one", "s = [1]; a = [s]; b = {'s': s}; del s", "a.clear()", "b.clear(); a.append(2)", "b['s'].append(3) if b else b", "a[:], b['s'] = [b.get('s')], None")
case("one owner, then two", "a = [[1], Plain()]; b = {}; d = {}", "b['s'] = a[0]", "b['s'] = a[0]; a[0].append(2)", "b['s'] = a[1]; a[1].b = b", "d['x'] = b['x'] = a[0]; a[0].append(d)", "d['deep'] = {'deep': a[1]}")
case("moved from one owner to another", "a = Plain(); a.s = [1]; b = Plain()", "b.s = a.s; del a.s; a.s = None", "b.s, a.s = a.s, [5]")
case("swapped between far places", "a = [[[1]], *range(500)]; b = {'x': {'y': [2]}, **{str(n): [n] for n in range(500)}}", "a[0][0], b['x']['y'] = b['x']['y'], a[0][0]", "a[300], b['400'] = b['400'], a[300]")
case("unlinked and linked again", "a = [[1, [2]]]; k = []", "k.append(a.pop()) if a else a.append(k.pop())", "t = a.pop(); a.append(t); del t; a.append(3)")
case("ring", "a = Plain(); b = Plain(); c = [a]; a.b = b; b.c = c", "c.append(c)", "a.b = None", "c[0] = None; b.a = a", "a, b = b, a", "b.c = [c]")
case("tree with parents", "r = Plain(); r.parent = None; r.kids = []\nfor i in range(40): k = Plain(); k.parent = r; k.kids = []; r.kids.append(k)", "k.kids.append(r.kids[0]); r.kids[0].parent = k", "r.kids.reverse()", "del r.kids[5]", "r.kids[7].tag = 7")
case("an object replaced by its copy", "a = [1, [2]]; b = [a, a[1]]", "a[1] = copy.copy(a[1])", "b[0] = copy.deepcopy(a)", "b[1] = a[1] = [3]")
case("root's entries are the same object", "a = [1]; b = a; c = {'a': a}", "b = [1]; a.append(0)", "c['c'] = c", "a = b = c", "a, c = c, a")

# ---------------------------------------------------------------- moved between neighbours: all references together stay as they were

case("from the end of a list to the start of the next", "a = [1, [2]]; b = [[3], 4]; c = []; d = {}", "b.insert(0, a.pop())", "a.append(b.pop(0))", "c.append(b.pop())", "a.append(b[0]); del b[0]", "v = a.pop(); c.insert(0, b.pop()); b.insert(0, v)")
case("from one list to an empty one", "a = [[1, [2]]]; k = []", "k.append(a.pop())\na.append(1)", "k.append(a.pop()) if a else a.append(k.pop())")
case("from list to list in a list", "x = [[1], [], [[2]], []]", "x[1].append(x[0].pop())", "x[3].append(x[2].pop())", "x[0].append(x[2].pop()); x[2].append(x[0].pop(0))")
case("from dict to dict", "v = [1]; a = {'k': v}; b = {}; c = {1: v}; d = {}; del v", "b['k'] = a.pop('k', 0)", "d.update(c); c.clear()", "b.update(a); a.clear(); a.update(d)")
case("from instance to instance", "x = Plain(); y = Plain(); x.a = [1]; x.b = [2]; y.c = 3; l = [x, y]", "y.__dict__ = {'b': vars(x).pop('b', 0), **vars(y)}", "x.c = vars(y).pop('c', 0)", "z = Plain(); z.b = vars(x).pop('b', 0); l.append(z)")
case("from slot to slot", "x = Slotted(); y = Slotted(); x.b = [1]; l = [x, y]", "y.tag = x.b; del x.b; x.a = 1", "y.tag = x.b\ndel x.b\nx.b = None")
case("from deque to deque", "a = deque([1, [2]]); b = deque([[3]])", "b.appendleft(a.pop())", "a.append(b.popleft())", "b.extendleft(a); a.clear()")
case("from set to set", "o = Plain(); o.tag = 1; a = {o}; b = set(); l = [a, b]; del o", "b.add(a.pop())\na.add(2)", "b |= a; a.clear()")
case("from cell to cell", "u, l = counter([1]); u2, l2 = counter([2])", "a, b = u.__closure__[0], u2.__closure__[0]; a.cell_contents, b.cell_contents = b.cell_contents, a.cell_contents; del a, b", "l2.__defaults__ = l.__defaults__; l.__defaults__ = None")
case("from list to instance and on", "x = Plain(); x.a = [[1]]; y = Plain(); l = [x, x.a, y]", "y.a = x.a.pop()\nx.a.append(1)", "l.append(x.a[0]); x.a.clear()")
case("neighbours that change places", "x = [[1], [2]]; y = [Plain(), Plain()]; y[0].a = [1]; y[1].a = [2]", "x[0], x[1] = x[1], x[0]", "y.reverse()", "y[0].a, y[1].a = y[1].a, y[0].a", "x[0][:], x[1][:] = x[1][:], x[0][:]")
case("a value among atoms", "x = Plain(); x.a = 1; x.b = 'b'; y = Plain(); y.a = 2", "vars(x)['a'], vars(y)['a'] = y.a, x.a", "x.c = vars(x).pop('b', 0); x.b = 5", "y.b = vars(x).pop('b', 0)\nx.b = 7")

# ---------------------------------------------------------------- functions, frames, iterators

case("closures over one cell", "u, l = counter(1); k = [u, l]", "u()", "u(5)", "u.__closure__[0].cell_contents = k", "l.__defaults__ = (7,)", "u.__kwdefaults__ = {'scale': 3}", "u.__kwdefaults__['scale'] = 4", "l.tag = u", "u.tag = 1; u.tag2 = 2; del u.tag; u.tag = 1", "del l.__closure__[0].cell_contents; l.__closure__[0].cell_contents = 5", "l.__name__ = 'other'")
case("emptied cell", "u, l = counter(1)", "del u.__closure__[0].cell_contents; l.a = 1")
case("lambda", "s = []; f = returns(s, 1)", "s.append(f)", "f.__defaults__ = (s,)", "f.s = s", "f.__closure__[0].cell_contents = 5", "f.__doc__ = 'text'")
case("functions by name", "f = same; g = [len, same, Plain, Plain.__init__]", "f = len", "g.reverse()", "g.append(f)")
case("partial", "s = []; f = partial(returns, s, tag=1)", "s.append(f)", "f.a = s", "f.keywords['tag'] = 2", "f.__setstate__((returns, (s, 5), {}, None))")
case("generator", "s = []; g = started(holder(1)); r = []", "r.append(next(g))", "r.append(g.send(s))", "g.send(r); g.send(s)", "s.append(g)", "g.close()")
case("generator over a list", "s = [1, [2], 3]; g = looping(1, s); r = []", "r.append(next(g))", "s.append(4); next(g)", "next(g); next(g)", "s.insert(0, g)")
case("generator in a handler", "s = []; g = started(catching(1, s)); r = []", "r.append(g.send(s))", "r.append(type(g.throw(ValueError(5)))); s.append(r)", "next(g)")
case("generators below each other", "i = started(holder(1)); g = started(delegating(2, i)); r = []", "r.append(next(g))", "i.send([1])", "g.send(r)", "i.close()")
case("frame and function over one cell", "g, l = sharing(1); r = []", "r.append(next(g))", "r.append(g.send(r)) if g.gi_suspended else next(g)", "next(g).append(2) if isinstance(l(), list) else 0", "l.__closure__[0].cell_contents = r")
case("generator not started", "s = []; g = catching(1, s)", "next(g)", "s.append(g)", "g.close()")
case("coroutine", "s = []; c = waits(1, s); c.send(None); r = []", "s.append(1)", "r.append(c.send(r)) if c.cr_suspended and not r else s.append(c)", "s.append(c)")
case("async generator", "s = []; g = streams(1, s); r = []\ntry: g.asend(None).send(None)\nexcept StopIteration as e: r.append(e.value)\nexcept Exception: raise\ne = None", "s.append(g)", "try: g.asend(r).send(None)\nexcept StopIteration as e: r.append(len(e.value))\ne = None", "try: g.asend([1]).send(None)\nexcept StopIteration as e: pass\ne = None")
case("iterators", "s = [1, [2], 3, 4]; d = {'a': s, 'b': 2, 'c': 3}; i = iter(s); j = iter(d); k = reversed(s); l = enumerate(s); m = zip(s, d.items()); n = map(same, s); o = iter(d.values()); r = []", "r.append(next(i, None))", "r.append(next(j, None))", "r.append(next(k, None))", "r.append(next(l, None)); next(n, None)", "r.append(len(next(m, ())))", "next(o, None)", "s.append(i)", "s[0] = 5; s.append(6)", "next(i, 0); next(k, 0)")
case("exceptions", "s = [1]; c = raised(1); e = raised(2, c); g = ExceptionGroup('g', [e, ValueError(s)])", "e.add_note('note')", "e.__cause__ = None", "e.__context__ = g", "e.args = ('new', s)", "e.__traceback__ = None", "e.__suppress_context__ = not e.__suppress_context__", "s.append(e)", "e.tag = g", "c.with_traceback(None)")
case("an exception's arguments lead to it", "l = []; e = Trouble(l, 1); l.append(e)", "l.append(2)", "e.args = (l,)", "e.a = l")

# ---------------------------------------------------------------- weak references

case("weak references", "a = Plain(); a.tag = 1; r = ref(a); l = [r, r]", "a.r = r", "del l[0]; l.append(1)", "a.tag += 1", "del a; gc.collect(); a = 1", "b = Plain(); r = ref(b)")
case("only weakly referenced", "a = Plain(); r = [ref(a)]; d = WeakValueDictionary(x=a); s = WeakSet([a]); del a; gc.collect()", "r.append(1)")
case("WeakValueDictionary", "a = Plain(); a.tag = 1; b = Plain(); b.tag = 2; x = WeakValueDictionary(a=a, b=b)", "x['c'] = a", "x.pop('a', None); b.tag += 1", "x['a'], x['b'] = b, a", "del a; gc.collect(); a = 1", "a.tag = 5")
case("WeakSet", "a = Plain(); a.tag = 1; b = Plain(); b.tag = 2; x = WeakSet([a])", "x.add(b)", "x.discard(a); b.tag += 1", "del a; gc.collect(); a = 1", "x.clear()\nx.add(b)")
case("WeakKeyDictionary", "a = Plain(); a.tag = 1; b = Plain(); b.tag = 2; x = WeakKeyDictionary({a: [1]})", "x[b] = 5", "x[a] = b", "x.pop(a, None); b.tag += 1")

# ---------------------------------------------------------------- immutable and other things of the library

case("long texts", "x = ['x' * 10_000, b'y' * 10_000]", "x[0] += 'z'", "x[1] = x[1][:-1] + b'z' + x[1][-1:]", "x.reverse()")
case("nested tuples with mutable leaves", "l = [1]; x = (1, (2, (3, (4, l)), l))", "l.append(x)", "l.append(2)", "x = x[1]")
case("values of the library", "x = [datetime.date(2024, 1, 1), Decimal('1.5'), uuid.UUID(int=7), re.compile('a'), 1+2j, range(3), slice(1), PurePosixPath('/a')]", "x.reverse()", "x[0] = datetime.date(2025, 1, 1); x.append(x[0])", "x[1] = Decimal('1.50'); x.append(x[1])")
case("itertools", "x = [itertools.count(5), itertools.cycle([1, 2]), itertools.repeat(1, 5)]; r = []", "r.append(next(x[0]))", "r.append(next(x[1]))", "r.append(next(x[2], None))")
case("classes by value, copied before", "s = []; c = local_class(1, s); o = c(); p = c(); copy.copy(o)", "c.kind = 5", "c.a = o", "s.append(c)", "o.a = 1", "c.extra = p", "c.extra = 1; del c.extra; c.extra = 1", "p.__class__ = local_class(2, s)")
# ... and before `copyreg` has left its cache `__slotnames__` in the class
case("classes by value", "s = []; c = local_class(1, s); o = c(); p = c()", "c.kind = 5", "c.a = o", "s.append(c)", "o.a = 1", "c.extra = p", "c.extra = 1; del c.extra; c.extra = 1", "p.__class__ = local_class(2, s)", new=True)
case("numpy", "import numpy as np; x = np.arange(10.0); y = x[2:5]; z = [x]; np = None", "x[3] += 1", "x[:] = x[::-1].copy()", "z.append(z[0] * 2)", "x.fill(7)")


# ---------------------------------------------------------------- the run


def available(one: Case) -> bool:
    if "numpy" in one.make:
        try:
            import numpy  # noqa: F401
        except ImportError:
            return False
    return True


def file_of(folder: pathlib.Path, one: Case) -> pathlib.Path:
    return folder / f"{list(CASES).index(one.name)}.fs"


def write(one: Case, folder: pathlib.Path) -> dict[str, str]:
    """Make, persist, change, persist: every change on a graph of its own, all in one store.

    Returns:
        Change (or "unchanged") -> what was wrong.
    """
    problems = {}
    with Store(file_of(folder, one)) as store:
        for change in ("unchanged", *one.changes):
            store.root[change] = one.graph()
        before = Portrait(store.root, light=True).rows
        tid = store.persist()
        if store.persist() != tid:
            problems["unchanged"] = "a second persist has written"
        if Portrait(store.root, light=True).rows != before:
            problems["unchanged"] = "persisting has changed the live graph"
        for change in one.changes:
            one.run(change, store.root[change])
            now = store.persist()
            if now <= tid:
                same = _difference(one.graph(), one.graph(change)) is None
                problems[change] = "the table is wrong: it changes nothing" if same else "nothing was written"
            if "weak" in one.name.lower():
                now = store.persist()  # what is referred to weakly alone is let go of by the persist before
            tid = store.persist()
            if tid != now:
                problems[change] = "a second persist has written"
    return problems


def check(one: Case, folder: pathlib.Path) -> dict[str, str]:
    """In another process: what is stored is what was made, identity included; then every change once more."""
    problems = {}
    path = file_of(folder, one)
    with Store(path) as store:
        if INCREMENTAL:
            tid = store.tid
            if store.persist() != tid:
                problems[OPENED] = "a persist after opening has written"
        for change in ("unchanged", *one.changes):
            changes = [change] if change != "unchanged" else []
            problem = _difference(one.graph(*changes), store.root[change])
            if problem:
                problems.setdefault(change, f"read in another process: {problem}")
        for change in one.changes:
            one.run(change, store.root[change], again=True)
        store.persist()
        if "weak" in one.name.lower():
            store.persist()
        tid = store.tid
        if store.persist() != tid:
            problems["unchanged"] = "a second persist after opening and changing has written"
    with Store(path) as store:
        for change in one.changes:
            problem = _difference(one.graph(change, change), store.root[change])
            if problem:
                problems.setdefault(change, f"changed again after it was read: {problem}")
    return problems


def _difference(expected: Any, found: Any) -> str | None:
    gc.collect()
    return difference(Portrait(expected), Portrait(found))


def guarded(run: Any, one: Case, folder: pathlib.Path) -> dict[str, str]:
    """A case that ends in an error says so in all of its rows."""
    try:
        return run(one, folder)
    except Exception:
        return {"every": traceback.format_exc()}


if __name__ == "__main__":
    gc.collect()
    gc.freeze()  # what was imported is not looked at again before each comparison
    where = pathlib.Path(sys.argv[2])
    wanted = [one for one in CASES.values() if file_of(where, one).exists()]
    sys.stdout.write(json.dumps({one.name: guarded(check, one, where) for one in wanted}) + "\n")
