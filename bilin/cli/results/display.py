"""Rows on a terminal through rich; anywhere else as the bytes of their format."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bilin.cli.results.options import OutputFormat
from bilin.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

_GAP = 2
"""Blanks between two columns."""

_MOST_LINES = 2
"""A row that would take more lines of the terminal than this is shown as a list of its values."""


def show(rows: pa.Table, format_: OutputFormat, output: Path | None = None) -> None:
    """Write rows to standard output, or to a file."""
    from bilin.results import Format, encode

    if _on_terminal(output):
        if format_ is OutputFormat.table:
            _draw(rows)
            return
        if format_ is OutputFormat.parquet:
            raise InputError("Parquet is nothing to read on a terminal: name a file with --output, or pipe it on")
    _write(encode(rows, Format(format_)), output)


def show_sections(sections: Mapping[str, pa.Table], caption: str, format_: OutputFormat, output: Path | None) -> None:
    """Write tables for people, each under its heading, and what they show below them."""
    from bilin.results import Format, encode

    if _on_terminal(output) and format_ is OutputFormat.table:
        for heading, rows in sections.items():
            _draw_section(heading, rows)
        typer.echo(caption)
        return
    texts = [f"{heading}\n\n{encode(rows, Format(format_)).decode()}\n" for heading, rows in sections.items()]
    _write("".join([*texts, f"{caption}\n"]).encode(), output)


def _on_terminal(output: Path | None) -> bool:
    return output is None and sys.stdout.isatty()


def _write(content: bytes, output: Path | None) -> None:
    if output is None:
        typer.echo(content, nl=False)
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror}") from error
    typer.echo(f"written to {output}", err=True)


def _draw(rows: pa.Table) -> None:
    """A table, or a line for each value where the rows are much wider than the terminal."""
    from rich.console import Console

    from bilin.results import is_number, readable

    console = Console()
    columns = [[readable(value) for value in column.to_pylist()] for column in rows.columns]
    width = _width(rows.column_names, columns)
    if width > _MOST_LINES * console.width:
        console.print(_records(rows.column_names, columns))
        return
    console.width = max(console.width, width)  # rather wrapped than cut
    table = _table(rows.column_names, columns)
    for column, field in zip(table.columns, rows.schema, strict=True):
        column.justify = "right" if is_number(field.type) else "left"
    console.print(table)


def _draw_section(heading: str, rows: pa.Table) -> None:
    from rich.console import Console
    from rich.text import Text

    columns = [column.to_pylist() for column in rows.columns]
    console = Console()
    console.width = max(console.width, _width(rows.column_names, columns))  # rather wrapped than cut
    console.print(Text(heading, style="bold"))
    console.print(_table(rows.column_names, columns, style=_style))
    console.print()


def _width(names: Sequence[str], columns: Sequence[Sequence[str]]) -> int:
    from rich.cells import cell_len

    widths = [max(map(cell_len, [name, *texts])) for name, texts in zip(names, columns, strict=True)]
    return sum(widths) + _GAP * (len(widths) - 1)


def _table(names: Sequence[str], columns: Sequence[Sequence[str]], style: Callable[[str], str] | None = None) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(Text(name), no_wrap=True)
    for row in zip(*columns, strict=True):
        table.add_row(*(Text(text, style=style(text) if style else "") for text in row))
    return table


def _style(text: str) -> str:
    """What is solved stands out, and chance and nothing step back."""
    if text.startswith("1.00"):
        return "green"
    return "dim" if text.startswith(("0.00", "–")) else ""  # noqa: RUF001 (the dash of a missing value)


def _records(names: Sequence[str], columns: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for row in zip(*columns, strict=True):
        for name, text in zip(names, row, strict=True):
            table.add_row(Text(name), Text(text))
        table.add_row()
    return table
