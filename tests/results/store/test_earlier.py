"""Parts that an earlier version wrote, before whole sequences were counted and before some fields existed."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bilin.errors import DamageWarning
from bilin.folder import SweepFolder
from bilin.record import LengthResult
from bilin.results import SweepWriter, query, stored
from bilin.results.store.manifest import read_manifest
from bilin.results.store.parts import FAN_IN
from tests.results.samples import forget_checksums, pair

LATER = ("freeze", "onehot", "input_independent", "weight_decay_on")
"""Columns of fields for which rows from before them have a value."""

TESTED = pa.list_(
    pa.struct({"length": pa.int64(), "num_correct": pa.int64(), "num_sequences": pa.int64(), "num_classes": pa.int64()})
)


def write_as_before(path):
    """Write a part of trials again with the columns and the struct that version 0.1.0 had."""
    table = pq.read_table(path).drop_columns(["group", "num_letters", "precedence", "num_symbols", *LATER])
    names = [field.name for field in TESTED.value_type]
    tested = [[{name: row[name] for name in names} for row in rows] for rows in table["tested"].to_pylist()]
    at = table.schema.get_field_index("tested")
    pq.write_table(table.set_column(at, "tested", pa.array(tested, TESTED)), path)


def counted(seed):
    return pair(seed=seed, lengths=(LengthResult(500, 2048, 2048, 5, 1024),))


@pytest.fixture
def earlier(store):
    """A sweep as it was before, with one part of two trials."""
    with SweepWriter(store, "sweep") as writer:
        writer.append([pair(seed=0), counted(seed=1)])
    write_as_before(store / "sweep" / "trials-00000001.parquet")
    forget_checksums(store / "sweep")
    return store


@pytest.fixture
def writer(earlier):
    with SweepWriter(earlier, "sweep") as writer:
        yield writer


def sequence_accuracies(store):
    rows = query(
        "SELECT seed, accuracy, sequence_accuracy FROM lengths JOIN trials USING (sweep, trial_id) "
        "WHERE length = 500 ORDER BY seed",
        store=store,
    )
    return [tuple(row.values()) for row in rows.to_pylist()]


def test_a_part_from_before_is_read_alone(earlier):
    assert sequence_accuracies(earlier) == [(0, 1.0, None), (1, 1.0, None)]
    assert [dict(trial.tested) for trial in stored(earlier, "sweep").values()] == [{10: 2048, 500: 2048}, {500: 2048}]


def test_rows_from_before_a_field_have_the_value_that_it_had_then(earlier, writer):
    writer.append([counted(seed=2)])
    columns = ", ".join(f'"{name}"' for name in LATER)  # freeze is a keyword of SQL
    rows = query(f"SELECT DISTINCT {columns} FROM trials", store=earlier).to_pylist()
    assert rows == [{"freeze": "none", "onehot": False, "input_independent": False, "weight_decay_on": None}]


def test_a_part_from_before_is_read_beside_a_newer_one(earlier, writer):
    writer.append([counted(seed=1), counted(seed=2)])
    assert sequence_accuracies(earlier) == [(0, 1.0, None), (1, 1.0, 0.5), (2, 1.0, 0.5)]
    assert len(stored(earlier, "sweep")) == 3
    assert len(query(store=earlier, view="cells")) == 2


def test_a_part_from_before_is_merged_with_newer_ones(earlier, writer):
    for seed in range(2, FAN_IN + 1):
        writer.append([counted(seed)])
    (part,) = read_manifest(SweepFolder(earlier / "sweep")).parts
    assert part.trials == FAN_IN + 1
    assert sequence_accuracies(earlier)[:3] == [(0, 1.0, None), (1, 1.0, None), (2, 1.0, 0.5)]


def test_a_trial_is_deleted_from_a_part_from_before(earlier, writer):
    writer.delete([pair(seed=0)[1].trial_id])
    assert sequence_accuracies(earlier) == [(1, 1.0, None)]


def test_a_sweep_from_before_is_known_by_checksums_once_it_was_written(earlier, writer):
    assert set(read_manifest(SweepFolder(earlier / "sweep")).checksums) == {
        "trials-00000001.parquet",
        "curves-00000001.parquet",
    }


@pytest.mark.parametrize("name", ["trials", "curves"])
def test_damage_of_a_sweep_from_before_is_found(earlier, name):
    path = earlier / "sweep" / f"{name}-00000001.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(DamageWarning, match=f"{path} cannot be read"):
        assert query(store=earlier, view="curves").num_rows == 0
