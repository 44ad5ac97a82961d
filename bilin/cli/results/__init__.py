"""`bilin results`: queries over the store, and its maintenance."""

from bilin.cli.results.commands import app as app
from bilin.cli.results.report import report

app.command()(report)
