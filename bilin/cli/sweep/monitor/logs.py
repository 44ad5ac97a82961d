"""`bilin sweep logs`: what a trial printed."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bilin.cli.options import DEFAULT_STORE, Store
from bilin.cli.sweep.monitor.why import Sweep


def logs(
    sweep: Sweep,
    trial: Annotated[str, typer.Argument(help="Id of a trial, or its first digits.", show_default=False)],
    store: Store = DEFAULT_STORE,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the trial has ended.")] = False,
) -> None:
    """Print what a trial wrote to its standard output and error, from whichever node it ran on."""
    from bilin import orchestrator

    empty = True
    for text in orchestrator.output(sweep, trial, store=store, follow=follow):
        empty = False
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    if empty:
        typer.echo("it has printed nothing", err=True)
