"""What a trial that does not run is said to wait for, and what became of one that ran."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from bilin.errors import StoreError
from bilin.orchestrator import ClusterSpec, Summary, Why, launch, output, why
from bilin.orchestrator.grid import Grid
from bilin.orchestrator.planning.plan import make_plan
from bilin.record import Progress, TrialResult
from bilin.spec import TrialSpec
from tests.orchestrator.runs import no_op

Tiny = Callable[..., Grid]
INLINE = ClusterSpec(kind="inline")


def ids(grid: Grid) -> list[str]:
    return [spec.trial_id for spec in make_plan(grid, {}).to_run()]


def only(found: list[Why]) -> Why:
    (one,) = found
    return one


def with_status(status: str) -> Callable[..., TrialResult]:
    def run(spec: TrialSpec, *, report: object, checkpoints: object) -> TrialResult:
        print("on the way")
        return dataclasses.replace(no_op(spec), status=status, error="OddError: no", traceback="File odd.py")  # type: ignore[arg-type]

    return run


def run(grid: Grid, store: Path, status: str = "done") -> Summary:
    return launch(grid, store=store, cluster=INLINE, run=with_status(status))


def test_a_trial_that_has_ended_says_how_and_has_its_output(tiny: Tiny, tmp_path: Path) -> None:
    grid = tiny(m=2, rate="{choices: [1e-3]}")
    run(grid, tmp_path, "oom")
    (trial_id,) = ids(grid)
    found = only(why("tiny", trial_id[:5], store=tmp_path))
    assert (found.trial_id, found.state) == (trial_id, "ended")
    assert found.row is not None
    assert (found.row["status"], found.row["error"]) == ("oom", "OddError: no")
    assert b"".join(output("tiny", trial_id, store=tmp_path, follow=True)).endswith(b"\non the way\n")


def test_a_trial_that_runs_says_where_and_one_behind_it_waits(tiny: Tiny, tmp_path: Path) -> None:
    grid = tiny(m=2, rate="{choices: [1e-3, 1e-2]}")
    first, second = ids(grid)
    seen: list[Why] = []

    def looked(spec: TrialSpec, *, report: Callable[[Progress], None], checkpoints: object) -> TrialResult:
        if spec.trial_id == first:
            seen.extend(only(why("tiny", trial, store=tmp_path)) for trial in (first, second))
        return no_op(spec)

    launch(grid, store=tmp_path, cluster=INLINE, run=looked)
    assert [each.state for each in seen] == ["running", "waiting"]
    assert seen[0].running is not None
    assert (seen[0].running.attempt, seen[0].running.lr) == (1, 1e-3)
    assert seen[1].sweep.holder is not None


def test_a_lost_trial_waits_for_a_launch(tiny: Tiny, tmp_path: Path) -> None:
    grid = tiny(m=2, rate="{choices: [1e-3]}")
    run(grid, tmp_path, "lost")
    found = only(why("tiny", ids(grid)[0], store=tmp_path))
    assert (found.state, found.sweep.holder) == ("waiting", None)
    assert found.row is not None
    assert found.row["status"] == "lost"


def test_rates_that_a_search_does_not_come_to_are_not_wanted_and_a_cell_stands_for_its_trials(
    tiny: Tiny, tmp_path: Path
) -> None:
    grid = tiny(m=2, rate="{choices: [1e-3, 1e-2], until_solved: true}")
    run(grid, tmp_path)
    cell_id = grid.cells[0].cell_id
    found = why("tiny", cell_id[:8], store=tmp_path)
    assert [each.state for each in found] == ["ended", "not asked for"]
    with pytest.raises(StoreError, match="a cell of 2 trials"):
        output("tiny", cell_id, store=tmp_path)


def test_rates_after_one_that_is_tried_wait_for_it(tiny: Tiny, tmp_path: Path) -> None:
    grid = tiny(m=2, rate="{choices: [1e-3, 1e-2], until_solved: true}")
    run(grid, tmp_path, "lost")
    states = [each.state for each in why("tiny", grid.cells[0].cell_id, store=tmp_path)]
    assert states == ["waiting", "later"]


def test_a_row_that_the_grid_no_longer_names_is_said_to_be_so(tiny: Tiny, tmp_path: Path) -> None:
    before, after = tiny(m=2, rate="{choices: [1e-3]}"), tiny(m=2, rate="{choices: [1e-2]}")
    run(before, tmp_path)
    run(after, tmp_path)
    assert only(why("tiny", ids(before)[0], store=tmp_path)).state == "not in the grid"


@pytest.mark.parametrize(
    ("trial", "said"), [("0" * 16, "no trial or cell"), ("", "is not an id"), ("xyz", "is not an id")]
)
def test_an_id_that_is_none_is_refused(trial: str, said: str, tiny: Tiny, tmp_path: Path) -> None:
    run(tiny(m=2, rate="{choices: [1e-3]}"), tmp_path)
    with pytest.raises(StoreError, match=said):
        why("tiny", trial, store=tmp_path)
