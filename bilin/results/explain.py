"""What each column of each view is: its type, its unit and its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from bilin.fields import fields_of
from bilin.folder import DEFAULT_STORE
from bilin.models import MODELS, tier_settings
from bilin.results.result_table import ResultTable
from bilin.results.schema import TRAIN_COLUMNS, field_info
from bilin.results.sql.query import query
from bilin.results.sql.views import VIEWS
from bilin.spec import TrainSpec
from bilin.tasks import TASKS, task_settings

_COLUMNS = pa.schema(
    {"view": pa.string(), "column": pa.string(), "type": pa.string(), "unit": pa.string(), "meaning": pa.string()}
)

_MEANINGS: Mapping[str, tuple[str, str]] = {
    "sweep": ("", "name of the sweep"),
    "trial_id": ("", "16 hexadecimal digits: a hash of everything that determines the result"),
    "cell_id": ("", "16 hexadecimal digits: the same without the learning rate and the seed"),
    "task": ("", "name of the task"),
    "tier": ("", "name of the tier"),
    "searched": ("", "name and value of each searched field; null without"),
    "lr": ("", "learning rate"),
    "cells.lr": ("", "selected learning rate; null if all trials failed"),
    "seed": ("", "seed of the weights and of the training data"),
    "status": ("", "done, diverged, pruned, failed, oom, hardware, internal or lost"),
    "stop_reason": (
        "",
        "why training ended: solved, budget (all steps used), diverged, rung (stopped by a pruner), or "
        "asynchronous_rung (stopped by an asynchronous pruner: run again, the sweep may stop others)",
    ),
    "solved": ("", "whether the last two evaluations were perfect at all training, validation and mixed lengths"),
    "attempts": ("", "how many times the trial was started"),
    "steps": ("steps", "training steps taken"),
    "params": ("", "trainable parameters"),
    "recurrent_params": ("", "trainable parameters without embedding, positions, initial state and readout"),
    "validation_accuracy": (
        "share",
        "lowest accuracy over training, validation and mixed lengths at the last evaluation",
    ),
    "training_loss": ("nats", "mean loss on new training sequences at the last evaluation"),
    "rungs": ("", "step, accuracy and loss at each rung of a pruner that the trial reached; null without a pruner"),
    "wall_s": ("s", "time of the trial on its worker; of a pack, its share"),
    "test_s": ("s", "time of its tests"),
    "error": ("", "error message of a failed trial, on one line"),
    "traceback": ("", "traceback of a failed trial"),
    "started_at": ("UTC", "when the trial started"),
    "finished_at": ("UTC", "when the trial ended"),
    "threads": ("", "threads of the trial"),
    "pack": ("trials", "trials that were computed together"),
    "device": ("", "cpu or cuda, with its number"),
    "host": ("", "name of the host"),
    "pid": ("", "process id"),
    "worker": ("", "name of the worker"),
    "version": ("", "version of bilin"),
    "commit": ("", "commit of bilin, if known"),
    "cpu": ("", "name of the processor"),
    "python": ("", "version of Python"),
    "torch": ("", "version of torch"),
    "task_package": ("", "package of the task; null for bilin's own"),
    "tier_package": ("", "package of the tier; null for bilin's own"),
    "gpu": ("", "name of the GPU; null on a CPU"),
    "gpu_memory_mb": ("MB", "memory of the GPU"),
    "spec": ("JSON", "every field of the trial"),
    "schema_version": ("", "version of the schema when the row was written"),
    "found_in": ("", "sweep from which the row was copied; null if the trial ran in this sweep"),
    "selected": ("", "whether the trial is at the learning rate that its cell selects"),
    "length": ("tokens", "tested length"),
    "curves.length": (
        "tokens",
        "validation length; null for all training lengths together, 0 for mixed lengths beyond them",
    ),
    "published.length": ("tokens", "tested length; null for lengths 40 to 256 together"),
    "accuracy": ("share", "share of sequences whose last label is correct"),
    "curves.accuracy": ("share", "share of correct sequences"),
    "low": ("share", "lower end of the 95 % Wilson interval of accuracy"),
    "high": ("share", "upper end of the 95 % Wilson interval of accuracy"),
    "cells.low": ("scaled", "lower end of the 95 % t interval of mean over the seeds; null for one seed"),
    "cells.high": ("scaled", "upper end of the 95 % t interval of mean over the seeds; null for one seed"),
    "accuracy_scaled": ("scaled", "accuracy scaled so that 0 is chance and 1 is perfect"),
    "low_scaled": ("scaled", "low, scaled in the same way"),
    "high_scaled": ("scaled", "high, scaled in the same way"),
    "sequence_accuracy": ("share", "share of sequences with every label correct"),
    "nonfinite": ("share", "share of sequences with a logit that is not finite, which counts as wrong"),
    "num_sequences": ("", "number of tested sequences"),
    "step": ("steps", "training step"),
    "loss": ("nats", "mean loss"),
    "num_seeds": ("", "seeds tested at the selected learning rate"),
    "num_solved": ("", "seeds solved at the selected learning rate"),
    "mean": ("scaled", "mean of the scaled accuracy over these seeds"),
    "min": ("scaled", "lowest scaled accuracy of these seeds"),
    "max": ("scaled", "highest scaled accuracy of these seeds"),
    "best": ("scaled", "highest scaled accuracy of any learning rate and seed"),
    "seeds": ("", "the tested seeds"),
    "scores": ("scaled", "the scaled accuracy of each"),
    "mixed": ("", "versions in which trials of the cell differ; null if they agree"),
    "mixed_hardware": ("", "the same for processors and GPUs"),
    "source": ("", "the paper"),
}
"""Unit and meaning of each column that is not a field; one of a single view has its name before."""

_UNITS = {"max_steps": "steps"}
"""Units of fields."""


def explain(view: str | None = None, *, store: Path | str = DEFAULT_STORE, sweep: str | None = None) -> ResultTable:
    """Return every column of a view, or of all views, with its type, unit and meaning.

    Raises:
        QueryError: There is no such view.
        StoreError: The store or sweep does not exist, or cannot be read.
    """
    fields = _fields()
    rows = [
        (name, column.name, _type(column.type), *_explained(name, column, fields))
        for name in ([view] if view else VIEWS)
        for column in query(store=store, sweep=sweep, view=name, limit=0).schema
    ]
    columns = zip(*rows, strict=True)
    return ResultTable.of(pa.table([pa.array(each, pa.string()) for each in columns], _COLUMNS))


def _explained(view: str, column: pa.Field, fields: Mapping[str, str]) -> tuple[str, str]:
    name = column.name
    if found := _MEANINGS.get(f"{view}.{name}") or _MEANINGS.get(name):
        return found
    if name in fields:
        return _UNITS.get(name, ""), fields[name]
    info = field_info(column)
    return "", f"field of a {' or '.join(sorted(info.blocks))}" if info else ""


def _fields() -> dict[str, str]:
    """Return what the fields of bilin's tasks, tiers and training mean, by the names of their columns.

    If a field means different things, each has the names of the tasks or tiers before it.
    """
    owners: dict[str, dict[str, list[str]]] = {}
    settings_of = {name: task_settings(name) for name in TASKS} | {name: tier_settings(name) for name in MODELS}
    for owner, settings in settings_of.items():
        for name, field in fields_of(settings).items():
            owners.setdefault(name, {}).setdefault(field.doc, []).append(owner)
    meanings = {
        name: " | ".join(f"{', '.join(docs[doc])}: {doc}" if len(docs) > 1 else doc for doc in docs)
        for name, docs in owners.items()
    }
    return meanings | {TRAIN_COLUMNS[name]: field.doc for name, field in fields_of(TrainSpec).items()}


def _type(type_: pa.DataType) -> str:
    """Return a type by the name that SQL has for it."""
    if pa.types.is_list(type_):
        return f"{_type(type_.value_type)}[]"
    names = {"string": "text", "int64": "integer", "double": "float", "bool": "boolean", "timestamp[us]": "timestamp"}
    return "struct" if pa.types.is_struct(type_) else names.get(str(type_), str(type_))
