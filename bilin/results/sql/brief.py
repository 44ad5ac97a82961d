"""Which columns of a view to show where none are asked for: those that vary, and those that always matter."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from bilin.results.columns import described
from bilin.results.schema import ENVIRONMENT_COLUMNS, TIME_COLUMNS

_LEFT_OUT = {"cell_id", "params", "recurrent_params", "spec", "traceback", "schema_version"} | (
    {*ENVIRONMENT_COLUMNS, *TIME_COLUMNS} - {"device"}
)
_WHERE_SAID = {"sweep", "stop_reason", "error", "low", "high", "device"}
"""Shown where they say something: several sweeps, an error, an interval."""


def brief(table: pa.Table) -> pa.Table:
    """The rows of a view without the columns that say nothing here."""
    return table.select([name for name in table.column_names if name not in _LEFT_OUT and _says_something(table, name)])


def _says_something(table: pa.Table, name: str) -> bool:
    column, field = table[name], described(table.schema.field(name))
    if name in ("task", "tier") or (field and field.required):
        return bool(column.null_count < len(column)) or not len(column)
    if field is None and name not in _WHERE_SAID:
        return True
    if name in ("low", "high", "error"):
        return bool(column.null_count < len(column))
    return _varies(column, null=field is not None and field.optional)


def _varies(column: pa.ChunkedArray, *, null: bool) -> bool:
    """Whether it has several values; where null is none, it says that the field does not apply, as the tier does."""
    if pa.types.is_list(column.type):
        return len({str(value) for value in column.to_pylist()}) > 1
    return bool(pc.count_distinct(column, mode="all" if null else "only_valid").as_py() > 1)
