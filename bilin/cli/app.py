"""The command `bilin`: its groups of commands, and how errors become messages and exit codes."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
import warnings
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from bilin.cli.catalog import models_app, tasks_app
from bilin.cli.cluster import app as cluster_app
from bilin.cli.results import app as results_app
from bilin.cli.sweep import app as sweep_app
from bilin.cli.text import for_terminal
from bilin.errors import (
    CTRL_C_EXIT_CODE,
    BilinError,
    DamageWarning,
    InputError,
    InterruptedSweepError,
    WaitWarning,
    closest,
)
from bilin.machine.streams import UnfailingStream, WatchedStream, occupy_closed_descriptors
from bilin.version import __version__

_OTHER_NAMES = {
    "continue": "bilin sweep launch",
    "remove": "bilin results delete",
    "resume": "bilin sweep launch",
    "run": "bilin sweep launch",
    "show": "bilin results query",
    "stop": "bilin sweep cancel",
}
"""What does what other tools call so."""


class _Group(TyperGroup):
    """A group of commands that says which command of another group was meant."""

    def resolve_command(self, context: Any, words: list[str]) -> Any:
        """See `typer.core.TyperGroup`."""
        name = words[0]
        if name not in self.commands:
            known = self._elsewhere(context)
            meant = closest(name, {*known, *self.commands})
            if meant in known and meant not in self.commands:
                context.fail(f"No such command {name!r}. Did you mean {' or '.join(known[meant])}?")
        return super().resolve_command(context, words)

    def _elsewhere(self, context: Any) -> dict[str, list[str]]:
        """Return the commands of other groups, by their names and by names that other tools have for them."""
        known = {name: [f"`{command}`"] for name, command in _OTHER_NAMES.items()}
        if self.invoke_without_command:
            return {"list": [f"`bilin {context.info_name}`"]}
        for group, commands in context.find_root().command.commands.items():
            for name in commands.commands:
                known.setdefault(name, []).append(f"`bilin {group} {name}`")
        return known


class _Commands(_Group):
    """All commands; the help of a flag does not say that it takes a bool."""

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        """See `typer.core.TyperGroup`."""
        _hide_types_of_flags(self)
        return super().make_context(*arguments, **settings)


def _hide_types_of_flags(command: Any) -> None:
    for option in command.get_params(typer.Context(command)):
        if getattr(option, "is_flag", False):
            option.metavar = ""
    for subcommand in getattr(command, "commands", {}).values():
        _hide_types_of_flags(subcommand)


app = typer.Typer(
    name="bilin",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
for _app, _name in (
    (sweep_app, "sweep"),
    (cluster_app, "cluster"),
    (results_app, "results"),
    (models_app, "models"),
    (tasks_app, "tasks"),
):
    app.add_typer(_app, name=_name, cls=_Group)


def _version(requested: bool) -> None:
    if requested:
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
    """Run the command line. An error of bilin becomes one message on stderr and its exit code."""
    output = _open_streams()
    _show_warnings_once()
    gc.set_threshold(10_000)  # at the default of 700, a tenth of the time of a large plan goes to looking for cycles
    try:
        app()
    except KeyboardInterrupt:  # while the commands are built, or in one that only reads
        _exit("interrupted; run the same command again", InterruptedSweepError.exit_code)
    except BilinError as error:
        _exit(str(error), error.exit_code)
    except OSError as error:  # a folder that cannot be written, a disk that is full
        if error in output.errors:
            _exit_without_output(error, BilinError.exit_code)
        _exit(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", InputError.exit_code)
    except SystemExit as exit_:
        if exit_.code == CTRL_C_EXIT_CODE:
            _exit("interrupted; run the same command again", InterruptedSweepError.exit_code)
        if isinstance(exit_.code, str):  # raised by a module of another package as it is imported
            _exit(exit_.code, BilinError.exit_code)
        exit_code = int(exit_.code or 0)
        try:
            output.flush()
        except OSError as error:
            _exit_without_output(error, exit_code or BilinError.exit_code)
        _end(exit_code)


def _open_streams() -> WatchedStream:
    """Open the standard streams that are closed. Errors of standard error never reach a command."""
    occupy_closed_descriptors()
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stderr = UnfailingStream(sys.stderr or open(2, "w", closefd=False))  # noqa: SIM115
    sys.stdout = output = WatchedStream(sys.stdout or open(1, "w", closefd=False))  # noqa: SIM115
    return output


def _exit_without_output(error: OSError, exit_code: int) -> NoReturn:
    """Say that standard output could not be written."""
    # Python would try again at its end, and replace the exit code.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _exit(f"standard output cannot be written ({error.strerror}): what was printed is not complete", exit_code)


def _show_warnings_once() -> None:
    """Show each warning of bilin once, in one line, without its place in the code."""
    plain = warnings.formatwarning

    def line(message: Warning | str, category: type[Warning], *place: Any, **source: Any) -> str:
        if issubclass(category, DamageWarning | WaitWarning):
            return f"{for_terminal(f'bilin: {message}', sys.stderr)}\n"
        return plain(message, category, *place, **source)

    for category in (DamageWarning, WaitWarning):
        warnings.simplefilter("once", category)
    warnings.formatwarning = line


def _exit(message: str, exit_code: int) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a signal that arrives now would only change the exit code
    typer.echo(for_terminal(f"bilin: {message}", sys.stderr), err=True)
    _end(exit_code)


def _end(exit_code: int) -> NoReturn:
    """End this process at once.

    Python would wait for threads that a trial has left running, and libraries that end their own threads after Python
    has ended have aborted the process.
    """
    if all(thread.daemon or thread is threading.main_thread() for thread in threading.enumerate()):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(exit_code)
