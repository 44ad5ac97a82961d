"""`bilin results report`: a page about sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bilin.cli.options import DEFAULT_STORE, Store
from bilin.cli.results.display import Everything
from bilin.errors import InputError


def report(
    sweeps: Annotated[
        list[str] | None,
        typer.Argument(metavar="SWEEP", help="The sweeps to show; by default all of the store.", show_default=False),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page; its name ends in .html.")
    ] = Path("report.html"),
    stat: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="How the seeds become one number with an interval, as for `table`.", show_default=False
        ),
    ] = None,
    everything: Everything = False,
    store: Store = DEFAULT_STORE,
) -> None:
    """Write a page about sweeps that needs no network: tables, figures, trials, failures, and how to repeat it."""
    from bilin import results

    if output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"found {output}; accepted: names that end in .html")
    page = results.report(store, sweeps or (), stat=stat, everything=everything)
    with results.output_file(output) as file:
        file.write(page.encode())
    typer.echo(f"written to {output}", err=True)
