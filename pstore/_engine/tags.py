"""`Index`: which tasks are in which state since when, and which have which tags; part of the graph.

    active      not done; since it was started
    finished, failed, cancelled    done; since it ended

Rules: kept when a task starts, ends, is tagged or dropped, so that nobody has to look at all tasks; time never goes
backwards, so that the entries of a state are in the order of their moments, and the latest are found from the end;
values of another type are other tags, though Python has 1, 1.0 and True for equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pstore._engine.loop import DurableLoop
    from pstore._engine.task import Task

__all__ = ["STATES", "Index", "check_asked", "check_tags", "state_of"]

STATES = ("active", "finished", "failed", "cancelled")

Value = str | int | float | bool
# A name, the kind of the value, and the value, as a key of the index: without the kind True would be found as 1.
Key = tuple[str, str, Value]
# When a task came to its state, its number, its id.
Entry = tuple[float, int, str]

# A bool is an int as well, and so comes before it.
_KINDS = (("bool", bool), ("int", int), ("float", float), ("str", str))


def check_tags(tags: Mapping[str, Any]) -> None:
    """Complain about values that tags cannot have."""
    for name, value in tags.items():
        if value is not None:
            _key(name, value)


def check_asked(tags: Any) -> None:
    """Complain about what no tags can be found by."""
    if not isinstance(tags, Mapping):
        raise TypeError(f"tag={tags!r}: tags are looked for by name and value, as in tag={{'customer': 'c-17'}}")
    for name, value in tags.items():
        _key(name, value)


def _key(name: str, value: Any) -> Key:
    for kind, cls in _KINDS:
        if isinstance(value, cls):
            return name, kind, value
    raise TypeError(f"the value of a tag is a text, a number or a truth value; {name}={value!r} is not")


def state_of(task: Task[Any]) -> str:
    """Tell the state of a task, as it is found by."""
    if not task.done():
        return "active"
    return "cancelled" if task.cancelled() else "failed" if task.failed else "finished"


class Index:
    """Finds tasks.

    Attributes:
        since: state -> id of a task -> moment, UTC seconds.
        tags: id of a task -> its tags.
        having: tag -> ids of the tasks that have it.
    """

    def __init__(self) -> None:
        self.since: dict[str, dict[str, float]] = {state: {} for state in STATES}
        self.tags: dict[str, dict[str, Value]] = {}
        self.having: dict[Key, dict[str, None]] = {}
        self._mixed: dict[str, bool] = {}  # states whose moments are not in order, as tasks came back

    def left(self, task: Task[Any]) -> float:
        """A task is parked; gives the moment of its state."""
        return self.since[state_of(task)].pop(task.id, task.since)

    def came(self, task: Task[Any], moment: float) -> None:
        """A task that was parked is resident again."""
        state = state_of(task)
        self.since[state][task.id] = moment
        self._mixed[state] = True

    def make_smaller(self) -> None:
        """Make tables anew that have had many more entries."""
        for state, moments in self.since.items():
            self.since[state] = dict(moments)

    def __len__(self) -> int:
        return sum(len(moments) for moments in self.since.values())

    def rebuild(self, tasks: Iterable[Task[Any]]) -> None:
        """Take in the tasks of a store that was written before there was an index."""
        self.since = {state: {} for state in STATES}
        for task in sorted(tasks, key=lambda task: task.since):
            self.since[state_of(task)][task.id] = task.since

    def bring_up_to_date(self) -> None:
        """Take over the index of an older store, which had no parking, and, as `tagged`, (name, value) of a tag."""
        self.__dict__.setdefault("_mixed", {})
        if vars(self).pop("tagged", None) is not None:
            self.having = {}
            for task_id, tags in self.tags.items():
                for name, value in tags.items():
                    self.having.setdefault(_key(name, value), {})[task_id] = None

    def started(self, task_id: str, moment: float) -> None:
        """Note a task that was made."""
        self.since["active"][task_id] = moment

    def ended(self, task: Task[Any], moment: float) -> None:
        """Note a task that is done, and can still be found by its id."""
        self.since["active"].pop(task.id, None)
        self.since[state_of(task)][task.id] = moment

    def drop(self, task_id: str) -> None:
        """Forget a task."""
        for moments in self.since.values():
            if moments.pop(task_id, None) is not None:
                break
        if task_id in self.tags:
            self.tag(task_id, dict.fromkeys(self.tags[task_id]))

    def tag(self, task_id: str, tags: Mapping[str, Value | None]) -> None:
        """Set tags of a task; None takes one away."""
        check_tags(tags)
        own = self.tags.setdefault(task_id, {})
        for name, value in tags.items():
            if name in own:
                self._untag(task_id, name, own.pop(name))
            if value is not None:
                own[name] = value
                self.having.setdefault(_key(name, value), {})[task_id] = None
        if not own:
            del self.tags[task_id]

    def _untag(self, task_id: str, name: str, value: Value) -> None:
        key = _key(name, value)
        ids = self.having[key]
        del ids[task_id]
        if not ids:
            del self.having[key]

    def find(self, state: str | None, tags: Mapping[str, Value], since: float | None, loop: DurableLoop) -> list[str]:
        """Give the ids of the tasks of a loop that have this state and these tags: the earliest, and oldest, first."""
        states = STATES if state is None else (state,)
        if not tags:
            found = [entry for each in states for entry in self._since(each, since, loop.state.tasks)]
            found += (entry for each in states for entry in loop.parking.since(each, since))
        else:
            found = [entry for entry in self._tagged(states, tags, loop) if since is None or entry[0] >= since]
        return [task_id for *_, task_id in sorted(found, key=lambda entry: entry[:2])]

    def _since(self, state: str, since: float | None, tasks: Mapping[str, Task[Any]]) -> Iterator[Entry]:
        """Give the entries of a state, or the latest of them."""
        latest: Iterable[tuple[str, float]] = reversed(self.since[state].items())
        if self._mixed.get(state):
            latest = (entry for entry in latest if since is None or entry[1] >= since)
        elif since is not None:
            latest = takewhile(lambda entry: entry[1] >= since, latest)
        return ((moment, tasks[task_id].number, task_id) for task_id, moment in latest)

    def _tagged(self, states: Iterable[str], tags: Mapping[str, Value], loop: DurableLoop) -> Iterator[Entry]:
        sets = sorted((self.having.get(_key(*tag), {}) for tag in tags.items()), key=len)
        for task_id in sets[0]:
            if all(task_id in others for others in sets[1:]):
                for state in states:
                    if task_id in self.since[state]:
                        yield self.since[state][task_id], loop.state.tasks[task_id].number, task_id
                entry = loop.parking.entry(task_id)
                if entry is not None and STATES[entry.state] in states:
                    yield entry.since, entry.number, task_id
