"""The views that a query sees, and the tables behind them.

DuckDB itself opens no file: a query can read only the Arrow tables that are registered here.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
from pyarrow.fs import LocalFileSystem

from bilin.results.published import published
from bilin.results.schema import CURVES, WANTED_SCHEMA, conform, conforms, earlier_values, trials_schema, unite
from bilin.results.sql.cells import OutcomeRow, TestedRow, TrialRow, cells_table, selected_table
from bilin.results.statistics import scaled_sql, wilson_sql
from bilin.results.store.contents import Contents
from bilin.results.store.parts import read_schema, stream_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyarrow.dataset import Dataset

VIEWS = ("cells", "trials", "lengths", "curves", "published")

_LIVE = """
CREATE TABLE _live AS
WITH newest AS (
  SELECT sweep, part, trial_id, cell_id, lr, searched, seed FROM _trials
  QUALIFY row_number() OVER (PARTITION BY sweep, trial_id ORDER BY part DESC) = 1
)
SELECT newest.sweep, part, trial_id, test_lengths
FROM newest LEFT JOIN _wanted
  ON _wanted.sweep = newest.sweep AND _wanted.cell_id = newest.cell_id
  AND list_contains(seeds, seed)
  AND CASE
    WHEN points IS NOT NULL THEN list_contains(points, {'lr': lr, 'searched': searched})
    WHEN lrs IS NULL THEN lr BETWEEN lr_low AND lr_high AND coalesce(list_bool_and(list_transform(ranges, lambda r:
      list_bool_or(list_transform(searched, lambda s: s.name = r.name AND s.value BETWEEN r.low AND r.high))
    )), true)
    ELSE list_contains(lrs, lr)
  END
WHERE _wanted.sweep IS NOT NULL OR newest.sweep NOT IN (SELECT DISTINCT sweep FROM _wanted)
"""
"""The rows that count: the newest of each trial that the grid wants, with the lengths to show.

Not a temporary table: even a transaction that only reads may write to those.
"""

_TRIALS = """
CREATE TEMP VIEW trials AS
SELECT live.*, _selected.trial_id IS NOT NULL AS selected
FROM (
  SELECT * EXCLUDE (part, tested) REPLACE ({earlier}) FROM _trials SEMI JOIN _live USING (sweep, part, trial_id)
) AS live
LEFT JOIN _selected USING (sweep, trial_id)
"""

_OUTCOMES = f"""
SELECT {", ".join(OutcomeRow._fields)} FROM _trials SEMI JOIN _live USING (sweep, part, trial_id)
ORDER BY sweep, cell_id
"""

_ACCURACY = "t.num_correct / t.num_sequences"
_LOW, _HIGH = wilson_sql("t.num_correct", "t.num_sequences")

_LENGTHS = f"""
CREATE TEMP VIEW lengths AS
SELECT sweep, trial_id, t.length, {_ACCURACY} AS accuracy, {_LOW} AS low, {_HIGH} AS high,
  {scaled_sql(_ACCURACY, "t.num_classes")} AS accuracy_scaled,
  {scaled_sql(_LOW, "t.num_classes")} AS low_scaled, {scaled_sql(_HIGH, "t.num_classes")} AS high_scaled,
  t.num_sequences_right / t.num_sequences AS sequence_accuracy, t.num_nonfinite / t.num_sequences AS nonfinite,
  t.num_sequences
FROM (
  SELECT sweep, trial_id, test_lengths, unnest(tested) AS t FROM _trials JOIN _live USING (sweep, part, trial_id)
)
WHERE test_lengths IS NULL OR list_contains(test_lengths, t.length)
"""

_CURVES = """
CREATE TEMP VIEW curves AS
SELECT * EXCLUDE (part) FROM _curves SEMI JOIN _live USING (sweep, part, trial_id)
"""


_HAS_EFFECT = {"weight_decay_on": "weight_decay > 0"}
"""Where a later field has an effect. Elsewhere it is null, so that it does not tell cells apart that are the same."""

_ORIGIN = pa.schema({"sweep": pa.string(), "part": pa.int64()})
"""The origin of a row: its sweep, and the position of its part there, oldest first."""


class _File(NamedTuple):
    """A part file with its origin."""

    sweep: str
    position: int
    path: Path


def check(sweeps: Iterable[Contents]) -> None:
    """Open every part of some sweeps.

    Raises:
        FileNotFoundError: A part does not exist any more.
        StoreError: A part cannot be read.
    """
    for sweep in sweeps:
        for path in sweep.manifest.paths(sweep.folder):
            read_schema(path)


def create_views(
    connection: DuckDBPyConnection, sweeps: Sequence[Contents], *, everything: bool, selected: bool = True
) -> pa.Schema:
    """Create all views but `cells`, over the rows that the grids want now, or over all rows.

    Args:
        connection: Where to create them.
        sweeps: The sweeps of the store.
        everything: Whether to show rows that the grids do not want.
        selected: Whether the column `selected` of `trials` is needed. If not, it is false.

    Returns:
        The columns of a stored trial.

    Raises:
        Exception: As `check` does.
    """
    curves, trials = _curves(sweeps), _trials(sweeps)
    wanted = _wanted(() if everything else sweeps)
    asked = _wanted(sweeps).select(["sweep", "cell_id", "test_lengths", "fields"])
    tables = {"_trials": trials, "_curves": curves, "_wanted": wanted, "_asked": asked, "published": published()}
    for name, table in tables.items():
        connection.register(name, table)
    connection.execute(_LIVE)
    outcomes = connection.sql(_OUTCOMES if selected else f"{_OUTCOMES} LIMIT 0").to_arrow_table()
    connection.register("_selected", selected_table(outcomes))
    for statement in (_TRIALS.format(earlier=", ".join(_earlier())), _LENGTHS, _CURVES):
        connection.execute(statement)
    return trials.schema


def create_cells(connection: DuckDBPyConnection, columns: Sequence[str]) -> None:
    """Create the view `cells` from the others, given the columns that describe a cell."""
    names = dict.fromkeys((*TrialRow._fields, *columns))
    quoted = ", ".join(f'"{name}"' for name in names)  # a field may have the name of a keyword of SQL
    trials = connection.sql(
        f"SELECT {quoted} "
        "FROM trials JOIN (SELECT sweep, trial_id, test_lengths FROM _live) USING (sweep, trial_id) "
        "ORDER BY sweep, cell_id, lr, searched, seed"
    )
    tested = connection.sql(
        f"SELECT {', '.join(TestedRow._fields)} FROM lengths JOIN trials USING (sweep, trial_id) "
        "ORDER BY sweep, cell_id, length, lr, searched, seed"
    )
    waiting = connection.sql(
        "SELECT * FROM _asked ANTI JOIN trials USING (sweep, cell_id) WHERE fields IS NOT NULL"
    ).to_arrow_table()
    connection.register("cells", cells_table(trials.to_arrow_table(), tested.to_arrow_table(), columns, waiting))


def _earlier() -> Iterator[str]:
    """Yield an expression for each column of a later field, which has the value that null stands for."""
    by_column = itertools.groupby(sorted(earlier_values(), key=attrgetter("column")), key=attrgetter("column"))
    for column, values in by_column:
        cases = (f"WHEN {f'{owner} = {name!r}' if name else 'true'} THEN {value!r}" for _, owner, name, value in values)
        value = f'coalesce("{column}", CASE {" ".join(cases)} END)'
        if condition := _HAS_EFFECT.get(column):
            value = f"CASE WHEN {condition} THEN {value} END"
        yield f'{value} AS "{column}"'


def _wanted(sweeps: Iterable[Contents]) -> pa.Table:
    """Return what the grids want, with the sweep; a sweep without a grid has no row."""
    tables = [pa.schema([_ORIGIN.field("sweep"), *WANTED_SCHEMA]).empty_table()]
    for sweep in sweeps:
        if sweep.wanted is not None:
            name = pa.repeat(pa.scalar(sweep.folder.name), sweep.wanted.num_rows)
            tables.append(sweep.wanted.add_column(0, _ORIGIN.field("sweep"), name))
    return pa.concat_tables(tables)


def _curves(sweeps: Iterable[Contents]) -> Dataset:
    """Return every stored row of a curve, with `_ORIGIN`."""
    files = [
        _File(sweep.folder.name, position, sweep.folder.curves_part(part.number))
        for sweep in sweeps
        for position, part in enumerate(sweep.manifest.parts)
        if part.curves
    ]
    return _dataset(files, pa.unify_schemas([_ORIGIN, CURVES]))


def _trials(sweeps: Iterable[Contents]) -> Dataset:
    """Return every stored row of a trial, superseded ones included, with `_ORIGIN`."""
    import pyarrow.dataset as ds  # a second if pandas is installed, and only for queries

    files = [
        _File(sweep.folder.name, position, sweep.folder.trials_part(part.number))
        for sweep in sweeps
        for position, part in enumerate(sweep.manifest.parts)
    ]
    columns = [read_schema(file.path) for file in files]
    schema = unite([pa.schema([*_ORIGIN, *trials_schema()]), *columns])
    is_plain = [conforms(own, schema) for own in columns]
    dataset = _dataset(itertools.compress(files, is_plain), schema)
    converted = [_convert(file, schema) for file, plain in zip(files, is_plain, strict=True) if not plain]
    return ds.dataset([dataset, *map(ds.dataset, converted)]) if converted else dataset


def _dataset(files: Iterable[_File], schema: pa.Schema) -> Dataset:
    import pyarrow.dataset as ds

    parquet, filesystem = ds.ParquetFileFormat(), LocalFileSystem()
    fragments = [
        parquet.make_fragment(
            os.fspath(file.path),
            filesystem,
            partition_expression=(ds.field("sweep") == file.sweep) & (ds.field("part") == file.position),
        )
        for file in files
    ]
    return ds.FileSystemDataset(fragments, schema, parquet, filesystem)


def _convert(file: _File, schema: pa.Schema) -> pa.Table:
    """Return the rows of a part with a column that Arrow does not convert to the schema by itself."""
    rows = pa.concat_tables([conform(table, schema) for table in stream_rows(file.path)])
    for field, value in zip(_ORIGIN, (file.sweep, file.position), strict=True):
        rows = rows.append_column(field, pa.repeat(pa.scalar(value), rows.num_rows))
    return pa.concat_tables([schema.empty_table(), rows], promote_options="default")
