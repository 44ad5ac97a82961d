"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Grid = Annotated[Path, typer.Argument(help="The grid.yaml.", show_default=False, metavar="GRID")]


def _directory(text: str | Path) -> Path:
    if not str(text):
        raise typer.BadParameter("found nothing; accepted: a directory")
    return Path(text)


Store = Annotated[
    Path,
    typer.Option(
        "--store", envvar="BILIN_STORE", parser=_directory, metavar="DIRECTORY", help="Directory of the results."
    ),
]
Overrides = Annotated[
    list[str],
    typer.Option("--set", help="Override a field, such as train.steps=500; repeatable.", metavar="PATH=VALUE"),
]
Only = Annotated[
    list[str],
    typer.Option("--only", help="A part of the grid, such as tier=full,m=2; repeatable.", metavar="FIELD=VALUE,…"),
]
Retry = Annotated[
    str,
    typer.Option(
        "--retry", help="Run failed trials again: failed, oom, hardware, internal, with commas.", metavar="CLASSES"
    ),
]

DEFAULT_STORE = Path("bilin-store")
