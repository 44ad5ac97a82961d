"""Why trials run, and why results leave: the plan of a grid against a store."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bilin.cli.sweep.plan import describe_plan, list_trials, plan_json
from bilin.orchestrator import ClusterSpec, Explanation, LaunchRequest, Reason
from bilin.orchestrator.grid import Grid
from bilin.orchestrator.sweep.launch import launch
from bilin.record import TrialResult
from bilin.results import stored
from bilin.spec import TrialSpec
from bilin.workers import run_trial
from tests.orchestrator.runs import no_op

INLINE = ClusterSpec(kind="inline")


def explained(grid: Grid, store: Path, **options: Any) -> Explanation:
    return LaunchRequest.read(grid, store=store, **options).explain()


def reasons(explanation: Explanation) -> dict[str, tuple[int, int, dict[str, int]]]:
    counts = [*explanation.reasons, *explanation.leaves]
    return {str(count.reason): (count.num_trials, count.num_cells, dict(count.details)) for count in counts}


def fails(spec: TrialSpec, **_: object) -> TrialResult:
    return TrialResult(trial_id=spec.trial_id, status="failed", error="ValueError: no")


@pytest.fixture
def store(tiny: Callable[..., Grid], tmp_path: Path) -> Path:
    """A store with the results of the grid that `tiny` builds by default."""
    launch(tiny(), store=tmp_path, cluster=INLINE, run=no_op)
    return tmp_path


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        ({}, {}),
        ({"m": "[2, 3, 5]"}, {"new cell": (2, 1, {})}),
        ({"rate": "{choices: [1e-2, 1e-3, 1e-4]}"}, {"new learning rate": (2, 2, {"0.0001": 2})}),
        ({"seeds": "[0, 1]"}, {"new seed": (4, 2, {"1": 4})}),
        ({"lengths": "[10, 50, 90]"}, {"tested length missing": (4, 2, {"90": 4})}),
        ({"lengths": "[10]"}, {"tested length not in the grid": (4, 2, {"50": 4})}),
        ({"m": "[2]"}, {"cell not in the grid": (2, 1, {})}),
        ({"rate": "{choices: [1e-2]}"}, {"learning rate not in the grid": (2, 2, {"0.001": 2})}),
        ({"seeds": "[1]"}, {"new seed": (4, 2, {"1": 4}), "seed not in the grid": (4, 2, {"0": 4})}),
    ],
)
def test_each_edit_has_its_reason(
    store: Path, tiny: Callable[..., Grid], edit: dict[str, Any], expected: dict[str, object]
) -> None:
    assert reasons(explained(tiny(**edit), store)) == expected


def test_a_grid_that_was_never_launched_has_new_cells(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    assert reasons(explained(tiny(), tmp_path)) == {"new cell": (4, 2, {})}


def test_what_another_sweep_has_is_not_new(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    launch(replace(tiny(), name="first"), store=tmp_path, cluster=INLINE, run=run_trial)
    explanation = explained(tiny(m="[2, 3, 5]", seeds="[0, 1]", lengths="[10, 50, 90]"), tmp_path)
    kept = explanation.plan.num_tests
    assert 0 < kept == explanation.plan.num_to_run_now - 8
    assert reasons(explanation) == {
        "new cell": (4, 1, {}),
        "new seed": (4, 2, {"1": 4}),
        "tested length missing": (kept, 2, {"90": kept}),
    }
    assert sum("tests   tested length missing (90)" in line for line in list_trials(explanation)) == kept


def test_failed_trials_run_for_a_reason_only_with_retry(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    launch(tiny(), store=tmp_path, cluster=INLINE, run=fails)
    assert reasons(explained(tiny(), tmp_path)) == {}
    assert reasons(explained(tiny(), tmp_path, retry=["failed"])) == {"failed before": (4, 2, {"failed": 4})}
    text = describe_plan(explained(tiny(), tmp_path, retry=["failed"]))
    (again,) = [line for line in text.splitlines() if "before" in line]
    assert again.endswith("4 in 2 cells: failed before")


def test_later_rounds_of_a_search_are_a_reason(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    search = "{log_uniform: [1e-4, 1e-2], trials: 5, round: 2}"
    expected = {"new cell": (4, 2, {}), "later round of a search": (6, 2, {})}
    assert reasons(explained(tiny(rate=search), tmp_path)) == expected


def test_what_an_interrupted_launch_left_is_not_new(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    def interrupted(spec: TrialSpec, **_: object) -> TrialResult:
        if len(stored(tmp_path, "tiny")) or spec.lr == 1e-3:
            raise KeyboardInterrupt
        return no_op(spec)

    with pytest.raises(Exception, match="interrupted"):
        launch(tiny(), store=tmp_path, cluster=INLINE, run=interrupted)
    assert reasons(explained(tiny(), tmp_path)) == {"asked for before, not run yet": (3, 2, {})}


def test_cells_that_only_leaves_out_do_not_leave_the_results(store: Path, tiny: Callable[..., Grid]) -> None:
    text = {"name": "tiny", **json.loads(json.dumps(tiny().documents[0]))}
    explanation = LaunchRequest.read({**text, "seeds": [0, 1]}, store=store, only=["m=2"]).explain()
    assert reasons(explanation) == {"new seed": (2, 1, {"1": 2})}


def test_the_plan_its_list_and_its_json_say_the_same(store: Path, tiny: Callable[..., Grid]) -> None:
    explanation = explained(tiny(m="[2, 5]", seeds="[0, 1]"), store)
    text = describe_plan(explanation)
    assert "8: 2 cells × 2 learning rates × 2 seeds" in text  # noqa: RUF001
    assert "to run             4 in 1 cell: new cell" in text
    assert "2 in 1 cell: new seed (1)" in text
    assert "leave the results  2 in 1 cell: cell not in the grid" in text
    lines = list_trials(explanation)
    assert len(lines) == 1 + 6 + 2
    assert {line.split()[0] for line in lines[1:7]} == {spec.trial_id for spec in explanation.plan.to_run()}
    document = json.loads(json.dumps(plan_json(explanation, trials=True)))
    assert document["trials"]["to_run_now"] == 6
    assert [entry["trials"] for entry in document["to_run"]] == [4, 2]
    assert {entry["reason"] for entry in document["list"] if entry["what"] == "leaves"} == {Reason.CELL_LEFT}
    assert "list" not in plan_json(explanation, trials=False)
