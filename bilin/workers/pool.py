"""Pools run trials: a pool takes groups of trials, and emits events about each trial.

A group is trials that one worker runs: one trial, several short ones, which saves calls, or several of one shape,
which are trained as one program.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from bilin.record import TrialResult
from bilin.spec import Resources, TrialSpec
from bilin.workers.events import Report
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

    def num_workers(self, resources: Resources) -> int:
        """How many workers for these resources it can have at most, as far as it knows; at least 1."""

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
    """Runs one trial, instead of `bilin.workers.trial.run_trials`: in benchmarks and tests of the pools."""

    def __call__(self, spec: TrialSpec, *, report: Report, checkpoints: Checkpoints | None) -> TrialResult:
        """Train one trial to its end. Raise only interrupts and what ``report`` raises."""
