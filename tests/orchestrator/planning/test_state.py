"""The state of a sweep: that every place says the same, and that the documentation lists them all."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bilin.orchestrator import SweepState, launch, plan, status
from bilin.orchestrator.clusters import ClusterSpec
from bilin.orchestrator.grid import Grid, resolved, restore_grid
from bilin.orchestrator.monitor.sweep import Ended, watch
from bilin.record import Status, TrialResult
from bilin.spec import TrialSpec
from tests.orchestrator.runs import no_op

Tiny = Callable[..., Grid]
INLINE = ClusterSpec(kind="inline")
DOCS = Path(__file__).parents[3] / "docs/cli.md"


def ends_as(ending: Status, *, below: float) -> Callable[..., TrialResult]:
    """A run of a trial that ends with a status if its learning rate is below a bound, and is done otherwise."""

    def run(spec: TrialSpec, **_: object) -> TrialResult:
        if spec.lr >= below:
            return no_op(spec)
        return TrialResult(trial_id=spec.trial_id, status=ending, error=f"{ending}: {spec.trial_id}")

    return run


@pytest.mark.parametrize(
    ("ending", "below", "state", "exit_code"),
    [
        ("done", 1.0, SweepState.COMPLETE, 0),
        ("diverged", 1.0, SweepState.COMPLETE, 0),
        ("failed", 1.0, SweepState.FAILED, 1),
        ("failed", 5e-3, SweepState.FAILED, 1),
        ("oom", 1.0, SweepState.FAILED, 1),
        ("lost", 5e-3, SweepState.FAILED, 1),
    ],
)
def test_every_place_says_the_same_of_a_sweep_that_has_ended(
    tiny: Tiny, tmp_path: Path, ending: Status, below: float, state: SweepState, exit_code: int
) -> None:
    run = no_op if ending == "done" else ends_as(ending, below=below)
    summary = launch(tiny(), store=tmp_path, cluster=INLINE, run=run)
    (ended,) = [seen for seen in watch("tiny", store=tmp_path) if isinstance(seen, Ended)]
    states = {summary.state, plan(tiny(), store=tmp_path).state, status("tiny", store=tmp_path).state}
    assert (states, summary.exit_code, ended.exit_code) == ({state}, exit_code, exit_code)


def test_a_part_of_a_sweep_leaves_it_incomplete_with_exit_code_0(tiny: Tiny, tmp_path: Path) -> None:
    part = restore_grid(resolved(tiny()), only=("m=2",))
    for _ in range(2):  # the second launch finds everything
        summary = launch(part, store=tmp_path, cluster=INLINE, run=no_op)
        assert (summary.state, summary.num_elsewhere, summary.exit_code) == (SweepState.INCOMPLETE, 2, 0)
    assert status("tiny", store=tmp_path).state is SweepState.INCOMPLETE


def test_a_sweep_that_was_stopped_is_incomplete(tiny: Tiny, tmp_path: Path) -> None:
    def same_error(spec: TrialSpec, **_: object) -> TrialResult:
        return TrialResult(trial_id=spec.trial_id, status="failed", error="ValueError: no")

    grid = tiny(seeds=list(range(20)))
    summary = launch(grid, store=tmp_path, cluster=INLINE, run=same_error)
    states = {summary.state, plan(grid, store=tmp_path).state, status("tiny", store=tmp_path).state}
    assert (states, summary.exit_code) == ({SweepState.INCOMPLETE}, 1)


def test_a_process_or_a_job_comes_before_what_is_missing() -> None:
    state = functools.partial(SweepState.of, num_to_run=3, num_failed=1)
    assert state() is SweepState.INCOMPLETE
    assert state(is_running=True) is SweepState.RUNNING
    assert state(is_running=True, is_silent=True) is SweepState.SILENT
    assert state(is_queued=True) is SweepState.QUEUED


def test_the_documentation_has_every_state_with_its_exit_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .+ \| ([\d–]+) \|$", DOCS.read_text(), re.MULTILINE)  # noqa: RUF001
    has_ended = (SweepState.COMPLETE, SweepState.FAILED, SweepState.INCOMPLETE)
    assert dict(rows) == {str(state): str(state.exit_code) if state in has_ended else "–" for state in SweepState}  # noqa: RUF001
