"""What a shell completes: names of sweeps, trials, columns, tiers, tasks and kinds of figures.

An error while it completes is silent: a shell that is asked for names of a store that cannot be read offers none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from warnings import catch_warnings

import typer

from bilin.errors import BilinError
from bilin.folder import DEFAULT_STORE, SweepFolder

_MAX_TRIALS = 200

Complete = Callable[[typer.Context, str], list[str]]


def names_of(kind: str) -> Complete:
    """Return what completes the names of ``tasks`` or ``models``."""

    def complete(_: typer.Context, typed: str) -> list[str]:
        from bilin.catalog import REGISTRIES

        return _beginning(typed, REGISTRIES[kind].names)

    return complete


def entries(context: typer.Context, typed: str) -> list[str]:
    """Complete the name of a task or a tier, for the commands of `bilin tasks` and `bilin models`."""
    kind = context.parent.info_name if context.parent else None
    return names_of(kind)(context, typed) if kind in ("tasks", "models") else []


def sweeps(context: typer.Context, typed: str) -> list[str]:
    """Complete the name of a sweep of the store."""
    store = _store(context)
    folders = sorted(store.iterdir()) if store.is_dir() else []
    return _beginning(typed, (folder.name for folder in folders if SweepFolder(folder).manifest.exists()))


def trials(context: typer.Context, typed: str) -> list[str]:
    """Complete the id of a trial of the store, or of the sweep that is named."""
    from bilin import results

    if typed.strip("0123456789abcdef"):
        return []
    with _silent():
        rows = results.query(
            f"SELECT DISTINCT trial_id FROM trials WHERE trial_id LIKE '{typed}%' ORDER BY 1 LIMIT {_MAX_TRIALS}",
            store=_store(context),
            sweep=context.params.get("sweep"),
        )
        return [str(trial_id) for trial_id in rows["trial_id"].to_pylist()]
    return []


def columns(context: typer.Context, typed: str) -> list[str]:
    """Complete the last column of a list of them, of the view that is named."""
    from bilin import results

    before, comma, last = typed.rpartition(",")
    with _silent():
        view = context.params.get("view") or "cells"
        names = results.query(store=_store(context), view=view, limit=0).column_names
        return [f"{before}{comma}{name}" for name in _beginning(last.strip(), names)]
    return []


def packs(_: typer.Context, typed: str) -> list[str]:
    """Complete the size of packs."""
    return _beginning(typed, ("auto", "off"))


def views(_: typer.Context, typed: str) -> list[str]:
    """Complete the name of a view."""
    from bilin.results.sql.views import VIEWS

    return _beginning(typed, VIEWS)


def figures(_: typer.Context, typed: str) -> list[str]:
    """Complete the kind of a figure."""
    from bilin.results.figures.plot import KINDS, SPECTRUM

    return _beginning(typed, [*KINDS, SPECTRUM])


@contextmanager
def _silent() -> Iterator[None]:
    with catch_warnings(action="ignore"), suppress(BilinError, OSError):
        yield


def _store(context: Any) -> Path:
    return Path(context.params.get("store") or DEFAULT_STORE)


def _beginning(typed: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(typed)]
