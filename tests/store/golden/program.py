"""What the golden files hold.  NEVER CHANGE anything that is here: stored bytes refer to it by name and by its bytecode.

New things go to the end, into functions of their own, for files of new formats.
"""

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import operator
import random
import re
import types
import uuid
import weakref


class Plain:
    pass


class Slotted:
    __slots__ = ("a", "b", "__weakref__")


class Mixed(Slotted):
    pass


@dataclasses.dataclass
class Order:
    number: int
    lines: list


@dataclasses.dataclass(frozen=True)
class Key:
    name: str
    members: frozenset


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Point(collections.namedtuple("Point", "x y")):
    pass


class Items(list):
    pass


class Table(dict):
    pass


class Text(str):
    pass


class Number(int):
    pass


class Trouble(Exception):
    pass


class Reduced:
    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return Reduced, (self.name,), {"kept": self.kept}

    def __eq__(self, other):
        return isinstance(other, Reduced) and self.name == other.name

    def __hash__(self):
        return hash(self.name)


class Stateful:
    def __getstate__(self):
        return [self.first, self.second]

    def __setstate__(self, state):
        self.first, self.second = state


class Meta(type):
    pass


class Made(metaclass=Meta):
    pass


class Cached:
    def __init__(self, base):
        self.base = base

    @functools.cached_property
    def twice(self):
        return [self.base, self.base]


def double(x):
    return 2 * x


def instance(cls, **attributes):
    made = cls.__new__(cls)
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def data():
    """Plain data of every kind; the root of the first two transactions of the files without frames."""
    shared = ["shared"]
    key = Key("inner", frozenset({Key("a", frozenset()), Key("b", frozenset({"x", "y"}))}))
    ring = instance(Plain, name="ring", shared=shared)
    ring.me, ring.list = ring, [ring, shared]
    root = {
        "shared": shared,
        "ring": ring,
        "atoms": [None, True, False, 0, 1, -1, 2**80, -(2**40), 1.5, float("inf"), 1 + 2j, "", "text", "\u00e9\ud800", b"", b"by", ...],
        "tuples": ((), (1,), (1, (2, (3, shared))), (shared, shared)),
        "long": ["x" * 300, b"y" * 300, list(range(300)), {n: str(n) for n in range(300)}],
        "sets": [set(), {1, 2, 3}, {"a", "b", "c"}, frozenset({"d", ("e", 1)}), {key}],
        "keys": {key: shared, Colour.RED: "red", (1, "a"): 2, None: 3, 1.5: 4},
        "enums": [Colour.BLUE, Rights.READ | Rights.WRITE, Rights.READ],
        "slots": [instance(Slotted, a=shared), instance(Slotted), instance(Mixed, a=1, b=shared, c=2)],
        "dataclasses": [Order(1, shared), Order(2, [shared])],
        "named": Point(1, shared),
        "subclasses": [Items([1, shared]), Table(a=shared), Text("text"), Number(7)],
        "reduced": instance(Reduced, name="reduced", kept=shared),
        "stateful": instance(Stateful, first=shared, second=2),
        "made": instance(Made, held=shared),
        "cached": Cached(shared),
        "classes": [Plain, Meta, dict, collections.deque, type(None)],
        "functions": [double, len, operator.itemgetter(1, 2), functools.partial(double, shared), instance(Cached).__init__],
        "collections": [
            collections.deque([1, shared], maxlen=5),
            collections.OrderedDict(b=1, a=shared),
            collections.defaultdict(list, a=[1]),
            collections.Counter("abca"),
            collections.ChainMap({"a": 1}, {"b": shared}),
            types.SimpleNamespace(a=shared),
            types.MappingProxyType({"a": shared}),
        ],
        "buffers": [bytearray(b"bytes"), array.array("d", [1.5, 2.5]), array.array("i", [1, 2])],
        "numbers": [decimal.Decimal("1.10"), fractions.Fraction(1, 3)],
        "times": [
            datetime.date(2024, 2, 29),
            datetime.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=datetime.timezone.utc),
            datetime.timedelta(days=1, microseconds=5),
        ],
        "others": [uuid.UUID(int=5), re.compile("a+", re.I), random.Random(7), range(1, 10, 2), slice(1, None, 2)],
        "weak": weakref.ref(ring),
        "iterators": [started(iter([1, shared, 2])), started(iter((1, 2, shared)))],
        "error": Trouble("what", shared),
    }
    root["cached"].twice
    root["subclasses"][0].extra = shared
    root["subclasses"][1].extra = root
    root["subclasses"][2].extra = shared
    root["error"].__cause__ = KeyError("cause")
    root["error"].add_note("a note")
    return root


def started(iterator):
    next(iterator)
    return iterator


def go_on(root):
    """What happens between the second and the third transaction."""
    root["shared"].append("more")
    root["ring"].added = {"shared": root["shared"]}
    del root["long"]
    root["keys"][Colour.RED] = root["ring"]


def worker(shared, box):
    undo = []
    for number in range(5):
        try:
            undo.append(lambda: (shared, number))
            if number == 1:
                raise ValueError(number)
            shared.append((yield [number, box]))
        except ValueError as error:
            box.error = error
            box.answer = yield "in the handler", shared


def outer(shared):
    result = yield from worker(shared, Plain())
    return result


async def waiting(shared):
    return [shared, await pause(shared), shared]


@types.coroutine
def pause(shared):
    got = yield shared
    return got


def counter(shared):
    count = 0

    def up():
        nonlocal count
        count += 1
        shared.append(count)
        return count

    def look():
        return count

    return up, look


def local_class(shared):
    class Local:
        holds = shared

        def method(self):
            return self.holds

    return Local


def frames():
    """Suspended frames, closures, a class by value; the root of the files with frames."""
    shared = ["shared"]
    box = Plain()
    deep = outer(shared)
    next(deep)
    deep.send("sent")
    coroutine = waiting(shared)
    coroutine.send(None)
    fresh, ended = worker(shared, box), worker(shared, box)
    ended.close()
    up, look = counter(shared)
    up()
    return {
        "shared": shared,
        "worker": started(worker(shared, box)),
        "box": box,
        "deep": deep,
        "coroutine": coroutine,
        "fresh": fresh,
        "ended": ended,
        "up": up,
        "look": look,
        "lambda": lambda x, held=shared: (x, held),
        "local": local_class(shared)(),
        "default": collections.defaultdict(lambda: shared, a=1),
    }


def frames_go_on(root):
    """What happens between the second and the third transaction."""
    root["shared"].append("more")
    root["worker"].send("first")
    root["up"]()
    root["coroutine_list"] = [root["coroutine"]]


def resumed(root):
    """Run all frames of a root on; gives what they yield, and what closures say."""
    seen = [root["worker"].send("on"), root["deep"].send("on"), next(root["fresh"]), root["up"](), root["look"]()]
    try:
        root["coroutine"].send("awaited")
    except StopIteration as stop:
        seen.append(stop.value)
    seen += [list(root["ended"]), root["lambda"](1), root["local"].method(), root["default"]["new"], root["shared"]]
    return seen
