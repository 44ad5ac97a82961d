"""`bilin results`: queries over the store, and its maintenance."""

from bilin.cli.results.commands import app as app
from bilin.cli.results.export import app as _export
from bilin.cli.results.report import report

app.command()(report)
app.add_typer(_export, name="export")
