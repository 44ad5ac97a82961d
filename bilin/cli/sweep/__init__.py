"""`bilin sweep`: plan, run and look at sweeps."""

from __future__ import annotations

import typer

from bilin.cli.sweep.launch import cancel, init, launch, plan, rename, schema
from bilin.cli.sweep.monitor import list_sweeps, logs, show, status, watch, why

app = typer.Typer(help="Plan, run and look at sweeps.", no_args_is_help=True)
app.command()(init)
app.command()(plan)
app.command()(launch)
app.command()(status)
app.command()(watch)
app.command()(cancel)
app.command()(rename)
app.command("list")(list_sweeps)
app.command()(show)
app.command()(why)
app.command()(logs)
app.command()(schema)
