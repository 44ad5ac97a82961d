"""`bilin tasks`: the tasks that there are."""

from __future__ import annotations

import typer

from bilin.cli.tasks.listing import list_tasks
from bilin.cli.tasks.show import show

app = typer.Typer(invoke_without_command=True)
app.callback()(list_tasks)
app.command()(show)
