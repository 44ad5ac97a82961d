"""What a launch would run: the trials that a grid wants, minus those that are stored."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bilin.orchestrator.grid import Choices, Grid, LogUniform, WantedCell
from bilin.orchestrator.planning.asked import Asked
from bilin.orchestrator.planning.search import Ask, Known, decide, num_later
from bilin.record import RERUN_STATUSES, RESULT_STATUSES, Status
from bilin.registry import package_of
from bilin.results import StoredTrial
from bilin.rules import Outcome
from bilin.spec import TestSpec, TrialSpec


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellPlan:
    """One wanted cell against what is stored of it.

    Attributes:
        wanted: The cell, its learning rates and seeds.
        known: The outcomes that stand, by learning rate and seed.
        stored: The status of each stored trial that stands.
        asks: The trials that should have a result by now; later rounds of a search are not among them.
        missing: Those of them that have none.
        num_later: How many trials later rounds of a search will ask for, at most.
    """

    wanted: WantedCell
    known: Known
    stored: Mapping[tuple[float, int], Status]
    asks: tuple[Ask, ...]
    missing: tuple[Ask, ...]
    num_later: int

    @classmethod
    def of(
        cls,
        wanted: WantedCell,
        known: Known,
        stored: Mapping[tuple[float, int], Status],
        asked: Sequence[float] = (),
    ) -> CellPlan:
        """Decide what a cell needs, given what is known of it and the learning rates that were asked for."""
        asks = decide(wanted, known, asked)
        missing = asks if not known else tuple(ask for ask in asks if ask[:2] not in known)
        later = num_later(wanted, known, asks, missing)
        return cls(wanted=wanted, known=known, stored=stored, asks=asks, missing=missing, num_later=later)

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
        return (self.stored[ask[:2]] for ask in asks if ask[:2] in self.stored)

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
    """

    grid: Grid
    cells: tuple[CellPlan, ...]
    statuses: Mapping[Status, int]
    num_wanted: int
    num_missing: int
    num_later: int
    estimate: Estimate

    @property
    def num_done(self) -> int:
        """Trials that have their result."""
        return sum(count for status, count in self.statuses.items() if status in RESULT_STATUSES)

    @property
    def num_failed(self) -> int:
        """Trials that ended without a result and are left alone."""
        return sum(count for status, count in self.statuses.items() if status not in RESULT_STATUSES)

    @property
    def may_end_early(self) -> bool:
        """Whether a search may ask for fewer trials than it is granted, as with ``until_solved``."""
        searches = {cell.wanted.learning_rate for cell in self.cells}
        return any(isinstance(search, Choices) and search.until_solved for search in searches)

    @property
    def packages(self) -> frozenset[str]:
        """The packages, with their versions, whose tasks and tiers the cells have."""
        blocks = {type(block) for cell in self.cells for block in (cell.wanted.cell.task, cell.wanted.cell.model)}
        return frozenset(package for block in blocks if (package := package_of(block)))

    def missing(self) -> Iterator[TrialSpec]:
        """The trials to run now, in the grid's order."""
        return (cell.spec(ask.lr, ask.seed) for cell in self.cells for ask in cell.missing)


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
    ids = {wanted.cell_id for wanted in grid.cells}
    by_cell: dict[str, list[StoredTrial]] = defaultdict(list)
    for trial in stored.values():
        if trial.cell_id in ids:
            by_cell[trial.cell_id].append(trial)
    statuses: Counter[Status] = Counter()
    cells = []
    for wanted in grid.cells:
        trials = by_cell.get(wanted.cell_id, ())
        standing = {
            (trial.lr, trial.seed): trial
            for trial in trials
            if trial.status not in rerun and is_complete(trial, wanted.test)
        }
        known = {key: Outcome.of(*key, trial) for key, trial in standing.items()}
        lrs: Sequence[float] = ()
        if isinstance(wanted.learning_rate, LogUniform):
            lrs = (*(asked or {}).get(wanted.cell_id, ()), *sorted(trial.lr for trial in trials))
        cell = CellPlan.of(wanted, known, {key: trial.status for key, trial in standing.items()}, lrs)
        if standing:
            statuses.update(cell.found(cell.asks))
        cells.append(cell)
    return Plan(
        grid=grid,
        cells=tuple(cells),
        statuses=statuses,
        num_wanted=sum(wanted.max_trials for wanted in grid.cells),
        num_missing=sum(cell.num_missing for cell in cells),
        num_later=sum(cell.num_later for cell in cells),
        estimate=_estimate(cells, by_cell),
    )


def is_complete(trial: StoredTrial, test: TestSpec) -> bool:
    """Return whether a row has every wanted length, tested on the wanted number of sequences."""
    if trial.status != "done":
        return True  # it has no lengths to miss
    return all(trial.tested.get(length) == test.num_sequences for length in test.lengths)


def _estimate(cells: Collection[CellPlan], by_cell: Mapping[str, list[StoredTrial]]) -> Estimate:
    shapes = [(cell.wanted.cell.task.name, cell.wanted.cell.model, cell.wanted.cell.train) for cell in cells]
    times: dict[object, list[float]] = defaultdict(list)
    for cell, shape in zip(cells, shapes, strict=True):
        times[shape].extend(trial.wall_s for trial in by_cell.get(cell.wanted.cell_id, ()) if trial.status == "done")
    means = {shape: sum(seen) / len(seen) for shape, seen in times.items() if seen}
    known = [(means[shape], cell.num_missing) for cell, shape in zip(cells, shapes, strict=True) if shape in means]
    num_missing = sum(cell.num_missing for cell in cells)
    return Estimate(
        seconds=sum(mean * count for mean, count in known),
        num_stored=sum(len(seen) for seen in times.values()),
        num_unknown=num_missing - sum(count for _, count in known),
    )
