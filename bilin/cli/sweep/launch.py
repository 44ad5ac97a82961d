"""`bilin sweep launch`: run what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bilin.cli.options import DEFAULT_STORE, Grid, Only, Overrides, Retry, Store
from bilin.cli.sweep.plan import split


def launch(
    grid: Grid,
    store: Store = DEFAULT_STORE,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="local: a Ray of its own here; inline: in this process; ray: joins --address. [default: local]"
        ),
    ] = None,
    address: Annotated[str | None, typer.Option(help="A Ray that is up: HOST:PORT, ray://HOST:PORT or auto.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Trials at once. [default: as many as the CPUs allow]", show_default=False)
    ] = None,
    checkpoint_every: Annotated[
        float, typer.Option(metavar="SECONDS", help="How often a running trial keeps its state; 0: never.")
    ] = 300.0,
    set_: Overrides = [],
    only: Only = [],
    retry: Retry = "",
    detach: Annotated[
        bool, typer.Option("--detach", help="Run it in the background, whatever this terminal does.")
    ] = False,
) -> None:
    """Run every trial of a grid that has no result yet. Safe to repeat: it goes on where it was.

    Exit codes: 0 every wanted trial has a result (or runs in the background), 1 some failed, 2 the input is
    wrong, 3 interrupted, 4 the cluster cannot be used.
    """
    from bilin import orchestrator
    from bilin.cli.sweep.display import display
    from bilin.cli.sweep.words import describe_summary

    kind = cluster or ("ray" if address else "local")
    where = orchestrator.ClusterSpec(kind=kind, address=address, workers=workers, checkpoint_s=checkpoint_every)
    asked: dict[str, Any] = {"store": store, "only": only, "retry": split(retry)}
    if detach and _is_detached(grid, where, set_, asked):
        return
    with display() as observer:
        summary = orchestrator.launch(grid, cluster=where, overrides=set_, observer=observer, **asked)
    typer.echo(describe_summary(summary))
    raise typer.Exit(summary.exit_code)


def _is_detached(grid: Path, where: Any, overrides: list[str], asked: dict[str, Any]) -> bool:
    """Run it in the background, where there is something to run: whether there was."""
    from bilin import orchestrator
    from bilin.cli.sweep.running.words import describe_detached
    from bilin.orchestrator import running

    made = orchestrator.plan(grid, overrides=overrides, **asked)
    if not made.num_missing:
        return False
    if where.address:
        typer.echo(describe_detached(running.submit_job(made.grid, cluster=where, **asked)))
        return True
    started = running.detach(running.own_command(without="--detach"), sweep=made.grid.name, store=asked["store"])
    if started.exit_code is not None:
        typer.echo(started.log.read_text(errors="replace"), err=started.exit_code != 0, nl=False)
        raise typer.Exit(started.exit_code)
    typer.echo(describe_detached(started))
    return True
