"""`bilin results query`."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from bilin.cli.options import DEFAULT_STORE, Store
from bilin.cli.results.display import Everything, Format, Output, Sweep, show


def query(
    sql: Annotated[str | None, typer.Argument(help="One SELECT over the views of the store.")] = None,
    sweep: Sweep = None,
    view: Annotated[
        str | None,
        typer.Option(help="The view if there is no SQL: cells (default), trials, lengths, curves or published."),
    ] = None,
    where: Annotated[str | None, typer.Option(help="A condition, for example \"tier = 'cp' and m > 3\".")] = None,
    select: Annotated[str | None, typer.Option(help="Columns or expressions; * for all.")] = None,
    sort: Annotated[str | None, typer.Option(help="Columns to sort by, for example 'm, mean desc'.")] = None,
    limit: Annotated[int | None, typer.Option(help="The greatest number of rows.")] = None,
    everything: Everything = False,
    format_: Format = "table",
    output: Output = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Show results: by default, every cell at its selected learning rate."""
    from bilin import results

    if sql is None and view is None and select is None and format_ not in ("table", "markdown"):
        view = "cells"  # a script always gets all columns, whichever vary
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is written, and DuckDB would continue to compute
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
    if view is not None and select is None and format_ == "table":
        rows = results.brief(rows)
    show(results.ResultTable.of(rows), format_, output)
