"""What a launch would run: the trials that a grid wants, minus those that are stored."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bilin.notebook import html_table
from bilin.orchestrator.grid import Choices, Grid, LogUniform, WantedCell
from bilin.orchestrator.planning.asked import Asked
from bilin.orchestrator.planning.cell import CellPlan, Kind, missing_lengths, stale_versions
from bilin.orchestrator.planning.search import Key, min_steps
from bilin.orchestrator.planning.state import SweepState
from bilin.record import RERUN_STATUSES, RESULT_STATUSES, Status
from bilin.registry import package_of
from bilin.results import HARDWARE, StoredTrial, mixture
from bilin.rules import Outcome
from bilin.spec import Point, TestSpec, TrialSpec
from bilin.units import duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """How long the trials to run will take on one worker, from stored trials of the same kind.

    Attributes:
        seconds: Covers trials of later rounds, but no kind of which no trial is stored. Trials that are only tested
            count at their own test time per token.
        num_stored: How many stored trials that rests on.
        num_unknown: How many trials to run are of a kind of which no trial is stored.
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
        num_lost: Trials to run again because the last launch lost them.
        stored: Every stored trial of the sweep, by its id.
        shares: Whether some of the cells have results in other sweeps of the store.
        rows: The stored trials of each wanted cell, by the id of the cell, including those that are not used.
    """

    grid: Grid
    cells: tuple[CellPlan, ...]
    statuses: Mapping[Status, int]
    num_wanted: int
    num_lost: int
    estimate: Estimate
    stored: Mapping[str, StoredTrial]
    rows: Mapping[str, Sequence[StoredTrial]]
    shares: bool

    @property
    def num_done(self) -> int:
        """Trials that have their result."""
        return sum(count for status, count in self.statuses.items() if status in RESULT_STATUSES)

    @property
    def num_failed(self) -> int:
        """Trials that ended without a result and are left alone."""
        return sum(count for status, count in self.statuses.items() if status not in RESULT_STATUSES)

    @property
    def num_to_run(self) -> int:
        """Trials to run, with those of later rounds of searches."""
        return sum([cell.num_to_run for cell in self.cells])

    @property
    def num_later(self) -> int:
        """Trials of later rounds of searches; with ``until_solved``, the most that they can be."""
        return sum([cell.num_later for cell in self.cells])

    @property
    def num_if_unsolved(self) -> int:
        """Those of them that ``until_solved`` asks for only if no learning rate before theirs solves."""
        return sum([cell.num_later for cell in self.cells if isinstance(cell.wanted.learning_rate, Choices)])

    @property
    def num_to_run_now(self) -> int:
        """Trials to run that are known, those of later rounds left out."""
        return self.num_to_run - self.num_later

    @property
    def num_tests(self) -> int:
        """Trials to run that are only tested, with their kept weights."""
        return sum(len(cell.tests) for cell in self.cells)

    @property
    def num_retrained(self) -> int:
        """Trials to run that lack only tested lengths, and are trained again since no weights can be tested."""
        return sum(cell.num_retrained for cell in self.cells)

    @property
    def num_more(self) -> int:
        """How many more trials may run, at most: those of a point that is then selected, without a tested length."""
        return sum(cell.num_more for cell in self.cells)

    @property
    def num_shapes(self) -> int:
        """How many shapes the trials to run now have: those of one shape can be trained as one program."""
        found = {}
        for plan in self.cells:
            cell = plan.wanted.cell
            for ask in plan.to_run if plan.wanted.ranges else plan.to_run[:1]:
                # Cells share their blocks, which take long to hash.
                found[id(cell.task), id(cell.model), cell.train.normalize, ask.point.searched] = plan, ask
        return len({plan.spec(*ask).shape for plan, ask in found.values()})

    @property
    def may_end_early(self) -> bool:
        """Whether fewer trials may run, as with ``until_solved``, or if another sweep has points of later rounds."""
        searches = (cell.wanted.learning_rate for cell in self.cells)
        is_until_solved = any(isinstance(search, Choices) and search.until_solved for search in searches)
        return is_until_solved or (self.shares and any(cell.may_find_more for cell in self.cells))

    @property
    def share_of_steps(self) -> float:
        """The share of the training steps of all trials that pruners leave, if no trial ends before; 1 without them."""
        if not any(cell.wanted.rungs for cell in self.cells):
            return 1.0
        num_steps = [cell.wanted.max_trials * cell.wanted.cell.train.steps for cell in self.cells]
        left = [min_steps(cell.wanted) for cell in self.cells]
        return sum(left) / sum(num_steps)

    @property
    def stale(self) -> Mapping[str, int]:
        """How many trials with a result other versions than the installed ones ran, by these versions."""
        return Counter(versions for cell in self.cells for versions in cell.stale)

    @property
    def num_mixed(self) -> int:
        """How many cells have results of other versions beside results of the installed ones, after a launch."""
        return sum(cell.mixes_versions for cell in self.cells)

    @property
    def num_mixed_hardware(self) -> int:
        """How many cells have results of several CPUs or GPUs."""
        return sum(
            mixture(Counter(trial.origin for trial in cell.stored.values()), HARDWARE) is not None
            for cell in self.cells
            if len(cell.stored) > 1
        )

    @property
    def state(self) -> SweepState:
        """The state of the sweep, if no process is running it. Results that are to be copied are not its own yet."""
        num_to_copy = sum(len(trial_ids) for trial_ids in self.to_copy.values())
        return SweepState.of(
            num_to_run=self.num_to_run - self.num_lost + num_to_copy, num_failed=self.num_failed + self.num_lost
        )

    @property
    def packages(self) -> frozenset[str]:
        """The packages, with their versions, whose tasks and tiers the cells have."""
        blocks = {type(block) for cell in self.cells for block in (cell.wanted.cell.task, cell.wanted.cell.model)}
        return frozenset(package for block in blocks if (package := package_of(block)))

    @property
    def to_copy(self) -> Mapping[str, Sequence[str]]:
        """The ids of the trials that a launch copies from other sweeps of the store, by the name of the sweep.

        Those that must be trained again for a tested length are left out.
        """
        found: dict[str, list[str]] = {}
        for cell in self.cells if self.shares else ():
            to_run = set(cell.to_run)
            for ask in cell.asks:
                trial = cell.stored.get(ask.key)
                if trial and trial.found_in and (trial.has_weights or ask not in to_run):
                    found.setdefault(trial.found_in, []).append(trial.trial_id)
        return found

    @property
    def asked(self) -> Asked:
        """The points that searches ask for by now."""
        searches = (cell for cell in self.cells if isinstance(cell.wanted.learning_rate, LogUniform))
        return {cell.wanted.cell_id: cell.points for cell in searches}

    def to_run(self) -> Iterator[TrialSpec]:
        """The trials to run now, in the grid's order."""
        return (cell.spec(*ask) for cell in self.cells for ask in cell.to_run)

    def counts(self) -> dict[str, str]:
        """Return how many trials are done, failed and to run, each with the words that say so."""
        now = {"done": self.num_done, "failed": self.num_failed, "to run now": self.num_to_run_now}
        at_most, in_rounds = "at most " if self.may_end_early else "", self.num_later - self.num_if_unsolved
        later = {
            "in later rounds": f"{at_most}{in_rounds}" if in_rounds else "",
            "if no learning rate before solves": f"at most {self.num_if_unsolved}" if self.num_if_unsolved else "",
            "if another learning rate is then selected": f"at most {self.num_more} more" if self.num_more else "",
        }
        return {what: str(count) for what, count in now.items()} | {what: text for what, text in later.items() if text}

    def __repr__(self) -> str:
        counts = {"cells": len(self.cells), "trials wanted": self.num_wanted, **self.counts()}
        return f"<Plan {self.grid.name}: {', '.join(f'{count} {what}' for what, count in counts.items())}>"

    def _repr_html_(self) -> str:
        counts = {"cells": len(self.cells), "trials wanted": self.num_wanted, **self.counts()}
        counts["of them only tested"] = self.num_tests
        rows = [(what, str(count)) for what, count in counts.items()]
        if self.num_to_run > self.estimate.num_unknown:
            rows.append(("time on one worker", f"about {duration(self.estimate.seconds)}"))
        return html_table((), rows, right_aligned={1}, caption=f"plan of {self.grid.name}")


def make_plan(
    grid: Grid,
    stored: Mapping[str, StoredTrial],
    *,
    asked: Asked | None = None,
    retry: Collection[Status] = (),
    rerun_stale: bool = False,
    shared: Mapping[str, Sequence[StoredTrial]] | None = None,
) -> Plan:
    """Compare a grid with what is stored.

    Args:
        grid: What is wanted.
        stored: What is there, by trial id.
        asked: The points that searches have asked for. Those of stored trials count as asked for anyway.
        retry: Statuses of failed trials to run again; ``lost`` ones are run again anyway.
        rerun_stale: Run trials of other versions than the installed ones again.
        shared: Results that other sweeps have of the cells, by the id of the cell. They count as stored.
    """
    rerun = {*RERUN_STATUSES, *retry}
    by_cell: dict[str, list[StoredTrial]] = {wanted.cell_id: [] for wanted in grid.cells}
    for trial in stored.values():
        if (trials := by_cell.get(trial.cell_id)) is not None:
            trials.append(trial)
    cells = []
    for wanted in grid.cells:
        trials = by_cell[wanted.cell_id]
        points: Sequence[Point] = ()
        if isinstance(wanted.learning_rate, LogUniform):
            points = (*(asked or {}).get(wanted.cell_id, ()), *sorted(trial.point for trial in trials))
        if not (trials or shared):  # as most cells of a new grid, which may be many
            cells.append(CellPlan.of(wanted, {}, {}, {}, points))
            continue
        usable = _usable(trials, wanted, rerun_stale=rerun_stale)
        left = rerun if wanted.rungs else rerun | {"pruned"}
        valid = {(trial.point, trial.seed): trial for trial in usable if trial.status not in left}
        if shared and not wanted.rungs:  # what a pruner would have stopped must not be compared as it ended
            _add_shared(valid, _usable(shared.get(wanted.cell_id, ()), wanted, rerun_stale=rerun_stale), wanted)
        lengths = _lengths(wanted.test)
        lacking_lengths = {key: trial for key, trial in valid.items() if not _is_complete(trial, lengths)}
        known = {key: Outcome.of(*key, trial, trial.rungs) for key, trial in valid.items()}
        cells.append(CellPlan.of(wanted, valid, known, lacking_lengths, points))
    return Plan(
        grid=grid,
        cells=tuple(cells),
        statuses=Counter(status for cell in cells if cell.stored for status in cell.statuses(cell.settled)),
        num_wanted=sum(wanted.max_trials for wanted in grid.cells),
        num_lost=sum(_num_lost(cell, by_cell[cell.wanted.cell_id]) for cell in cells if cell.to_run),
        estimate=_estimate(cells, by_cell),
        stored=stored,
        rows=by_cell,
        shares=bool(shared),
    )


def _usable(trials: Iterable[StoredTrial], wanted: WantedCell, *, rerun_stale: bool) -> Iterator[StoredTrial]:
    """Yield the trials whose results count.

    Weights of another version of the task or tier count as not kept: with more tests, versions would mix in a row.
    """
    lengths = _lengths(wanted.test)
    for trial in trials:
        versions = stale_versions(trial, wanted.cell)
        if versions and rerun_stale:
            continue
        if versions.keys() - {"torch"} and trial.has_weights and not _is_complete(trial, lengths):
            trial = replace(trial, weights=None)
        yield trial


def _add_shared(valid: dict[Key, StoredTrial], shared: Iterable[StoredTrial], wanted: WantedCell) -> None:
    """Add the results of other sweeps for the trials of a cell that have none, or lack a length and have no weights."""
    lengths = _lengths(wanted.test)

    def rank(trial: StoredTrial) -> tuple[bool, bool, bool]:
        return bool(stale_versions(trial, wanted.cell)), not _is_complete(trial, lengths), not trial.has_weights

    for trial in sorted(shared, key=rank):
        own = valid.get((trial.point, trial.seed))
        if own is None or _saves_work(trial, own, lengths):
            valid[trial.point, trial.seed] = trial


def _saves_work(trial: StoredTrial, own: StoredTrial, lengths: frozenset[tuple[int, int]]) -> bool:
    """Return whether a result of another sweep makes a training unnecessary that the own row does not."""
    if own.status not in RESULT_STATUSES:
        return True
    loses_nothing = own.tested.items() <= trial.tested.items()
    return loses_nothing and _is_complete(trial, lengths) and not (own.has_weights or _is_complete(own, lengths))


def _num_lost(cell: CellPlan, stored: Collection[StoredTrial]) -> int:
    lost = {(trial.point, trial.seed) for trial in stored if trial.status in RERUN_STATUSES}
    return sum(ask.key in lost for ask in cell.to_run) if lost else 0


@functools.cache
def _lengths(test: TestSpec) -> frozenset[tuple[int, int]]:
    """Each wanted length, with the wanted number of sequences."""
    return frozenset((length, test.num_sequences) for length in test.lengths)


def _is_complete(trial: StoredTrial, lengths: frozenset[tuple[int, int]]) -> bool:
    """Return whether a row has every wanted length; only those that are done have lengths."""
    return trial.status != "done" or trial.tested.items() >= lengths


def _estimate(cells: Collection[CellPlan], by_cell: Mapping[str, list[StoredTrial]]) -> Estimate:
    walls: dict[Kind, list[float]] = defaultdict(list)
    seconds, num_unknown = 0.0, 0
    for cell in cells:
        if cell.stored or by_cell[cell.wanted.cell_id]:
            trials = {trial.trial_id: trial for trial in (*cell.stored.values(), *by_cell[cell.wanted.cell_id])}
            walls[cell.kind] += [trial.wall_s for trial in trials.values() if trial.status == "done"]
            seconds += sum(_test_s(trial, cell.wanted.test) for trial in cell.tests)
    wall_s = {kind: sum(found) / len(found) for kind, found in walls.items() if found}
    for cell in cells:
        num_to_run = cell.num_to_run - len(cell.tests)
        if wall_s and cell.kind in wall_s:  # a kind takes long to hash, and a new grid has many
            seconds += wall_s[cell.kind] * num_to_run
        else:
            num_unknown += num_to_run
    return Estimate(seconds=seconds, num_stored=sum(map(len, walls.values())), num_unknown=num_unknown)


def _test_s(trial: StoredTrial, test: TestSpec) -> float:
    """How long the missing lengths of a trial take, by what the tested ones took for each token."""
    if trial.test_s is None or not trial.tested:
        return trial.wall_s
    num_tokens = sum(length * num_sequences for length, num_sequences in trial.tested.items())
    return trial.test_s * sum(missing_lengths(trial, test)) * test.num_sequences / num_tokens
