"""`bilin results`: queries over the store, and its maintenance."""

import typer

from bilin.cli.results.answers import compare, plot, query, spectrum, table
from bilin.cli.results.export import app as export
from bilin.cli.results.maintenance import compact, delete, verify, weights
from bilin.cli.results.report import report

app = typer.Typer(help="Query results, remove some, and maintain the store.", no_args_is_help=True)
app.command()(query)
app.command()(table)
app.command()(compare)
app.command()(plot)
app.command()(spectrum)
app.command()(report)
app.add_typer(export, name="export")
app.command()(weights)
app.command()(delete)
app.command()(verify)
app.command()(compact)
