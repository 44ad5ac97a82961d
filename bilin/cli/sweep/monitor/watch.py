"""`bilin sweep watch`: look at a sweep that another process runs."""

from __future__ import annotations

from typing import Annotated

import typer

from bilin.cli.options import DEFAULT_STORE, Store


def watch(
    sweep: Annotated[str, typer.Argument(help="The sweep.", show_default=False)],
    store: Store = DEFAULT_STORE,
) -> None:
    """Show a sweep while it runs, however and wherever it was launched, from the store alone. Ends with the sweep.

    One that waits in Slurm is waited for, and so is one between two jobs.

    Ctrl-C leaves the sweep alone. Exit codes: as those of its launch, 0 every wanted trial has a result, 1 some
    failed, 3 it ended before its end; 2 there is no such sweep.
    """
    from bilin.cli.sweep.background import command, describe_ended
    from bilin.cli.sweep.display import display
    from bilin.cli.sweep.words import describe_own_job
    from bilin.orchestrator import Ended, Queued, SweepState
    from bilin.orchestrator import watch as look

    ended: Ended | None = None
    try:
        with display() as observer:
            for seen in look(sweep, store=store):
                if isinstance(seen, SweepState):
                    observer(seen)
                elif isinstance(seen, Queued):
                    observer.wait(f"{sweep}: {describe_own_job(seen.job, seen.status)}")
                elif seen is not None:
                    ended = seen
    except KeyboardInterrupt:
        again = command("watch", sweep, store / sweep)
        typer.echo(f"\n{sweep}: no longer watched, and left alone; to watch it again: {again}")
        return
    assert ended is not None
    typer.echo(describe_ended(ended))
    raise typer.Exit(ended.exit_code)
