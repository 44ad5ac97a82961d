"""What the grid as last launched wants of each cell, and that grid itself.

Views show by default what is wanted now; a row that an earlier grid left stays in the store.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bilin.errors import StoreError
from bilin.results.store.durable import replace_file
from bilin.results.store.paths import sweep_directory
from bilin.rules import round_rate

WANTED = pa.schema(
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

_WANTED = "wanted.parquet"
_GRID = "grid.json"


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


def write_wanted(directory: Path, cells: Iterable[WantedRow]) -> None:
    """Replace what is wanted. The bounds of a search are rounded as its rates are, so that these lie within."""
    rows = [
        (
            cell.cell_id,
            cell.lrs,
            None if cell.lr_low is None else round_rate(cell.lr_low),
            None if cell.lr_high is None else round_rate(cell.lr_high),
            cell.seeds,
            cell.num_trials,
            cell.test_lengths,
            cell.num_sequences,
        )
        for cell in cells
    ]
    columns = zip(*rows, strict=True) if rows else [[] for _ in WANTED]
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, WANTED, strict=True)]
    buffer = io.BytesIO()
    pq.write_table(pa.table(arrays, WANTED), buffer, compression="zstd")
    replace_file(directory / _WANTED, buffer.getvalue())


def read_wanted(directory: Path) -> pa.Table | None:
    """What is wanted, as a table of schema `WANTED`; None where no grid was launched.

    Raises:
        StoreError: The file cannot be read.
    """
    path = directory / _WANTED
    try:
        return pq.read_table(path, schema=WANTED, partitioning=None)
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read ({error}): launch the sweep again, and it is written anew") from error


def wanted(store: Path | str, sweep: str) -> list[WantedRow] | None:
    """What is wanted, a cell at a time; None where no grid was launched."""
    table = read_wanted(sweep_directory(store, sweep))
    if table is None:
        return None
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


def write_grid(directory: Path, text: str) -> None:
    """Replace the resolved grid."""
    replace_file(directory / _GRID, text.encode())


def grid(store: Path | str, sweep: str) -> str | None:
    """The resolved grid of a sweep as it was last launched; None where there was none."""
    try:
        return (sweep_directory(store, sweep) / _GRID).read_text()
    except FileNotFoundError:
        return None
