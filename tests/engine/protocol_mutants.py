"""Protocols with one rule broken: what the search in `protocol` has to refute.

Owned here: the list, `MUTANTS`.  Each names the smallest scenario in which the search refutes it, and what it then says
is broken (`says`, a regular expression).  A mutant that is not refuted shows that the search does not look there.
"""

from __future__ import annotations

from typing import Any

from tests.engine.protocol import ERROR, Answer, Asked, Flight, Memory, Protocol, Scenario, State

MUTANTS: list[Any] = []

STEP = Scenario("one step", (("step",),), overlapped=True)
STEPS = Scenario("two steps", (("step", "step"),), together=True, overlapped=True)
TASKS = Scenario("two tasks", (("step",), ("step",)), together=True, overlapped=True)
UNEQUAL = Scenario("three steps", (("step", "step"), ("step",)), together=True, overlapped=True)
TIMED = Scenario("timeout, then a step", (("timed", "step"),), together=True, overlapped=True)
SLOTS = Scenario("timeout and slot", (("timed", "step"),), together=True, overlapped=True, slots=1)
MESSAGES = Scenario("messages", (("serve",),), messages=2, overlapped=True)
POISON = Scenario("dead letters", (("serve",),), messages=2, poison=1, overlapped=True)
POSTS = Scenario("posts", (("post", "post"),), overlapped=True)
FLAKY_POSTS = Scenario("failing posts", (("post", "post"),), flaky=True, overlapped=True)
STRICT_POSTS = Scenario("strict posts", (("post", "post"),), strict=True, overlapped=True)


def refuted(scenario: Scenario, says: str) -> Any:
    """List the mutant."""

    def listed(cls: Any) -> Any:
        cls.scenario, cls.says = scenario, says
        MUTANTS.append(cls)
        return cls

    return listed


# ---------------------------------------------------------------- what leaves when


@refuted(STEP, "its cause is not on disk")
class StartBeforeCommit(Protocol):
    """A step starts as soon as it is asked for."""

    def committed_for_steps(self, state: State) -> Memory:
        return state.memory


@refuted(STEP, "its cause is not on disk")
class StartBeforeSync(Protocol):
    """A step starts when the commit with it is in the file, before the fsync has returned."""

    def committed(self, state: State) -> Memory:
        written = state.flight is not None and state.flight.phase == "finished"
        return state.flight.memory if written else super().committed(state)


class _OfNow(Protocol):
    """When a commit is down, it is noted what is in memory now."""

    def down(self, state: State) -> State:
        return super().down(state)._replace(extra=state.memory)

    def of_now(self, state: State) -> Memory:
        return state.extra or state.disk


@refuted(TASKS, "its cause is not on disk")
class NextBatchLeaves(_OfNow):
    """When commit k is down, the steps start that are in the outbox now, those of batch k + 1 among them."""

    def committed_for_steps(self, state: State) -> Memory:
        return self.of_now(state)


@refuted(MESSAGES, "is acknowledged, and lost")
class NextBatchIsAcknowledged(_OfNow):
    """When commit k is down, all messages are acknowledged that came until now."""

    def committed_for_acks(self, state: State) -> Memory:
        return self.of_now(state)


@refuted(MESSAGES, "is acknowledged, and lost")
class AckBeforeCommit(Protocol):
    """A message is acknowledged when it comes."""

    def committed_for_acks(self, state: State) -> Memory:
        return state.memory


@refuted(MESSAGES, "is acknowledged, and lost")
class AckOfDuplicateAtOnce(Protocol):
    """A message that came before is acknowledged at once: it is in memory, but perhaps in no commit."""

    def duplicate(self, state: State, message: int) -> State:
        return state._replace(acked=state.acked | {message})


# ---------------------------------------------------------------- what a commit contains, what a restart makes of it


@refuted(STEPS, "its cause is not on disk|two keys|a later one has begun")
class ResultAfterNextEffect(Protocol):
    """A commit has the steps that are asked for; the results that led there come with the commit after it."""

    def snapshot(self, state: State) -> Memory:
        before = state.disk
        tasks, steps = list(state.memory.tasks), list(state.memory.steps)
        for number, (old, new) in enumerate(zip(before.tasks, tasks, strict=True)):
            if new.at > old.at and old.key is not None:
                tasks[number] = old
                steps += [asked for asked in before.steps if asked.key == old.key and asked not in steps]
        return state.memory._replace(tasks=tuple(tasks), steps=tuple(steps))


@refuted(MESSAGES, "is handled twice")
class DedupeForgotten(Protocol):
    """Which messages came is not stored."""

    def restored(self, memory: Memory) -> Memory:
        return memory._replace(seen=frozenset())


@refuted(STEP, "two keys|its cause is not on disk")
class KeyMadeAfterRestart(Protocol):
    """A restart gives new keys to the steps that it starts again."""

    def restored(self, memory: Memory) -> Memory:
        tasks, keys = list(memory.tasks), memory.keys
        steps = []
        for asked in memory.steps:
            steps.append(asked._replace(key=keys))
            tasks[asked.cause[0]] = tasks[asked.cause[0]]._replace(key=keys)
            keys += 1
        return memory._replace(tasks=tuple(tasks), steps=tuple(steps), keys=keys)


@refuted(STEPS, "two effects have one key")
class KeysNotStored(Protocol):
    """The count that keys are made of begins anew in each process."""

    def restored(self, memory: Memory) -> Memory:
        return memory._replace(keys=0)


@refuted(TASKS, "two effects have one key|two keys|is given to|not on disk")
class KeysOneCommitLate(Protocol):
    """The count that keys are made of is stored with the commit after."""

    def snapshot(self, state: State) -> Memory:
        return state.memory._replace(keys=state.disk.keys)


@refuted(STEP, "it can never be over")
class AskedNotStored(Protocol):
    """Tasks are committed, and the steps that they wait for are not."""

    def restored(self, memory: Memory) -> Memory:
        return memory._replace(steps=())


# ---------------------------------------------------------------- the disk fails


@refuted(STEP, "its cause is not on disk")
class FailedSyncIgnored(Protocol):
    """A commit whose fsync failed is taken for durable."""

    def sync_failed(self, state: State) -> State:
        return state._replace(flight=Flight(state.flight.memory, "believed"))


@refuted(STEP, "its cause is not on disk")
class ServedUnsynced(Protocol):
    """An opening takes what it finds in the file for durable; its writer may have died before the fsync."""

    def made_sure(self, state: State) -> State:
        return state._replace(engine="up", flight=Flight(state.flight.memory, "believed"))


@refuted(STEP, "its cause is not on disk")
class SyncedButNotWrittenAgain(Protocol):
    """An opening fsyncs what it finds; after an fsync that failed the system takes it for clean, and writes nothing."""

    def made_sure(self, state: State) -> State:
        if state.flight.phase == "forgotten":
            return state._replace(engine="up", flight=Flight(state.flight.memory, "believed"))
        return super().made_sure(state)


@refuted(STEP, "it can never be over")
class RollbackForgetsAnswers(Protocol):
    """A step whose answer was taken is not started again, although a rollback has undone the taking."""

    def taken(self, state: State, answer: Answer) -> State:
        state = super().taken(state, answer)
        return state._replace(extra=(state.extra or frozenset()) | {answer.key})

    def busy(self, state: State) -> set[Any]:
        return super().busy(state) | (state.extra or frozenset())


@refuted(UNEQUAL, "a later one has begun")
class RollbackForgetsWhatRuns(Protocol):
    """After a rollback the steps of the last commit are started, whether they run already or not."""

    # What runs unknown to the engine is in `extra`.

    def rolled_back(self, state: State) -> State:
        return super().rolled_back(state)._replace(running=frozenset(), extra=state.running)

    def world(self, state: State) -> Any:
        yield from super().world(state)
        for attempt in state.extra or ():
            if not attempt.entered:
                self.check_entry(state, attempt)
                ledger = state.ledger | {(attempt.cause, attempt.key)}
                later = state._replace(ledger=ledger, extra=state.extra - {attempt})
                yield f"the forgotten attempt of {attempt.key} has its effect", later


# ---------------------------------------------------------------- answers, slots


@refuted(TIMED, "is given to")
class AnswerByTask(Protocol):
    """An answer goes to the task that asked, whatever that waits for now."""

    def step_of(self, memory: Memory, answer: Answer) -> Asked | None:
        return next((asked for asked in memory.steps if asked.cause[0] == answer.cause[0]), None)


@refuted(STEP, "which never had its effect")
class DoneAtStart(Protocol):
    """The task is told that a step is done when it starts, not when it ends."""

    def started(self, state: State, asked: Asked) -> State:
        answer = Answer(asked.key, asked.cause, "r")
        return super().started(state, asked)._replace(answers=state.answers | {answer})


@refuted(SLOTS, "steps run at a time")
class SlotOfUnwantedStep(Protocol):
    """A step that nobody waits for any more gives its slot back, and runs on."""

    def slots_taken(self, state: State) -> int:
        wanted = {asked.key for asked in state.memory.steps}
        return sum(1 for attempt in state.running if attempt.key in wanted)


@refuted(SLOTS, "it can never be over")
class SlotKept(Protocol):
    """A task that times out leaves the slot of its step taken for ever."""

    def timed_out(self, state: State, key: int) -> State:
        is_started = any(attempt.key == key for attempt in state.running)
        return state._replace(extra=state.extra or is_started)

    def slots_taken(self, state: State) -> int:
        return super().slots_taken(state) + bool(state.extra)


# ---------------------------------------------------------------- messages, posts


@refuted(POISON, "came, and is lost")
class PoisonDropped(Protocol):
    """A message that cannot be handled is dropped."""

    def buried(self, memory: Memory, message: int) -> Memory:
        return memory


@refuted(POSTS, r"comes after|is lost")
class PostsAllAtOnce(Protocol):
    """Whatever post is committed leaves, in no order."""

    def starts(self, state: State) -> Any:
        yield from super().starts(state)
        for target, queue in enumerate(state.memory.posts):
            for asked in queue:
                if asked in self.committed(state).posts[target] and asked.key not in self.busy(state):
                    yield f"post {asked.key} leaves", self.started(state, asked)


@refuted(FLAKY_POSTS, "comes after")
class DeadLetterNotCommitted(Protocol):
    """The next post leaves when the one before it is given up, before a commit says so: a restart tries it again."""

    def next_post(self, state: State, target: int) -> Asked | None:
        queue = state.memory.posts[target]
        return queue[0] if queue else None


@refuted(STRICT_POSTS, "comes after")
class DeliveryNotCommitted(Protocol):
    """The next post leaves when the one before it is delivered, before a commit says so: a restart repeats that one."""

    def next_post(self, state: State, target: int) -> Asked | None:
        queue = state.memory.posts[target]
        return queue[0] if queue else None


@refuted(FLAKY_POSTS, "is lost")
class PostGivenUp(Protocol):
    """A post that failed too often is dropped."""

    def delivered(self, memory: Memory, answer: Answer) -> Memory:
        later = super().delivered(memory, answer)
        return later._replace(lost=memory.lost) if answer.outcome == ERROR else later
