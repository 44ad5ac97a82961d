"""Options that several of these commands have."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class OutputFormat(StrEnum):
    """The names of `bilin.results.Format`, which cannot be imported without Arrow."""

    table = "table"
    csv = "csv"
    json = "json"
    markdown = "markdown"
    parquet = "parquet"


Sweep = Annotated[str | None, typer.Option("--sweep", help="Look at this sweep alone.", show_default=False)]
Everything = Annotated[bool, typer.Option("--all", help="Also rows that the grid as last launched does not want.")]
Format = Annotated[OutputFormat, typer.Option("--format", help="How to write the rows.")]
Output = Annotated[
    Path | None, typer.Option("--output", help="Write to this file instead of the terminal.", show_default=False)
]
