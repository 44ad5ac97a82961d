"""A worker as the pool knows it: what it runs, whether it answers, and how it died."""

from __future__ import annotations

import heapq
import pickle
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bilin.failures import class_of_death, ends_worker
from bilin.record import Status, TrialResult
from bilin.spec import TrialSpec
from bilin.workers.actors.actor import Answer
from bilin.workers.actors.memory import Killed, count_in
from bilin.workers.events import Cancelled, Emit, Event, Finished, Lost, Started
from bilin.workers.output import Outputs

PERIOD_S = 0.5

ASKED_AT_ONCE = 200
"""How many workers are asked in one period, those first that were asked longest ago.

So what the answers cost this process is bounded, however many workers there are: each of 200 is asked twice a second,
each of 8,000 every 20 seconds.
"""

LISTENED_S = 2.0
"""How much of the time between two periods counts as listening at most: this process may have stood still itself."""

DRAIN_S = 2.0
"""How long the last answer of a worker that died may take to arrive, or to fail."""

EXAMINATION_S = 15.0
"""How long the node of a worker that died may take to say whether it had memory left."""


@dataclass(slots=True, eq=False)
class Worker:
    """One actor, and what is known of it.

    Attributes:
        amounts: What it takes of its node, by Ray's names.
        trials: The trials of its group that have not ended, by their ids; empty while it is idle.
        question: The open call that asks for its events.
        asked_at: When it was asked last, on this process's clock.
        received: The number of the last event that was taken from it.
        has_begun: Whether it has ever answered: before, it may be starting or loading torch.
        silent_s: Seconds that were spent listening for the answer to ``question``; 0 for one that has not begun.
        lost_at: When it was taken for lost, on this process's clock.
        killed: How many processes the kernel of its node had ended when it answered last.
        is_spoiled: Whether a trial has failed in a way after which its process must run no other.
    """

    name: str
    actor: Any
    amounts: Mapping[str, float]
    trials: dict[str, TrialSpec] = field(default_factory=dict)
    question: Any = None
    asked_at: float = 0.0
    received: int = 0
    has_begun: bool = False
    silent_s: float = 0.0
    lost_at: float | None = None
    node: str | None = None
    pid: int | None = None
    killed: Killed | None = None
    is_spoiled: bool = False

    def ask(self) -> None:
        """Ask for its events; `Poller` takes the answer."""
        self.asked_at = time.monotonic()
        self.question = self.actor.poll.remote(self.received)

    def take(self, answer: Answer) -> list[Event]:
        """Take an answer, and return the events that are new."""
        self.node, self.killed = answer.node, answer.killed
        new = [(number, event) for number, event in pickle.loads(answer.events) if number > self.received]
        self.received = new[-1][0] if new else self.received
        events: list[Event] = []
        for _, event in new:
            if isinstance(event, Started):
                self.pid = event.pid
            elif isinstance(event, Cancelled):
                self.trials.pop(event.trial_id, None)
            events.append(self.finish(event.result) if isinstance(event, Finished) else event)
        return events

    def finish(self, result: TrialResult) -> Finished:
        """Note that a trial has its result."""
        self.trials.pop(result.trial_id, None)
        self.is_spoiled = self.is_spoiled or ends_worker(result)
        return Finished(result=result, node=self.node, is_late=self.lost_at is not None)


class Poller:
    """Asks busy workers for their events, and emits them.

    The pool asks, on its own clock, and no trial sends: a worker answers from its second thread.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._asked_at = time.monotonic()

    def poll(self, busy: Collection[Worker]) -> None:
        """If it is time, take the answers that are there and ask the next workers."""
        now = time.monotonic()
        if now - self._asked_at < PERIOD_S:
            return
        listened_s = min(now - self._asked_at, LISTENED_S)
        self._asked_at = now
        asked = [worker for worker in busy if worker.question is not None]
        self._take(asked)
        for worker in asked:
            if worker.question is not None and worker.has_begun:
                worker.silent_s += listened_s
        free = [worker for worker in busy if worker.question is None]
        for worker in heapq.nsmallest(ASKED_AT_ONCE, free, key=lambda worker: worker.asked_at):
            worker.ask()

    def drain(self, worker: Worker) -> None:
        """Take the last answer of a worker that has died; it may still be on its way."""
        self._take([worker] if worker.question is not None else [], timeout_s=DRAIN_S)

    def _take(self, asked: Collection[Worker], timeout_s: float = 0) -> None:
        if not asked:
            return
        by_question = {worker.question: worker for worker in asked}
        answered, _ = ray.wait(list(by_question), num_returns=len(by_question), timeout=timeout_s)
        for question in answered:
            worker = by_question[question]
            try:
                answer = ray.get(question)
            except RayError:
                continue  # the group's own call fails in the same way, and counts
            worker.question = None
            worker.has_begun, worker.silent_s = True, 0.0
            for event in worker.take(answer):
                self._emit(event)


@dataclass(frozen=True, slots=True)
class _Death:
    """A worker that died, and what its node is asked about it."""

    worker: Worker
    reason: str
    last_words: str
    died_at: float = field(default_factory=time.monotonic)

    def losses(self, count: int | None) -> list[Event]:
        """Return what is lost, given how many processes the kernel has ended since for lack of memory."""
        killed, reason = self.worker.killed, self.reason
        out_of_memory = killed is not None and count is not None and count > killed.count
        if out_of_memory:
            reason = f"the kernel ended it because the node ran out of memory ({reason})"
        return lost(self.worker, reason, class_of_death(self.last_words, out_of_memory=out_of_memory))


class Deaths:
    """Finds out how workers died: only their node knows whether it ran out of memory.

    Attributes:
        open: The calls that nodes have not answered yet.
    """

    def __init__(self, outputs: Outputs | None) -> None:
        self._outputs = outputs
        self.open: dict[Any, _Death] = {}

    def examine(self, worker: Worker, error: RayError) -> list[Event]:
        """Return what is lost with a worker that died; nothing yet if its node is asked first."""
        reason = _in_short(worker, error)
        if isinstance(error, OutOfMemoryError):
            return lost(worker, reason, "oom")
        outputs = self._outputs
        printed = [outputs.last_words(trial, worker.name, worker.pid) for trial in worker.trials] if outputs else []
        death = _Death(worker, reason, "".join(printed))
        if worker.killed is None:
            return death.losses(None)
        there = NodeAffinitySchedulingStrategy(worker.node, soft=False)
        ask = ray.remote(count_in).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        self.open[ask.remote(worker.killed.source)] = death
        return []

    def answered(self, question: Any) -> list[Event]:
        """Return what is lost, now that the node has answered."""
        try:
            count = ray.get(question)
        except RayError:  # the node went with its worker
            count = None
        return self.open.pop(question).losses(count)

    def unanswered(self) -> list[Event]:
        """Return what is lost with workers whose nodes have not answered in time."""
        late = [asked for asked, death in self.open.items() if time.monotonic() - death.died_at > EXAMINATION_S]
        return [event for asked in late for event in self.open.pop(asked).losses(None)]


def _in_short(worker: Worker, error: RayError) -> str:
    """Return what Ray says of a worker that died, without its own names for it.

    Ray also lists the command lines of the node's other processes, which may hold secrets.
    """
    text = str(error).partition("Top 10 memory users")[0]
    text = "\n".join(line for line in text.splitlines() if not line.startswith("\t")).strip()
    which = f"process {worker.pid} of {worker.name}" if worker.pid else worker.name
    return f"{which} died: {text.partition('Worker exit detail: ')[2] or text}"


def lost(worker: Worker, reason: str, status: Status = "lost") -> list[Event]:
    """Return the loss of each trial that a worker has not ended.

    It is not known which one of several was at fault, so all of them are ``lost``, which run again.
    """
    status = status if len(worker.trials) == 1 else "lost"
    return [Lost(trial_id=trial_id, reason=reason, status=status, node=worker.node) for trial_id in worker.trials]
