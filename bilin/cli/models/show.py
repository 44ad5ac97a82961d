"""`bilin models show`."""

from __future__ import annotations

from typing import Annotated

import typer

from bilin.cli.catalog import Format, OutputFormat, print_one


def show(
    name: Annotated[str, typer.Argument(help="Name of a tier.", show_default=False)],
    format_: Format = OutputFormat.text,
) -> None:
    """Show a tier: its formula, its symbols, its sources and its fields."""
    from bilin import catalog

    print_one(catalog.tier(name), format_)
