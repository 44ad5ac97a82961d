"""What runs trials: a pool takes groups of them and gives back what became of each group.

A group is mostly one trial; several short ones save calls, and several of one shape can be trained as
one program.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from bilin.record import Status, TrialResult
from bilin.spec import Resources, TrialSpec
from bilin.workers.report import Report
from bilin.workers.training.checkpoint import Checkpoints


class RunTrial(Protocol):
    """How a worker runs one trial; `bilin.workers.trial.run_trial` but in benchmarks and tests of the pools."""

    def __call__(self, spec: TrialSpec, *, report: Report, checkpoints: Checkpoints | None) -> TrialResult:
        """Train one trial to its end; never raises but for an interrupt."""


@dataclass(frozen=True, slots=True)
class Group:
    """Trials that one worker runs in one call; all ask for the same resources.

    Attributes:
        avoid: Nodes that it must not run on, by their ids, where there are others that could run it.
    """

    trials: tuple[TrialSpec, ...]
    avoid: frozenset[str] = frozenset()

    @property
    def resources(self) -> Resources:
        """What the group occupies while it runs."""
        return self.trials[0].resources


@dataclass(frozen=True, slots=True)
class Returned:
    """A group came back, with one result a trial, in its order.

    Attributes:
        node: The id of the node that it ran on; None where it cannot run anew on another worker.
    """

    group: Group
    results: Sequence[TrialResult]
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker of a group died; whether any of it was run is not known.

    Attributes:
        status: The class of it, of `bilin.failures.RULES`.
        node: The id of the node that the worker was on; None where that is not known.
    """

    group: Group
    reason: str
    status: Status = "lost"
    node: str | None = None


Event = Returned | Lost


class Pool(Protocol):
    """A set of workers. Calls come from one thread."""

    def accepts(self, resources: Resources, avoid: Collection[str] = ()) -> bool:
        """Whether a worker for these resources is idle or can be started now, on none of the nodes to avoid."""

    def submit(self, group: Group) -> None:
        """Start a group; only after `accepts` said yes to what it asks for."""

    def wait(self, timeout_s: float) -> list[Event]:
        """What has ended; waits up to ``timeout_s`` for the first."""

    def keep(self, timeout_s: float) -> None:
        """Have every running trial keep its state, if it can within ``timeout_s``."""

    def close(self) -> None:
        """End every worker at once, whatever it is doing."""
