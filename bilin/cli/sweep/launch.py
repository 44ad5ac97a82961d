"""`bilin sweep launch`: run what is missing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bilin.cli.options import DEFAULT_STORE, Grid, Only, Overrides, Retry, Store
from bilin.cli.sweep.plan import split
from bilin.errors import InputError

if TYPE_CHECKING:
    from bilin.orchestrator import Summary


def launch(
    grid: Grid,
    store: Store = DEFAULT_STORE,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="local: a Ray of its own here; inline: in this process; ray: joins --address; slurm: submits a job; "
            "allocation: on the nodes of the job that this runs in. [default: local]"
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
    nodes: Annotated[str | None, typer.Option(help="Nodes of the job: a number, or 1-8. As cluster.nodes.")] = None,
    profile: Annotated[
        Path | None, typer.Option(help="Settings of the job for those that the grid's cluster lacks.", metavar="FILE")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the job's batch script alone; do nothing.")] = False,
) -> None:
    """Run every trial of a grid that has no result yet. Safe to repeat: it goes on where it was.

    With --cluster slurm a job does so, and this returns at once.

    Exit codes: 0 every wanted trial has a result (or runs in the background, or in a job), 1 some failed, 2 the
    input is wrong, 3 interrupted, 4 the cluster cannot be used.
    """
    from bilin import orchestrator
    from bilin.cli.sweep.display import display
    from bilin.cli.sweep.words import describe_summary

    is_job = cluster == "slurm"
    kind = "allocation" if is_job else cluster or ("ray" if address else "local")  # what the job's script says
    if is_job and detach:
        raise InputError("--detach is for a sweep that needs this terminal, and a job of Slurm needs none: drop it")
    where = orchestrator.ClusterSpec(kind=kind, address=address, workers=workers, checkpoint_s=checkpoint_every)
    asked: dict[str, Any] = {"store": store, "only": only, "retry": split(retry)}
    if is_job:
        settings = [f"cluster.nodes={nodes}"] if nodes is not None else []
        asked |= {"cluster": where, "profile": profile, "overrides": [*set_, *settings]}
        if (ended := _submitted(grid, asked, dry_run=dry_run)) is None:
            return
    else:
        _refuse_settings({"--nodes": nodes, "--profile": profile, "--dry-run": dry_run or None})
        if detach and _is_detached(grid, where, set_, asked):
            return
        given = grid if str(grid) != "-" else _piped(set_, only)
        with display() as observer:
            ended = orchestrator.launch(given, cluster=where, overrides=set_, observer=observer, **asked)
    typer.echo(describe_summary(ended))
    raise typer.Exit(ended.exit_code)


def _submitted(grid: Path, asked: dict[str, Any], *, dry_run: bool) -> Summary | None:
    """Hand it to Slurm, or print what would be; a summary where nothing is missing."""
    from bilin import orchestrator
    from bilin.cli.sweep.words import describe_submission

    if dry_run:
        typer.echo(orchestrator.script(grid, **asked), nl=False)
        return None
    ended = orchestrator.submit(grid, **asked)
    if isinstance(ended, orchestrator.Summary):
        return ended
    typer.echo(describe_submission(ended, store=asked["store"]))
    return None


def _piped(overrides: list[str], only: list[str]) -> Any:
    """The grid on standard input, resolved as in a job's script or a store."""
    from bilin.orchestrator.grid import restore_grid

    if overrides:
        raise InputError("--set goes with a grid.yaml, and - is a resolved grid on standard input: set it before")
    text = sys.stdin.buffer.read().decode(errors="replace")  # what is no text is no grid, and is told so
    return restore_grid(text, source="standard input", only=only)


def _refuse_settings(given: dict[str, object]) -> None:
    names = [name for name, value in given.items() if value is not None]
    if names:
        raise InputError(f"{names[0]} is about a job, and goes with --cluster slurm")


def _is_detached(grid: Path, where: Any, overrides: list[str], asked: dict[str, Any]) -> bool:
    """Run it in the background, where there is something to run: whether there was."""
    from bilin import orchestrator
    from bilin.cli.sweep.background import describe_detached
    from bilin.orchestrator import background

    if str(grid) == "-":
        raise InputError(
            "--detach reads the grid once more in the background, and standard input is read once: name a file"
        )
    made = orchestrator.plan(grid, overrides=overrides, **asked)
    if not made.num_missing:
        return False
    if where.address:
        typer.echo(describe_detached(background.submit_job(made.grid, cluster=where, **asked)))
        return True
    started = background.detach(background.own_command(without="--detach"), sweep=made.grid.name, store=asked["store"])
    if started.exit_code is not None:
        typer.echo(started.log.read_text(errors="replace"), err=started.exit_code != 0, nl=False)
        raise typer.Exit(started.exit_code)
    typer.echo(describe_detached(started))
    return True
