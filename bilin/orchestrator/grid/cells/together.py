"""Whether the tasks and tiers of a grid can be in one sweep: faults that only two packages together show."""

from __future__ import annotations

from collections.abc import Iterable

from bilin.catalog import clash
from bilin.orchestrator.grid.cells.gather import Part
from bilin.orchestrator.grid.faults import Faults


def report_clashes(parts: Iterable[Part], faults: Faults) -> None:
    """Add a fault for each entry of another package that has a field whose name an earlier entry uses otherwise."""
    earlier: dict[type, None] = {}
    for block in (varied.block for part in parts for varied in (*part.space.tasks, *part.space.models)):
        if message := clash(block.settings, earlier):
            faults.add(block.node, block.path, message)
        earlier[block.settings] = None
