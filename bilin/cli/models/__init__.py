"""`bilin models`: the tiers that there are."""

from __future__ import annotations

import typer

from bilin.cli.models.listing import list_models
from bilin.cli.models.show import show

app = typer.Typer(invoke_without_command=True)
app.callback()(list_models)
app.command()(show)
