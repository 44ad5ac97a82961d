"""`bilin sweep cancel`: end a sweep that runs."""

from __future__ import annotations

from typing import Annotated

import typer

from bilin.cli.options import DEFAULT_STORE, Store


def cancel(
    sweep: Annotated[str, typer.Argument(help="The sweep.", show_default=False)],
    store: Store = DEFAULT_STORE,
    grace: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.0, help="How long it may take to end; then it is killed.")
    ] = 60.0,
) -> None:
    """End a sweep that runs, from any terminal: running trials are kept, and the next launch goes on from there.

    Exit codes: 0 it runs no more, 2 there is no such sweep, 4 it cannot be ended from here.
    """
    from bilin.cli.sweep.background import describe_cancelled
    from bilin.orchestrator import background

    typer.echo(describe_cancelled(background.cancel(sweep, store=store, grace_s=grace), grace_s=grace))
