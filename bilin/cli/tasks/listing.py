"""`bilin tasks`."""

from __future__ import annotations

import typer

from bilin.cli.catalog import Format, OutputFormat, print_all


def list_tasks(context: typer.Context, format_: Format = OutputFormat.text) -> None:
    """List the tasks, bilin's own and those of installed packages; `show` shows one whole."""
    from bilin import catalog

    if context.invoked_subcommand is None:
        print_all(catalog.tasks(), format_)
