"""Results that another sweep of the store has are copied, not computed again; and a sweep gets another name."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bilin.cli.sweep.describe_trial import describe_trial, describe_why
from bilin.cli.sweep.plan import describe_plan
from bilin.errors import InterruptedSweepError, StoreError, SweepRunningError
from bilin.folder import SweepFolder
from bilin.orchestrator import ClusterSpec, LaunchRequest, Summary, find_trial, rename, status, why
from bilin.orchestrator.grid import Grid
from bilin.orchestrator.sweep.launch import launch, plan
from bilin.record import TrialResult
from bilin.results import SweepWriter, UnreadableSweepError, delete, query, stored, verify
from bilin.spec import TrialSpec, trial_id
from bilin.workers import run_trial
from tests.orchestrator.runs import no_op
from tests.results.store.test_refused import mount

INLINE = ClusterSpec(kind="inline")


def named(grid: Grid, name: str) -> Grid:
    return replace(grid, name=name)


def fails(spec: TrialSpec, **_: object) -> TrialResult:
    return TrialResult(trial_id=spec.trial_id, status="failed", error="ValueError: no")


def never(spec: TrialSpec, **_: object) -> TrialResult:
    raise AssertionError("it runs again")


def launched(grid: Grid, store: Path, run: Callable[..., TrialResult] = no_op) -> Summary:
    return launch(grid, store=store, cluster=INLINE, run=run)


@pytest.fixture
def store(tiny: Callable[..., Grid], tmp_path: Path) -> Path:
    """A store with the results of a sweep ``first``."""
    launched(named(tiny(), "first"), tmp_path)
    return tmp_path


def test_a_sweep_takes_over_what_another_one_has(store: Path, tiny: Callable[..., Grid]) -> None:
    second = named(tiny(m="[2, 3, 5]"), "second")
    said = LaunchRequest.read(second, store=store).explain()
    assert (said.plan.num_done, said.plan.num_to_run) == (4, 2)
    assert "4 results found in first" in describe_plan(said)
    summary = launched(second, store)
    assert (summary.num_found, dict(summary.ran), dict(summary.num_copied)) == (4, {"done": 2}, {"first": 4})
    again = launched(second, store, run=never)
    assert (again.num_found, dict(again.num_copied)) == (6, {})


def test_rows_and_curves_are_copies_that_say_where_they_were_found(store: Path, tiny: Callable[..., Grid]) -> None:
    launched(named(tiny(), "second"), store, run=never)
    for view in ("trials", "lengths", "curves"):
        first, second = (
            [
                {name: value for name, value in row.items() if name not in ("sweep", "found_in")}
                for row in query(store=store, view=view, sweep=sweep).to_pylist()
            ]
            for sweep in ("first", "second")
        )
        assert first == second != []
    found = query("select sweep, found_in, count(*) as n from trials group by all order by all", store=store)
    assert [tuple(row.values()) for row in found.to_pylist()] == [("first", None, 4), ("second", "first", 4)]
    assert not any(health.damage for health in verify(store))


def test_a_copy_says_which_command_shows_the_original(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    grid, store = tiny(m="[2]", rate="{choices: [1e-2]}"), tmp_path
    launched(named(grid, "first"), store, run=run_trial)
    launched(named(grid, "second"), store, run=never)
    (row,) = query("select * from trials where sweep = 'second' limit 1", store=store).to_pylist()
    command = f"bilin sweep show {row['trial_id']} --sweep first --store {store}"
    (asked,) = why("second", row["trial_id"], store=store)
    for text in (describe_trial(row, store=store), describe_why(asked, store=store)):
        rows = [line.split() for line in text.splitlines()]
        assert ["found", "in", "first"] in rows
        assert ["original", *command.split()] in rows
    original = find_trial(row["trial_id"], store=store, sweep="first")
    assert "original" not in describe_trial(original, store=store)


def test_a_cell_counts_each_seed_once(store: Path, tiny: Callable[..., Grid]) -> None:
    launched(named(tiny(), "second"), store, run=never)
    rows = query("select sweep, num_seeds from cells", store=store).to_pylist()
    assert {row["num_seeds"] for row in rows} == {1}
    assert len(rows) == 2 * 2 * 2  # sweeps, cells, lengths


def test_deleting_from_one_sweep_leaves_the_other(store: Path, tiny: Callable[..., Grid]) -> None:
    launched(named(tiny(), "second"), store, run=never)
    assert delete(store, "true", sweep="first").num_rows == 4
    assert len(stored(store, "second")) == 4
    shutil.rmtree(store / "first")
    assert launched(named(tiny(), "second"), store, run=never).num_found == 4


def test_kept_weights_are_copied_and_tested(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    launch(named(tiny(), "first"), store=tmp_path, cluster=INLINE)
    kept = SweepFolder.of(tmp_path, "first").kept_weights().keys()
    assert len(kept) == 2
    longer = named(tiny(lengths="[10, 50, 90]"), "second")
    said = plan(longer, store=tmp_path)
    assert (said.num_to_run, said.num_tests, said.num_done) == (2, 2, 2)
    summary = launch(longer, store=tmp_path, cluster=INLINE)
    assert (dict(summary.ran), summary.num_tests, dict(summary.num_copied)) == ({"done": 2}, 2, {"first": 4})
    assert SweepFolder.of(tmp_path, "second").kept_weights().keys() == kept
    assert SweepFolder.of(tmp_path, "first").kept_weights().keys() == kept


def test_what_is_not_complete_or_has_no_result_is_not_taken(store: Path, tiny: Callable[..., Grid]) -> None:
    longer = named(tiny(lengths="[10, 50, 90]"), "second")
    said = plan(longer, store=store)
    selected = {trial_id(cell.wanted.cell_id, *ask.key) for cell in said.cells for ask in cell.to_run}
    assert (len(selected), said.num_retrained) == (2, 2)
    assert selected.isdisjoint(said.to_copy["first"])
    launched(named(tiny(m="[5]"), "third"), store, run=fails)
    assert plan(named(tiny(m="[5]"), "second"), store=store).num_to_run == 2


def test_a_result_elsewhere_replaces_a_failure(store: Path, tiny: Callable[..., Grid]) -> None:
    launched(named(tiny(m="[5]"), "second"), store, run=fails)
    launched(named(tiny(m="[5]"), "first"), store)
    summary = launched(named(tiny(m="[5]"), "second"), store, run=never)
    assert (summary.num_failed, dict(summary.num_copied)) == (0, {"first": 2})


def test_every_round_of_a_search_is_found(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    grid = tiny(rate="{log_uniform: [1e-4, 1e-2], trials: 7, round: 3}")
    launched(grid, tmp_path)
    other = named(grid, "other")
    assert plan(other, store=tmp_path).num_to_run == 0
    assert dict(launched(other, tmp_path, run=never).num_copied) == {"tiny": 14}
    assert plan(other, store=tmp_path).num_done == 14


def test_a_later_round_is_copied_while_the_launch_runs(tiny: Callable[..., Grid], tmp_path: Path) -> None:
    grid = tiny(m="[2]", rate="{log_uniform: [1e-4, 1e-2], trials: 7, round: 3}")
    other = named(grid, "other")
    first_round = tuple(point.lr for point in plan(grid, store=tmp_path).cells[0].points)
    launched(grid, tmp_path)
    delete(tmp_path, f"lr in {first_round}", sweep="tiny")
    said = plan(other, store=tmp_path)
    assert (said.num_to_run_now, said.num_to_run, said.may_end_early) == (3, 7, True)
    summary = launched(other, tmp_path)
    assert (dict(summary.ran), dict(summary.num_copied), summary.num_found) == ({"done": 3}, {"tiny": 4}, 4)
    assert len(stored(tmp_path, "other")) == 7


def test_a_damaged_sweep_is_left_out(store: Path, tiny: Callable[..., Grid]) -> None:
    for path in (store / "first").glob("trials-*.parquet"):
        path.write_bytes(b"damaged")
    assert plan(named(tiny(), "second"), store=store).num_to_run == 4


def test_a_sweep_of_a_newer_version_is_left_out(store: Path, tiny: Callable[..., Grid]) -> None:
    trial_ids = list(stored(store, "first"))
    manifest = store / "first" / "manifest.json"
    newer = json.loads(manifest.read_text()) | {"schema_version": 999}
    del newer["checksum"]
    manifest.write_text(json.dumps(newer))
    with SweepWriter(store, "third") as writer, pytest.raises(UnreadableSweepError, match="'first' cannot be copied"):
        writer.take_over("first", trial_ids)
    assert dict(launched(named(tiny(), "second"), store).ran) == {"done": 4}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    path = tmp_path / "disk"
    path.mkdir()
    mount(path, "-t", "tmpfs", "-o", "size=2m", "tmpfs")
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize("free", [12, 32, 48])
def test_a_disk_that_is_full_while_results_are_copied_is_named(
    tiny: Callable[..., Grid], disk: Path, free: int
) -> None:
    """The room is enough for some of the weights, for all of them, or for the parts too, in kilobytes."""
    grid = tiny(seeds="[0, 1]")
    launch(named(grid, "first"), store=disk, cluster=INLINE)
    kept = SweepFolder.of(disk, "first").kept_weights().keys()
    (disk / "full").write_bytes(bytes(shutil.disk_usage(disk).free - free * 1024))
    said = f"results of sweep 'first' were not copied: {disk / 'second'} cannot be written .*: make room on its disk"
    with pytest.raises(InterruptedSweepError, match=said) as raised:
        launched(named(grid, "second"), disk, run=never)
    assert raised.value.exit_code == 3
    (disk / "full").unlink()
    assert launched(named(grid, "second"), disk, run=never).num_found == 8
    assert SweepFolder.of(disk, "second").kept_weights().keys() == kept


def test_a_launch_that_was_killed_between_two_copies_goes_on(store: Path, tiny: Callable[..., Grid]) -> None:
    first, *_ = stored(store, "first")
    with SweepWriter(store, "second") as writer:
        writer.take_over("first", [first])
    assert dict(launched(named(tiny(), "second"), store, run=never).num_copied) == {"first": 3}


def test_a_sweep_that_is_written_can_be_copied_from(store: Path, tiny: Callable[..., Grid]) -> None:
    with SweepWriter(store, "first"):
        assert launched(named(tiny(), "second"), store, run=never).num_found == 4


def test_a_renamed_sweep_has_everything(store: Path, tiny: Callable[..., Grid]) -> None:
    rename("first", "second", store=store)
    assert not (store / "first").exists()
    assert not SweepFolder.of(store, "second").lease.exists()
    assert status("second", store=store).plan.grid.name == "second"
    assert '"name": "second"' in SweepFolder.of(store, "second").grid.read_text()
    assert launched(named(tiny(), "second"), store, run=never).num_found == 4


def test_a_rename_that_was_killed_before_the_grid_was_written_counts(store: Path) -> None:
    with SweepWriter(store, "first") as writer:
        writer.rename("second")
    assert status("second", store=store).plan.grid.name == "second"


def test_a_rename_is_refused_while_the_sweep_runs_or_if_the_name_is_taken(
    store: Path, tiny: Callable[..., Grid]
) -> None:
    launched(named(tiny(), "second"), store, run=never)
    with pytest.raises(StoreError, match="exists"):
        rename("first", "second", store=store)
    with pytest.raises(StoreError, match="not the name of a sweep"):
        rename("first", "../second", store=store)
    with pytest.raises(StoreError, match="no sweep"):
        rename("third", "fourth", store=store)
    with SweepWriter(store, "first"), pytest.raises(SweepRunningError):
        rename("first", "third", store=store)
    assert sorted(path.name for path in store.iterdir()) == ["first", "second"]
