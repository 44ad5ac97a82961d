"""`bilin sweep status`: how sweeps stand."""

from __future__ import annotations

from typing import Annotated

import typer

from bilin.cli.options import DEFAULT_STORE, Store


def status(
    name: Annotated[str | None, typer.Argument(help="One sweep; all of the store without.", show_default=False)] = None,
    store: Store = DEFAULT_STORE,
    everything: Annotated[bool, typer.Option("--all", help="Count rows that the grid no longer wants too.")] = False,
) -> None:
    """Show how a sweep stands, by the grid as it was last launched. Reads the store alone."""
    from bilin import orchestrator
    from bilin.cli.sweep.monitor.describe import describe_status

    found = {name: orchestrator.status(name, store=store)} if name else orchestrator.statuses(store=store)
    for sweep, how in found.items():
        typer.echo(describe_status(sweep, how, everything=everything))
