"""The views that a query sees, and the tables behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bilin.results.published import published
from bilin.results.sql.cells import TESTED_COLUMNS, TRIAL_COLUMNS, cells_columns, cells_table
from bilin.results.sql.snapshot import Snapshot
from bilin.results.statistics import scaled_sql, wilson_sql

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

VIEWS = ("cells", "trials", "lengths", "curves", "published")

_LIVE = """
CREATE TABLE _live AS
WITH newest AS (
  SELECT sweep, part, trial_id, cell_id, lr, seed FROM _trials
  QUALIFY row_number() OVER (PARTITION BY sweep, trial_id ORDER BY part DESC) = 1
)
SELECT newest.sweep, part, trial_id, test_lengths
FROM newest LEFT JOIN _wanted
  ON _wanted.sweep = newest.sweep AND _wanted.cell_id = newest.cell_id
  AND list_contains(seeds, seed)
  AND CASE WHEN lrs IS NULL THEN lr BETWEEN lr_low AND lr_high ELSE list_contains(lrs, lr) END
WHERE _wanted.sweep IS NOT NULL OR newest.sweep NOT IN (SELECT DISTINCT sweep FROM _wanted)
"""
"""The rows that count: the newest of each trial, where the grid wants it, with the lengths wanted of it.

Not temporary, since a transaction that only reads may still write to temporary tables.
"""

_TRIALS = """
CREATE TEMP VIEW trials AS
SELECT * EXCLUDE (part, tested) FROM _trials SEMI JOIN _live USING (sweep, part, trial_id)
"""

_ACCURACY = "t.num_correct / t.num_sequences"
_LOW, _HIGH = wilson_sql("t.num_correct", "t.num_sequences")

_LENGTHS = f"""
CREATE TEMP VIEW lengths AS
SELECT sweep, trial_id, t.length, {_ACCURACY} AS accuracy, {_LOW} AS low, {_HIGH} AS high,
  {scaled_sql(_ACCURACY, "t.num_classes")} AS accuracy_scaled,
  t.num_sequences_right / t.num_sequences AS sequence_accuracy, t.num_sequences
FROM (
  SELECT sweep, trial_id, test_lengths, unnest(tested) AS t FROM _trials JOIN _live USING (sweep, part, trial_id)
)
WHERE test_lengths IS NULL OR list_contains(test_lengths, t.length)
"""

_CURVES = """
CREATE TEMP VIEW curves AS
SELECT * EXCLUDE (part) FROM _curves SEMI JOIN _live USING (sweep, part, trial_id)
"""


def create_views(connection: DuckDBPyConnection, snapshot: Snapshot, *, everything: bool) -> pa.Schema:
    """Create the views but for `cells`, over the rows that the grids want now, or over everything.

    Returns:
        The columns of a stored trial.
    """
    wanted, trials = snapshot.wanted(), snapshot.trials()
    connection.register("_trials", trials)
    connection.register("_curves", snapshot.curves())
    connection.register("_wanted", wanted.slice(0, 0) if everything else wanted)
    connection.register("published", published())
    for statement in (_LIVE, _TRIALS, _LENGTHS, _CURVES):
        connection.execute(statement)
    return trials.schema


def create_cells(connection: DuckDBPyConnection, columns: Sequence[str]) -> None:
    """Create the view `cells` from the others, with the columns that describe a cell."""
    described = ", ".join(f'"{name}"' for name in columns)  # a field may be named as a word of SQL
    trials = connection.sql(
        f"SELECT {', '.join(TRIAL_COLUMNS)}, {described} "
        "FROM trials JOIN (SELECT sweep, trial_id, test_lengths FROM _live) USING (sweep, trial_id) "
        "ORDER BY sweep, cell_id, lr, seed"
    )
    tested = connection.sql(
        f"SELECT {', '.join(TESTED_COLUMNS)} FROM lengths JOIN trials USING (sweep, trial_id) "
        "ORDER BY sweep, cell_id, length, lr, seed"
    )
    connection.register("cells", cells_table(trials.to_arrow_table(), tested.to_arrow_table(), columns))


def view_columns(connection: DuckDBPyConnection, columns: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """The columns of every view, `cells` too where it was not created."""
    stored = {view: connection.table(view).columns for view in VIEWS if view != "cells"}
    return {"cells": cells_columns(columns), **stored}
