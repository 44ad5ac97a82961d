"""`bilin results compact`."""

from __future__ import annotations

import typer

from bilin.cli.options import DEFAULT_STORE, Store
from bilin.cli.results.display import Sweep


def compact(sweep: Sweep = None, store: Store = DEFAULT_STORE) -> None:
    """Merge the parts of each sweep into one. If any sweep is running, nothing is compacted."""
    from bilin import results

    for name, num_parts in results.compact(store, sweep).items():
        typer.echo(f"{name}: {f'merged {num_parts} parts into one' if num_parts > 1 else 'nothing to merge'}")
