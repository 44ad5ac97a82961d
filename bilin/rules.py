"""When a trial is solved, and which learning rate, or point of a search, a cell selects.

Each rule is one plain function, which training, search and views all use. Standard library only.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from bilin.record import Rung
from bilin.spec import Point

EVALUATIONS_TO_SOLVE = 2
"""Perfect evaluations in a row that solve a trial. One is often luck: see docs/log.md."""

SIGNIFICANT_DIGITS = 3

LOSS_WEIGHT = 0.05
"""How much the loss adds to the score of a search at most: less than any difference in accuracy that matters."""


class EndedTrial(Protocol):
    """The result or the stored row of a trial that ended."""

    @property
    def status(self) -> str:
        """See `bilin.record.Status`."""

    @property
    def solved(self) -> bool:
        """See `bilin.record.TrialResult`."""

    @property
    def validation_accuracy(self) -> float | None:
        """See `bilin.record.TrialResult`."""

    @property
    def training_loss(self) -> float | None:
        """See `bilin.record.TrialResult`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the choice of a point may know about one trial; tested lengths are not part of it.

    A trial that is not done, since it diverged or failed, counts as the worst.

    Attributes:
        has_result: Whether the trial is done or diverged.
        paused_at: The rung at which a pruner stopped it, 0 if that is not known; None if it ended.
        rungs: The rungs that it reached.
    """

    point: Point
    seed: int
    is_done: bool
    solved: bool
    validation_accuracy: float | None
    training_loss: float | None
    has_result: bool = True
    paused_at: int | None = None
    rungs: tuple[Rung, ...] = ()

    @classmethod
    def of(cls, point: Point, seed: int, trial: EndedTrial, rungs: tuple[Rung, ...] | None = None) -> Outcome:
        """Return the outcome of a trial that ended, or that a pruner stopped at the last of its rungs."""
        return cls(
            point=point,
            seed=seed,
            is_done=trial.status == "done",
            solved=trial.solved,
            validation_accuracy=trial.validation_accuracy,
            training_loss=trial.training_loss,
            has_result=trial.status in ("done", "diverged"),
            paused_at=(rungs[-1].step if rungs else 0) if trial.status == "pruned" else None,
            rungs=rungs or (),
        )

    def at(self, step: int) -> Outcome:
        """Return the outcome as it was at a rung. A trial that was not compared there counts as it ended."""
        for rung in self.rungs:
            if rung.step == step:
                return replace(self, is_done=True, validation_accuracy=rung.accuracy, training_loss=rung.loss)
        return self

    def is_beyond(self, step: int) -> bool:
        """Return whether the trial went on at a rung: it has reached a later one, or has ended after it."""
        last = self.rungs[-1].step if self.rungs else 0
        return last > step or (last == step and self.paused_at is None)

    @property
    def score(self) -> float:
        """The validation accuracy, or 0 for a trial that is not done and not pruned."""
        return self.validation_accuracy if self._counts and self.validation_accuracy is not None else 0.0

    @property
    def loss(self) -> float:
        """The training loss, or infinity for a trial that is not done and not pruned."""
        return self.training_loss if self._counts and self.training_loss is not None else math.inf

    @property
    def _counts(self) -> bool:
        return self.is_done or self.paused_at is not None


def is_solved(accuracies: Sequence[float | None]) -> bool:
    """Return whether a trial is solved, from the lowest accuracy of each evaluation so far over all its lengths.

    None stands for an evaluation that stopped at a length below 1.0.
    """
    last = accuracies[-EVALUATIONS_TO_SOLVE:]
    return len(last) == EVALUATIONS_TO_SOLVE and all(accuracy == 1.0 for accuracy in last)


def select_point(outcomes: Iterable[Outcome]) -> Point | None:
    """Return the point that a cell selects: its learning rate and searched fields; None if no trial has a result.

    The one with the most seeds solved; among these, the one with the highest mean validation accuracy; then the
    lowest mean loss on the training lengths; then the smallest. A point at which a pruner stopped a seed comes after
    all others: its numbers are those of fewer steps.
    """
    by_point: dict[Point, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_point[outcome.point].append(outcome)

    def rank(point: Point) -> tuple[bool, float, float, float, Point]:
        of_point = by_point[point]
        is_pruned = any(outcome.paused_at is not None for outcome in of_point)
        solved = sum(outcome.solved for outcome in of_point)
        loss = math.fsum(outcome.loss for outcome in of_point) / len(of_point)
        return (is_pruned, -solved, -mean_score(of_point), loss, point)

    with_result = (point for point, found in by_point.items() if any(outcome.has_result for outcome in found))
    return min(with_result, key=rank, default=None)


def mean_score(outcomes: Sequence[Outcome]) -> float:
    """Return the mean validation accuracy of a point over the seeds, summed in their order."""
    return math.fsum(outcome.score for outcome in outcomes) / len(outcomes)


def search_score(outcomes: Sequence[Outcome], *, chance: float) -> float:
    """Return what a search maximizes: the mean over the seeds of the scaled accuracy, with a little for the loss.

    Scaled, chance is 0 and perfect is 1; what is below chance, diverged or failed is 0 too. So a rate that diverges is
    as bad as one that learns nothing, and does not hide a good one beside it. The loss tells rates apart that are all
    at chance, or all perfect.
    """
    scaled = (max(outcome.score - chance, 0.0) / (1 - chance) for outcome in outcomes)
    by_loss = (LOSS_WEIGHT * math.exp(-max(outcome.loss, 0.0)) for outcome in outcomes)
    return (math.fsum(scaled) + math.fsum(by_loss)) / len(outcomes)


def round_to_digits(value: float) -> float:
    """Round a searched value to three significant digits, so that equal ones are recognized."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


@lru_cache(64)
def values_between(low: float, high: float) -> tuple[float, ...]:
    """Return the values that a search may ask for: those of three digits between the bounds, and the bounds."""
    first, last = (math.floor(math.log10(bound)) for bound in (low, high))
    values = (float(f"{number}e{exponent - 2}") for exponent in range(first, last + 1) for number in range(100, 1000))
    return tuple(sorted({low, high, *(value for value in values if low < value < high)}))
