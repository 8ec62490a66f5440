"""Random object graphs from a specification, and whether two graphs are isomorphic, identity included.

A specification is a list of (kind, numbers): node i is of that kind, the numbers (modulo what is there) are its edges.
Nodes are made first and filled then, so that any cycle arises: through lists, instances, cells, frames, exceptions.
"""

import collections
import functools
import types
from dataclasses import dataclass

KINDS = {}  # name -> function(graph, edges) -> node, or (node, fill)


# ------------------------------------------------------------------ classes and frames


class Plain:
    """Instance with a dict, hashed by identity."""


class Slotted:
    __slots__ = ("tag", "left", "right", "__weakref__")


class Mixed(Slotted):
    """Slots and a dict."""


class Valued:
    """Hashed by a value that is there before anything else is."""

    def __init__(self, tag):
        self.tag = tag

    def __reduce__(self):
        return Valued, (self.tag,), {k: v for k, v in self.__dict__.items() if k != "tag"}

    def __setstate__(self, state):
        self.__dict__.update(state)

    def __eq__(self, other):
        return isinstance(other, Valued) and self.tag == other.tag

    def __hash__(self):
        return hash(self.tag)


@dataclass(frozen=True)
class Frozen:
    tag: int
    other: object


class Items(list):
    """A list with attributes."""


class Table(dict):
    """A dict with attributes."""


class Trouble(Exception):
    pass


@types.coroutine
def ask(*shown):
    return (yield shown)


def frame(tag):
    """Holds objects in locals and, while a tuple is half built, on its value stack."""
    x = yield
    y = yield x
    while True:
        z = (x, [y, (yield (tag, x, y))], x)
        x, y = z[1][1] if z[1][1] is not None else z[0], z[0]


def looping(tag, values):
    """Holds a live iterator."""
    for value in values:
        yield value
    yield values


def delegating(tag, inner):
    """Holds another generator, as a for loop would and by yield from."""
    yield inner
    yield from frame(tag)


async def inner_coro(tag, x):
    y = await ask(x)
    return [x, y, await ask(tag, x, y)]


async def outer_coro(tag, x):
    """An await chain, its caller's frame with a half-built list."""
    return [x, await inner_coro(tag, x), x]


async def agen(tag, x):
    while True:
        x = (yield (tag, x)) or x


def cells(tag):
    """Two functions and a frame over one cell."""
    shared = tag

    def read(tag=tag):
        return shared

    def write(new, tag=tag + 0.25):
        nonlocal shared
        shared = new

    def generator(tag=tag + 0.5):
        nonlocal shared
        while True:
            got = yield shared
            if got is not None:
                shared = got

    return read, write, generator()


# ------------------------------------------------------------------ making


def kind(function):
    KINDS[function.__name__.rstrip("_")] = function
    return function


class Graph:
    """`nodes` of a specification; edges of what is immutable go to nodes made before."""

    def __init__(self, spec):
        self.nodes, self.hashable, self.places = [], [], {}
        fills = []
        for name, edges in spec:
            made = KINDS[name](self, edges)
            node, fill = made if isinstance(made, tuple) and len(made) == 2 and callable(made[1]) else (made, None)
            self.nodes.append(node)
            if is_hashable(node):
                self.hashable.append(node)
            if fill is not None:
                fills.append((fill, edges))
        for fill, edges in fills:
            fill([self.any(n) for n in edges])

    @property
    def tag(self):
        return 1000 + len(self.nodes)

    def any(self, n):
        return self.nodes[n % len(self.nodes)] if self.nodes else n

    def earlier(self, edges):
        return [self.any(n) for n in edges]

    def keys(self, edges):
        return [self.hashable[n % len(self.hashable)] if self.hashable else n for n in edges]


def is_hashable(obj):
    if isinstance(obj, (types.BuiltinMethodType, functools.partial)) or hasattr(obj, "__length_hint__"):
        return False  # nothing to tell one from another by
    try:
        hash(obj)
    except TypeError:
        return False
    return True


@kind
def text(graph, edges):
    return "text %d" % graph.tag


@kind
def number(graph, edges):
    return graph.tag * 10**20


@kind
def buffer(graph, edges):
    return bytearray(b"%d" % graph.tag)


@kind
def list_(graph, edges):
    node = []
    return node, node.extend


@kind
def tuple_(graph, edges):
    return (graph.tag, *graph.earlier(edges)), None


@kind
def deque_(graph, edges):
    node = collections.deque(maxlen=50)
    return node, node.extend


@kind
def dict_(graph, edges):
    node, keys = {}, graph.keys(edges)
    return node, lambda targets: node.update(zip(keys, targets))


@kind
def ordered(graph, edges):
    node, keys = collections.OrderedDict(), graph.keys(edges)
    return node, lambda targets: node.update(zip(keys, targets))


@kind
def default(graph, edges):
    node, keys = collections.defaultdict(list), graph.keys(edges)
    return node, lambda targets: node.update(zip(keys, targets))


@kind
def set_(graph, edges):
    return set(graph.keys(edges))


@kind
def late_set(graph, edges):
    """May contain what leads back to it."""
    node = set()
    return node, lambda targets: node.update(filter(is_hashable, targets))


@kind
def frozenset_(graph, edges):
    return frozenset([graph.tag, *graph.keys(edges)])


def setter(node):
    def fill(targets):
        for name, target in zip(("left", "right", "other"), targets):
            if hasattr(node, "__dict__") or name in Slotted.__slots__:
                setattr(node, name, target)

    return fill


def instance(made):
    def make(graph, edges):
        node = made()
        node.tag = graph.tag
        return node, setter(node)

    return make


KINDS.update({made.__name__.lower(): instance(made) for made in (Plain, Slotted, Mixed, Items, Table)})


@kind
def valued(graph, edges):
    node = Valued(graph.tag)
    return node, setter(node)


@kind
def frozen(graph, edges):
    return Frozen(graph.tag, graph.hashable[edges[0] % len(graph.hashable)] if edges and graph.hashable else None)


@kind
def trouble(graph, edges):
    node = Trouble(graph.tag)

    def fill(targets):
        errors = [t for t in targets if isinstance(t, BaseException) and t is not node]
        node.held = targets
        if errors:
            node.__context__ = errors[0]
            node.__cause__ = errors[-1]

    return node, fill


@kind
def generator(graph, edges):
    node = frame(graph.tag)
    next(node)

    def fill(targets):
        for target in targets[:3]:
            node.send(target)

    return node, fill


@kind
def unstarted(graph, edges):
    return frame(graph.tag)


@kind
def loop(graph, edges):
    values = graph.earlier(edges)
    node = looping(graph.tag, values)
    next(node)
    return node, values.extend


@kind
def delegation(graph, edges):
    node = delegating(graph.tag, graph.any(edges[0]) if edges else None)
    next(node)

    def fill(targets):
        next(node)
        for target in targets[:3]:
            node.send(target)

    return node, fill


@kind
def coroutine(graph, edges):
    node = outer_coro(graph.tag, graph.any(edges[0]) if edges else None)
    node.send(None)
    return node, lambda targets: node.send(targets[-1]) if targets else None


@kind
def async_generator(graph, edges):
    node = agen(graph.tag, None)
    awaited(node.asend(None))
    return node, lambda targets: [awaited(node.asend(t)) for t in targets[:2] if truthy(t)]


def truthy(target):
    return not isinstance(target, (list, dict, set, collections.deque)) or bool(target)


def awaited(awaitable):
    try:
        awaitable.send(None)
    except StopIteration as e:
        return e.value
    raise AssertionError("suspended")


def of_cell(which):
    def make(graph, edges):
        """Nodes with the same first edge share a cell."""
        place = edges[0] % 3 if edges else 0
        if place not in graph.places:
            graph.places[place] = cells(graph.tag)
            next(graph.places[place][2])
        write = graph.places[place][1]
        return graph.places[place][which], lambda targets: write(targets[-1]) if targets else None

    return make


KINDS.update(reader=of_cell(0), writer=of_cell(1), cell_frame=of_cell(2))


@kind
def lambda_(graph, edges):
    target = graph.any(edges[0]) if edges else None
    return lambda tag=graph.tag, x=target: (x, target)


@kind
def method(graph, edges):
    lists = [n for n in graph.nodes if type(n) is list]
    return (lists[edges[0] % len(lists)] if edges and lists else []).append


@kind
def partial(graph, edges):
    return functools.partial(ask, *graph.earlier(edges[:2]), key=graph.tag)


@kind
def iterator(graph, edges):
    node = iter(graph.earlier(edges))
    next(node, None)
    return node


# ------------------------------------------------------------------ comparing

ATOMS = (int, str, bytes, float, bool, type(None), type, types.ModuleType, types.CodeType)
FRAMES = {types.GeneratorType: "gi", types.CoroutineType: "cr", types.AsyncGeneratorType: "ag"}


class Isomorphism:
    """Maps the objects of one graph to those of another; `problem` says where they differ."""

    def __init__(self, one, other):
        self.there, self.back, self.kept = {}, {}, []
        self.problem = self.walk(one, other)

    def walk(self, one, other):
        todo = [("root", one, other)]
        while todo:
            path, a, b = todo.pop()
            if type(a) is not type(b):
                return f"{path}: {type(a).__name__} became {type(b).__name__}"
            if isinstance(a, ATOMS) or by_name(a):
                if a != b:
                    return f"{path}: {a!r:.80} became {b!r:.80}"
                continue
            if id(a) in self.there or id(b) in self.back:
                if self.there.get(id(a)) is not b or self.back.get(id(b)) is not a:
                    return f"{path}: identity of a {type(a).__name__} differs"
                continue
            if not (isinstance(a, (tuple, frozenset)) and not a):
                self.there[id(a)], self.back[id(b)] = b, a
                self.kept += [a, b]
            parts, others = children(a), children(b)
            if [name for name, _ in parts] != [name for name, _ in others]:
                return f"{path}: a {type(a).__name__} has parts {[n for n, _ in others]}, not {[n for n, _ in parts]}"
            todo += [(f"{path}.{name}", x, y) for (name, x), (_, y) in zip(parts, others)]
        return None


def by_name(obj):
    """What is referred to by name, never copied."""
    return isinstance(obj, types.FunctionType) and obj.__closure__ is None and "<" not in obj.__qualname__


def tag_of(obj):
    """Orders what is in a set."""
    if isinstance(obj, (int, str)):
        return str(obj)
    if isinstance(obj, frozenset):
        return "/".join(sorted(map(tag_of, obj)))
    if isinstance(obj, (tuple, BaseException)):
        return tag_of((obj if isinstance(obj, tuple) else obj.args)[0])
    if isinstance(obj, types.FunctionType):
        return str(next(x for x in obj.__defaults__ if isinstance(x, (int, float))))
    if type(obj) in FRAMES:
        frame = getattr(obj, FRAMES[type(obj)] + "_frame")
        return str(frame.f_locals["tag"])
    return str(obj.tag)


def children(obj):
    """(name, part) pairs in an order that does not depend on addresses or hashes."""
    return [*contents(obj), *attributes(obj)]


def contents(obj):
    if isinstance(obj, (list, tuple, collections.deque)):
        return [(f"[{i}]", x) for i, x in enumerate(obj)]
    if isinstance(obj, dict):
        return [(f"{part} {i}", x) for i, pair in enumerate(obj.items()) for part, x in zip(("key", "value"), pair)]
    if isinstance(obj, (set, frozenset)):
        return [(f"element {i}", x) for i, x in enumerate(sorted(obj, key=tag_of))]
    if isinstance(obj, bytearray):
        return [("bytes", bytes(obj))]
    if isinstance(obj, types.CellType):
        return [("cell", obj.cell_contents)]
    if isinstance(obj, functools.partial):
        return [("func", obj.func), ("args", obj.args), ("keywords", obj.keywords)]
    if type(obj) in FRAMES:
        return frame_parts(obj, FRAMES[type(obj)])
    if isinstance(obj, (types.FunctionType, types.MethodType, types.BuiltinMethodType)):
        return function_parts(obj)
    if isinstance(obj, BaseException):
        return [
            ("args", obj.args),
            ("cause", obj.__cause__),
            ("context", obj.__context__),
            ("quiet", obj.__suppress_context__),
        ]
    return list(enumerate(obj.__reduce__())) if hasattr(obj, "__length_hint__") else []


def attributes(obj):
    if isinstance(obj, types.FunctionType) or type(obj) is functools.partial:
        return []
    slots = [
        (name, getattr(obj, name)) for name in Slotted.__slots__[:3] if isinstance(obj, Slotted) and hasattr(obj, name)
    ]
    return slots + [(f".{name}", x) for name, x in sorted(getattr(obj, "__dict__", {}).items())]


def frame_parts(obj, prefix):
    frame = getattr(obj, prefix + "_frame")
    if frame is None:
        return [("finished", True)]
    awaited = getattr(obj, "gi_yieldfrom" if prefix == "gi" else prefix + "_await")
    values = sorted(frame.f_locals.items())
    return [
        ("name", obj.__qualname__),
        ("line", frame.f_lineno),
        ("below", awaited),
        *((f"local {name}", value) for name, value in values if name != "shared"),
    ]


def function_parts(obj):
    if not isinstance(obj, types.FunctionType):
        return [("self", obj.__self__), ("name", obj.__name__)]
    closure = [(f"cell {i}", cell) for i, cell in enumerate(obj.__closure__ or ())]
    return [("name", obj.__qualname__), *closure, ("defaults", obj.__defaults__ or ()), ("code", obj.__code__.co_code)]
