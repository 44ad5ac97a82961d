"""`bilin sweep cancel`: end a running sweep."""

from __future__ import annotations

from typing import Annotated

import typer

from bilin.cli.options import DEFAULT_STORE, Store


def cancel(
    sweep: Annotated[str, typer.Argument(help="The sweep.", show_default=False)],
    store: Store = DEFAULT_STORE,
    grace: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.0, help="How long it may take to end before it is killed.")
    ] = 60.0,
) -> None:
    """End a running sweep, from any terminal. Running trials are checkpointed, and the next launch continues them.

    Exit codes: 0 the sweep has ended, 2 there is no such sweep, 4 it cannot be ended from here.
    """
    from bilin.cli.sweep.background import describe_cancelled
    from bilin.orchestrator import background

    typer.echo(describe_cancelled(background.cancel(sweep, store=store, grace_s=grace), grace_s=grace))
