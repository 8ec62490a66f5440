# ruff: noqa
"""Classes made in a frame and the special methods of section 3.3: slots, descriptors, metaclasses, enums, dataclasses."""

import abc
import collections
import copy
import dataclasses
import enum
import functools
import typing

from tests.frames.kit import Fault, case, emit, group
from tests.frames.parts import Box, Guard, get, pause, quiet, sent

group("classes")


class Base:
    """A base class with generators and coroutines as methods."""

    async def run(self, x):
        """Overridden below."""
        return ["base", await sent(x)]

    def numbers(self, n):
        """A generator method."""
        for i in range(n):
            yield type(self).__name__, i


class Derived(Base):
    """Uses the __class__ cell and super()."""

    async def run(self, x):
        """Awaits the base's method twice."""
        r = await super().run(x)
        await pause("derived")
        return [__class__.__name__, *r, *await super().run(x + 1)]

    def numbers(self, n):
        """Delegates through super."""
        r = yield from super().numbers(n)
        yield "derived", r


class Colour(enum.Enum):
    """An enum of the module."""

    RED = 1
    BLUE = "b"

    def gen(self):
        """A generator method of a member."""
        yield self
        yield self.name


class Flags(enum.Flag):
    """Flags of the module."""

    A = 1
    B = 2
    C = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    """A frozen dataclass with slots."""

    x: int
    ys: list = dataclasses.field(default_factory=list, compare=False)


class Pair(typing.NamedTuple):
    """A typed named tuple."""

    a: int
    b: str = "b"


@case
async def super_in_coroutines():
    """super() and __class__ in suspended coroutine methods of a module's class."""
    return await Derived().run(1)


@case
def super_in_generators():
    """super() in a generator method that delegates."""
    g = Derived().numbers(2)
    yield next(g)
    return list(g)


@case
def local_class_with_instances():
    """A local class, its instances, subclass and methods keep together."""

    class A:
        count = 0

        def __init__(self, x):
            self.x = x
            type(self).count += 1

        def __repr__(self):
            return f"{type(self).__name__}({self.x})"

    class B(A):
        def __init__(self, x):
            super().__init__(x)
            self.y = [self]

    a, b = A(1), B(2)
    yield a, b, A.count, B.count
    c = B(3)
    yield isinstance(c, A), type(b) is B, b.y[0] is b, A.count, B.count
    b.__class__ = A
    return b, A.__subclasses__() == [B], B.__mro__[1] is A, A.__name__, B.__qualname__


@case
def local_class_changes_after_transfer():
    """Attributes and methods added to a local class later reach its instances."""

    class A:
        def f(self):
            return "f"

    a = A()
    yield a.f()
    A.g = lambda self: ("g", self.f())
    A.f = lambda self: "new f"
    yield a.g()
    del A.f
    return hasattr(a, "f"), sorted(k for k in vars(A) if len(k) == 1)


@case
def local_class_with_closures():
    """Methods over the frame's cells and over the class cell."""
    n = 1

    class A:
        def f(self):
            nonlocal n
            n += 1
            return n, __class__.__name__

    class B(A):
        def f(self):
            return "B", *super().f()

    b = B()
    yield b.f()
    n = 10
    yield b.f()
    f = b.f
    return f(), n


@case
def local_class_with_slots():
    """Slots, with and without a dict, one left empty."""

    class S:
        __slots__ = ("a", "b", "__weakref__")

    class T(S):
        __slots__ = ("c", "__dict__")

    s, t = S(), T()
    s.a, t.a, t.c, t.d = 1, 2, [t], 4
    yield s.a, t.a
    try:
        s.b
    except AttributeError as e:
        emit(type(e).__name__)
    s.b = 5
    return s.b, t.c[0] is t, vars(t), S.a.__get__(t)


@case
def local_class_with_properties():
    """property with setter and deleter, classmethod, staticmethod, cached_property."""

    class P:
        def __init__(self):
            self._x = 1

        @property
        def x(self):
            return self._x

        @x.setter
        def x(self, v):
            emit("set", v)
            self._x = v

        @x.deleter
        def x(self):
            self._x = "deleted"

        @classmethod
        def make(cls):
            return cls()

        @staticmethod
        def stat(a):
            return a, "static"

        @functools.cached_property
        def slow(self):
            emit("computed")
            return [self.x]

    p = P.make()
    yield p.x, p.slow
    p.x = yield p.stat(1)
    del p.x
    return p.x, p.slow, P.make().slow, P.x.fget(p)


@case
def local_descriptors():
    """Data and non-data descriptors with __set_name__."""

    class Typed:
        def __set_name__(self, owner, name):
            self.name = name

        def __get__(self, obj, owner=None):
            return self if obj is None else obj.__dict__.get(self.name, "unset")

        def __set__(self, obj, value):
            emit("set", self.name)
            obj.__dict__[self.name] = value

        def __delete__(self, obj):
            del obj.__dict__[self.name]

    class C:
        a, b = Typed(), Typed()

    c = C()
    yield c.a
    c.a = 5
    yield c.a, C.a.name, C.b.name
    del c.a
    return c.a, vars(c)


@case
def local_metaclass():
    """A metaclass with __prepare__, __call__, attributes and an instance registry."""

    class Meta(type):
        made = []

        @classmethod
        def __prepare__(mcls, name, bases, **kw):
            emit("prepare", name)
            return {"prepared": kw.get("tag")}

        def __new__(mcls, name, bases, space, **kw):
            return super().__new__(mcls, name, bases, space)

        def __init__(cls, name, bases, space, **kw):
            super().__init__(name, bases, space)
            Meta.made.append(name)

        def __call__(cls, *args):
            emit("call", cls.__name__)
            return super().__call__(*args)

        def __len__(cls):
            return 7

    class A(metaclass=Meta, tag="a"):
        pass

    class B(A, tag="b"):
        pass

    yield Meta.made, A.prepared, len(A)
    b = B()
    yield type(B).__name__, isinstance(b, A), len(B)

    class C(B):
        pass

    return Meta.made, C.prepared, type(type(C())) is Meta


@case
def local_class_hooks():
    """__init_subclass__, __class_getitem__, __instancecheck__, __getattr__ and __call__."""

    class Plug:
        plugs = []

        def __init_subclass__(cls, **kw):
            super().__init_subclass__()
            cls.plugs.append((cls.__name__, kw))

        def __class_getitem__(cls, item):
            return cls.__name__, item

        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return "made " + name

        def __call__(self, x):
            return x, self.anything

    class One(Plug, opt=1):
        pass

    p = One()
    yield Plug.plugs, p.attr, p(1)

    class Two(One):
        pass

    return Plug.plugs, Two[3], Two().x


@case
def local_enum():
    """Enum, IntEnum and Flag classes made in the frame; members are singletons."""

    class E(enum.Enum):
        A = enum.auto()
        B = [1]
        ALIAS = A

        def f(self):
            return self.name

    class N(enum.IntEnum):
        ONE = 1

    class F(enum.Flag):
        X = enum.auto()
        Y = enum.auto()

    a, xy, b = E.A, F.X | F.Y, E.B
    yield a, xy, N.ONE + 1
    yield a is E.A, xy is F.X | F.Y, E(1) is a, E["B"] is b, a.f()
    return list(E), E.ALIAS is a, {a: "key"}[E.A], F.X in xy, E([1])


@case
def module_enum_members():
    """Members and flag combinations of a module's enum stay singletons."""
    r, ab, zero = Colour.RED, Flags.A | Flags.B, Flags(0)
    g = Colour.BLUE.gen()
    yield r, ab, zero
    yield next(g) is Colour.BLUE
    match r:
        case Colour.RED:
            yield "matched"
    return r is Colour.RED, ab == Flags.A | Flags.B, ~ab, list(g), {Colour.RED: 1}[r]


@case
def module_dataclasses_and_tuples():
    """Frozen slotted dataclasses, named tuples and their replacements."""
    f, p = Frozen(1, [2]), Pair(1)
    T = collections.namedtuple("T", "x y", defaults=[9])
    t = T(f)
    yield f, p, t
    f.ys.append(3)
    try:
        f.x = 2
    except dataclasses.FrozenInstanceError as e:
        emit(type(e).__name__, e.args)
    yield dataclasses.replace(f, x=5), p._replace(b="c"), t._asdict()["x"] is f
    return T(1, 2), t.x is f, Pair._fields, copy.copy(f) == f, hash(f) == hash(Frozen(1))


@case
def local_dataclasses():
    """Dataclasses made in the frame: frozen, slots, factories, order, inheritance, __post_init__."""

    @dataclasses.dataclass(order=True)
    class A:
        x: int
        y: list = dataclasses.field(default_factory=list, compare=False, repr=False)
        z: dataclasses.InitVar[int] = 3

        def __post_init__(self, z):
            self.w = z + self.x

    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class B:
        p: int
        q: str = "q"

    a, b = A(1, z=4), B(p=1)
    yield a, b
    a.y.append(a)
    yield A(0) < a, a.w, b == B(p=1), dataclasses.asdict(b)
    return [f.name for f in dataclasses.fields(a)], B(p=2), a.y[0] is a


@case
def abstract_classes():
    """An ABC made in the frame, with registration and abstract methods."""

    class A(abc.ABC):
        @abc.abstractmethod
        def f(self): ...

        @property
        @abc.abstractmethod
        def p(self): ...

    class B(A):
        p = 1

        def f(self):
            return "f"

    @A.register
    class C:
        pass

    yield isinstance(C(), A), issubclass(B, A)
    try:
        A()
    except TypeError:
        emit("abstract", sorted(A.__abstractmethods__))
    yield B().f()
    return isinstance(C(), A), isinstance(3, A), B().p


@case
def generic_classes():
    """typing.Generic, TypeVar, Protocol and aliases made in the frame."""
    T = typing.TypeVar("T", bound=int)

    class Stack(typing.Generic[T]):
        def __init__(self):
            self.items: list[T] = []

    @typing.runtime_checkable
    class HasItems(typing.Protocol):
        items: list

    alias, union = Stack[int], int | list[str] | None
    yield alias.__origin__ is Stack, alias.__args__, union
    s = alias()
    yield isinstance(s, HasItems), s.__orig_class__ is alias or s.__orig_class__ == alias
    return Stack.__parameters__ == (T,), T.__bound__, typing.get_args(union), typing.Optional[int] == int | None


@case
def operators_of_local_class():
    """Binary, unary, in-place, reflected and comparison operators after the transfer."""

    @functools.total_ordering
    class V:
        def __init__(self, *xs):
            self.xs = xs

        def __repr__(self):
            return f"V{self.xs}"

        def __add__(self, o):
            return NotImplemented if isinstance(o, str) else V(*self.xs, o)

        def __radd__(self, o):
            return V(o, *self.xs)

        def __iadd__(self, o):
            self.xs += (o,)
            return self

        def __eq__(self, o):
            return self.xs == o.xs

        def __lt__(self, o):
            return self.xs < o.xs

        def __hash__(self):
            return hash(self.xs)

        def __neg__(self):
            return V(*reversed(self.xs))

        def __bool__(self):
            return False

        def __format__(self, spec):
            return f"<{spec}>"

        def __index__(self):
            return 1

        def __contains__(self, x):
            return x == 1

        def __len__(self):
            return 3

    v = V(1)
    d = {v: "v"}
    yield v + 2, 0 + v, -v, f"{v:spec}"
    v2 = v
    v += yield "inplace"
    yield v is v2, V(1) >= V(0), d[V(1)] if V(1) in d else "rehashed", [5, 6][v], 1 in v, bool(v)
    try:
        v + "s"
    except TypeError as e:
        return str(e)


@case
def instances_in_hash_containers():
    """Dict keys and set members whose hash is computed from strings have to be hashed anew."""
    keys = {("a", 1): "t", "b": "s", frozenset({"x"}): "f", b"y": "y", None: "n", 1.0: "one", Frozen(3): "d"}
    s, f = {"p", ("q", "r")}, frozenset([("a", "b")])
    yield len(keys)
    yield keys["a", 1], keys["b"], keys[frozenset("x")], keys[b"y"], keys[None], keys[1], keys[Frozen(3)]
    return "p" in s, ("q", "r") in s, ("a", "b") in f, "a" in s


@case
def identity_keyed_instances():
    """Objects hashed by identity as keys and members, looked up after the transfer."""

    class K:
        pass

    k, m = K(), K()
    d, s, b = {k: "k"}, {k, m}, Box()
    e = {b: 1, len: 2, K: 3, type(None): 4}
    yield d[k]
    yield d[k], k in s, m in s, K() in s, m in d
    del d[k]
    return d, e[b], e[len], e[K], e[type(None)]


@case
def local_subclasses_of_builtins():
    """Local subclasses of int, str, list, dict, tuple, set, bytes, Exception with attributes."""

    class I(int): ...

    class S(str):
        def __repr__(self):
            return "S" + super().__repr__()

    class L(list): ...

    class D(dict):
        def __missing__(self, k):
            return self.setdefault(k, [k])

    class T(tuple):
        __slots__ = ()

    class X(Fault): ...

    i, s, t, x = I(5), S("s"), T([1, 2]), X(1)
    xs, d = L([1]), D(a=1)
    i.tag = "i"
    xs.me, xs.d = xs, d
    xs.append(xs)
    d["self"] = d
    yield i, s, t
    yield d["new"], xs[1] is xs, xs.me is xs, d["self"] is d, i + 1, i.tag, type(s + "x").__name__
    try:
        raise x
    except X as e:
        return e is x, type(t) is T, type(xs).__name__, d["new"]


@case
def class_generators_of_every_binding():
    """Generators as classmethod, staticmethod, property, __iter__, __getattr__ and __call__."""

    class G:
        items = [1, 2]

        @classmethod
        def c(cls):
            yield cls.__name__
            yield cls.items

        @staticmethod
        def s():
            yield "static"
            yield "static 2"

        @property
        def p(self):
            yield "property"
            yield self.items

        def __iter__(self):
            yield from self.items

        def __call__(self, x):
            yield x
            yield self.items

    o = G()
    gens = [o.c(), G.s(), o.p, iter(o), o(5)]
    yield [next(g) for g in gens]
    o.items = ["instance's"]
    yield [next(g, "end") for g in gens]
    return [x for x in o]


@case
def singletons_and_types():
    """None, Ellipsis, NotImplemented, types, functions of modules stay themselves."""
    things = [None, ..., NotImplemented, True, int, type, object, type(None), type(...), len, Box, Derived.numbers]
    kept = list(things)
    g = (x is y for x, y in zip(things, kept))
    yield next(g)
    checks = [things[0] is None, things[1] is ..., things[2] is NotImplemented, things[4] is int, things[9] is len]
    return checks, things[10] is Box, things[11] is Derived.numbers, list(g)


@case
def partialmethod_and_singledispatch():
    """functools' method tools in a local class."""

    class C:
        def f(self, a, b, *, c=0):
            return a, b, c

        g = functools.partialmethod(f, 1, c=5)

        @functools.singledispatchmethod
        def h(self, x):
            return "any"

        @h.register
        def _(self, x: int):
            return "int"

    o = C()
    yield o.g(2), o.h("s"), o.h(1)
    part = o.g
    C.__dict__["h"].register(str, lambda self, x: "str")
    return part(3), o.h("s"), o.h(2)


@functools.singledispatch
def describe_it(x):
    """A generic function of the module."""
    return "object"


@describe_it.register
def _(x: int):
    return "int"


@functools.lru_cache(maxsize=None)
def cached(x):
    """A cached function of the module."""
    return [x]


@case
def functools_of_module():
    """lru_cache and singledispatch on module level are held by reference."""
    f, g = cached, describe_it
    yield g(1), g("s")
    yield f is cached, g is describe_it, f(1) is cached(1)
    return functools.reduce(lambda a, b: a * b, [1, 2, (yield "reduce")]), f.__wrapped__(2)


@case
def functools_local():
    """singledispatch and cmp_to_key made in the frame."""

    @functools.singledispatch
    def show(x):
        return "object"

    show.register(int, lambda x: "int")
    key = functools.cmp_to_key(lambda a, b: b - a)
    yield show(1)
    show.register(str, lambda x: "str")
    yield show("s"), show(1), show(1.5), sorted([3, 1, 2], key=key)
    return show.__wrapped__.__name__


@case
async def context_manager_class_local():
    """A local class with the four context methods, async ones suspended."""

    class M(Guard):
        async def __aenter__(self):
            await pause("aenter")
            return self.__enter__()

        async def __aexit__(self, *error):
            await pause("aexit")
            return self.__exit__(*error)

    m = M("m", swallow=True)
    async with m as name:
        await pause(name)
        with m:
            await quiet(m)
            raise Fault("inner")
    return await get("end")
