from __future__ import annotations

import dataclasses
import json
from contextlib import suppress

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bilin.errors import StoreError
from bilin.fields import values_of
from bilin.results import SweepWriter, query, stored
from bilin.results.store.parts import FAN_IN
from bilin.tasks.copying import Copying
from tests.examples import examples
from tests.results.samples import cell, forget_checksums, ids, pair, seeds


def files(store):
    return sorted(path.name for path in (store / "sweep").iterdir())


def curve_rows(store):
    return query(store=store, view="curves").num_rows


def test_appended_trials_are_stored(store, writer):
    trials = seeds(3)
    writer.append(trials)
    assert set(stored(store, "sweep")) == ids(trials)


def test_appending_nothing_writes_nothing(store, writer):
    writer.append([])
    assert files(store) == ["lease.json", "lock", "manifest.json"]


def test_a_later_result_supersedes_the_earlier_with_its_curve(store, writer):
    writer.append([pair(curve=5, status="lost")])
    writer.append([pair(curve=2, attempts=2)])
    (trial,) = stored(store, "sweep").values()
    assert (trial.status, trial.attempts) == ("done", 2)
    assert curve_rows(store) == 2


def test_the_last_of_one_batch_counts(store, writer):
    writer.append([pair(status="lost"), pair(attempts=2)])
    assert [trial.attempts for trial in stored(store, "sweep").values()] == [2]
    assert query(store=store, view="trials").num_rows == 1


def test_many_appends_leave_few_files_and_every_trial(store, writer):
    trials = seeds(FAN_IN**2 + 3, curve=1)
    for trial in trials:
        writer.append([trial])
    writer.__exit__(None, None, None)
    assert set(stored(store, "sweep")) == ids(trials)
    assert curve_rows(store) == len(trials)
    assert len(files(store)) == 2 + 2 * 4
    with SweepWriter(store, "sweep") as again:
        again.append(seeds(1))
    assert len(stored(store, "sweep")) == len(trials)


def test_merging_drops_what_is_superseded(store, writer):
    for attempt in range(FAN_IN):
        writer.append([pair(attempts=attempt + 1, curve=3)])
    (part,) = json.loads((store / "sweep/manifest.json").read_text())["parts"]
    assert (part["trials"], part["curves"]) == (1, 3)
    assert [trial.attempts for trial in stored(store, "sweep").values()] == [FAN_IN]


def test_delete_removes_a_trial_from_every_part(store, writer):
    trials = seeds(3)
    writer.append(trials)
    writer.append(trials[:1])
    writer.delete(ids(trials[:2]))
    assert set(stored(store, "sweep")) == ids(trials[2:])
    assert curve_rows(store) == 2


def test_deleting_all_leaves_an_empty_sweep(store, writer):
    writer.append(seeds(2))
    writer.delete(ids(seeds(2)))
    assert stored(store, "sweep") == {}
    assert query(store=store, view="trials").num_rows == 0


@examples(12)
@given(data=st.data())
def test_any_sequence_of_appends_and_deletes_keeps_the_last_of_each(tmp_path_factory, data):
    store, expected = tmp_path_factory.mktemp("store"), {}
    with SweepWriter(store, "sweep") as writer:
        for step in range(data.draw(st.integers(1, 2 * FAN_IN + 4))):
            chosen = data.draw(st.lists(st.integers(0, 6), max_size=3, unique=True))
            trials = [pair(seed=seed, attempts=step + 1, curve=seed % 2) for seed in chosen]
            if data.draw(st.integers(0, 9)) == 0:
                writer.delete(ids(trials))
                expected = {key: value for key, value in expected.items() if key not in ids(trials)}
            else:
                writer.append(trials)
                expected |= dict.fromkeys(ids(trials), step + 1)
    assert {key: trial.attempts for key, trial in stored(store, "sweep").items()} == expected
    assert query("SELECT count(*) FROM trials", store=store).to_pylist() == [{"count_star()": len(expected)}]


def test_a_writer_that_did_not_come_to_write_a_grid_leaves_nothing(store):
    with suppress(InterruptedError), SweepWriter(store, "new"):
        raise InterruptedError
    assert not (store / "new").exists()
    with SweepWriter(store, "new") as writer:
        writer.write_grid("{}")
    with suppress(InterruptedError), SweepWriter(store, "new"):
        raise InterruptedError
    assert (store / "new" / "grid.json").exists()


def test_files_that_are_not_listed_are_ignored_and_removed(store):
    with SweepWriter(store, "sweep") as writer:
        writer.append(seeds(1))
    (store / "sweep/trials-00000099.parquet").write_bytes(b"half a fi")
    (store / "sweep/manifest.json.new").write_bytes(b"{")
    assert len(stored(store, "sweep")) == 1
    with SweepWriter(store, "sweep"):
        pass
    assert files(store) == ["curves-00000001.parquet", "lock", "manifest.json", "trials-00000001.parquet"]


def test_a_column_of_another_version_survives_merging(store):
    with SweepWriter(store, "sweep") as writer:
        writer.append(seeds(1))
    path = store / "sweep/trials-00000001.parquet"
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.append_column("kept", [["of old"]]).drop_columns(["cpu"]), path)
    forget_checksums(store / "sweep")
    with SweepWriter(store, "sweep") as writer:
        for trial in seeds(FAN_IN, start=1):
            writer.append([trial])
    kept = query("SELECT kept FROM trials ORDER BY seed", store=store).column("kept").to_pylist()
    assert kept == ["of old", *[None] * FAN_IN]


def test_a_row_round_trips(store, writer):
    spec, result = pair()
    writer.append([(spec, result)])
    (row,) = query(store=store, view="trials").to_pylist()
    assert row["sweep"] == "sweep"
    assert row["cell_id"] == spec.cell.cell_id
    assert (row["task"], row["m"], row["tier"], row["hidden"], row["rank"]) == (
        "modular_addition",
        5,
        "full",
        256,
        None,
    )
    assert (row["max_steps"], row["steps"], row["train_lengths"]) == (500, 250, [2, 10])
    assert row["started_at"].isoformat() == "2026-09-21T14:13:20.250000"
    document = json.loads(row["spec"])
    assert (document["lr"], document["seed"], document["test"]["lengths"]) == (1e-3, 0, [10, 500])
    assert document["model"] == {"tier": "full", **values_of(spec.cell.model)}


def test_a_task_with_its_own_supervision_is_stored_with_that(store, writer):
    writer.append([pair(), pair(dataclasses.replace(cell(), task=Copying()))])
    rows = query("SELECT supervision, spec FROM trials ORDER BY task", store=store).to_pylist()
    assert [row["supervision"] for row in rows] == ["every_token", "final"]
    assert [json.loads(row["spec"])["train"]["supervision"] for row in rows] == ["final", "final"]


@pytest.mark.parametrize("name", ["..", "a/b", "", "A", ".hidden", "x" * 65, "a\n"])
def test_names_that_are_none_are_refused(store, name):
    with pytest.raises(StoreError, match="not the name of a sweep"):
        SweepWriter(store, name)
    assert not store.exists()
