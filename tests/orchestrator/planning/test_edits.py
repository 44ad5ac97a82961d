"""Random edits of a grid: the plan says what the launch does, nothing is trained twice, and no wanted result leaves."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bilin.errors import InterruptedSweepError
from bilin.folder import SweepFolder, weights_name
from bilin.orchestrator.clusters import ClusterSpec
from bilin.orchestrator.grid import Grid, LogUniform, WantedCell, parse_grid
from bilin.orchestrator.planning.plan import Plan
from bilin.orchestrator.sweep.launch import launch, plan
from bilin.record import TrialResult
from bilin.results import query, stored
from bilin.spec import Point, TrialSpec
from tests.examples import examples
from tests.orchestrator.conftest import TINY
from tests.orchestrator.runs import no_op
from tests.results.samples import ENVIRONMENT

INLINE = ClusterSpec(kind="inline")
LENGTHS = ("[10]", "[10, 30]", "[10, 30, 50]")
NAMES = ("tiny", "other")
NUM_EDITS = 3
SEARCHED = ("", ", weight_decay: {log_uniform: [1e-6, 1e-2]}", ", weight_decay: {log_uniform: [1e-4, 1e-2]}",
    ", warmup_steps: {uniform: [0, 9]}, clip_norm: {uniform: [1, 2]}")  # fmt: skip


def subsets(*values: object) -> st.SearchStrategy[list[object]]:
    return st.lists(st.sampled_from(values), min_size=1, unique=True)


def grid_of(*, name: object, searched: object, **values: object) -> Grid:
    text = TINY.format(**values).replace("name: tiny", f"name: {name}")
    if "log_uniform" in str(values["rate"]):
        text = text.replace("{steps: 20}", f"{{steps: 20{searched}}}")
    return parse_grid(text)


@st.composite
def searches(draw: st.DrawFn) -> str:
    if draw(st.integers(0, 2)):
        bounds = draw(st.sampled_from(("[1e-5, 1e-2]", "[1e-4, 1e-2]", "[1e-4, 1e-1]")))
        trials, size = draw(st.integers(1, 7)), draw(st.integers(1, 3))
        return f"{{log_uniform: {bounds}, trials: {trials}, round: {size}}}"
    choices = draw(subsets(1e-2, 1e-3, 1e-4))
    return f"{{choices: {choices}, until_solved: {str(draw(st.booleans())).lower()}}}"


@st.composite
def edits(draw: st.DrawFn) -> list[Grid]:
    """A grid, each time with something changed; tested lengths are only added."""
    values = {"m": [2], "rate": draw(searches()), "seeds": [0], "lengths": LENGTHS[0], "name": NAMES[0]}
    values["searched"] = draw(st.sampled_from(SEARCHED))
    grids = [grid_of(**values)]
    for _ in range(NUM_EDITS):
        key = draw(st.sampled_from(("m", "rate", "rate", "seeds", "seeds", "lengths", "name", "searched")))
        longer = LENGTHS[min(LENGTHS.index(str(values["lengths"])) + 1, len(LENGTHS) - 1)]
        kinds = {"m": subsets(2, 3), "rate": searches(), "seeds": subsets(0, 1, 2), "lengths": st.just(longer)}
        kinds |= {"name": st.sampled_from(NAMES), "searched": st.sampled_from(SEARCHED)}
        values[key] = draw(kinds[key])
        grids.append(grid_of(**values))
    return grids


class Trainings:
    """Trains at no cost, with weights or without; interrupts the launch before one of its trials.

    Another version of the tier than the installed one selects another rate.
    """

    def __init__(self, *, keeps_weights: bool) -> None:
        self.keeps_weights = keeps_weights
        self.tested: dict[str, tuple[int, ...]] = {}
        self.count = 0
        self.interrupt_at: int | None = None
        self.is_other_version = False

    def run(self, spec: TrialSpec, **options: object) -> TrialResult:
        if self.count == self.interrupt_at:
            raise KeyboardInterrupt
        assert set(spec.test.lengths) - set(self.tested.get(spec.trial_id, ())), "nothing is trained or tested twice"
        self.tested[spec.trial_id] = spec.test.lengths
        self.count += 1
        result = no_op(spec)
        if self.is_other_version:
            environment = replace(ENVIRONMENT, tier_package="units 0.1.0")
            result = replace(result, validation_accuracy=spec.lr, solved=False, environment=environment)
        if spec.test_only:
            lengths = tuple(each for each in result.lengths if each.length in spec.test_only)
            return TrialResult(trial_id=spec.trial_id, status="done", is_test=True, lengths=lengths, test_s=0.0)
        if self.keeps_weights and spec.weights:
            spec.weights.mkdir(exist_ok=True)
            (spec.weights / weights_name((spec.trial_id, 10**6))).write_bytes(b"weights")
        return replace(result, started_at=1.0)


def launched(grid: Grid, store: Path, trainings: Trainings) -> None:
    """Launch a grid, and compare what ran with its plan."""
    before = plan(grid, store=store)
    trainings.count = 0
    try:
        launch(grid, store=store, cluster=INLINE, run=trainings.run)
    except InterruptedSweepError:
        assert trainings.count == trainings.interrupt_at
        trainings.interrupt_at = None
        first = trainings.count
        assert is_said(before, plan(grid, store=store).num_to_run + first)
        launched(grid, store, trainings)
        trainings.count += first
    after = plan(grid, store=store)
    assert is_said(before, trainings.count)
    assert (after.num_to_run, after.num_later) == (0, 0)
    if not (before.may_end_early or before.num_more):
        assert after.num_done == after.num_wanted == before.num_done + trainings.count
    check_results(after, before, store)


def is_said(said: Plan, count: int) -> bool:
    at_least = said.num_to_run_now if said.may_end_early else said.num_to_run
    return at_least <= count <= said.num_to_run + said.num_more


def is_within(point: Point, wanted: WantedCell) -> bool:
    assert isinstance(wanted.learning_rate, LogUniform)
    values = {"lr": point.lr, **dict(point.searched)}
    ranges = (wanted.learning_rate.range, *wanted.ranges)
    return all(range_.low <= values[range_.name] <= range_.high for range_ in ranges)


def check_results(after: Plan, before: Plan, store: Path) -> None:
    """The points that were asked for stay; the views show what the plan counts."""
    rows = stored(store, after.grid.name).values()
    for cell, cell_before in zip(after.cells, before.cells, strict=True):
        search = cell.wanted.learning_rate
        assert cell.points[: len(cell_before.points)] == cell_before.points
        if isinstance(search, LogUniform):
            asked = {row.point for row in rows if row.cell_id == cell.wanted.cell_id}
            within = {point for point in asked if is_within(point, cell.wanted)}
            assert len(cell.points) == search.trials
            assert len(set(cell.points) & within) == min(len(within), search.trials)
    (shown,) = query("select count(*) as n from trials", store=store, sweep=after.grid.name).to_pylist()
    assert shown["n"] == after.num_done


@examples(5)
@given(grids=edits(), data=st.data())
def test_a_plan_says_what_the_launch_does_after_any_edits(grids: list[Grid], data: Any) -> None:
    trainings = Trainings(keeps_weights=data.draw(st.booleans()))
    trainings.is_other_version = True  # until the installed one takes its place
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        for grid in grids:
            trainings.is_other_version &= data.draw(st.booleans())
            trainings.interrupt_at = data.draw(st.sampled_from((None, None, 0, 1, 2, 4)))
            launched(grid, store, trainings)
            if data.draw(st.integers(0, 4)) == 0:
                SweepFolder.of(store, grid.name).asked.unlink(missing_ok=True)  # as a store of an earlier version
