"""Options that several of these commands have, and the output of their tables."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from bilin.cli import complete
from bilin.cli.text import wrap
from bilin.errors import InputError, unknown
from bilin.units import plural

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from bilin import results
    from bilin.results import Question, ResultTable
    from bilin.results.result_table import Section


def _formats() -> list[str]:
    from bilin.results import Format

    return list(Format)


def _known_format(name: str | None) -> str | None:
    if name is not None and name not in _formats():
        raise typer.BadParameter(unknown("format", name, _formats()))
    return name


Sweep = Annotated[
    str | None,
    typer.Option("--sweep", help="Look at this sweep only.", show_default=False, autocompletion=complete.sweeps),
]
Everything = Annotated[
    bool, typer.Option("--all", help="Include rows that the grid of the last launch does not ask for.")
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="<table|csv|json|markdown|latex|html|parquet>",  # written out: `--help` does not load Arrow
        callback=_known_format,
        autocompletion=_formats,
        help="How to write the rows: by default as the ending of --output says, else table.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write to this file instead of the terminal.", show_default=False
    ),
]

_MAX_ROWS = 10_000
"""Rows that people see if they name no limit."""

_GAP = 2
"""Spaces between two columns."""

_HIDDEN_FIRST = (
    "attempts", "best", "num_sequences", "nonfinite", "sequence_accuracy", "num_solved", "wall_s", "max", "min",
    "high", "low", "num_seeds", "training_loss", "stop_reason", "steps", "selected",
)  # fmt: skip
"""The columns of a view that are left out, as many as it takes, if a row takes several lines of a terminal."""

_NAMED_ONCE = ("task", "status", "sweep")
"""Those that are left out then too if all rows have one value, which is named below them."""

_MAX_LINES = 2
"""A row that takes more lines of the terminal than this is shown as a list of its values."""


def show(table: ResultTable, format_: str | None = None, output: Path | None = None) -> None:
    """Write a table to a file or to standard output; a terminal gets colours."""
    from bilin.results import Format, encode, output_file

    format_ = _chosen_format(format_, output)
    if output is not None:
        with output_file(output) as file:
            file.write(encode(table, format_))
        typer.echo(f"written to {output}", err=True)
    elif format_ is Format.TABLE and sys.stdout.isatty():
        _draw(table)
    else:
        with _standard_output() as file:
            file.write(encode(table, format_))


def show_rows(question: Question, format_: str | None, output: Path | None) -> None:
    """Show the answer to a question: to machines all of it, as it comes; to people as many rows as can be read."""
    from bilin.results import Format, ResultTable, brief, export

    format_ = _chosen_format(format_, output)
    if not format_.is_for_machines:
        is_cut = question.limit is None
        rows = (replace(question, limit=_MAX_ROWS + 1) if is_cut else question).rows()
        if is_cut and rows.num_rows > _MAX_ROWS:
            rows = rows.slice(0, _MAX_ROWS)
            typer.echo(f"only the first {_MAX_ROWS:,} rows: name a --limit, or write all with --format csv", err=True)
        is_brief = question.view is not None and question.select is None and format_ is Format.TABLE
        shown = ResultTable.of(brief(rows) if is_brief else rows)
        is_chosen = question.sql is not None or question.select is not None or format_ is not Format.TABLE
        show(shown if is_chosen or output is not None or not sys.stdout.isatty() else _fitted(shown), format_, output)
        return
    if output is not None:
        export(question, format_, output)
        typer.echo(f"written to {output}", err=True)
    else:
        with _standard_output() as file:
            export(question, format_, file)


def _fitted(table: ResultTable) -> ResultTable:
    """Return the rows of a view without columns that a terminal has no room for; if these are too few, all columns."""
    from rich.cells import cell_len
    from rich.console import Console

    from bilin.results import ResultTable

    (section,) = table.sections()
    names, texts = [column.heading for column in section.columns], section.texts()
    values = dict(zip(names, map(list, zip(*texts, strict=True)), strict=True)) if texts else {}
    widths = {name: _GAP + max(map(cell_len, [name, *values[name]])) for name in values}
    equal = [name for name in _NAMED_ONCE if name in values and len({*values[name]}) == 1]
    room, hidden = Console().width + _GAP, list[str]()
    for name in (*equal, *_HIDDEN_FIRST):
        if name in widths and sum(widths.values()) > room:
            hidden.append(name)
            del widths[name]
    if not hidden or sum(widths.values()) > room:
        return table
    named = ", ".join(f"{name} {values[name][0]}" for name in hidden if name in equal)
    others = [name for name in hidden if name not in equal]
    notes = [f"in every row: {named}"] if named else []
    if others:
        count = plural(len(others), "column")
        notes.append(f"{count} hidden ({', '.join(others)}): a wider terminal, --select or --format csv shows them")
    columns = [column for column in table.columns if column.name in widths]
    return ResultTable(data=table.data.select([*widths]), columns=columns, note="\n".join(notes))


def _chosen_format(name: str | None, output: Path | None) -> results.Format:
    """Return the format that the user names, or else that of the file to write."""
    from bilin.results import Format

    by_ending = Format.of_file(output) if output is not None else None
    if output is not None and name is by_ending is None and output.suffix.lower() not in ("", ".txt"):
        raise InputError(
            f"found --output {output}; accepted without --format: names that end in .csv, .json, .md, .tex, .html, "
            ".parquet or .txt"
        )
    format_ = by_ending or Format.TABLE if name is None else Format(name)
    if by_ending not in (None, format_):
        raise InputError(
            f"found --format {format_} and --output {output}, which ends as {by_ending} does: "
            "leave out --format, or change the ending"
        )
    if format_ is Format.PARQUET and output is None and sys.stdout.isatty():
        raise InputError("Parquet cannot be shown on a terminal: name a file with --output, or use a pipe")
    return format_


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    """Write to standard output until its reader leaves, as in ``| head -1``."""
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more in the end
        raise typer.Exit from None


def _draw(table: ResultTable) -> None:
    """Show a table on a terminal. Long lines break between columns, and nothing is cut.

    A section whose rows have names becomes several tables, each with the columns of the names. Of one without, each
    row takes several lines, or is shown as a list of its values if these would be too many.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for section in table.sections():
        texts = section.texts()
        labels = [column.heading for column in section.columns]
        widths = [max(map(cell_len, column)) for column in zip(labels, *texts, strict=True)]
        blocks = _blocks(section, widths, console.width)
        in_blocks = bool(section.title) or any(column.section is None for column in section.columns)
        if not in_blocks and len(blocks) > _MAX_LINES:
            console.print(_records(labels, texts))
            continue
        lines = [[Text(label, style="bold") for label in labels]]
        for row, values in zip(texts, section.rows, strict=True):
            lines.append([_styled(text, value) for text, value in zip(row, values, strict=True)])
        for line in lines:
            for text, column, width in zip(line, section.columns, widths, strict=True):
                text.align("right" if column.right_aligned else "left", width)
        if section.title:
            console.print(Text(section.title, style="bold"))
        if in_blocks:
            shown = [[line[index] for index in block] for block in blocks for line in lines]
        else:
            shown = [[line[index] for index in block] for line in lines for block in blocks]
        for line in shown:
            joined = Text(" " * _GAP).join(line)
            joined.rstrip()
            console.print(joined, soft_wrap=True)
        if in_blocks:
            console.print()
    if table.note:
        typer.echo("\n".join(wrap(table.note, console.width)))


def _blocks(section: Section, widths: Sequence[int], width: int) -> list[list[int]]:
    """Return the columns of a section in blocks that fit into a width, each with the columns of all sections.

    A column stays with those that follow it.
    """
    shared = [index for index, column in enumerate(section.columns) if column.section is None]
    groups: list[list[int]] = []
    for index in range(len(shared), len(widths)):
        if groups and section.columns[index].follows:
            groups[-1].append(index)
        else:
            groups.append([index])
    blocks: list[list[int]] = []
    left = 0
    for group in groups:
        needed = sum(widths[index] + _GAP for index in group)
        if not blocks or needed - _GAP > left:
            blocks.append(list(shared))
            left = width - sum(widths[each] + _GAP for each in shared)
        blocks[-1] += group
        left -= needed
    return blocks or [shared]


def _styled(text: str, value: Any) -> Text:
    """Highlight solved cells and the best numbers, and dim those at chance or without a value."""
    from rich.text import Text

    from bilin.results.result_table import MISSING, Estimate

    if not isinstance(value, Estimate):
        return Text(text, style="dim" if text == MISSING else "")
    is_dim = value.value is None or float(value.number) == 0
    styled = Text(text, style="green" if value.is_share and value.value == 1 else "dim" if is_dim else "")
    if value.is_best:
        styled.stylize("bold", 0, len(value.number))
    return styled


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
