"""`bilin sweep why`: what became of a trial, or why it does not run."""

from __future__ import annotations

from typing import Annotated

import typer

from bilin.cli.options import DEFAULT_STORE, Store

Sweep = Annotated[str, typer.Argument(help="Name of the sweep.", show_default=False)]


def why(
    sweep: Sweep,
    trial: Annotated[str, typer.Argument(help="Id of a trial, or of a cell, or its first digits.", show_default=False)],
    store: Store = DEFAULT_STORE,
) -> None:
    """Say what became of a trial, or why it does not run. Reads the store alone, from any machine that sees it."""
    from bilin import orchestrator
    from bilin.cli.sweep.monitor.describe import describe_why

    for found in orchestrator.why(sweep, trial, store=store):
        typer.echo(describe_why(found, store=store))
