"""The views that a query sees, and the tables behind them.

DuckDB may open the part files of these sweeps, and no other file. It reads those whose columns have the types of the
view; Arrow converts the others, of earlier versions or of packages that use a name for something else.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
from pyarrow.fs import LocalFileSystem

from bilin.results.published import published
from bilin.results.schema import (
    CURVES,
    WANTED_SCHEMA,
    conform,
    conforms,
    earlier_values,
    has_types_of,
    trials_schema,
    unite,
)
from bilin.results.sql.cells import IS_SELECTED, POINTS, SELECTED, WITH_SELECTED
from bilin.results.sql.sandbox import unpatterned
from bilin.results.statistics import scaled_sql, wilson_sql
from bilin.results.store.contents import Contents
from bilin.results.store.parts import read_schema, stream_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyarrow.dataset import Dataset

VIEWS = ("cells", "trials", "lengths", "curves", "published")

_OLDER = """
CREATE TABLE _older AS
WITH repeated AS (
  SELECT sweep, trial_id, max(part) AS part FROM _trials WHERE sweep IN ({sweeps}) GROUP BY sweep, trial_id
  HAVING count(*) > 1
)
SELECT sweep, _trials.part, trial_id FROM _trials JOIN repeated USING (sweep, trial_id)
WHERE _trials.part < repeated.part
"""
"""The rows that a newer one of the same trial supersedes: most often none. A part has each trial once.

Not a temporary table, here and below: even a transaction that only reads may write to those.
"""

_ASKED = """
CREATE TABLE _asked AS
SELECT * REPLACE (CASE WHEN len(seeds) <> last_seed - first_seed + 1 THEN seeds END AS seeds)
FROM (SELECT *, list_min(seeds) AS first_seed, list_max(seeds) AS last_seed FROM _grids)
"""
"""What the grids want. Seeds are a list only if they are not a range: a join copies lists for every row."""

_IS_POINT = """CASE
    WHEN points IS NOT NULL THEN list_contains(points, struct_pack(lr := lr, searched := searched))
    WHEN lrs IS NULL THEN lr BETWEEN lr_low AND lr_high AND coalesce(list_bool_and(list_transform(ranges, lambda r:
      list_bool_or(list_transform(searched, lambda s: s.name = r.name AND s.value BETWEEN r.low AND r.high))
    )), true)
    ELSE list_contains(lrs, lr)
  END"""
"""Whether what the grid wants of a cell has a point."""

_UNASKED = f"""
SELECT 1
FROM _points LEFT JOIN _asked USING (sweep, cell_id)
WHERE sweep IN (SELECT sweep FROM _asked) AND NOT coalesce(
  least_seed >= first_seed AND greatest_seed <= last_seed AND seeds IS NULL AND {_IS_POINT}, false
)
LIMIT 1
"""
"""A row if there may be trials that the grids do not want, given the points of all."""

_ALL_LIVE = "CREATE TEMP VIEW _live AS FROM _trials"

_LIVE = f"""
CREATE TEMP VIEW _live AS
SELECT _trials.*
FROM _trials LEFT JOIN (FROM _asked WHERE {{is_asked}}) AS _wanted
  ON _wanted.sweep = _trials.sweep AND _wanted.cell_id = _trials.cell_id
  AND seed BETWEEN first_seed AND last_seed AND (seeds IS NULL OR list_contains(seeds, seed))
  AND {_IS_POINT}
WHERE {{is_newest}} AND (
  _wanted.sweep IS NOT NULL OR _trials.sweep NOT IN (SELECT DISTINCT sweep FROM _asked WHERE {{is_asked}})
)
"""
"""The rows that count: the newest of each trial that the grid wants."""

_ROWS = """
SELECT sweep, trial_id, cell_id, lr, searched, seed, status, solved, validation_accuracy, training_loss, params,
  recurrent_params, task_package, tier_package, torch, cpu, gpu, tested, {test_lengths}
FROM _live
"""
"""What cells and tested lengths are made of, with the lengths to show; null for all."""

_VIEW_OF_ROWS = "CREATE VIEW _rows AS" + _ROWS.format(test_lengths="NULL::BIGINT[] AS test_lengths")
_TABLE_OF_ROWS = f"""
DROP VIEW _rows;
CREATE TABLE _rows AS {_ROWS.format(test_lengths="test_lengths")}
LEFT JOIN (SELECT sweep, cell_id, test_lengths FROM _asked WHERE {{is_asked}}) USING (sweep, cell_id)
"""
"""Joins are many times faster if its lists lie in DuckDB, not in a file."""

_HIDDEN = """
SELECT 1
FROM (SELECT DISTINCT sweep, cell_id, t.length FROM (SELECT sweep, cell_id, unnest(tested) AS t FROM _live)) AS tested
JOIN _asked USING (sweep, cell_id) WHERE NOT list_contains(test_lengths, tested.length) LIMIT 1
"""
"""A row if trials have lengths that the grids do not want."""

_IS_NEWEST = """NOT EXISTS (
  FROM _older WHERE _older.sweep = _trials.sweep AND _older.part = _trials.part AND _older.trial_id = _trials.trial_id
)"""

_TRIALS = """
CREATE TEMP VIEW trials AS
SELECT live.*, {is_selected} AS selected
FROM (SELECT * EXCLUDE (part, tested) REPLACE ({earlier}) FROM _live) AS {with_selected}
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
FROM (SELECT sweep, trial_id, test_lengths, unnest(tested) AS t FROM _rows)
WHERE test_lengths IS NULL OR list_contains(test_lengths, t.length)
"""

_TESTED = f"""
CREATE TEMP VIEW _tested AS
SELECT sweep, cell_id, seed, selected, t.length, {scaled_sql(_ACCURACY, "t.num_classes")} AS accuracy_scaled,
  t.num_nonfinite
FROM (
  SELECT live.sweep, live.cell_id, seed, test_lengths, {IS_SELECTED} AS selected, unnest(tested) AS t
  FROM _rows AS {WITH_SELECTED}
)
WHERE test_lengths IS NULL OR list_contains(test_lengths, t.length)
"""
"""As `lengths`, with what is needed of the trial, so that nothing has to be joined by trials."""

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


def part_files(sweeps: Iterable[Contents]) -> list[Path]:
    """Return the part files that the views read."""
    return [path for sweep in sweeps for path in sweep.manifest.paths(sweep.folder)]


def check(sweeps: Iterable[Contents]) -> None:
    """Open every part of some sweeps.

    Raises:
        FileNotFoundError: A part does not exist any more.
        StoreError: A part cannot be read.
    """
    for path in part_files(sweeps):
        read_schema(path)


def create_views(
    connection: DuckDBPyConnection, sweeps: Sequence[Contents], *, everything: bool
) -> tuple[pa.Schema, bool]:
    """Create all views but `cells`, over the rows that the grids want now, or over all rows.

    The column `selected` of `trials` is false until the table ``_selected`` is filled: see `bilin.results.sql.cells`.

    Args:
        connection: Where to create them.
        sweeps: The sweeps of the store.
        everything: Whether to show rows that the grids do not want.

    Returns:
        The columns of a stored trial, and whether every stored row is shown.

    Raises:
        Exception: As `check` does.
    """
    schema = _create_trials(connection, sweeps)
    create_curves(connection, ())
    for name, table in {"_grids": _grids(sweeps), "published": published()}.items():
        connection.register(name, table)
    several = ", ".join(f"'{sweep.folder.name}'" for sweep in sweeps if len(sweep.manifest.parts) > 1)
    if several:
        connection.execute(_OLDER.format(sweeps=several))
    has_older = several and connection.table("_older").limit(1).fetchall()
    is_newest = _IS_NEWEST if has_older else "true"
    connection.execute(_ASKED)
    is_whole = not has_older and (everything or _is_all_asked(connection))
    for statement in (
        SELECTED,
        _ALL_LIVE if is_whole else _LIVE.format(is_newest=is_newest, is_asked="false" if everything else "true"),
        _TRIALS.format(earlier=", ".join(earlier_sql()), is_selected=IS_SELECTED, with_selected=WITH_SELECTED),
        _VIEW_OF_ROWS,
        _LENGTHS,
        _TESTED,
        _CURVES,
    ):
        connection.execute(statement)
    return schema, is_whole


def _is_all_asked(connection: DuckDBPyConnection) -> bool:
    """Return whether the grids want every stored row. Then ``_points`` are their points."""
    connection.execute(POINTS.format(rows="_trials"))
    has_others = bool(connection.execute(_UNASKED).fetchall())
    if has_others:
        connection.execute("DROP TABLE _points")
    return not has_others


def create_curves(connection: DuckDBPyConnection, sweeps: Sequence[Contents]) -> None:
    """Create the view of every stored row of a curve: of no sweep for questions that read none.

    DuckDB opens the files, and `bilin.results.store.contents.read_sweeps` has looked at them only if they are read.
    """
    _create_union(connection, "_curves", _files(sweeps, of_curves=True), pa.unify_schemas([_ORIGIN, CURVES]))


def prepare_rows(connection: DuckDBPyConnection, *, everything: bool, is_whole: bool) -> None:
    """Make a table of what `cells` and `lengths` are made of, unless the files have just what `lengths` shows."""
    if not is_whole or (not everything and connection.execute(_HIDDEN).fetchall()):
        connection.execute(_TABLE_OF_ROWS.format(is_asked="false" if everything else "true"))


def earlier_sql() -> Iterator[str]:
    """Yield an expression for each column of a later field, which has the value that null stands for."""
    by_column = itertools.groupby(sorted(earlier_values(), key=attrgetter("column")), key=attrgetter("column"))
    for column, values in by_column:
        cases = (f"WHEN {f'{owner} = {name!r}' if name else 'true'} THEN {value!r}" for _, owner, name, value in values)
        value = f'coalesce("{column}", CASE {" ".join(cases)} END)'
        if condition := _HAS_EFFECT.get(column):
            value = f"CASE WHEN {condition} THEN {value} END"
        yield f'{value} AS "{column}"'


def _grids(sweeps: Iterable[Contents]) -> pa.Table:
    """Return what the grids want, with the sweep; a sweep without a grid has no row."""
    tables = [pa.schema([_ORIGIN.field("sweep"), *WANTED_SCHEMA]).empty_table()]
    for sweep in sweeps:
        if sweep.wanted is not None:
            name = pa.repeat(pa.scalar(sweep.folder.name), sweep.wanted.num_rows)
            tables.append(sweep.wanted.add_column(0, _ORIGIN.field("sweep"), name))
    return pa.concat_tables(tables)


def _files(sweeps: Iterable[Contents], *, of_curves: bool) -> list[_File]:
    return [
        _File(
            sweep.folder.name,
            position,
            sweep.folder.curves_part(part.number) if of_curves else sweep.folder.trials_part(part.number),
        )
        for sweep in sweeps
        for position, part in enumerate(sweep.manifest.parts)
        if part.curves or not of_curves
    ]


def _create_trials(connection: DuckDBPyConnection, sweeps: Iterable[Contents]) -> pa.Schema:
    """Create the view of every stored row of a trial, superseded ones included, with `_ORIGIN`. Return its columns."""
    # DuckDB reads a file whose columns have the types of the schema, Arrow converts the others as they are read, or at
    # once if it cannot (`_converted`).
    files = _files(sweeps, of_curves=False)
    columns = [read_schema(file.path) for file in files]
    schema = unite([pa.schema([*_ORIGIN, *trials_schema()]), *columns])
    plain, others = list[_File](), list[_File]()
    for file, own in zip(files, columns, strict=True):
        (plain if has_types_of(own, schema) else others).append(file)
    _create_union(connection, "_trials", plain, schema, others=_converted(others, schema) if others else None)
    return schema


def _create_union(
    connection: DuckDBPyConnection, name: str, files: Sequence[_File], schema: pa.Schema, *, others: Any = None
) -> None:
    """Create a view of the rows of some files, with `_ORIGIN`, and of other rows. What a file lacks is null."""
    connection.register(f"{name}_columns", schema.empty_table())
    selects = [f"FROM {name}_columns"]
    if others is not None:
        connection.register(f"{name}_converted", others)
        selects.append(f"FROM {name}_converted")
    if files:  # in one SELECT, however many sweeps: DuckDB plans each again wherever the view is named
        paths = ["'{}'".format(unpatterned(file.path).replace("'", "''")) for file in files]
        sweeps, positions = [file.sweep for file in files], [file.position for file in files]
        selects.append(
            f"SELECT {sweeps}[file_index::BIGINT + 1] AS sweep, {positions}[file_index::BIGINT + 1]::BIGINT AS part, * "
            f"FROM read_parquet([{', '.join(paths)}], union_by_name = true, hive_partitioning = false)"
        )
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {' UNION ALL BY NAME '.join(selects)}")


def _converted(files: Sequence[_File], schema: pa.Schema) -> Dataset:
    """Return the rows of files whose columns have other types than those of a schema, as rows of that schema."""
    import pyarrow.dataset as ds  # a second if pandas is installed, and seldom needed

    parquet, filesystem = ds.ParquetFileFormat(), LocalFileSystem()
    is_lazy = [conforms(read_schema(file.path), schema) for file in files]
    fragments = [
        parquet.make_fragment(
            os.fspath(file.path),
            filesystem,
            partition_expression=(ds.field("sweep") == file.sweep) & (ds.field("part") == file.position),
        )
        for file in itertools.compress(files, is_lazy)
    ]
    dataset = ds.FileSystemDataset(fragments, schema, parquet, filesystem)
    tables = [_convert(file, schema) for file, lazy in zip(files, is_lazy, strict=True) if not lazy]
    return ds.dataset([dataset, *map(ds.dataset, tables)]) if tables else dataset


def _convert(file: _File, schema: pa.Schema) -> pa.Table:
    """Return the rows of a part with a column that Arrow does not convert to the schema by itself."""
    rows = pa.concat_tables([conform(table, schema) for table in stream_rows(file.path)])
    for field, value in zip(_ORIGIN, (file.sweep, file.position), strict=True):
        rows = rows.append_column(field, pa.repeat(pa.scalar(value), rows.num_rows))
    return pa.concat_tables([schema.empty_table(), rows], promote_options="default")
