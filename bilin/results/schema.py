"""The columns of the stored tables, and how tables with different columns become one.

A trial's columns are: its ids; its cell, with one column for each field of every task and tier of bilin and of the
training; its learning rate and seed; its result; where it ran; and its whole spec as JSON. A part with trials of
another package's task or tier also has columns for its fields. New columns do not need a new schema version, since a
reader fills a missing column with null; a column that is removed or changes its meaning raises the version.

Rows of other packages must be readable where the package is not installed. So the metadata of each column that is a
field says whose field it is, in part files and in the rows of a query.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from bilin.fields import Value, fields_of
from bilin.models import MODELS, tier_settings
from bilin.record import LengthResult
from bilin.spec import TrainSpec
from bilin.tasks import TASKS, Task, task_settings

SCHEMA_VERSION = 1

TRAIN_COLUMNS: Mapping[str, str] = {
    name: {"steps": "max_steps", "lengths": "train_lengths"}.get(name, name) for name in fields_of(TrainSpec)
}
"""The column of each field of `TrainSpec`: ``steps`` are the steps taken, ``lengths`` the tested ones."""

RESULT_COLUMNS: Mapping[str, pa.DataType] = {
    "status": pa.string(),
    "stop_reason": pa.string(),
    "solved": pa.bool_(),
    "attempts": pa.int64(),
    "steps": pa.int64(),
    "params": pa.int64(),
    "recurrent_params": pa.int64(),
    "validation_accuracy": pa.float64(),
    "training_loss": pa.float64(),
    "rungs": pa.list_(pa.struct({"step": pa.int64(), "accuracy": pa.float64(), "loss": pa.float64()})),
    "wall_s": pa.float64(),
    "test_s": pa.float64(),
    "error": pa.string(),
    "traceback": pa.string(),
}
"""Attributes of `bilin.record.TrialResult` that are stored as they are."""

TIME_COLUMNS: Mapping[str, pa.DataType] = {"started_at": pa.timestamp("us"), "finished_at": pa.timestamp("us")}
"""Attributes of `bilin.record.TrialResult` in seconds since the epoch, stored as a time in UTC."""

ENVIRONMENT_COLUMNS: Mapping[str, pa.DataType] = {
    "threads": pa.int64(),
    "pack": pa.int64(),
    "device": pa.string(),
    "host": pa.string(),
    "pid": pa.int64(),
    "worker": pa.string(),
    "version": pa.string(),
    "commit": pa.string(),
    "cpu": pa.string(),
    "python": pa.string(),
    "torch": pa.string(),
    "task_package": pa.string(),
    "tier_package": pa.string(),
    "gpu": pa.string(),
    "gpu_memory_mb": pa.int64(),
}
"""Attributes of `bilin.record.Environment`; null if the trial never reached a worker."""

TESTED = pa.struct([(name, pa.int64()) for name in LengthResult._fields])
"""One tested length; null in a field that did not exist when the row was written."""

SEARCHED = pa.list_(pa.struct({"name": pa.string(), "value": pa.float64()}))
"""The values of the searched fields of a trial, sorted by their names; null if its cell has none."""

CURVES = pa.schema(
    {
        "trial_id": pa.string(),
        "step": pa.int64(),
        "length": pa.int64(),
        "loss": pa.float64(),
        "accuracy": pa.float64(),
    }
)

WANTED_SCHEMA = pa.schema(
    {
        "cell_id": pa.string(),
        "lrs": pa.list_(pa.float64()),
        "lr_low": pa.float64(),
        "lr_high": pa.float64(),
        "seeds": pa.list_(pa.int64()),
        "num_trials": pa.int64(),
        "test_lengths": pa.list_(pa.int64()),
        "num_sequences": pa.int64(),
        "points": pa.list_(pa.struct({"lr": pa.float64(), "searched": SEARCHED})),
        "ranges": pa.list_(pa.struct({"name": pa.string(), "low": pa.float64(), "high": pa.float64()})),
        "fields": pa.string(),
    }
)
"""What the grid as last launched wants, one row per cell; ``fields`` is JSON."""

_METADATA_KEY = b"bilin"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldInfo:
    """Whose field a column is.

    Attributes:
        blocks: The blocks that have the field: ``task``, ``tier`` or ``train``.
        required: The tasks and tiers for which it must be given.
        optional: Whether null is one of its values.
    """

    blocks: frozenset[str]
    required: frozenset[str] = frozenset()
    optional: bool = False

    def on(self, column: pa.Field) -> pa.Field:
        """Return a column with this in its metadata."""
        values = {"blocks": sorted(self.blocks), "required": sorted(self.required), "optional": self.optional}
        return column.with_metadata({_METADATA_KEY: json.dumps(values).encode()})


def field_info(column: pa.Field) -> FieldInfo | None:
    """Return whose field a column is, from its metadata; None if it is not a field."""
    text = (column.metadata or {}).get(_METADATA_KEY)
    if text is None:
        return None
    values = json.loads(text)
    blocks, required = frozenset(values["blocks"]), frozenset(values["required"])
    return FieldInfo(blocks=blocks, required=required, optional=values["optional"])


def fields_in(schema: pa.Schema, *blocks: str) -> list[str]:
    """Return the columns that are fields of some blocks, in order."""
    return [column.name for column in schema if (info := field_info(column)) and info.blocks.intersection(blocks)]


def cell_columns(schema: pa.Schema) -> list[str]:
    """Return the columns that describe a cell: its task, its tier, all their fields, and those of the training."""
    fields = {"task", "tier", "searched", *fields_in(schema, "task", "tier", "train")}
    return [name for name in schema.names if name in fields]


class Earlier(NamedTuple):
    """What null means in a column, for a task or tier: rows from before its field existed have null.

    Attributes:
        owner: ``task``, ``tier`` or ``train``.
        name: That of the task or tier; empty for the training.
    """

    column: str
    owner: str
    name: str
    value: Value


@functools.cache
def earlier_values() -> tuple[Earlier, ...]:
    """Return what null means in the columns of later fields. Null itself is the value of some, which are left out."""
    blocks: list[tuple[type, str, str]] = [(TrainSpec, "train", "")]
    blocks += [(task_settings(name), "task", name) for name in TASKS]
    blocks += [(tier_settings(name), "tier", name) for name in MODELS]
    return tuple(
        Earlier(TRAIN_COLUMNS[name] if owner == "train" else name, owner, owner_name, field.before)
        for block, owner, owner_name in blocks
        for name, field in fields_of(block).items()
        if field.before is not MISSING and field.before is not None
    )


@functools.cache
def trials_schema(others: frozenset[type] = frozenset()) -> pa.Schema:
    """Return the columns of a part of trials.

    Args:
        others: Settings of other packages that some of its trials have.
    """
    tasks = unite([pa.schema({"task": pa.string()}), *(_field_columns(task_settings(name)) for name in TASKS)])
    tiers = unite([pa.schema({"tier": pa.string()}), *(_field_columns(tier_settings(name)) for name in MODELS)])
    train = [column.with_name(TRAIN_COLUMNS[column.name]) for column in _field_columns(TrainSpec)]
    ids = pa.schema({"trial_id": pa.string(), "cell_id": pa.string()})
    rest = {"lr": pa.float64(), "seed": pa.int64(), **RESULT_COLUMNS, **TIME_COLUMNS, **ENVIRONMENT_COLUMNS}
    last = {"spec": pa.string(), "schema_version": pa.int64(), "found_in": pa.string(), "tested": pa.list_(TESTED)}
    own = pa.schema([*ids, *tasks, *tiers, *train, *pa.schema({"searched": SEARCHED, **rest, **last})])
    return unite([own, *map(_field_columns, sorted(others, key=lambda settings: settings.__qualname__))])


def _field_columns(settings: Any) -> pa.Schema:
    """Return a column for each field of a task, a tier or the training."""
    if settings is TrainSpec:
        block, name = "train", ""
    else:
        block, name = ("task", settings.name) if issubclass(settings, Task) else ("tier", settings.tier)
    columns = []
    for field in fields_of(settings).values():
        item = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}[field.type]
        info = FieldInfo(
            blocks=frozenset({block}),
            required=frozenset({name} if field.required else ()),
            optional=field.optional,
        )
        columns.append(info.on(pa.field(field.name, pa.list_(item) if field.is_list else item)))
    return pa.schema(columns)


def unite(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """Return the columns of all schemas, each once, beginning with those of the first in their order.

    Packages that never occur in one sweep may use a name for different things: a column of several types gets one
    that holds them all. Names that differ in case only are one column, as in SQL. Fields of other tasks are inserted
    after those of bilin's tasks, and fields of other tiers after those of its tiers.
    """
    first, *others = schemas
    columns = {column.name.lower(): column for column in first}
    for column in itertools.chain.from_iterable(others):
        key = column.name.lower()
        columns[key] = _united(columns[key], column) if key in columns else column
    known = {column.name.lower() for column in first}
    new = [column for key, column in columns.items() if key not in known]
    ordered: list[pa.Field] = []
    for column in (columns[column.name.lower()] for column in first):
        block = {"tier": "task", "max_steps": "tier"}.get(column.name)
        ordered += [other for other in new if block and (info := field_info(other)) and block in info.blocks]
        ordered.append(column)
    return pa.schema([*ordered, *(column for column in new if column not in ordered)])


def table_of(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    """Return rows, each in the order of a schema, as a table."""
    return table_of_columns(zip(*rows, strict=True) if rows else [[] for _ in schema], schema)


def table_of_columns(columns: Iterable[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    """Return columns, in the order of a schema, as a table."""
    return pa.table([pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)], schema)


def has_types_of(schema: pa.Schema, united: pa.Schema) -> bool:
    """Return whether the columns of a schema have the names and types that they have in a united schema."""
    return all(
        (index := united.get_field_index(column.name)) >= 0 and column.type == united.field(index).type
        for column in schema
    )


def conforms(schema: pa.Schema, united: pa.Schema) -> bool:
    """Return whether Arrow can read a file of a schema as one of a united schema without `conform`."""
    return all(
        united.get_field_index(column.name) >= 0
        and pa.types.is_list(column.type) == pa.types.is_list(united.field(column.name).type)
        for column in schema
    )


def conform(table: pa.Table, united: pa.Schema) -> pa.Table:
    """Return a table with the names, types and order of a united schema, without the columns that it lacks."""
    if table.schema == united:
        return table
    names = {name.lower(): name for name in table.column_names}
    shared = [column for column in united if column.name.lower() in names]
    arrays = [_cast(table[names[column.name.lower()]], column.type) for column in shared]
    return pa.table(arrays, schema=pa.schema(shared))


def with_metadata_of(columns: pa.Schema, schema: pa.Schema) -> pa.Schema:
    """Return columns with the metadata that those of the same names have in a schema. DuckDB loses it."""
    metadata = {column.name: column.metadata for column in schema}
    return pa.schema([column.with_metadata(metadata.get(column.name)) for column in columns])


def _united(one: pa.Field, other: pa.Field) -> pa.Field:
    if one.equals(other, check_metadata=True):
        return one
    column = one.with_type(_common_type(one.type, other.type))
    a, b = field_info(one), field_info(other)
    if a is None or b is None:
        return column
    info = FieldInfo(blocks=a.blocks | b.blocks, required=a.required | b.required, optional=a.optional or b.optional)
    return info.on(column)


def _common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return a type that holds the values of both; if there is no other, text."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(_common_type(one.value_type, other.value_type))
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        return pa.struct(unite([pa.schema(list(one)), pa.schema(list(other))]))
    if all(pa.types.is_integer(type_) or pa.types.is_floating(type_) for type_ in (one, other)):
        return pa.float64()
    return pa.string()


def _cast(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_list(column.type) and not pa.types.is_list(type_):
        texts = [None if value is None else json.dumps(value) for value in column.to_pylist()]
        return pa.chunked_array([texts], pa.string())
    return column.cast(type_)
