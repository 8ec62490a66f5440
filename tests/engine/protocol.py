"""A model of the protocol of commits and effects, searched exhaustively (`protocol_search`).

    python -m tests.engine.protocol [--tasks N] [--steps N] [--messages N] [--mutants] [NAME ...]

Owned here: what the engine, its store, the threads of steps, the senders of messages and the world outside may do, in
any order that the protocol allows; and what has to hold in every state that can be reached.  `protocol_mutants` are
protocols with one rule broken, each of which the search has to refute.  The engine is not run here: the model says what
it has to keep.

A state (`State`) has

- `memory`, what a commit keeps: where each task stands, which steps and posts are asked for, which messages came;
- `disk`, what outlives a power cut, and `flight`, the commit between the two: cut, then voted (whole in the file, but
  not finished), then finished (outlives the death of the process, not yet a power cut), then down;
- what dies with the process: attempts that run, answers that nobody took, acknowledgements that are owed;
- the world outside: the ledger of effects, and the messages whose sender knows that they came.

Rules of the model:

- The ledger has an effect once, however often it was repeated, and no moment has a date: so there are finitely many
  states, with any number of crashes, duplicates and rollbacks.
- A method of `Protocol` that a mutant replaces is one rule of the protocol.
- Each scenario is searched with answers that are committed before the task goes on (``committed first``) and with
  answers that are committed together with what the task does next (``together``); with commits that the tasks wait for
  (``one by one``) and with tasks that go on while a commit is in flight (``overlapped``).
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

ATTEMPTS = 2  # of a step, a post, or a message whose handler raises

# Results that a task sees of a step, and what became of a post.
RESULT, ERROR, TIMEOUT = "r", "e", "t"


class Task(NamedTuple):
    """Where a task stands: before the operation `at`, or in it: waiting under `key`, perhaps with its `answer`."""

    at: int = 0
    key: int | None = None
    answer: str = ""
    saw: str = ""  # of each operation that is over: RESULT, ERROR, TIMEOUT, or - if it gives nothing


class Asked(NamedTuple):
    """A step or post that is asked for and not over.  `cause`: task and operation."""

    key: Any
    cause: tuple[int, int]
    failed: int = 0


class Memory(NamedTuple):
    """What a commit keeps."""

    tasks: tuple[Task, ...]
    keys: int = 0
    steps: tuple[Asked, ...] = ()
    posts: tuple[tuple[Asked, ...], ...] = ()  # for each destination
    posted: tuple[int, ...] = ()  # how many there were for each
    lost: frozenset[Any] = frozenset()  # keys of posts, and messages, that are dead letters
    inbox: tuple[int, ...] = ()
    raised: frozenset[int] = frozenset()  # messages whose handler raised once
    seen: frozenset[int] = frozenset()
    handled: tuple[int, ...] = ()  # of each message: how often


class Flight(NamedTuple):
    """A commit on its way.

    `phase`: cut, voted, finished; doubt: its fsync failed; found: by an opening, not known to be on disk; forgotten: as
    found, and no fsync alone will put it there; believed: taken for durable, which no correct protocol does.
    """

    memory: Memory
    phase: str


class Attempt(NamedTuple):
    """A step or post that runs.  `entered`: whether it is in the ledger, by this attempt."""

    key: Any
    cause: tuple[int, int]
    entered: bool = False


class Answer(NamedTuple):
    """What an attempt gave, which the engine has not taken."""

    key: Any
    cause: tuple[int, int]
    outcome: str


class State(NamedTuple):
    """All there is."""

    memory: Memory
    disk: Memory
    flight: Flight | None = None
    engine: str = "up"  # doubt: nothing leaves any more; opening: the store has not been made sure of
    running: frozenset[Attempt] = frozenset()
    answers: frozenset[Answer] = frozenset()
    owed: frozenset[int] = frozenset()
    acked: frozenset[int] = frozenset()
    ledger: frozenset[tuple[tuple[int, int], Any]] = frozenset()
    extra: Any = None  # what mutants remember


class Broken(Exception):
    """What had to hold does not."""


@dataclass(frozen=True)
class Scenario:
    """What there is to do, and what may happen.

    Attributes:
        name: of it.
        programs: for each task its operations: ``step``; ``timed``, a step with a timeout; ``post``, or ``post:1`` to
            another destination; ``take``, the handling of a message; ``serve``, that of all there are.
        together: answers are committed with what the task does next.
        overlapped: tasks go on while a commit is in flight.
        flaky: attempts may fail, before or after they have had their effect.
        slots: how many steps may run at a time; 0: any number.
        messages, poison: how many messages are sent; how many of them, the first, make their handler raise.
        strict: a post is not even repeated once a later one has left.
        disk_fails, power_fails, rolls_back: what happens beside the death of the process.
    """

    name: str
    programs: tuple[tuple[str, ...], ...]
    together: bool = False
    overlapped: bool = False
    flaky: bool = False
    slots: int = 0
    messages: int = 0
    poison: int = 0
    strict: bool = False
    disk_fails: bool = True
    power_fails: bool = True
    rolls_back: bool = True

    def __str__(self) -> str:
        answers = "together" if self.together else "committed first"
        return f"{self.name}, {answers}, {'overlapped' if self.overlapped else 'one by one'}"

    def has_steps(self) -> bool:
        """Whether a task waits for answers."""
        return any(op in ("step", "timed") for program in self.programs for op in program)

    def start(self) -> State:
        """Give the state in which nothing has happened."""
        targets = 1 + max((_target(op) for program in self.programs for op in program), default=0)
        memory = Memory(
            tuple(Task() for _ in self.programs),
            posts=((),) * targets,
            posted=(0,) * targets,
            handled=(0,) * self.messages,
        )
        return State(memory, memory)


Move = tuple[str, State]


class Protocol:
    """What may happen in a state, and what has to hold in it."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario

    # -- rules, which mutants break

    def committed(self, state: State) -> Memory:
        """Give what the engine takes for durable: only what that contains may leave."""
        if state.flight is not None and state.flight.phase == "believed":
            return state.flight.memory
        return state.disk

    def committed_for_steps(self, state: State) -> Memory:
        """Give what has to contain a step before it starts."""
        return self.committed(state)

    def committed_for_acks(self, state: State) -> Memory:
        """Give what has to contain a message before its sender is told."""
        return self.committed(state)

    def committed_for_answers(self, state: State) -> Memory:
        """Give what has to contain an answer before its task goes on, if answers are committed first."""
        return self.committed(state)

    def snapshot(self, state: State) -> Memory:
        """Give what a commit contains: one state of all."""
        return state.memory

    def down(self, state: State) -> State:
        """The commit in flight is down."""
        return state._replace(disk=state.flight.memory, flight=None)

    def sync_failed(self, state: State) -> State:
        """The commit in flight is in the file, but was not made durable."""
        return state._replace(engine="doubt", flight=state.flight._replace(phase="doubt"))

    def made_sure(self, state: State) -> State:
        """What an opening has found is written again, and fsynced."""
        return state._replace(engine="up", disk=state.flight.memory, flight=None)

    def restored(self, memory: Memory) -> Memory:
        """What a process begins with."""
        return memory

    def key(self, state: State) -> int:
        """Give a new key; the count is stored."""
        return state.memory.keys

    def step_of(self, memory: Memory, answer: Answer) -> Asked | None:
        """Find the step that an answer is for."""
        return next((asked for asked in memory.steps if asked.key == answer.key), None)

    def busy(self, state: State) -> set[Any]:
        """Give the keys that must not be started, as they run, or their answers were not taken."""
        return {attempt.key for attempt in state.running} | {answer.key for answer in state.answers}

    def slots_taken(self, state: State) -> int:
        """Count the slots of the limiter that are in use: a step has one until it ends, wanted or not."""
        return sum(1 for attempt in state.running if isinstance(attempt.key, int))

    def taken(self, state: State, answer: Answer) -> State:
        """The engine has an answer."""
        return state._replace(answers=state.answers - {answer})

    def timed_out(self, state: State, key: int) -> State:
        """The task that waited for a step has given it up."""
        return state

    def rolled_back(self, state: State) -> State:
        """Memory is as committed; what runs goes on."""
        return state._replace(memory=state.disk)

    def duplicate(self, state: State, message: int) -> State:
        """A message came again."""
        return state._replace(owed=state.owed | {message})

    def buried(self, memory: Memory, message: int) -> Memory:
        """Put a message away that cannot be handled."""
        return memory._replace(lost=memory.lost | {message})

    def next_post(self, state: State, target: int) -> Asked | None:
        """Give the post to a destination that may leave, if it is committed: one at a time, in order.

        The one before it must be over; if it was given up, or `strict`, by what is committed.
        """
        queue, stored = state.memory.posts[target], self.committed_for_steps(state)
        if not queue:
            return None
        before = {asked.key for asked in stored.posts[target]} - {asked.key for asked in queue}
        if self.scenario.strict or before & state.memory.lost:
            return queue[0] if not before else None
        return queue[0]

    # -- what may happen

    def moves(self, state: State) -> Iterator[Move]:
        """Give what may happen, faults aside."""
        if state.engine == "up":
            if state.flight is None or state.flight.phase == "believed" or self.scenario.overlapped:
                yield from self.tasks(state)
                yield from self.answers(state)
                yield from self.messages(state)
            yield from self.commits(state)
            yield from self.starts(state)
            yield from self.acks(state)
        elif state.engine == "opening":
            yield "the opening makes sure of what it found", self.made_sure(state)
        yield from self.world(state)

    def faults(self, state: State) -> Iterator[Move]:
        """Give what may go wrong."""
        for memory, phase in self.after_kill(state):
            yield "kill -9", self.restart(state, memory, phase)
        if self.scenario.power_fails:
            for memory in dict.fromkeys([state.disk, *self.perhaps_on_disk(state)]):
                yield "power cut", self.restart(state._replace(disk=memory), memory, "")
        if self.scenario.disk_fails and state.engine == "up" and state.flight is not None:
            if state.flight.phase == "cut":
                yield "the commit fails, nothing is written", state._replace(flight=None)
            if state.flight.phase == "finished":
                yield "the fsync fails", self.sync_failed(state)
        idle = state.engine == "up" and state.flight is None
        if self.scenario.rolls_back and idle and state.memory != state.disk:
            yield "rollback", self.rolled_back(state)

    def after_kill(self, state: State) -> Iterator[tuple[Memory, str]]:
        phase = state.flight.phase if state.flight else ""
        if phase in ("", "cut", "voted", "doubt"):
            yield state.disk, ""
        if phase in ("finished", "doubt", "believed", "found", "forgotten"):
            found = {"finished": "found", "found": "found"}.get(phase, "forgotten")
            yield state.flight.memory, found

    def perhaps_on_disk(self, state: State) -> list[Memory]:
        if state.flight is None or state.flight.phase in ("cut", "voted"):
            return []
        return [state.flight.memory]

    def restart(self, state: State, memory: Memory, phase: str) -> State:
        return State(
            memory=self.restored(memory),
            disk=state.disk,
            flight=Flight(memory, phase) if phase else None,
            engine="opening" if phase else "up",
            acked=state.acked,
            ledger=state.ledger,
        )

    # -- tasks

    def tasks(self, state: State) -> Iterator[Move]:
        memory = state.memory
        for number, task in enumerate(memory.tasks):
            if task.at == len(self.scenario.programs[number]):
                continue
            op = self.scenario.programs[number][task.at]
            name = f"task {number}"
            if task.answer:
                if self.committed_for_answers(state).tasks[number] == task:
                    yield f"{name} goes on", self.goes_on(state, number, task.answer)
            elif task.key is not None:
                if op == "timed":
                    later = self.goes_on(state, number, TIMEOUT)
                    steps = tuple(asked for asked in memory.steps if asked.key != task.key)
                    later = later._replace(memory=later.memory._replace(steps=steps))
                    yield f"the timer of {name} is due", self.timed_out(later, task.key)
            elif op in ("step", "timed"):
                key = self.key(state)
                asked = Asked(key, (number, task.at))
                later = memory._replace(keys=memory.keys + 1, steps=(*memory.steps, asked))
                later = later._replace(tasks=_with(memory.tasks, number, task._replace(key=key)))
                yield f"{name} asks for step {task.at} (key {key})", state._replace(memory=later)
            elif op in ("take", "serve"):
                yield from self.handles(state, number, ends=op == "take")
            else:
                target = _target(op)
                asked = Asked((target, memory.posted[target]), (number, task.at))
                later = memory._replace(
                    posts=_with(memory.posts, target, (*memory.posts[target], asked)),
                    posted=_with(memory.posted, target, memory.posted[target] + 1),
                )
                yield f"{name} posts {asked.key}", self.goes_on(state._replace(memory=later), number, "-")

    def goes_on(self, state: State, number: int, saw: str) -> State:
        task = state.memory.tasks[number]
        tasks = _with(state.memory.tasks, number, Task(task.at + 1, None, "", task.saw + saw))
        return state._replace(memory=state.memory._replace(tasks=tasks))

    def handles(self, state: State, number: int, *, ends: bool) -> Iterator[Move]:
        memory = state.memory
        if not memory.inbox:
            return
        message, left = memory.inbox[0], memory.inbox[1:]
        if message >= self.scenario.poison:
            handled = _with(memory.handled, message, min(2, memory.handled[message] + 1))
            later = state._replace(memory=memory._replace(inbox=left, handled=handled))
            yield f"task {number} handles message {message}", self.goes_on(later, number, "-") if ends else later
        elif message in memory.raised:
            later = self.buried(memory._replace(inbox=left, raised=memory.raised - {message}), message)
            yield f"message {message} becomes a dead letter", state._replace(memory=later)
        else:
            later = memory._replace(raised=memory.raised | {message})
            yield f"the handler of message {message} raises", state._replace(memory=later)

    # -- commits

    def commits(self, state: State) -> Iterator[Move]:
        flight = state.flight
        if flight is None or flight.phase == "believed":
            if state.memory != self.committed(state):
                yield "a batch is cut", state._replace(flight=Flight(self.snapshot(state), "cut"))
        elif flight.phase == "cut":
            yield "the commit is voted", state._replace(flight=flight._replace(phase="voted"))
        elif flight.phase == "voted":
            yield "the commit is finished", state._replace(flight=flight._replace(phase="finished"))
        elif flight.phase == "finished":
            yield "the commit is down", self.down(state)

    # -- effects

    def starts(self, state: State) -> Iterator[Move]:
        busy = self.busy(state)
        stored = {asked.key: asked for asked in self.committed_for_steps(state).steps}
        free = not self.scenario.slots or self.slots_taken(state) < self.scenario.slots
        for asked in state.memory.steps:
            if free and asked.key in stored and asked.key not in busy:
                yield f"step {asked.cause} starts (key {asked.key})", self.started(state, asked)
        for target in range(len(state.memory.posts)):
            asked = self.next_post(state, target)
            if asked is None or asked.key in busy:
                continue
            if any(asked.key == known.key for known in self.committed_for_steps(state).posts[target]):
                yield f"post {asked.key} leaves", self.started(state, asked)

    def started(self, state: State, asked: Asked) -> State:
        return state._replace(running=state.running | {Attempt(asked.key, asked.cause)})

    def world(self, state: State) -> Iterator[Move]:
        """What happens outside, and in the threads."""
        for attempt in state.running:
            name = f"attempt of {attempt.key}"
            others = state.running - {attempt}
            if not attempt.entered:
                self.check_entry(state, attempt)
                entered = state.ledger | {(attempt.cause, attempt.key)}
                yield (
                    f"{name} has its effect",
                    state._replace(running=others | {attempt._replace(entered=True)}, ledger=entered),
                )
            for outcome in [RESULT] * attempt.entered + [ERROR] * self.scenario.flaky:
                answer = Answer(attempt.key, attempt.cause, outcome)
                said = "ends" if outcome == RESULT else "fails"
                yield f"{name} {said}", state._replace(running=others, answers=state.answers | {answer})

    def answers(self, state: State) -> Iterator[Move]:
        for answer in state.answers:
            label = f"the answer of {answer.key} is taken"
            later = self.taken(state, answer)
            if isinstance(answer.key, int):
                yield label, later._replace(memory=self.answered(state.memory, answer))
            else:
                yield label, later._replace(memory=self.delivered(state.memory, answer))

    def answered(self, memory: Memory, answer: Answer) -> Memory:
        asked = self.step_of(memory, answer)
        if asked is None:
            return memory  # nobody waits for it any more
        if answer.outcome == ERROR and asked.failed + 1 < ATTEMPTS:
            steps = tuple(a._replace(failed=a.failed + 1) if a is asked else a for a in memory.steps)
            return memory._replace(steps=steps)
        number, at = asked.cause
        task = memory.tasks[number]
        if answer.cause != asked.cause or task.at != at or task.key != asked.key or task.answer:
            raise Broken(f"an answer of {answer.cause} is given to {asked.cause}")
        memory = memory._replace(steps=tuple(a for a in memory.steps if a is not asked))
        if self.scenario.together:
            task = Task(at + 1, None, "", task.saw + answer.outcome)
        else:
            task = task._replace(answer=answer.outcome)
        return memory._replace(tasks=_with(memory.tasks, number, task))

    def delivered(self, memory: Memory, answer: Answer) -> Memory:
        target = answer.key[0]
        queue = memory.posts[target]
        at = next((n for n, asked in enumerate(queue) if asked.key == answer.key), None)
        if at is None:
            return memory
        if answer.outcome == ERROR and queue[at].failed + 1 < ATTEMPTS:
            return memory._replace(
                posts=_with(memory.posts, target, _with(queue, at, queue[at]._replace(failed=queue[at].failed + 1)))
            )
        lost = memory.lost | {answer.key} if answer.outcome == ERROR else memory.lost
        return memory._replace(posts=_with(memory.posts, target, queue[:at] + queue[at + 1 :]), lost=lost)

    # -- messages

    def messages(self, state: State) -> Iterator[Move]:
        memory = state.memory
        for message in range(self.scenario.messages):  # also those that are acknowledged: a network keeps what it likes
            label = f"message {message} comes"
            if message in memory.seen:
                if message not in state.acked:
                    yield label, self.duplicate(state, message)
            else:
                later = memory._replace(seen=memory.seen | {message}, inbox=(*memory.inbox, message))
                yield label, state._replace(memory=later, owed=state.owed | {message})

    def acks(self, state: State) -> Iterator[Move]:
        for message in state.owed & self.committed_for_acks(state).seen:
            later = state._replace(owed=state.owed - {message}, acked=state.acked | {message})
            yield f"message {message} is acknowledged", later

    # -- what has to hold

    def check(self, state: State) -> None:
        """What holds in every state.

        Raises: Broken.
        """
        self.check_keys(state)
        for cause, key in state.ledger:
            self.check_cause(state.disk, cause, key)
        for memory in (state.memory, state.disk):
            self.check_results(memory, state.ledger)
            self.check_messages(memory)
        for message in state.acked:
            if message not in state.disk.seen:
                raise Broken(f"message {message} is acknowledged, and lost")
        running = sum(1 for attempt in state.running if isinstance(attempt.key, int))
        if self.scenario.slots and running > self.scenario.slots:
            raise Broken(f"{running} steps run at a time, with {self.scenario.slots} slots")

    def check_keys(self, state: State) -> None:
        causes, keys = {cause for cause, _ in state.ledger}, {key for _, key in state.ledger}
        if not len(causes) == len(keys) == len(state.ledger):
            raise Broken(f"one effect has two keys, or two effects have one key: {sorted(state.ledger, key=str)}")

    def check_cause(self, disk: Memory, cause: tuple[int, int], key: Any) -> None:
        number, at = cause
        task = disk.tasks[number]
        if task.at < at or (task.at == at and task.key is None) or (task.at == at and task.key != key):
            raise Broken(f"the effect {key} of {cause} is in the world, and its cause is not on disk")

    def check_results(self, memory: Memory, ledger: frozenset[Any]) -> None:
        causes = {cause for cause, _ in ledger}
        for number, task in enumerate(memory.tasks):
            for at, saw in enumerate(task.saw):
                if saw == RESULT and (number, at) not in causes:
                    raise Broken(f"task {number} has a result of operation {at}, which never had its effect")
        for target, queue in enumerate(memory.posts):
            waiting = {asked.key for asked in queue}
            for number in range(memory.posted[target]):
                key = (target, number)
                if not (key in waiting or key in memory.lost or any(key == known for _, known in ledger)):
                    raise Broken(f"the post {key} is lost")

    def check_messages(self, memory: Memory) -> None:
        for message in range(self.scenario.messages):
            count = memory.inbox.count(message) + memory.handled[message] + (message in memory.lost)
            if count > 1:
                raise Broken(f"message {message} is handled twice")
            if message in memory.seen and not count:
                raise Broken(f"message {message} came, and is lost")

    def check_entry(self, state: State, attempt: Attempt) -> None:
        """What holds when an effect is about to be in the world: those before it are."""
        if isinstance(attempt.key, int):
            number, at = attempt.cause
            given_up = state.disk.tasks[number].saw[at : at + 1] == TIMEOUT
            if not given_up and any(
                cause[0] == number and cause[1] > at for cause, key in state.ledger if isinstance(key, int)
            ):
                raise Broken(f"step {at} of task {number} begins when a later one has begun")
            return
        target, number = attempt.key
        later = [key for _, key in state.ledger if not isinstance(key, int) and key[0] == target and key[1] > number]
        known = any(key == attempt.key for _, key in state.ledger)
        if later and (self.scenario.strict or not known):
            raise Broken(f"post {attempt.key} comes after {max(later)}")

    def is_over(self, state: State) -> bool:
        """Whether all is done, and known to be."""
        memory = state.memory
        return (
            state.engine == "up"
            and state.flight is None
            and memory == state.disk
            and all(self._is_done(*both) for both in zip(memory.tasks, self.scenario.programs, strict=True))
            and not memory.inbox
            and not any(memory.posts)
            and not state.running
            and not state.answers
            and len(state.acked) == self.scenario.messages
        )

    def _is_done(self, task: Task, program: tuple[str, ...]) -> bool:
        return task.at == len(program) or program[task.at] == "serve"


def _with(items: tuple[Any, ...], at: int, item: Any) -> tuple[Any, ...]:
    return (*items[:at], item, *items[at + 1 :])


def _target(op: str) -> int:
    return int(op.partition(":")[2] or 0)


# ---------------------------------------------------------------- scenarios


def scenarios(tasks: int = 2, steps: int = 2, messages: int = 2) -> list[Scenario]:
    """Give what is searched, each in four ways.

    Args:
        tasks: how many there are at a time, where several make a difference.
        steps: how many operations each has, one after the other.
        messages: how many come.
    """
    first = ("step",) * steps
    basic = [
        Scenario("steps", (first,) * tasks),
        Scenario("failing steps", (first,), flaky=True),
        Scenario("failing tasks", (("step",),) * tasks, flaky=True),
        Scenario("timeouts and slots", (("timed", *first[1:]), *(("step",),) * (tasks - 1)), slots=1),
        Scenario("failing timeouts", (("timed", *first[1:]),), flaky=True),
        Scenario("messages", (("serve",),) * tasks, messages=messages),
        Scenario("dead letters", (("serve",),), messages=messages, poison=1),
        Scenario("requests", (("take", "step", "post"),) * (tasks - 1), messages=tasks - 1, flaky=tasks == 2),
        Scenario("posts", (("post", "post:1", *("post",) * (steps - 1)),)),
        Scenario("posts of several", (("post",),) * tasks),
        Scenario("failing posts", (("post",) * steps,), flaky=True),
        Scenario("strict posts", (("post",) * steps, *(("post",),) * (tasks - 2)), flaky=True, strict=True),
        Scenario("all kinds", (("timed", "post"), ("take", "step")), messages=1, slots=1),
    ]
    return [
        replace(scenario, together=together, overlapped=overlapped)
        for scenario in basic
        for together, overlapped in itertools.product((False, True), repeat=2)
        if not together or scenario.has_steps()  # how answers are committed is no question without
    ]


def main(arguments: list[str] | None = None) -> int:
    from tests.engine.protocol_mutants import MUTANTS  # made from what is here, as the search is
    from tests.engine.protocol_search import search

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--messages", type=int, default=2)
    parser.add_argument("--mutants", action="store_true", help="only these, with the trace that refutes each")
    parser.add_argument("names", nargs="*", help="of scenarios or mutants, or how they begin; all if none is given")
    given = parser.parse_args(arguments)
    begin, states, moves, bad = time.monotonic(), 0, 0, 0

    def chosen(name: str) -> bool:
        return not given.names or name.startswith(tuple(given.names))

    if not given.mutants:
        for scenario in scenarios(given.tasks, given.steps, given.messages):
            if chosen(scenario.name):
                found = search(Protocol(scenario))
                print(f"{scenario!s:55} {found}", flush=True)
                states, moves, bad = states + found.states, moves + found.moves, bad + bool(found.broken)
        print(f"{states:,} states, {moves:,} moves, {time.monotonic() - begin:.0f} s; broken: {bad}")
    for mutant in MUTANTS if given.mutants else ():
        if chosen(mutant.__name__):
            found = search(mutant(mutant.scenario), 200_000)
            print(f"{mutant.__name__}: {mutant.__doc__}\n  {mutant.scenario}: {found}\n", flush=True)
            bad += not found.broken
    return int(bool(bad))


if __name__ == "__main__":
    from tests.engine import protocol  # this module, by the name under which the mutants know it

    sys.exit(protocol.main())
