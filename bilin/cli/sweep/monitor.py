"""`bilin sweep status`, `list`, `show`, `why`, `logs` and `watch`: look at sweeps and trials."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from bilin.cli import complete
from bilin.cli.options import DEFAULT_STORE, Store

Sweep = Annotated[str, typer.Argument(help="Name of the sweep.", show_default=False, autocompletion=complete.sweeps)]
Trial = Annotated[
    str, typer.Argument(help="Id of a trial, or its first digits.", show_default=False, autocompletion=complete.trials)
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON: a list with an object for each sweep.")]


def status(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Name of a sweep; by default, all sweeps.", show_default=False, autocompletion=complete.sweeps
        ),
    ] = None,
    store: Store = DEFAULT_STORE,
    everything: Annotated[
        bool, typer.Option("--all", help="Also count rows that the grid no longer asks for.")
    ] = False,
    json_: Json = False,
) -> None:
    """Show the progress of sweeps, by the grid of their last launch. Reads the store, and asks Slurm about jobs."""
    from bilin import orchestrator
    from bilin.cli.sweep.describe import describe_status, status_json

    statuses = {name: orchestrator.status(name, store=store)} if name else orchestrator.statuses(store=store)
    if json_:
        typer.echo(json.dumps(status_json(statuses), indent=2, ensure_ascii=False))
        return
    for sweep, how in statuses.items():
        failed = isinstance(how, orchestrator.SweepStatus) and how.state is orchestrator.SweepState.FAILED
        failures = orchestrator.failures(sweep, store=store) if failed else []
        typer.echo(describe_status(sweep, how, everything=everything, failures=failures))


def list_sweeps(store: Store = DEFAULT_STORE, json_: Json = False) -> None:
    """List the sweeps of a store, one line each."""
    from bilin import orchestrator
    from bilin.cli.sweep.describe import describe_list, status_json

    statuses = orchestrator.statuses(store=store)
    text = json.dumps(status_json(statuses), indent=2, ensure_ascii=False) if json_ else describe_list(statuses)
    typer.echo(text)


def show(
    trial: Trial,
    store: Store = DEFAULT_STORE,
    sweep: Annotated[
        str | None, typer.Option(metavar="NAME", help="Look in one sweep only.", autocompletion=complete.sweeps)
    ] = None,
    grid: Annotated[bool, typer.Option("--grid", help="Print only the grid.yaml that repeats this trial.")] = False,
) -> None:
    """Show a trial: its spec, its result, where it ran, and how to repeat it."""
    from bilin import orchestrator
    from bilin.cli.sweep.describe_trial import describe_trial

    found = orchestrator.find_trial(trial, store=store, sweep=sweep)
    typer.echo(orchestrator.repeat_grid(found) if grid else describe_trial(found, store=store))


def why(
    sweep: Sweep,
    trial: Annotated[
        str,
        typer.Argument(
            help="Id of a trial or a cell, or its first digits.", show_default=False, autocompletion=complete.trials
        ),
    ],
    store: Store = DEFAULT_STORE,
) -> None:
    """Explain what happened to a trial, or why it is not running. Works on any machine that sees the store."""
    from bilin import orchestrator
    from bilin.cli.sweep.describe_trial import describe_why

    for found in orchestrator.why(sweep, trial, store=store):
        typer.echo(describe_why(found, store=store))


def logs(
    sweep: Sweep,
    trial: Trial,
    store: Store = DEFAULT_STORE,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the trial has ended.")] = False,
) -> None:
    """Print what a trial wrote to its standard output and error, from whichever node it ran on."""
    from bilin import orchestrator

    is_empty = True
    for text in orchestrator.output(sweep, trial, store=store, follow=follow):
        is_empty = False
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    if is_empty:
        typer.echo("this trial has printed nothing", err=True)


def watch(
    sweep: Sweep,
    store: Store = DEFAULT_STORE,
) -> None:
    """Show a sweep while it runs, wherever it was launched, from the store alone. Ends with the sweep.

    Also waits for a sweep that waits in Slurm, or that is between two jobs.

    Ctrl-C does not stop the sweep. Exit codes are those of its launch: 0 every trial that the grid asks for has a
    result, 1 some failed, 3 it stopped early; and 2 there is no such sweep.
    """
    from bilin.cli.sweep.describe import command, describe_ended, describe_own_job
    from bilin.cli.sweep.display import display
    from bilin.orchestrator import Ended, Queued, Snapshot, SweepState, failures
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
        typer.echo(f"\n{sweep} keeps running; to watch it again: {command('watch', sweep, store / sweep)}")
        return
    assert ended is not None
    failed = ended.status.state is SweepState.FAILED
    typer.echo(describe_ended(ended, failures(sweep, store=store) if failed else []))
    raise typer.Exit(ended.exit_code)
