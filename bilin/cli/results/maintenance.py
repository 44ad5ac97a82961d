"""Commands that look after the store: `delete`, `verify` and `compact`; and `weights`, which copies from it."""

from __future__ import annotations

import json
import sys
import textwrap
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bilin.cli import complete
from bilin.cli.options import DEFAULT_STORE, Store
from bilin.cli.results.display import Everything, Sweep, show
from bilin.cli.text import for_terminal
from bilin.errors import InputError
from bilin.units import plural


def delete(
    where: Annotated[
        str, typer.Option(help="A condition on trials, for example \"status = 'failed'\".", show_default=False)
    ],
    sweep: Sweep = None,
    everything: Everything = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed. Changes nothing.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask for confirmation; required without a terminal.")
    ] = False,
    store: Store = DEFAULT_STORE,
) -> None:
    """Remove trials with their curves and weights. The next launch runs them again if the grid asks for them."""
    from bilin import results

    if not (dry_run or yes or sys.stdin.isatty()):
        raise InputError("there is no terminal to ask for confirmation; accepted: --yes, or --dry-run to see what goes")
    rows = results.delete(store, where, sweep=sweep, everything=everything, dry_run=True)
    if dry_run or not yes:
        show(results.ResultTable.of(results.brief(rows)))
        typer.echo(f"{plural(rows.num_rows, 'trial')} would be removed", err=True)
        if dry_run or not rows.num_rows or not typer.confirm("Remove them?"):
            return
    results.remove(store, rows)  # what was shown: a launch may have stored more trials since
    for name, count in sorted(Counter(rows["sweep"].to_pylist()).items()):
        typer.echo(f"{name}: {plural(count, 'trial')} removed")
    if not rows.num_rows:
        typer.echo("no trial meets the condition; nothing was removed")


def weights(
    trial: Annotated[
        str,
        typer.Argument(
            help="Id of the trial, or its first digits.", show_default=False, autocompletion=complete.trials
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file.", show_default=False)],
    sweep: Sweep = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Write the final weights of a trial to a file (safetensors), and print the lines of Python that load them."""
    from bilin import orchestrator, results

    found = orchestrator.find_trial(trial, store=store, sweep=sweep)
    results.copy_weights(store, found["sweep"], found["trial_id"], output)
    typer.echo(_LOAD.format(path=str(output.absolute())))


def verify(
    sweep: Sweep = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON: an object for each sweep.")] = False,
    store: Store = DEFAULT_STORE,
) -> None:
    """Read the whole store and list what is damaged. Changes nothing.

    Exit codes: 0 nothing is damaged, 1 something is damaged, 2 the store cannot be read.
    """
    from bilin import results

    sweeps = results.verify(store, sweep)
    if json_:
        typer.echo(json.dumps([asdict(health) for health in sweeps], indent=2))
    else:
        for health in sweeps:
            typer.echo(health)
            for damage in health.damage:
                typer.echo(textwrap.indent(for_terminal(damage, sys.stdout, indent=2), "  "))
    raise typer.Exit(1 if any(health.damage for health in sweeps) else 0)


def compact(sweep: Sweep = None, store: Store = DEFAULT_STORE) -> None:
    """Merge the parts of each sweep into one. If any sweep is running, nothing is compacted."""
    from bilin import results

    for name, num_parts in results.compact(store, sweep).items():
        typer.echo(f"{name}: {f'merged {num_parts} parts into one' if num_parts > 1 else 'nothing to merge'}")


_LOAD = """\
import bilin
import torch

model = bilin.load_model({path!r})
tokens = torch.tensor([[0, 1, 1]])  # one sequence of three tokens
logits = model(tokens, torch.tensor([3]))  # after the last token
# after each token: model(tokens, torch.tensor([3]), every_token=True)"""
