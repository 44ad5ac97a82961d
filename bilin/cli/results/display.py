"""Rows on a terminal through rich; anywhere else as the bytes of their format."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bilin.cli.results.options import OutputFormat
from bilin.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table
    from rich.text import Text


def show(rows: pa.Table, format_: OutputFormat, output: Path | None = None, *, caption: str | None = None) -> None:
    """Write rows to a file, or to standard output."""
    from bilin.results import Format, encode

    if output is None and sys.stdout.isatty():
        if format_ is OutputFormat.table:
            _draw(rows, caption)
            return
        if format_ is OutputFormat.parquet:
            raise InputError("Parquet is nothing to read on a terminal: name a file with --output, or pipe it on")
    content = encode(rows, Format(format_))
    if caption and format_ in (OutputFormat.table, OutputFormat.markdown):
        content += f"\n{caption}\n".encode()
    if output is None:
        typer.echo(content, nl=False)
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror}") from error
    typer.echo(f"{rows.num_rows} rows written to {output}", err=True)


def _draw(rows: pa.Table, caption: str | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from bilin.results import is_number, readable

    console = Console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for field in rows.schema:
        table.add_column(Text(field.name), justify="right" if is_number(field.type) else "left", no_wrap=True)
    columns = [[Text(readable(value)) for value in column.to_pylist()] for column in rows.columns]
    for row in zip(*columns, strict=True):
        table.add_row(*row)
    if console.measure(table).minimum > console.width:
        table = _records(rows.column_names, columns)
    console.print(table)
    if caption:
        console.print(Text(f"\n{caption}", style="italic"))


def _records(names: Sequence[str], columns: Sequence[Sequence[Text]]) -> Table:
    """One line a value: for rows that are wider than the terminal."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2), expand=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for row in zip(*columns, strict=True):
        for name, value in zip(names, row, strict=True):
            table.add_row(name, value)
        table.add_row()
    return table
