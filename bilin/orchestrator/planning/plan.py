"""What a launch would run: the trials that a grid wants, minus those that are stored."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bilin.notebook import html_table
from bilin.orchestrator.grid import Choices, Grid, LogUniform, WantedCell
from bilin.orchestrator.planning.asked import Asked
from bilin.orchestrator.planning.search import Ask, Known, decide, num_later
from bilin.orchestrator.planning.state import SweepState
from bilin.record import RERUN_STATUSES, RESULT_STATUSES, Status
from bilin.registry import package_of
from bilin.results import StoredTrial
from bilin.rules import Outcome
from bilin.spec import ModelSettings, TestSpec, TrainSpec, TrialSpec
from bilin.units import duration

Shape = tuple[str, ModelSettings, TrainSpec]
"""The name of a task, a model, and how it is trained: trials that agree in these take about as long."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellPlan:
    """One wanted cell against what is stored of it.

    Attributes:
        wanted: The cell, its learning rates and seeds.
        stored: The stored trials that stand, by learning rate and seed.
        known: The outcomes by learning rate and seed: those of ``stored``, and later ones of a running sweep.
        asks: The trials that should have a result by now; later rounds of a search are not among them.
        missing: Those of them that have none.
        num_later: How many trials later rounds of a search will ask for, at most.
    """

    wanted: WantedCell
    stored: Mapping[tuple[float, int], StoredTrial]
    known: Known
    asks: tuple[Ask, ...]
    missing: tuple[Ask, ...]
    num_later: int

    @classmethod
    def of(
        cls,
        wanted: WantedCell,
        stored: Mapping[tuple[float, int], StoredTrial],
        known: Known,
        asked: Sequence[float] = (),
    ) -> CellPlan:
        """Decide what a cell needs, given what is known of it and the learning rates that were asked for."""
        asks = decide(wanted, known, asked)
        missing = tuple([ask for ask in asks if ask[:2] not in known]) if known else asks
        later = num_later(wanted, known, asks, missing)
        return cls(wanted=wanted, stored=stored, known=known, asks=asks, missing=missing, num_later=later)

    @property
    def shape(self) -> Shape:
        """See `Shape`."""
        cell = self.wanted.cell
        return cell.task.name, cell.model, cell.train

    @property
    def lrs(self) -> tuple[float, ...]:
        """The learning rates that are asked for."""
        return tuple(dict.fromkeys(ask.lr for ask in self.asks))

    @property
    def num_missing(self) -> int:
        """Trials to run, with those of later rounds of the search."""
        return len(self.missing) + self.num_later

    def found(self, asks: Iterable[Ask]) -> Iterator[Status]:
        """The status of each trial, of those asked for, that is stored."""
        return (trial.status for ask in asks if (trial := self.stored.get(ask[:2])))

    def spec(self, lr: float, seed: int) -> TrialSpec:
        """The trial of the cell at a learning rate under a seed."""
        wanted = self.wanted
        return TrialSpec(cell=wanted.cell, lr=lr, seed=seed, test=wanted.test, resources=wanted.resources)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """How long the missing trials will take on one worker, from stored trials of the same shape.

    Attributes:
        seconds: For the missing trials, those of later rounds included, whose shape has been seen.
        num_stored: How many stored trials that rests on.
        num_unknown: How many missing trials have a shape that has not been seen.
    """

    seconds: float
    num_stored: int
    num_unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A grid against what is stored of it.

    Attributes:
        cells: Every wanted cell, in the grid's order.
        statuses: How many of the trials that are asked for now were stored with each status.
        num_wanted: Trials that the grid may come to want; a search with ``until_solved`` may want fewer.
        num_missing: Trials to run, with those of later rounds of searches.
        num_later: Those of later rounds; for a search with ``until_solved``, the most that they can be.
        num_lost: Those whose last launch lost them: a row says so, and the next launch runs them again.
        stored: Every stored trial of the sweep, by its id.
        rows: Those of each wanted cell, by the id of the cell, whether they stand or not.
    """

    grid: Grid
    cells: tuple[CellPlan, ...]
    statuses: Mapping[Status, int]
    num_wanted: int
    num_missing: int
    num_later: int
    num_lost: int
    estimate: Estimate
    stored: Mapping[str, StoredTrial]
    rows: Mapping[str, Sequence[StoredTrial]]

    @property
    def num_done(self) -> int:
        """Trials that have their result."""
        return sum(count for status, count in self.statuses.items() if status in RESULT_STATUSES)

    @property
    def num_failed(self) -> int:
        """Trials that ended without a result and are left alone."""
        return sum(count for status, count in self.statuses.items() if status not in RESULT_STATUSES)

    @property
    def num_now(self) -> int:
        """Trials to run that are known, those of later rounds left out."""
        return self.num_missing - self.num_later

    @property
    def later(self) -> str:
        """Text that says how many trials follow in later rounds, if any do."""
        at_most = "at most " if self.may_end_early else ""
        return f", {at_most}{self.num_later} in later rounds" if self.num_later else ""

    @property
    def may_end_early(self) -> bool:
        """Whether a search may ask for fewer trials than it is granted, as with ``until_solved``."""
        searches = {cell.wanted.learning_rate for cell in self.cells}
        return any(isinstance(search, Choices) and search.until_solved for search in searches)

    @property
    def state(self) -> SweepState:
        """The state of the sweep, if nothing runs it."""
        return SweepState.of(num_missing=self.num_missing - self.num_lost, num_failed=self.num_failed + self.num_lost)

    @property
    def packages(self) -> frozenset[str]:
        """The packages, with their versions, whose tasks and tiers the cells have."""
        blocks = {type(block) for cell in self.cells for block in (cell.wanted.cell.task, cell.wanted.cell.model)}
        return frozenset(package for block in blocks if (package := package_of(block)))

    def missing(self) -> Iterator[TrialSpec]:
        """The trials to run now, in the grid's order."""
        return (cell.spec(ask.lr, ask.seed) for cell in self.cells for ask in cell.missing)

    def __repr__(self) -> str:
        counts = f"{self.num_done} done, {self.num_failed} failed, {self.num_now} to run now{self.later}"
        return f"<Plan {self.grid.name}: {len(self.cells)} cells, {self.num_wanted} trials wanted, {counts}>"

    def _repr_html_(self) -> str:
        counts = {
            "cells": len(self.cells),
            "trials wanted": self.num_wanted,
            "done": self.num_done,
            "failed": self.num_failed,
            "to run now": self.num_now,
            "in later rounds": self.num_later,
        }
        rows = [(what, str(count)) for what, count in counts.items()]
        if self.num_missing > self.estimate.num_unknown:
            rows.append(("time on one worker", f"about {duration(self.estimate.seconds)}"))
        return html_table((), rows, right_aligned={1}, caption=f"plan of {self.grid.name}")


def make_plan(
    grid: Grid, stored: Mapping[str, StoredTrial], *, asked: Asked | None = None, retry: Collection[Status] = ()
) -> Plan:
    """Compare a grid with what is stored.

    Args:
        grid: What is wanted.
        stored: What is there, by trial id.
        asked: The learning rates that searches have asked for. Those of stored trials count as asked for anyway.
        retry: Statuses of failed trials to run again; ``lost`` ones are run again anyway.
    """
    rerun = {*RERUN_STATUSES, *retry}
    by_cell: dict[str, list[StoredTrial]] = {wanted.cell_id: [] for wanted in grid.cells}
    for trial in stored.values():
        if (trials := by_cell.get(trial.cell_id)) is not None:
            trials.append(trial)
    cells = []
    for wanted in grid.cells:
        lengths = _lengths(wanted.test)
        trials = by_cell[wanted.cell_id]
        standing = {
            (trial.lr, trial.seed): trial
            for trial in trials
            if trial.status not in rerun and _is_complete(trial, lengths)
        }
        known = {key: Outcome.of(*key, trial) for key, trial in standing.items()}
        lrs: Sequence[float] = ()
        if isinstance(wanted.learning_rate, LogUniform):
            lrs = (*(asked or {}).get(wanted.cell_id, ()), *sorted(trial.lr for trial in trials))
        cells.append(CellPlan.of(wanted, standing, known, lrs))
    return Plan(
        grid=grid,
        cells=tuple(cells),
        statuses=Counter(status for cell in cells if cell.stored for status in cell.found(cell.asks)),
        num_wanted=sum(wanted.max_trials for wanted in grid.cells),
        num_missing=sum(cell.num_missing for cell in cells),
        num_later=sum(cell.num_later for cell in cells),
        num_lost=sum(_num_lost(cell, by_cell[cell.wanted.cell_id]) for cell in cells if cell.missing),
        estimate=_estimate(cells, by_cell),
        stored=stored,
        rows=by_cell,
    )


def _num_lost(cell: CellPlan, stored: Collection[StoredTrial]) -> int:
    lost = {(trial.lr, trial.seed) for trial in stored if trial.status in RERUN_STATUSES}
    return sum(ask[:2] in lost for ask in cell.missing) if lost else 0


@functools.cache
def _lengths(test: TestSpec) -> frozenset[tuple[int, int]]:
    """Each wanted length, with the wanted number of sequences."""
    return frozenset((length, test.num_sequences) for length in test.lengths)


def _is_complete(trial: StoredTrial, lengths: frozenset[tuple[int, int]]) -> bool:
    """Return whether a row has every wanted length; only those that are done have lengths."""
    return trial.status != "done" or trial.tested.items() >= lengths


def _estimate(cells: Collection[CellPlan], by_cell: Mapping[str, list[StoredTrial]]) -> Estimate:
    by_shape: dict[Shape, tuple[list[float], list[int]]] = defaultdict(lambda: ([], []))
    for cell in cells:
        wall_s, num_missing = by_shape[cell.shape]
        wall_s.extend([trial.wall_s for trial in by_cell[cell.wanted.cell_id] if trial.status == "done"])
        num_missing.append(cell.num_missing)
    shapes = by_shape.values()
    return Estimate(
        seconds=sum(sum(wall_s) / len(wall_s) * sum(num_missing) for wall_s, num_missing in shapes if wall_s),
        num_stored=sum(len(wall_s) for wall_s, _ in shapes),
        num_unknown=sum(sum(num_missing) for wall_s, num_missing in shapes if not wall_s),
    )
