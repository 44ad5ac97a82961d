"""What a launch would run: the trials that a grid wants, minus those that are stored."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from bilin.orchestrator.grid import Grid, WantedCell
from bilin.orchestrator.planning.search import rates_to_try
from bilin.record import RERUN_STATUSES, RESULT_STATUSES, Status
from bilin.results import StoredTrial
from bilin.rules import Outcome
from bilin.spec import TestSpec, TrialSpec


@dataclass(slots=True, eq=False)
class CellPlan:
    """One wanted cell and what is known of it.

    Attributes:
        wanted: The cell, its rates and seeds.
        known: The outcomes that stand, by rate and seed.
        stored: The status of each trial that was stored, and stands, when the plan was made.
        rates: The rates that should have results by now; a later round of a search is not among them.
        missing: The trials to run, as rate and seed, in the order in which they were asked.
    """

    wanted: WantedCell
    known: dict[tuple[float, int], Outcome]
    stored: Mapping[tuple[float, int], Status]
    rates: tuple[float, ...] = ()
    missing: list[tuple[float, int]] = field(default_factory=list)

    def advance(self) -> tuple[list[tuple[float, int]], list[Status]]:
        """Ask for the rates that should have results by now.

        Returns:
            The trials that this adds to the missing ones, and the statuses of those that it finds stored.
        """
        before = set(self.rates)
        self.rates = rates_to_try(self.wanted, self.known)
        asked = [(rate, seed) for rate in self.rates if rate not in before for seed in self.wanted.seeds]
        added = [trial for trial in asked if trial not in self.known]
        self.missing.extend(added)
        return added, [self.stored[trial] for trial in asked if trial in self.stored]

    def spec(self, lr: float, seed: int) -> TrialSpec:
        """The trial of the cell at a rate under a seed."""
        wanted = self.wanted
        return TrialSpec(cell=wanted.cell, lr=lr, seed=seed, test=wanted.test, resources=wanted.resources)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """How long the missing trials will take on one worker, from stored trials of the same shape.

    Attributes:
        seconds: For the missing trials whose shape has been seen.
        num_stored: How many stored trials that rests on.
        num_unknown: How many missing trials have a shape that has not been seen.
    """

    seconds: float
    num_stored: int
    num_unknown: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A grid against what is stored of it.

    Attributes:
        cells: Every wanted cell, in the grid's order.
        statuses: How many wanted trials were stored with each status; grows when a search asks for such ones.
        num_wanted: Trials that the grid may come to want; a search that ends early wants fewer.
    """

    grid: Grid
    cells: tuple[CellPlan, ...]
    statuses: Counter[Status]
    num_wanted: int
    estimate: Estimate

    @cached_property
    def num_missing(self) -> int:
        """Trials to run now."""
        return sum(len(cell.missing) for cell in self.cells)

    @property
    def num_done(self) -> int:
        """Wanted trials that have their result."""
        return sum(count for status, count in self.statuses.items() if status in RESULT_STATUSES)

    @property
    def num_failed(self) -> int:
        """Wanted trials that ended without a result and are left alone."""
        return sum(count for status, count in self.statuses.items() if status not in RESULT_STATUSES)

    def missing(self) -> Iterator[TrialSpec]:
        """The trials to run now, in the grid's order."""
        return (cell.spec(lr, seed) for cell in self.cells for lr, seed in cell.missing)


def make_plan(grid: Grid, stored: Mapping[str, StoredTrial], *, retry: Collection[Status] = ()) -> Plan:
    """Hold a grid against what is stored.

    Args:
        grid: What is wanted.
        stored: What is there, by trial id.
        retry: Statuses of failed trials to run again; ``lost`` ones are run again anyway.
    """
    rerun = {*RERUN_STATUSES, *retry}
    by_cell = _by_cell(grid, stored)
    statuses: Counter[Status] = Counter()
    cells = []
    for wanted in grid.cells:
        known = {
            (trial.lr, trial.seed): trial
            for trial in by_cell.get(wanted.cell_id, ())
            if trial.status not in rerun and is_complete(trial, wanted.test)
        }
        outcomes = {key: Outcome.of(*key, trial) for key, trial in known.items()}
        cell = CellPlan(wanted, outcomes, {key: trial.status for key, trial in known.items()})
        _, found = cell.advance()
        statuses.update(found)
        cells.append(cell)
    return Plan(
        grid=grid,
        cells=tuple(cells),
        statuses=statuses,
        num_wanted=sum(wanted.max_trials for wanted in grid.cells),
        estimate=_estimate(cells, by_cell),
    )


def is_complete(trial: StoredTrial, test: TestSpec) -> bool:
    """Whether a row answers what is wanted: every tested length, at the wanted number of sequences."""
    if trial.status != "done":
        return True  # it has no lengths to miss
    return all(trial.tested.get(length) == test.num_sequences for length in test.lengths)


def _by_cell(grid: Grid, stored: Mapping[str, StoredTrial]) -> Mapping[str, list[StoredTrial]]:
    ids = {wanted.cell_id for wanted in grid.cells}
    by_cell: dict[str, list[StoredTrial]] = defaultdict(list)
    for trial in stored.values():
        if trial.cell_id in ids:
            by_cell[trial.cell_id].append(trial)
    return by_cell


def _estimate(cells: Collection[CellPlan], by_cell: Mapping[str, list[StoredTrial]]) -> Estimate:
    shapes = [(cell.wanted.cell.task.name, cell.wanted.cell.model, cell.wanted.cell.train) for cell in cells]
    times: dict[object, list[float]] = defaultdict(list)
    for cell, shape in zip(cells, shapes, strict=True):
        times[shape].extend(trial.wall_s for trial in by_cell.get(cell.wanted.cell_id, ()) if trial.status == "done")
    means = {shape: sum(seen) / len(seen) for shape, seen in times.items() if seen}
    known = [(means[shape], len(cell.missing)) for cell, shape in zip(cells, shapes, strict=True) if shape in means]
    num_missing = sum(len(cell.missing) for cell in cells)
    return Estimate(
        seconds=sum(mean * count for mean, count in known),
        num_stored=sum(len(seen) for seen in times.values()),
        num_unknown=num_missing - sum(count for _, count in known),
    )
