"""`bilin sweep show`: one trial."""

from __future__ import annotations

from typing import Annotated

import typer

from bilin.cli.options import DEFAULT_STORE, Store


def show(
    trial: Annotated[str, typer.Argument(help="Id of a trial, or its first digits.", show_default=False)],
    store: Store = DEFAULT_STORE,
    sweep: Annotated[str | None, typer.Option(help="Look in one sweep only.")] = None,
    grid: Annotated[bool, typer.Option("--grid", help="Print the grid.yaml that repeats this trial, alone.")] = False,
) -> None:
    """Show a trial: its spec, its result, where it ran, and how to repeat it."""
    from bilin import orchestrator
    from bilin.cli.sweep.monitor.describe import describe_trial

    found = orchestrator.find_trial(trial, store=store, sweep=sweep)
    typer.echo(orchestrator.repeat_grid(found) if grid else describe_trial(found, store=store))
