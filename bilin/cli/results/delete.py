"""`bilin results delete`."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Annotated

import typer

from bilin.cli.options import DEFAULT_STORE, Store
from bilin.cli.results.display import Everything, Sweep, show
from bilin.formats import Format


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
    """Remove trials and their curves; the next launch runs those again that the grid wants."""
    from bilin import results

    rows = results.delete(store, where, sweep=sweep, everything=everything, dry_run=True)
    if dry_run or (sys.stdin.isatty() and not yes):
        show(results.ResultTable.of(results.brief(rows)), Format.TABLE)
        typer.echo(f"{_counted(rows.num_rows)} would be removed", err=True)
        if dry_run or not rows.num_rows or not typer.confirm("Remove them?"):
            return
    results.remove(store, rows)  # what was shown: a launch may have stored more trials since
    for name, count in sorted(Counter(rows["sweep"].to_pylist()).items()):
        typer.echo(f"{name}: {_counted(count)} removed")
    if not rows.num_rows:
        typer.echo("no trial meets the condition; nothing was removed")


def _counted(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"
