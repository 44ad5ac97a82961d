"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bilin.cli import complete
from bilin.errors import InputError
from bilin.folder import DEFAULT_STORE as DEFAULT_STORE

Grid = Annotated[Path, typer.Argument(help="Path of a grid.yaml.", show_default=False, metavar="GRID")]


def _directory(text: str | Path) -> Path:
    if not str(text):
        raise typer.BadParameter("found nothing; accepted: a directory")
    return Path(text)


def with_pack(overrides: list[str], pack: str | None) -> list[str]:
    """Return the values to set in a grid, with the size of packs if one is given."""
    if pack is None:
        return overrides
    size = {"auto": "0", "off": "1"}.get(pack, pack)
    if not size.isdecimal() or (int(size) == 0 and pack != "auto"):
        raise InputError(f"found --pack {pack}; accepted: auto, off, or a whole number of at least 1")
    return [*overrides, f"resources.pack={int(size)}"]


Store = Annotated[
    Path,
    typer.Option(
        "--store", envvar="BILIN_STORE", parser=_directory, metavar="DIRECTORY", help="Directory of the results."
    ),
]
Overrides = Annotated[
    list[str],
    typer.Option("--set", help="Override a value of the grid: train.steps=500. Repeatable.", metavar="PATH=VALUE"),
]
Pack = Annotated[
    str | None,
    typer.Option(
        "--pack",
        metavar="auto|N|off",
        help="How many trials of one shape a worker trains as one program; auto: as many as pay off. "
        "Sets resources.pack.",
        autocompletion=complete.packs,
    ),
]
Only = Annotated[
    list[str],
    typer.Option("--only", help="Select a part of the grid: tier=full,m=2. Repeatable.", metavar="FIELD=VALUE,…"),
]
Retry = Annotated[
    str,
    typer.Option(
        "--retry",
        help="Classes of failed trials to run again: failed, oom, hardware, internal; separated by commas.",
        metavar="CLASSES",
    ),
]

RerunStale = Annotated[
    bool,
    typer.Option(
        "--rerun-stale",
        help="Run again the trials of other versions of torch, or of the packages of tasks and tiers, than installed.",
    ),
]

Address = Annotated[
    str | None,
    typer.Option("--address", metavar="ADDRESS", help="The Ray cluster to join: HOST:PORT, ray://HOST:PORT or auto."),
]
Nodes = Annotated[
    str | None,
    typer.Option(
        "--nodes",
        metavar="NUMBER",
        help="Number of nodes of the Slurm job, or a range such as 1-8. Sets cluster.nodes.",
    ),
]
Profile = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        help="A YAML file with settings for the Slurm job. The grid's cluster block overrides it.",
        metavar="FILE",
    ),
]


def refuse_job_options(given: dict[str, object]) -> None:
    """Raise if an option about a Slurm job is given without one."""
    names = [name for name, value in given.items() if value is not None]
    if names:
        raise InputError(f"{names[0]} requires --cluster slurm")
