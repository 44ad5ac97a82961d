"""`bilin results verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bilin.cli.options import DEFAULT_STORE, Store
from bilin.cli.results.options import Sweep

if TYPE_CHECKING:
    from bilin.results import Health


def verify(sweep: Sweep = None, store: Store = DEFAULT_STORE) -> None:
    """Read the whole store and say what is damaged. Changes nothing.

    Exit codes: 0 all is whole, 1 something is damaged, 2 it cannot be read.
    """
    from bilin import results

    found = results.verify(store, sweep)
    for health in found:
        typer.echo(_line(health))
        for damage in health.damage:
            typer.echo(f"  {damage}")
    raise typer.Exit(1 if any(health.damage for health in found) else 0)


def _line(health: Health) -> str:
    how = "damaged" if health.damage else "whole"
    parts = [
        f"{health.sweep}: {how}",
        _counted(health.num_parts, "part"),
        _counted(health.num_trials, "row") + " of trials",
        f"{health.num_curves} of curves",
    ]
    if health.num_aside:
        parts.append(f"{_counted(health.num_aside, 'file')} set aside before")
    return ", ".join(parts)


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"
