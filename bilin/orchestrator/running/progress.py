"""How a running sweep stands: what the display shows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from bilin.orchestrator.planning.plan import Plan
from bilin.record import RESULT_STATUSES, Progress, Status, TrialResult
from bilin.spec import TrialSpec
from bilin.workers.events import Started


@dataclass(slots=True)
class Running:
    """A trial that was given to a worker.

    Attributes:
        attempt: How often this launch has started it.
        started: Where it runs; None if its worker has not begun it.
        progress: How far it is; None if it has not said.
        since: When it was given to the worker, in seconds since the epoch.
    """

    spec: TrialSpec
    attempt: int
    started: Started | None = None
    progress: Progress | None = None
    since: float = field(default_factory=time.time)


@dataclass(slots=True, eq=False)
class SweepState:
    """How a running sweep stands. The sweep changes it; observers only read.

    Attributes:
        statuses: Trials that ended in this launch.
        num_left: Trials that wait or run; grows when a search asks for more.
        running: The trials that run.
        again: Why trials that were started wait to run once more.
        best: The best trial of each cell in this launch.
        notes: What happened beside results, such as a lost worker, in order.
        started_at: On the monotonic clock.
    """

    plan: Plan
    statuses: Counter[Status] = field(default_factory=Counter)
    num_left: int = field(init=False)
    running: dict[str, Running] = field(default_factory=dict)
    again: dict[str, str] = field(default_factory=dict)
    best: dict[str, tuple[TrialSpec, TrialResult]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    started_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.num_left = self.plan.num_missing

    @property
    def num_ended(self) -> int:
        """Trials that ended in this launch, with a result or without."""
        return self.statuses.total()

    @property
    def num_done(self) -> int:
        """Wanted trials that have a result, from before or from this launch."""
        return self.plan.num_done + self.num_ended - self._num_ended_without

    @property
    def num_failed(self) -> int:
        """Wanted trials that ended without a result and are left alone, before or in this launch."""
        return self.plan.num_failed + self._num_ended_without

    @property
    def _num_ended_without(self) -> int:
        return sum(count for status, count in self.statuses.items() if status not in RESULT_STATUSES)

    @property
    def trials_per_s(self) -> float:
        """Trials that ended a second, since the start."""
        return self.num_ended / max(time.monotonic() - self.started_at, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end at the rate so far; None before the first trial has ended."""
        return self.num_left / self.trials_per_s if self.num_ended else None

    def leaders(self, count: int) -> list[tuple[TrialSpec, TrialResult]]:
        """The best trials so far, at most one a cell, by what selects a rate: never by a tested length."""
        return sorted(self.best.values(), key=lambda pair: _rank(*pair))[:count]

    def add(self, spec: TrialSpec, result: TrialResult) -> None:
        """Count a trial that ended."""
        self.statuses[result.status] += 1
        self.num_left -= 1
        self.rank(spec, result)

    def rank(self, spec: TrialSpec, result: TrialResult) -> None:
        """Keep a trial that ended, if it is the best of its cell."""
        best = self.best.get(spec.cell.cell_id)
        if result.status == "done" and (best is None or _rank(spec, result) < _rank(*best)):
            self.best[spec.cell.cell_id] = (spec, result)


Observer = Callable[[SweepState], None]
"""Called whenever the state may have changed, from the sweep's own thread."""


def _rank(spec: TrialSpec, result: TrialResult) -> tuple[float, float, int, str]:
    return (-result.solved, -(result.validation_accuracy or 0.0), result.steps, spec.trial_id)
