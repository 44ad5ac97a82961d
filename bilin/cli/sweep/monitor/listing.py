"""`bilin sweep list`: the sweeps of a store."""

from __future__ import annotations

import typer

from bilin.cli.options import DEFAULT_STORE, Store


def list_sweeps(store: Store = DEFAULT_STORE) -> None:
    """List the sweeps of a store, a line each."""
    from bilin import orchestrator
    from bilin.cli.sweep.monitor.describe import describe_list

    typer.echo(describe_list(orchestrator.statuses(store=store)))
