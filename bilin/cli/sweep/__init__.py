"""`bilin sweep`: plan, run and look at sweeps."""

from __future__ import annotations

import typer

from bilin.cli.sweep.cancel import cancel
from bilin.cli.sweep.launch import launch
from bilin.cli.sweep.monitor.listing import list_sweeps
from bilin.cli.sweep.monitor.logs import logs
from bilin.cli.sweep.monitor.show import show
from bilin.cli.sweep.monitor.status import status
from bilin.cli.sweep.monitor.watch import watch
from bilin.cli.sweep.monitor.why import why
from bilin.cli.sweep.plan import plan
from bilin.cli.sweep.schema import schema

app = typer.Typer(help="Plan, run and look at sweeps.", no_args_is_help=True)
app.command()(plan)
app.command()(launch)
app.command()(status)
app.command()(watch)
app.command()(cancel)
app.command("list")(list_sweeps)
app.command()(show)
app.command()(why)
app.command()(logs)
app.command()(schema)
