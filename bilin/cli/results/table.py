"""`bilin results table`."""

from __future__ import annotations

from typing import Annotated

import typer

from bilin.cli.options import DEFAULT_STORE, Store
from bilin.cli.results.display import Everything, Format, Output, Sweep, show


def table(
    sweep: Sweep = None,
    length: Annotated[
        int | None,
        typer.Option(help="A tested length; by default the greatest of each task, or all with --by length."),
    ] = None,
    by: Annotated[str, typer.Option(help="The columns: task, or length with a table per task.")] = "task",
    value: Annotated[str, typer.Option(help="mean, low, high, best, lr, num_seeds or num_solved.")] = "mean",
    everything: Everything = False,
    format_: Format = "table",
    output: Output = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Show models against tasks, or against tested lengths, one number for each."""
    from bilin import results

    show(results.table(store, sweep=sweep, length=length, by=by, value=value, everything=everything), format_, output)
