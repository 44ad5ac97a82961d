"""`bilin sweep`: plan, run and look at sweeps."""

from __future__ import annotations

import typer

from bilin.cli.sweep.launch import launch
from bilin.cli.sweep.listing import list_sweeps
from bilin.cli.sweep.logs import logs
from bilin.cli.sweep.plan import plan
from bilin.cli.sweep.running import cancel, watch
from bilin.cli.sweep.schema import schema
from bilin.cli.sweep.show import show
from bilin.cli.sweep.status import status
from bilin.cli.sweep.why import why

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
