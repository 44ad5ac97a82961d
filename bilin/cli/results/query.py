"""`bilin results query`."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from bilin.cli.options import DEFAULT_STORE, Store
from bilin.cli.results.display import show
from bilin.cli.results.options import Everything, Format, Output, OutputFormat, Sweep


def query(
    sql: Annotated[str | None, typer.Argument(help="One SELECT over the views of the store.")] = None,
    sweep: Sweep = None,
    view: Annotated[str | None, typer.Option(help="Without SQL: cells (default), trials, lengths, …")] = None,
    where: Annotated[str | None, typer.Option(help="A condition, such as \"tier = 'cp' and m > 3\".")] = None,
    select: Annotated[str | None, typer.Option(help="Columns or expressions; * for all.")] = None,
    sort: Annotated[str | None, typer.Option(help="Columns to sort by, such as 'm, mean desc'.")] = None,
    limit: Annotated[int | None, typer.Option(help="The greatest number of rows.")] = None,
    everything: Everything = False,
    format_: Format = OutputFormat.table,
    output: Output = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Show results: every cell at its selected learning rate, or what is asked for."""
    from bilin import results

    if sql is None and view is None and select is None and format_ not in (OutputFormat.table, OutputFormat.markdown):
        view = "cells"  # with all its columns: a script's must not change with what varies
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is written, and DuckDB would go on computing
    rows = results.query(
        sql,
        store=store,
        sweep=sweep,
        view=view,
        where=where,
        select=select,
        sort=sort,
        limit=limit,
        everything=everything,
    )
    if view is not None and select is None and format_ is OutputFormat.table:
        rows = results.brief(rows)
    show(rows, format_, output)
