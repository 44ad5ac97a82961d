"""`bilin results`: questions to the store."""

from __future__ import annotations

import typer

from bilin.cli.results.delete import delete
from bilin.cli.results.query import query
from bilin.cli.results.table import table

app = typer.Typer(help="Ask for results, and remove some.", no_args_is_help=True)
app.command()(query)
app.command()(table)
app.command()(delete)
