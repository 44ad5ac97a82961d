"""What the grid as last launched wants of each cell.

Views show by default what is wanted now; a row that an earlier grid left stays in the store.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from bilin.rules import round_lr

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


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRow:
    """What is wanted of one cell.

    Attributes:
        lrs: The rates to try; None for a search between ``lr_low`` and ``lr_high``.
        num_trials: How many trials are planned.
        test_lengths: The lengths to test, each on ``num_sequences`` sequences.
    """

    cell_id: str
    lrs: tuple[float, ...] | None = None
    lr_low: float | None = None
    lr_high: float | None = None
    seeds: tuple[int, ...]
    num_trials: int
    test_lengths: tuple[int, ...]
    num_sequences: int


def encode_wanted(cells: Iterable[WantedRow]) -> bytes:
    """What is wanted, as a file. The bounds of a search are rounded as its rates are, so that these lie within."""
    rows = [
        (
            cell.cell_id,
            cell.lrs,
            None if cell.lr_low is None else round_lr(cell.lr_low),
            None if cell.lr_high is None else round_lr(cell.lr_high),
            cell.seeds,
            cell.num_trials,
            cell.test_lengths,
            cell.num_sequences,
        )
        for cell in cells
    ]
    columns = zip(*rows, strict=True) if rows else [[] for _ in WANTED_SCHEMA]
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, WANTED_SCHEMA, strict=True)]
    buffer = io.BytesIO()
    pq.write_table(pa.table(arrays, WANTED_SCHEMA), buffer, compression="zstd")
    return buffer.getvalue()


def parse_wanted(content: bytes) -> pa.Table:
    """A file of what is wanted, as a table of schema `WANTED_SCHEMA`; raises where it is none."""
    table = pq.read_table(pa.BufferReader(content), partitioning=None).select(WANTED_SCHEMA.names)
    table.validate(full=True)
    return table.cast(WANTED_SCHEMA)


def wanted_rows(table: pa.Table) -> list[WantedRow]:
    """What is wanted, a cell at a time."""
    return [
        WantedRow(
            cell_id=row["cell_id"],
            lrs=None if row["lrs"] is None else tuple(row["lrs"]),
            lr_low=row["lr_low"],
            lr_high=row["lr_high"],
            seeds=tuple(row["seeds"]),
            num_trials=row["num_trials"],
            test_lengths=tuple(row["test_lengths"]),
            num_sequences=row["num_sequences"],
        )
        for row in table.to_pylist()
    ]
