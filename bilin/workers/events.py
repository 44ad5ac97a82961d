"""Events of trials in a pool: one stream, each event about one trial.

    Started ──> Progress, Checkpointed, … ──> Finished, Lost or Cancelled

A trial of a group that was cancelled or lost before its turn has no `Started`. After `Lost` a `Finished` may still
follow, from a worker that was only out of reach.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bilin.record import Progress, Status, TrialResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A worker began a trial.

    Attributes:
        worker: The name of the worker; None for this process.
        node: Ray's id of its node; None without Ray.
    """

    trial_id: str
    host: str
    pid: int
    worker: str | None = None
    node: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpointed:
    """A running trial wrote a checkpoint after a number of steps."""

    trial_id: str
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A trial has a result, which may be a failure.

    Attributes:
        node: Ray's id of the node that it ran on; None if it cannot run on another worker.
        is_late: Whether the attempt was `Lost` before; another one may run by now.
    """

    result: TrialResult
    node: str | None = None
    is_late: bool = False

    @property
    def trial_id(self) -> str:
        """The trial of the result."""
        return self.result.trial_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The worker that had a trial died or fell silent; whether the trial was run is not known.

    Attributes:
        status: The class of the failure, a key of `bilin.failures.RULES`.
        node: Ray's id of the node that the worker was on; None if not known.
    """

    trial_id: str
    reason: str
    status: Status = "lost"
    node: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """A trial was ended without a result, by `Pool.cancel`, after a number of steps."""

    trial_id: str
    step: int


Event = Started | Progress | Checkpointed | Finished | Lost | Cancelled

Emit = Callable[[Event], None]
"""Takes events, in the order in which they happened to each trial."""

Report = Callable[[Progress | Checkpointed], None]
"""Takes the events that a running trial reports."""


class TrialCancelled(BaseException):
    """Raised by a report to end the trial that calls it. Like an interrupt, it is no failure of the trial."""


def ignore(event: Event) -> None:
    """Take an event and do nothing."""
