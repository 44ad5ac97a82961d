"""From trials to the rows that are stored.

What the trials of a cell share, its columns and its part of the JSON, is made once a cell.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import pyarrow as pa

from bilin.fields import plain_value, values_of
from bilin.record import LengthResult, TrialResult
from bilin.registry import package_of
from bilin.results.schema import (
    CURVES,
    ENVIRONMENT_COLUMNS,
    RESULT_COLUMNS,
    SCHEMA_VERSION,
    TESTED,
    TRAIN_COLUMNS,
    cell_columns,
    trials_schema,
)
from bilin.spec import Cell, Resources, TestSpec, TrialSpec, describe

Pairs = Sequence[tuple[TrialSpec, TrialResult]]

_result_values = attrgetter(*RESULT_COLUMNS)
_environment_values = attrgetter(*ENVIRONMENT_COLUMNS)
_NO_ENVIRONMENT = (None,) * len(ENVIRONMENT_COLUMNS)


def trials_table(pairs: Pairs) -> pa.Table:
    """One row a trial."""
    others = frozenset(
        block for block in {type(block) for spec, _ in pairs for block in (spec.cell.task, spec.cell.model)}
        if package_of(block) is not None
    )  # fmt: skip
    schema = trials_schema(others)
    columns: list[Any] = list(zip(*(_row(spec, result, others) for spec, result in pairs), strict=True))
    columns.append(_tested([result.lengths for _, result in pairs]))
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, type=field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.table(arrays, schema=schema)


def curves_table(results: Iterable[TrialResult]) -> pa.Table:
    """One row an evaluation and length, in the order of the trials."""
    rows = [
        (result.trial_id, point.step, point.length, point.loss, point.accuracy)
        for result in results
        for point in result.curve
    ]
    columns = zip(*rows, strict=True) if rows else [[] for _ in CURVES]
    return pa.table([pa.array(column, type=field.type) for column, field in zip(columns, CURVES, strict=True)], CURVES)


@dataclass(frozen=True, slots=True)
class _CellPart:
    """What every trial of a cell has in its row: its id, its columns, and its JSON up to the last brace."""

    cell_id: str
    values: tuple[Any, ...]
    json_head: str


@functools.lru_cache(maxsize=4096)
def _cell_part(cell: Cell, others: frozenset[type]) -> _CellPart:
    values = {
        "task": cell.task.name,
        **values_of(cell.task),
        "tier": cell.model.tier,
        **values_of(cell.model),
        **{TRAIN_COLUMNS[name]: value for name, value in values_of(cell.train).items()},
        "supervision": cell.supervision,
    }
    return _CellPart(
        cell_id=cell.cell_id,
        values=tuple(values.get(name) for name in cell_columns(trials_schema(others))),
        json_head=json.dumps(describe(cell))[:-1],
    )


@functools.lru_cache(maxsize=256)
def _json(block: TestSpec | Resources) -> str:
    return json.dumps({name: plain_value(value) for name, value in values_of(block).items()})


def _row(spec: TrialSpec, result: TrialResult, others: frozenset[type]) -> tuple[Any, ...]:
    cell = _cell_part(spec.cell, others)
    document = (
        f'{cell.json_head}, "lr": {spec.lr!r}, "seed": {spec.seed}, '
        f'"test": {_json(spec.test)}, "resources": {_json(spec.resources)}}}'
    )
    return (
        result.trial_id,
        cell.cell_id,
        *cell.values,
        spec.lr,
        spec.seed,
        *_result_values(result),
        _microseconds(result.started_at),
        _microseconds(result.finished_at),
        *(_environment_values(result.environment) if result.environment else _NO_ENVIRONMENT),
        document,
        SCHEMA_VERSION,
    )


def _microseconds(seconds: float) -> int | None:
    return round(seconds * 1e6) or None


def _tested(trials: Sequence[Sequence[LengthResult]]) -> pa.Array:
    flat = [length for lengths in trials for length in lengths]
    offsets = itertools.accumulate((len(lengths) for lengths in trials), initial=0)
    children = [pa.array([getattr(length, field.name) for length in flat], type=field.type) for field in TESTED]
    items = pa.StructArray.from_arrays(children, fields=list(TESTED))
    return pa.ListArray.from_arrays(pa.array(offsets, type=pa.int32()), items)
