"""Short names for models and tasks: what tells them apart, and no more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bilin.fields import Field, fields_of
from bilin.models import MODELS, tier_settings
from bilin.results.formats import readable
from bilin.results.schema import TRAIN_COLUMNS, cell_columns
from bilin.tasks import TASKS, task_settings

_Row = Mapping[str, Any]


def task_labels(cells: Sequence[_Row]) -> list[str]:
    """A label for the task of each row of `cells`, such as ``modular_addition m=5``."""
    fields = {name: fields_of(task_settings(name)) for name in TASKS}
    return _labels(cells, "task", fields, shared=())


def model_labels(cells: Sequence[_Row]) -> list[str]:
    """A label for the model of each row of `cells`, such as ``cp rank=64``, and its training where that varies."""
    fields = {name: fields_of(tier_settings(name)) for name in MODELS}
    return _labels(cells, "tier", fields, shared=[*TRAIN_COLUMNS.values(), "sweep"])


def model_order(cell: _Row) -> tuple[Any, ...]:
    """Sorts models by tier, in the order of the registry, then by their fields."""
    tiers = list(MODELS)
    rank = tiers.index(cell["tier"]) if cell["tier"] in tiers else len(tiers)
    names = [name for name in cell_columns() if name not in ("task", "tier", *_task_fields())]
    return (rank, *((cell[name] is None, cell[name]) for name in [*names, "sweep", "cell_id"]))


def _labels(
    cells: Sequence[_Row], kind: str, fields: Mapping[str, Mapping[str, Field]], shared: Collection[str]
) -> list[str]:
    by_name: dict[str, list[_Row]] = defaultdict(list)
    for cell in cells:
        by_name[cell[kind]].append(cell)
    told = {
        name: [
            *(key for key, field in fields.get(name, {}).items() if field.required or _varies(group, key)),
            *(key for key in shared if _varies(group, key)),
        ]
        for name, group in by_name.items()
    }
    return [" ".join([cell[kind], *(f"{key}={readable(cell[key])}" for key in told[cell[kind]])]) for cell in cells]


def _varies(cells: Sequence[_Row], name: str) -> bool:
    return len({str(cell[name]) for cell in cells}) > 1


def _task_fields() -> set[str]:
    return {name for task in TASKS for name in fields_of(task_settings(task))}
