from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bilin.errors import StoreError
from bilin.results import SweepWriter, verify
from tests.results.samples import forget_checksums, seeds


@pytest.fixture
def sweep(store):
    with SweepWriter(store, "sweep") as writer:
        writer.append(seeds(2))
    return store / "sweep"


def rewrite(path, change):
    """Write a part as an outsider would, with checksums that hold."""
    pq.write_table(change(pq.read_table(path, partitioning=None)), path)
    forget_checksums(path.parent)


def test_a_whole_sweep_is_counted(store, sweep):
    (health,) = verify(store)
    assert (health.sweep, health.num_parts, health.num_trials, health.num_curves) == ("sweep", 1, 2, 4)
    assert (health.damage, health.num_aside) == ([], 0)


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("trials", lambda rows: pa.concat_tables([rows.slice(0, 1)] * 2), "has a trial twice"),
        ("trials", lambda rows: rows.slice(0, 1), "has 1 row, expected 2"),
        ("trials", lambda rows: rows.drop_columns(["status"]), "no column status"),
        ("curves", lambda rows: rows.set_column(0, "trial_id", [["stray"] * 4]), "has curves of trials that"),
    ],
)
def test_what_contradicts_itself_is_found(store, sweep, name, change, what):
    rewrite(sweep / f"{name}-00000001.parquet", change)
    (health,) = verify(store)
    assert any(what in line for line in health.damage)


def test_a_sweep_that_is_not_there_is_an_error(store, sweep):
    with pytest.raises(StoreError, match="no sweep 'other'"):
        verify(store, "other")
