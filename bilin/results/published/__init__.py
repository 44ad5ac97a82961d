"""Published accuracies as data: one file per table, whose head names the paper and describes the table."""

from __future__ import annotations

from importlib.resources import files

import pyarrow as pa

SOURCES = {"bilinear_ood500.csv": "arXiv 2505.21749", "fixed_point.csv": "arXiv 2503.10799, table 4"}
"""The paper of each file."""

COLUMNS = pa.schema(
    {
        "source": pa.string(),
        "task": pa.string(),
        "m": pa.int64(),
        "tier": pa.string(),
        "block_size": pa.int64(),
        "rank": pa.int64(),
        "layers": pa.int64(),
        "mixer": pa.string(),
        "mixer_rank": pa.int64(),
        "eigenvalues": pa.string(),
        "hidden": pa.int64(),
        "max_steps": pa.int64(),
        "schedule": pa.string(),
        "normalize": pa.string(),
        "stop_when_solved": pa.bool_(),
        "length": pa.int64(),
        "accuracy_scaled": pa.float64(),
    }
)


def published() -> pa.Table:
    """Return the published accuracies, scaled so that chance is 0. Null means not stated, or not applicable.

    For Mamba and the transformer on modular addition, one number is published for 1, 2 and 4 layers together.
    """
    from pyarrow import csv

    tables = [COLUMNS.empty_table()]
    for name, source in SOURCES.items():
        content = files(__package__).joinpath(name).read_bytes()
        table = csv.read_csv(
            pa.BufferReader(content),
            csv.ReadOptions(skip_rows=sum(line.startswith(b"#") for line in content.splitlines())),
            convert_options=csv.ConvertOptions(column_types=COLUMNS, strings_can_be_null=True),
        )
        tables.append(table.append_column("source", pa.repeat(pa.scalar(source), table.num_rows)))
    return pa.concat_tables(tables, promote_options="default").select(COLUMNS.names)
