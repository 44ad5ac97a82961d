"""`bilin results compact`."""

from __future__ import annotations

import typer

from bilin.cli.options import DEFAULT_STORE, Store
from bilin.cli.results.options import Sweep


def compact(sweep: Sweep = None, store: Store = DEFAULT_STORE) -> None:
    """Merge the parts of each sweep into one. A sweep that runs is left as it is, and so are all then."""
    from bilin import results

    for name, num_parts in results.compact(store, sweep).items():
        typer.echo(f"{name}: {f'{num_parts} parts are one now' if num_parts > 1 else 'nothing to merge'}")
