"""Which columns of a view to show where none are asked for: those that vary, and those that always matter."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from bilin.fields import Field, fields_of
from bilin.models import MODELS, tier_settings
from bilin.results.schema import ENVIRONMENT_COLUMNS, TIME_COLUMNS, TRAIN_COLUMNS, cell_columns
from bilin.spec import TrainSpec
from bilin.tasks import TASKS, task_settings

_LEFT_OUT = {"cell_id", "params", "recurrent_params", "spec", "traceback", "schema_version"} | (
    {*ENVIRONMENT_COLUMNS, *TIME_COLUMNS} - {"device"}
)
_WHERE_SAID = {"sweep", "stop_reason", "error", "low", "high", "device"}
"""Shown where they say something: several sweeps, an error, an interval."""


def brief(table: pa.Table) -> pa.Table:
    """The rows of a view without the columns that say nothing here."""
    return table.select([name for name in table.column_names if name not in _LEFT_OUT and _says_something(table, name)])


def _says_something(table: pa.Table, name: str) -> bool:
    column = table[name]
    if name in _matters():
        return bool(column.null_count < len(column)) or not len(column)
    if name not in cell_columns() and name not in _WHERE_SAID:
        return True
    if name in ("low", "high", "error"):
        return bool(column.null_count < len(column))
    return _varies(name, column)


def _varies(name: str, column: pa.ChunkedArray) -> bool:
    if pa.types.is_list(column.type):
        return len({str(value) for value in column.to_pylist()}) > 1
    # where null is no value, it says that the field does not apply, which the tier says already
    mode = "all" if name in _nullable() else "only_valid"
    return bool(pc.count_distinct(column, mode=mode).as_py() > 1)


@functools.cache
def _matters() -> frozenset[str]:
    """The task, the tier, and the fields that every grid must give them."""
    return frozenset({"task", "tier", *(name for name, field in _fields() if field.required)})


@functools.cache
def _nullable() -> frozenset[str]:
    """The fields for which null is a value."""
    return frozenset(name for name, field in _fields() if field.optional)


def _fields() -> Iterator[tuple[str, Field]]:
    """The declared field of each column of a cell."""
    for block in [*map(task_settings, TASKS), *map(tier_settings, MODELS)]:
        yield from fields_of(block).items()
    for name, field in fields_of(TrainSpec).items():
        yield TRAIN_COLUMNS[name], field
