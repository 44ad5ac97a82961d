"""Pools run trials: a pool takes groups of trials, and emits events about each trial.

A group is usually one trial. A group of several short trials saves calls, and trials of one shape could be trained
as one program.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from bilin.record import Progress, TrialResult
from bilin.spec import Resources, TrialSpec
from bilin.workers.events import Cancelled, Checkpointed, Emit, Finished, Report, Started, TrialCancelled
from bilin.workers.training.checkpoint import Checkpoints


@dataclass(frozen=True, slots=True)
class Group:
    """Trials that one worker runs in one call; all ask for the same resources.

    Attributes:
        avoid: Ids of nodes that it must not run on, unless no other node could run it.
    """

    trials: tuple[TrialSpec, ...]
    avoid: frozenset[str] = frozenset()

    @property
    def resources(self) -> Resources:
        """What the group occupies while it runs."""
        return self.trials[0].resources


class Pool(Protocol):
    """A set of workers. A pool is made with an `Emit`, which it calls inside `wait`. One thread makes all calls."""

    def accepts(self, resources: Resources, avoid: Collection[str] = ()) -> bool:
        """Whether a worker for these resources is idle or can be started now, on none of the nodes to avoid."""

    def submit(self, group: Group) -> None:
        """Start a group; only after `accepts` returned True for its resources."""

    def wait(self, timeout_s: float) -> None:
        """Emit the events since the last call; wait up to ``timeout_s`` for a group to end."""

    def cancel(self, trial_id: str) -> None:
        """Tell the worker of a trial to end it and continue with the next of its group. The trial may finish first."""

    def keep(self, timeout_s: float) -> None:
        """Have every running trial write a checkpoint, if it can within ``timeout_s``."""

    def close(self) -> None:
        """End every worker at once, whatever it is doing."""


class RunTrial(Protocol):
    """How a worker runs one trial: `bilin.workers.trial.run_trial`, except in benchmarks and tests of the pools."""

    def __call__(self, spec: TrialSpec, *, report: Report, checkpoints: Checkpoints | None) -> TrialResult:
        """Train one trial to its end. Raise only interrupts and what ``report`` raises."""


class TrialRunner:
    """Runs trials in this process, one at a time, and emits their events. Every worker has one."""

    def __init__(
        self,
        run: RunTrial,
        emit: Emit,
        *,
        checkpoints: Checkpoints | None,
        output: Callable[[str], AbstractContextManager[None]],
        worker: str | None = None,
        node: str | None = None,
    ) -> None:
        """Prepare a worker; ``output`` sends what is printed meanwhile to the file of a trial."""
        self._run = run
        self._emit = emit
        self._checkpoints = checkpoints
        self._output = output
        self._worker = worker
        self._node = node
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._cancelled: set[str] = set()

    def cancel(self, trial_id: str) -> None:
        """End a trial at its next report, or before it begins; from any thread."""
        self._cancelled.add(trial_id)

    def run(self, spec: TrialSpec) -> Finished | Cancelled:
        """Run a trial; its last event is returned, and emitted as the others are."""
        trial_id, step = spec.trial_id, 0

        def report(event: Progress | Checkpointed) -> None:
            nonlocal step
            step = event.step
            self._emit(event)
            if trial_id in self._cancelled:
                raise TrialCancelled

        last: Finished | Cancelled = Cancelled(trial_id=trial_id, step=0)
        if trial_id not in self._cancelled:
            self._emit(Started(trial_id=trial_id, host=self._host, pid=self._pid, worker=self._worker, node=self._node))
            try:
                with self._output(trial_id):
                    result = self._run(spec, report=report, checkpoints=self._checkpoints)
                last = Finished(result=result, node=self._node)
            except TrialCancelled:
                last = Cancelled(trial_id=trial_id, step=step)
        self._cancelled.discard(trial_id)
        self._emit(last)
        return last
