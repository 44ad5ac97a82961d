"""`bilin tasks show`."""

from __future__ import annotations

from typing import Annotated

import typer

from bilin.cli.catalog import Format, OutputFormat, print_one


def show(
    name: Annotated[str, typer.Argument(help="Name of a task.", show_default=False)],
    format_: Format = OutputFormat.text,
) -> None:
    """Show a task: what is asked, with examples, and its fields."""
    from bilin import catalog

    print_one(catalog.task(name), format_)
