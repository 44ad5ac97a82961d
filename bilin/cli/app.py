"""The command `bilin`: its groups, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import signal
import sys
import warnings
from typing import Annotated, Any, NoReturn

import typer

from bilin.cli.cluster import app as cluster_app
from bilin.cli.models import app as models_app
from bilin.cli.results import app as results_app
from bilin.cli.sweep import app as sweep_app
from bilin.cli.tasks import app as tasks_app
from bilin.errors import BilinError, DamageWarning, InputError, InterruptedSweepError, WaitWarning
from bilin.version import __version__

TYPER_INTERRUPTED = 130
"""Exit code of Typer after a Ctrl-C that the command itself does not handle."""

app = typer.Typer(
    name="bilin",
    help="Sweeps over recurrent architectures: from grid.yaml to a table you can query.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
app.add_typer(sweep_app, name="sweep")
app.add_typer(cluster_app, name="cluster")
app.add_typer(results_app, name="results")
app.add_typer(models_app, name="models")
app.add_typer(tasks_app, name="tasks")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"bilin {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Sweeps over recurrent architectures: from grid.yaml to a table you can query."""


def main() -> None:
    """Run the command line; an error of bilin's is one message on stderr and its own exit code."""
    _say_warnings_once()
    try:
        app()
    except BilinError as error:
        _end(str(error), error.exit_code)
    except OSError as error:  # a folder that cannot be written, a disk that is full
        _end(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", InputError.exit_code)
    except SystemExit as ended:
        if ended.code != TYPER_INTERRUPTED:
            raise
        _end("interrupted before anything was begun; the same command does it", InterruptedSweepError.exit_code)


def _say_warnings_once() -> None:
    """Have what is damaged, or waited for, said in one line each, without a place in the code."""
    plain = warnings.formatwarning

    def line(message: Warning | str, category: type[Warning], *place: Any, **source: Any) -> str:
        if issubclass(category, DamageWarning | WaitWarning):
            return f"bilin: {message}\n"
        return plain(message, category, *place, **source)

    for category in (DamageWarning, WaitWarning):
        warnings.simplefilter("once", category)
    warnings.formatwarning = line


def _end(message: str, exit_code: int) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # all is done: one that comes now would only change the exit code
    typer.echo(f"bilin: {message}", err=True)
    # CPython remembers a KeyboardInterrupt that passed through a string of code (as imports run many), and
    # `python -m` then ends by SIGINT whatever the exit code, unless another string is run after it.
    exec("")
    sys.exit(exit_code)
