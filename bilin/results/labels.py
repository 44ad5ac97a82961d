"""Short names for models and tasks: what tells them apart, and no more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa

from bilin.models import MODELS
from bilin.results.columns import described, fields_in
from bilin.results.formats import readable

_Row = Mapping[str, Any]


def task_labels(cells: Sequence[_Row], schema: pa.Schema) -> list[str]:
    """A label for the task of each row of `cells`, such as ``modular_addition m=5``."""
    return _labels(cells, "task", schema, shared=())


def model_labels(cells: Sequence[_Row], schema: pa.Schema) -> list[str]:
    """A label for the model of each row of `cells`, such as ``cp rank=64``, and its training where that varies."""
    return _labels(cells, "tier", schema, shared=[*fields_in(schema, "train"), "sweep"])


def model_order(cell: _Row, schema: pa.Schema) -> tuple[Any, ...]:
    """Sorts models by tier, in the order of the registry and others by their names, then by their fields."""
    tiers = list(MODELS)
    rank = tiers.index(cell["tier"]) if cell["tier"] in tiers else len(tiers)
    names = fields_in(schema, "tier", "train")
    return (rank, cell["tier"], *((cell[name] is None, cell[name]) for name in [*names, "sweep", "cell_id"]))


def _labels(cells: Sequence[_Row], kind: str, schema: pa.Schema, shared: Collection[str]) -> list[str]:
    by_name: dict[str, list[_Row]] = defaultdict(list)
    for cell in cells:
        by_name[cell[kind]].append(cell)
    required = {name: what.required for name in fields_in(schema, kind) if (what := described(schema.field(name)))}
    told = {
        name: [
            *(key for key, names in required.items() if name in names or _varies(group, key)),
            *(key for key in shared if any(_varies(of_task, key) for of_task in _by_task(group))),
        ]
        for name, group in by_name.items()
    }
    return [" ".join([cell[kind], *(f"{key}={readable(cell[key])}" for key in told[cell[kind]])]) for cell in cells]


def _by_task(cells: Sequence[_Row]) -> Collection[list[_Row]]:
    """How a task is trained tells no models apart: only what differs within one does."""
    groups: dict[str, list[_Row]] = defaultdict(list)
    for cell in cells:
        groups[cell["task"]].append(cell)
    return groups.values()


def _varies(cells: Sequence[_Row], name: str) -> bool:
    return len({str(cell[name]) for cell in cells}) > 1
