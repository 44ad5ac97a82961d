"""The actor in a worker's process: it runs groups of trials, and answers meanwhile."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import ray

from bilin.record import Progress
from bilin.spec import TrialSpec
from bilin.workers.actors.memory import Killed, killed_here
from bilin.workers.environment import name_worker
from bilin.workers.events import Event, Finished
from bilin.workers.output import Capture, Outputs
from bilin.workers.pool import RunTrial
from bilin.workers.runner import TrialRunner
from bilin.workers.training.checkpoint import Checkpoints


class Answer(NamedTuple):
    """What a worker answers: Ray's id of its node, what the kernel there has ended, and its events.

    The events are pickled: those that the pool does not have yet, each with its number.
    """

    node: str
    killed: Killed | None
    events: bytes


class TrialActor:
    """Lives in a worker process. One of its two threads runs trials, the other answers."""

    def __init__(
        self, name: str, run: RunTrial | None, checkpoints: Checkpoints | None, outputs: Outputs | None
    ) -> None:
        name_worker(name)
        self._checkpoints = checkpoints
        self._capture = Capture(outputs, name) if outputs else None
        self._node = ray.get_runtime_context().get_node_id()
        self._outbox = Outbox()
        self._group: frozenset[str] = frozenset()
        self._runner = TrialRunner(
            run,
            self._put,
            checkpoints=checkpoints,
            output=lambda trial_id: self._capture.capture(trial_id) if self._capture else nullcontext(),
            worker=name,
            node=self._node,
        )

    def run(self, trials: bytes, first: Answer | None) -> Answer:  # noqa: ARG002 (see RayPool.submit)
        """Run trials one after the other, given their pickled specs; answer with the events not taken meanwhile.

        ``first`` is what this worker answered before its first trial, and is not read here.
        """
        specs: Sequence[TrialSpec] = pickle.loads(trials)
        self._group = frozenset(spec.trial_id for spec in specs)
        self._runner.run(specs)
        self._group = frozenset()
        return self.poll(received=0)

    def poll(self, received: int) -> Answer:
        """Answer with the events that are newer than those received."""
        return Answer(self._node, killed_here(), pickle.dumps(self._outbox.newer_than(received)))

    def cancel(self, trial_id: str) -> None:
        """End a trial of the group that runs."""
        if trial_id in self._group:
            self._runner.cancel(trial_id)

    def keep(self, timeout_s: float) -> None:
        """Have the running trial write a checkpoint; return when it did."""
        if self._checkpoints is not None:
            self._checkpoints.ask(timeout_s)

    def _put(self, event: Event) -> None:
        self._outbox.put(event)
        if self._capture and isinstance(event, Progress):
            self._capture.move()


class Outbox:
    """Events that the pool has not confirmed: an answer may be lost, or overtaken by that of the group's call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0
        self._events: list[tuple[int, Event]] = []

    def put(self, event: Event) -> None:
        """Add an event; newer progress of a trial, and its result, replace the progress before."""
        with self._lock:
            if isinstance(event, Progress | Finished) and self._events:
                _, last = self._events[-1]
                if isinstance(last, Progress) and last.trial_id == event.trial_id:
                    self._events.pop()
            self._number += 1
            self._events.append((self._number, event))

    def newer_than(self, received: int) -> list[tuple[int, Event]]:
        """Drop the events up to a number, and return the rest."""
        with self._lock:
            self._events = [(number, event) for number, event in self._events if number > received]
            return list(self._events)
