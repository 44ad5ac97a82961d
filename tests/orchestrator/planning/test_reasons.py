"""Why trials run, and why results leave: the plan of a grid against a store."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bilin.cli.sweep.plan import describe_plan, list_trials, plan_json
from bilin.orchestrator import ClusterSpec, Explanation, LaunchRequest, Reason, rename
from bilin.orchestrator.grid import Grid, resolved
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
        ({"lengths": "[10, 50, 90]"}, {"tested length missing": (2, 2, {"90": 2})}),
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
    lines = list_trials(explanation)
    tests = [index for index, line in enumerate(lines) if line == "  tests: tested length missing: 90"]
    assert len(tests) == kept
    assert all(lines[index + 1].startswith("    ") for index in tests)


def test_failed_trials_run_for_a_reason_only_with_retry(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    launch(tiny(), store=tmp_path, cluster=INLINE, run=fails)
    assert reasons(explained(tiny(), tmp_path)) == {}
    assert "4 without a result are not run again unless --retry" in describe_plan(explained(tiny(), tmp_path))
    assert reasons(explained(tiny(), tmp_path, retry=["failed"])) == {"failed before": (4, 2, {"failed": 4})}
    text = describe_plan(explained(tiny(), tmp_path, retry=["failed"]))
    (again,) = [line for line in text.splitlines() if "before" in line]
    assert again.endswith("4 in 2 cells: failed before")


def test_later_rounds_of_a_search_are_a_reason(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    search = "{log_uniform: [1e-4, 1e-2], trials: 5, round: 2}"
    expected = {"new cell": (4, 2, {}), "later round of a search": (6, 2, {})}
    assert reasons(explained(tiny(rate=search), tmp_path)) == expected


def test_the_rates_of_until_solved_are_no_rounds_of_a_search(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    explanation = explained(tiny(rate="{choices: [1e-2, 1e-3, 1e-4], until_solved: true}", seeds="[0, 1]"), tmp_path)
    expected = {"new cell": (4, 2, {}), "only if no learning rate before it solves": (8, 2, {})}
    assert reasons(explanation) == expected
    text = " ".join(describe_plan(explanation).split())
    assert "4 to run now, at most 8 if no learning rate before solves" in text
    assert "round" not in text
    trials = plan_json(explanation, trials=False)["trials"]
    assert (trials["in_later_rounds"], trials["only_if_unsolved"]) == (0, 8)


def test_the_points_of_a_search_name_the_rate_and_fit_into_a_terminal(tmp_path: Path) -> None:
    ranges = {name: {"log_uniform": [1e-6, 1e-2]} for name in ("weight_decay", "clip_norm")}
    grid = {
        "name": "wide",
        "tasks": [{"name": "modular_addition", "m": [2, 3]}],
        "models": [{"tier": "cp", "rank": [2, 4], "init_scale": {"log_uniform": [0.1, 10]}}],
        "train": {"steps": 20, "schedule": ["constant", "cosine"], "batch_size": [8, 16], **ranges},
        "learning_rate": {"log_uniform": [1e-4, 1e-2], "trials": 2},
    }
    lines = list_trials(LaunchRequest.read(grid, store=tmp_path).explain())
    assert max(map(len, lines)) <= 80
    assert sum(" lr=" in line for line in lines) == 2 * 2 * 2 * 2 * 2


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, "6: 8 combinations, 6 different"),
        ({"exclude": [{"m": 2}]}, "3: 8 combinations, 4 after exclusion, 3 different"),
        ({"seeds": [0, 1], "models": [{"tier": "cp", "rank": [2, 4]}]}, "4"),
    ],
)
def test_a_plan_says_how_cells_came_about_if_that_is_not_plain(
    tmp_path: Path, extra: dict[str, Any], expected: str
) -> None:
    models = [{"tier": "cp", "rank": [2, 4]}, {"tier": "cp", "rank": [4, 8]}]
    grid = {"name": "g", "tasks": [{"name": "modular_addition", "m": [2, 3]}], "models": models, **extra}
    text = describe_plan(LaunchRequest.read(grid, store=tmp_path).explain())
    assert [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith("  cells ")] == [expected]


def test_a_plan_says_what_no_node_has_room_for(tmp_path: Path) -> None:
    grid = {"name": "g", "tasks": [{"name": "parity"}], "models": [{"tier": "elman"}]}

    def said(resources: dict[str, Any], **blocks: Any) -> str:
        text = describe_plan(LaunchRequest.read({**grid, "resources": resources, **blocks}, store=tmp_path).explain())
        return " ".join(text.split())

    assert "too large" not in said({"cpus": 1})
    assert "too large a trial asks for 640 CPUs, but this machine has " in said({"cpus": 640})
    assert "1 CPU and 64 GPUs, but this machine has " in said({"gpus": 64})
    assert "1 CPU and 99 TB of memory, but this machine has " in said({"memory": "99TB"})
    assert "of license, but this machine has " in said({"custom": {"license": 1}})
    assert "but the largest of the 1 node of this job, by its `cluster`, has 4 CPUs" in said(
        {"cpus": 8}, cluster={"cpus": 4}
    )
    assert "too large" not in said({"cpus": 640}, cluster={"time": "1:00:00"})


def test_a_grid_with_another_name_is_told_how_to_rename_its_sweep(store: Path, tiny: Callable[..., Grid]) -> None:
    explanation = explained(replace(tiny(seeds="[0, 1]"), name="renamed"), store)
    command = f"bilin sweep rename tiny renamed --store {store}"
    assert command in describe_plan(explanation, store=store)
    assert plan_json(explanation, trials=False)["earlier_name"] == "tiny"
    rename("tiny", "renamed", store=store)
    after = explained(replace(tiny(seeds="[0, 1]"), name="renamed"), store)
    assert (after.plan.num_done, after.plan.to_copy, after.earlier_name) == (4, {}, None)


def test_a_sweep_of_its_own_is_not_told_to_rename_another(store: Path, tiny: Callable[..., Grid]) -> None:
    other = replace(tiny(m="[5]"), name="other")
    launch(other, store=store, cluster=INLINE, run=no_op)
    explanation = explained(replace(tiny(m="[2, 5]"), name="other"), store)
    assert explanation.plan.to_copy
    assert "rename" not in describe_plan(explanation)


EARLIER = """
import sys
import bilin.spec
bilin.spec.RESULTS_VERSION = 0
from bilin.orchestrator import ClusterSpec, launch
from tests.orchestrator.runs import no_op
launch(sys.argv[1], store=sys.argv[2], cluster=ClusterSpec(kind="inline"), run=no_op)
"""


def test_a_plan_says_that_another_version_of_the_numbers_makes_every_cell_new(
    tiny: Callable[..., Grid], tmp_path: Path
) -> None:
    line = "versions a new version of bilin or of a package computes other numbers for what the last launch asked for"
    (tmp_path / "grid.json").write_text(resolved(tiny()))
    store = tmp_path / "store"
    command = [sys.executable, "-c", EARLIER, str(tmp_path / "grid.json"), str(store)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[3])
    for grid in (tiny(), tiny(m="[2, 5]", seeds="[0, 1]")):
        explanation = explained(grid, store)
        assert {*reasons(explanation)} == {"new cell", "cell not in the grid"}
        assert line in " ".join(describe_plan(explanation).split())
    launch(tiny(), store=store, cluster=INLINE, run=no_op)
    assert not explained(tiny(m="[5]"), store).is_renumbered


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
    assert "2 in 1 cell: new seed: 1" in text
    assert "leave the results  2 in 1 cell: cell not in the grid" in text
    lines = list_trials(explanation)
    assert [line for line in lines if not line.startswith("    ")] == [
        "modular_addition m=2 · real_diagonal",
        "  trains: new seed",
        "modular_addition m=5 · real_diagonal",
        "  trains: new cell",
        next(row.cell_id for row in explanation.plan.stored.values() if row.cell_id not in explanation.plan.rows),
        "  leaves: cell not in the grid",
    ]
    listed = [line.split()[0] for line in lines if line.startswith("    ")]
    assert {*listed[:6]} == {spec.trial_id for spec in explanation.plan.to_run()}
    assert len(listed) == 6 + 2
    document = json.loads(json.dumps(plan_json(explanation, trials=True)))
    assert document["trials"]["to_run_now"] == 6
    assert [entry["trials"] for entry in document["to_run"]] == [4, 2]
    assert {entry["reason"] for entry in document["list"] if entry["what"] == "leaves"} == {Reason.CELL_LEFT}
    assert "list" not in plan_json(explanation, trials=False)
