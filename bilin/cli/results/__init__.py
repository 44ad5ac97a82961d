"""`bilin results`: queries over the store, and its maintenance."""

from __future__ import annotations

import typer

from bilin.cli.results.maintenance import compact, delete, verify
from bilin.cli.results.query import query
from bilin.cli.results.table import table

app = typer.Typer(help="Query results, remove some, and maintain the store.", no_args_is_help=True)
for command in (query, table, delete, verify, compact):
    app.command()(command)
