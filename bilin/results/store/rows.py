"""What is stored, as Arrow tables: the rows of trials and curves, and what the grid wants.

The columns of a cell and its part of the JSON are the same for all its trials, and are computed once.
"""

from __future__ import annotations

import functools
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from bilin.fields import plain_value, values_of
from bilin.record import TrialResult, microseconds
from bilin.registry import package_of
from bilin.results.schema import (
    CURVES,
    ENVIRONMENT_COLUMNS,
    RESULT_COLUMNS,
    SCHEMA_VERSION,
    TESTED,
    TRAIN_COLUMNS,
    WANTED_SCHEMA,
    cell_columns,
    table_of,
    table_of_columns,
    trials_schema,
)
from bilin.rules import round_to_digits
from bilin.spec import Cell, Point, Resources, TestSpec, TrialSpec, describe

_result_values = attrgetter(*RESULT_COLUMNS)
_environment_values = attrgetter(*ENVIRONMENT_COLUMNS)
_wanted_values = attrgetter(*WANTED_SCHEMA.names)
_NO_ENVIRONMENT = (None,) * len(ENVIRONMENT_COLUMNS)


class Bounds(NamedTuple):
    """The lowest and highest value of a searched field."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRow:
    """What the grid as last launched wants of one cell.

    Attributes:
        lrs: The learning rates to try; None for a search between ``lr_low`` and ``lr_high``.
        ranges: The lowest and highest value of each further field of such a search.
        points: The points of a search of more fields that has ended; ``lrs`` is then None.
        num_sequences: How many sequences each of ``test_lengths`` is tested on.
        fields: The columns that describe the cell, as JSON (see `fields_json`); None in stores of earlier versions.
    """

    cell_id: str
    lrs: tuple[float, ...] | None = None
    lr_low: float | None = None
    lr_high: float | None = None
    seeds: tuple[int, ...]
    num_trials: int
    test_lengths: tuple[int, ...]
    num_sequences: int
    points: tuple[Point, ...] | None = None
    ranges: tuple[Bounds, ...] | None = None
    fields: str | None = None

    def has(self, point: Point) -> bool:
        """Return whether a point is one of those to try, or may be one."""
        if self.points is not None:
            return point in self.points
        if self.lrs is not None:
            return point.lr in self.lrs
        if self.lr_low is None or self.lr_high is None:
            return False
        values = {"lr": point.lr, **dict(point.searched)}
        bounds = (Bounds("lr", self.lr_low, self.lr_high), *(self.ranges or ()))
        return all(name in values and low <= values[name] <= high for name, low, high in bounds)


def trials_table(pairs: Sequence[tuple[TrialSpec, TrialResult]]) -> pa.Table:
    """Return one row per trial."""
    blocks = {type(block) for spec, _ in pairs for block in (spec.cell.task, spec.cell.model)}
    others = frozenset(settings for settings in blocks if package_of(settings) is not None)
    return table_of([_row(spec, result, others) for spec, result in pairs], trials_schema(others))


def curves_table(results: Iterable[TrialResult]) -> pa.Table:
    """Return one row an evaluation and length, in the order of the trials."""
    columns: list[list[Any]] = [[] for _ in CURVES]
    for result in results:
        columns[0] += [result.trial_id] * len(result.curve)
        for column, values in zip(columns[1:], result.curve.columns, strict=True):
            column += values
    return table_of_columns(columns, CURVES)


def add_tests(rows: pa.Table, results: Mapping[str, tuple[TrialSpec, TrialResult]]) -> pa.Table:
    """Return rows of trials with the lengths of other results of the same trials added, and the time of the tests."""
    tested, test_s, specs = [], [], []
    before = rows["test_s"].to_pylist() if "test_s" in rows.column_names else [None] * rows.num_rows
    columns = (rows[name].to_pylist() for name in ("trial_id", "tested", "spec"))
    for trial_id, lengths, spec_json, seconds in zip(*columns, before, strict=True):
        spec, result = results[trial_id]
        new = {length.length: length._asdict() for length in result.lengths}
        merged = {**{length["length"]: length for length in lengths}, **new}
        tested.append([merged[length] for length in sorted(merged)])
        test_s.append((seconds or 0.0) + (result.test_s or 0.0))
        specs.append(json.dumps({**json.loads(spec_json), "test": json.loads(_json(spec.test))}))
    columns_after = {"tested": pa.array(tested, pa.list_(TESTED)), "test_s": pa.array(test_s, pa.float64())}
    for name, column in {**columns_after, "spec": pa.array(specs, pa.string())}.items():
        index = rows.schema.get_field_index(name)
        field = pa.field(name, column.type)
        rows = rows.set_column(index, field, column) if index >= 0 else rows.append_column(field, column)
    return rows


def encode_wanted(cells: Iterable[WantedRow]) -> bytes:
    """Return a Parquet file of what is wanted.

    Learning rates are rounded: one that is asked for may be the bound of its search, or the bound rounded.
    """
    rows = [_wanted_values(cell) for cell in cells]
    plain = [
        (*values, points and [*map(_plain_point, points)], ranges and [bounds._asdict() for bounds in ranges], fields)
        for *values, points, ranges, fields in rows
    ]
    columns = table_of(plain, WANTED_SCHEMA).to_pydict()
    for name, outer in (("lr_low", min), ("lr_high", max)):
        columns[name] = [bound and outer(bound, round_to_digits(bound)) for bound in columns[name]]
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, WANTED_SCHEMA), buffer, compression="zstd")
    return buffer.getvalue()


def parse_wanted(content: bytes) -> pa.Table:
    """Return a file of what is wanted as a table of schema `WANTED_SCHEMA`.

    Raises:
        Exception: One of `UNREADABLE`: it is not such a file.
    """
    with pq.ParquetFile(pa.BufferReader(content)) as file:  # `read_table` imports Arrow's datasets
        table = file.read()
    for name in {"points", "ranges", "fields"}.difference(
        table.column_names
    ):  # a file of a version before they existed
        column = WANTED_SCHEMA.field(name)
        table = table.append_column(column, pa.nulls(table.num_rows, column.type))
    table = table.select(WANTED_SCHEMA.names)
    table.validate(full=True)
    return table.cast(WANTED_SCHEMA)


def wanted_rows(wanted: pa.Table) -> Iterator[WantedRow]:
    """Yield the rows of a table of schema `WANTED_SCHEMA`."""
    columns = [_lists(column) if pa.types.is_list(column.type) else column.to_pylist() for column in wanted.columns]
    for *values, points, ranges, fields in zip(*columns, strict=True):
        yield WantedRow(
            **dict(zip(WANTED_SCHEMA.names[:-3], values, strict=True)),
            points=points and tuple(to_point(**point) for point in points),
            ranges=ranges and tuple(Bounds(**bounds) for bounds in ranges),
            fields=fields,
        )


def to_point(lr: float, searched: Sequence[Mapping[str, Any]] | None) -> Point:
    """Return a point as a row has it."""
    return Point(lr, tuple((value["name"], value["value"]) for value in searched or ()))


def _plain_point(point: Point) -> dict[str, Any]:
    return {"lr": point.lr, "searched": _plain_searched(point.searched)}


def _plain_searched(searched: Iterable[tuple[str, float]]) -> list[dict[str, Any]] | None:
    return [{"name": name, "value": value} for name, value in searched] or None


def _lists(column: pa.ChunkedArray) -> list[tuple[Any, ...] | None]:
    """Return the lists of a column, much faster than `to_pylist`."""
    found: list[tuple[Any, ...] | None] = []
    for chunk in column.chunks:
        values = iter(chunk.flatten().to_pylist())
        lengths = chunk.value_lengths().to_pylist()
        found += [None if length is None else tuple(itertools.islice(values, length)) for length in lengths]
    return found


@functools.lru_cache(maxsize=4096)
def _shared_by_cell(cell: Cell, others: frozenset[type]) -> tuple[tuple[Any, ...], str]:
    """Return what all trials of a cell share: its id and its columns, and its JSON without the last brace."""
    values = {**_fields(cell), "searched": _plain_searched(cell.searched_values)}
    columns = (values.get(name) for name in _cell_columns(others))
    return (cell.cell_id, *columns), json.dumps(describe(cell))[:-1]


@functools.cache
def _cell_columns(others: frozenset[type]) -> Sequence[str]:
    return cell_columns(trials_schema(others))


def _fields(cell: Cell) -> dict[str, Any]:
    """Return the columns that describe a cell, without what is searched."""
    return {
        "task": cell.task.name,
        **values_of(cell.task),
        "tier": cell.model.tier,
        **values_of(cell.model),
        **{TRAIN_COLUMNS[name]: value for name, value in values_of(cell.train).items()},
        "supervision": cell.supervision,
    }


def fields_json(cell: Cell) -> str:
    """Return the columns that describe a cell as JSON; a searched field has no value yet."""
    searched = [{"name": name, "value": None} for name in cell.searched]
    unknown = dict.fromkeys(cell.searched)
    return json.dumps({**_fields(cell), **unknown, "searched": searched or None})


@functools.lru_cache(maxsize=256)
def _json(block: TestSpec | Resources) -> str:
    return json.dumps({name: plain_value(value) for name, value in values_of(block).items()})


def _row(spec: TrialSpec, result: TrialResult, others: frozenset[type]) -> tuple[Any, ...]:
    """Return a row in the order of `trials_schema`."""
    cell_values, cell_json = _shared_by_cell(spec.cell, others)
    searched = f', "searched": {json.dumps(spec.cell.searched)}' if spec.cell.searched else ""
    document = (
        f'{cell_json}{searched}, "lr": {spec.lr!r}, "seed": {spec.seed}, '
        f'"test": {_json(spec.test)}, "resources": {_json(spec.resources)}}}'
    )
    return (
        result.trial_id,
        *cell_values,
        spec.lr,
        spec.seed,
        *_result_values(result),
        microseconds(result.started_at) or None,
        microseconds(result.finished_at) or None,
        *(_environment_values(result.environment) if result.environment else _NO_ENVIRONMENT),
        document,
        SCHEMA_VERSION,
        None,  # it was found nowhere else
        result.lengths,
    )
