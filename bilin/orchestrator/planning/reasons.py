"""Why each trial of a plan would run, and why stored trials leave the results.

"New" is what the grid of the last launch did not ask for. Without such a grid, it is what has no stored trial. Trials
that are found in other sweeps count as stored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from bilin.orchestrator.grid import Choices
from bilin.orchestrator.planning.cell import CellPlan, missing_lengths, stale_versions
from bilin.orchestrator.planning.plan import Plan
from bilin.orchestrator.planning.search import Ask
from bilin.record import RESULT_STATUSES
from bilin.results import StoredTrial, WantedRow
from bilin.spec import Point, trial_id


class Reason(StrEnum):
    """Why a trial would run, or leaves the results."""

    NEW_CELL = "new cell"
    NEW_LR = "new learning rate"
    NEW_POINT = "new point of the search"
    NEW_SEED = "new seed"
    NOT_RUN = "asked for before, not run yet"
    FAILED = "failed before"
    PRUNED = "stopped by a pruner before, goes on"
    LENGTH_MISSING = "tested length missing"
    OTHER_VERSION = "other version"
    LATER_ROUND = "later round of a search"
    IF_UNSOLVED = "only if no learning rate before it solves"
    CELL_LEFT = "cell not in the grid"
    LR_LEFT = "learning rate not in the grid"
    POINT_LEFT = "point of a search not in the grid"
    SEED_LEFT = "seed not in the grid"
    LENGTH_LEFT = "tested length not in the grid"


class TrialReason(NamedTuple):
    """A trial, and why it would run or leaves the results.

    Attributes:
        detail: What is new, missing or gone: a point, a seed, a status or tested lengths; may be empty.
    """

    cell_id: str
    point: Point
    seed: int
    reason: Reason
    detail: str

    @property
    def trial_id(self) -> str:
        """The id of the trial."""
        return trial_id(self.cell_id, self.point, self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonCount:
    """How many trials have a reason in common.

    Attributes:
        details: How many trials have each detail, in the order of the plan.
    """

    reason: Reason
    num_trials: int
    num_cells: int
    details: Mapping[str, int]

    @classmethod
    def of(cls, trials: Iterable[TrialReason]) -> list[ReasonCount]:
        """Count trials by their reasons, in the order of `Reason`."""
        cells: dict[Reason, set[str]] = defaultdict(set)
        details: dict[Reason, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for trial in trials:
            cells[trial.reason].add(trial.cell_id)
            details[trial.reason][trial.detail] += 1
        return [
            cls(
                reason=reason,
                num_trials=sum(details[reason].values()),
                num_cells=len(cells[reason]),
                details={detail: count for detail, count in details[reason].items() if detail},
            )
            for reason in Reason
            if reason in cells
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a launch would change. Trials are listed on demand: a plan of many of them is counted in little memory.

    Attributes:
        plan: What a launch would run.
        whole: The plan of the whole grid, if ``only`` has narrowed ``plan``; else ``plan`` itself.
        last: What the grid of the last launch asks for, by the ids of its cells; None if there is none.
        is_renumbered: Whether the cells of the last launch have other ids now, since bilin, or a package of tasks or
            tiers, computes other numbers for the same settings.
        shortfalls: Which trials to run ask for more than this machine, or a node of the grid's job, has.
    """

    plan: Plan
    whole: Plan
    last: Mapping[str, WantedRow] | None
    is_renumbered: bool = False
    shortfalls: Sequence[str] = ()

    @property
    def earlier_name(self) -> str | None:
        """The sweep that this one may have been before its grid got another name: it has results of these cells."""
        found = self.plan.to_copy if self.last is None and not self.plan.stored else {}
        return max(found, key=lambda name: len(found[name]), default=None)

    @property
    def reasons(self) -> list[ReasonCount]:
        """Why trials run, those of later rounds included."""
        by_cell: dict[Reason, list[int]] = {Reason.NEW_CELL: [], Reason.LATER_ROUND: [], Reason.IF_UNSOLVED: []}
        others = []
        for cell in self.plan.cells:
            if cell.num_later:
                is_list = isinstance(cell.wanted.learning_rate, Choices)
                by_cell[Reason.IF_UNSOLVED if is_list else Reason.LATER_ROUND].append(cell.num_later)
            if not self._is_new(cell):
                others.append(cell)
            elif cell.to_run:
                by_cell[Reason.NEW_CELL].append(len(cell.to_run))
        counts = [
            ReasonCount(reason=reason, num_trials=sum(nums), num_cells=len(nums), details={})
            for reason, nums in by_cell.items()
            if nums
        ]
        counts += ReasonCount.of(trial for cell in others for trial in self._due(cell))
        return sorted(counts, key=lambda count: [*Reason].index(count.reason))

    @property
    def leaves(self) -> list[ReasonCount]:
        """Why stored trials leave the results."""
        return ReasonCount.of(self.leaving())

    @property
    def num_weights_lost(self) -> int:
        """How many of the trials that leave the results have kept weights, which a launch removes."""
        wanted = {cell.wanted.cell_id for cell in self.plan.cells}
        leaving = {trial.trial_id for trial in self.leaving() if trial.reason is not Reason.LENGTH_LEFT}
        return sum(
            row.weights is not None and row.trial_id in leaving
            for row in self.plan.stored.values()
            if self.plan.grid.is_whole or row.cell_id in wanted
        )

    def due(self) -> Iterator[TrialReason]:
        """Yield the trials to run now, in the grid's order."""
        for cell in self.plan.cells:
            yield from self._due(cell)

    def _is_new(self, cell: CellPlan) -> bool:
        """Return whether neither a row nor the last launch knows a cell."""
        cell_id = cell.wanted.cell_id
        return not (self.plan.rows[cell_id] or cell.stored or (self.last and cell_id in self.last))

    def _due(self, cell: CellPlan) -> Iterator[TrialReason]:
        cell_id = cell.wanted.cell_id
        if self._is_new(cell):
            for ask in cell.to_run:
                yield TrialReason(cell_id, *ask.key, Reason.NEW_CELL, "")
            return
        last = (self.last or {}).get(cell_id)
        stored = {**{(row.point, row.seed): row for row in self.plan.rows[cell_id]}, **cell.stored}
        points = {point for point, _ in stored}
        for ask in cell.to_run:
            row = stored.get(ask.key)
            reason, detail = _stored_reason(row, cell) if row else _new_reason(ask, points, last)
            yield TrialReason(cell_id, *ask.key, reason, detail)

    def leaving(self) -> Iterator[TrialReason]:
        """Yield the stored trials that the results would no longer show, or not with all of their tested lengths."""
        for row, reason, detail in self._unwanted():
            last = (self.last or {}).get(row.cell_id)
            if self.last is None or (last and _wants(last, row, reason)):
                yield TrialReason(row.cell_id, row.point, row.seed, reason, detail)

    def _unwanted(self) -> Iterator[tuple[StoredTrial, Reason, str]]:
        """Yield the stored trials that the grid does not ask for, or of which it does not want every length."""
        rows = self.whole.rows
        for cell in self.whole.cells:
            if of_cell := rows[cell.wanted.cell_id]:
                yield from _gone(cell, of_cell)
        for row in self.whole.stored.values():
            if row.cell_id not in rows:
                yield row, Reason.CELL_LEFT, ""


def _stored_reason(row: StoredTrial, cell: CellPlan) -> tuple[Reason, str]:
    """Return why a trial that has a row would run."""
    if row.status in RESULT_STATUSES - {"pruned"} and (row.point, row.seed) not in cell.stored:
        return Reason.OTHER_VERSION, ", ".join(dict.fromkeys(stale_versions(row, cell.wanted.cell).values()))
    if row.status == "pruned":
        return Reason.PRUNED, f"at step {row.steps}"
    if row.status != "done":
        return Reason.FAILED, row.status
    return Reason.LENGTH_MISSING, ", ".join(map(str, missing_lengths(row, cell.wanted.test)))


def _new_reason(ask: Ask, points: Collection[Point], last: WantedRow | None) -> tuple[Reason, str]:
    """Return why a trial without a row would run."""
    is_known = ask.point in points
    if last and last.has(ask.point):
        if ask.seed in last.seeds:
            return Reason.NOT_RUN, ""
        is_known = True
    if is_known:
        return Reason.NEW_SEED, str(ask.seed)
    return Reason.NEW_POINT if ask.point.searched else Reason.NEW_LR, str(ask.point)


def _gone(cell: CellPlan, rows: Iterable[StoredTrial]) -> Iterator[tuple[StoredTrial, Reason, str]]:
    seeds, lengths, search = cell.wanted.seeds, frozenset(cell.wanted.test.lengths), cell.wanted.learning_rate
    points: Collection[Point] = cell.points
    if isinstance(search, Choices) and cell.num_later:
        points = [*map(Point, search.choices)]
    for row in rows:
        if row.seed not in seeds:
            yield row, Reason.SEED_LEFT, str(row.seed)
        elif row.point not in points:
            yield row, Reason.POINT_LEFT if row.point.searched else Reason.LR_LEFT, str(row.point)
        elif not row.tested.keys() <= lengths:
            yield row, Reason.LENGTH_LEFT, ", ".join(map(str, sorted(row.tested.keys() - lengths)))


def _wants(last: WantedRow, row: StoredTrial, reason: Reason) -> bool:
    """Return whether the grid of the last launch asks for a stored trial, or for a length that leaves."""
    is_shown = row.seed in last.seeds and last.has(row.point)
    return is_shown and (reason is not Reason.LENGTH_LEFT or row.tested.keys() <= {*last.test_lengths})
