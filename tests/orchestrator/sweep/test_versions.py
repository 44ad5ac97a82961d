"""Results of other versions than the installed ones are marked, and run again if that is asked for."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bilin.cli.sweep.describe import describe_list, describe_status, describe_summary
from bilin.cli.sweep.plan import describe_plan, plan_json
from bilin.orchestrator import ClusterSpec, LaunchRequest, NotInstalledError, Plan, Summary, status, statuses
from bilin.orchestrator.grid import Grid
from bilin.orchestrator.planning.reasons import Reason
from bilin.orchestrator.sweep.launch import launch, plan
from bilin.record import TrialResult
from bilin.results import SweepWriter, query, stored_grid
from bilin.spec import TrialSpec
from bilin.workers import run_trial
from tests.orchestrator.runs import no_op
from tests.results.samples import ENVIRONMENT

INLINE = ClusterSpec(kind="inline")
TORCH = importlib.metadata.version("torch")
OLD, NOW = {"torch": "1.0.0"}, {"torch": TORCH}


def made_with(spec: TrialSpec, *, versions: dict[str, Any], **_: object) -> TrialResult:
    return replace(no_op(spec), environment=replace(ENVIRONMENT, **versions))


def trained_with(spec: TrialSpec, *, versions: dict[str, Any], **given: object) -> TrialResult:
    result = run_trial(spec, **given)  # type: ignore[arg-type]
    assert result.environment
    return replace(result, environment=replace(result.environment, **versions))


def launched(grid: Grid, store: Path, versions: dict[str, Any], **options: bool) -> Summary:
    return launch(grid, store=store, cluster=INLINE, run=partial(made_with, versions=versions), **options)  # type: ignore[arg-type]


def planned(grid: Grid, store: Path, *, rerun_stale: bool = False) -> Plan:
    return plan(grid, store=store, rerun_stale=rerun_stale)


def test_results_of_another_version_are_counted_and_stand(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    launched(tiny(), tmp_path, OLD)
    launched(tiny(seeds="[0, 1]"), tmp_path, NOW)
    said = LaunchRequest.read(tiny(seeds="[0, 1]"), store=tmp_path).explain()
    assert (said.plan.num_done, said.plan.num_to_run) == (8, 0)
    assert dict(said.plan.stale) == {"torch 1.0.0": 4}
    line = "4 trials by torch 1.0.0, not installed now, in 2 cells beside results of the installed versions: "
    assert f"{line}--rerun-stale runs them again" in " ".join(describe_plan(said).split())
    assert plan_json(said, trials=False)["other_versions"] == {"torch 1.0.0": 4}
    assert line in " ".join(describe_status("tiny", status("tiny", store=tmp_path), everything=False).split())


def test_a_launch_says_that_a_search_mixes_versions(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    launched(tiny(rate="{log_uniform: [1e-4, 1e-2], trials: 3, round: 3}"), tmp_path, OLD)
    grid = tiny(rate="{log_uniform: [1e-4, 1e-2], trials: 5, round: 3}")
    said = planned(grid, tmp_path)
    assert (said.num_to_run, dict(said.stale), said.num_mixed) == (4, {"torch 1.0.0": 6}, 2)
    for _ in range(2):  # a launch that runs nothing says it too
        summary = launched(grid, tmp_path, NOW)
        text = " ".join(describe_summary(summary, [], ["bilin"]).split())
        assert "versions 6 trials by torch 1.0.0, not installed now, in 2 cells beside results of the" in text


def test_the_same_versions_are_not_mentioned(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    launched(tiny(), tmp_path, {"torch": f"{TORCH.partition('+')[0]}+other_build"})
    said = LaunchRequest.read(tiny(), store=tmp_path).explain()
    assert "versions" not in describe_plan(said)
    assert planned(tiny(), tmp_path, rerun_stale=True).num_to_run == 0


def test_rerun_stale_runs_them_again_once(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    grid = tiny(seeds="[0, 1]")
    launched(tiny(), tmp_path, {"tier_package": "units 0.1.0", **NOW})
    launched(grid, tmp_path, NOW)
    request = LaunchRequest.read(grid, store=tmp_path, rerun_stale=True)
    (reason,) = LaunchRequest.from_json(request.to_json()).explain().reasons
    assert (reason.reason, reason.num_trials) == (Reason.OTHER_VERSION, 4)
    assert dict(reason.details) == {"units 0.1.0": 4}
    assert dict(launched(grid, tmp_path, NOW, rerun_stale=True).ran) == {"done": 4}
    assert planned(grid, tmp_path, rerun_stale=True).num_to_run == 0
    rows = query("select distinct tier_package from trials", store=tmp_path).to_pylist()
    assert rows == [{"tier_package": None}]


def test_a_search_keeps_its_learning_rates(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    grid = tiny(m="[2]", rate="{log_uniform: [1e-4, 1e-2], trials: 5, round: 3}")
    launched(grid, tmp_path, OLD)
    asked = {*planned(grid, tmp_path).cells[0].points}
    again = planned(grid, tmp_path, rerun_stale=True)
    assert (again.num_to_run_now, {*again.cells[0].points}) == (5, asked)
    launched(grid, tmp_path, NOW, rerun_stale=True)
    assert {row["lr"] for row in query("select lr from trials", store=tmp_path).to_pylist()} == {
        point.lr for point in asked
    }


def test_a_sweep_says_which_package_it_needs(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    launched(tiny(), tmp_path, {"tier_package": "zoo-of-tiers 0.1.0"})
    with SweepWriter(tmp_path, "tiny") as writer:
        writer.write_grid((stored_grid(tmp_path, "tiny") or "").replace('"real_diagonal"', '"zebra"'))
    listed = " ".join(describe_list(statuses(store=tmp_path)).split())
    assert listed.endswith("? ? ? ? cannot be read: needs zoo-of-tiers 0.1.0, not installed here")
    with pytest.raises(NotInstalledError, match=r"(?s)install zoo-of-tiers 0\.1\.0, which ran its trials .*zebra"):
        status("tiny", store=tmp_path)


def test_no_line_is_longer_than_a_terminal(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    grid = replace(tiny(m="[2, 3, 5, 7, 11, 13, 17, 19]"), name="a-sweep-with-a-longer-name-than-most")
    launched(grid, tmp_path, OLD)
    launched(grid, tmp_path, {**NOW, "tier_package": "a-package-of-tiers-with-a-long-name 0.1.0"}, rerun_stale=True)
    more = tiny(m="[2, 3, 5, 7, 11, 13, 17, 19]", rate="{choices: [1e-2, 1e-3, 1e-4]}", seeds="[0, 1, 2]")
    said = LaunchRequest.read(replace(more, name=grid.name), store=tmp_path).explain()
    shown = status(grid.name, store=tmp_path)
    texts = [describe_plan(said), describe_list({grid.name: shown}), describe_status(grid.name, shown, everything=True)]
    lines = [line for text in texts for line in text.splitlines()]
    assert sum(len(line) > 60 for line in lines) > 5
    assert not [line for line in lines if len(line) > 80 and str(tmp_path) not in line]


def test_another_sweep_gives_results_of_the_installed_version_first(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    for name, versions in (("a", OLD), ("b", NOW), ("c", OLD)):
        (tmp_path / f"store-{name}").mkdir()
        launched(replace(tiny(), name=name), tmp_path / f"store-{name}", versions)
        (tmp_path / f"store-{name}" / name).rename(tmp_path / name)
    summary = launched(tiny(), tmp_path, NOW)
    assert (dict(summary.num_copied), dict(summary.ran)) == ({"b": 4}, {})


def test_rerun_stale_takes_no_stale_results_of_other_sweeps(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    launched(replace(tiny(), name="a"), tmp_path, OLD)
    assert planned(tiny(), tmp_path).num_to_run == 0
    assert planned(tiny(), tmp_path, rerun_stale=True).num_to_run == 4


@pytest.mark.parametrize(("versions", "num_tests"), [({"tier_package": "units 0.1.0"}, 0), (OLD, 1)])
def test_weights_of_another_version_of_a_package_are_not_tested(
    tiny: Callable[..., Grid], tmp_path: Path, versions: dict[str, Any], num_tests: int
) -> None:
    run = partial(trained_with, versions=versions)
    launch(tiny(m="[2]", rate="{choices: [1e-2]}"), store=tmp_path, cluster=INLINE, run=run)
    longer = planned(tiny(m="[2]", rate="{choices: [1e-2]}", lengths="[10, 50, 90]"), tmp_path)
    assert (longer.num_to_run, longer.num_tests) == (1, num_tests)


@pytest.mark.parametrize("other_is_selected", [False, True])
def test_a_new_length_trains_the_selected_rate_alone_if_its_weights_are_of_another_version(
    tiny: Callable[..., Grid], tmp_path: Path, *, other_is_selected: bool
) -> None:
    def now(spec: TrialSpec, **_: object) -> TrialResult:
        result = made_with(spec, versions=NOW)
        return replace(result, solved=False, validation_accuracy=0.0) if other_is_selected else result

    launch(tiny(), store=tmp_path, cluster=INLINE, run=partial(trained_with, versions={"tier_package": "units 0.1.0"}))
    grid = tiny(lengths="[10, 50, 90]")
    said = LaunchRequest.read(grid, store=tmp_path).explain()
    assert (said.plan.num_to_run, said.plan.num_retrained, said.plan.num_tests, said.plan.num_more) == (2, 2, 0, 2)
    text = " ".join(describe_plan(said).split())
    assert "2 to run now, at most 2 more if another learning rate is then selected" in text
    assert "2 of them are trained again for a tested length: their weights are not kept, or are of another" in text
    assert "2 trials by units 0.1.0, not installed now, in 2 cells beside results of the installed versions" in text
    summary = launch(grid, store=tmp_path, cluster=INLINE, run=now)
    assert dict(summary.ran) == {"done": 4 if other_is_selected else 2}
    assert planned(grid, tmp_path).num_to_run == 0


def test_hardware_is_mentioned_without_more(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    launched(tiny(m="[2]"), tmp_path, {**NOW, "cpu": "one"})
    launched(tiny(seeds="[0, 1]"), tmp_path, {**NOW, "cpu": "other"})
    said = LaunchRequest.read(tiny(seeds="[0, 1]"), store=tmp_path).explain()
    assert "1 cell with trials of several CPUs or GPUs" in describe_plan(said)
    assert dict(said.plan.stale) == {}
    assert json.loads(json.dumps(plan_json(said, trials=False)))["cells_of_mixed_hardware"] == 1
