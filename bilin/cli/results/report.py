"""`bilin results report`: a page about sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated
from warnings import catch_warnings

import typer

from bilin.cli.options import DEFAULT_STORE, Store
from bilin.cli.results.display import Everything
from bilin.errors import DamageWarning, InputError


def report(
    sweeps: Annotated[
        list[str] | None,
        typer.Argument(metavar="SWEEP", help="The sweeps to show; by default all of the store.", show_default=False),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page; its name ends in .html.")
    ] = Path("report.html"),
    stat: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="How the seeds become one number with an interval, as for `table`.", show_default=False
        ),
    ] = None,
    everything: Everything = False,
    store: Store = DEFAULT_STORE,
) -> None:
    """Write a page about sweeps that needs no network: tables, figures, trials, failures, and how to repeat it."""
    from bilin import results

    if output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"found {output}; accepted: names that end in .html")
    page = results.report(store, sweeps or (), stat=stat, everything=everything, to_run=_to_run(store, sweeps or ()))
    with results.output_file(output) as file:
        file.write(page.encode())
    typer.echo(f"written to {output}", err=True)


def _to_run(store: Path, sweeps: Sequence[str]) -> dict[str, int]:
    """Return how many trials the sweeps with pruned trials have to run, as far as their grids can be read here."""
    from bilin import orchestrator, results

    found = {}
    with catch_warnings(action="ignore", category=DamageWarning):  # the report itself names the damage
        pruned = results.query("SELECT DISTINCT sweep FROM trials WHERE status = 'pruned'", store=store)
        for name in pruned["sweep"].to_pylist():
            if name in sweeps or not sweeps:
                with suppress(InputError):
                    found[name] = orchestrator.status(name, store=store).plan.num_to_run
    return found
