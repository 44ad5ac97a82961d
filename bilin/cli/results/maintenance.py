"""`bilin results delete`, `verify` and `compact`."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Annotated

import typer

from bilin.cli.options import DEFAULT_STORE, Store
from bilin.cli.results.display import Everything, Sweep, show


def delete(
    where: Annotated[
        str, typer.Option(help="A condition on trials, for example \"status = 'failed'\".", show_default=False)
    ],
    sweep: Sweep = None,
    everything: Everything = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed. Changes nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    store: Store = DEFAULT_STORE,
) -> None:
    """Remove trials and their curves. The next launch runs them again if the grid wants them."""
    from bilin import results

    rows = results.delete(store, where, sweep=sweep, everything=everything, dry_run=True)
    if dry_run or (sys.stdin.isatty() and not yes):
        show(results.ResultTable.of(results.brief(rows)), "table")
        typer.echo(f"{_trials(rows.num_rows)} would be removed", err=True)
        if dry_run or not rows.num_rows or not typer.confirm("Remove them?"):
            return
    results.remove(store, rows)  # what was shown: a launch may have stored more trials since
    for name, count in sorted(Counter(rows["sweep"].to_pylist()).items()):
        typer.echo(f"{name}: {_trials(count)} removed")
    if not rows.num_rows:
        typer.echo("no trial meets the condition; nothing was removed")


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


def compact(sweep: Sweep = None, store: Store = DEFAULT_STORE) -> None:
    """Merge the parts of each sweep into one. If any sweep is running, nothing is compacted."""
    from bilin import results

    for name, num_parts in results.compact(store, sweep).items():
        typer.echo(f"{name}: {f'merged {num_parts} parts into one' if num_parts > 1 else 'nothing to merge'}")


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"
