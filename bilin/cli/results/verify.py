"""`bilin results verify`."""

from __future__ import annotations

import typer

from bilin.cli.options import DEFAULT_STORE, Store
from bilin.cli.results.display import Sweep


def verify(sweep: Sweep = None, store: Store = DEFAULT_STORE) -> None:
    """Read the whole store and list what is damaged. Changes nothing.

    Exit codes: 0 nothing is damaged, 1 something is damaged, 2 the store cannot be read.
    """
    from bilin import results

    sweeps = results.verify(store, sweep)
    for health in sweeps:
        typer.echo(health)
        for damage in health.damage:
            typer.echo(f"  {damage}")
    raise typer.Exit(1 if any(health.damage for health in sweeps) else 0)
