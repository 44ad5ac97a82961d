"""`bilin results`: queries over the store, and its maintenance."""

from __future__ import annotations

import typer

from bilin.cli.results.compact import compact
from bilin.cli.results.delete import delete
from bilin.cli.results.query import query
from bilin.cli.results.table import table
from bilin.cli.results.verify import verify

app = typer.Typer(help="Query results, remove some, and maintain the store.", no_args_is_help=True)
app.command()(query)
app.command()(table)
app.command()(delete)
app.command()(verify)
app.command()(compact)
