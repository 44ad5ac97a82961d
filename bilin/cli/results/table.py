"""`bilin results table`."""

from __future__ import annotations

from typing import Annotated

import typer

from bilin.cli.options import DEFAULT_STORE, Store
from bilin.cli.results.display import show, show_sections
from bilin.cli.results.options import Everything, Format, Output, OutputFormat, Sweep


def table(
    sweep: Sweep = None,
    length: Annotated[
        int | None, typer.Option(help="A tested length; without, the greatest of each task, or by length all.")
    ] = None,
    by: Annotated[str, typer.Option(help="What the columns are: task, or length with a table a task.")] = "task",
    value: Annotated[str, typer.Option(help="mean, low, high, best, lr, num_seeds or num_solved.")] = "mean",
    everything: Everything = False,
    format_: Format = OutputFormat.table,
    output: Output = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Show models against tasks, or against tested lengths, one number for each."""
    from bilin import results

    hierarchy = results.hierarchy(store, sweep=sweep, length=length, by=by, value=value, everything=everything)
    if format_ in (OutputFormat.table, OutputFormat.markdown):
        show_sections(hierarchy.texts(), hierarchy.caption, format_, output)
    else:
        show(hierarchy.numbers(), format_, output)
