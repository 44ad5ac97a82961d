"""What came back from a trial, and what one says while it runs. Plain values only; standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Status = Literal["done", "diverged", "failed", "oom", "hardware", "internal", "lost"]
StopReason = Literal["solved", "budget", "diverged"]

RESULT_STATUSES: frozenset[Status] = frozenset({"done", "diverged"})
"""Statuses of a trial that has its result."""

RERUN_STATUSES: frozenset[Status] = frozenset({"lost"})
"""Statuses that the next launch runs again without being asked; `bilin.failures` has the rules of the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where and with what a trial ran.

    Attributes:
        task_package: Name and version of the package that the task comes from; None for bilin's own.
        tier_package: That of the tier.
    """

    host: str
    pid: int
    worker: str
    device: str
    threads: int
    cpu: str
    python: str
    torch: str
    version: str
    commit: str | None
    task_package: str | None = None
    tier_package: str | None = None


class CurvePoint(NamedTuple):
    """Accuracy and mean loss at one evaluation and length; length None stands for the training lengths."""

    step: int
    length: int | None
    loss: float
    accuracy: float


class LengthResult(NamedTuple):
    """How many of the tested sequences of one length were right, and how many classes there were.

    Attributes:
        num_correct: Those whose answer, the label after the last token, was right.
        num_sequences_right: Those whose every label was right; None where this was not looked at.
    """

    length: int
    num_correct: int
    num_sequences: int
    num_classes: int
    num_sequences_right: int | None = None

    @property
    def accuracy(self) -> float:
        """The share of right answers, from 0 to 1."""
        return self.num_correct / self.num_sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """The outcome of one trial, as it is stored.

    Attributes:
        stop_reason: None where the trial did not reach an end of its own (failed, lost).
        solved: Whether the last two evaluations were perfect at the training and all validation lengths.
        steps: Training steps taken.
        params: Trainable numbers; ``recurrent_params``: those of the transition alone.
        validation_accuracy: The least accuracy over the training and validation lengths at the last
            evaluation; None where there was none.
        training_loss: Mean loss on fresh sequences of the training lengths at the last evaluation.
        lengths: One entry a tested length; empty for a trial without a result.
        curve: One entry an evaluation and length.
        wall_s: Seconds from the start of the trial to its end, on its worker.
        started_at: Seconds since the epoch, UTC.
        error: One line for a trial that failed; ``traceback`` the whole.
        attempts: How often the trial was started.
    """

    trial_id: str
    status: Status
    stop_reason: StopReason | None = None
    solved: bool = False
    steps: int = 0
    params: int | None = None
    recurrent_params: int | None = None
    validation_accuracy: float | None = None
    training_loss: float | None = None
    lengths: tuple[LengthResult, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    wall_s: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    error: str | None = None
    traceback: str | None = None
    attempts: int = 1
    environment: Environment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a running trial is, for those who watch; it is not part of any row."""

    trial_id: str
    step: int
    max_steps: int
    loss: float | None = None
    accuracy: float | None = None
