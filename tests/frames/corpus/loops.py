# ruff: noqa
"""for and while: every builtin iterator half consumed, some of them while what they run over changes."""

import array
import collections
import collections.abc

from tests.frames.kit import Fault, case, emit, group, unsent
from tests.frames.parts import Box, Countdown, pause, ticker

group("loops")


@case
def loop_over_list_and_tuple_literals():
    """Constant sequences nested three deep, results gathered from what is sent."""
    out = []
    for a in [1, 2]:
        for b in ("x", "y"):
            for c in [None]:
                out.append((a, b, c, (yield a, b, c)))
    return out


@case
def list_grows_and_shrinks_under_loop():
    """The loop has to see later changes of the very list."""
    xs = [1, 2, 3]
    for x in xs:
        got = yield x
        if x == 1:
            xs.append(4)
        elif x == 2:
            xs.pop()
        elif got > 103:
            xs.clear()
    return xs


@case
def list_inserted_before_position():
    """An insertion before the position makes the loop see an element twice."""
    xs = ["a", "b"]
    for x in xs:
        yield x
        if len(xs) < 4:
            xs.insert(0, "new")
    return xs


@case
def list_iterator_in_two_hands():
    """The loop's iterator is also held by a name."""
    it = iter([1, 2, 3, 4, 5])
    for x in it:
        yield x
        emit(next(it, "none left"))
    return list(it)


@case
def list_iterator_exhausted_stays_so():
    """An exhausted list iterator does not come back to life when the list grows."""
    xs = [1]
    it = iter(xs)
    list(it)
    yield "exhausted"
    xs.append(2)
    return list(it), xs


@case
def reversed_list_half_way():
    """reversed() keeps its index while the list grows at the end."""
    xs = [1, 2, 3]
    for x in reversed(xs):
        yield x
        xs.append(x * 10)
    return xs


@case
def reversed_tuple_range_and_custom():
    """reversed over three kinds of sequence."""

    class Seq:
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return ("item", i)

    for x in reversed((1, 2)):
        yield x
    for x in reversed(range(0, 6, 3)):
        yield x
    for x in reversed(Seq()):
        yield x


@case
def range_with_huge_numbers():
    """Ranges beyond 64 bits have another iterator type."""
    for i in range(2**70, 2**70 + 3):
        yield i - 2**70
    for i in reversed(range(-(2**65), -(2**65) + 2)):
        yield i + 2**65
    return i


@case
def range_and_its_iterator_are_apart():
    """A range is not consumed, its iterator is."""
    r = range(3)
    it = iter(r)
    next(it)
    yield r
    yield next(it)
    return list(it), list(r), it.__length_hint__()


@case
@unsent
def dict_items_in_insertion_order():
    """items() of a dict with deleted entries in between."""
    d = {"a": 1, "b": 2, "c": 3, "d": 4}
    del d["b"]
    for k, v in d.items():
        yield k, v
    return d


@case
def dict_values_updated_under_loop():
    """Values changed ahead of the loop are seen; the dict's size stays."""
    d = {"a": 1, "b": 2, "c": 3}
    for k in d:
        d["c"] = yield k, d[k]
    for v in d.values():
        d["a"] = 0
        yield v
    return d


@case
def dict_resized_under_loop():
    """Growing the dict makes the next step raise."""
    d = {"a": 1, "b": 2}
    try:
        for k in d:
            yield k
            d[k + k] = 0
    except RuntimeError as e:
        yield str(e)
    return sorted(d)


@case
def dict_shrunk_and_refilled_under_loop():
    """An entry deleted behind the loop, its place taken by a new one: noticed at the next step."""
    d = {i: i for i in range(3)}
    seen = []
    try:
        for k in d:
            seen.append(k)
            yield k
            del d[k]
    except RuntimeError as e:
        emit(str(e))
    yield "stopped"
    for k in d:
        seen.append(k)
        yield k
    return seen, d


@case
def dict_reversed_iterators():
    """The three reversed iterators of a dict, and the dict's own."""
    d = dict(a=1, b=2, c=3)
    its = reversed(d), reversed(d.keys()), reversed(d.values()), reversed(d.items())
    yield [next(it) for it in its]
    d["b"] = 20
    yield [next(it) for it in its]
    return [list(it) for it in its]


@case
def dict_views_follow_the_dict():
    """Views held in locals stay views of the same dict."""
    d = {"a": 1}
    keys, values, items = d.keys(), d.values(), d.items()
    yield keys, values, items
    d["b"] = 2
    yield list(keys), list(values), list(items), "b" in keys, ("b", 2) in items
    return keys.mapping is not d, keys.mapping == d, sorted(keys | {"z"}), keys & {"a"}


@case
def dict_iterator_exhausted_then_grown():
    """An exhausted dict iterator stays exhausted."""
    d = {1: 1}
    it = iter(d)
    next(it)
    yield next(it, "end")
    d[2] = 2
    return next(it, "still the end"), d


@case
def ordered_dict_and_moves():
    """OrderedDict iterators, with an entry moved to the end on the way."""
    d = collections.OrderedDict(a=1, b=2, c=3)
    for k in d:
        yield k
        if k == "a":
            d["b"] = 22
    it = reversed(d.items())
    yield next(it)
    d.move_to_end("a")
    yield list(d)
    try:
        return list(it)
    except RuntimeError as e:
        return str(e)


@case
def set_iterators():
    """Sets of small ints are in order whatever the hash seed."""
    s = {1, 2, 3, 4}
    it = iter(s)
    yield next(it)
    for x in it:
        yield x
    f = iter(frozenset([5, 6]))
    yield next(f)
    return list(f), sorted(s)


@case
def set_resized_under_loop():
    """A set that grows raises in the loop over it."""
    s = {1, 2}
    try:
        for x in s:
            yield x
            s.add(x + 10)
    except RuntimeError as e:
        return str(e), sorted(s)


@case
def str_iterators():
    """ASCII and wide strings have different iterators."""
    for c in "ab":
        yield c
    it = iter("aé漢𝄞z")
    next(it)
    yield next(it)
    yield next(it)
    return list(it)


@case
def bytes_like_iterators():
    """bytes, bytearray, array and memoryview."""
    ba = bytearray(b"\x01\x02\x03")
    it = iter(ba)
    ar = array.array("i", [7, 8, 9])
    ait, mit = iter(ar), iter(memoryview(b"\x0a\x0b"))
    bit = iter(b"xy")
    yield next(it), next(ait), next(mit), next(bit)
    ba.append(4)
    ar.append(10)
    yield next(it), next(ait), next(mit), next(bit)
    return list(it), list(ait), list(mit), list(bit), ba, ar


@case
def deque_iterators():
    """A deque both ways, then one changed under the loop."""
    d = collections.deque([1, 2, 3, 4], maxlen=4)
    it, back = iter(d), reversed(d)
    yield next(it), next(back)
    yield next(it), next(back)
    try:
        for x in d:
            yield x
            d.rotate(1)
    except RuntimeError as e:
        emit(str(e))
    return d, list(iter(d))


@case
def enumerate_zip_and_friends():
    """enumerate from a start, zip of three, map of two, filter with None."""
    for i, (a, b, c) in enumerate(zip("xyz", range(3), Countdown(9)), start=-1):
        yield i, a, b, c
    for x in map(lambda p, q: p * q, [1, 2], iter([3, 4])):
        yield x
    for x in filter(None, [0, 1, "", "s"]):
        yield x


@case
def enumerate_with_big_counter():
    """enumerate's counter beyond 64 bits."""
    for i, x in enumerate("ab", 2**63 - 1):
        yield i, x
    return i


@case
def zip_strict_fails_late():
    """zip(strict=True) notices the difference after the transfer."""
    z = zip([1, 2, 3], iter([4, 5]), strict=True)
    yield next(z)
    yield next(z)
    try:
        next(z)
    except ValueError as e:
        return str(e)


@case
def map_over_bound_method_and_builtin():
    """The function inside a half consumed map."""
    b = Box(10)
    m, n = map(b.add, [1, 2, 3]), map(str.upper, iter("ab"))
    yield next(m), next(n)
    b.value = 100
    yield next(m), next(n)
    return list(m), b


@case
def callable_iterator_with_sentinel():
    """iter(callable, sentinel) over a closure."""
    n = 0

    def count():
        nonlocal n
        n += 1
        return n

    for x in iter(count, 4):
        n += (yield x) - 100 and 0
    it = iter([5, 6, 7].pop, 5)
    yield next(it)
    return list(it), n


@case
def getitem_iterator():
    """Iteration by __getitem__ alone, with a live object behind it."""

    class Old:
        def __init__(self):
            self.items = [1, 2]

        def __getitem__(self, i):
            return self.items[i]

    o = Old()
    for x in o:
        yield x
        if x < 5:
            o.items.append(x + 2)
    return o.items


@case
def custom_iterator_shared_by_two_loops():
    """An inner loop drains the outer loop's iterator."""
    c = Countdown(6)
    for x in c:
        for y in c:
            yield x, y
            if y % 2:
                break
    return c.n


@case
def sized_iterable_in_slots():
    """An iterator class with slots."""

    class Slotted:
        __slots__ = ("i", "stop")

        def __init__(self, stop):
            self.i, self.stop = 0, stop

        def __iter__(self):
            return self

        def __next__(self):
            if self.i == self.stop:
                raise StopIteration
            self.i += 1
            return self.i

    for x in Slotted(3):
        yield x


@case
def while_else_and_break():
    """else after a while with and without a break, twice nested."""
    out = []
    n = 2
    while n:
        m = 2
        while m:
            got = yield n, m
            m -= 1
            if got == 101:
                break
        else:
            out.append(("else", n))
        n -= 1
    else:
        out.append("outer else")
    return out


@case
def for_else_with_break_in_nest():
    """for/else where the break comes from the inner loop's else."""
    for a in range(3):
        for b in range(2):
            yield a, b
            if a == 1:
                break
        else:
            continue
        yield "broke", a, b
        break
    else:
        yield "never"


@case
def loop_variable_is_a_target_expression():
    """Attribute, subscript and starred loop targets."""
    b, d = Box(), {}
    for b.value in [1, 2]:
        yield b
    for d["k"] in "xy":
        yield d
    for a, *rest in [(1, 2, 3), [4]]:
        yield a, rest
    for (a, b.value), [c] in [((1, 2), [3])]:
        yield a, b, c


@case
def loop_variable_rebound_and_deleted():
    """Rebinding or deleting the loop's variable does not disturb the loop."""
    for x in [1, 2, 3]:
        x += yield x
        del x
    for xs in [[1], [2]]:
        for x in xs:
            xs = "gone"
            yield x, xs


@case
def loop_over_generator_closed_on_break():
    """A generator left by break is held, not closed."""
    g = ticker(5)
    for x in g:
        yield x
        if x == 1:
            break
    yield "left"
    return list(g)


@case
def hot_loop_before_suspending():
    """Three thousand rounds specialise the bytecode before the first suspension."""
    total, xs, b = 0, [1, 2, 3], Box(0)
    for i in range(3000):
        total += xs[i % 3]
        b.value = b.value + 1
        if i % 1000 == 999:
            total += yield i, total, b.value
    return total, b


@case
def hot_loop_changes_types():
    """Specialised for ints, then fed with strings and floats."""
    acc = 0
    for i in range(3000):
        acc = acc + i
    for part in (acc, 0.5, 1j):
        for i in range(60):
            part = part + i
        yield part
    text = ""
    for i in range(500):
        text += "x"
    yield len(text)
    return acc


@case
def loop_raises_in_iterator():
    """The iterator raises on its own after a while."""

    class Bad:
        n = 0

        def __iter__(self):
            return self

        def __next__(self):
            self.n += 1
            if self.n > 2:
                raise Fault(self.n)
            return self.n

    bad = Bad()
    try:
        for x in bad:
            yield x
    except Fault as e:
        yield e.args
    return bad.n


@case
async def await_in_loop_headers():
    """The iterable and the condition are awaited."""
    n = 2
    while await pause(("cond", n)) > 100 and n:
        n -= 1
    else:
        await pause("else")
    for x in (await pause("it"), *[1, await pause("more")]):
        await pause(x)
    return n


@case
def unpacking_generators():
    """Half consumed by unpacking with a star and by next()."""
    g = ticker(6)
    a, b = next(g), next(g)
    yield a, b
    c, *rest = g
    yield c, rest
    first, *middle, last = (x for x in range(5))
    return first, middle, last


@case
def abstract_views_and_user_mapping():
    """The views of a user-defined mapping are Python objects."""

    class M(collections.UserDict):
        pass

    m = M(a=1, b=2)
    it = iter(m.items())
    yield next(it)
    m["b"] = 3
    yield next(it)
    views = m.keys(), m.values()
    yield isinstance(views[0], collections.abc.KeysView)
    return [list(v) for v in views], dict(m)


@case
def counter_and_chainmap_iterators():
    """Counter.elements and ChainMap are built of chains and generators."""
    c = collections.Counter("aab")
    el = c.elements()
    yield next(el)
    cm = collections.ChainMap({"x": 1}, {"y": 2, "x": 3})
    it = iter(cm)
    yield next(it)
    return list(el), list(it), c.most_common(1), cm["y"]


@case
def defaultdict_keeps_factory():
    """A defaultdict with list, a lambda and a bound method as factories."""
    n = [0]
    d, e, f = collections.defaultdict(list), collections.defaultdict(lambda: n), collections.defaultdict([9].copy)
    d["a"].append(1)
    yield d
    d["b"].append(2)
    e["x"].append(3)
    yield d, n
    f[1].append(2)
    return dict(d), e["y"] is n, dict(f)
