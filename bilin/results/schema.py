"""The columns of the stored tables, their types, and the version of it all.

A trial's columns are: its ids; its cell, one column a field of every task and tier that bilin knows and
of the training; its rate and seed; what came back; where it ran; and its whole spec as JSON. New
columns may come without a new version, since a reader fills what a file lacks with null; a column that
goes, or means something else, raises it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

import pyarrow as pa

from bilin.fields import Field, fields_of
from bilin.models import MODELS, tier_settings
from bilin.record import LengthResult
from bilin.spec import TrainSpec
from bilin.tasks import TASKS, task_settings

SCHEMA_VERSION = 1

TRAIN_COLUMNS: Mapping[str, str] = {
    name: {"steps": "max_steps", "lengths": "train_lengths"}.get(name, name) for name in fields_of(TrainSpec)
}
"""The column of each field of `TrainSpec`: ``steps`` are the steps taken, ``lengths`` the tested ones."""

TIMESTAMP = pa.timestamp("us")

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
    "wall_s": pa.float64(),
    "error": pa.string(),
    "traceback": pa.string(),
}
"""Attributes of `bilin.record.TrialResult` that are stored as they are."""

TIME_COLUMNS: Mapping[str, pa.DataType] = {"started_at": TIMESTAMP, "finished_at": TIMESTAMP}
"""Attributes of `bilin.record.TrialResult` in seconds since the epoch, stored as a time in UTC."""

ENVIRONMENT_COLUMNS: Mapping[str, pa.DataType] = {
    "threads": pa.int64(),
    "device": pa.string(),
    "host": pa.string(),
    "pid": pa.int64(),
    "worker": pa.string(),
    "version": pa.string(),
    "commit": pa.string(),
    "cpu": pa.string(),
    "python": pa.string(),
    "torch": pa.string(),
}
"""Attributes of `bilin.record.Environment`; null where the trial never reached a worker."""

TESTED = pa.struct([(name, pa.int64()) for name in LengthResult._fields])
"""One tested length; what a row was written without is null."""

CURVES = pa.schema(
    {
        "trial_id": pa.string(),
        "step": pa.int64(),
        "length": pa.int64(),
        "loss": pa.float64(),
        "accuracy": pa.float64(),
    }
)


@functools.cache
def cell_columns() -> Mapping[str, pa.DataType]:
    """The columns that describe a cell: its task, tier and training, every field of each."""
    tasks = _union(fields_of(task_settings(name)).values() for name in TASKS)
    tiers = _union(fields_of(tier_settings(name)).values() for name in MODELS)
    train = {TRAIN_COLUMNS[name]: arrow_type(field) for name, field in fields_of(TrainSpec).items()}
    return {"task": pa.string(), **tasks, "tier": pa.string(), **tiers, **train}


@functools.cache
def trials_schema() -> pa.Schema:
    """The columns of a part of trials."""
    return pa.schema(
        {
            "trial_id": pa.string(),
            "cell_id": pa.string(),
            **cell_columns(),
            "lr": pa.float64(),
            "seed": pa.int64(),
            **RESULT_COLUMNS,
            **TIME_COLUMNS,
            **ENVIRONMENT_COLUMNS,
            "spec": pa.string(),
            "schema_version": pa.int64(),
            "tested": pa.list_(TESTED),
        }
    )


def arrow_type(field: Field) -> pa.DataType:
    """The type of the column that holds a declared field."""
    item = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}[field.type]
    return pa.list_(item) if field.is_list else item


def _union(blocks: Iterable[Iterable[Field]]) -> dict[str, pa.DataType]:
    columns: dict[str, pa.DataType] = {}
    for fields in blocks:
        for field in fields:
            column = columns.setdefault(field.name, arrow_type(field))
            if column != arrow_type(field):
                raise TypeError(f"field {field.name!r} is {column} in one place and {arrow_type(field)} in another")
    return columns
