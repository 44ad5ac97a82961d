"""Options that several of these commands have, and the output of their tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bilin.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bilin.results import ResultTable
    from bilin.results.result_table import Section


def _formats() -> list[str]:
    from bilin.results import Format

    return list(Format)


def _known_format(name: str) -> str:
    if name not in _formats():
        raise typer.BadParameter(f"found {name}; accepted: {', '.join(_formats())}")
    return name


Sweep = Annotated[str | None, typer.Option("--sweep", help="Look at this sweep only.", show_default=False)]
Everything = Annotated[
    bool, typer.Option("--all", help="Include rows that the grid of the last launch does not ask for.")
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="<table|csv|json|markdown|parquet>",  # written out: `--help` does not load Arrow
        callback=_known_format,
        autocompletion=_formats,
        help="How to write the rows.",
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", help="Write to this file instead of the terminal.", show_default=False)
]

_GAP = 2
"""Spaces between two columns."""

_MAX_LINES = 2
"""A row that takes more lines of the terminal than this is shown as a list of its values."""


def show(table: ResultTable, format_: str, output: Path | None = None) -> None:
    """Write a table to a file or to standard output; a terminal gets colours."""
    from bilin.results import Format, encode

    if output is None and sys.stdout.isatty():
        if format_ == Format.TABLE:
            _draw(table)
            return
        if format_ == Format.PARQUET:
            raise InputError("Parquet cannot be shown on a terminal: name a file with --output, or use a pipe")
    content = encode(table, Format(format_))
    if output is None:
        typer.echo(content, nl=False)
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror}") from error
    typer.echo(f"written to {output}", err=True)


def _draw(table: ResultTable) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    for section in table.sections():
        console = Console()
        texts = section.texts()
        labels = [column.heading for column in section.columns]
        width = sum(max(map(cell_len, column)) + _GAP for column in zip(labels, *texts, strict=True)) - _GAP
        if section.title:
            console.print(Text(section.title, style="bold"))
        elif width > _MAX_LINES * console.width:
            console.print(_records(labels, texts))
            continue
        console.width = max(console.width, width)  # wrap long lines, cut nothing
        console.print(_grid(section, texts))
        if section.title:
            console.print()
    if table.note:
        typer.echo(table.note)


def _grid(section: Section, texts: Sequence[Sequence[str]]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in section.columns:
        grid.add_column(Text(column.heading), no_wrap=True, justify="right" if column.right_aligned else "left")
    for row, values in zip(texts, section.rows, strict=True):
        grid.add_row(*(Text(text, style=_style(text, value)) for text, value in zip(row, values, strict=True)))
    return grid


def _style(text: str, value: Any) -> str:
    """Highlight solved cells, and dim those at chance or without a value."""
    from bilin.results.result_table import MISSING, Estimate

    if isinstance(value, Estimate) and text.startswith("1.00"):
        return "green"
    return "dim" if text == MISSING or (isinstance(value, Estimate) and text.startswith("0.00")) else ""


def _records(labels: Sequence[str], texts: Sequence[Sequence[str]]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, _GAP))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for row in texts:
        for label, text in zip(labels, row, strict=True):
            table.add_row(Text(label), Text(text))
        table.add_row()
    return table
