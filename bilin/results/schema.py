"""The columns of the stored tables, their types, and the version of it all.

A trial's columns are: its ids; its cell, one column a field of every task and tier of bilin and of the
training; its rate and seed; what came back; where it ran; and its whole spec as JSON. A part with trials of
another package's task or tier has columns for its fields too. New columns may come without a new version,
since a reader fills what a file lacks with null; a column that goes, or means something else, raises it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from bilin.fields import fields_of
from bilin.models import MODELS, tier_settings
from bilin.record import LengthResult
from bilin.results.columns import field_columns, fields_in, unite
from bilin.spec import TrainSpec
from bilin.tasks import TASKS, Task, task_settings

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
    "task_package": pa.string(),
    "tier_package": pa.string(),
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
    }
)
"""What the grid as last launched wants, one row a cell."""


@functools.cache
def trials_schema(others: frozenset[type] = frozenset()) -> pa.Schema:
    """The columns of a part of trials.

    Args:
        others: Settings of other packages that some of its trials have.
    """
    rest = {"lr": pa.float64(), "seed": pa.int64(), **RESULT_COLUMNS, **TIME_COLUMNS, **ENVIRONMENT_COLUMNS}
    end = {"spec": pa.string(), "schema_version": pa.int64(), "tested": pa.list_(TESTED)}
    ids = {"trial_id": pa.string(), "cell_id": pa.string()}
    own = pa.schema([*pa.schema(ids), *_cell_columns(), *pa.schema({**rest, **end})])
    return unite(
        [own, *(_columns_of(settings) for settings in sorted(others, key=lambda settings: settings.__qualname__))]
    )


def cell_columns(schema: pa.Schema) -> list[str]:
    """Those of the columns that describe a cell: its task, tier and training, every field of each."""
    fields = {"task", "tier", *fields_in(schema, "task", "tier", "train")}
    return [name for name in schema.names if name in fields]


def _cell_columns() -> pa.Schema:
    tasks = [_columns_of(task_settings(name)) for name in TASKS]
    tiers = [_columns_of(tier_settings(name)) for name in MODELS]
    train = [column.with_name(TRAIN_COLUMNS[column.name]) for column in field_columns(TrainSpec, "train")]
    names = pa.schema({"task": pa.string()}), pa.schema({"tier": pa.string()})
    return pa.schema([*unite([names[0], *tasks]), *unite([names[1], *tiers]), *train])


def _columns_of(settings: Any) -> pa.Schema:
    """A column for each field of a task or tier."""
    block, name = ("task", settings.name) if issubclass(settings, Task) else ("tier", settings.tier)
    return pa.schema(field_columns(settings, block, name))
