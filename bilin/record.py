"""The result of a trial, and its progress while it runs. Plain values only; standard library only."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Status = Literal["done", "diverged", "pruned", "failed", "oom", "hardware", "internal", "lost"]
StopReason = Literal["solved", "budget", "diverged", "rung", "asynchronous_rung"]

RESULT_STATUSES: frozenset[Status] = frozenset({"done", "diverged", "pruned"})
"""Statuses of a trial that has a result. A pruned one has it for the search that stopped it alone."""

RERUN_STATUSES: frozenset[Status] = frozenset({"lost"})
"""Statuses whose trials the next launch always runs again; `bilin.failures` has the rules of the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where a trial ran, and with which software.

    Attributes:
        pack: Trials in the largest stack that computed something for it; 1 if it ran alone.
        task_package: Name and version of the package that declares the task; None for bilin's own.
        tier_package: The same for the tier.
        gpu: Name of the GPU; None on a CPU.
        gpu_memory_mb: Memory of the GPU in MB, of 10**6 bytes.
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
    gpu: str | None = None
    gpu_memory_mb: int | None = None
    pack: int = 1


MIXED_LENGTHS = 0
"""`CurvePoint.length` of the validation on sequences of mixed lengths: see `ValidateSpec.mixed_lengths`."""


class CurvePoint(NamedTuple):
    """Accuracy and mean loss of one evaluation at one length.

    Attributes:
        length: None for the training lengths; `MIXED_LENGTHS` for mixed lengths beyond them.
    """

    step: int
    length: int | None
    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Curve:
    """The evaluations of a trial, by columns: an object for each point takes longer than all else of a short trial.

    Attributes:
        columns: The values of all points for each field of `CurvePoint`.
    """

    columns: tuple[tuple[Any, ...], ...] = ((),) * len(CurvePoint._fields)

    @classmethod
    def of(cls, points: Collection[CurvePoint]) -> Curve:
        """Return the curve of some points."""
        return cls(tuple(zip(*points, strict=True))) if points else cls()

    def __len__(self) -> int:
        return len(self.columns[0])

    def __iter__(self) -> Iterator[CurvePoint]:
        return map(CurvePoint._make, zip(*self.columns, strict=True))


class Rung(NamedTuple):
    """The evaluation at which a pruner compared a trial with others of its cell.

    Attributes:
        accuracy: Lowest accuracy over the training and validation lengths.
        loss: Mean loss on fresh sequences of the training lengths.
    """

    step: int
    accuracy: float
    loss: float


class LengthResult(NamedTuple):
    """Test result at one length.

    Attributes:
        num_correct: Sequences whose answer, the label after the last token, was predicted correctly.
        num_sequences_right: Sequences with every label predicted correctly; None if this was not measured.
        num_nonfinite: Sequences with a logit that is not finite, where there is a label; their predictions there count
            as wrong. None if this was not measured.
    """

    length: int
    num_correct: int
    num_sequences: int
    num_classes: int
    num_sequences_right: int | None = None
    num_nonfinite: int | None = None

    @property
    def accuracy(self) -> float:
        """Share of correct answers, from 0 to 1."""
        return self.num_correct / self.num_sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """The result of one trial, as it is stored.

    Attributes:
        stop_reason: Why training ended; None if the trial failed or was lost.
        solved: Whether the last two evaluations were perfect at the training, all validation, and mixed lengths.
        params: Number of trainable weights.
        recurrent_params: Number of trainable weights in the recurrence.
        validation_accuracy: Lowest accuracy over the training, validation and mixed lengths at the last evaluation;
            None without an evaluation.
        training_loss: Mean loss on fresh sequences of the training lengths at the last evaluation.
        lengths: One entry per tested length; empty for a trial without a result.
        curve: One entry per evaluation and length.
        rungs: The rungs of the pruner that the trial reached, in their order; None without a pruner.
        wall_s: Seconds from the start of the trial to its end, on its worker.
        test_s: Seconds that the tests took; None for a trial without a result.
        started_at: Seconds since the epoch, UTC.
        error: One line for a trial that failed; ``traceback`` has all of it.
        is_test: Whether kept weights were tested and nothing was trained. ``lengths`` and ``test_s`` are then added
            to the stored row, and nothing else of the result is stored.
        note: What the user should know about the trial, for displays.
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
    curve: Curve = Curve()
    rungs: tuple[Rung, ...] | None = None
    wall_s: float = 0.0
    test_s: float | None = None
    started_at: float = 0.0
    finished_at: float = 0.0
    error: str | None = None
    traceback: str | None = None
    attempts: int = 1
    environment: Environment | None = None
    is_test: bool = False
    note: str | None = None


def microseconds(seconds: float) -> int:
    """Return a time as rows have it: when a trial started tells its trainings apart."""
    return round(seconds * 1e6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of a running trial, for displays. It is not stored with the results.

    Attributes:
        began: The step from which this attempt has continued the training.
    """

    trial_id: str
    step: int
    max_steps: int
    began: int = 0
    loss: float | None = None
    accuracy: float | None = None
