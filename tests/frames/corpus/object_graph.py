# ruff: noqa
"""Objects that frames hold: identity, cycles, sharing between frames, and values of the standard library."""

import array
import collections
import contextvars
import copy
import datetime
import decimal
import fractions
import functools
import gc
import io
import ipaddress
import operator
import pathlib
import queue
import random
import re
import string
import struct
import sys
import types
import uuid
import weakref
import zoneinfo

from tests.frames.kit import case, emit, group
from tests.frames.parts import Box, pause, sent, ticker

group("object graph")

VAR = contextvars.ContextVar("VAR", default="default")
LONELY = contextvars.ContextVar("LONELY")


class Node:
    """A weakly referable node."""

    def __init__(self, name):
        self.name, self.links = name, []

    def __repr__(self):
        return f"Node({self.name})"

    def hello(self):
        """Something to bind weakly."""
        return "hello", self.name


@case
def same_generator_twice():
    """One generator reached by three ways."""
    g = ticker(6)
    d = {"a": g, "b": [g], "c": (x for x in g)}
    yield next(d["a"]), next(d["b"][0])
    yield next(d["c"])
    return d["a"] is d["b"][0] is g, list(g), list(d["c"])


@case
def generator_in_own_locals():
    """A frame that holds its own generator, by a local and by a cell."""
    box = Box()

    def gen():
        me = box.value
        yield 1
        yield me is box.value, me.gi_running
        yield me.gi_code.co_name

    g = box.value = gen()
    yield next(g)
    yield next(box.value)
    return box.value is g, next(g)


@case
def generators_holding_each_other():
    """Two generators resume each other in turn."""
    peers = {}

    def play(name, other):
        for i in range(4):
            got = yield name, i
            emit(name, got)
        return peers[other].gi_frame is None

    peers["a"], peers["b"] = play("a", "b"), play("b", "a")
    for _ in range(3):
        yield next(peers["a"]), next(peers["b"])
    return [list(p) for p in peers.values()]


@case
def held_unstarted_and_finished():
    """Generators and coroutines before their start and after their end."""
    new, done, closed = ticker(2), ticker(0), ticker(3)
    list(done)
    next(closed)
    closed.close()
    yield done.gi_frame, closed.gi_frame, new.gi_running
    return list(new), list(done), list(closed), done.__qualname__ == new.__qualname__


@case
async def held_coroutines():
    """A coroutine not started, one suspended by hand, one finished, one closed."""
    new, mid, done, closed = sent(1), sent(2), sent(3), sent(4)
    mid.send(None)
    done.send(None)
    try:
        done.send("x")
    except StopIteration as e:
        emit(e.value)
    closed.close()
    await pause("held")
    out = [await new]
    try:
        mid.send("by hand")
    except StopIteration as e:
        out.append(e.value)
    for c in (done, closed):
        try:
            await c
        except RuntimeError as e:
            out.append(str(e))
    return out


@case
def aliases_in_containers():
    """One list in a list, dict, tuple, attribute, default argument and closure."""
    a = [1]
    b, c, box = a, {"a": a, "t": (a, a)}, Box(a)

    def f(x=a):
        return x is a

    yield f()
    a.append(2)
    yield b is a is c["a"] is c["t"][0] is box.value is f.__defaults__[0], f()
    return b, c


@case
def recursive_data():
    """Lists, dicts, tuples, sets and objects that contain themselves."""
    xs, d, t = [1], {}, ([],)
    xs.append(xs)
    d["d"] = d
    t[0].append(t)
    n = Node("n")
    n.links.append(n)
    s = {n}
    n.links.append(s)
    dq = collections.deque([d])
    d["q"] = dq
    yield 1
    return xs[1] is xs, d["d"] is d, t[0][0] is t, n.links[0] is n, n in n.links[1], dq[0] is d["d"], xs


@case
def equal_but_distinct():
    """Equal objects that are two stay two."""
    a, b, t, u = [1], [1], tuple([1, [2]]), tuple([1, [2]])
    big, big2 = 10**20, 10**20 + 0
    e, f = (), ()
    yield a == b, a is b
    a.append(2)
    t[1].append(3)
    return a, b, t, u, big == big2, e is f


@case
def deep_data():
    """A linked list of four hundred nodes and a list nested eighty deep."""
    head = None
    for i in range(400):
        n = Node(i)
        n.links.append(head)
        head = n
    deep = []
    for _ in range(80):
        deep = [deep]
    yield head.name
    n, count = head, 0
    while n is not None:
        n, count = n.links[0], count + 1
    depth = 0
    while deep:
        deep, depth = deep[0], depth + 1
    return count, depth


@case
def weak_references_alive():
    """Weak references whose targets are held strongly elsewhere in the frame."""
    n, m = Node("n"), Node("m")
    r, s = weakref.ref(n), weakref.ref(m)
    wd, wk, ws = weakref.WeakValueDictionary(), weakref.WeakKeyDictionary(), weakref.WeakSet([n])
    wd["n"], wk[n] = n, "data"
    wm, p = weakref.WeakMethod(n.hello), weakref.proxy(m)
    yield r() is n, s() is m
    yield r() is n, wd["n"] is n, wk[n], n in ws, wm()(), p.name, weakref.ref(n) is r
    del n
    gc.collect()
    return r(), s() is m, list(wd), len(wk), len(ws), wm()


@case
def weak_reference_dead():
    """A dead weak reference stays dead."""
    n = Node("n")
    r = weakref.ref(n)
    del n
    yield r()
    return r(), type(r).__name__


@case
def weak_reference_with_callback():
    """The callback of a weak reference runs when its target goes."""
    n = Node("n")
    r = weakref.ref(n, lambda ref: emit("gone", ref is r))
    yield r().name
    del n
    gc.collect()
    return r()


@case
def context_variables():
    """Context copies held in locals, with values, run on both sides."""
    ctx = contextvars.copy_context()
    ctx.run(VAR.set, [1])
    var = VAR
    yield ctx[var], VAR.get()
    ctx.run(lambda: VAR.get().append(2))
    yield ctx.run(VAR.get), var is VAR, len([v for v in ctx if v is VAR])
    other = ctx.copy()
    other.run(VAR.set, "other")
    yield ctx[VAR], other[VAR]
    return ctx.get(LONELY, "none"), VAR.get()


@case
def context_token_within_a_step():
    """A token of a context used up before the suspension."""
    ctx = contextvars.copy_context()
    token = ctx.run(LONELY.set, 1)
    yield token.var is LONELY, token.old_value is contextvars.Token.MISSING
    ctx.run(LONELY.reset, token)
    return LONELY in ctx


@case
def local_context_variable():
    """A ContextVar made in the frame, with a value in a held context."""
    var = contextvars.ContextVar("local", default=[0])
    ctx = contextvars.copy_context()
    ctx.run(var.set, {"k": 1})
    yield var.name, var.get()
    yield ctx[var], ctx.run(var.get)
    return var.get(), var in ctx


@case
def namespaces_and_proxies():
    """SimpleNamespace, MappingProxyType live over its dict, modules as values."""
    d = {"a": 1}
    ns, proxy, mod = types.SimpleNamespace(x=1, d=d), types.MappingProxyType(d), types.ModuleType("made", "doc")
    ns.me, mod.value, m = ns, d, re
    yield ns.x, proxy
    d["b"] = 2
    yield proxy, ns.d is d, ns.me is ns, mod.value is d, m is re, mod.__doc__
    return proxy | {"c": 3}, mod.__name__, operator is sys.modules["operator"]


@case
def slices_and_ranges():
    """slice objects with objects in them, ranges, Ellipsis."""
    xs = list(range(10))
    s, t, r = slice(1, None, 3), slice([1], "x"), range(10, 0, -3)
    yield xs[s], t
    return xs[s], t.start, r[1:], r.index(4), s.indices(5), 7 in r


@case
def bytes_like_objects():
    """bytearray shared with a memoryview, sliced and cast; arrays; struct."""
    ba = bytearray(b"abcdef")
    mv = memoryview(ba)
    part, ar = mv[2:4], array.array("d", [1.5, 2.5])
    s = struct.Struct("<hI")
    yield bytes(part), ar
    ba[2:4] = b"XY"
    part[0] = ord("Z")
    yield ba, bytes(mv), bytes(part), part.readonly, mv.nbytes
    ar.append(3.5)
    return ar, s.unpack(s.pack(1, 2)), memoryview(b"const").tolist(), part.obj is ba


@case
def numbers_of_the_library():
    """Decimal with a context, Fraction, complex."""
    d, f, c = decimal.Decimal("1.10"), fractions.Fraction(3, 4), complex(1, -2)
    ctx = decimal.Context(prec=3)
    yield d, f, c
    return ctx.divide(d, 3), f + 1, c * c, decimal.Decimal("NaN"), d.as_tuple(), ctx.prec


@case
def dates_and_zones():
    """datetime objects with fixed offset and named zone."""
    utc = datetime.timezone.utc
    plus = datetime.timezone(datetime.timedelta(hours=2), "plus")
    t = datetime.datetime(2024, 2, 29, 12, 30, 1, 5, tzinfo=plus, fold=1)
    d, delta = datetime.date(2020, 1, 1), datetime.timedelta(days=1, microseconds=3)
    yield t, d, delta
    try:
        zone = zoneinfo.ZoneInfo("Europe/Berlin")
    except zoneinfo.ZoneInfoNotFoundError:
        zone = utc
    z = datetime.datetime(2024, 7, 1, tzinfo=zone)
    yield z.tzinfo is zone
    return t.astimezone(utc), d + delta, t.fold, z.tzinfo is zone, utc is datetime.timezone.utc, t.time().isoformat()


@case
def regular_expressions():
    """Patterns, match objects, finditer half way, scanner, bound methods."""
    p = re.compile(r"(?P<w>\w)(\d)?", re.I)
    m = p.match("a1 b2")
    it, sub = p.finditer("a1 b c3"), p.sub
    yield m.group("w"), next(it).group()
    yield m.span(2), m.groups(), m.re is p, next(it)[1], sub("-", "x1")
    return [x.group() for x in it], m.expand(r"\2\1"), m.lastgroup, m.string, m.regs, p.groupindex["w"]


@case
def small_library_objects():
    """UUID, paths, addresses, templates, exceptions as values."""
    u, p = uuid.UUID(int=5), pathlib.PurePosixPath("/a/b.txt")
    ip, t = ipaddress.ip_network("10.0.0.0/30"), string.Template("$a-$b")
    e, g = KeyError("held"), operator.itemgetter(1, 0)
    at, mc = operator.attrgetter("a.b"), operator.methodcaller("upper")
    yield u, p, ip
    hosts = ip.hosts()
    yield next(hosts), p.with_suffix(".x"), e
    return t.substitute(a=1, b=2), g("xy"), mc("z"), list(hosts), u.hex[-1], at(types.SimpleNamespace(a=HasB))


class HasB:
    """Something with an attribute b."""

    b = "b"


@case
def random_state():
    """A Random instance continues its sequence; a shuffle half way."""
    r = random.Random(42)
    yield r.random(), r.gauss(0, 1)
    yield r.randint(1, 100), r.gauss(0, 1)
    xs = list(range(5))
    r.shuffle(xs)
    return xs, r.choice("abc")


@case
def files_in_memory():
    """StringIO and BytesIO with a position."""
    s, b = io.StringIO("line1\nline2\n"), io.BytesIO(b"abc")
    s.readline()
    b.read(1)
    yield s.tell(), b.tell()
    s.seek(0, 2)
    s.write("x")
    return s.getvalue(), b.read(), list(io.StringIO("a\nb"))


@case
def queues_and_heaps():
    """deque with maxlen, Counter, ChainMap, OrderedDict and a heap."""
    import heapq

    d, c = collections.deque([1, 2, 3], maxlen=3), collections.Counter("aab")
    base = {"x": 1}
    cm = collections.ChainMap({}, base)
    h = [5, 1, 4]
    heapq.heapify(h)
    yield d, c
    d.append(4)
    base["x"] = 2
    yield d, cm["x"], cm.maps[1] is base, heapq.heappop(h)
    c.update("b")
    return c, collections.OrderedDict(a=1), h, d.maxlen, queue.Empty.__name__


@case
def objects_with_reduce():
    """__reduce__, __getstate__, __setstate__, __getnewargs__ of local and module classes."""
    a, b = Reduced(1), Stated(2)
    c = copy.copy(b)
    yield a.x, b.x, c.x
    return a.x, b.x, b.how, Args(5).x, c.how


class Reduced:
    """Rebuilt by its __reduce__."""

    def __init__(self, x):
        self.x = x

    def __reduce__(self):
        return Reduced, (self.x,)


class Stated:
    """Drops and rebuilds an attribute; says how it came back only with what both sides have."""

    def __init__(self, x):
        self.x, self.how = x, "state"
        self.lock = object()

    def __getstate__(self):
        return {"x": self.x}

    def __setstate__(self, state):
        self.x, self.how = state["x"], "state"


class Args(tuple):
    """A tuple made with other arguments."""

    def __new__(cls, x):
        return super().__new__(cls, (x, x))

    def __getnewargs__(self):
        return (self[0],)

    @property
    def x(self):
        """Both halves."""
        return tuple(self)


@case
def objects_made_by_arguments():
    """A tuple subclass with __getnewargs__ and a str subclass with attributes, aliased."""
    a = Args(3)
    xs = [a, a]
    yield a.x
    return xs[0] is xs[1] is a, a.x, type(a) is Args


@case
def code_and_type_objects():
    """Code objects, generic aliases, unions and function types as values."""

    def f(x, y=1):
        z = x
        return z

    code, alias, union = f.__code__, list[int], int | None
    kinds = [type(f), type(code), types.GenericAlias, type(union), types.GeneratorType]
    yield code.co_varnames, alias, union
    return code is f.__code__, alias == list[int], union == (int | None), [k.__name__ for k in kinds], code.co_name


@case
def dict_and_list_details():
    """Order of keys after deletions, shared tuples, int keys with equal floats, nested frozensets."""
    d = dict.fromkeys("cab")
    del d["a"]
    d["a"] = 1
    key = (1, (2, "x"))
    d[key], d[1.0], d[frozenset([frozenset([1])])] = key, "one", "fs"
    yield list(d)[:3]
    return list(d)[:5], d[1, (2, "x")] is key, d[True], d[frozenset([frozenset([1])])]


@case
def bound_methods_compare_and_share():
    """Bound methods of one object in two places, and of a generator and a coroutine."""
    g = ticker(5)
    step, send, n = g.__next__, g.send, Node("n")
    h1, h2 = n.hello, n.hello
    yield step(), send(None)
    yield step(), h1 == h2, h1.__self__ is n, send.__self__ is g
    g.close()
    return next(g, "closed"), h1()


@case
async def coroutine_methods_bound():
    """send and throw of a suspended coroutine as bound builtin methods."""
    c = sent("held")
    send, close = c.send, c.close
    await pause(send(None))
    try:
        send("value")
    except StopIteration as e:
        got = e.value
    close()
    return got, send.__self__ is c


@case
def getter_closures_in_partial():
    """partial over a bound method over an object that holds the partial."""
    n = Node("n")
    p = functools.partial(n.hello)
    n.links.append(p)
    yield p()
    n.name = "changed"
    return n.links[0](), p.func.__self__ is n
