"""`bilin cluster`: the machines that sweeps run on."""

from __future__ import annotations

import typer

from bilin.cli.cluster.doctor import doctor

app = typer.Typer(help="Check the machines that sweeps run on.", no_args_is_help=True)
app.command()(doctor)


@app.callback()
def group() -> None:
    """Check the machines that sweeps run on."""
