"""The view `cells`: the results of each cell at the learning rate, or the point of its search, that it selects.

DuckDB aggregates the trials. What remains for Python is little: a row for each cell, point or tested length.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from bilin.models import MODELS
from bilin.record import RESULT_STATUSES
from bilin.results.origin import HARDWARE, VERSIONS, Origin, mixture
from bilin.results.schema import SEARCHED, table_of
from bilin.results.statistics import Statistic, summarize
from bilin.results.store.rows import to_point
from bilin.rules import Outcome, select_point
from bilin.tasks import TASKS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SELECTED = """
CREATE TABLE _selected (sweep VARCHAR, cell_id VARCHAR, lr DOUBLE, searched STRUCT(name VARCHAR, value DOUBLE)[])
"""
"""The point that each cell selects: a row for each cell with trials, whose ``lr`` is null if it selects none."""

WITH_SELECTED = "live JOIN _selected ON _selected.sweep = live.sweep AND _selected.cell_id = live.cell_id"
IS_SELECTED = "coalesce(_selected.lr = live.lr AND _selected.searched IS NOT DISTINCT FROM live.searched, false)"
"""Whether rows of the table ``live`` are at the selected point: as a value, since a join by strings is much faster."""

POINTS = """
CREATE TABLE IF NOT EXISTS _points AS
SELECT sweep, cell_id, lr, searched, min(seed) AS least_seed, max(seed) AS greatest_seed,
  count(*) FILTER (solved) AS num_solved,
  avg(CASE WHEN status IN ('done', 'pruned') THEN coalesce(validation_accuracy, 0) ELSE 0 END) AS score,
  avg(CASE WHEN status IN ('done', 'pruned') THEN coalesce(training_loss, 'inf') ELSE 'inf' END) AS loss,
  bool_or(status IN ('done', 'diverged')) AS has_result, bool_or(status = 'pruned') AS is_pruned,
  arg_min(struct_pack(params := params, recurrent_params := recurrent_params), seed)
    FILTER (recurrent_params IS NOT NULL) AS sizes
FROM {rows} GROUP BY ALL
"""
"""The points of each cell, of the rows that count or of all. A failed trial has no sizes."""

_CANDIDATES = """
CREATE TABLE _candidates AS
WITH trained AS (
  FROM _points WHERE has_result QUALIFY is_pruned = bool_and(is_pruned) OVER (PARTITION BY sweep, cell_id)
), most_solved AS (
  FROM trained QUALIFY num_solved = max(num_solved) OVER (PARTITION BY sweep, cell_id)
), most_accurate AS (
  FROM most_solved QUALIFY score >= max(score) OVER (PARTITION BY sweep, cell_id) - 1e-9
), least AS (
  SELECT *, min(loss) OVER (PARTITION BY sweep, cell_id) AS least_loss FROM most_accurate
)
SELECT sweep, cell_id, lr, searched, count(*) OVER (PARTITION BY sweep, cell_id) AS num_candidates
FROM least WHERE loss <= least_loss + 1e-9 * abs(least_loss)
"""
"""The points that `select_point` may select: it says which, where rounding might decide between several."""

_TIED = f"""
FROM _rows AS live JOIN (FROM _candidates WHERE num_candidates > 1) AS _selected USING (sweep, cell_id)
WHERE {IS_SELECTED} ORDER BY live.sweep, live.cell_id
"""

_SELECT = """
INSERT INTO _selected
SELECT sweep, cell_id, lr, searched
FROM (SELECT DISTINCT sweep, cell_id FROM _points) LEFT JOIN (
  SELECT sweep, cell_id, lr, searched FROM _candidates WHERE num_candidates = 1
  UNION ALL SELECT sweep, cell_id, lr, searched FROM _of_ties
) USING (sweep, cell_id)
"""

_AT_LENGTH = """
CREATE TABLE _cells_at_length AS
WITH tested AS (
  SELECT sweep, cell_id, length, max(accuracy_scaled) AS best,
    list(seed ORDER BY seed) FILTER (selected) AS seeds,
    list(accuracy_scaled ORDER BY seed) FILTER (selected) AS scores,
    coalesce(bool_or(num_nonfinite > 0) FILTER (selected), false) AS is_nonfinite
  FROM _tested GROUP BY ALL
)
FROM tested ANTI JOIN (FROM _asked WHERE {is_asked}) AS asked
  ON asked.sweep = tested.sweep AND asked.cell_id = tested.cell_id
  AND NOT list_contains(asked.test_lengths, tested.length)
"""
"""What was tested of each cell: its seeds at the selected point, and whether some of their logits were not finite.

Every question whose text contains `cells` prepares it, also one that reads only this table.
"""

_CELLS = f"""
WITH of_cell AS (
  SELECT live.sweep, live.cell_id, any_value(_selected.lr) AS lr, any_value(_selected.searched) AS selected_searched,
    coalesce(sum(num_solved) FILTER ({IS_SELECTED}), 0) AS num_solved,
    first(sizes ORDER BY NOT {IS_SELECTED}, live.lr, live.searched) FILTER (sizes IS NOT NULL) AS sizes
  FROM _points AS {WITH_SELECTED} GROUP BY live.sweep, live.cell_id
), shown AS (
  SELECT sweep, cell_id, length FROM _cells_at_length
  UNION SELECT sweep, cell_id, unnest(test_lengths) FROM _asked SEMI JOIN of_cell USING (sweep, cell_id)
    WHERE {{is_asked}}
  UNION SELECT sweep, cell_id, unnest(test_lengths) FROM _asked ANTI JOIN of_cell USING (sweep, cell_id)
    WHERE fields IS NOT NULL
)
SELECT sweep, cell_id, sizes.params AS params, sizes.recurrent_params AS recurrent_params, length, lr,
  len(coalesce(seeds, [])) AS num_seeds, coalesce(num_solved, 0)::BIGINT AS num_solved, best,
  coalesce(seeds, []) AS seeds, coalesce(scores, []) AS scores, selected_searched
FROM shown LEFT JOIN _cells_at_length USING (sweep, cell_id, length) LEFT JOIN of_cell USING (sweep, cell_id)
"""
"""A row for each cell and tested length, and also for the lengths that the grid wants."""

_UNDESCRIBED = (
    "SELECT sweep, cell_id FROM _points ANTI JOIN (FROM _asked WHERE fields IS NOT NULL) USING (sweep, cell_id)"
)
"""The cells whose columns the grid does not say: those of other grids, and of earlier versions."""

_RESULTS = ", ".join(f"'{status}'" for status in sorted(RESULT_STATUSES))

_ORIGINS = f"""
FROM (
  SELECT sweep, cell_id, {", ".join(Origin._fields)}, count(*) AS num_trials
  FROM _rows WHERE torch IS NOT NULL AND status IN ({_RESULTS}) GROUP BY ALL
)
QUALIFY count(*) OVER (PARTITION BY sweep, cell_id) > 1 ORDER BY sweep, cell_id
"""
"""The origins of the results in each cell that has several."""

_SUMMARY = pa.schema(
    {
        "params": pa.int64(),
        "recurrent_params": pa.int64(),
        "length": pa.int64(),
        "lr": pa.float64(),
        "num_seeds": pa.int64(),
        "num_solved": pa.int64(),
        "mean": pa.float64(),
        "min": pa.float64(),
        "max": pa.float64(),
        "low": pa.float64(),
        "high": pa.float64(),
        "best": pa.float64(),
        "seeds": pa.list_(pa.int64()),
        "scores": pa.list_(pa.float64()),
        "mixed": pa.string(),
        "mixed_hardware": pa.string(),
    }
)
"""The columns besides those that describe a cell: see docs/results.md."""

_MIXED = pa.schema([_SUMMARY.field(name) for name in ("mixed", "mixed_hardware")])
_STATISTICS = pa.schema([_SUMMARY.field(name) for name in ("mean", "low", "high", "min", "max")])

_cell_of = itemgetter("sweep", "cell_id")


class _OutcomeRow(NamedTuple):
    """What is needed of a trial to select the point of its cell."""

    sweep: str
    cell_id: str
    lr: float
    searched: Sequence[Mapping[str, Any]] | None
    seed: int
    status: str
    solved: bool
    validation_accuracy: float | None
    training_loss: float | None


def cells_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns of the view, given those that describe a cell."""
    return ["sweep", "cell_id", *columns, *_SUMMARY.names]


def select_points(connection: DuckDBPyConnection) -> None:
    """Fill the table ``_selected`` with the point that each cell selects."""
    connection.execute(POINTS.format(rows="_rows"))
    connection.execute(_CANDIDATES)
    columns = ", ".join(f"live.{name}" for name in _OutcomeRow._fields)
    tied = connection.sql(f"SELECT {columns} {_TIED}").to_arrow_table()
    connection.register("_of_ties", _selected_of(tied))
    connection.execute(_SELECT)


def _selected_of(outcomes: pa.Table) -> pa.Table:
    """Return the point that each cell selects, given the outcomes of its trials."""
    selected = []
    rows = map(_OutcomeRow._make, zip(*(column.to_pylist() for column in outcomes.columns), strict=True))
    for (sweep, cell_id), group in itertools.groupby(rows, attrgetter("sweep", "cell_id")):
        of_cell = [(row, Outcome.of(to_point(row.lr, row.searched), row.seed, row)) for row in group]
        point = select_point(outcome for _, outcome in of_cell)
        row = next(row for row, outcome in of_cell if outcome.point == point)
        selected.append((sweep, cell_id, row.lr, row.searched))
    ids = {"sweep": pa.string(), "cell_id": pa.string()}
    return table_of(selected, pa.schema({**ids, "lr": pa.float64(), "searched": SEARCHED}))


def create_cells(connection: DuckDBPyConnection, fields: pa.Schema, later: Sequence[str], *, everything: bool) -> None:
    """Create the view `cells` from the others.

    Args:
        connection: It has the other views, and the selected points.
        fields: The columns that describe a cell.
        later: The values of those columns of later fields, as expressions in SQL.
        everything: Whether the views show rows that the grids do not want.
    """
    is_asked = "false" if everything else "true"
    connection.execute(_AT_LENGTH.format(is_asked=is_asked))
    rows = connection.sql(_CELLS.format(is_asked=is_asked)).to_arrow_table()
    described = _described(connection, fields, later)
    positions = {key: index for index, key in enumerate(_keys(described))}
    of_cells = described.take(pa.array([positions[key] for key in _keys(rows)], pa.int64()))
    of_cells = _with_searched(of_cells, rows["selected_searched"].to_pylist())
    found = _mixtures(connection)
    mixed = table_of([found.get(key, (None, None)) for key in _keys(rows)], _MIXED)
    columns = {name: rows[name] for name in rows.column_names}
    columns |= dict(zip(mixed.column_names, mixed.columns, strict=True)) | _statistics(rows["scores"].to_pylist())
    summary = [columns[field.name].cast(field.type) for field in _SUMMARY]
    cells = pa.table([*of_cells.columns, *summary], pa.schema([*of_cells.schema, *_SUMMARY]))
    connection.register("cells", cells.take(_order(cells, fields.names)))


def _keys(table: pa.Table) -> Iterator[tuple[str, str]]:
    """Yield the sweep and the id of the cell of each row."""
    return zip(table["sweep"].to_pylist(), table["cell_id"].to_pylist(), strict=True)


def _described(connection: DuckDBPyConnection, fields: pa.Schema, later: Sequence[str]) -> pa.Table:
    """Return the columns that describe each cell: those of the grid that wants it, or else those of its trials.

    Trials have a column for each field of every task and tier, so reading them takes the longest of all.
    """
    asked = connection.sql("SELECT sweep, cell_id, fields FROM _asked WHERE fields IS NOT NULL").to_arrow_table()
    ids = pa.schema({"sweep": pa.string(), "cell_id": pa.string()})
    described = pa.Table.from_pylist(list(_plain(asked.to_pylist(), fields)), pa.schema([*ids, *fields]))
    if connection.sql(f"{_UNDESCRIBED} LIMIT 1").fetchall():
        columns = ", ".join(f'first("{name}") AS "{name}"' for name in fields.names)
        rows = f"_live SEMI JOIN ({_UNDESCRIBED}) USING (sweep, cell_id)"
        of_trials = connection.sql(f"SELECT sweep, cell_id, {columns} FROM {rows} GROUP BY ALL")
        described = pa.concat_tables([described, of_trials.to_arrow_table().cast(described.schema)])
    connection.register("_described", described)
    return connection.sql(f"SELECT * REPLACE ({', '.join(later)}) FROM _described").to_arrow_table()


def _plain(cells: Sequence[Mapping[str, Any]], fields: pa.Schema) -> Iterator[dict[str, Any]]:
    """Yield the columns that describe a cell, given those of the table ``_asked``."""
    texts = {column.name for column in fields if column.type == pa.string()}
    for cell in cells:
        values = json.loads(cell["fields"])
        for name in texts.intersection(values):  # packages may use one name for values of several types
            value = values[name]
            values[name] = value if value is None or isinstance(value, str) else json.dumps(value)
        yield {**values, "sweep": cell["sweep"], "cell_id": cell["cell_id"]}


def _with_searched(cells: pa.Table, selected: Sequence[Sequence[Mapping[str, Any]] | None]) -> pa.Table:
    """Return cells with the selected values of their searched fields, or null where no point is selected."""
    names = [[field["name"] for field in fields or ()] for fields in cells["searched"].to_pylist()]
    values = [{field["name"]: field["value"] for field in fields or ()} for fields in selected]
    searched = [
        [{"name": name, "value": of_cell.get(name)} for name in its] or None
        for its, of_cell in zip(names, values, strict=True)
    ]
    cells = cells.set_column(cells.schema.get_field_index("searched"), "searched", pa.array(searched, SEARCHED))
    for name in {name for its in names for name in its}:
        index = cells.schema.get_field_index(name)
        has_name = pa.array([name in its for its in names])
        found = pa.array([of_cell.get(name) for of_cell in values], pa.float64()).cast(cells[name].type)
        cells = cells.set_column(index, cells.schema.field(index), pc.if_else(has_name, found, cells[name]))
    return cells


def _mixtures(connection: DuckDBPyConnection) -> dict[tuple[str, str], tuple[str | None, str | None]]:
    """Return in which versions and in which hardware the results of a cell differ."""
    rows = connection.sql(_ORIGINS).to_arrow_table().to_pylist()
    found = {}
    for cell, group in itertools.groupby(rows, _cell_of):
        origins = {Origin(*(row[name] for name in Origin._fields)): row["num_trials"] for row in group}
        found[cell] = mixture(origins, VERSIONS), mixture(origins, HARDWARE)
    return found


def _statistics(scores: Sequence[Sequence[float]]) -> dict[str, pa.Array]:
    """Return the mean of the scores of each row, with its interval, and the lowest and the highest."""
    rows = [
        (*summarize(each, Statistic.MEAN_CI), min(each), max(each)) if each else (None,) * len(_STATISTICS)
        for each in scores
    ]
    return dict(zip(_STATISTICS.names, table_of(rows, _STATISTICS).columns, strict=True))


def _order(cells: pa.Table, columns: Sequence[str]) -> pa.Array:
    """Sort by tasks and tiers, each in the order of its registry and then by name, fields, length and sweep."""
    ranks = {
        "task_rank": pc.index_in(cells["task"], pa.array(list(TASKS))),
        "tier_rank": pc.index_in(cells["tier"], pa.array(list(MODELS))),
    }
    keys: list[str] = []
    for name in columns:
        keys += [f"{name}_rank"] if f"{name}_rank" in ranks else []
        keys += [name] if not pa.types.is_list(cells[name].type) else []
    keys += ["length", "sweep", "cell_id"]
    table = pa.table({name: ranks[name] if name in ranks else cells[name] for name in keys})
    return pc.sort_indices(table, sort_keys=[(name, "ascending") for name in keys])
