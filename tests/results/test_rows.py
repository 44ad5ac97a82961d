"""The rows that a query returns: an Arrow table for all that reads one, data frames, and how they show."""

from __future__ import annotations

import sys

import pyarrow as pa
import pytest

from bilin.errors import InputError
from bilin.results import SweepWriter, query
from bilin.results.rows import MAX_SHOWN, Rows
from tests.results.samples import cell, pair

TABLE = pa.table({"tier": ["full", "<b>"], "rank": pa.array([None, 64], pa.int64()), "solved": [True, None]})


def test_rows_have_what_a_table_has():
    rows = Rows(TABLE)
    assert (len(rows), rows.num_rows, rows.column_names) == (2, 2, ["tier", "rank", "solved"])
    assert rows["rank"].to_pylist() == [None, 64]
    assert rows.to_pylist() == TABLE.to_pylist()
    assert rows.to_arrow() is TABLE
    assert rows == TABLE
    assert rows == Rows(TABLE)
    assert "sort_by" in dir(rows)
    with pytest.raises(AttributeError, match="nothing"):
        _ = rows.nothing


def test_libraries_that_read_arrow_data_take_rows_as_they_are():
    assert pa.table(Rows(TABLE)) == TABLE


def test_rows_are_short_in_text_and_a_table_in_html():
    assert repr(Rows(TABLE)) == "<Rows 2 × 3: tier, rank, solved>"  # noqa: RUF001
    shown = Rows(TABLE)._repr_html_()
    assert "&lt;b&gt;" in shown
    assert '<td style="text-align: right">64</td>' in shown
    assert Rows(TABLE.slice(0, 0))._repr_html_().count("<th ") == 3
    assert Rows(pa.table({}))._repr_html_() == "<table><tbody></tbody></table>"


def test_html_has_the_first_rows_of_many():
    shown = Rows(pa.table({"n": list(range(1000))}))._repr_html_()
    assert shown.count("<tr>") == MAX_SHOWN + 1
    assert f"and {1000 - MAX_SHOWN} more rows" in shown


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_library_that_is_missing_is_named(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=f"pip install {library}"):
        getattr(Rows(TABLE), f"to_{library}")()


def test_whole_numbers_and_booleans_stay_what_they_are_in_pandas():
    frame = Rows(TABLE).to_pandas()
    assert [str(frame[name].dtype) for name in ("rank", "solved")] == ["Int64", "boolean"]


def test_polars_gets_the_same_rows():
    assert Rows(TABLE).to_polars().to_dicts() == TABLE.to_pylist()


def test_trials_at_the_selected_learning_rate_are_selected(store):
    with SweepWriter(store, "mine") as writer:
        writer.append([pair(cell("full"), lr=lr, seed=seed, accuracy=lr) for lr in (0.5, 0.25) for seed in (0, 1)])
        writer.append([pair(cell("cp", rank=2), lr=0.25, accuracy=0.5)])
    rows = query(store=store, view="trials", select="tier, lr, seed, selected").to_pylist()
    (best,) = {row["lr"] for row in query(store=store, where="tier = 'full'").to_pylist()}
    assert [row["selected"] for row in rows] == [row["tier"] == "cp" or row["lr"] == best for row in rows]
    assert query("SELECT count(*) AS n FROM trials WHERE selected", store=store).to_pylist() == [{"n": 3}]
    assert query("FROM trials JOIN lengths USING (sweep, trial_id)", store=store)["selected"].null_count == 0
