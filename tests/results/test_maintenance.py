from __future__ import annotations

import pytest

from bilin.errors import QueryError, SweepRunningError
from bilin.results import SweepWriter, WantedRow, delete, query, remove, stored
from tests.results.samples import cell, pair


def test_trials_that_meet_the_condition_are_removed(spare):
    removed = delete(spare, "tier = 'cp' AND lr = 1e-3")
    assert removed.num_rows == 2
    assert query(store=spare, view="trials", where="tier = 'cp'")["lr"].to_pylist() == [1e-4, 1e-4]
    assert query("SELECT count(*) AS n FROM trials", store=spare).to_pylist() == [{"n": 12}]


def test_a_dry_run_changes_nothing(spare):
    before = stored(spare, "first")
    assert delete(spare, "true", dry_run=True).num_rows == 14
    assert stored(spare, "first") == before


def test_what_was_found_is_removed_and_nothing_that_came_later(spare):
    found = delete(spare, "true", sweep="second", dry_run=True)
    with SweepWriter(spare, "second") as writer:
        writer.append([pair(cell("lstm"), seed=77)])
    remove(spare, found)
    assert len(stored(spare, "second")) == 1


def test_one_sweep_alone(spare):
    assert delete(spare, "true", sweep="second").num_rows == 2
    assert (len(stored(spare, "first")), len(stored(spare, "second"))) == (12, 0)


def test_a_sweep_that_runs_is_left_alone_and_so_are_the_others(spare):
    with SweepWriter(spare, "second"), pytest.raises(SweepRunningError):
        delete(spare, "true")
    assert (len(stored(spare, "first")), len(stored(spare, "second"))) == (12, 2)


def test_rows_that_the_grid_does_not_want_stay_unless_all_are_meant(store):
    with SweepWriter(store, "sweep") as writer:
        writer.append([pair(seed=0), pair(seed=1)])
        writer.write_wanted(
            [
                WantedRow(
                    cell_id=cell().cell_id, lrs=(1e-3,), seeds=(0,), num_trials=1, test_lengths=(10,), num_sequences=1
                )
            ]
        )
    assert delete(store, "true").num_rows == 1
    assert delete(store, "true", everything=True).num_rows == 1


@pytest.mark.parametrize("where", ["true) OR (true", "true LIMIT 1", "true; DROP TABLE _live", ""])
def test_a_condition_is_one_expression(spare, where):
    with pytest.raises(QueryError):
        delete(spare, where)
    assert len(stored(spare, "first")) == 12
