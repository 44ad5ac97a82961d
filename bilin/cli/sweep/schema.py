"""`bilin sweep schema`: the JSON Schema of a grid."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the JSON Schema of a grid.yaml, so that editors complete and check it."""
    from bilin.orchestrator.grid import grid_schema

    typer.echo(json.dumps(grid_schema(), indent=2))
