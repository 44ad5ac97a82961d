"""`bilin sweep watch`: look at a sweep that another process runs."""

from __future__ import annotations

from typing import Annotated

import typer

from bilin.cli.options import DEFAULT_STORE, Store


def watch(
    sweep: Annotated[str, typer.Argument(help="The sweep.", show_default=False)],
    store: Store = DEFAULT_STORE,
) -> None:
    """Show a sweep while it runs, wherever it was launched, from the store alone. Ends with the sweep.

    Also waits for a sweep that waits in Slurm, or that is between two jobs.

    Ctrl-C does not stop the sweep. Exit codes are those of its launch: 0 every wanted trial has a result, 1 some
    failed, 3 it stopped before its end; and 2 there is no such sweep.
    """
    from bilin.cli.sweep.background import command, describe_ended
    from bilin.cli.sweep.display import display
    from bilin.cli.sweep.monitor.describe import describe_own_job
    from bilin.orchestrator import Ended, Queued, Snapshot
    from bilin.orchestrator import watch as look

    ended: Ended | None = None
    try:
        with display() as observer:
            for seen in look(sweep, store=store):
                if isinstance(seen, Snapshot):
                    observer(seen)
                elif isinstance(seen, Queued):
                    observer.wait(f"{sweep}: {describe_own_job(seen.job, seen.status)}")
                elif seen is not None:
                    ended = seen
    except KeyboardInterrupt:
        typer.echo(f"\n{sweep} runs on; to watch it again: {command('watch', sweep, store / sweep)}")
        return
    assert ended is not None
    typer.echo(describe_ended(ended))
    raise typer.Exit(ended.exit_code)
