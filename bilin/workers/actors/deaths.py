"""How workers died: their node is asked whether it ran out of memory, since nobody else says so."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bilin.failures import class_of_death
from bilin.workers.actors.memory import count_in
from bilin.workers.actors.worker import Worker
from bilin.workers.output.files import Outputs
from bilin.workers.pool import Group, Lost

EXAMINATION_S = 15.0
"""How long the node of a worker that died may take to say whether it had memory left."""


@dataclass(frozen=True, slots=True)
class _Death:
    """A worker that died, and what its node is asked about it."""

    worker: Worker
    group: Group
    reason: str
    last_words: str
    died_at: float = field(default_factory=time.monotonic)

    def known(self, count: int | None) -> Lost:
        """What became of the group, by how many processes the kernel has ended for want of memory since."""
        killed = self.worker.killed
        out_of_memory = killed is not None and count is not None and count > killed.count
        reason = f"the kernel ended it for want of memory ({self.reason})" if out_of_memory else self.reason
        return Lost(self.group, reason, class_of_death(self.last_words, out_of_memory=out_of_memory), self.worker.node)


class Deaths:
    """The deaths that are looked into."""

    def __init__(self, outputs: Outputs | None) -> None:
        self._outputs = outputs
        self._open: dict[Any, _Death] = {}

    @property
    def questions(self) -> list[Any]:
        """The calls that nodes have not answered yet."""
        return list(self._open)

    def examine(self, worker: Worker, group: Group, error: RayError) -> Lost | None:
        """What became of a group whose worker died; None where its node is asked first."""
        words = [
            self._outputs.last_words(spec.trial_id, worker.name, worker.pid) if self._outputs else ""
            for spec in group.trials
        ]
        death = _Death(worker, group, _said_by_ray(error), "".join(words))
        if isinstance(error, OutOfMemoryError):
            return Lost(group, death.reason, "oom", worker.node)
        if worker.killed is None:
            return death.known(None)
        there = NodeAffinitySchedulingStrategy(worker.node, soft=False)
        ask = ray.remote(count_in).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        self._open[ask.remote(worker.killed.source)] = death
        return None

    def answered(self, question: Any) -> Lost:
        """What became of the group, now that the node has answered."""
        try:
            count = ray.get(question)
        except RayError:  # the node went with its worker
            count = None
        return self._open.pop(question).known(count)

    def unanswered(self) -> list[Lost]:
        """What is lost with workers whose nodes have not said in time how they died."""
        late = [asked for asked, death in self._open.items() if time.monotonic() - death.died_at > EXAMINATION_S]
        return [self._open.pop(asked).known(None) for asked in late]

    def forget(self) -> None:
        """Look into none of them any more."""
        self._open.clear()


def _said_by_ray(error: RayError) -> str:
    """Its message, without the command lines of the node's other processes that it lists: those may hold secrets."""
    return str(error).partition("Top 10 memory users")[0].strip()
