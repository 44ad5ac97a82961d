"""`bilin sweep plan`: what a launch would run."""

from __future__ import annotations

import typer

from bilin.cli.options import DEFAULT_STORE, Grid, Only, Overrides, Retry, Store


def plan(
    grid: Grid,
    store: Store = DEFAULT_STORE,
    set_: Overrides = [],
    only: Only = [],
    retry: Retry = "",
) -> None:
    """Show what a launch would run, what is done, and how long it will take. Writes nothing."""
    from bilin import orchestrator
    from bilin.cli.sweep.describe import describe_plan

    request = orchestrator.LaunchRequest.read(grid, store=store, overrides=set_, only=only, retry=split(retry))
    typer.echo(describe_plan(request.plan()))


def split(names: str) -> list[str]:
    """Split a list with commas into its names."""
    return [name.strip() for name in names.split(",") if name.strip()]
